"""One table of states: which status allows which action, and where it leads.

Pages, command line and workers render or obey this table; none of them has rules of its own.
"""

from __future__ import annotations

from enum import StrEnum

from .values import frozen


class Status(StrEnum):
    """Where a migration task stands."""

    DRAFT = "draft"
    CHECKING = "checking"
    CHECK_FAILED = "check_failed"
    CHECK_PASSED = "check_passed"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    READY = "ready"
    COMPLETING = "completing"
    COMPLETED = "completed"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"


class StepName(StrEnum):
    """The steps of a migration task, in the order in which they run."""

    CHECK = "check"
    SCHEMA = "schema"
    COPY = "copy"
    INDEX = "index"
    SYNC = "sync"
    COMPARE = "compare"
    COMPLETE = "complete"
    CLEANUP = "cleanup"


class Action(StrEnum):
    """What an operator may ask of a migration task."""

    EDIT = "edit"
    CHECK = "check"
    START = "start"
    START_NOW = "start_now"
    RESCHEDULE = "reschedule"
    UNSCHEDULE = "unschedule"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    COMPARE = "compare"
    RECOPY = "recopy"
    TAKE_SOURCE = "take_source"
    APPLY = "apply"
    QUARANTINE = "quarantine"
    DROP = "drop"
    ADD_TABLE = "add_table"
    IGNORE_TABLE = "ignore_table"
    COMPLETE = "complete"
    KEEP_SYNCING = "keep_syncing"
    HAND_OVER = "hand_over"
    CANCEL = "cancel"
    START_AGAIN = "start_again"
    CLEAN_UP = "clean_up"
    NEW_COPY = "new_copy"
    REOPEN = "reopen"
    ACCESS = "access"
    DELETE = "delete"


@frozen
class Rule:
    """One action: its label, where it is allowed, where it leads, and how a refusal reads."""

    label: str
    allowed_from: frozenset[Status]
    leads_to: Status | None
    refusal: str


def _rule(label: str, sources: set[Status], target: Status | None, refusal: str) -> Rule:
    return Rule(label=label, allowed_from=frozenset(sources), leads_to=target, refusal=refusal)


