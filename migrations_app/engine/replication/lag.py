"""Watches the source from beside the stream: how far its WAL is, and whether it still keeps what we need."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import pq

from .. import sequences
from ..connect import Connection, first_line, translate
from ..drift import Column, Partition, Place
from ..errors import EngineError, SlotLost
from ..lsn import before_page_header, format_lsn, parse_lsn
from ..names import literal
from ..plan import Side
from ..ports import Store
from ..publishing import Brought, brought_now, published_now
from ..renaming import Renaming
from ..rewritten import Family, read_family, read_rows_files
from ..rows_file import RowsFile
from ..shapes import Shape, read_described, read_lineage, read_partitions, read_shapes
from ..source_setup import without_identity
from ..sql import query
from ..wording import Sentence, say
from .behind import seconds_behind
from .given_up import given_up
from .named import NamedColumn, NamedTable
from .seen import await_catalog
from .unknown_tables import UnknownTable, unknown_table

_SECONDS_BETWEEN = 2.0
_GONE, _ENDED = frozenset({"42P01", "XX000"}), "57P"  # a relation went away meanwhile; the session or server ends

_warned: set[str] = set()  # slots of this process that were already warned about: slices are short


class SlotState(NamedTuple):
    """One look at the source. LSNs as integers; `at` is our monotonic clock, `source_time` the source's own."""

    insert_lsn: int
    source_time: float
    at: float
    exists: bool
    active_pid: int | None
    confirmed: int | None
    database: str
    wal_status: str  # '' before 13
    safe_bytes: int | None
    restart: int | None = None  # the oldest WAL that the source keeps for the slot
    why_lost: str = ""  # the source's own word for why it gave the slot up; '' before 17

    @property
    def kept_bytes(self) -> int | None:
        """How much WAL the source keeps for the slot, or None without a slot."""
        return None if self.restart is None else max(0, self.insert_lsn - self.restart)


def read_slot(connection: Connection, slot: str) -> SlotState:
    """Look at the source's WAL position and at the slot. Raises psycopg.Error."""
    row = connection.execute(query("slot_state", connection.info.server_version), {"slot": slot}).fetchone()
    assert row is not None  # noqa: S101 - the query always returns one row
    insert, clock, name, pid, confirmed, restart, database, status, safe, why = row
    return SlotState(
        insert_lsn=before_page_header(parse_lsn(str(insert))),
        source_time=float(str(clock)),
        at=time.monotonic(),
        exists=name is not None,
        active_pid=int(str(pid)) if pid is not None else None,
        confirmed=parse_lsn(str(confirmed)) if confirmed else None,
        database=str(database or ""),
        wal_status=str(status or ""),
        safe_bytes=int(str(safe)) if safe is not None else None,
        restart=parse_lsn(str(restart)) if restart else None,
        why_lost=str(why),
    )


def require_slot(state: SlotState, slot: str, position: int) -> None:
    """Raise SlotLost unless the slot still has everything after `position`."""
    again = say("Press Restart with new copy: it removes what is ours and begins anew.")
    where = format_lsn(position)
    if not state.exists:
        raise SlotLost(
            say("The slot {slot} is gone from the source: changes after {where} are lost.", slot=slot, where=where),
            hint=again,
            code="SRC-SLOTGONE",
        )
    if state.wal_status == "lost":
        raise given_up(state.why_lost, slot, position)
    if state.confirmed is not None and position < state.confirmed:
        raise SlotLost(
            say(
                "The target stands at {where}, but the slot {slot} was already confirmed up to "
                "{confirmed}: the target was set back, or somebody else reads the slot.",
                where=where,
                slot=slot,
                confirmed=format_lsn(state.confirmed),
            ),
            hint=again,
        )


