"""Errors that the engine raises on purpose. Anything else that escapes is our bug.

Every error carries a stable code, a message that says what and where, and a hint that says what to do next.
`retryable` errors are tried again by the runner with back-off inside the retry window; nothing is lost meanwhile.
"""

from __future__ import annotations

from .conflicts import Conflict
from .drift import Drift
from .next_actions import next_action
from .wording import Sentence, count, rewritten, say, verbatim


class EngineError(Exception):
    """Root of all anticipated failures.

    Attributes: `code` (stable, for pages and tests), `hint` (what the operator does next), `retryable`, `sqlstate`
    (what a server called it, empty when none did), `detail` (facts for a page, such as the fingerprint of a host key;
    `key` is that of a row, which the message names as well), `failing_for` (the seconds for which it was waited for
    already inside the run, which count into the retry window).
    """

    code = "INT-UNKNOWN"
    retryable = False
    sqlstate = ""
    failing_for = 0.0

    def __init__(self, message: str, *, hint: str = "", code: str | None = None, retryable: bool | None = None) -> None:
        super().__init__(message)
        self.message = verbatim(message)
        self.detail: dict[str, str] = {}
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable
        # Who waits for another try has nothing to do; everybody else is told, by the code if the raiser says nothing.
        self.hint = verbatim(hint or ("" if self.retryable else next_action(self.code)))

    @property
    def public_message(self) -> Sentence:
        """The message without the key of a row: that is a value of the user's data, which not everybody may see."""
        key = self.detail.get("key")
        return rewritten(self.message, lambda text: text.replace(f" ({key})", "")) if key else self.message


class ConnectFailed(EngineError):
    """A server could not be reached, or refused us. `code` says why (see `engine.connect`)."""

    code = "CONNECT-FAILED"


class AcceptedNow(ConnectFailed):
    """A login was refused, and a moment later the server accepted the same one: what was in its way has passed."""


class ConnectionLost(EngineError):
    """A session that worked has ended; the work is taken up again from the last kept position."""

    code = "RUN-RETRY"
    retryable = True


class SourceError(EngineError):
    """The source cannot give what the migration needs."""

    code = "SRC-ERROR"


class SourceStumbled(SourceError):
    """The source's own reader of its log failed. Now and then a new session gets past it: a few more tries follow."""

    code = "SRC-DECODING"
    retryable = True


class TargetError(EngineError):
    """The target refused something."""

    code = "DST-ERROR"


class ConflictError(TargetError):
    """A change does not fit the target: somebody wrote there, or it was not empty.

    `conflict` says which change, when it was one of a row that the sync applied.
    """

    code = "DST-CONFLICT"
    conflict: Conflict | None = None


class SchemaChanged(SourceError):
    """The shape of a selected table changed while the task was running.

    `drift` says how, and what makes the target alike, when the sync met it and somebody can choose what to do.
    """

    code = "SRC-DDL"
    drift: Drift | None = None


class SlotLost(SourceError):
    """Changes that we still need are gone from the source; only a new copy helps."""

    code = "SRC-SLOTLOST"


class WorkerFull(EngineError):
    """The disk of the machine that runs this worker has no room left."""

    code = "WORKER-FULL"

    def __init__(self, path: object) -> None:
        super().__init__(
            say("The disk of the worker is full at {path}.", path=str(path)),
            hint=say("Free space there, then press Retry. Nothing half-written is used."),
        )


class WorkerMemory(EngineError):
    """The machine that runs this worker had no memory left for it. Nothing is lost; a few more tries follow."""

    code = "WORKER-MEMORY"
    retryable = True

    def __init__(self) -> None:
        super().__init__(
            say("The worker had no memory left. Nothing was skipped."),
            hint=say("Give the worker more memory, or let fewer tables be copied at the same time. Then press Retry."),
        )


class CompareDiffers(EngineError):
    """The comparison found differences; details are in the stored comparison."""

    code = "CMP-DIFF"


class BackToSync(EngineError):
    """Complete does not go on; the task syncs again, and nothing was changed or lost."""


class CompleteStopped(BackToSync):
    """An operator wanted the sync to go on instead of Complete."""

    code = "COMPLETE-STOPPED"

    def __init__(self) -> None:
        super().__init__(say("Complete was stopped, as was asked for. The sync goes on and nothing is lost."))


class DrainLate(BackToSync):
    """The last changes did not arrive in time."""

    code = "COMPLETE-LATE"

    def __init__(self, seconds: float, why: Sentence) -> None:
        minutes = max(1, round(seconds / 60))
        super().__init__(
            say(
                "Complete has waited {time} for the last changes: {why}. The sync goes on and nothing is lost.",
                time=count(minutes, "{number} minute", "{number} minutes"),
                why=why,
            )
        )


class PlanError(EngineError):
    """The task asks for something that cannot be done."""

    code = "PLAN-ERROR"


class Interrupted(Exception):  # not an error: somebody asked us to stop
    """Base of the reasons for which a run stops early without having failed."""


class CancelRequested(Interrupted):
    """The operator cancelled the task."""


class PauseRequested(Interrupted):
    """The operator paused the task, or the process is being stopped; position and lease are given back."""


class LeaseLost(Interrupted):
    """Another worker owns the task now; this one must not touch anything any more."""


class LeaseOutrun(LeaseLost):
    """The target was last written under a later `epoch` than ours.

    Another worker has taken over; or, when our lease is still good, what we know of the task is older than the target.
    """

    def __init__(self, message: str, *, epoch: int) -> None:
        super().__init__(message)
        self.epoch = epoch
