"""Replication slots on the source: made with a snapshot, found again, dropped.

Making a slot waits for every older writing transaction of the whole server. The wait is cut into short tries, so that
it can be told to the operator and ended at any time.
"""

from __future__ import annotations

import contextlib
import math
import time
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Protocol

import psycopg

from .connect import Connection, first_line, translate
from .errors import EngineError, SlotLost, SourceError
from .failover import Identity, go_on_at, identity_of, offer, require_not_set_back, require_promoted, took_over
from .failpoints import durable
from .lsn import parse_lsn
from .names import APPLICATION_PREFIX, quote, temporary_slot_name
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import DatabaseState, Kind, Ledger, LedgerItem, Store
from .replication import bookmark
from .replication.given_up import given_up
from .replication.lag import SlotState, require_slot
from .source_setup import age, database_oid
from .values import frozen
from .versions import (
    TEMPORARY_SLOTS_SINCE,
    create_slot,
    has_failover_slots,
    senders_hear_nothing,
    shows_slot_reader,
)
from .wording import count, listing, say

_TRY_SECONDS = 3
"""How long the first try waits for older transactions. Each begins with those that write then, so under
overlapping ones only a try can end that is long enough for some of them, one after the other: the next wait longer."""
_LONGER_BY = 3
_LONGEST_TRY_SECONDS, _LONGEST_TRY_BESIDE_SECONDS = 300, 30
_LONGEST_WAIT_SECONDS = 10.0
_TELL_EVERY_SECONDS = 240.0
_LOOK_SECONDS = 0.5
_TELL_AFTER_LOOKS, _TELL_EVERY_LOOKS = 6, 240
_END_OF_SESSION_TRIES = 100

_OLDER = """
SELECT 'PID ' || pid, coalesce(usename, ''), extract(epoch FROM pg_catalog.clock_timestamp() - xact_start)::bigint
  FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()
UNION ALL
SELECT 'prepared transaction ' || gid, owner, extract(epoch FROM pg_catalog.clock_timestamp() - prepared)::bigint
  FROM pg_catalog.pg_prepared_xacts
 ORDER BY 3 DESC NULLS LAST LIMIT 10
"""


class Beside(Protocol):
    """What stands still while a slot is made, and goes on between the tries."""

    def check(self) -> None:
        """Raise what ends the wait. Asked twice a second."""

    def go_on(self, seconds: float) -> None:
        """Let it go on for that long, after a try that lasted so long, and stop it again. May raise as `check` does."""


@frozen(kw_only=False)
class OpenedSlot:
    """A slot just made. Its snapshot can be imported until the slot is released.

    `borrowed`: what must be dropped and crossed off then, because servers before 10 know no temporary slots.
    """

    lsn: int
    export_id: str
    connection: Connection
    ledger: Ledger
    borrowed: LedgerItem | None = None

    def release(self) -> None:
        """End the session, and with it a temporary slot. What cannot be dropped now is in the ledger. Never raises."""
        with contextlib.suppress(psycopg.Error, OSError):
            if self.borrowed is not None:
                with durable("source.slot.drop"):
                    self.connection.execute(("DROP_REPLICATION_SLOT " + quote(self.borrowed.name)).encode())
                self.ledger.removed(self.borrowed)
        self.connection.close()


def identify(run: Run, database: DatabasePlan) -> Identity:
    """Return the source's system identifier and timeline."""
    with run.sessions.session(Side.SOURCE, database.source_name, replication=True) as connection:
        return identity_of(connection)


