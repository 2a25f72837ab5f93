"""Compares the rows of many tables at one moment, several tables at a time, both sides of a table at once."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

import psycopg

from ..catalog import Table
from ..connect import Connection, cancel_all, first_line, translate
from ..errors import ConnectFailed, ConnectionLost
from ..mapping import renaming_of
from ..named_values import UNKNOWN_NAMES
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import TableDifference
from ..values import frozen
from ..wording import NOTHING, Sentence, listing, say, verbatim
from .batches import digests, take
from .hashing import Dialect, Shape, Shapes, digest, sent_alike
from .locate import Found, both, locate
from .moment import Moment, open_under
from .shown import Shown
from .usual_path import search_usual

_SHOW_SECONDS = 1.0
_SMALL_BYTES = 1 << 20
_FILE_NODES = """
SELECT c.relfilenode::bigint, pg_catalog.pg_relation_filenode(c.oid)::bigint
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = %s AND c.relname = %s
"""
_FILE_NODES_BELOW = """
WITH RECURSIVE tree(oid) AS (
  SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = %s AND c.relname = %s
  UNION ALL SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid
)
SELECT count(*), count(*) FILTER (WHERE c.relkind <> 'r' OR c.relfilenode = pg_catalog.pg_relation_filenode(c.oid))
  FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid
