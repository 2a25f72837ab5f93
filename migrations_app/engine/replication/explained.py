"""Says in words that a table changed on the source, what is different, and what can be done."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import replace

from ..computed import COMPUTED
from ..drift import Change, ChangeKind, Doubt, Drift, Place
from ..drifting import gone_table
from ..errors import ConnectionLost, EngineError, SchemaChanged, SourceError
from ..names import quote
from ..ports import TableState
from ..wording import Sentence, listing, say, together

_MOST = 5
_STOPS = frozenset({ChangeKind.ADDED, ChangeKind.DROPPED, ChangeKind.RENAMED, ChangeKind.RETYPED, ChangeKind.REMADE})
_DOUBTS = {
    Doubt.VALUES: say(
        "No statement is certain to give the rows of the target the values that those of the source got, so it cannot "
        "be applied. Press Copy again or Drop from task; or change the table on the target yourself and press Retry."
    ),
    Doubt.UNCLEAR: say(
        "Columns went and others came, and nothing tells whether one was renamed, so no statement can be offered. "
        "Press Copy again or Drop from task; or change the table on the target yourself and press Retry."
    ),
    Doubt.OTHER_NAME: say(
        "The target or the task has another table of the new name. Rename it back on the source and press Retry; or "
        "press Drop from task."
    ),
    Doubt.ATTACHED: say(
        "It was attached, and may hold rows that the sync was never told. Press Copy again to make it on the target "
        "and copy it, or Drop from task to leave it out."
    ),
    Doubt.REPLACED: say(
        "It has the name that another table of this task had. Press Copy again to give its rows to that table on the "
        "target, or Drop from task to leave it out."
    ),
    Doubt.REMADE: say(
        "A column was dropped and made anew, or columns changed their names among themselves: the rows of the target "
        "have the values of the former ones. Press Copy again or Drop from task."
    ),
    Doubt.REWRITTEN: say(
        "Rows may have been changed without a word of the stream. Press Copy again or Drop from task."
    ),
    Doubt.PARTS: say("Press Copy again to copy the table once more as a whole; or press Drop from task."),
    Doubt.GONE: say("Press Drop from task, or start the migration again."),
}


_MADE_AGAIN = say(
    "Press Drop from task: the other tables go on. The new table is then listed as new; add it, and it is copied and "
    "followed in place of the former one. Or start the migration again."
)


def changed(drift: Drift) -> SchemaChanged:
    """Return the error for a table that has other columns than its counterpart on the target, or none there."""
    error = _new_partition(drift) if drift.oid else _other_columns(drift)
    error.drift = drift
    return error


def _new_partition(drift: Drift) -> SchemaChanged:
    what = say("is a new partition of a selected table")
    return SchemaChanged(
        say(
            "Table {schema}.{name} {what}, but it has not been copied. The sync stopped just before its first change.",
            schema=drift.schema,
            name=drift.name,
            what=what,
        ),
        hint=advice(drift),
    )


def _other_columns(drift: Drift) -> SchemaChanged:
    return SchemaChanged(
        say(
            "Table {schema}.{name} does not have the same columns any more: {names}. The sync "
            "stopped just before the first change of the new shape.",
            schema=drift.schema,
            name=drift.name,
            names=differences(drift),
        ),
        hint=advice(drift),
    )


def require_tables(tables: Iterable[TableState], known: Container[int], others: Callable[[], set[Place]]) -> None:
    """Raise SchemaChanged for a table that was dropped on the source; `known`: the oids of those that are there,
    `others`: the names of those that the task does not know."""
    for table in tables:
        if table.oid not in known:
            raise _gone(table, again=(table.schema, table.name) in others())


def _gone(table: TableState, *, again: bool) -> SchemaChanged:
    place = (table.schema, table.name)
    error = SchemaChanged(gone(table.database, place, again=again), hint=_MADE_AGAIN if again else _DOUBTS[Doubt.GONE])
    error.drift = replace(gone_table(place, again=again), database=table.database)
    return error


def not_copied(place: Place, former: TableState | None, *, part: bool) -> SchemaChanged:
    """Return the error for a change of a table that the task does not copy; `former`: the one whose name it took."""
    if former is not None:
        return _gone(former, again=True)
    what = say("is a new partition of a selected table") if part else say("is new on the source and selected")
    return SchemaChanged(
        say(
            "Table {schema}.{name} {what}, but it has not been copied. The sync stopped just before its first change.",
            schema=place[0],
            name=place[1],
            what=what,
        ),
        hint=say("Start the migration again to include it."),
    )


def gone(database: str, place: Place, *, again: bool) -> Sentence:
    """Say that a table was dropped on the source; `again`: another one has its name there."""
    where = {"schema": place[0], "name": place[1], "database": database}
    if again:
        return say(
            "Table {schema}.{name} of {database} was dropped on the source and made again: what is called so there now "
            "is another table, and none of its rows goes to the target.",
            **where,
        )
    return say("Table {schema}.{name} of {database} is gone from the source.", **where)


def advice(drift: Drift) -> Sentence:
    """Return what the operator can press."""
    if drift.changes[0].kind is ChangeKind.TOP_RENAMED:
        return _advice_of_top(drift)
    if drift.doubt:
        return _DOUBTS[drift.doubt]
    if drift.exchanges:
        return say(
            "Press Apply and resume to run on the target, one after the other: {statements}. Leave the tables of the "
            "target as they are: an exchange by hand could not be told from none. Or rename the tables back on the "
            "source and press Retry; or press Drop from task.",
            statements=listing(drift.statements, _MOST),
        )
    if drift.renames and drift.changes[0].kind is ChangeKind.SCHEMA_RENAMED:
        return say(
            "Press Apply and resume to run on the target: {statements}. Or rename the schema there yourself, or back "
            "on the source, and press Retry.",
            statements=listing(drift.statements, _MOST),
        )
    if drift.renames:
        return say(
            "Press Apply and resume to run on the target: {statements}. Or rename it there yourself, or back on the "
            "source, and press Retry; or press Drop from task.",
            statements=listing(drift.statements, _MOST),
        )
    if drift.oid:
        return say(
            "Press Apply and resume to run on the target: {statements}. Or press Drop from task to leave it out.",
            statements=listing(drift.statements, _MOST),
        )
    return say(
        "Press Apply and resume to run on the target: {statements}. Or press Copy again or Drop from task; or change "
        "the table on the target yourself and press Retry.",
        statements=listing(drift.statements, _MOST),
    )


def _advice_of_top(drift: Drift) -> Sentence:
    if drift.doubt:
        return say(
            "The target has another table of the new name. Give the tables of the target the names that they have on "
            "the source, or those of the source their former ones, and press Retry."
        )
    return say(
        "Press Apply and resume to run on the target: {statements}. Or rename it there yourself, or back on the "
        "source, and press Retry.",
        statements=listing(drift.statements, _MOST),
    )


def differences(drift: Drift) -> Sentence:
    """Return what is different, on which side."""
    return together([*_on(drift, source=True), *_on(drift, source=False), *_both(drift)], "; ")


def _on(drift: Drift, *, source: bool) -> list[Sentence]:
    here = ChangeKind.ADDED if source else ChangeKind.DROPPED
    found = [change for change in drift.changes if change.kind in (here, ChangeKind.RENAMED)]
    names = [change.new if source and change.kind is ChangeKind.RENAMED else change.name for change in found]
    if source:
        return [say("column {name} exists only on the source", name=name) for name in names]
    return [say("column {name} exists only on the target", name=name) for name in names]


def _both(drift: Drift) -> list[Sentence]:
    one_side = (ChangeKind.ADDED, ChangeKind.DROPPED, ChangeKind.RENAMED)
    return [_two(change) for change in drift.changes if change.kind not in one_side]


def _two(change: Change) -> Sentence:
    if change.kind is ChangeKind.REMADE:
        return say("column {name} is another one on the source than the one that was copied", name=change.name)
    return say(
        "column {name} is {source} on the source and {target} on the target",
        name=change.name,
        source=change.new or "-",
        target=change.old or "-",
    )


def slot_is_read(slot: str, pid: int | None, *, ours: bool) -> EngineError:
    """Return the error for a slot that stays busy: one of our own is gone soon, but a stranger may stay, and move it.

    A stranger that has ended meanwhile is not told from one of ours; the next try names it if it comes back.
    """
    text = say("The slot {slot} is being read by another session of the source, PID {pid}.", slot=slot, pid=pid)
    if ours:
        return ConnectionLost(text, hint=say("End it on the source: SELECT pg_terminate_backend({pid});", pid=pid))
    hint = say("End it on the source: SELECT pg_terminate_backend({pid}); then press Retry.", pid=pid)
    return SourceError(text, hint=hint, code="SRC-SLOTBUSY")


def renamed(drift: Drift) -> SchemaChanged:
    """Return the error for a table that has another name on the source now."""
    error = SchemaChanged(_exchanged(drift) if drift.exchanges else _other_name(drift), hint=advice(drift))
    error.drift = drift
    return error


def _exchanged(drift: Drift) -> Sentence:
    names = [f"{change.old} → {change.new}" for change in drift.changes]
    return say(
        "Tables exchanged their names on the source: {names}. Nothing was changed on the target.",
        names=listing(names, _MOST),
    )


def _other_name(drift: Drift) -> Sentence:
    (change, *_) = drift.changes
    if change.kind is ChangeKind.SCHEMA_RENAMED:
        return say(
            "Schema {schema} is now called {new} on the source, and otherwise on the target. Nothing was changed "
            "there.",
            schema=change.old,
            new=change.new,
        )
    return say(
        "Table {schema}.{name} is now called {new} on the source, and otherwise on the target. Nothing was changed "
        "there.",
        schema=drift.schema,
        name=drift.name,
        new=drift.changes[0].new,
    )


def under_other_name(part: Place, top: Place) -> SchemaChanged:
    """Return the error for a new partition of a table of the task whose name, on the source now, the target lacks."""
    name = ".".join(top)
    return SchemaChanged(
        say(
            "Table {schema}.{name} is a new partition of a selected table that is called {top} on the source now, and "
            "otherwise on the target. The sync stopped just before its first change.",
            schema=part[0],
            name=part[1],
            top=name,
        ),
        hint=say("Rename {top} back on the source, or the table of the target likewise, and press Retry.", top=name),
    )


def parts_changed(top: Place, part: Place, kind: ChangeKind) -> SchemaChanged:
    """Return the error for a partition of a gathered table that got or lost rows without a change of each."""
    names = {"table": ".".join(top), "part": ".".join(part)}
    told = (
        say("The partition {part} of {table} was emptied by itself on the source.", **names)
        if kind is ChangeKind.EMPTIED
        else say("{part} was attached to {table} on the source and may hold rows.", **names)
    )
    error = SchemaChanged(
        told + say(" The target is partitioned otherwise, so the sync stopped just before."),
        hint=say("Press Copy again: {table} is copied once more as a whole. Or press Drop from task.", **names),
    )
    change = Change(kind=kind, name=names["part"], new=names["part"])
    error.drift = Drift(schema=top[0], name=top[1], changes=(change,), doubt=Doubt.PARTS)
    return error


def rewritten_rows(table: TableState) -> SchemaChanged:
    """Return the error for a table whose rows were written anew on the source: what became of them is in no change."""
    place = ".".join((table.schema, table.name))
    change = Change(kind=ChangeKind.REWRITTEN, name=place, old=place, new=place)
    drift = Drift(schema=table.schema, name=table.name, changes=(change,), doubt=Doubt.REWRITTEN)
    error = SchemaChanged(
        say(
            "All rows of table {schema}.{name} were written anew on the source, in the columns that it had: it was "
            "unlogged for a while, a column was computed anew (USING), or the hidden column oid came or went (SET WITH "
            "OIDS, SET WITHOUT OIDS). What was changed by that is not in the stream. The sync stopped just before.",
            schema=table.schema,
            name=table.name,
        ),
        hint=advice(drift),
    )
    error.drift = drift
    return error


def noticed(database: str, found: Drift) -> Sentence:
    """Say what the look beside the stream has found of a changed table."""
    where = {"schema": found.schema, "name": found.name, "database": database}
    (first, *_) = found.changes
    if found.exchanges:
        return say(
            "Tables of {database} exchanged their names on the source: {names}. The sync will stop just before the "
            "first change of one of them, or when Complete is pressed, and ask what to do. Leave them as they are on "
            "the target.",
            database=database,
            names=listing([f"{change.old} → {change.new}" for change in found.changes], _MOST),
        )
    if first.kind is ChangeKind.SCHEMA_RENAMED:
        return say(
            "Schema {schema} of {database} is now called {new} on the source. The sync will stop just before the first "
            "change of a table in it, or when Complete is pressed, and ask what to do.",
            schema=first.old,
            database=database,
            new=first.new,
        ) + _what_to_run(found)
    if first.kind is ChangeKind.TABLE_GONE:
        return gone(database, (found.schema, found.name), again=bool(first.new))
    if first.kind is ChangeKind.TOP_RENAMED:
        return say(
            "Partitioned table {schema}.{name} of {database} is now called {new} on the source. The sync goes on. It "
            "will ask what to do before the first row of a new partition or with other columns, or when Complete is "
            "pressed.",
            new=first.new,
            **where,
        ) + _what_to_run(found)
    if first.kind is ChangeKind.TABLE_RENAMED:
        return say(
            "Table {schema}.{name} of {database} is now called {new} on the source. The sync will stop just before its "
            "first change under the new name, or when Complete is pressed, and ask what to do.",
            new=first.new,
            **where,
        ) + _what_to_run(found)
    head = say("Table {schema}.{name} of {database} changed on the source: {names}.", names=differences(found), **where)
    return head + _stops(found) + _what_to_run(found)


def _stops(found: Drift) -> Sentence:
    stored = any(change.kind is ChangeKind.GENERATED and change.old == COMPUTED for change in found.changes)
    if not stored and not any(change.kind in _STOPS for change in found.changes):
        return say(" The sync goes on.")
    return say(" The sync will stop just before the first row of the new shape and ask what to do.")


def _what_to_run(found: Drift) -> Sentence:
    if not found.statements:
        return say(" No statement is certain to make the target alike.")
    told = say(" To run on the target: {statements}.", statements=listing(found.statements, _MOST))
    if any(change.kind is ChangeKind.GENERATED and _is_made_anew(change.name, found) for change in found.changes):
        told += say(" Indexes and constraints of the column go with it: make them again.")
    return told


def _is_made_anew(name: str, found: Drift) -> bool:
    return any(statement.endswith(f" DROP COLUMN {quote(name)}") for statement in found.statements)
