"""Ends waits: when the run must stop, and when a server is silent that does not work for us either.

A hung server, or a proxy that holds a connection without passing anything on, keeps a session waiting for ever: TCP's
own keepalives are answered by its kernel. So a second session is asked what the silent one does there.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import psycopg
from psycopg import pq
from psycopg.abc import PQGen

from .errors import ConnectionLost, Interrupted
from .plan import Side
from .wording import noun, say

STALL_SECONDS = 110.0
"""A server that shows the same sign of work for so long, without a byte, is given up; half of it, if it shows none.

So a line that is dead is noticed within a minute and a process that hangs within two, the wait for the last look and
for the end of the session included.
"""
STOP_SECONDS = 5.0
"""How long a statement may take to end after the run was told to stop and the server was asked to cancel it."""
TELL_SECONDS = 300.0
_POLL_MILLISECONDS = 1000
_SAMPLE_SECONDS = 5.0
_EVENTS = {1: select.POLLIN, 2: select.POLLOUT, 3: select.POLLIN | select.POLLOUT}
_Value = TypeVar("_Value")
Tell = Callable[[str, str, str], None]
"""Takes an event: level, code, message."""


class Patience:
    """Ends a wait when the run must stop, or when nothing has moved for `seconds` and the servers show no activity.

    `check` raises when the run must stop. `activity` returns a word for what the backends do now (asked through other
    sessions): as long as the word changes somebody works, however quiet the line is. An empty word says that nobody
    works, but waits for us, or cannot be reached; then half the time is enough.
    """

    def __init__(
        self,
        check: Callable[[], None],
        activity: Callable[[], str] | None = None,
        seconds: float | None = None,
    ) -> None:
        self.check = check
        self._activity = activity
        self._seconds = STALL_SECONDS if seconds is None else seconds
        self._moved_at = time.monotonic()
        self._sampled_at = 0.0
        self._words: set[str] = set()

    def moved(self) -> None:
        """Note that bytes went over the line."""
        self._moved_at = time.monotonic()
        self._words.clear()

    def waited(self) -> None:
        """Note that a moment passed without any. Raises ConnectionLost when the patience is over."""
        self.check()
        quiet = time.monotonic() - self._moved_at
        if quiet < self._seconds / 4:
            return
        if self._activity and time.monotonic() - self._sampled_at >= min(_SAMPLE_SECONDS, self._seconds / 10):
            self._words.add(self._activity())
            self._sampled_at = time.monotonic()
            if len(self._words) > 1:
                self.moved()
                return
        if quiet >= self._seconds / (2 if self._words == {""} else 1):
            raise ConnectionLost(
                say("No data for {seconds} seconds and no sign of work on either server.", seconds=int(quiet))
            )


class Vital(NamedTuple):
    """What a server says about one of its sessions."""

    state: str
    wait_type: str
    wait: str
    since: str
    blockers: str
    own: str = ""
    """Not empty when it waits for sessions of ours only, which nobody has to be told."""

    @property
    def works(self) -> bool:
        """Whether the session does something, or waits for somebody else than us."""
        return self.state == "active" and self.wait_type not in ("Client", "Activity")

    @property
    def word(self) -> str:
        """A word for it as `Patience` wants it."""
        return f"{self.state} {self.wait} {self.since}" if self.works else ""


BELIEVED = Vital("active", "", "unknown", "", "")
"""What is taken for granted when the server lets nobody in who could ask."""


class Watcher:
    """Watches over the waits of one session. Thread-safe as far as one thread uses the session at a time.

    `look` asks the session's server what it does, and returns None when that is gone or the server cannot be reached.
    `tell` is called with what keeps it waiting, at most once in five minutes. `at_work` asks whether the server runs a
    statement for the session; None when it cannot be asked.
    """

    def __init__(
        self,
        check: Callable[[], None],
        look: Callable[[], Vital | None] | None,
        tell: Callable[[Vital], None] | None = None,
        seconds: float | None = None,
        at_work: Callable[[], bool | None] = lambda: False,
    ) -> None:
        self.check = check
        self.seconds = seconds
        self.at_work = at_work
        self._look = look
        self._tell = tell
        self._told_at: float | None = None

    def activity(self) -> str:
        """Return a word for what the server does for the session, "" when nothing."""
        vital = self._look() if self._look else None
        if vital is None:
            return ""
        if vital.wait_type == "Lock" or vital.wait == "SyncRep":
            self._tell_sometimes(vital)
            return f"{vital.word} {time.monotonic()}"  # somebody else is waited for: never given up
        return vital.word

    def believing(self) -> str:
        """The same, but a server that says it works is believed for as long as it says so."""
        word = self.activity()
        return f"{word} {time.monotonic()}" if word else ""

    def _tell_sometimes(self, vital: Vital) -> None:
        if self._tell and not vital.own and (self._told_at is None or time.monotonic() - self._told_at >= TELL_SECONDS):
            self._told_at = time.monotonic()
            self._tell(vital)


class Session(psycopg.Connection[tuple[object, ...]]):
    """A session all of whose waits end some day. Without a watcher it is psycopg's own.

    A statement that is given up raises psycopg.OperationalError; one that does not end although the run must stop,
    what the watcher's `check` raises. In both cases the session is closed: its state is unknown.
    """

    watcher: Watcher | None = None
    process: int | None = None
    """The server's process that was given the session's settings; None where that does not matter."""
    number = 0
    """The number of the server's process, which a closed session does not tell any more."""
    at_rest = False
    """It was closed when nothing ran and no transaction was open, as far as we know."""

    def close(self) -> None:
        """Close the session, whatever it does. Idempotent."""
        if not self.closed:
            self.at_rest = self.pgconn.transaction_status == pq.TransactionStatus.IDLE
        super().close()

    def wait(self, gen: PQGen[_Value], interval: float = 0.1, timeout: float | None = None) -> _Value:
        """Run one of psycopg's generators to its end."""
        watcher = self.watcher
        if watcher is None or timeout is not None:
            return super().wait(gen, interval, timeout)
        patience = Patience(_Grace(watcher.check).check, watcher.believing, watcher.seconds)
        poll, descriptor = select.poll(), self.pgconn.socket
        try:
            wanted = next(gen)
            while True:
                poll.register(descriptor, _EVENTS[int(wanted)])
                try:
                    ready = _until_ready(poll, patience)
                except BaseException as error:
                    self.pgconn.finish()
                    gen.close()
                    if isinstance(error, ConnectionLost):
                        raise psycopg.OperationalError(error.message) from error
                    raise
                wanted = gen.send(ready)
        except StopIteration as end:
            value: _Value = end.value
            return value


