"""The comparison of one database: rows of every selected table, and the objects around them, at one moment."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import cast

import psycopg

from . import large_objects
from .catalog import Listed, Table, keys_without_rows, moving_tables, read_tables, selected_tables
from .comparing.moment import Moment, TableName, open_under
from .comparing.tables import TableComparer, Work
from .connect import Connection
from .copy_plan import made_tables
from .errors import CompareDiffers, ConnectionLost
from .layouts import arranged, layouts_of
from .mapping import leaves_any, leaves_rows, renaming_of
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import FINE, NOT_MOVED, Comparison, TableDifference, TableState, TableStatus
from .renaming import Renaming
from .sql import query
from .values import frozen
from .wording import NOTHING, Sentence, count, listing, noun, say, together, verbatim

_ROUNDS = 10
_NAMED = 5

ForeignKey = tuple[str, str, str]
"""(schema, table, name)."""
Point = Callable[[Sequence[TableName]], contextlib.AbstractContextManager[Moment]]
"""Gives a moment at which the named tables are locked against TRUNCATE and rewriting."""


@frozen(kw_only=False)
class _Scope:
    """What there is to compare, read at the first moment."""

    work: list[Work]
    gone: list[TableDifference]
    newcomers: list[TableName]
    not_moved: list[TableDifference]
    other: list[TableDifference]


def compare_database(
    run: Run,
    database: DatabasePlan,
    point: Point,
    *,
    check: Callable[[], None],
    without: frozenset[TableName] = frozenset(),
) -> Comparison:
    """Compare every selected table of a database, all rows, and return the verdicts. Changes nothing on either side.

    `point` is called for a moment, and again when tables were emptied or rewritten meanwhile: those alone are compared
    at the next one. `without` names tables that are left out on purpose. `check` raises when the comparison must stop.
    Raises EngineError for what concerns all tables, what `Control.check` raises, and psycopg's errors.
    """
    rounds = _Rounds(run, database, check)
    for number in range(_ROUNDS):
        if rounds.another(point, without):
            break
        check()
        run.ports.control.sleep(random.uniform(0.05, 0.3) * (number + 1))  # noqa: S311 - not in step with a writer
    return rounds.result()


class _Rounds:
    """The rounds of one comparison: the first reads everything, later ones what could not be told before."""

    def __init__(self, run: Run, database: DatabasePlan, check: Callable[[], None]) -> None:
        self._run, self._database, self._check = run, database, check
        self._started = datetime.now(UTC)
        self._lsn: int | None = None
        self._rows_applied: int | None = None
        self._scope: _Scope | None = None
        self._pending: list[Work] = []
        self._verdicts: list[TableDifference] = []

    def another(self, point: Point, without: frozenset[TableName]) -> bool:
        """Compare what is pending at a new moment. Returns whether nothing is left to tell."""
        lock = tuple((item.source.schema, item.source.name) for item in self._pending)
        try:
            with point(lock) as moment:
                if self._scope is None:
                    self._scope = _scope(self._run, self._database, moment, without)
                    self._lsn, self._pending = moment.lsn, self._scope.work
                    self._rows_applied = moment.rows_applied
                done = TableComparer(self._run, self._database, moment, self._check).run(self._pending)
        except psycopg.errors.LockNotAvailable:
            return False
        self._verdicts += done.tables
        self._pending = done.moved
        return not done.moved

    def result(self) -> Comparison:
        """Return the comparison. Raises ConnectionLost when not even the first round could be done."""
        name = self._database.source_name
        if self._scope is None:
            raise ConnectionLost(
                say("Tables of {name} are locked on the source, so it cannot be compared now.", name=name)
            )
        _tell_newcomers(self._run, self._database, self._scope.newcomers)
        told = self._scope.gone + self._scope.not_moved
        tables = self._verdicts + told + [_restless(item.source) for item in self._pending]
        return Comparison(
            database=name,
            lsn=self._lsn,
            started_at=self._started,
            finished_at=datetime.now(UTC),
            tables=tuple(sorted(tables, key=lambda item: (item.schema, item.name))),
            other=tuple(self._scope.other),
            rows_applied=self._rows_applied,
        )


def record(
    run: Run, comparison: Comparison, note: str = "", *, final: bool = False, later: Iterable[TableName] = ()
) -> None:
    """Store a comparison and tell its result in the task's history.

    `note` is added to what differs. `final`: that everything is equal has been told already. `later`: tables that only
    Complete compares.
    """
    run.ports.store.save_comparison(comparison)
    everything = (*comparison.tables, *comparison.other)
    differing = [item for item in everything if item.verdict == "differs"]
    skipped = [item for item in everything if item.verdict == "not_compared"]
    rows = sum(item.source_rows for item in comparison.tables)
    name = comparison.database
    if comparison.equal and not final:
        moved = sum(item.verdict not in NOT_MOVED for item in comparison.tables)
        text = say(
            "{name}: source and target are equal: {tables}, {rows}, every row read.",
            name=name,
            tables=count(moved, "{number} table", "{number} tables"),
            rows=count(rows, "{number} row", "{number} rows"),
        )
        dropped = [item for item in comparison.tables if item.verdict == "left_out"]
        if bare := len(comparison.tables) - moved - len(dropped):
            text += say(" The rows of {number} more were not to be moved, and were not compared.", number=bare)
        if dropped:
            names = listing((f"{item.schema}.{item.name}" for item in dropped), _NAMED)
            text += say(" Dropped from the task and not compared: {names}.", names=names)
        if unlogged := [".".join(name) for name in later]:
            names = listing(unlogged, _NAMED)
            text += say(" Unlogged tables are not followed; Complete copies and compares them: {names}.", names=names)
        run.ports.store.event("info", "CMP-EQUAL", text)
    if differing:
        number = count(len(differing), "{number} difference", "{number} differences")
        text = say("{name}: {what}: {names}.", name=name, what=number, names=_names(differing))
        text += say(" {note}", note=note) if note else NOTHING
        run.ports.store.event("error", "CMP-DIFF", text, differences=[_told(item) for item in differing[:50]])
    if skipped:
        text = say("{name}: {number} not compared: {names}.", name=name, number=len(skipped), names=_names(skipped))
        run.ports.store.event("warning", "CMP-NOTRUN", text, differences=[_told(item) for item in skipped[:50]])


def raise_if_different(comparisons: Sequence[Comparison], hint: str) -> None:
    """Raise CompareDiffers unless every comparison found everything equal."""
    bad = [
        item for one in comparisons if not one.equal for item in (*one.tables, *one.other) if item.verdict not in FINE
    ]
    if bad:
        raise CompareDiffers(say("Source and target differ: {names}.", names=_names(bad)), hint=hint)


def tables_in_scope(run: Run, database: DatabasePlan, tables: list[Listed]) -> tuple[list[Listed], list[TableName]]:
    """Split the tables whose rows move into those that the task migrates and the names of those that appeared later.

    A new partition of a migrated table belongs to the first: its rows are rows of that table. A new partitioned table
    is a name of the second, and its partitions are in neither.
    """
    tables = arranged(tables, layouts_of(run, database))
    selected = moving_tables(tables, run.plan.selection, database.source_name)
    stored = {(state.schema, state.name) for state in run.ports.store.tables(database.source_name)}
    if not stored:
        return selected, []
    inside, newcomers = [], []
    by_oid = {table.oid: table for table in tables}
    new_tops = _new_tops(run, database, tables, stored)
    for table in selected:
        top = _top(table, by_oid)
        if top.oid in new_tops:
            newcomers += [(top.schema, top.name)] if table is top else []
        elif (table.schema, table.name) in stored or not table.has_rows or table.is_partition:
            inside.append(table)
        else:
            newcomers.append((table.schema, table.name))
    return inside, newcomers


def _new_tops(run: Run, database: DatabasePlan, tables: list[Listed], stored: set[TableName]) -> set[int]:
    """Return the oids of partitioned tables, topmost ones, that the task neither made nor copies a partition of."""
    place = renaming_of(run, database).place
    by_oid = {table.oid: table for table in tables}
    tops = {table.oid for table in tables if not table.has_rows and not table.is_partition}
    known = {_top(table, by_oid).oid for table in tables if (table.schema, table.name) in stored}
    new = tops - known
    made = made_tables(run, database) if new else set()
    return {oid for oid in new if place((by_oid[oid].schema, by_oid[oid].name)) not in made}


def _top(table: Listed, by_oid: dict[int, Listed]) -> Listed:
    while table.is_partition and (above := by_oid.get(table.parent_oid or 0)) is not None:
        table = above
    return table


def _scope(run: Run, database: DatabasePlan, moment: Moment, without: frozenset[TableName]) -> _Scope:
    source = open_under(run, Side.SOURCE, database.source_name, moment.source_snapshot)
    target = open_under(run, Side.TARGET, database.target_name, moment.target_snapshot)
    name, renaming = database.source_name, renaming_of(run, database)
    with source, target:
        layouts = layouts_of(run, database)
        everything = arranged(read_tables(source) if moment.tables is None else moment.tables, layouts)
        tables, newcomers = tables_in_scope(run, database, everything)
        here = _stored_columns(target)
        names = {(table.schema, table.name) for table in tables}
        bare = bare_tables(run, name, everything)
        whole = not leaves_any(run.plan.selection, name)
        keys = {} if whole else keys_without_rows(source, everything, tables, [*tables, *bare])
        other = _left_out(keys.values(), target, renaming)
        if not run.plan.incremental and large_objects.selected(run, database):
            other += large_object_verdicts(source, target, run.ports.control.check)
    stored = run.ports.store.tables(name)
    aside = {(state.schema, state.name): _set_aside(state) for state in stored if state.set_aside}
    work = [
        Work(source=table, target=here.get(place), by_name=place in layouts.kept)
        for table in tables
        for place in (renaming.place((table.schema, table.name)),)
        if table.has_rows and (table.schema, table.name) not in without and (table.schema, table.name) not in aside
    ]
    now = {table.oid: (table.schema, table.name) for table in everything}
    known = {*names, *aside}
    gone = [_gone(state, now.get(state.oid)) for state in stored if (state.schema, state.name) not in known]
    told = [verdict for place, verdict in aside.items() if place not in without]
    return _Scope(work, gone, newcomers, [*told, *(_not_moved(table) for table in bare if table.has_rows)], other)


def _left_out(keys: Iterable[ForeignKey], target: Connection, renaming: Renaming) -> list[TableDifference]:
    """Return a verdict for each foreign key that is not made, because it leads to rows that do not move."""
    there = {(str(row[0]), str(row[1]), str(row[2])) for row in target.execute(query("foreign_key_names")).fetchall()}
    reason = say("a foreign key to rows that do not move")
    return [
        TableDifference(
            schema=schema,
            name=say("{kind} {name} on {where}", kind=noun("constraint"), name=name, where=table),
            verdict="left_out",
            reason=reason,
        )
        for schema, table, name in sorted(keys)
        if (*renaming.place((schema, table)), name) not in there
    ]


def bare_tables(run: Run, database: str, tables: list[Listed]) -> list[Listed]:
    """Return the tables of which only the structure moves."""
    selection = run.plan.selection
    if not leaves_rows(selection, database):
        return []
    moving = {table.oid for table in moving_tables(tables, selection, database)}
    return [table for table in selected_tables(tables, selection, database) if table.oid not in moving]


def _not_moved(table: Table) -> TableDifference:
    reason = say("structure only: its rows were not to be moved")
    return TableDifference(schema=table.schema, name=table.name, verdict="structure_only", reason=reason)


def _set_aside(state: TableState) -> TableDifference:
    """Return the verdict on a table that the sync passes by: until that is settled nobody knows what it holds."""
    dropped = state.status is TableStatus.DROPPED
    reason = (
        say("dropped from the task: its rows on the target stayed as they were")
        if dropped
        else say("quarantined: its changes are skipped; copy it again, or drop it from the task")
    )
    verdict = "left_out" if dropped else "not_compared"
    return TableDifference(schema=state.schema, name=state.name, verdict=verdict, reason=reason)


def _stored_columns(connection: Connection) -> dict[TableName, dict[str, str]]:
    """Return the types of the stored columns by their names, by table."""
    rows = connection.execute(query("stored_columns")).fetchall()
    columns = cast("list[tuple[str, str, list[str], list[str]]]", rows)
    return {(schema, name): dict(zip(names, types, strict=True)) for schema, name, names, types in columns}


def large_object_verdicts(source: Connection, target: Connection, check: Callable[[], None]) -> list[TableDifference]:
    """Return one `differs` per large object that is missing or other on the target, or one `equal` for all."""
    found = large_objects.differences(source, target, check)
    if not found:
        return [TableDifference(schema="", name=noun("large objects"), verdict="equal")]
    return [
        TableDifference(
            schema="",
            name=say("{kind} {name}", kind=noun("large object"), name=oid),
            verdict="differs",
            reason=reason,
        )
        for oid, reason in sorted(found.items())
    ]


def _gone(state: TableState, now: TableName | None) -> TableDifference:
    """Return the verdict on a table that is not there by its name; `now`: what it is called."""
    other = now not in (None, (state.schema, state.name))
    reason = say("called {new} on the source now", new=".".join(now or ())) if other else say("no longer on the source")
    return TableDifference(schema=state.schema, name=state.name, verdict="differs", reason=reason)


def _restless(table: Table) -> TableDifference:
    reason = say(
        "locked, emptied or rewritten during each of {number} tries; compare again when it is quiet", number=_ROUNDS
    )
    return TableDifference(schema=table.schema, name=table.name, verdict="not_compared", reason=reason)


def _tell_newcomers(run: Run, database: DatabasePlan, newcomers: list[TableName]) -> None:
    if newcomers:
        names = listing((".".join(name) for name in newcomers), _NAMED)
        text = say(
            "{source_name}: tables made after the start are not part of this migration: {names}.",
            source_name=database.source_name,
            names=names,
        )
        run.ports.store.event("warning", "CMP-NEWTABLE", text)


def _names(items: Sequence[TableDifference]) -> Sentence:
    return listing((_one(item) for item in items), _NAMED)


def _one(item: TableDifference) -> Sentence:
    name = together([item.schema, item.name], ".") if item.schema else verbatim(item.name)
    keys = together(item.sample_keys[:3], "; ")
    details = together((part for part in (item.reason, keys) if part), ": ")
    return say("{name} ({details})", name=name, details=details) if details else name


def _told(item: TableDifference) -> dict[str, object]:
    return {"schema": item.schema, "name": item.name, "reason": item.reason, "keys": list(item.sample_keys)}
