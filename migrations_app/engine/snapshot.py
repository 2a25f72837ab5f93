"""Opens the snapshot under which schema and rows of one source database are read, and keeps it open.

Three sessions belong together. The *locker* holds ACCESS SHARE on every selected table from before the snapshot: it
stops what an older snapshot would not survive (TRUNCATE, rewrites). The *slot* gives the snapshot its exact place in
the stream of changes. The *holder* imports that snapshot and lends it to any number of sessions.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import psycopg

from . import slots, source_setup
from .catalog import Table, read_tables, selected_tables
from .connect import Connection, end_older_sessions, translate
from .errors import ConnectionLost, SourceError
from .names import literal, qualified, slot_name, temporary_slot_name
from .outcome import Run
from .plan import DatabasePlan, Side

_LOCK_BATCH = 500
_PING_SECONDS = 1.0
_DRIFT_TRIES = 3
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(kw_only=True)
class Snapshot:
    """An open snapshot of one source database. Alive as long as its sessions; `close` frees what it pins.

    `lsn` is its exact place in the stream of changes (None for a task without incremental sync): a change committed
    before it is in the snapshot, a later one is not. `tables` are the selected tables as the snapshot sees them.
    """

    database: str
    lsn: int | None
    export_id: str
    holder: Connection
    locker: Connection | None = None
    tables: list[Table] = field(default_factory=list)
    _pinged_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def alive(self) -> bool:
        """Say whether both sessions still stand. Asks the server, at most once a second. Thread-safe."""
        with self._lock:
            if self.holder.closed or (self.locker and self.locker.closed):
                return False
            if time.monotonic() - self._pinged_at < _PING_SECONDS:
                return True
            try:
                for connection in (self.holder, self.locker):
                    if connection:
                        connection.execute("SELECT 1")
            except psycopg.Error:
                self._close()
                return False
            self._pinged_at = time.monotonic()
            return True

    def check(self) -> None:
        """Raise ConnectionLost when the snapshot is gone. Called between tables."""
        if not self.alive():
            raise ConnectionLost(f"The session that holds the snapshot of {self.database} on the source has ended.")

    def import_into(self, connection: Connection) -> None:
        """Begin a transaction that sees this snapshot (autocommit session). Raises ConnectionLost when it is gone."""
        import_snapshot(connection, self.export_id)

    def close(self) -> None:
        """End the sessions: the source may clean up again. Idempotent."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        for connection in (self.holder, self.locker):
            if connection:
                with contextlib.suppress(psycopg.Error, OSError):
                    connection.close()


def import_snapshot(connection: Connection, export_id: str) -> None:
    """Begin a REPEATABLE READ transaction under an exported snapshot. Raises ConnectionLost when it is gone."""
    try:
        connection.execute(_BEGIN)
        connection.execute("SET TRANSACTION SNAPSHOT " + literal(export_id))
    except psycopg.Error as error:
        raise ConnectionLost(f"The snapshot {export_id} of the source is gone.") from error


def open_first(run: Run, database: DatabasePlan) -> Snapshot:
    """Open the snapshot that a task starts from, with the slot that remembers every later change.

    Repeatable: what a killed run left without a known consistent point is replaced; with one, this is `open_again`.
    Puts the snapshot into `run.snapshots`. Waits as long as it takes for older writing transactions (with events).
    Raises SourceError, ConnectionLost, ConnectFailed or what `Control` raises.
    """
    state = run.ports.store.database(database.source_name)
    if state.consistent_point is not None:
        return open_again(run, database)
    _close_known(run, database)
    with _housekeeping(run, database) as connection:
        oid = source_setup.database_oid(connection)
        slot = slot_name(run.plan.key, oid)
        if run.plan.incremental:
            slots.drop_leftover(run, connection, database, slot)
        snapshot = _open(run, database, connection, slot if run.plan.incremental else "", temporary=False)
    run.snapshots[database.source_name] = snapshot
    return snapshot


def open_again(run: Run, database: DatabasePlan) -> Snapshot:
    """Open a new snapshot for what is not copied yet; the task's slot keeps its place and its changes.

    The snapshot's place X2 comes from a temporary slot, so that the tables copied under it skip what they contain.
    Raises SlotLost when the task's slot is gone or another server answers; otherwise as `open_first`.
    """
    state = run.ports.store.database(database.source_name)
    if run.plan.incremental and state.consistent_point is None:
        return open_first(run, database)
    _close_known(run, database)
    with _housekeeping(run, database) as connection:
        temporary = ""
        if run.plan.incremental:
            slots.require(run, connection, database, state)
            oid = source_setup.database_oid(connection)
            temporary = temporary_slot_name(run.plan.key, oid, run.plan.epoch)
        snapshot = _open(run, database, connection, temporary, temporary=True)
    run.snapshots[database.source_name] = snapshot
    return snapshot


def _close_known(run: Run, database: DatabasePlan) -> None:
    known = run.snapshots.pop(database.source_name, None)
    if known:
        known.close()


@contextlib.contextmanager
def exported_at_slot(
    run: Run, database: DatabasePlan, name: str, *, temporary: bool = True
) -> Iterator[tuple[int, Snapshot]]:
    """Make a slot only for its snapshot; yields (X, snapshot) and frees both afterwards. No tables are locked.

    Hold the applier at a commit boundary first: the slot must come after everything that is applied already.
    """
    opened = slots.create(run, database, name, temporary=temporary)
    try:
        holder = _hold(run, database, opened.export_id)
    finally:
        opened.connection.close()
    snapshot = Snapshot(database=database.source_name, lsn=opened.lsn, export_id=_export(holder), holder=holder)
    try:
        snapshot.tables = _selected(run, database, holder)
        yield opened.lsn, snapshot
    finally:
        snapshot.close()


