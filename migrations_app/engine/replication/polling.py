"""Looks about twice a minute at what the stream does not tell, or only with the next row: changed tables, sequences."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple, cast

import psycopg

from .. import drifting
from ..connect import translate
from ..copy_plan import made_tables
from ..drift import Drift, NewTable, Place
from ..errors import EngineError, SchemaChanged
from ..layout_parts import Parts
from ..mapping import renaming_of
from ..names import qualified
from ..occupied import adopted
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import NEVER, DatabaseState, TableState, TableStatus
from ..shapes import Shape, as_on_target, read_shapes
from ..unmoved import LOCK_NOT_AVAILABLE
from ..wording import Sentence, say
from . import names_followed
from .columns_look import ColumnsLook
from .continuing import streamed_tables
from .explained import noticed
from .followed_sequences import MARK, FollowedSequences
from .lag import SourceWatch
from .listed import require_listed
from .remembering import Remembering
from .told_rows import ToldRows, told_rows
from .tops_followed import renamed_tops
from .unknown_tables import UnknownTable

_SECONDS = 30.0
_MOST = 50
_STATEMENTS = 5

_looked: dict[str, float] = {}  # by slot: when this process looked last; slices are short


class _Partition(NamedTuple):
    """A new partition of a table that the stream brings with all its partitions."""

    place: Place


class _Keyless(NamedTuple):
    """A table that lost what its changed rows are told by. `published`: the source refuses such changes then."""

    place: Place
    published: bool


class _OtherParts(NamedTuple):
    """A partition that came to a gathered table with its rows, or left it with them.

    `unlogged`: it came, and no row of it is ever told.
    """

    top: Place
    place: Place
    came: bool
    unlogged: bool = False

    @property
    def facts(self) -> tuple[str, ...]:
        """What tells one from another."""
        return ("part", "unlogged" if self.unlogged else str(self.came), *self.place)


class Poll:
    """The looks at one database. One thread only.

    `position`: everything that committed on the source before it is on the target for good; 0 where nobody knows.
    """

    def __init__(
        self, run: Run, database: DatabasePlan, watch: SourceWatch, position: Callable[[], int] = lambda: 0
    ) -> None:
        self._run, self._database, self._watch = run, database, watch
        self._sequences = FollowedSequences(run, database, watch)
        self._tables: list[TableState] = []  # of the look under way: there may be very many
        self._parts: list[_OtherParts] = []  # likewise
        self._told_rows: list[ToldRows] = []  # likewise
        self._strangers: set[Place] = set()  # likewise: tables that the task does not know
        self._remembering = Remembering(run, database, watch, position)

    def look(self, state: DatabaseState, *, now: bool = False) -> DatabaseState:
        """Tell in the task's history what is new since the last look; return the state with what has been told.

        Carries sequences on as well. Asks the source for one number and its publication, and reads tables of both sides
        only when the number is another one than before, or something that was told may have been settled. Nothing
        happens before the time has come, unless it has to be `now`. Raises EngineError: SourceError, when the
        publication was edited.
        """
        if not now and time.monotonic() - _looked.get(state.slot, -_SECONDS) < _SECONDS:
            return state
        state = self._sequences.look(state)
        shapes, files = self._watch.shapes_hash(), self._watch.files_hash()
        _looked[state.slot] = time.monotonic()
        self._look_at_publication(state)
        marks = [mark for mark in state.told_drift if mark.startswith(MARK)]
        settled = len(marks) == len(state.told_drift)  # no table is other than on the target
        if settled and state.shapes_seen == f"{shapes}/{files}":
            return state
        self._tables = self._run.ports.store.tables(self._database.source_name)
        if settled and state.shapes_seen.startswith(f"{shapes}/"):
            self._remembering.renew(self._tables, shapes)
            return replace(state, shapes_seen=self._seen(shapes, files))
        partitions, tables = self._unknown()
        found: dict[str, Drift | _Partition | _Keyless | _OtherParts | ToldRows] = {
            self._key(one.digest): one for one in self._drifts()
        }
        self._remembering.save(self._tables)
        found |= {self._key("\0".join(one.place)): one for one in partitions}
        found |= {self._key("\0".join(("identity", *one.place))): one for one in self._keyless()}
        found |= {self._key("\0".join(one.facts)): one for one in self._parts}
        found |= {self._key("\0".join(one.facts)): one for one in self._told_rows}
        fresh = {key: one for key, one in found.items() if key not in state.told_drift}
        asked = self._asked() if fresh else set()
        drifts = [(key, one) for key, one in fresh.items() if asked and isinstance(one, Drift)]
        waiting = [key for key, one in drifts if self._whole((one.schema, one.name)) in asked]
        for key in waiting:  # what is left of it after the answer is told then
            del fresh[key], found[key]
        for one in list(fresh.values())[:_MOST]:
            self._tell(one)
        for table in self._run.ports.store.new_tables(self._database.source_name, tables)[:_MOST]:
            self._tell(table)
        seen = "" if waiting or self._remembering.left_out else self._seen(shapes, files)
        return replace(state, told_drift=(*list(found)[:_MOST], *marks), shapes_seen=seen)

    def _seen(self, shapes: str, files: str) -> str:
        """Return what is stored as seen: of the files nothing, while the stream is behind what was read of them."""
        return f"{shapes}/{'' if self._remembering.behind else files}"

    def _asked(self) -> set[Place]:
        """Return the tables, as a whole, about which somebody has decided: the stream only has to come there."""
        store, name = self._run.ports.store, self._database.source_name
        asked = {(leave.schema, leave.name) for leave in store.leaves(name)} | set(store.recopies(name))
        return {self._whole(place) for place in asked}

    def _whole(self, place: Place) -> Place:
        """Return what changes together with a table: the topmost one that it is a partition of."""
        oid = next((table.oid for table in self._tables if (table.schema, table.name) == place), 0)
        return (self._watch.ancestors(oid) or [place])[-1]

    def _look_at_publication(self, state: DatabaseState) -> None:
        """Raise SourceError when the publication was edited. Whoever keeps a table locked is not waited for: the sync
        would stand still, and the next look comes soon."""
        if not state.publication:
            return
        try:
            self._require_listed(state)
        except EngineError as error:
            if error.sqlstate != LOCK_NOT_AVAILABLE:
                raise

    def _require_listed(self, state: DatabaseState) -> None:
        # Who has partitions gathered has to see new ones as well: each has to come, and the publication may lack it.
        gathers = bool(Parts(self._run, self._database))
        if gathers or self._watch.brought(state.publication, waits=False) != self._watch.publication:
            tables = self._run.ports.store.tables(state.source_name)
            require_listed(self._run, self._database, self._watch, state, tables, running=True)

    @staticmethod
    def _key(facts: str) -> str:
        return hashlib.blake2b(facts.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    def _drifts(self) -> Iterator[Drift]:
        tables = [table for table in self._tables if not table.set_aside]
        self._remembering.begin(tables)
        here, there = self._watch.shapes([table.oid for table in tables]), self._there()
        known = names_followed.Known(self._run, self._database)
        pairs = [(table, here[table.oid].place) for table in tables if table.oid in here]
        others = [(table, now) for table, now in pairs if now != (table.schema, table.name)]
        yield from (self._renamed(table, now, there, known) for table, now in others)
        yield from map(self._told_or_raised, renamed_tops(self._run, self._database))
        renaming, kept = renaming_of(self._run, self._database), adopted(self._run, self._database)
        parts = Parts(self._run, self._database)
        alike = [table for table in tables if not parts.gathers((table.schema, table.name))]
        self._told_rows = told_rows(alike, here, there, renaming.place, self._watch.ancestors, kept)
        yield from self._moved_types([(here[one.oid], there.get(renaming.place(now))) for one, now in pairs], known)
        former = known.former()  # types of a schema with another name are the same types
        looked = ColumnsLook(self._run, self._database, self._watch, self._remembering, self._tables, there)
        told = set[tuple[str, ...]]()
        for table in tables:
            place, shape = (table.schema, table.name), here.get(table.oid)
            if shape is None:
                yield drifting.gone_table(place, again=place in self._strangers)
            elif shape.place == place and renaming.place(place) in there:
                columns = as_on_target(as_on_target(shape.columns, former), renaming)
                compare = drifting.compare if renaming.place(place) in kept else drifting.compare_fully
                found, together = looked.drift(table, shape, columns, compare) or (None, ())
                if found and together not in told:
                    told.add(together)  # the partitions of a table change together
                    yield found

    def _renamed(self, table: TableState, now: Place, there: Container[Place], known: names_followed.Known) -> Drift:
        """Return the drift of a table that has another name. Raises TableRenamed when it is to be followed, and
        SchemaChanged when somebody has to decide, because Complete was asked for."""
        run, place = self._run, self._watch.place
        return self._told_or_raised(
            names_followed.verdict(run, self._database, table, now, there.__contains__, place, known)
        )

    def _told_or_raised(self, found: names_followed.TableRenamed | SchemaChanged) -> Drift:
        """Return what is told; raises as `_renamed`."""
        if isinstance(found, names_followed.TableRenamed) or self._run.ports.control.complete_requested():
            raise found
        return cast(Drift, found.drift)

    def _moved_types(self, pairs: Iterable[tuple[Shape, Shape | None]], known: names_followed.Known) -> Iterator[Drift]:
        """Yield what became of schemas that hold but types which columns have. Raises as `_renamed`."""
        as_shown, former = renaming_of(self._run, self._database).shown, known.former().shown
        types = set[tuple[str, str]]()
        for here, there in pairs:
            old = {one.name: one.type_name for one in (there.columns if there else ()) if "." in one.type_name}
            types |= {(old[one.name], as_shown(former(one.type_name))) for one in here.columns if one.name in old}
        told = set[str]()
        for pair in sorted(types):
            found = names_followed.types_verdict(self._run, self._database, [pair], known)
            drift = self._told_or_raised(found) if found else None
            if drift and drift.digest not in told:
                told.add(drift.digest)
                yield drift

    def _keyless(self) -> list[_Keyless]:
        published = bool(self._run.ports.store.database(self._database.source_name).publication)
        # What was set aside is published all the same, and its application would be refused all the same.
        known = [table for table in self._tables if published or not table.set_aside]
        streamed = streamed_tables(Parts(self._run, self._database), self._watch, known)
        tables = {oid: one.place for oid, one in streamed.items()}
        return [_Keyless(tables[oid], published) for oid in sorted(self._watch.without_identity(list(tables)))]

    def _there(self) -> dict[Place, Shape]:
        with self._run.sessions.session(Side.TARGET, self._database.target_name) as connection:
            try:
                return {shape.place: shape for shape in read_shapes(connection).values()}
            except psycopg.Error as error:
                self._run.ports.control.check()
                raise translate(error, Side.TARGET, say("reading columns")) from error

    def _unknown(self) -> tuple[list[_Partition], list[NewTable]]:
        """Return the partitions that the stream will tell of, and the tables about which somebody has to decide."""
        selection, name = self._run.plan.selection, self._database.source_name
        published = self._watch.published(self._run.ports.store.database(name).publication)
        told: list[_Partition] = []
        groups: dict[int, NewTable] = {}
        made: set[Place] | None = None
        parts = Parts(self._run, self._database)
        seen: set[int] = set()
        self._parts, self._strangers = [], set()
        for one in self._watch.unknown_tables([state.oid for state in self._tables if not _is_only_noted(state)]):
            self._strangers.add(one.place)
            if one.top and parts.gathers(one.top_place):
                seen.add(one.oid)
                self._parts += self._of_gathered(one, known=one.oid in parts.tops)
                continue
            above = self._watch.ancestors(one.oid) if one.top else []
            if selection.mode_of(name, one.place, *above) != "data":
                continue
            # No row of an unlogged one would bring it up; rows that one had before it was attached, none ever does.
            streamed = one.top in published and not one.unlogged
            if streamed and not self._brought_rows(one):
                told.append(_Partition(one.place))
                continue
            made = made_tables(self._run, self._database) if made is None else made
            found = self._new_table(one, made)
            if streamed:
                found = replace(found, wanted=False, attached=True)
            before = groups.get(found.oid)
            groups[found.oid] = replace(found, tables=before.tables + 1) if before else found
        left = [oid for oid in parts.tops if oid not in seen]
        self._parts += [_OtherParts(parts.tops[oid], parts.names[oid], came=False) for oid in left]
        return told if selection.follow == "ask" else [], list(groups.values())

    def _of_gathered(self, one: UnknownTable, *, known: bool) -> list[_OtherParts]:
        """Return what has to be told of a partition of a gathered table; `known`: it is one of those that it has."""
        tops = [state for state in self._tables if (state.schema, state.name) == one.top_place]
        if one.unlogged and any(not (state.unlogged or state.set_aside) for state in tops):
            return [_OtherParts(one.top_place, one.place, came=True, unlogged=True)]
        return [] if known or not self._brought_rows(one) else [_OtherParts(one.top_place, one.place, came=True)]

    def _brought_rows(self, one: UnknownTable) -> bool:
        lineage = self._watch.lineage(one.oid, renaming_of(self._run, self._database))
        return not all(part.born for part in lineage)

    def _new_table(self, one: UnknownTable, made: Container[Place]) -> NewTable:
        """Return what is decided about: the table, or the partitioned one as a whole when that is new as well."""
        renaming = renaming_of(self._run, self._database)
        follows = self._run.plan.selection.follow == "additions"
        if one.among or (one.top and renaming.place(one.top_place) in made):
            return NewTable(oid=one.oid, schema=one.place[0], name=one.place[1], partition=True, wanted=follows)
        schema, name = one.top_place if one.top else one.place
        return NewTable(oid=one.top or one.oid, schema=schema, name=name)

    def _tell(self, one: Drift | _Partition | _Keyless | _OtherParts | ToldRows | NewTable) -> None:
        database, event = self._database.source_name, self._run.ports.store.event
        if isinstance(one, _Keyless):
            event("error", "SRC-IDENTITY", _keyless(database, one))
        elif isinstance(one, ToldRows):
            event(one.level, "SRC-DDL", one.said(database))
        elif isinstance(one, _OtherParts):
            event("error", "SRC-DDL", _other_parts(database, one))
        elif isinstance(one, NewTable):
            event("info" if one.wanted else "warning", "SRC-NEWTABLE", _new(database, one))
        else:
            event("warning", "SRC-DDL", noticed(database, one) if isinstance(one, Drift) else _announced(database, one))


def _is_only_noted(state: TableState) -> bool:
    """Say whether somebody wanted to add a table, and nothing of it is on the target: it may have been refused."""
    return state.status is TableStatus.WAITING and state.watermark == NEVER


def _keyless(database: str, one: _Keyless) -> Sentence:
    schema, name = one.place
    where = {"schema": schema, "name": name, "database": database}
    run = say(
        " Run on the source: {statement}.", statement=f"ALTER TABLE {qualified(*one.place)} REPLICA IDENTITY FULL"
    )
    if one.published:
        return (
            say(
                "Table {schema}.{name} of {database} has lost its key or replica identity: the source now refuses the "
                "application's own UPDATE and DELETE there, because they cannot be published.",
                **where,
            )
            + run
        )
    return (
        say(
            "Table {schema}.{name} of {database} has lost its key or replica identity: the source no longer tells "
            "which row an UPDATE or DELETE changed, and the sync will stop there.",
            **where,
        )
        + run
    )


def _other_parts(database: str, one: _OtherParts) -> Sentence:
    names = {"part": ".".join(one.place), "table": ".".join(one.top), "database": database}
    if one.unlogged:
        return say(
            "{part} is a new partition of {table} of {database}, and unlogged: the source tells no change of it, and "
            "the target is partitioned otherwise. Run on the source: {statement}. Then {table} has to be copied again.",
            statement=f"ALTER TABLE {qualified(*one.place)} SET LOGGED",
            **names,
        )
    told = (
        say("{part} was attached to {table} of {database}: rows that it had are not on the target.", **names)
        if one.came
        else say("{part} is no partition of {table} of {database} any more: its rows are still on the target.", **names)
    )
    return told + say(" The target is partitioned otherwise, so {table} has to be copied again.", table=names["table"])


def _announced(database: str, one: _Partition) -> Sentence:
    schema, name = one.place
    return say(
        "Table {schema}.{name} of {database} is a new partition of a selected table. The sync will stop just "
        "before its first row and ask what to do.",
        schema=schema,
        name=name,
        database=database,
    )


def _new(database: str, one: NewTable) -> Sentence:
    where = {"schema": one.schema, "name": one.name, "database": database}
    if one.wanted:
        return say(
            "Table {schema}.{name} of {database} is a new partition of a migrated table: it is added by itself.",
            **where,
        )
    if one.attached:
        return say(
            "Table {schema}.{name} of {database} was attached to a migrated table as a partition: rows that it had are "
            "not on the target. Add it; Complete waits for that. The sync stops at the first change of it.",
            **where,
        )
    if one.partition:
        return say(
            "Table {schema}.{name} of {database} is a new partition of a migrated table, and this source does not send "
            "its rows by itself. Add it; Complete waits for that.",
            **where,
        )
    return say(
        "Table {schema}.{name} of {database} is new on the source and selected, but this task does not copy it: its "
        "rows do not arrive on the target. Add it to the task, or ignore it; Complete waits for that.",
        **where,
    )