def create(
    run: Run,
    database: DatabasePlan,
    name: str,
    *,
    temporary: bool,
    encoding: str = "UTF8",
    beside: Beside | None = None,
) -> OpenedSlot:
    """Make a logical slot and keep its snapshot exported. A permanent one is written in the ledger first.

    `encoding`: of the session, which may stream from the slot later. Waits for older writing transactions, with an
    SRC-OLDTX event that names them. Raises SourceError, ConnectionLost, what `Control` raises, or what `beside` raises;
    then no slot is left by this try.
    """
    failover = not temporary and _outlives_failover(run, database, name)
    version = run.sessions.version(Side.SOURCE)
    statement, vanishes = create_slot(version, quote(name), temporary=temporary, failover=failover)
    item = LedgerItem(side=Side.SOURCE, database=database.source_name, kind=Kind.SLOT, name=name)
    if not vanishes:
        run.ports.ledger.intend(item)
    if temporary and not vanishes:
        drop_borrowed(run, database)
    connection, row = _patiently(run, database, statement, encoding, beside)
    borrowed = item if temporary and not vanishes else None
    return OpenedSlot(parse_lsn(str(row[1])), str(row[2]), connection, run.ports.ledger, borrowed)


def _outlives_failover(run: Run, database: DatabasePlan, name: str) -> bool:
    """Say whether the slot is made so that a standby can keep it in step, and tell it when one does."""
    if not has_failover_slots(run.sessions.version(Side.SOURCE)):
        return False
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        found = offer(connection)
    if found.kept:
        text = say("A standby of the source keeps the slot {name} in step: the sync can outlive a failover.", name=name)
        run.ports.store.event("info", "SRC-FAILOVERSLOT", text)
    return found.kept or (found.possible and run.plan.failover_slots)


def drop_borrowed(run: Run, database: DatabasePlan) -> None:
    """Drop what a killed run has left of slots that were to live shortly; before 10 they stay, and keep WAL."""
    if run.sessions.version(Side.SOURCE) >= TEMPORARY_SLOTS_SINCE:
        return
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        pattern = temporary_slot_name(run.plan.key, database_oid(connection), 0)[:-1].replace("_", "\\_") + "%"
        rows = connection.execute(
            "SELECT slot_name FROM pg_catalog.pg_replication_slots WHERE slot_name LIKE %s AND NOT active", (pattern,)
        ).fetchall()
        for row in rows:
            drop_leftover(run, connection, database, str(row[0]))


def give_back(run: Run, database: DatabasePlan, opened: OpenedSlot) -> None:
    """Drop a borrowed slot that was streamed from, when its session is closed.

    What cannot be dropped now is in the ledger. Raises only what `Control` raises.
    """
    if opened.borrowed is None:
        return
    with (
        contextlib.suppress(EngineError, psycopg.Error),
        run.sessions.session(Side.SOURCE, database.source_name) as connection,
    ):
        drop_leftover(run, connection, database, opened.borrowed.name)


def _patiently(
    run: Run, database: DatabasePlan, statement: str, encoding: str, beside: Beside | None
) -> tuple[Connection, tuple[object, ...]]:
    """Make the slot; return the session that holds its snapshot, and what the server said."""
    tries, seconds, told_at = 0, _TRY_SECONDS, -math.inf
    while True:
        run.ports.control.check()
        connection = run.sessions.open(
            Side.SOURCE, database.source_name, replication=True, encoding=encoding, lock_timeout=f"{seconds}s"
        )
        try:
            row = _execute(run, database, connection, statement, beside, seconds)
        except psycopg.Error as error:
            connection.close()
            run.ports.control.check()
            _raise_unless_busy(error)
        except BaseException:
            connection.close()
            raise
        else:
            if row is None:
                raise SourceError(say("The source made no replication slot and gave no reason."))
            return connection, tuple(row)
        if time.monotonic() - told_at >= _TELL_EVERY_SECONDS:
            run.ports.store.event("warning", "SRC-OLDTX", _waiting_for(run, database))
            told_at = time.monotonic()
        tries += 1
        if beside is None:
            run.ports.control.sleep(min(0.5 * tries, _LONGEST_WAIT_SECONDS))
        else:
            beside.go_on(seconds)
        seconds = min(seconds * _LONGER_BY, _LONGEST_TRY_BESIDE_SECONDS if beside else _LONGEST_TRY_SECONDS)


