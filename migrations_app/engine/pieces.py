"""A dump in pieces, where the source has no room to lock all its tables at once, and how the pieces become one archive.

pg_dump locks every table that it describes until its end, and the lock table of a server has a fixed size that all
sessions share. A piece describes some of the tables and views, and everything else; all pieces are read under one
snapshot. What several of them hold is taken once. A piece does not tell how its tables depend on those of another one:
that is asked of the catalog.
"""

from __future__ import annotations

import bisect
import contextlib
import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from .connect import Connection
from .failpoints import durable
from .names import quote
from .outcome import Run
from .pgtools import dump_schema
from .sql import query
from .toc import POST_DATA, PRE_DATA, Entry, read_archive, write_archive
from .values import frozen
from .wording import count, say

_LEAST_TABLES = 50
_RELATIONS_PER_NAME = 500  # are read in the time that an index finds a name in
_MOST_PATTERN_BYTES = 1_500_000  # a command line holds two million
_SEQUENCES_UNLOCKED_SINCE = 100000
_RANKS = {PRE_DATA: 0, POST_DATA: 1}
_ROOM = (
    "SELECT pg_catalog.current_setting('max_locks_per_transaction')::bigint"
    " * (pg_catalog.current_setting('max_connections')::bigint"
    " + pg_catalog.current_setting('max_prepared_transactions')::bigint)"
    " - (SELECT count(*) FROM pg_catalog.pg_locks WHERE NOT fastpath)"
)
_CLASS = 1259  # the oid of pg_class

Key = tuple[object, ...]
Object = tuple[int, int]
"""(catalog, oid)."""


@frozen
class Relation:
    """A table, view or sequence, which pg_dump can be told to leave out. `owner`: the table of a sequence's column."""

    oid: int
    schema: str
    name: str
    kind: str
    owner: int | None = None


def dump_whole(
    run: Run, connection: Connection, database: str, snapshot_id: str, path: Path, exclude: tuple[str, ...]
) -> None:
    """Write the schema of a database to `path` as `dump_schema` does, in pieces when its tables are too many to lock.

    Takes no more than half of the locks that the source has free now. `connection` is a session there; under the
    snapshot, if there is one. Raises as `dump_schema`, and psycopg's errors.
    """
    pieces = read_pieces(connection)
    left_out = _left_out(pieces)
    if len(pieces) < 2 or max(map(_size, left_out)) > _MOST_PATTERN_BYTES:
        dump_schema(run, database, snapshot_id, path, exclude=exclude)
        return
    _tell(run, database, pieces)
    archives = []
    with _one_moment(connection, snapshot_id) as moment:
        for number, others in enumerate(left_out):
            part = path.with_name(f"{path.name}.{number}")
            told = say(
                "reading the schema of {source_name} in {number} pieces", source_name=database, number=len(pieces)
            )
            run.ports.store.step_progress(number, len(pieces), told)
            try:
                dump_schema(run, database, moment, part, exclude=(*exclude, *others))
                archives.append(read_archive(part))
            finally:
                part.unlink(missing_ok=True)
        edges = _edges(connection)
    unfinished = path.with_name(path.name + ".part")
    write_archive(unfinished, merged(archives, edges))
    with durable("local.archive"):
        unfinished.replace(path)


def _left_out(pieces: list[list[Relation]]) -> list[list[str]]:
    """Return what each piece is without: by names as far as the command line holds them."""
    by_name = sum(map(len, pieces)) // _RELATIONS_PER_NAME
    found: list[list[str]] = []
    for most in (by_name, 0):
        found = [
            patterns((one for other in pieces if other is not piece for one in other), piece, by_name=most)
            for piece in pieces
        ]
        if max(map(_size, found)) <= _MOST_PATTERN_BYTES:
            break
    return found


