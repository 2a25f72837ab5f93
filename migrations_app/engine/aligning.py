"""Gives a table of the target the columns of the source before it is copied again, which replaces its rows anyway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import psycopg

from . import drifting
from .connect import Connection, translate
from .copy_plan import made_tables
from .drift import ChangeKind, Column, Drift, Place
from .errors import SchemaChanged
from .mapping import renaming_of
from .names import qualified, quote
from .occupied import adopted
from .outcome import Run
from .own_columns import identity_item, sequence_item
from .partition_making import make_partition
from .plan import DatabasePlan, Side
from .ports import NEVER, TableState, TableStatus
from .renamed_columns import renamed_columns, renaming_statement, with_names
from .rewritten import read_family, with_old_values
from .shapes import Shape, as_on_target, read_partitions, read_shapes, with_expressions
from .sql import query
from .target_changes import change_target, refused
from .wording import listing, say

_ROOT = (
    "WITH RECURSIVE up AS (SELECT i.inhparent, 1 AS n FROM pg_catalog.pg_inherits i"
    " JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid WHERE i.inhrelid = %s AND c.relispartition"
    " UNION ALL SELECT i.inhparent, up.n + 1 FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.inhparent)"
    " SELECT n.nspname::text, c.relname::text FROM up JOIN pg_catalog.pg_class c ON c.oid = up.inhparent"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY up.n DESC LIMIT 1"
)

_RELATED = "SELECT EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = %s OR inhparent = %s)"
_HEIRS = (
    "WITH RECURSIVE down AS (SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent = %s"
    " UNION SELECT i.inhrelid FROM down JOIN pg_catalog.pg_inherits i ON i.inhparent = down.inhrelid)"
    " SELECT n.nspname::text, c.relname::text FROM down JOIN pg_catalog.pg_class c ON c.oid = down.inhrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
)


def align(run: Run, database: DatabasePlan, state: TableState, catch_up: Callable[[], None] | None = None) -> None:
    """Change the columns of one of our tables on the target to those that the source has now, and empty it; make it
    where it is a new partition.

    `catch_up` brings the sync of all other tables to where the source is now. It is called where a partition has other
    columns than on the target: those are the columns of its root, and other partitions may have rows on the way that do
    not have them yet. Nothing happens where they are alike, or the table is not ours. One transaction, so that a kill
    leaves the table as it was or empty with its new columns; the caller copies it in any case. Raises SchemaChanged for
    what cannot be done, and EngineError of the side that failed.
    """
    place = renaming_of(run, database).place((state.schema, state.name))
    source = _read(run, database, Side.SOURCE, (state.schema, state.name))
    there = _read(run, database, Side.TARGET, place)
    if source is not None and there is None:
        make_partition(run, database, state, lambda side, at: _read(run, database, side, at))
        there = _read(run, database, Side.TARGET, place)
    if source is None or there is None or place not in made_tables(run, database):
        return  # whoever copies it says so
    columns = as_on_target(source.columns, renaming_of(run, database))
    new = [column for column in columns if not column.generated]
    if {(one.name, one.type_name) for one in new} == {(one.name, one.type_name) for one in there.stored}:
        return
    if catch_up is not None and _is_partition(run, database, there.oid):
        catch_up()
        align(run, database, state)
        return
    same = source.oid == state.oid  # numbers of another table, made by this name since, tell nothing of its columns
    renamed = renamed_columns(state.numbers, new, there) if same and _is_alone(run, database, there.oid) else {}
    renames = [renaming_statement(place, old, name) for old, name in renamed.items()]
    there = with_names(there, renamed)
    _note_identities(run, database, there, new)
    before, after = _sequences(run, database, source, there)
    kept = place in adopted(run, database)
    settled = _with_old_values(run, database, source, there, new, copied=source.oid)
    statements: Sequence[str] = ()
    defaults: Sequence[str] = ()
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            silent = run.ports.store.database(database.source_name).replica_role
            by_row = kept or _emptied_by_row(connection, there.oid, silent=silent)
            empty = "DELETE FROM ONLY" if by_row else "TRUNCATE ONLY"
            copied = _copied_again(run, database)
            statements, defaults = _statements(connection, state, there, columns, settled, empty, copied)
            statements, defaults = [*before, *renames, *statements], [*defaults, *after]
            change_target(connection, statements, defaults, silent=silent)
        except psycopg.Error as error:
            run.ports.control.check()
            doing = say("changing the columns of {schema}.{name}", schema=state.schema, name=state.name)
            raise refused(error, doing, statements) from error
    _tell(run, database, state, statements)


def parents_change(run: Run, database: DatabasePlan, oid: int) -> Drift | None:
    """Return how the topmost table above a new partition (oid) is other than on the target; None where it is not.

    The next row of another partition would bring that up, and none has come yet. Raises EngineError of the side that
    failed.
    """
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        try:
            root = _root(connection, oid)
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.SOURCE, say("reading partitions")) from error
    top = (str(root[0]), str(root[1])) if root else ("", "")
    renaming = renaming_of(run, database)
    place = renaming.place(top)
    source = _read(run, database, Side.SOURCE, top)
    if source is None or place not in made_tables(run, database):
        return None
    # What rows of before hold in a new column, only a table that had some can tell.
    one = _sibling(run, database, source.oid) or top
    source, there = _read(run, database, Side.SOURCE, one), _read(run, database, Side.TARGET, renaming.place(one))
    if source is None or there is None:
        return None
    stored = [column for column in as_on_target(source.columns, renaming) if not column.generated]
    return drifting.compare(top, place, there.stored, _with_old_values(run, database, source, there, stored))


def _with_old_values(
    run: Run, database: DatabasePlan, source: Shape, there: Shape, columns: Sequence[Column], *, copied: int = 0
) -> list[Column]:
    """Return columns of a table of the source, those that the target lacks with what rows of before hold.

    `copied`: a table (oid) that is copied again, whose rows on the target go.
    """
    # The rows of what is copied anyway do not count.
    states = [
        replace(one, watermark=NEVER) if one.oid == copied else one
        for one in run.ports.store.tables(database.source_name)
    ]
    renaming = renaming_of(run, database)
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        try:
            family = read_family(connection, source.oid)
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.SOURCE, say("reading columns")) from error
    made = made_tables(run, database)

    def on_target(place: Place) -> list[str] | None:
        at = renaming.place(place)
        shape = _read(run, database, Side.TARGET, at) if at in made else None
        return [one.name for one in shape.columns] if shape else None

    lacking = {one.name for one in columns} - {one.name for one in there.stored}
    return with_old_values(columns, lacking, source.oid, family, states, on_target)


def _sibling(run: Run, database: DatabasePlan, top: int) -> Place | None:
    """Return a partition below a table (oid) of the source that the task has, None when it has none."""
    known = {state.oid for state in run.ports.store.tables(database.source_name) if state.status is TableStatus.DONE}
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        try:
            parts = read_partitions(connection, [top])
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.SOURCE, say("reading partitions")) from error
    return next((place for oid, place, _ in parts if oid in known), None)


def change_parent(run: Run, database: DatabasePlan, found: Drift) -> None:
    """Give the target's table the columns that `parents_change` has found.

    Only when the sync has come to where the source was then: rows of the old shape can follow no more. Raises
    SchemaChanged for what somebody has to decide, EngineError of the target that refuses; then nothing was changed.
    """
    if not _only_adds(found):
        raise SchemaChanged(
            say(
                "{table} has other columns on the source than on the target: {names}. The sync asks about that with "
                "the next row that is written to one of its other partitions. Write one and decide, or make the same "
                "change on the target yourself; then add the partition again.",
                table=f"{found.schema}.{found.name}",
                names=listing(dict.fromkeys(change.name for change in found.changes)),
            )
        )
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            change_target(connection, found.statements)
        except psycopg.Error as error:
            run.ports.control.check()
            doing = say("changing the columns of {schema}.{name}", schema=found.schema, name=found.name)
            raise translate(error, Side.TARGET, doing) from error
    told = say(
        "Table {schema}.{name} of {database} was changed on the target as on the source, for a partition that is "
        "added: {statements}. The sync goes on.",
        schema=found.schema,
        name=found.name,
        database=database.source_name,
        statements=listing(found.statements, 5),
    )
    run.ports.store.event("warning", "DDL-APPLIED", told)


def _only_adds(found: Drift) -> bool:
    return not found.doubt and all(one.kind is ChangeKind.ADDED for one in found.changes)


def _tell(run: Run, database: DatabasePlan, state: TableState, statements: Sequence[str]) -> None:
    told = say(
        "The columns of {schema}.{name} of {database} are made those of the source before it is copied again: "
        "{statements}.",
        schema=state.schema,
        name=state.name,
        database=database.source_name,
        statements=listing(statements, 5),
    )
    run.ports.store.event("warning", "DDL-APPLIED", told)


def _root(connection: Connection, oid: int) -> tuple[object, ...] | None:
    """Return (schema, name) of the topmost partitioned table above a partition, None for any other table."""
    return connection.execute(_ROOT, (oid,)).fetchone()


def _is_alone(run: Run, database: DatabasePlan, oid: int) -> bool:
    """Say whether no table of the target gets columns together with this one."""
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            row = connection.execute(_RELATED, (oid, oid)).fetchone()
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.TARGET, say("reading columns")) from error
    return row == (False,)


def _is_partition(run: Run, database: DatabasePlan, oid: int) -> bool:
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            return _root(connection, oid) is not None
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.TARGET, say("reading columns")) from error


def _emptied_by_row(connection: Connection, oid: int, *, silent: bool) -> bool:
    """Say whether foreign keys lead to a table, so that TRUNCATE is refused, and none of them acts on other tables."""
    asked = (
        "SELECT bool_or(coalesce(pg_catalog.row_to_json(k) ->> 'conenforced', 'true') = 'true')"
        " FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.confrelid = %s"
    )
    row = connection.execute(asked, (oid,)).fetchone()
    acts = row[0] if row else None
    return acts is not None and (silent or not acts)


def _note_identities(run: Run, database: DatabasePlan, there: Shape, new: Sequence[Column]) -> None:
    """Write down that added identity columns are made BY DEFAULT, so that Complete makes them what they are."""
    known = {column.name for column in there.columns}
    for column in new:
        if column.identity == "a" and column.name not in known:
            run.ports.ledger.intend(identity_item(database, there, column.name))


def _sequences(run: Run, database: DatabasePlan, source: Shape, there: Shape) -> tuple[list[str], list[str]]:
    """Return what makes the sequences of added columns, and then the columns' own. Complete sets their values."""
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        rows = connection.execute(query("owned_sequences"), {"oid": source.oid}).fetchall()
    known = {column.name for column in there.columns}
    before, after = [], []
    for schema, name, column in [(str(schema), str(name), str(column)) for schema, name, column in rows]:
        if column in known:
            continue
        at = renaming_of(run, database).place((schema, name))
        run.ports.ledger.intend(sequence_item(database, at))
        before.append(f"CREATE SEQUENCE IF NOT EXISTS {qualified(*at)}")
        after.append(f"ALTER SEQUENCE {qualified(*at)} OWNED BY {qualified(*there.place)}.{quote(column)}")
    return before, after


