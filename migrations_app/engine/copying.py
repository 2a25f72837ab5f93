"""Copies tables of one database through one pair of sessions: the source's under the snapshot, the target's writing.

Every call is one target transaction that has reached the disk when it returns, and one on the source that keeps the
tables locked (ACCESS SHARE) only meanwhile. A call that raised has kept nothing, and its lane must be closed; after
`Moved` and `Busy` it can go on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import psycopg

from . import wire
from .connect import Connection, cancel_all, set_all
from .copy_failures import explained
from .encodings import encodings_of
from .errors import ConnectionLost, EngineError, SourceError, TargetError
from .failpoints import durable
from .making_room import beginning, filled, spare_others, took_place
from .names import literal
from .native import ZONE, native_zone
from .outcome import Run, knobs
from .pacing import Pacing
from .parts import Part
from .patience import activity_of
from .pins import user_timeout
from .plan import DatabasePlan, Side
from .relay import Relay, Stream
from .snapshot import BEGIN, Snapshot
from .table_work import (
    Busy,
    GaveWay,
    Moved,
    TableWork,
    copy_statements,
    deleting,
    emptying,
    file_of,
    target_name,
)
from .unmoved import GONE, LOCK_NOT_AVAILABLE, TableName, lock_text, standing_text
from .wire import Patience
from .wording import say

_SOURCE_LOCK_TIMEOUT = "2s"
# A row that libpq passes on is in our memory several times, and compressed values grow up to 255 times: 8 MB here.
_JOINED_OUTSIDE_BYTES = 32 << 10
_SNAPSHOT_GONE = frozenset({"22023", "42704", "55000"})


class Lane:
    """A pair of sessions that copies one table after the other in one thread. `close` it at the end or on error.

    `held`: read by the snapshot's holder, which has locked what is copied. It is closed with the lane.
    """

    def __init__(
        self,
        run: Run,
        database: DatabasePlan,
        snapshot: Snapshot,
        check: Callable[[], None],
        *,
        held: bool = False,
        pacing: Pacing | None = None,
    ) -> None:
        self.run, self.database, self.snapshot = run, database, snapshot
        self.held, self.pacing = held, pacing or Pacing(lambda: knobs(run))
        self.patience = Patience(self._check, self._activity)
        self.turn = 0
        """Grows with every COPY that begins: `give_way` means one of them."""
        self.rows_passing = 0
        """Rows that the COPY of one table has sent by now, as far as the source tells: see `Lookout`."""
        self._stop = check
        self._streaming = self._asked_away = self._silent = False
        self._current: TableWork | None = None
        self._open: list[Connection] = []
        try:
            self.source = snapshot.holder if held else self._session(Side.SOURCE, database.source_name)
            if not held:
                with contextlib.suppress(psycopg.Error, ConnectionLost):  # what is left there only reads
                    run.sessions.end_orphans(self.source)
            self.target = self._session(Side.TARGET, database.target_name)
            self._quiet_triggers()
            set_all(self.target, {ZONE: native_zone(run, database, self.target)})
            self.encodings = encodings_of(self.source, self.target)
            self.relay = Relay(self.source, self.target, self.patience, self._count)
        except BaseException:
            self.close()
            raise

    def _session(self, side: Side, name: str) -> Connection:
        # Whoever sets synchronous_commit off for a role would lose finished tables in a crash of the target.
        # On the target we wait for others as long as it takes: its watcher tells who they are.
        to_target = side is Side.TARGET
        connection = self.run.sessions.open(
            side,
            name,
            lock_timeout="0" if to_target else _SOURCE_LOCK_TIMEOUT,
            synchronous_commit="on",
            tcp_user_timeout=user_timeout(self.run.sessions.version(side)) if to_target else None,
        )
        self._open.append(connection)
        return connection

    def _quiet_triggers(self) -> None:
        with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
            self.target.execute("SET session_replication_role = replica")
            self._silent = True

    def close(self) -> None:
        """Close both sessions. Idempotent."""
        relay = getattr(self, "relay", None)
        if relay:
            relay.close()
        for connection in self._open:
            wire.discard(connection)
        if self.held:
            self.snapshot.close()

    @property
    def reading(self) -> int | None:
        """The source's process while it sends rows that can be given up, else None."""
        return None if self.held else self.sending

    @property
    def sending(self) -> int | None:
        """The source's process while it sends rows, else None."""
        return self.source.info.backend_pid if self._streaming else None

    @property
    def passing(self) -> tuple[TableWork | None, int]:
        """The table whose rows pass now, and how many of them have."""
        return self._current, self.rows_passing

    def give_way(self, turn: int) -> None:
        """Let the COPY number `turn` end at once, if it still runs: somebody waits for its table. From any thread."""
        self._asked_away = self._asked_away or turn == self.turn

    def _check(self) -> None:
        self._stop()
        if self._asked_away and self._streaming:
            self._streaming = False
            cancel_all([self.source])  # closing alone would leave the lock until the server notices
            raise GaveWay

    def _count(self, size: int) -> None:
        if self._current:
            self._current.bytes_done += size
        if self.pacing.passed(size, self.patience.check):
            self.patience.moved()  # the line was quiet because we were

    def _activity(self) -> str:
        words = [activity_of(one) for one in (self.source, self.target)]
        return " / ".join(words) if any(words) else ""

    def _enter(self, works: Sequence[TableWork], of: TableName | None = None) -> None:
        """Lock the tables for one transaction under the snapshot, and see that they are what the snapshot knows.

        `of`: only this partition of a gathered table. Raises Moved or Busy, lane unharmed. Locks last until `_leave`.
        """
        if self.held:
            return
        parts = {work: [one for one in work.table.parts if of in (None, (one.schema, one.name))] for work in works}
        names = [(part.schema, part.name) for found in parts.values() for part in found]
        names = names or [(work.table.schema, work.table.name) for work in works]  # partitioned, without a partition
        begin = f"{BEGIN}; SET TRANSACTION SNAPSHOT {literal(self.snapshot.export_id)}"
        text = "; ".join([begin, lock_text(names), standing_text(names)])
        try:
            result = wire.command(
                self.source, Side.SOURCE, text, self.patience, say("locking {label}", label=works[0].label)
            )
        except EngineError as error:
            if error.sqlstate in _SNAPSHOT_GONE:
                raise ConnectionLost(
                    say("The snapshot {export_id} of the source is gone.", export_id=self.snapshot.export_id)
                ) from error
            if error.sqlstate not in GONE and error.sqlstate != LOCK_NOT_AVAILABLE:
                raise
            self._leave()
            if error.sqlstate in GONE and len(works) == 1:
                raise Moved(works) from error
            raise Busy from error
        standing = {int(result.get_value(row, 0) or 0) for row in range(result.ntuples)}
        moved = [work for work, found in parts.items() if not standing.issuperset(part.oid for part in found)]
        if moved:
            self._leave()
            raise Moved(moved)

    def _leave(self) -> None:
        if not self.held:
            wire.command(self.source, Side.SOURCE, "ROLLBACK", self.patience, say("ending a copy"))

    def _command(self, text: str, doing: str) -> None:
        wire.command(self.target, Side.TARGET, text, self.patience, doing)

    def copy_whole(self, works: Sequence[TableWork]) -> None:
        """Copy these tables, each whole, in one target transaction.

        What an earlier attempt left in a table of ours is removed in the same transaction. Raises ConflictError when a
        table that is not ours has rows; Moved or Busy when the snapshot does not fit or somebody comes first; otherwise
        EngineError of the side that failed.
        """
        doing = say("copying ") + (
            works[0].label
            if len(works) == 1
            else say("{label} and {number} more", label=works[0].label, number=len(works) - 1)
        )
        freeze = len(works) == 1 and works[0].ours and not (works[0].adopted or works[0].referred)
        self._end_orphans()
        self._command("BEGIN" if freeze else beginning(works), doing)
        to_empty = works if freeze else filled(self.target, self.database, works)
        self._spare_others([work for work in to_empty if work.adopted])
        for text in emptying(to_empty, silent=self._silent):
            self._command(text, doing)
        self._enter_last(works, doing)
        for work in works:
            work.bytes_done = 0
        joined = [work for work in works if work.table.outside_bytes <= _JOINED_OUTSIDE_BYTES] if len(works) > 1 else []
        if joined:
            self._copy_many(joined)
        for work in works:
            if work not in joined:
                self._copy(work, Part("", 0), freeze=freeze)
        self._leave()
        with durable("target.copy", "whole"):
            self._command("COMMIT", doing)

    def _enter_last(self, works: Sequence[TableWork], doing: str) -> None:
        """Enter once the tables are empty on the target: nobody has to wait for that on the source."""
        try:
            self._enter(works)
        except (Moved, Busy):
            self._command("ROLLBACK", doing)
            raise

    def _copy(self, work: TableWork, part: Part, *, freeze: bool) -> int:
        self._current = work
        copy_out, copy_in = copy_statements(work, part, self.encodings, freeze=freeze)
        with self._streams():
            copied = self.relay.copy(copy_out, copy_in, say("copying {label}", label=work.label))
        if part.is_whole:
            work.rows_done = copied.rows
        return copied.rows

    def _copy_many(self, works: Sequence[TableWork]) -> None:
        """Copy small tables one behind the other, without a wait for either server in between."""
        whole = Part("", 0)
        statements = [copy_statements(work, whole, self.encodings, freeze=False) for work in works]
        streams = [
            Stream(out, into, say("copying {label}", label=work.label))
            for work, (out, into) in zip(works, statements, strict=True)
        ]

        def begins(number: int) -> None:
            self._current, self.rows_passing = works[number], 0

        with self._streams():
            copied = self.relay.copy_many(streams, begins)
        for work, one in zip(works, copied, strict=True):
            work.rows_done = one.rows

    @contextlib.contextmanager
    def _streams(self) -> Iterator[None]:
        """Let somebody who waits for one of the tables end the block."""
        self.turn += 1
        self.rows_passing = 0
        self._asked_away, self._streaming = False, True
        try:
            yield
        except (SourceError, TargetError) as error:
            self._streaming = False  # nothing is read any more that could be given up
            if self._current and (told := explained(self.run, self.database, self._current, self.encodings, error)):
                raise told from error
            raise
        finally:
            self._streaming = False
            self.rows_passing = 0

    def copy_over(self, work: TableWork) -> None:
        """Replace the rows of a table of ours that may have indexes and foreign keys by now, in one transaction."""
        doing = say("copying {label} again", label=work.label)
        self._end_orphans()
        self._command("BEGIN", doing)
        self._spare_others([work])
        self._command(deleting(work), doing)
        self._enter_last([work], doing)
        self._copy(work, Part("", 0), freeze=False)
        self._leave()
        with durable("target.copy", "over"):
            self._command("COMMIT", doing)

    def _spare_others(self, works: Sequence[TableWork]) -> None:
        if not self._silent:
            spare_others(self.target, self.database, works)

    def _end_orphans(self) -> None:
        """End what lost sessions of ours may still do on the target, before anything there is relied upon."""
        self.run.sessions.end_orphans(self.target)

    def clear(self, work: TableWork) -> None:
        """Empty a table of ours once before its parts are copied; other lanes wait here until it is done."""
        with work.clearing:
            if not work.shares.file:
                self._end_orphans()
                self._spare_others([work] if work.adopted else [])
                for text in emptying([work], silent=self._silent):
                    with durable("target.copy", "empty"):
                        self._command(text, say("emptying {label}", label=work.label))
                work.shares.file = file_of(self.target, work)

    def copy_part(self, work: TableWork, part: Part) -> None:
        """Copy one part of a table in a transaction of its own. May be called again after any failure.

        Raises Moved or Busy as `copy_whole`. Moved makes all other parts worthless.

        When the connection broke at the commit itself, the target is asked whether it took place: a part is never
        copied twice. Nor is one that is finished since an earlier attempt.
        """
        shares = work.shares
        if part in shares.finished:
            return
        self._end_orphans()
        if part not in shares.doubts or not took_place(self.run, self.target, shares.doubts[part][0]):
            self._copy_part(work, part)
        shares.finished[part] = shares.doubts.pop(part)[1]
        work.rows_done += shares.finished[part]

    def _copy_part(self, work: TableWork, part: Part) -> None:
        doing = say("copying {label}", label=work.label)
        before = work.bytes_done
        work.shares.doubts.pop(part, None)
        self._enter([work], part.of)
        with self._alone(work):
            self._copy_alone(work, part, before, doing)

    def _copy_alone(self, work: TableWork, part: Part, before: int, doing: str) -> None:
        row = self.target.execute("SELECT pg_catalog.txid_current()::text").fetchone()
        try:
            rows = self._copy(work, part, freeze=False)
        except BaseException:
            work.bytes_done = before
            raise
        self._leave()
        work.shares.doubts[part] = (str(row[0]) if row else "", rows)
        with durable("target.copy", "part"):
            self._command("COMMIT", doing)

    @contextlib.contextmanager
    def _alone(self, work: TableWork) -> Iterator[None]:
        """Begin the target's transaction for a part, and let one lane of the table keep autovacuum away meanwhile.

        Rows that were committed a moment ago wake it; it would read the table beside its copy, and who wants to build
        the first index then waits a second until it gives way. It leaves out what somebody has locked.
        """
        self._command("BEGIN", say("copying {label}", label=work.label))
        if not work.guarding.acquire(blocking=False):
            yield
            return
        try:
            lock = f"LOCK TABLE ONLY {target_name(work)} IN SHARE UPDATE EXCLUSIVE MODE NOWAIT"
            try:
                self.target.execute(f"SAVEPOINT alone; {lock}".encode())
            except psycopg.Error:
                if self.target.closed:
                    raise
                self.target.execute(b"ROLLBACK TO SAVEPOINT alone")
            self.target.execute(b"RELEASE SAVEPOINT alone")
            yield
        finally:
            work.guarding.release()