def _size(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def _tell(run: Run, database: str, pieces: list[list[Relation]]) -> None:
    largest = max(len(piece) for piece in pieces)
    run.ports.store.event(
        "info",
        "SRC-PIECES",
        say(
            "The source has no room to lock all tables of {database} at once: its schema is read in {pieces},"
            " each of {largest} at most.",
            database=database,
            pieces=count(len(pieces), "{number} piece", "{number} pieces"),
            largest=count(largest, "{number} table, view or sequence", "{number} tables, views and sequences"),
        ),
    )


@contextlib.contextmanager
def _one_moment(connection: Connection, snapshot_id: str) -> Iterator[str]:
    """Give a snapshot that all pieces share: the one that is there, else one of this moment."""
    if snapshot_id:
        yield snapshot_id
        return
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        row = connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
        yield str(row[0]) if row else ""


def read_pieces(connection: Connection) -> list[list[Relation]]:
    """Return the relations of the connected database, so divided that the source has room to lock each part."""
    rows = connection.execute(query("dumped_relations")).fetchall()
    relations = [
        Relation(
            oid=int(str(oid)),
            schema=str(schema),
            name=str(name),
            kind=str(kind),
            owner=int(str(owner)) if owner is not None else None,
        )
        for oid, schema, name, kind, owner in rows
    ]
    row = connection.execute(_ROOM.encode()).fetchone()
    room = int(str(row[0])) if row else 0
    return divided(relations, room, sequences=connection.info.server_version < _SEQUENCES_UNLOCKED_SINCE)


def pieces_of(weight: int, room: int) -> int:
    """Return how many pieces so many locks make, of which each takes half of `room` at most, but is never tiny."""
    return max(1, -(-weight // max(room // 2, _LEAST_TABLES)))


def divided(relations: Sequence[Relation], room: int, *, sequences: bool = False) -> list[list[Relation]]:
    """Divide relations, ordered by schema and name, into as many parts as `pieces_of` says: each takes neighbours.

    A sequence goes with the table that owns it. `sequences`: they are locked too, and the others are spread over all
    parts; else each of those goes with its neighbours.
    """
    locked = [one for one in relations if one.kind != "S"]
    number = pieces_of(len(relations) if sequences else len(locked), room)
    size = max(1, -(-len(locked) // number))
    parts = [locked[start : start + size] for start in range(0, len(locked), size)] or [[]]
    home = {one.oid: part for part in parts for one in part}
    before, spread = parts[0], itertools.cycle(parts)
    for one in relations:
        if one.kind != "S":
            before = home[one.oid]
        elif one.owner in home:
            home[one.owner].append(one)
        else:
            (next(spread) if sequences else before).append(one)
    return parts


def patterns(others: Iterable[Relation], kept: Iterable[Relation], *, by_name: int = 0) -> list[str]:
    """Return what pg_dump must be told to leave `others` out: whole schemas, beginnings of names, or single names.

    pg_dump asks the server for each pattern. One name, in double quotes, is found by an index within a millisecond; a
    hundred names in one pattern take as long as a thousand by themselves. A schema takes as long as it takes to read
    the names of the whole database, so those of up to `by_name` relations are left out one by one, and a beginning as
    long as those that have it in any schema. A piece has neighbours only: few beginnings tell it from all others.
    """
    used: dict[str, list[str]] = defaultdict(list)
    by_schema: dict[str, list[str]] = defaultdict(list)
    for one in kept:
        used[one.schema].append(one.name)
    for one in others:
        by_schema[one.schema].append(one.name)
    everything = sorted(name for names in (*used.values(), *by_schema.values()) for name in names)
    found = []
    for schema, names in by_schema.items():
        if schema not in used and len(names) > by_name:
            found.append(f"{quote(schema)}.*")
            continue
        for beginning, those in _by_beginning(names, used[schema]).items():
            first = bisect.bisect_left(everything, beginning)
            behind = first + len(those) * _RELATIONS_PER_NAME
            dear = by_name and behind < len(everything) and everything[behind].startswith(beginning)
            if len(those) == 1 or dear:
                found += [f"{quote(schema)}.{quote(name)}" for name in those]
            else:
                found.append(f"{quote(schema)}.{quote(beginning)}*")
    return found


def _by_beginning(names: Iterable[str], kept: Iterable[str]) -> dict[str, list[str]]:
    """Return the names by the shortest beginning of each that no name of `kept` has, or the whole name."""
    order = sorted(kept)
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        at = bisect.bisect(order, name)  # what has most in common with it stands right before or behind
        shared = max((_in_common(name, one) for one in order[max(at - 1, 0) : at + 1]), default=0)
        found[name[: shared + 1]].append(name)
    return found


def _in_common(one: str, other: str) -> int:
    """Return with how many characters both begin."""
    shared = 0
    for here, there in zip(one, other, strict=False):
        if here != there:
            break
        shared += 1
    return shared


def _edges(connection: Connection) -> list[tuple[Object, Object]]:
    """Return which object needs which table, view or sequence."""
    rows = connection.execute(query("dumped_needs")).fetchall()
    return [((int(str(catalog)), int(str(oid))), (_CLASS, int(str(needed)))) for catalog, oid, needed in rows]


def merged(archives: Sequence[Sequence[Entry]], edges: Iterable[tuple[Object, Object]] = ()) -> list[Entry]:
    """Return the entries of several archives of one moment as those of one, in an order in which they can be restored.

    The order within each archive is kept as far as what needs what allows. `edges` are needs between objects that no
    archive holds together. Pure.
    """
    pile = _Pile()
    for number, archive in enumerate(archives):
        pile.add(number, archive)
    pile.connect(edges)
    order = pile.sorted()
    numbers = {key: number for number, key in enumerate(order, 1)}
    return [
        replace(
            pile.entries[key],
            dump_id=numbers[key],
            depends_on=tuple(sorted(numbers[needed] for needed in pile.needs[key])),
        )
        for key in order
    ]


def _key(entry: Entry) -> Key:
    if entry.oid:
        return (entry.class_oid, entry.oid, entry.type, entry.tag)
    return (entry.type, entry.schema, entry.tag, entry.definition)


class _Pile:
    """Entries of several archives by what they are about."""

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self.needs: dict[Key, set[Key]] = defaultdict(set)
        self._places: dict[Key, tuple[int, int, int, int]] = {}
        self._found_in: dict[Key, set[int]] = defaultdict(set)

    def add(self, number: int, archive: Sequence[Entry]) -> None:
        """Add an archive. What it alone holds comes behind what it has before that in common with the first one."""
        keys = {entry.dump_id: _key(entry) for entry in archive}
        rank = behind = 0
        for at, entry in enumerate(archive):
            key = keys[entry.dump_id]
            rank = max(rank, _RANKS.get(entry.section, 0))
            if key in self._places:
                behind = max(behind, self._places[key][1])
            else:
                self.entries[key] = entry
                self._places[key] = (rank, behind, number, at) if number else (rank, at, 0, 0)
            self._found_in[key].add(number)
            self.needs[key].update(keys[on] for on in entry.depends_on if on in keys and keys[on] != key)

    def connect(self, edges: Iterable[tuple[Object, Object]]) -> None:
        """Add needs between objects of different archives."""
        by_object: dict[Object, Key] = {}
        for key, entry in self.entries.items():
            if entry.oid:
                by_object.setdefault((entry.class_oid, entry.oid), key)
        for one, other in edges:
            needing, needed = by_object.get(one), by_object.get(other)
            if not needing or not needed or needing == needed:
                continue
            if self._found_in[needing].isdisjoint(self._found_in[needed]):
                self.needs[needing].add(needed)

    def sorted(self) -> list[Key]:
        """Return the keys, each after what it needs, otherwise by their places. Circles are cut at the first place."""
        waiting = {key: len(self.needs[key]) for key in self.entries}
        needed_by: dict[Key, list[Key]] = defaultdict(list)
        for key in self.entries:
            for needed in self.needs[key]:
                needed_by[needed].append(key)
        ready = [(self._places[key], key) for key, number in waiting.items() if not number]
        heapq.heapify(ready)
        blocked = iter(sorted(self.entries, key=self._places.__getitem__))
        order: list[Key] = []
        done: set[Key] = set()
        while len(order) < len(self.entries):
            key = heapq.heappop(ready)[1] if ready else next(one for one in blocked if one not in done)
            if key in done:
                continue
            done.add(key)
            order.append(key)
            for other in needed_by[key]:
                waiting[other] -= 1
                if not waiting[other]:
                    heapq.heappush(ready, (self._places[other], other))
        return order