def _until_ready(poll: select.poll, patience: Patience) -> int:
    """Wait until the descriptor is ready; returns psycopg's bits: 1 to read, 2 to write."""
    while not (found := poll.poll(_POLL_MILLISECONDS)):
        patience.waited()
    events = found[0][1]
    ready = (1 if events & select.POLLIN else 0) | (2 if events & select.POLLOUT else 0)
    return ready or 3  # an error on the socket: libpq finds out which


class _Grace:
    """Lets a statement end by itself for a moment after the run was told to stop."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._since: float | None = None

    def check(self) -> None:
        try:
            self._check()
        except Interrupted:
            now = time.monotonic()
            self._since = self._since or now
            if now - self._since >= STOP_SECONDS:
                raise


def at_work(connection: psycopg.Connection[tuple[object, ...]]) -> bool | None:
    """Say whether a session's server still runs a statement for it; None when nobody can tell now.

    A session that nobody watches over is taken to be through.
    """
    watcher = connection.watcher if isinstance(connection, Session) else None
    return watcher.at_work() if watcher else False


def activity_of(connection: psycopg.Connection[tuple[object, ...]]) -> str:
    """Return a word for what the server does for a session now, "" when nothing."""
    watcher = connection.watcher if isinstance(connection, Session) else None
    return watcher.activity() if watcher else "unknown"


def patience_with(
    connection: psycopg.Connection[tuple[object, ...]], check: Callable[[], None], *, believing: bool = False
) -> Patience:
    """Return the patience for a loop of our own over a session's socket. See `Watcher.believing`."""
    watcher = connection.watcher if isinstance(connection, Session) else None
    if watcher is None:
        return Patience(check)
    return Patience(check, watcher.believing if believing else watcher.activity)


def tell_wait(tell: Tell, side: Side, vital: Vital) -> None:
    """Tell the operator what others keep a session waiting for."""
    code = "SRC" if side is Side.SOURCE else "DST"
    if vital.wait == "SyncRep":
        message = say(
            "The {side} is not confirming commits: its synchronous standby does not answer "
            "(synchronous_standby_names). "
            "What is not confirmed is not counted as done; it goes on by itself.",
            side=noun(side),
        )
        tell("warning", f"{code}-STALLED", message)
        return
    message = say(
        "The {side} makes us wait for a lock that others hold: {holders}. It goes on by itself when they end.",
        side=noun(side),
        holders=vital.blockers or say("it does not say who"),
    )
    tell("warning", f"{code}-LOCKED", message)