def _raise_unless_busy(error: psycopg.Error) -> None:
    """Raise what a try ended with, but for the end of its patience."""
    if error.sqlstate == "58P01":
        raise SourceError(
            say("The source lacks the library of the decoding plugin: {words}.", words=first_line(error)),
            hint=say(
                "Install what PostgreSQL brings along for the source's version (the package"
                " postgresql-contrib); nothing has to be restarted."
            ),
            code="SRC-PLUGIN",
        ) from error
    if not isinstance(error, _TryOver) and error.sqlstate != "55P03":
        raise translate(error, Side.SOURCE, say("making a replication slot")) from error


class _TryOver(psycopg.OperationalError):
    """A try took its time, and was ended by another session."""


@durable("source.slot.create")
def _execute(
    run: Run, database: DatabasePlan, connection: Connection, statement: str, beside: Beside | None, seconds: float
) -> tuple[object, ...] | None:
    """Run the statement. Where no timeout cuts its wait (before 10), or `beside` has to be asked, another session ends
    it when that must be.
    """
    deaf = senders_hear_nothing(connection.info.server_version)
    if not deaf and beside is None:
        return connection.execute(statement.encode()).fetchone()
    with run.sessions.session(Side.SOURCE, database.source_name) as other, ThreadPoolExecutor(1) as pool:
        future = pool.submit(lambda: connection.execute(statement.encode()).fetchone())
        looks, began = 0, time.monotonic()
        try:
            while not wait([future], _LOOK_SECONDS).done:
                run.ports.control.check()
                if beside is not None:
                    beside.check()
                if deaf and beside is not None and time.monotonic() - began >= seconds:
                    raise _TryOver
                looks += 1
                if looks % _TELL_EVERY_LOOKS == _TELL_AFTER_LOOKS and deaf and beside is None:
                    run.ports.store.event("warning", "SRC-OLDTX", _waiting_for(run, database))
        except BaseException:
            with contextlib.suppress(psycopg.Error):
                other.execute("SELECT pg_catalog.pg_terminate_backend(%s)", (connection.info.backend_pid,))
            raise
        return future.result()


def _waiting_for(run: Run, database: DatabasePlan) -> str:
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        rows = connection.execute(_OLDER).fetchall()
    if not rows:
        return say("Waiting for older transactions on the source.")
    return say(
        "Waiting for {number} on the source: {names}.",
        number=count(len(rows), "{number} older transaction", "{number} older transactions"),
        names=listing(
            say("{who}, user {user}, {age}", who=who, user=user, age=age(seconds)) for who, user, seconds in rows
        ),
    )


def require(run: Run, connection: Connection, database: DatabasePlan, state: DatabaseState) -> None:
    """Raise SlotLost unless the task's slot stands, usable, on the server that the task began with.

    A standby that took over, and has the slot with all that is still needed, is told and is that server from now on.
    Not once the sync has begun: what it has confirmed is needed no more.
    """
    require_promoted(connection)
    with run.sessions.session(Side.SOURCE, database.source_name, replication=True) as replicating:
        identity = identity_of(replicating)
        if took_over(connection, identity, state, state.bookmark or state.consistent_point or 0):
            _go_on_at(run, database, replicating, connection, state, identity)
            return
    if (identity.system_id, identity.timeline) != (state.system_id, state.timeline):
        raise SlotLost(
            say("This is not the server, or not the history of it, that the task started with."),
            hint=say("Correct the address of the source, or cancel the task and start it again with a new copy."),
            code="SRC-CHANGED",
        )
    slot = require_not_set_back(connection, run.ports.store.tables(database.source_name), state)
    row = connection.execute(
        "SELECT pg_catalog.row_to_json(s) ->> 'wal_status' FROM pg_catalog.pg_replication_slots s"
        " WHERE s.slot_name = %s AND s.database = current_database()",
        (state.slot,),
    ).fetchone()
    if row is None:
        raise SlotLost(
            say(
                "The replication slot {slot} on the source is gone: changes that are still needed cannot be had.",
                slot=state.slot,
            ),
            hint=say("Press Restart with new copy: it removes what is ours and begins anew."),
            code="SRC-SLOTGONE",
        )
    if row[0] == "lost":
        raise given_up(slot.why_lost, state.slot, state.bookmark or state.consistent_point or 0)
    require_unread(run.ports.store, slot, state)


