"""The sessions of one check: each is lent to one item at a time, so that no item waits for another one's statement."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psycopg
from psycopg import pq

from ..connect import Connection
from ..diagnose import NETWORK_CODES, TLS_CODES
from ..errors import ConnectFailed, EngineError
from ..plan import Server, Side
from ..ports import Control
from ..probe import cut
from ..spare import is_quiet
from ..wording import noun, say

MOST_SESSIONS = 10
"""Open sessions on one side beyond which idle ones are closed."""
MOST_HELD = 3
"""Sessions on one side that an item holds at once: one that goes through all databases gives back the first ones."""
OF_THE_WHOLE_SIDE = NETWORK_CODES | TLS_CODES | {"AUTH-FAILED", "VERSION-OUT-OF-RANGE"}
"""Failures of one login that every other login to the server would meet as well."""
CANCELLED = "57014"
_PLACE_SECONDS = 0.5
Key = tuple[Side, str]


class Unavailable(Exception):
    """An item cannot look because a session or a fact cannot be had; carries the failure."""

    def __init__(self, failure: EngineError) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(eq=False)
class Loan:
    """What one thread holds while an item looks, and until when (monotonic seconds) it may hold it."""

    due: float = math.inf
    overdue: bool = False
    waited: float = 0.0
    """Seconds in which another thread read what this one needed as well."""
    alone: bool = False
    """It shares no session, as long as the server has room for one more."""
    shared: bool = False
    """It held a session that others used meanwhile: what they wait for, and what ends them, meets it as well."""
    held: dict[Key, Connection] = field(default_factory=dict)
    fresh: list[Connection] = field(default_factory=list)

    @property
    def sides(self) -> set[Side]:
        """The servers of whose sessions this holds one."""
        return {side for side, _database in self.held}

    def was_disturbed(self, error: psycopg.Error) -> bool:
        """Say whether an error may come from others that the block shares a session with.

        One that is overdue takes the session from all of them; and who waited for their statements was late for them.
        """
        return self.shared and (self.overdue or error.sqlstate in (None, CANCELLED))

    def sessions(self) -> list[Connection]:
        """Return every session of this loan; safe while the thread borrows more."""
        return [*self.held.copy().values(), *self.fresh.copy()]


class Pool:
    """Sessions by server and database, opened when they are needed. Thread-safe.

    A connection that failed once is not tried again: an unreachable server costs its wait once, and so does one
    database of a reachable server. Where connections are scarce, one session per database serves every item in turn.
    """

    def __init__(self, control: Control, connect: Callable[[Side, str], Connection]) -> None:
        self._control = control
        self._connect = connect
        self._changed = threading.Condition()
        self._idle: dict[Key, list[Connection]] = defaultdict(list)
        self._busy: dict[Key, list[Connection]] = defaultdict(list)
        self._holders: dict[Connection, list[Loan]] = defaultdict(list)
        self._opening: set[Key] = set()
        self._failures: dict[Key | Side, EngineError] = {}
        self._scarce: set[Side] = set()
        self._full: set[Side] = set()
        self._alone: set[Connection] = set()  # lent to one that shares none
        self._retired: set[Connection] = set()
        self._closed = False

    def spare(self, side: Side) -> None:
        """Share one session per database on this side from now on."""
        with self._changed:
            self._scarce.add(side)

    def fail(self, side: Side, failure: EngineError) -> None:
        """Remember that a side does not answer any more."""
        with self._changed:
            self._failures[side] = failure
            self._changed.notify_all()

    def retire(self, sessions: Iterable[Connection]) -> set[Connection]:
        """Lend these sessions to nobody any more, because they are about to be ended; return those not yet retired."""
        with self._changed:
            retired = set(sessions) - self._retired
            self._retired |= retired
            return retired

    def _is_usable(self, connection: Connection) -> bool:
        """Say whether a session can be lent. One that nobody has, and that the server has ended meanwhile, is closed:
        libpq would notice only at the next statement."""
        if not connection.closed and connection not in self._holders and not is_quiet(connection):
            _close(connection)
        return not connection.closed and connection not in self._retired

    def refuse(self, side: Side) -> None:
        """Raise Unavailable when this side is known not to answer."""
        with self._changed:
            if failure := self._failures.get(side):
                raise Unavailable(failure)

    def take(self, key: Key, loan: Loan) -> Connection:
        """Return the session of this loan on a database. Raises Unavailable, or what `Control.check` raises."""
        known = loan.held.get(key)
        if known is not None and not known.closed:
            return known
        if known is not None:
            self.give_back(loan, [key])  # it was lost
        self.give_back(loan, [held for held in loan.held if held[0] is key[0]][: 1 - MOST_HELD])
        while True:
            connection = self._at_hand(key, loan) or self._open(key, loan)
            if connection is not None:
                return connection

    def _at_hand(self, key: Key, loan: Loan) -> Connection | None:
        """Return a session that is there already; None when this thread is the one to open it."""
        side = key[0]
        with self._changed:
            while True:
                self._control.check()
                failure = self._failures.get(side) or self._failures.get(key)
                if failure is not None:
                    raise Unavailable(failure)
                idle = self._idle[key]
                while idle:
                    if self._is_usable(connection := idle.pop()):
                        return self._lend(key, connection, loan)
                alone = set() if side in self._full else self._alone
                busy = [known for known in self._busy[key] if self._is_usable(known) and known not in alone]
                if busy and side in self._scarce and (side in self._full or not loan.alone):
                    return self._lend(key, busy[0], loan)
                if busy or key not in self._opening:
                    self._opening.add(key)
                    return None
                self._changed.wait(0.5)

    def _lend(self, key: Key, connection: Connection, loan: Loan) -> Connection:
        holders = self._holders[connection]
        if not holders:
            self._busy[key].append(connection)
        holders.append(loan)
        if len(holders) > 1:
            for one in holders:
                one.shared = True
        if loan.alone:
            self._alone.add(connection)
        loan.held[key] = connection
        return connection

    def _open(self, key: Key, loan: Loan) -> Connection | None:
        """Open a session; None when the server has no room for it but another one can be shared."""
        self._close_idle(key[0])
        try:
            connection = self._connect(*key)
        except EngineError as failure:
            with self._changed:
                if failure.code == "CONNECT-FULL" and self._busy[key]:
                    self._scarce.add(key[0])
                    self._full.add(key[0])
                    if not any(map(self._is_usable, self._busy[key])):
                        self._changed.wait(_PLACE_SECONDS)  # what is being ended still has its place on the server
                    return None
                self._failures[key] = failure
                if failure.code in OF_THE_WHOLE_SIDE:
                    self._failures[key[0]] = failure
                raise Unavailable(failure) from failure
        finally:
            with self._changed:
                self._opening.discard(key)
                self._changed.notify_all()
        with self._changed:
            if self._closed:  # nobody will give it back
                _close(connection)
                raise Unavailable(EngineError(say("The check is over."), code="CHECK-OVER"))
            return self._lend(key, connection, loan)

    def _close_idle(self, side: Side) -> None:
        """Keep a task of many databases from taking many connections: the longest unused one goes first."""
        with self._changed:
            pools = (self._idle, self._busy)
            number = sum(len(known) for pool in pools for key, known in pool.items() if key[0] is side)
            for key in list(self._idle):
                while key[0] is side and self._idle[key] and number >= MOST_SESSIONS:
                    _close(self._idle[key].pop(0))
                    number -= 1

    def give_back(self, loan: Loan, keys: Iterable[Key] | None = None) -> None:
        """Take sessions of a loan, or all of them, back for others; one that is not as it was before is closed."""
        with self._changed:
            for key in list(loan.held) if keys is None else list(keys):
                connection = loan.held.pop(key)
                self._holders[connection].remove(loan)
                if self._holders[connection]:
                    continue
                del self._holders[connection]
                self._alone.discard(connection)
                self._busy[key].remove(connection)
                usable = self._is_usable(connection)
                if usable and connection.info.transaction_status == pq.TransactionStatus.IDLE:
                    self._idle.setdefault(key, []).append(connection)
                else:
                    _close(connection)
            self._changed.notify_all()

    def close(self) -> None:
        """Close every session, whatever state it is in, and any that is still being opened. Never raises."""
        with self._changed:
            self._closed = True
            for pool in (self._idle, self._busy):
                for known in pool.values():
                    for connection in known:
                        _close(connection)

    def busy(self) -> list[Connection]:
        """Return the sessions that are lent."""
        with self._changed:
            return [item for known in self._busy.values() for item in known if not item.closed]


def _close(connection: Connection) -> None:
    with contextlib.suppress(psycopg.Error, OSError):
        connection.close()


def stop(connections: Iterable[Connection]) -> None:
    """End what runs on these sessions: ask the server once to cancel it, then cut them. Takes two seconds at most."""
    known = list(connections)
    threads = [threading.Thread(target=_cancel, args=(connection,), daemon=True) for connection in known]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2.0)
    for connection in known:
        cut(connection)


def _cancel(connection: Connection) -> None:
    with contextlib.suppress(psycopg.Error, OSError):
        connection.cancel_safe(timeout=2.0)


def stopped_answering(side: Side, server: Server) -> ConnectFailed:
    """Return the failure of a server that lets nobody in any more."""
    return ConnectFailed(
        say("The {side} {host}:{port} has stopped answering.", side=noun(side), host=server.host, port=server.port),
        hint=say("Look at the server and at the network between, then check again."),
        code="CONNECT-TIMEOUT",
    )
