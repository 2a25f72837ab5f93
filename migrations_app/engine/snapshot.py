"""Opens the snapshot under which schema and rows of one source database are read, and keeps it open.

Two sessions belong together. The *slot* gives the snapshot its exact place in the stream of changes. The *holder*
imports that snapshot and lends it to any number of sessions. No table stays locked: the application may empty and
rewrite its tables at any time, and whoever reads one under an older snapshot must see whether that happened
(`unmoved`).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import psycopg

from . import keeping_step, publishing, slots, source_setup
from .catalog import Table, moving_tables, read_tables
from .connect import Connection, end_older_sessions, translate
from .errors import ConnectionLost, EngineError, SourceError
from .holding import Hold
from .layouts import arranged, expanded, layouts_of
from .names import literal, slot_name, temporary_slot_name
from .outcome import Run
from .parts import Shares
from .plan import DatabasePlan, Side
from .unmoved import LOCK_NOT_AVAILABLE, TableName, lock_text, standing_text
from .versions import exports_hold_transactions
from .wording import say

_PING_SECONDS = 1.0
_DRIFT_TRIES = 3
_LOCK_TIMEOUT = "2s"
_LONGEST_PAUSE_SECONDS = 5.0
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


@dataclass(kw_only=True)
class Snapshot:
    """An open snapshot of one source database. Alive as long as its holder; `close` frees what it pins.

    `lsn` is its exact place in the stream of changes (None for a task without incremental sync): a change committed
    before it is in the snapshot, a later one is not. `everything` are all user tables as it sees them, `tables` those
    whose rows move: whoever reads under it need not ask the catalog again, which shows it the same all its life,
    whatever is created, altered or dropped meanwhile.
    """

    database: str
    lsn: int | None
    holder: Connection
    hold: Hold
    everything: list[Table] = field(default_factory=list, repr=False)
    tables: list[Table] = field(default_factory=list, repr=False)
    locked: frozenset[int] = frozenset()
    """Oids of tables that the holder has locked, and that nobody has emptied or rewritten since the snapshot."""
    shares: dict[int, Shares] = field(default_factory=dict)
    """What is copied of tables, by their oids, in parts that count only together with others of this snapshot."""
    entries: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """By which entries of the publication changes of tables come, from before the snapshot on."""
    _export_id: str = ""
    _refused: psycopg.Error | None = None
    _pinged_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def export_id(self) -> str:
        """Its name for other sessions, from the first use on. Thread-safe.

        Before 10 lending gives the holder a transaction id, and every slot that is made afterwards, in any database,
        waits for its end: so nothing is lent before it is needed. Raises ConnectionLost when it is gone, and the typed
        error for what the source says otherwise: a standby before 10 has no transaction ids to give.
        """
        with self._lock:
            if self._refused is not None:  # its transaction is broken: asked again, the source would say only that
                raise self._not_lent(self._refused)
            if not self._export_id:
                try:
                    row = self.holder.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
                except psycopg.Error as error:
                    self._refused = error
                    raise self._not_lent(error) from error
                self._export_id = str(row[0]) if row else ""
            return self._export_id

    def _not_lent(self, error: psycopg.Error) -> EngineError:
        failure = translate(error, Side.SOURCE, say("lending the snapshot of {database}", database=self.database))
        if not isinstance(failure, ConnectionLost):
            return failure
        return ConnectionLost(
            say("The session that holds the snapshot of {database} on the source has ended.", database=self.database)
        )

    def alive(self) -> bool:
        """Say whether the holder still stands. Asks the server, at most once a second. Thread-safe."""
        with self._lock:
            if self.holder.closed:
                return False
            if time.monotonic() - self._pinged_at < _PING_SECONDS:
                return True
            try:
                self.holder.execute("SELECT 1")
            except psycopg.Error:
                self._close()
                return False
            self._pinged_at = time.monotonic()
            return True

    def check(self) -> None:
        """Raise ConnectionLost when the snapshot is gone. Called between tables."""
        if not self.alive():
            raise ConnectionLost(
                say(
                    "The session that holds the snapshot of {database} on the source has ended.", database=self.database
                )
            )

    def import_into(self, connection: Connection) -> None:
        """Begin a transaction that sees this snapshot (autocommit session). Raises ConnectionLost when it is gone."""
        import_snapshot(connection, self.export_id)

    def close(self) -> None:
        """End the holder: the source may clean up again. Idempotent."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            self.holder.close()
        self.hold.end()