def _read(run: Run, database: DatabasePlan, side: Side, place: Place) -> Shape | None:
    name = database.source_name if side is Side.SOURCE else database.target_name
    with run.sessions.session(side, name) as connection:
        try:
            shape = next(iter(read_shapes(connection, place=place).values()), None)
            return shape and with_expressions(connection, shape)
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, side, say("reading columns")) from error


def _statements(
    connection: Connection,
    state: TableState,
    there: Shape,
    new: Sequence[Column],
    settled: Sequence[Column],
    empty: str,
    copied: set[Place],
) -> tuple[Sequence[str], Sequence[str]]:
    root = _root(connection, there.oid)
    if root is None:
        rows = connection.execute(_HEIRS, (there.oid,)).fetchall()
        heirs = {(str(schema), str(name)) for schema, name in rows}
        if heirs:
            _require_for_heirs(state, there, settled, keep=not heirs <= copied)
        known = {column.name: column for column in settled}
        columns = [known.get(column.name, column) for column in new]
        statements, defaults = drifting.aligning(there.place, there.columns, columns, heirs=bool(heirs))
        return [f"{empty} {qualified(*there.place)}", *statements], defaults
    # The columns of a partition are those of its root, which has more partitions with rows: only more columns harm none
    found = drifting.compare((state.schema, state.name), (str(root[0]), str(root[1])), there.stored, settled)
    if found is None or not _only_adds(found):
        raise SchemaChanged(
            say(
                "{schema}.{name} is a partition and has other columns on the source now, which cannot be changed for "
                "it alone.",
                schema=state.schema,
                name=state.name,
            ),
            hint=say("Change the partitioned table on the target yourself and press Retry; or drop it from the task."),
        )
    return found.statements, ()


def _copied_again(run: Run, database: DatabasePlan) -> set[Place]:
    """Return the tables of ours on the target whose rows are copied again anyway, this one among them."""
    renaming, made = renaming_of(run, database), made_tables(run, database)
    states = run.ports.store.tables(database.source_name)
    waiting = {renaming.place((one.schema, one.name)) for one in states if one.watermark == NEVER and not one.set_aside}
    return waiting & made


def _require_for_heirs(state: TableState, there: Shape, columns: Sequence[Column], *, keep: bool) -> None:
    """Raise SchemaChanged for columns that cannot be given to a table alone: what inherits from it gets them too.

    `keep`: rows of what inherits stay, and lose what they have in a column that becomes another type.
    """
    before = {column.name: column.type_name for column in there.stored} if keep else {}
    found = [one for one in columns if one.rewritten or before.get(one.name, one.type_name) != one.type_name]
    if found:
        raise SchemaChanged(
            say(
                "Other tables inherit from {schema}.{name}, and their rows would lose what they have on the source in "
                "{names}.",
                schema=state.schema,
                name=state.name,
                names=listing([column.name for column in found]),
            ),
            hint=say(
                "Change the table and those that inherit from it on the target yourself and press Retry; or drop it "
                "from the task."
            ),
        )
