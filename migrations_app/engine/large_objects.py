"""Copies large objects, which neither COPY nor the stream of changes carries.

They are compared and copied in chunks through the servers' own functions, so their size does not matter; nor does their
number, because only some are looked at together. Owners, grants and comments follow (`large_object_rights`). Which ones
on the target are ours is in the ledger, number by number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import LiteralString, cast

import psycopg
from psycopg.pq import TransactionStatus

from .connect import Connection, translate
from .errors import ConflictError
from .failpoints import durable
from .large_object_numbers import (
    Ours,
    Span,
    Window,
    batches,
    divided,
    first_window,
    how_many,
    items_of,
    numbers_of,
    windows,
)
from .large_object_rights import carry_rights
from .outcome import Run
from .plan import DatabasePlan, Side
from .snapshot import Snapshot
from .sql import query
from .values import frozen
from .wording import Sentence, count, listing, say

PORTION = 20_000
"""A lane takes as many of them at once, or `PORTION_BYTES`, when there are more."""
PORTION_BYTES = 1 << 30
_MOST_PORTIONS = 256
_AT_ONCE = 256
_TOGETHER_BYTES = 8 << 20
_HASHED_BYTES = 32 << 20
_REMOVED_AT_ONCE = 1000
_SHA256_SINCE = 110000

_HASH = "pg_catalog.sha256(c)"
_HASH_BEFORE_11 = "pg_catalog.md5(c)::bytea"
_CREATE = "SELECT pg_catalog.lo_from_bytea(%s::oid, %s)"
_APPEND = "SELECT pg_catalog.lo_put(%s::oid, %s, %s)"
_HELD = "SELECT pg_catalog.pg_relation_size('pg_catalog.pg_largeobject')"
_UNLINK = "SELECT count(pg_catalog.lo_unlink(oid)) FROM pg_catalog.pg_largeobject_metadata WHERE oid = ANY(%s::oid[])"


@frozen
class Told:
    """What is told of a copy of large objects on its way. Each may raise, which ends it."""

    passed: Callable[[int], object] = lambda size: None
    """So many bytes went over. May wait: that slows the copy down."""
    stood: Callable[[int], object] = lambda size: None
    """So many bytes were on the target already."""
    through: Callable[[int], object] = lambda number: None
    """All up to this number are done with, and on the target's disk."""
    check: Callable[[], None] = lambda: None
    """Called several times a second, but for what a server does by itself."""


def selected(run: Run, database: DatabasePlan) -> bool:
    """Say whether large objects travel: nobody can tell to which table one belongs, so only with the whole database.

    They count as rows: a database that moves by its structure alone leaves them.
    """
    selection, name = run.plan.selection, database.source_name
    return selection.state(name) == "all" and selection.mode(name) == "data"


@frozen
class Held:
    """What the source keeps in large objects: bytes, about, and the portions in which they are copied."""

    size: int = 0
    spans: Sequence[Span] = ()