"""


@frozen
class Work:
    """One table to compare: as the source has it, and the target's stored columns (None: no such table).

    `target`: types, without modifiers, by name.
    """

    source: Table
    target: Mapping[str, str] | None
    by_name: bool = False
    """It is partitioned on one side, or otherwise on each: all rows that are read by its name are compared."""


@dataclass
class Verdicts:
    """What a round ended with. `moved`: tables that were emptied or rewritten meanwhile and need another moment."""

    tables: list[TableDifference] = field(default_factory=list)
    moved: list[Work] = field(default_factory=list)


@dataclass
class _Pair:
    source: Connection
    target: Connection
    dialect: Dialect


class TableComparer:
    """Compares the rows of tables of one database at one moment.

    Read-only on both sides. A lock on a table is held only while that table is read. A table that cannot be read is
    `not_compared`; the loss of a session raises ConnectionLost, an interruption what `Control.check` raises.
    """

    def __init__(self, run: Run, database: DatabasePlan, moment: Moment, check: Callable[[], None]) -> None:
        self._run = run
        self._database = database
        self._moment = moment
        self._check = check
        self._renaming = renaming_of(run, database)
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._verdicts = Verdicts()
        self._shown = Shown(run, database, tables=0, total_bytes=0)
        self._failed = threading.Event()
        self._refusal: ConnectFailed | None = None

    def run(self, work: list[Work]) -> Verdicts:
        """Compare these tables, the biggest first, `plan.copy_jobs` at a time, or as many as get connections."""
        queue = deque(sorted(work, key=lambda item: -item.source.bytes))
        total = sum(item.source.bytes for item in work)
        self._shown = Shown(self._run, self._database, tables=len(work), total_bytes=total)
        jobs = 1 if self._moment.locked else max(1, min(self._run.plan.copy_jobs, len(work)))
        self._round(queue, jobs)
        if queue:  # those that had a connection were through when others gave their table back
            self._round(queue, 1)
        if queue and self._refusal:
            raise self._refusal
        self._verdicts.tables.sort(key=lambda item: (item.schema, item.name))
        return self._verdicts

    def _round(self, queue: deque[Work], jobs: int) -> None:
        with ThreadPoolExecutor(jobs, thread_name_prefix="compare") as pool:
            futures = [pool.submit(self._worker, queue) for _ in range(jobs)]
            while wait(futures, _SHOW_SECONDS, return_when=FIRST_EXCEPTION).not_done:
                self._shown.show()
                if any(future.done() and future.exception() for future in futures):
                    break
            if any(future.done() and future.exception() for future in futures):
                self._failed.set()
                self._cut()
            wait(futures)
        self._shown.show()
        self._run.ports.control.check()
        for future in futures:
            future.result()

    def _worker(self, queue: deque[Work]) -> None:
        pair = None
        while not self._failed.is_set():
            self._check()
            try:
                items = take(queue, _is_small)
            except IndexError:
                break
            try:
                pair = pair or self._open()
            except ConnectFailed as error:
                if error.code != "CONNECT-FULL":
                    raise
                self._refusal = error
                queue.extendleft(reversed(items))  # for those that have a connection
                break
            alike = self._alike(pair, items) if len(items) > 1 else {}
            for item in items:
                if self._failed.is_set():
                    break
                label = f"{item.source.schema}.{item.source.name}"
                self._shown.begin(label, item.source.bytes)
                self._keep(item, alike.get(item.source.oid) or self._judge(pair, item))
                self._shown.end(label)
        if pair and not self._moment.locked:
            pair.source.close()
            pair.target.close()

    def _open(self) -> _Pair:
        if self._moment.locked:
            source, target = self._moment.locked
        else:
            source = open_under(self._run, Side.SOURCE, self._database.source_name, self._moment.source_snapshot)
            try:
                target = open_under(self._run, Side.TARGET, self._database.target_name, self._moment.target_snapshot)
            except BaseException:
                source.close()
                raise
        for side in (source, target):
            side.execute("SAVEPOINT one_table")
        pair = _Pair(source, target, Dialect.between(source, target))
        with self._lock:
            self._pairs.append(pair)
        return pair

    def _cut(self) -> None:
        """Cancel what the other workers still read: their verdicts are not needed any more."""
        with self._lock:
            connections = [side for pair in self._pairs for side in (pair.source, pair.target)]
        cancel_all(connections)

    def _keep(self, item: Work, verdict: TableDifference | None) -> None:
        with self._lock:
            if verdict is None:
                self._verdicts.moved.append(item)
            else:
                self._verdicts.tables.append(verdict)

    def _alike(self, pair: _Pair, items: list[Work]) -> dict[int, TableDifference]:
        """Read small tables at once and return the verdicts, by oid, on those that are equal.

        The others are looked at one by one, and so are all of them where a single one cannot be read now.
        """
        readable = [item for item in items if not (_unreadable(item.source) or _other_shape(item.source, item.target))]
        if not readable:
            return {}
        sides = tuple(zip(*map(self._shapes, readable), strict=True))
        self._check()
        with _released(pair.source), _released(pair.target), contextlib.suppress(psycopg.Error):
            found = both(
                pair.source, pair.target, (sides[0], sides[1]), lambda side, shapes: digests(side, shapes, pair.dialect)
            )
            return {
                item.source.oid: _verdict(item.source, "equal", rows=(here.rows, here.rows))
                for item, here, there in zip(readable, *found, strict=True)
                if here is not None and here == there
            }
        return {}

    def _shapes(self, item: Work) -> Shapes:
        shape = _shape(item)
        return shape, replace(shape, schema=self._renaming.schema(shape.schema))

    def _judge(self, pair: _Pair, item: Work) -> TableDifference | None:
        """Return the verdict on one table, None when this moment cannot tell."""
        table = item.source
        reason = _unreadable(table)
        if reason:
            return _verdict(table, "not_compared", reason=reason)
        reason = _other_shape(table, item.target)
        if reason:
            return _verdict(table, "differs", reason=reason)
        shapes = self._shapes(item)
        try:
            return self._rows_alone(pair, table, shapes)
        except psycopg.errors.LockNotAvailable:
            return None  # never wait long: what holds the lock may itself wait for one of ours
        except psycopg.Error as error:
            if error.sqlstate not in UNKNOWN_NAMES or _names_objects(table):
                return self._not_compared(pair, table, error)
        try:
            return self._rows_alone(pair, table, shapes, usual_path=True)
        except psycopg.errors.LockNotAvailable:
            return None
        except psycopg.Error as error:
            return self._not_compared(pair, table, error)

    def _rows_alone(
        self, pair: _Pair, table: Table, shapes: Shapes, *, usual_path: bool = False
    ) -> TableDifference | None:
        """Compare the rows and give the locks back. Raises psycopg's errors.

        `usual_path`: with the table's own schema and `public` to be searched, where that is safe: the functions of some
        indexes name what they call without a schema.
        """
        with _released(pair.source), _released(pair.target):
            if usual_path:
                publics = ("public", self._renaming.schema("public"))
                for side, shape, public in zip((pair.source, pair.target), shapes, publics, strict=True):
                    search_usual(side, shape.schema, shape.name, public)
            return self._rows(pair, table, shapes)

    def _rows(self, pair: _Pair, table: Table, shapes: Shapes) -> TableDifference | None:
        ours, theirs = both(pair.source, pair.target, shapes, lambda side, shape: digest(side, shape, pair.dialect))
        found = Found()
        if ours != theirs:
            found = self._locate(pair, shapes, max(ours.rows, theirs.rows))
        if _moved(pair.source, shapes[0]) or _moved(pair.target, shapes[1]):
            return None
        if ours == theirs:
            return _verdict(table, "equal", rows=(ours.rows, theirs.rows))
        return _verdict(
            table, "differs", rows=(ours.rows, theirs.rows), reason=found.words(), keys=tuple(found.samples)
        )

    def _locate(self, pair: _Pair, shapes: Shapes, rows: int) -> Found:
        try:
            return locate(pair.source, pair.target, shapes, pair.dialect, rows, self._check)
        except UnicodeDecodeError:  # SQL_ASCII: the keys cannot be shown, but the verdict stands
            return Found(complete=False)

    def _not_compared(self, pair: _Pair, table: Table, error: psycopg.Error) -> TableDifference:
        self._run.ports.control.check()
        side = Side.SOURCE if pair.source.closed or pair.source.broken else Side.TARGET
        known = translate(error, side, say("comparing {schema}.{name}", schema=table.schema, name=table.name))
        if isinstance(known, ConnectionLost) or isinstance(error, psycopg.errors.QueryCanceled):
            raise known from error
        return _verdict(table, "not_compared", reason=verbatim(first_line(error)))


def _verdict(
    table: Table,
    verdict: str,
    *,
    rows: tuple[int, int] = (0, 0),
    reason: Sentence = NOTHING,
    keys: tuple[str, ...] = (),
) -> TableDifference:
    return TableDifference(
        schema=table.schema,
        name=table.name,
        verdict=verdict,
        source_rows=rows[0],
        target_rows=rows[1],
        sample_keys=keys,
        reason=reason,
    )


def _shape(item: Work) -> Shape:
    table, columns = item.source, _stored(item.source)
    sent = sent_alike(columns, item.target or {})
    return Shape(schema=table.schema, name=table.name, columns=columns, key=table.key, whole=item.by_name, sent=sent)


def _stored(table: Table) -> tuple[tuple[str, str], ...]:
    """Return (name, type) of the columns that take room in the rows."""
    return tuple((column.name, column.type_name) for column in table.columns if column.generated != "v")


def _is_small(item: Work) -> bool:
    return item.source.bytes <= _SMALL_BYTES and not item.by_name


def _unreadable(table: Table) -> Sentence:
    return NOTHING if table.can_read else say("the source account may not read it")


def _names_objects(table: Table) -> bool:
    """Say whether values are written as names of objects, which depends on where these are searched."""
    return any(column.type_name.startswith("reg") for column in table.columns)


def _other_shape(table: Table, here: Mapping[str, str] | None) -> Sentence:
    if here is None:
        return say("missing on the target")
    lacking = [name for name, _ in _stored(table) if name not in here]
    if lacking:
        return say("columns missing on the target: {names}", names=listing(lacking, 10))
    surplus = sorted(here.keys() - {column.name for column in table.columns})
    return say("columns that only the target has: {names}", names=listing(surplus, 10)) if surplus else NOTHING


def _moved(connection: Connection, shape: Shape) -> bool:
    """Say whether the table's file is another one than the snapshot knows.

    TRUNCATE and rewriting ALTERs ignore snapshots: an older one then sees an empty table. Only meaningful while the
    table is locked by having been read.
    """
    place = (shape.schema, shape.name)
    if shape.whole:
        row = connection.execute(_FILE_NODES_BELOW, place).fetchone()
    else:
        row = connection.execute(_FILE_NODES, place).fetchone()
    return row is None or row[0] != row[1]


@contextlib.contextmanager
def _released(connection: Connection) -> Iterator[None]:
    """Give back the lock that reading a table takes as soon as it is read, keeping the snapshot.

    The savepoint stays for the next one: where tables are many and small, each round trip counts.
    """
    try:
        yield
    finally:
        if not (connection.closed or connection.broken):
            connection.execute("ROLLBACK TO SAVEPOINT one_table")
