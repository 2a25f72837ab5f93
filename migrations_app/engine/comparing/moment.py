"""Moments at which source and target can be compared row by row, also while the application goes on writing."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from .. import slots
from ..catalog import Table
from ..connect import Connection
from ..mapping import renaming_of
from ..names import literal, qualified, temporary_slot_name
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..snapshot import Snapshot
from ..source_setup import database_oid
from ..values import frozen
from ..wording import say
from .follower import Follower
from .hashing import prints_floats_apart

TableName = tuple[str, str]

_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_LOOK_SECONDS = 0.5
_LOCK_TIMEOUT = "2s"  # the longest time for which our lock may queue in front of the application's


@frozen
class Moment:
    """Two exported snapshots that show the same state of the application. Valid while its context is open."""

    lsn: int | None
    """The source position that both snapshots stand for; None when nothing is synced."""
    source_snapshot: str
    target_snapshot: str
    tables: list[Table] | None = None
    """All user tables of the source, where they have been read under this very snapshot before."""
    rows_applied: int | None = None
    """Changes that the sync had applied at `lsn`, in all its sessions."""
    locked: tuple[Connection, Connection] | None = None
    """Sessions (source, target) that hold the tables' locks. These tables must be read by these sessions: any other
    one would queue behind a TRUNCATE that waits for our lock."""


def open_under(run: Run, side: Side, database: str, snapshot: str) -> Connection:
    """Open a read-only session that sees what the exported snapshot shows, with the settings of a comparison."""
    connection = _open(run, side, database)
    _import(connection, snapshot)
    return connection


@contextlib.contextmanager
def standing(
    run: Run, database: DatabasePlan, held: Snapshot | None = None, lock: Sequence[TableName] = ()
) -> Iterator[Moment]:
    """Yield a moment for a task without sync: a held snapshot of the source, or its state now; the target as it is.

    What was read under the held snapshot is read no second time.
    """
    source_snapshot = held.export_id if held else ""
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(contextlib.closing(_open(run, Side.SOURCE, database.source_name)))
        target = stack.enter_context(contextlib.closing(_open(run, Side.TARGET, database.target_name)))
        for connection, names in ((source, lock), (target, _there(run, database, lock))):
            connection.execute(_BEGIN)
            _lock(connection, names)
        yield Moment(
            lsn=None,
            source_snapshot=source_snapshot or _export(source),
            target_snapshot=_export(target),
            tables=held.everything if held else None,
            locked=(source, target) if lock and not source_snapshot else None,
        )


@contextlib.contextmanager
def while_syncing(
    run: Run,
    database: DatabasePlan,
    follower: Follower,
    check: Callable[[], None],
    lock: Sequence[TableName] = (),
) -> Iterator[Moment]:
    """Yield a moment of a running sync. The sync stands still only until both snapshots are taken, and goes on now and
    then while older transactions of the source make that wait. `check` is asked all the while, and may raise.

    The order matters: the applier stops at a commit boundary *before* the slot is made, so that nothing later than the
    slot's position is on the target; then it goes on exactly to that position. `lock`: tables that must not be
    emptied or rewritten meanwhile; they stay locked (ACCESS SHARE) until the context is left. Raises LockNotAvailable
    when that cannot be had soon.
    """
    follower.pause(check)
    name = _slot_name(run, database)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(contextlib.closing(_open(run, Side.SOURCE, database.source_name)))
        lsn = _import_at_slot(run, database, name, source, _Paused(run, follower, check))
        # Not before the slot is made: a TRUNCATE that waits for our lock is a transaction that the slot waits for.
        _lock(source, lock)
        source_snapshot = _export(source)
        follower.run_to(lsn)
        follower.wait(check)
        target = stack.enter_context(contextlib.closing(_open(run, Side.TARGET, database.target_name)))
        target.execute(_BEGIN)
        _lock(target, _there(run, database, lock))
        target_snapshot, rows_applied = _export(target), follower.rows_applied
        follower.resume()
        yield Moment(
            lsn=lsn,
            source_snapshot=source_snapshot,
            target_snapshot=target_snapshot,
            rows_applied=rows_applied,
            locked=(source, target) if lock else None,
        )


def _open(run: Run, side: Side, database: str) -> Connection:
    settings = {"xmlbinary": "base64", "lock_timeout": _LOCK_TIMEOUT}
    if run.sessions.version(side) >= 110000:
        settings["jit"] = "off"
    if prints_floats_apart([run.sessions.version(one) for one in Side]):
        settings["extra_float_digits"] = "0"
    return run.sessions.open(side, database, autocommit=True, replication=False, encoding="UTF8", **settings)


def _import(connection: Connection, snapshot: str) -> None:
    connection.execute(_BEGIN)
    connection.execute(("SET TRANSACTION SNAPSHOT " + literal(snapshot)).encode())


class _Paused:
    """A sync that stands still while a slot is made (`slots.Beside`)."""

    def __init__(self, run: Run, follower: Follower, check: Callable[[], None]) -> None:
        self._ports, self._follower, self.check = run.ports, follower, check

    def go_on(self, seconds: float) -> None:
        """Let the sync go on for as long as it has stood still, and pause it again."""
        self._ports.store.step_progress(0, 1, say("waiting for older transactions of the source"))
        until = time.monotonic() + seconds
        self._follower.resume()
        while time.monotonic() < until:
            self._ports.control.sleep(_LOOK_SECONDS)
            self._follower.check()
            self.check()
        self._follower.pause(self.check)


def _import_at_slot(run: Run, database: DatabasePlan, name: str, connection: Connection, paused: _Paused) -> int:
    """Make a temporary slot for the sake of its snapshot, begin under it, and return its exact position."""
    opened = slots.create(run, database, name, temporary=True, beside=paused)
    try:
        _import(connection, opened.export_id)
    finally:
        opened.release()
    return opened.lsn


def _lock(connection: Connection, tables: Sequence[TableName]) -> None:
    """Lock tables against TRUNCATE and rewriting DDL until the transaction ends. Raises LockNotAvailable."""
    if tables:
        names = ", ".join(qualified(*table) for table in tables)  # with its partitions, where it has some
        connection.execute(("LOCK TABLE " + names + " IN ACCESS SHARE MODE").encode())


def _there(run: Run, database: DatabasePlan, tables: Sequence[TableName]) -> list[TableName]:
    renaming = renaming_of(run, database)
    return [renaming.place(table) for table in tables]


def _export(connection: Connection) -> str:
    row = connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
    return str(row[0] if row else "")


def _slot_name(run: Run, database: DatabasePlan) -> str:
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        return temporary_slot_name(run.plan.key, database_oid(connection), run.plan.epoch)