def look(run: Run, database: DatabasePlan) -> Held:
    """Return what there is to copy. Changes nothing on either server.

    Raises ConflictError when the target has one of the source's numbers and we did not make it; EngineError as a
    session does.
    """
    work = _Work(run, database)
    with work.guard(Side.SOURCE) as source, work.guard(Side.TARGET) as target:
        work.refuse_foreign(source, target)
        row = source.execute(_HELD).fetchone()
        size, number = int(str(row[0])) if row else 0, how_many(source)
        parts = max(number // PORTION, min(size // PORTION_BYTES, number))
        return Held(size=size, spans=divided(source, number, min(max(parts, 1), _MOST_PORTIONS)))


def sync_large_objects(run: Run, database: DatabasePlan) -> int:
    """Make the target's large objects equal to the source's of now; returns how many changed.

    Large objects that we made and the source no longer has are removed. Idempotent; each batch is a transaction of its
    own. Raises ConflictError, before anything is changed, when the target has one of these numbers and we did not make
    it.
    """
    if not selected(run, database):
        return 0
    work = _Work(run, database, Told(check=run.ports.control.check))
    with work.guard(Side.SOURCE) as source, work.guard(Side.TARGET, synchronous_commit="on") as target:
        work.refuse_foreign(source, target)
        return work.carry_all(source, target, Span())


def copy_span(run: Run, database: DatabasePlan, span: Span, snapshot: Snapshot | None, told: Told) -> int:
    """Do the same for the large objects of a span, now or as `snapshot` sees them; returns how many changed.

    Several threads may do so at once, each for its own span. What others have is found by `look`.
    """
    work = _Work(run, database, told)
    with work.guard(Side.SOURCE) as source, work.guard(Side.TARGET, synchronous_commit="on") as target:
        if snapshot:
            snapshot.import_into(source)
        return work.carry_all(source, target, span)


def differences(source: Connection, target: Connection, check: Callable[[], None]) -> dict[int, Sentence]:
    """Return how the large objects of two sessions' databases differ, by number. Only reads; psycopg's errors rise.

    Large objects that only the target has are none of our business.
    """
    found: dict[int, Sentence] = {}
    for window in windows(source, target, Span(), check):
        found.update((one, say("missing on the target")) for one in window.there if one not in window.here)
        for batch in batches([one for one in window.there if one in window.here], _AT_ONCE):
            check()
            found.update(dict.fromkeys(_differing(source, target, batch), say("different")))
    return found


def drop_large_objects(run: Run, target_database: str) -> int:
    """Remove the large objects that we made in a target database and cross them off; returns how many there were."""
    with run.sessions.session(Side.TARGET, target_database) as target:
        removed = 0
        for item in items_of(run, target_database):
            run.ports.control.check()
            removed += _remove(target, list(numbers_of(item)), run.ports.control.check)
            run.ports.ledger.removed(item)
        return removed


class _Work:
    def __init__(self, run: Run, database: DatabasePlan, told: Told | None = None) -> None:
        self.run, self.database, self.told = run, database, told or Told()
        self.ours = Ours(run, database.target_name)

    @contextlib.contextmanager
    def guard(self, side: Side, **settings: str) -> Iterator[Connection]:
        name = self.database.source_name if side is Side.SOURCE else self.database.target_name
        with self.run.sessions.session(side, name, replication=False, **settings) as connection:
            try:
                if side is Side.TARGET:
                    self.run.sessions.end_orphans(connection)  # one may be at the same numbers
                yield connection
            except psycopg.Error as error:
                self.run.ports.control.check()
                where = self.run.sessions.side_of(connection) or side
                raise translate(error, where, say("copying large objects")) from error

    def refuse_foreign(self, source: Connection, target: Connection) -> None:
        for window in windows(source, target, Span(), self.run.ports.control.check):
            both = window.here.intersection(window.there)
            if foreign := both and both - self.ours.within(window.span):
                raise _taken(self.database, sorted(foreign))

    def carry_all(self, source: Connection, target: Connection, span: Span) -> int:
        changed = 0
        while span.after < span.last:
            self.told.check()
            with _one_moment(source):
                window = first_window(source, target, span)
                changed += self._carry_window(source, target, window)
            span = replace(span, after=window.span.last)
            self.told.through(span.after)
        return changed

    def _carry_window(self, source: Connection, target: Connection, window: Window) -> int:
        ours, there = self.ours.within(window.span), set(window.there)
        changed = _remove(target, sorted((window.here & ours) - there), self.told.check)
        self.ours.claim(there - window.here - ours)
        for batch in batches(window.there, _AT_ONCE):
            self.told.check()
            changed += self._carry(source, target, batch, window.here)
        carry_rights(source, target, window.there, self.told.check)
        return changed

    def _carry(self, source: Connection, target: Connection, oids: list[int], here: frozenset[int]) -> int:
        """Copy those of a batch that differ; returns how many."""
        standing = [oid for oid in oids if oid in here]
        differing = _differing(source, target, standing, self.told.stood)
        wanted = sorted({*oids} - {*standing} | {*differing})
        if not wanted:
            return 0
        with durable("target.large_objects"), target.transaction(), target.cursor() as cursor:
            if differing:
                cursor.execute(_UNLINK, (differing,))
            offset, still = 0, wanted
            while still:
                self.told.check()
                length = _TOGETHER_BYTES // len(still)  # they are in our memory, several times, until they have gone
                chunks = _chunks(source, still, offset, length)
                if offset:
                    cursor.executemany(_APPEND, [(oid, offset, data) for oid, data in chunks if data])
                else:
                    cursor.executemany(_CREATE, chunks)
                self.told.passed(sum(len(data) for _, data in chunks))
                still = [oid for oid, data in chunks if len(data) == length]
                offset += length
        return len(wanted)


@contextlib.contextmanager
def _one_moment(source: Connection) -> Iterator[None]:
    """Let what is listed also be found when it is read: under the session's snapshot, or one just for the block."""
    if source.info.transaction_status is not TransactionStatus.IDLE:
        yield
        return
    with source.transaction():
        source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _chunks(connection: Connection, oids: list[int], offset: int, length: int) -> list[tuple[int, bytes]]:
    """Return a chunk of each. In binary: as text it would be three times in memory, and twice as long."""
    text = query("large_object_chunks", connection.info.server_version)
    return cast(
        "list[tuple[int, bytes]]",
        connection.cursor(binary=True).execute(text, (offset, length, oids)).fetchall(),
    )


_Hashed = tuple[int, int, bytes]


def _differing(
    source: Connection,
    target: Connection,
    oids: list[int],
    equal: Callable[[int], object] = lambda size: None,
) -> list[int]:
    """Return those whose contents are not the same on both servers; only hashes travel. `equal` counts their bytes."""
    modern = min(source.info.server_version, target.info.server_version) >= _SHA256_SINCE
    hashed = _HASH if modern else _HASH_BEFORE_11
    differing: list[int] = []
    offset, still = 0, oids
    while still:
        chunk = _HASHED_BYTES // len(still)  # a server keeps all of them until it has hashed the last
        left, right = (
            cast("list[_Hashed]", one.execute(_hashes(one, hashed), (offset, chunk, still)).fetchall())
            for one in (source, target)
        )
        pairs = list(zip(left, right, strict=True))
        differing += [one[0] for one, other in pairs if one != other]
        same = [one for one, other in pairs if one == other]
        equal(sum(length for _, length, _ in same))
        still = [oid for oid, length, _ in same if length == chunk]
        offset += chunk
    return differing


def _hashes(connection: Connection, hashed: LiteralString) -> LiteralString:
    chunks = query("large_object_chunks", connection.info.server_version)
    return f"WITH chunk(o, c) AS ({chunks}) SELECT o, pg_catalog.length(c), {hashed} FROM chunk ORDER BY 1"  # noqa: S608 - ours


def _remove(target: Connection, oids: Sequence[int], check: Callable[[], None]) -> int:
    removed = 0
    for batch in batches(oids, _REMOVED_AT_ONCE):
        check()
        with durable("target.large_objects"):
            row = target.execute(_UNLINK, (batch,)).fetchone()
        removed += int(str(row[0])) if row else 0
    return removed


def _taken(database: DatabasePlan, oids: Sequence[int]) -> ConflictError:
    return ConflictError(
        say(
            "Taken in the target database {target_name} already: {number} of the source: {names}.",
            target_name=database.target_name,
            number=count(len(oids), "{number} large object", "{number} large objects"),
            names=listing((str(oid) for oid in oids), 5),
        ),
        hint=say("Remove them on the target (lo_unlink), or choose another target database."),
        code="DST-EXISTS",
    )