def import_snapshot(connection: Connection, export_id: str) -> None:
    """Begin a REPEATABLE READ transaction under an exported snapshot. Raises ConnectionLost when it is gone."""
    try:
        connection.execute(BEGIN)
        connection.execute("SET TRANSACTION SNAPSHOT " + literal(export_id))
    except psycopg.Error as error:
        raise ConnectionLost(say("The snapshot {export_id} of the source is gone.", export_id=export_id)) from error


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
        moved = run.plan.incremental and keeping_step.let_take(run, database, connection, slot)
    return open_again(run, database) if moved else snapshot


def open_again(run: Run, database: DatabasePlan, lock: Sequence[TableName] = ()) -> Snapshot:
    """Open a new snapshot for what is not copied yet; the task's slot keeps its place and its changes.

    The snapshot's place X2 comes from a temporary slot, so that the tables copied under it skip what they contain.
    The holder locks the tables `lock` at once (see `open_locked`). Raises SlotLost when the task's slot is gone or
    another server answers; otherwise as `open_first`.
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
        snapshot = _open(run, database, connection, temporary, temporary=True, lock=lock)
    run.snapshots[database.source_name] = snapshot
    return snapshot


def _close_known(run: Run, database: DatabasePlan) -> None:
    known = run.snapshots.pop(database.source_name, None)
    if known:
        known.close()


@contextlib.contextmanager
def beside_the_stream(
    run: Run, database: DatabasePlan, name: str, encoding: str, lock: Sequence[TableName] = ()
) -> Iterator[tuple[Snapshot, Connection]]:
    """Make a temporary slot; yields its snapshot, and the session that can stream every change after it.

    Both are closed, and the slot with them, when the context is left; the snapshot may be closed earlier. Its holder
    locks the tables `lock` at once (see `open_locked`); raises psycopg's LockNotAvailable where others hold them.
    """
    opened = slots.create(run, database, name, temporary=True, encoding=encoding)
    try:
        snapshot = _snapshot(run, database, opened.lsn, _hold(run, database, opened.export_id), lock)
        try:
            yield snapshot, opened.connection
        finally:
            snapshot.close()
    finally:
        opened.connection.close()
        slots.give_back(run, database, opened)


def open_now(run: Run, database: DatabasePlan, lock: Sequence[TableName] = ()) -> Snapshot:
    """Open a snapshot of this moment without a place in the stream; nothing is made. Locks the tables `lock`."""
    return _snapshot(run, database, None, _hold(run, database, ""), lock)


def open_locked(run: Run, database: DatabasePlan, name: TableName) -> Snapshot:
    """Open a new snapshot whose holder has locked one table (ACCESS SHARE) since, until the snapshot is closed.

    Only the holder itself can read that table surely: any other session queues behind who waits for the lock. The lock
    comes after the slot, which waits for everybody who waits for a lock of ours; so it is tried again, with events,
    until nobody has emptied the table in between. Raises as `open_again`.
    """
    tries, lock = 0, [name]
    while True:
        run.ports.control.check()
        try:
            snapshot = (open_again if run.plan.incremental else open_now)(run, database, lock)
            there = {(table.schema, table.name): table for table in snapshot.tables}
            if name not in there or snapshot.locked.issuperset(part.oid for part in there[name].parts):
                return snapshot
            lock = [(part.schema, part.name) for part in there[name].parts]
            snapshot.close()
        except (EngineError, psycopg.Error) as error:
            if error.sqlstate != LOCK_NOT_AVAILABLE:
                raise
        tries += 1
        if tries in (3, 15) or tries % 60 == 0:
            run.ports.store.event(
                "warning",
                "SRC-LOCKED",
                say("Waiting until nobody locks or empties {names} on the source.", names=".".join(name)),
            )
        run.ports.control.sleep(min(0.2 * tries, _LONGEST_PAUSE_SECONDS))


@contextlib.contextmanager
def _housekeeping(run: Run, database: DatabasePlan) -> Iterator[Connection]:
    """Give a session for catalog work on the source, on which sessions of dead runs have been ended."""
    with run.sessions.session(Side.SOURCE, database.source_name, lock_timeout="2s") as connection:
        try:
            end_older_sessions(connection, run.plan.key, run.plan.epoch)
            yield connection
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(
                error, Side.SOURCE, say("opening the snapshot of {source_name}", source_name=database.source_name)
            ) from error


def _open(
    run: Run,
    database: DatabasePlan,
    connection: Connection,
    slot: str,
    *,
    temporary: bool,
    lock: Sequence[TableName] = (),
) -> Snapshot:
    """Run the opening sequence; again when tables came or went between the publication and the snapshot.

    Without a slot there is no publication that must list what the snapshot sees, so nothing can come in between.
    """
    if not slot:
        return open_now(run, database, lock)
    for _ in range(_DRIFT_TRIES):
        tables = _moving(run, database, _tables(run, database, connection))
        publication = source_setup.prepare(run, database, connection, expanded(tables), anew=not temporary)
        brought = publishing.brought_now(connection, publication) if publication else None
        snapshot = _open_once(run, database, slot, temporary=temporary, lock=lock)
        snapshot.entries = brought.entries if brought else {}
        if {table.oid for table in expanded(snapshot.tables)} == {table.oid for table in expanded(tables)}:
            if not temporary:
                _remember(run, database, slot, publication, brought.row if brought else "", snapshot.lsn)
            return snapshot
        snapshot.close()
        if not temporary:
            slots.drop_leftover(run, connection, database, slot)
    raise SourceError(
        say("Tables of {source_name} come and go too fast for a consistent copy.", source_name=database.source_name),
        hint=say("Stop whatever creates and drops tables on the source until the copy has begun, then retry."),
        code="SRC-DDL",
        retryable=True,
    )


def _open_once(run: Run, database: DatabasePlan, slot: str, *, temporary: bool, lock: Sequence[TableName]) -> Snapshot:
    opened = slots.create(run, database, slot, temporary=temporary)
    try:
        holder = _hold(run, database, opened.export_id)
    finally:
        opened.release()
    return _snapshot(run, database, opened.lsn, holder, lock)


def _hold(run: Run, database: DatabasePlan, export_id: str) -> Connection:
    # All that is copied may be lost with it: a worker that is away ends it after ten minutes, not after one.
    holder = run.sessions.open(
        Side.SOURCE,
        database.source_name,
        lock_timeout=_LOCK_TIMEOUT,
        tcp_keepalives_idle="60",
        tcp_keepalives_interval="30",
        tcp_keepalives_count="18",
    )
    try:
        if export_id:
            import_snapshot(holder, export_id)
        else:
            holder.execute(BEGIN)
    except BaseException:
        holder.close()
        raise
    return holder


def _snapshot(
    run: Run, database: DatabasePlan, lsn: int | None, holder: Connection, lock: Sequence[TableName] = ()
) -> Snapshot:
    """Lock before anything else: without a slot the snapshot comes after it, with one the gap must be short.

    The holder is closed when that fails.
    """
    hold = run.holds.begin(database.source_name)
    snapshot = Snapshot(database=database.source_name, lsn=lsn, holder=holder, hold=hold)
    try:
        if lock:
            holder.execute(lock_text(lock).encode())
            rows = holder.execute(standing_text(lock).encode()).fetchall()
            snapshot.locked = frozenset(int(str(row[0])) for row in rows)
        # To ask for sizes is to wait for whoever has locked a table, and he may wait for ours: none are asked for then.
        snapshot.everything = _tables(run, database, holder, sizes=not lock)
        snapshot.tables = _moving(run, database, snapshot.everything)
        if not exports_hold_transactions(run.sessions.version(Side.SOURCE)):
            _ = snapshot.export_id  # it must not be lent in a savepoint, as planning uses them
    except BaseException:
        snapshot.close()
        raise
    return snapshot


def _tables(run: Run, database: DatabasePlan, connection: Connection, *, sizes: bool = True) -> list[Table]:
    """Return the user tables as the task sees them in a session; asking for sizes waits for whoever locks a table."""
    found: list[Table] = []
    layouts = layouts_of(run, database)

    def attempt() -> None:
        # A failure must not end the holder's transaction, and with it the snapshot.
        with connection.transaction():
            found[:] = arranged(read_tables(connection, sizes=sizes), layouts)

    source_setup.persist(run, connection, [], attempt, say("reading the table sizes"), ["AccessExclusiveLock"])
    return found


def _moving(run: Run, database: DatabasePlan, tables: list[Table]) -> list[Table]:
    return moving_tables(tables, run.plan.selection, database.source_name)


def _remember(run: Run, database: DatabasePlan, slot: str, publication: str, row: str, lsn: int | None) -> None:
    identity = slots.identify(run, database)
    state = run.ports.store.database(database.source_name)
    run.ports.store.save_database(
        replace(
            state,
            slot=slot,
            publication=publication,
            publication_row=row,
            consistent_point=lsn,
            system_id=identity.system_id,
            timeline=identity.timeline,
        )
    )