_S = Status
RULES: dict[Action, Rule] = {
    Action.EDIT: _rule(
        "Edit",
        {_S.DRAFT, _S.CHECK_FAILED, _S.CHECK_PASSED},
        _S.DRAFT,
        "Only a task that has not been started can be edited. Clone it, and edit the clone.",
    ),
    Action.CHECK: _rule(
        "Next: Check Task",
        {_S.DRAFT, _S.CHECK_FAILED, _S.CHECK_PASSED},
        _S.CHECKING,
        "The check runs before the start. This task is past it, or a check is running now.",
    ),
    Action.START: _rule(
        "Start",
        {_S.CHECK_PASSED},
        _S.QUEUED,
        "Start is possible when the check has run and nothing is Failed. Run the check first.",
    ),
    Action.START_NOW: _rule(
        "Start now", {_S.SCHEDULED}, _S.QUEUED, "Only a task that waits for its scheduled time can be started now."
    ),
    Action.RESCHEDULE: _rule(
        "Change time", {_S.SCHEDULED}, None, "Only the time of a task that still waits for it can be changed."
    ),
    Action.UNSCHEDULE: _rule(
        "Unschedule",
        {_S.SCHEDULED},
        _S.CHECK_PASSED,
        "Only a task that waits for its scheduled time can be unscheduled. Cancel it instead.",
    ),
    Action.PAUSE: _rule(
        "Pause",
        {_S.RUNNING, _S.READY},
        _S.PAUSED,
        "Only a running or syncing task can be paused.",
    ),
    Action.RESUME: _rule("Resume", {_S.PAUSED}, _S.QUEUED, "Only a paused task can be resumed."),
    Action.RETRY: _rule(
        "Retry",
        {_S.FAILED},
        _S.QUEUED,
        "Only a failed task can be retried.",
    ),
    Action.COMPARE: _rule(
        "Compare now", {_S.READY}, None, "A comparison needs a task that is in sync. Wait until it is ready."
    ),
    Action.RECOPY: _rule(
        "Copy again",
        {_S.RUNNING, _S.READY, _S.PAUSED, _S.FAILED},
        None,
        "A table can be copied once more while the task syncs, is paused or has failed.",
    ),
    # Choices where the sync stopped at a conflict or at a changed table: the task goes on with them. A quarantined
    # table may be dropped later too.
    Action.TAKE_SOURCE: _rule(
        "Take the source's row",
        {_S.FAILED},
        _S.RUNNING,
        "The source's row can be taken only where a conflict stopped the sync.",
    ),
    Action.APPLY: _rule(
        "Apply and resume",
        {_S.FAILED},
        _S.RUNNING,
        "A statement can be applied only where a table that changed on the source stopped the sync.",
    ),
    Action.QUARANTINE: _rule(
        "Quarantine",
        {_S.FAILED},
        _S.RUNNING,
        "A table can be quarantined only while the task has failed, so that no change of it is under way.",
    ),
    Action.DROP: _rule(
        "Drop from task",
        {_S.RUNNING, _S.READY, _S.PAUSED, _S.FAILED},
        None,
        "A table can be dropped while the task has failed, a quarantined one also while the task syncs or is paused.",
    ),
    # About a table that is new on the source.
    Action.ADD_TABLE: _rule(
        "Add",
        {_S.RUNNING, _S.READY, _S.PAUSED, _S.FAILED},
        None,
        "A new table can be added while the task syncs, is paused or has failed.",
    ),
    Action.IGNORE_TABLE: _rule(
        "Ignore",
        {_S.RUNNING, _S.READY, _S.PAUSED, _S.FAILED},
        None,
        "A new table can be ignored while the task syncs, is paused or has failed.",
    ),
    Action.COMPLETE: _rule(
        "Complete",
        {_S.READY},
        _S.COMPLETING,
        "Complete is possible once the target is in sync with the source. Wait until the task is ready.",
    ),
    Action.KEEP_SYNCING: _rule(
        "Back to sync",
        {_S.COMPLETING},
        _S.READY,
        "Only a task that is completing can go back to its sync.",
    ),
    # Offered where a terminal that drove the task (`task run`) has ended, and nobody else would go on with it.
    Action.HAND_OVER: _rule(
        "Let workers go on",
        {_S.QUEUED, _S.RUNNING, _S.READY, _S.COMPLETING},
        None,
        "Only a task that was started and is at work can be handed over to the workers.",
    ),
    Action.CANCEL: _rule(
        "Cancel",
        {_S.SCHEDULED, _S.QUEUED, _S.RUNNING, _S.PAUSED, _S.READY, _S.COMPLETING, _S.FAILED},
        _S.CANCELLING,
        "Only a task that was started and has not ended can be cancelled.",
    ),
    Action.START_AGAIN: _rule(
        "Start again",
        {_S.CANCELLED},
        _S.CHECKING,
        "Only a cancelled task can be started again.",
    ),
    # Offered where Cancel or Complete could not remove everything, because a server did not answer or refused it. It
    # leads back to where the task stands, by way of `_CLEANS_UP`.
    Action.CLEAN_UP: _rule(
        "Try clean-up",
        {_S.CANCELLED, _S.COMPLETED},
        None,
        "Only what a task that has ended has left on its servers can be cleaned up.",
    ),
    # Offered where changes that are needed are gone from the source (`new_copy_helps`).
    Action.NEW_COPY: _rule(
        "Restart with new copy",
        {_S.FAILED},
        _S.CANCELLING,
        "Only a failed task can be restarted with a new copy. Cancel it first, then start it again.",
    ),
    # A failed task on whose servers nothing stands is a draft again, all of it. One that has begun keeps everything
    # that its copy depends on; only how the same two servers are reached may change.
    Action.REOPEN: _rule(
        "Edit",
        {_S.FAILED},
        _S.DRAFT,
        "Only a failed task can become a draft again. Cancel it first.",
    ),
    Action.ACCESS: _rule(
        "Change access",
        {_S.FAILED, _S.PAUSED},
        None,
        "How a started task reaches its servers can be changed only while it is failed or paused.",
    ),
    Action.DELETE: _rule(
        "Delete",
        {_S.DRAFT, _S.CHECK_FAILED, _S.CHECK_PASSED, _S.COMPLETED, _S.CANCELLED},
        None,
        "A task that was started must be completed or cancelled before it can be deleted.",
    ),
}