class SourceWatch:
    """Asks the source every two seconds in a thread of its own, and keeps the samples from which lag is told.

    `check` raises when the owner must stop. The owner may ask meanwhile: the session is shared under a lock.
    """

    def __init__(
        self,
        connection: Connection,
        slot: str,
        store: Store,
        check: Callable[[], None],
        before: Sequence[tuple[int, float]] = (),
    ) -> None:
        self._connection, self._slot, self._store, self._check = connection, slot, store, check
        self._before = before  # positions with source times that earlier sessions knew, see `known_before`
        self._lock = threading.Lock()
        self._samples: deque[SlotState] = deque(maxlen=1800)
        self._stop = threading.Event()
        self._error: EngineError | None = None
        self._thread = threading.Thread(target=self._run, name=f"watch {slot}", daemon=True)
        self.publication: Brought | None = None  # as it was last found to be whole

    def look(self) -> SlotState:
        """Take a sample now. Raises EngineError."""
        try:
            with self._lock:
                state = read_slot(self._connection, self._slot)
        except psycopg.Error as error:
            raise translate(error, Side.SOURCE, say("reading its WAL position")) from error
        self._samples.append(state)
        return state

    def _tell_kept(self, state: SlotState) -> None:
        if state.kept_bytes is not None:
            self._store.source_keeps(state.kept_bytes)

    def start(self) -> None:
        """Go on sampling in the background until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Stop sampling and close the session. Idempotent."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(5)
        self._connection.close()

    def check(self) -> None:
        """Raise what the background sampling ran into."""
        if self._error is not None:
            raise self._error

    def described(self, oid: int, types: list[tuple[int, int]]) -> tuple[list[str], dict[str, int]]:
        """Return names of (oid, typmod) types, '???' for one that does not exist any more; and the places (attnum) of a
        table's columns by their names as its catalog has them now, none when it is gone."""
        with self._asking(say("reading type names")) as connection:
            return read_described(connection, oid, types)

    def named_tables(self, schema: str, name: str, oid: int) -> list[NamedTable]:
        """Return the tables that have this name or this oid now."""
        try:
            with self._lock:
                rows: list[Any] = self._connection.execute(
                    query("named_tables"), {"schema": schema, "name": name, "oid": oid}
                ).fetchall()
        except psycopg.Error as error:
            raise translate(error, Side.SOURCE, say("looking for a table")) from error
        return [
            NamedTable(int(found), place, table, identity, frozenset(keys), tuple(NamedColumn(*one) for one in columns))
            for found, place, table, identity, keys, columns in rows
        ]

    def type_oid(self, type_name: str) -> int:
        """Return the oid of a type by the name that format_type gives it, 0 when there is none now."""
        try:
            with self._lock:
                row = self._connection.execute(
                    ("SELECT coalesce(pg_catalog.to_regtype(" + literal(type_name) + ")::oid::bigint, 0)").encode()
                ).fetchone()
        except psycopg.errors.SyntaxError:
            return 0
        except psycopg.Error as error:
            raise translate(error, Side.SOURCE, say("looking for a type")) from error
        return int(str(row[0])) if row else 0

    def ancestors(self, oid: int, *, plain: bool = False) -> list[tuple[str, str]]:
        """Return (schema, name) of the partitioned tables above a table, nearest first; `plain`: of what it inherits
        from otherwise."""
        with self._asking(say("reading partitions")) as connection:
            rows = connection.execute(
                "WITH RECURSIVE up AS (SELECT inhparent, 1 AS n FROM pg_catalog.pg_inherits WHERE inhrelid = %s"
                " UNION ALL SELECT i.inhparent, up.n + 1 FROM up"
                " JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.inhparent)"
                " SELECT s.nspname, c.relname FROM up JOIN pg_catalog.pg_class c ON c.oid = up.inhparent"
                " JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace WHERE c.relkind = %s ORDER BY up.n",
                (oid, "r" if plain else "p"),
            ).fetchall()
        return [(str(row[0]), str(row[1])) for row in rows]

    def columns(self, oid: int) -> tuple[Column, ...]:
        """Return the columns of a table as its catalog has them now; none when it is gone."""
        found = self.shapes([oid]).get(oid)
        return found.columns if found else ()

    def place(self, oid: int) -> Place | None:
        """Return (schema, name) that a table has now; None when it is gone."""
        found = self.shapes([oid]).get(oid)
        return found.place if found else None

    def shapes(self, oids: list[int] | None = None) -> dict[int, Shape]:
        """Return tables with their columns as they are now, all or those of `oids`, by oid."""
        with self._asking(say("reading columns")) as connection:
            return read_shapes(connection, oids=oids)

    def family(self, oid: int) -> Family:
        """Return a table with those whose columns change together with its own, as they are now."""
        with self._asking(say("reading columns")) as connection:
            return read_family(connection, oid)

    def rows_files(self, oids: list[int]) -> dict[int, RowsFile]:
        """Return where the rows of tables are now, by oid; read columns after this, never before."""
        with self._asking(say("reading columns")) as connection:
            return read_rows_files(connection, oids)

    def files_hash(self) -> str:
        """Return what changes when a user table is emptied, written anew, or got a column that is gone again."""
        with self._asking(say("reading columns")) as connection:
            row = connection.execute(query("files_hash")).fetchone()
        return str(row[0]) if row else ""

    def await_catalog(self, oid: int) -> None:
        """Wait until the source shows what the stream told of a table; raises as `seen.await_catalog`."""
        await_catalog(lambda: self._asking(say("reading columns")), oid, self._check)

    def lineage(self, oid: int, renaming: Renaming) -> list[Partition]:
        """Return what the catalog knows of a partition and of those above it, from below; none when it is none."""
        with self._asking(say("reading partitions")) as connection:
            return read_lineage(connection, oid, renaming)

    def partitions(self, tops: list[int]) -> list[tuple[int, Place, int]]:
        """Return the partitions below these tables that have rows of their own and are logged: (oid, place, top)."""
        with self._asking(say("reading partitions")) as connection:
            return read_partitions(connection, tops)

    @contextlib.contextmanager
    def _asking(self, doing: Sentence) -> Iterator[Connection]:
        try:
            with self._lock:
                yield self._connection
        except psycopg.Error as error:
            raise translate(error, Side.SOURCE, doing) from error

    def shapes_hash(self) -> str:
        """Return what changes when a name, a column or the replica identity of a user table does."""
        try:
            with self._lock:
                rows = [self._connection.execute(query(name)).fetchone() for name in ("shapes_hash", "identities_hash")]
        except psycopg.Error as error:
            raise translate(error, Side.SOURCE, say("reading columns")) from error
        return "/".join(str(row[0]) for row in rows if row)

    def used_sequences(self) -> tuple[dict[int, sequences.Sequence], list[tuple[str, str]]] | None:
        """Return by oid the sequences that have given out a value, and those that our account may not read.

        None when one went away meanwhile. Raises EngineError with a lost session, else `sequences.Unreadable`.
        """
        try:
            with self._lock:
                return sequences.used_sequences(self._connection)
        except psycopg.Error as error:
            code = error.sqlstate or _ENDED
            if self._connection.closed or self._connection.broken or code.startswith(_ENDED):
                raise translate(error, Side.SOURCE, say("reading sequences")) from error
            if code in _GONE:
                return None
            raise sequences.Unreadable(first_line(error)) from error

    def without_identity(self, oids: list[int]) -> set[int]:
        """Return those of these tables whose updates and deletes cannot be told by the stream."""
        with self._asking(say("reading columns")) as connection:
            return without_identity(connection, oids)

    def unknown_tables(self, known: list[int]) -> list[UnknownTable]:
        """Return the user tables with rows of their own beside the known ones (oids)."""
        try:
            with self._lock:
                rows = self._connection.execute(query("unknown_tables"), {"known": known}).fetchall()
        except psycopg.Error as error:
            raise translate(error, Side.SOURCE, say("looking for new tables")) from error
        return [unknown_table(row) for row in rows]

    def published(self, publication: str) -> set[int]:
        """Return the oids that a publication lists; none where there is no such publication, or it has no name."""
        if not publication:
            return set()
        try:
            with self._lock:
                return published_now(self._connection, publication) or set()
        except psycopg.Error as error:
            raise translate(error, Side.SOURCE, say("looking for new tables")) from error

    def brought(self, publication: str, *, waits: bool = True) -> Brought | None:
        """Return what a publication brings now, None when it is gone.

        Servers from 15 on open each table for that. Unless it `waits` for who keeps one locked, SourceError with the
        SQLSTATE of a lock that is not available is raised after two seconds.
        """
        with self._asking(say("reading its publication")) as connection:
            connection.execute(b"SET lock_timeout = " + (b"0" if waits else b"'2s'"))
            try:
                return brought_now(connection, publication)
            finally:
                with contextlib.suppress(psycopg.Error):
                    connection.execute("SET lock_timeout = 0")

    def travels_binary(self, tables: list[int], types: list[int]) -> bool:
        """Say whether all columns of these tables (oids), and these types, may come in binary form."""
        try:
            with self._lock:
                parameters = {"tables": tables, "types": types}
                row = self._connection.execute(query("binary_stream"), parameters).fetchone()
        except psycopg.Error as error:
            raise translate(error, Side.SOURCE, say("reading types")) from error
        return row == (True,)

    def texts(self, values: list[tuple[int, bytes | None]]) -> list[bytes | None]:
        """Return the text of values in binary form, given with their type oids; hexadecimal where there is none."""
        marks = ", ".join(f"${number}::text" for number in range(1, len(values) + 1))
        data = [value for _, value in values]
        with self._lock:
            result = self._connection.pgconn.exec_params(
                f"SELECT {marks}".encode(), data, [oid for oid, _ in values], [1] * len(values)
            )
        if result.status != pq.ExecStatus.TUPLES_OK:
            return [None if value is None else value.hex().encode() for value in data]
        return [result.get_value(0, column) for column in range(len(values))]

    @property
    def insert_lsn(self) -> int:
        """The source's WAL position at the last look."""
        return self._samples[-1].insert_lsn if self._samples else 0

    @property
    def looked_at(self) -> float | None:
        """When that was, by the source's clock (Unix seconds)."""
        return self._samples[-1].source_time if self._samples else None

    def lag_bytes(self, position: int) -> int:
        """WAL bytes between the last look at the source and `position`."""
        return max(0, self.insert_lsn - position)

    def lag_seconds(self, position: int, pending_since: float | None) -> float:
        """Seconds by which `position` is behind, by the source's clock. 0 when everything that was there is applied.

        `pending_since`: source time at which the transaction now being applied was committed there.
        """
        return seconds_behind(position, pending_since, list(self._samples), self._before)

    def _run(self) -> None:
        while not self._stop.wait(_SECONDS_BETWEEN):
            try:
                state = self.look()
                self._tell_kept(state)
                self._guard(state)
            except EngineError as error:
                if not self._stop.is_set():
                    self._error = error
                return

    def _guard(self, state: SlotState) -> None:
        if not state.exists or state.wal_status == "lost":
            require_slot(state, self._slot, 0)
        if state.wal_status != "unreserved":
            _warned.discard(self._slot)
        elif self._slot not in _warned:
            _warned.add(self._slot)
            left = (
                say("after {safe_bytes} more bytes", safe_bytes=state.safe_bytes)
                if state.safe_bytes and state.safe_bytes > 0
                else say("at its next checkpoint")
            )
            self._store.event(
                "warning",
                "SRC-WALLIMIT",
                say(
                    "The source will drop needed changes {left}. Raise max_slot_wal_keep_size on the source now.",
                    left=left,
                ),
                slot=self._slot,
            )
