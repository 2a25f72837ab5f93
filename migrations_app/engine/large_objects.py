"""Copies large objects, which neither COPY nor the stream of changes carries.

They are compared and copied in chunks through the servers' own functions, so their size does not matter. Owners, grants
and comments follow (`large_object_rights`). Which ones on the target are ours is in the ledger, number by number.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import LiteralString, cast

import psycopg

from .connect import Connection, translate
from .errors import ConflictError
from .failpoints import durable
from .large_object_rights import carry_rights
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem
from .snapshot import Snapshot
from .sql import query
from .wording import Sentence, count, listing, say

CHUNK_BYTES = 1 << 20
_AT_ONCE = 32
_TOGETHER_BYTES = 8 << 20
_IN_LEDGER_ROW = 1000
_SHA256_SINCE = 110000

_OIDS = "SELECT oid::bigint FROM pg_catalog.pg_largeobject_metadata ORDER BY 1"
_HASH = "pg_catalog.sha256(c)"
_HASH_BEFORE_11 = "pg_catalog.md5(c)::bytea"
_CREATE = "SELECT pg_catalog.lo_from_bytea(%s::oid, %s)"
_APPEND = "SELECT pg_catalog.lo_put(%s::oid, %s, %s)"
_HELD = "SELECT pg_catalog.pg_relation_size('pg_catalog.pg_largeobject')"
_UNLINK = "SELECT count(pg_catalog.lo_unlink(oid)) FROM pg_catalog.pg_largeobject_metadata WHERE oid = ANY(%s::oid[])"


def selected(run: Run, database: DatabasePlan) -> bool:
    """Say whether large objects travel: nobody can tell to which table one belongs, so only with the whole database.

    They count as rows: a database that moves by its structure alone leaves them.
    """
    selection, name = run.plan.selection, database.source_name
    return selection.state(name) == "all" and selection.mode(name) == "data"


def held_bytes(run: Run, database: DatabasePlan) -> int:
    """Return the bytes that the source keeps in large objects, about. Raises EngineError as a session does."""
    with _Work(run, database).guard(Side.SOURCE) as source:
        row = source.execute(_HELD).fetchone()
        return int(str(row[0])) if row else 0


def sync_large_objects(
    run: Run,
    database: DatabasePlan,
    snapshot: Snapshot | None = None,
    passed: Callable[[int], object] = lambda size: None,
) -> int:
    """Make the target's large objects equal to the source's, now or as `snapshot` sees them; returns how many changed.

    `passed` is called with the bytes of each piece that went over, and may wait: that slows the copy down. Large
    objects that we made and the source no longer has are removed. Idempotent; each batch is a transaction of its own.
    Raises ConflictError, before anything is changed, when the target has one of these numbers and we did not make it.
    """
    if not selected(run, database):
        return 0
    work = _Work(run, database, passed)
    with (
        work.guard(Side.SOURCE) as source,
        work.guard(Side.TARGET, synchronous_commit="on") as target,
    ):
        if snapshot:
            snapshot.import_into(source)
        there, here, ours = _oids(source), _oids(target), made(run, database)
        _refuse_foreign(database, there & here - ours)
        changed = _remove(target, sorted((here & ours) - there), run.ports.control.check)
        for batch in _batches(sorted(there), _AT_ONCE):
            run.ports.control.check()
            changed += work.carry(source, target, batch, here)
        carry_rights(source, target, sorted(there), run.ports.control.check)
        return changed


def differences(source: Connection, target: Connection, check: Callable[[], None]) -> dict[int, Sentence]:
    """Return how the large objects of two sessions' databases differ, by number. Only reads; psycopg's errors rise.

    Large objects that only the target has are none of our business.
    """
    there, here = _oids(source), _oids(target)
    found = dict.fromkeys(there - here, say("missing on the target"))
    for batch in _batches(sorted(there & here), _AT_ONCE):
        check()
        found.update(dict.fromkeys(_differing(source, target, batch), say("different")))
    return found


def drop_large_objects(run: Run, target_database: str) -> int:
    """Remove the large objects that we made in a target database and cross them off; returns how many there were."""
    with run.sessions.session(Side.TARGET, target_database) as target:
        removed = 0
        for item in _items(run, target_database):
            run.ports.control.check()
            removed += _remove(target, item.detail["oids"], run.ports.control.check)
            run.ports.ledger.removed(item)
        return removed


def made(run: Run, database: DatabasePlan) -> set[int]:
    """Return the numbers that the ledger lists as ours on the target."""
    return {int(oid) for item in _items(run, database.target_name) for oid in item.detail["oids"]}


def _items(run: Run, target_database: str) -> list[LedgerItem]:
    return run.ports.ledger.items(Side.TARGET, target_database, {Kind.LARGE_OBJECTS})


@dataclass(frozen=True)
class _Work:
    run: Run
    database: DatabasePlan
    passed: Callable[[int], object] = lambda size: None

    @contextlib.contextmanager
    def guard(self, side: Side, **settings: str) -> Iterator[Connection]:
        name = self.database.source_name if side is Side.SOURCE else self.database.target_name
        with self.run.sessions.session(side, name, replication=False, **settings) as connection:
            try:
                yield connection
            except psycopg.Error as error:
                self.run.ports.control.check()
                where = self.run.sessions.side_of(connection) or side
                raise translate(error, where, say("copying large objects")) from error

    def carry(self, source: Connection, target: Connection, oids: list[int], here: set[int]) -> int:
        """Copy those of a batch that differ; returns how many."""
        new = [oid for oid in oids if oid not in here]
        self.claim(new)
        wanted = new + _differing(source, target, [oid for oid in oids if oid in here])
        if not wanted:
            return 0
        with durable("target.large_objects"), target.transaction(), target.cursor() as cursor:
            cursor.execute(_UNLINK, (wanted,))
            offset, still = 0, wanted
            while still:
                self.run.ports.control.check()
                length = _TOGETHER_BYTES // len(still)  # they are in our memory, several times, until they have gone
                chunks = _chunks(source, still, offset, length)
                if offset:
                    cursor.executemany(_APPEND, [(oid, offset, data) for oid, data in chunks if data])
                else:
                    cursor.executemany(_CREATE, chunks)
                self.passed(sum(len(data) for _, data in chunks))
                still = [oid for oid, data in chunks if len(data) == length]
                offset += length
        return len(wanted)

    def claim(self, oids: list[int]) -> None:
        for group in _batches(oids, _IN_LEDGER_ROW):
            self.run.ports.ledger.intend(
                LedgerItem(
                    side=Side.TARGET,
                    database=self.database.target_name,
                    kind=Kind.LARGE_OBJECTS,
                    name=f"{group[0]}-{group[-1]}",
                    detail={"oids": group},
                )
            )


def _chunks(connection: Connection, oids: list[int], offset: int, length: int) -> list[tuple[int, bytes]]:
    """Return a chunk of each. In binary: as text it would be three times in memory, and twice as long."""
    text = query("large_object_chunks", connection.info.server_version)
    return cast(
        "list[tuple[int, bytes]]",
        connection.cursor(binary=True).execute(text, (offset, length, oids)).fetchall(),
    )


_Hashed = tuple[int, int, bytes]


def _differing(source: Connection, target: Connection, oids: list[int]) -> list[int]:
    """Return those whose contents are not the same on both servers; only hashes travel."""
    modern = min(source.info.server_version, target.info.server_version) >= _SHA256_SINCE
    hashed = _HASH if modern else _HASH_BEFORE_11
    differing: list[int] = []
    offset, still = 0, oids
    while still:
        left, right = (
            cast("list[_Hashed]", one.execute(_hashes(one, hashed), (offset, CHUNK_BYTES, still)).fetchall())
            for one in (source, target)
        )
        pairs = list(zip(left, right, strict=True))
        differing += [one[0] for one, other in pairs if one != other]
        still = [one[0] for one, other in pairs if one == other and one[1] == CHUNK_BYTES]
        offset += CHUNK_BYTES
    return differing


def _hashes(connection: Connection, hashed: LiteralString) -> LiteralString:
    chunks = query("large_object_chunks", connection.info.server_version)
    return f"WITH chunk(o, c) AS ({chunks}) SELECT o, pg_catalog.length(c), {hashed} FROM chunk ORDER BY 1"  # noqa: S608 - ours


def _oids(connection: Connection) -> set[int]:
    return {int(str(row[0])) for row in connection.execute(_OIDS).fetchall()}


def _remove(target: Connection, oids: Sequence[int], check: Callable[[], None]) -> int:
    removed = 0
    for batch in _batches(list(oids), _IN_LEDGER_ROW):
        check()
        with durable("target.large_objects"):
            row = target.execute(_UNLINK, (batch,)).fetchone()
        removed += int(str(row[0])) if row else 0
    return removed


def _refuse_foreign(database: DatabasePlan, oids: set[int]) -> None:
    if oids:
        raise ConflictError(
            say(
                "Taken in the target database {target_name} already: {number} of the source: {names}.",
                target_name=database.target_name,
                number=count(len(oids), "{number} large object", "{number} large objects"),
                names=listing((str(oid) for oid in sorted(oids)), 5),
            ),
            hint=say("Remove them on the target (lo_unlink), or choose another target database."),
            code="DST-EXISTS",
        )


def _batches(items: list[int], size: int) -> Iterator[list[int]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