# Moves that workers and the dispatcher make. Together with RULES this is every arrow of the state diagram.
WORKER_MOVES: dict[Status, frozenset[Status]] = {
    _S.CHECKING: frozenset({_S.CHECK_PASSED, _S.CHECK_FAILED}),
    _S.SCHEDULED: frozenset({_S.QUEUED}),
    _S.QUEUED: frozenset({_S.RUNNING, _S.FAILED, _S.CHECK_FAILED}),
    # completed: full-only tasks; check failed: something changed between the check and the start
    _S.RUNNING: frozenset({_S.READY, _S.COMPLETED, _S.FAILED, _S.CHECK_FAILED}),
    _S.READY: frozenset({_S.RUNNING, _S.FAILED}),
    _S.COMPLETING: frozenset({_S.READY, _S.COMPLETED, _S.FAILED}),
    _S.CANCELLING: frozenset({_S.CANCELLED}),
}

_CLEANS_UP = {(_S.CANCELLED, _S.CANCELLING), (_S.COMPLETED, _S.COMPLETING)}

TERMINAL = frozenset({_S.COMPLETED, _S.CANCELLED})
"""Statuses that nothing leaves by itself and in which nothing of ours runs on either server."""

LIVE = frozenset({_S.CHECKING, _S.SCHEDULED, _S.QUEUED, _S.RUNNING, _S.READY, _S.COMPLETING, _S.CANCELLING})
"""Statuses that can change without an operator: a page that shows one keeps polling."""

WORKED = frozenset({_S.QUEUED, _S.RUNNING, _S.READY, _S.COMPLETING, _S.CANCELLING})
"""Statuses in which a worker may hold the task."""

STOPPED = frozenset({_S.PAUSED, _S.FAILED, _S.CANCELLING, _S.CANCELLED})
"""Statuses in which a task that had begun moves no rows: what its sync was like before may not hold any more."""


_GONE = frozenset(
    {"SRC-SLOTLOST", "SRC-SLOTGONE", "SRC-FAILOVER", "SRC-SETBACK", "SPOOL-GONE", "DST-BOOKMARK", "DST-FAILOVER"}
)
_DOUBTED = frozenset({"DST-BOOKMARKSET", "SRC-DECODING", "SRC-TOOBIG"})


def only_new_copy_helps(code: str) -> bool:
    """Say whether a sync that stopped with this error would stop with it again after Retry."""
    return code in _GONE


def new_copy_helps(code: str, *, incremental: bool) -> bool:
    """Say whether a task that failed with this error may be restarted with a new copy.

    A new copy clears what the task made on the target, so it is for what a sync cannot get past. A row that is too
    large to be sent is such a thing once the source keeps it for the sync (SRC-TOOBIG), not while it is copied.
    """
    return incremental and code in _GONE | _DOUBTED


def allowed_actions(status: Status) -> list[Action]:
    """Return the actions that an operator may take now, in the order in which they are offered."""
    return [action for action, rule in RULES.items() if status in rule.allowed_from]


def may_move(current: Status, new: Status) -> bool:
    """Say whether some rule, an operator's or a worker's, leads from `current` to `new`."""
    by_operator = any(current in rule.allowed_from and rule.leads_to == new for rule in RULES.values())
    # Start with a time set waits as `scheduled` instead of `queued`; resume and retry in the sync need no place in the
    # queue of full migrations, and once targets are being opened they lead back into Complete.
    waits = (Status.CHECK_PASSED, Status.SCHEDULED)
    goes_on = {(Status.PAUSED, Status.RUNNING), (Status.FAILED, Status.RUNNING), (Status.FAILED, Status.COMPLETING)}
    by_operator = by_operator or (current, new) == waits or (current, new) in goes_on | _CLEANS_UP
    return by_operator or new in WORKER_MOVES.get(current, frozenset())


def steps_for(*, incremental: bool) -> list[StepName]:
    """Return the steps that a task of this kind runs after Start, in order."""
    names = [StepName.SCHEMA, StepName.COPY, StepName.INDEX]
    if incremental:
        names.append(StepName.SYNC)
    return [*names, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP]


def copies_from_the_start(step: str, *, incremental: bool) -> bool:
    """Say whether a run that is interrupted at this step has to copy every table anew.

    Without sync all rows must come from one snapshot, and that ends with the run.
    """
    return not incremental and step in ("", StepName.SCHEMA, StepName.COPY)


def may_still_copy(status: str, step: str) -> bool:
    """Say whether rows of a task in this status and step may still be copied."""
    early = step in ("", StepName.SCHEMA, StepName.COPY)
    return early and status not in (Status.COMPLETED, Status.CANCELLING, Status.CANCELLED)