def open_now(run: Run, database: DatabasePlan) -> Snapshot:
    """Open a snapshot of this moment without a place in the stream; nothing is locked and nothing is made."""
    holder = _hold(run, database, "")
    try:
        snapshot = Snapshot(database=database.source_name, lsn=None, export_id=_export(holder), holder=holder)
        snapshot.tables = _selected(run, database, holder)
    except BaseException:
        holder.close()
        raise
    return snapshot


@contextlib.contextmanager
def _housekeeping(run: Run, database: DatabasePlan) -> Iterator[Connection]:
    """Give a session for catalog work on the source, on which sessions of dead runs have been ended."""
    with run.sessions.session(Side.SOURCE, database.source_name, lock_timeout="2s") as connection:
        try:
            end_older_sessions(connection, run.plan.key, run.plan.epoch)
            yield connection
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.SOURCE, f"opening the snapshot of {database.source_name}") from error


def _open(run: Run, database: DatabasePlan, connection: Connection, slot: str, *, temporary: bool) -> Snapshot:
    """Run the opening sequence; again when tables came or went between the locks and the snapshot."""
    for _ in range(_DRIFT_TRIES):
        tables = _selected_now(run, database, connection)
        publication = ""
        if slot:
            publication = source_setup.prepare(run, database, connection, tables, anew=not temporary)
        snapshot = _open_once(run, database, connection, tables, slot, temporary=temporary)
        if {table.oid for table in snapshot.tables} == {table.oid for table in tables}:
            if slot and not temporary:
                _remember(run, database, slot, publication, snapshot.lsn)
            return snapshot
        snapshot.close()
        if slot and not temporary:
            slots.drop_leftover(run, connection, database, slot)
    raise SourceError(
        f"Tables of {database.source_name} come and go too fast for a consistent copy.",
        hint="Stop whatever creates and drops tables on the source until the copy has begun, then retry.",
        code="SRC-DDL",
        retryable=True,
    )


def _open_once(
    run: Run, database: DatabasePlan, connection: Connection, tables: list[Table], slot: str, *, temporary: bool
) -> Snapshot:
    locker = _lock_tables(run, database, connection, tables)
    holder: Connection | None = None
    try:
        lsn = None
        if slot:
            opened = slots.create(run, database, slot, temporary=temporary)
            lsn = opened.lsn
            try:
                holder = _hold(run, database, opened.export_id)
            finally:
                opened.connection.close()
        else:
            holder = _hold(run, database, "")
        snapshot = Snapshot(
            database=database.source_name, lsn=lsn, export_id=_export(holder), holder=holder, locker=locker
        )
        snapshot.tables = _selected(run, database, holder)
        return snapshot
    except BaseException:
        for one in (locker, holder):
            if one:
                one.close()
        raise


def _lock_tables(run: Run, database: DatabasePlan, asking: Connection, tables: list[Table]) -> Connection:
    """Return a session that holds ACCESS SHARE on all tables. It has no snapshot, so it keeps nothing from clean-up."""
    locker = run.sessions.open(Side.SOURCE, database.source_name, lock_timeout="5s")

    def attempt() -> None:
        locker.execute("ROLLBACK")
        locker.execute("BEGIN")
        for at in range(0, len(tables), _LOCK_BATCH):
            names = ", ".join("ONLY " + qualified(one.schema, one.name) for one in tables[at : at + _LOCK_BATCH])
            locker.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")

    try:
        source_setup.persist(run, asking, tables, attempt, "locking the selected tables", ["AccessExclusiveLock"])
    except BaseException:
        locker.close()
        raise
    return locker


def _hold(run: Run, database: DatabasePlan, export_id: str) -> Connection:
    # Reading a table's size waits for whoever locks it: not for ever.
    holder = run.sessions.open(Side.SOURCE, database.source_name, lock_timeout="10s")
    try:
        if export_id:
            import_snapshot(holder, export_id)
        else:
            holder.execute(_BEGIN)
    except BaseException:
        holder.close()
        raise
    return holder


def _export(holder: Connection) -> str:
    row = holder.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
    return str(row[0]) if row else ""


def _selected(run: Run, database: DatabasePlan, connection: Connection) -> list[Table]:
    return selected_tables(read_tables(connection), run.plan.selection, database.source_name)


def _selected_now(run: Run, database: DatabasePlan, connection: Connection) -> list[Table]:
    """Return the selected tables as they are now; asking for sizes waits for whoever locks a table."""
    found: list[Table] = []

    def attempt() -> None:
        found[:] = _selected(run, database, connection)

    source_setup.persist(run, connection, [], attempt, "reading the table sizes", ["AccessExclusiveLock"])
    return found


def _remember(run: Run, database: DatabasePlan, slot: str, publication: str, lsn: int | None) -> None:
    identity = slots.identify(run, database)
    state = run.ports.store.database(database.source_name)
    run.ports.store.save_database(
        replace(
            state,
            slot=slot,
            publication=publication,
            consistent_point=lsn,
            system_id=identity.system_id,
            timeline=identity.timeline,
        )
    )