def require_unread(store: Store, slot: SlotState, state: DatabaseState) -> None:
    """Raise SlotLost when the task's slot, looked at before the sync has begun, is gone or has lost changes.

    Nobody has to read from it until then but who fills the task's spool, which is looked at where it is opened.
    """
    if state.consistent_point is not None and store.spool(state.source_name) is None:
        require_slot(slot, state.slot, state.consistent_point)


def _go_on_at(
    run: Run,
    database: DatabasePlan,
    replicating: Connection,
    connection: Connection,
    state: DatabaseState,
    now: Identity,
) -> None:
    """Take a standby that took over for the source. Raises SlotLost when something may be missing, or too much."""
    with run.sessions.session(Side.TARGET, database.target_name) as target:
        try:
            row = bookmark.read(target, run.plan.key)
        except psycopg.Error as error:
            raise translate(error, Side.TARGET, say("reading the bookmark")) from error
    position = row.lsn if row else state.consistent_point or 0
    told = say(
        "A standby of the source took over (timeline {timeline}) and has the slot {slot}: what is copied is kept, and "
        "the rest is copied from it.",
        timeline=now.timeline,
        slot=state.slot,
    )
    store = run.ports.store
    go_on_at(store, store.tables(database.source_name), replicating, connection, state, now, position, told)


def drop_leftover(run: Run, connection: Connection, database: DatabasePlan, name: str) -> bool:
    """Drop a slot of ours from which nobody has read, if it is there. Says whether it was.

    Ends the session that still holds it. Not for a slot whose changes are needed.
    """
    for _ in range(_END_OF_SESSION_TRIES):
        found, readers = readers_of(connection, name)
        if not found:
            return False
        if not readers:
            with durable("source.slot.drop"):
                connection.execute("SELECT pg_catalog.pg_drop_replication_slot(%s)", (name,))
            run.ports.ledger.removed(
                LedgerItem(side=Side.SOURCE, database=database.source_name, kind=Kind.SLOT, name=name)
            )
            return True
        connection.execute("SELECT count(pg_catalog.pg_terminate_backend(p)) FROM unnest(%s::int[]) p", (readers,))
        run.ports.control.sleep(0.1)
    raise SourceError(
        say("The replication slot {name} on the source is in use and its session does not end.", name=name),
        hint=say("End the session that pg_replication_slots names as active_pid, then retry."),
        code="SRC-SLOTBUSY",
        retryable=True,
    )


def readers_of(connection: Connection, name: str) -> tuple[bool, list[int]]:
    """Return whether a slot of ours is there, and the processes that read it.

    9.4 does not tell which one does: there all WAL senders of the task that the slot's name belongs to are named.
    """
    row = connection.execute(
        "SELECT active, (pg_catalog.row_to_json(s) ->> 'active_pid')::int FROM pg_catalog.pg_replication_slots s"
        " WHERE slot_name = %s",
        (name,),
    ).fetchone()
    if row is None:
        return False, []
    active, pid = bool(row[0]), row[1]
    if shows_slot_reader(connection.info.server_version):
        return True, [] if pid is None else [int(str(pid))]
    if not active:
        return True, []
    key = name.removeprefix(f"{APPLICATION_PREFIX}_").partition("_")[0]
    rows = connection.execute(
        "SELECT pid FROM pg_catalog.pg_stat_replication WHERE application_name LIKE %s",
        (f"{APPLICATION_PREFIX}:{key}:%",),
    ).fetchall()
    return True, [int(str(one[0])) for one in rows] or [0]


def end_own_reader(connection: Connection, key: str, pid: int) -> bool:
    """End a reader that a task itself left behind, in this epoch or an older one; False for a stranger's."""
    ended = connection.execute(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
        " WHERE pid = %s AND application_name LIKE %s",
        (pid, f"{APPLICATION_PREFIX}:{key}:%"),
    )
    return bool(ended.fetchall())
