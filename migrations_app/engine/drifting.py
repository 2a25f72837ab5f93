"""Compares the shape of a table on the source with that on the target, and writes the statements that make it alike.

Pure: columns in, values out. The stream tells names and types of the new shape. Whatever else a statement needs
(defaults, the values that existing rows got) is the source's catalog's, which may be newer. Where both cannot be
brought together no statement is certain to give the target's existing rows the values that the source's have: `doubt`
says why, and only a new copy helps.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace

from .computed import COMPUTED, NOTHING, computed_columns
from .drift import UNKNOWN, UNREAD, Change, ChangeKind, Column, Doubt, Drift, Partition, Place
from .exchanging import renaming_statements
from .names import literal, qualified, quote
from .widening import widens


def compare(
    source: Place,
    target: Place,
    old: Sequence[Column],
    new: Sequence[Column],
    computed: Mapping[str, bool] = NOTHING,
) -> Drift | None:
    """Compare the columns that travel by name and type, as the stream tells them; None when they are alike.

    `source`: the table's name there. `target`: the table that the statements are for, which for a partition is the
    topmost partitioned table. `old` are the target's columns, `new` the source's with types as the target calls them;
    both in the order of the table. `new` has the rest of the catalog's knowledge where the catalog still has a column
    of this name and type, and a default of '?' where it has not. `computed`: names of columns that the target computes,
    and whether the one of that name is `still_stored` on the source.
    """
    renamed, clear = _renamed(old, [column for column in new if column.name not in computed])
    there = {renamed.get(column.name, column.name): column for column in old}
    here = {column.name: column for column in new}
    changes: list[Change] = [
        Change(kind=ChangeKind.RENAMED, name=before, old=before, new=after) for before, after in renamed.items()
    ]
    table = qualified(*target)
    statements = [
        f"ALTER TABLE {table} RENAME COLUMN {quote(before)} TO {quote(after)}" for before, after in renamed.items()
    ]
    doubt = Doubt.NONE if clear else Doubt.UNCLEAR
    for name, column in there.items():
        if name not in here:
            changes.append(Change(kind=ChangeKind.DROPPED, name=name, old=column.definition))
            statements.append(f"ALTER TABLE {table} DROP COLUMN {quote(name)}")
    for column in new:
        before = there.get(column.name)
        if before is None and column.name in computed:
            changes.append(Change(kind=ChangeKind.GENERATED, name=column.name, old=COMPUTED, new=_shown(column)))
            statements.append(f"ALTER TABLE {table} ALTER COLUMN {quote(column.name)} DROP EXPRESSION")
            doubt = doubt or (Doubt.NONE if computed[column.name] else Doubt.VALUES)
        elif before is None:
            changes.append(Change(kind=ChangeKind.ADDED, name=column.name, new=_shown(column)))
            statements += added(table, column)
            doubt = doubt or (Doubt.NONE if certain(column) else Doubt.VALUES)
        elif before.type_name != column.type_name:
            changes.append(
                Change(kind=ChangeKind.RETYPED, name=column.name, old=before.type_name, new=column.type_name)
            )
            statements += retyped(table, before, column)
            doubt = doubt or (Doubt.NONE if widens(before.type_name, column.type_name) else Doubt.VALUES)
    return _drift(source, changes, statements, doubt, old=there, new=new) if changes else None


def compare_fully(source: Place, target: Place, old: Sequence[Column], new: Sequence[Column]) -> Drift | None:
    """Compare also what the stream does not tell: NOT NULL, whether there is a default, what is generated.

    Texts of defaults are not compared: servers of different versions write the same one differently.
    """
    stored = [column for column in old if not column.generated], [column for column in new if not column.generated]
    computed = computed_columns([(column.name, column.type_name, bool(column.generated)) for column in old], new)
    first = compare(source, target, *stored, computed)
    known = {change.name for change in first.changes} if first else set()
    known |= {change.new for change in first.changes if change.kind is ChangeKind.RENAMED} if first else set()
    there = {column.name: column for column in old}
    table = qualified(*target)
    changes, statements = (list(first.changes), list(first.statements)) if first else ([], [])
    for column in new:
        before = there.get(column.name)
        if column.name in known:
            continue
        if before is None:  # computed: what is stored is known by now
            changes.append(Change(kind=ChangeKind.GENERATED, name=column.name, new=column.definition))
            statements.append(computed_statement(table, column))
            continue
        more = _further(table, before, column)
        changes += [change for change, _ in more]
        statements += [statement for _, statement in more]
    for name, column in there.items():
        if column.generated and name not in {one.name for one in new}:
            changes.append(Change(kind=ChangeKind.DROPPED, name=name, old=column.definition))
            statements.append(f"ALTER TABLE {table} DROP COLUMN {quote(name)}")
    if not changes:
        return None
    doubt = first.doubt if first else Doubt.NONE
    if any(column.generated and column.default == UNREAD for column in new if column.name not in there):
        statements = []
    return _drift(source, changes, statements, doubt, old=there, new=new)


def _drift(
    source: Place,
    changes: Iterable[Change],
    statements: Iterable[str],
    doubt: Doubt,
    *,
    old: dict[str, Column],
    new: Sequence[Column],
) -> Drift:
    found = tuple(changes)
    plain = all(column.name in old or (_is_plain(column) and certain(column)) for column in new if not column.generated)
    return Drift(
        schema=source[0],
        name=source[1],
        changes=found,
        statements=() if doubt else tuple(statements),
        doubt=doubt,
        harmless=not doubt and plain and all(change.kind is ChangeKind.ADDED for change in found),
    )


def renamed_table(
    source: Place,
    now: Place,
    target: tuple[Place, Place] | None = None,
    kind: ChangeKind = ChangeKind.TABLE_RENAMED,
) -> Drift:
    """Return the drift of a table that has another name or schema on the source now.

    `target`: what it is called there and would be; None where it cannot be renamed there.
    """
    names = [".".join(place) for place in (source, now)]
    change = Change(kind=kind, name=names[0], old=names[0], new=names[1])
    return Drift(
        schema=source[0],
        name=source[1],
        changes=(change,),
        statements=renaming_statements(*target) if target else (),
        doubt=Doubt.NONE if target else Doubt.OTHER_NAME,
    )


def gone_table(source: Place, *, again: bool = False) -> Drift:
    """Return the drift of a table that the source does not have any more; `again`: another one has its name there."""
    name = ".".join(source)
    change = Change(kind=ChangeKind.TABLE_GONE, name=name, old=name, new=name if again else "")
    return Drift(schema=source[0], name=source[1], changes=(change,), doubt=Doubt.GONE)


def remade(source: Place, known: Mapping[str, int], now: Mapping[str, int]) -> Drift | None:
    """Return the drift of a table in which a name is that of another column than the one that was copied, else None.

    `known`: numbers of columns by name as they were then; `now`: as they are. Names that only one of them has do not
    count, nor does where a column stands among the others.
    """
    others = [name for name, number in now.items() if number and known.get(name, number) != number]
    changes = [
        Change(kind=ChangeKind.REMADE, name=name, old=f"attnum {known[name]}", new=f"attnum {now[name]}")
        for name in sorted(others)
    ]
    return Drift(schema=source[0], name=source[1], changes=tuple(changes), doubt=Doubt.REMADE) if changes else None


def left_names(drift: Drift) -> set[str]:
    """Return the names that a drift takes from a column or gives to another one: who settles it settles that."""
    moved = [change for change in drift.changes if change.kind in (ChangeKind.DROPPED, ChangeKind.RENAMED)]
    return {name for change in moved for name in (change.name, change.new) if name}


def new_partition(one: Partition, target: Place, parent: Place, above: Drift | None = None) -> Drift:
    """Return the drift of a partition that the task does not know; `target` and `parent`: their names on the target.

    `above`: the drift of `parent`, when the target does not have that either.
    """
    told = f"PARTITION OF {'.'.join(one.parent)} {one.bounds}" + (f" PARTITION BY {one.key}" if one.key else "")
    change = Change(kind=ChangeKind.PARTITION, name=".".join(one.place), new=told)
    certain = one.born and not (above and above.doubt)
    statements = (*(above.statements if above else ()), partition_statement(target, parent, one.bounds, one.key))
    return Drift(
        schema=one.place[0],
        name=one.place[1],
        changes=(*(above.changes if above else ()), change),
        statements=statements if certain else (),
        doubt=Doubt.NONE if certain else Doubt.ATTACHED,
        harmless=certain,
        oid=one.oid,
        above=(*above.above, (above.schema, above.name)) if above else (),
    )


def replaced_partition(one: Partition, target: Place, parent: Place) -> Drift:
    """Return the drift of a new partition that has the name of a table which the target has, and the source no more."""
    return replace(new_partition(replace(one, born=False), target, parent), doubt=Doubt.REPLACED, digest="")


def missing_partition(
    lineage: Sequence[Partition], place: Callable[[Place], Place], there: Callable[[Place], bool]
) -> Drift | None:
    """Return the drift of a partition together with those above it that the target lacks; None when it lacks the top.

    `lineage`: from the partition upwards. `place` gives names on the target, and `there` says whether it has a table.
    """
    missing: list[Partition] = []
    for one in lineage:
        missing.append(one)
        if there(place(one.parent)):
            break
    else:
        return None
    found: Drift | None = None
    for one in reversed(missing):
        found = new_partition(one, place(one.place), place(one.parent), found)
    return found


def partition_statement(target: Place, parent: Place, bounds: str, key: str = "") -> str:
    """Return the statement that makes a partition, with a `key` one that is partitioned itself."""
    by = f" PARTITION BY {key}" if key else ""
    return f"CREATE TABLE {qualified(*target)} PARTITION OF {qualified(*parent)} {bounds}{by}"


def told_by_stream(columns: Iterable[tuple[str, str]], catalog: Iterable[Column]) -> list[Column]:
    """Return the columns of the stream (name, type) with what the catalog knows of them, if it still has them so."""
    known = {column.name: column for column in catalog}
    found = []
    for name, type_name in columns:
        column = known.get(name)
        if column is None or column.type_name != type_name:
            column = Column(name=name, type_name=type_name, default=UNKNOWN)
        found.append(column)
    return found


def certain(column: Column) -> bool:
    """Say whether a statement gives the existing rows of the target what those of the source got with this column.

    They hold NULL, or the constant that the source's catalog remembers for them. An identity, or a default that was
    computed for each row, is in no statement; nor is a default that may have been set before or after.
    """
    if column.default == UNKNOWN or column.identity or column.generated or column.rewritten:
        return False
    return column.filled is not None or not (column.default or column.not_null)


def _is_plain(column: Column) -> bool:
    return not (column.default or column.not_null or column.identity or column.generated or column.filled is not None)


def _shown(column: Column) -> str:
    return replace(column, default="").definition if column.default == UNKNOWN else column.definition


def added(table: str, column: Column) -> list[str]:
    """Return the statements that add a column to a table (quoted), with the values that existing rows have."""
    name, start = quote(column.name), f"ALTER TABLE {table} "
    definition = column.type_name + (f" COLLATE {column.collation}" if column.collation else "")
    if column.filled is not None:
        definition += f" DEFAULT {literal(column.filled)}::{column.type_name}"
    if column.identity:
        definition += " GENERATED BY DEFAULT AS IDENTITY"
    statements = [f"{start}ADD COLUMN {name} {definition}" + (" NOT NULL" if column.not_null else "")]
    if column.default and column.default != UNKNOWN:
        statements.append(f"{start}ALTER COLUMN {name} SET DEFAULT {column.default}")
    elif column.filled is not None:
        statements.append(f"{start}ALTER COLUMN {name} DROP DEFAULT")
    return statements


def retyped(table: str, old: Column, new: Column) -> list[str]:
    """Return the statement that gives a column another type, its values being cast."""
    name = quote(new.name)
    collation = f" COLLATE {new.collation}" if new.collation else ""
    through = "::text" if "." in old.type_name or "." in new.type_name else ""
    using = f" USING {name}{through}::{new.type_name}"
    return [f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {new.type_name}{collation}{using}"]


def _further(table: str, old: Column, new: Column) -> list[tuple[Change, str]]:
    """Return what is different in two columns of one name and type, each with its statement."""
    start = f"ALTER TABLE {table} ALTER COLUMN {quote(new.name)} "
    found = []
    if old.not_null != new.not_null:
        words = ["NOT NULL" if column.not_null else "NULL" for column in (old, new)]
        change = Change(kind=ChangeKind.NOT_NULL, name=new.name, old=words[0], new=words[1])
        found.append((change, start + ("SET NOT NULL" if new.not_null else "DROP NOT NULL")))
    if bool(old.default) != bool(new.default) and not (old.identity or new.identity or new.generated):
        change = Change(kind=ChangeKind.DEFAULT, name=new.name, old=old.default, new=new.default)
        found.append((change, start + (f"SET DEFAULT {new.default}" if new.default else "DROP DEFAULT")))
    return found


def _renamed(old: Sequence[Column], new: Sequence[Column]) -> tuple[dict[str, str], bool]:
    """Return new names by old ones, and whether it is clear which columns were renamed.

    A renamed column keeps its place among the columns that stayed, and its type; an added one stands at the end. Where
    columns went and others came at one place, and this does not tell which is which, values of the one may be those of
    the other. The same where what seems to have stayed may have got the name of what it replaced.
    """
    stayed = {column.name for column in old} & {column.name for column in new}
    if len(stayed) == len(old) == len(new):
        return {}, True
    if len(stayed) < len(old) and (_order(old, stayed) != _order(new, stayed) or _took_over(old, new, stayed)):
        return {}, False
    pairs: dict[str, str] = {}
    lost, won = _between(old, stayed), _between(new, stayed)
    end = (_order(new, stayed) or [""])[-1]
    for place, came in won.items():
        went = lost.get(place, [])
        if len(went) > len(came) or (len(came) > len(went) and place != end):
            return {}, False
        for before, after in zip(went, came, strict=False):
            if before.type_name != after.type_name or after.after_dropped or after.default == UNKNOWN:
                return {}, False
            pairs[before.name] = after.name
    return pairs, True


def _order(columns: Iterable[Column], stayed: Container[str]) -> list[str]:
    return [column.name for column in columns if column.name in stayed]


def _took_over(old: Sequence[Column], new: Sequence[Column], stayed: Container[str]) -> bool:
    """Say whether a column that went may have got the name of the one before it, which was dropped instead.

    The gap is in front of the name then, and not behind it.
    """
    lost = _between(old, stayed)
    here = [one for one in new if one.after_dropped and not one.before_dropped and one.name in stayed]
    return any(gone.type_name == column.type_name for column in here for gone in lost.get(column.name, ()))


def _between(columns: Sequence[Column], stayed: Container[str]) -> dict[str, list[Column]]:
    """Return the columns that did not stay by the name of the last one before them that did."""
    found: dict[str, list[Column]] = {}
    last = ""
    for column in columns:
        if column.name in stayed:
            last = column.name
        else:
            found.setdefault(last, []).append(column)
    return found


def aligning(
    target: Place, old: Sequence[Column], new: Sequence[Column], *, heirs: bool = False
) -> tuple[list[str], list[str]]:
    """Return the statements that give an empty table of the target the columns of the source: values do not matter.

    But for those that rows of its `heirs` get in added columns, which is what `filled` says.

    Generated columns that hang on one that goes or changes, or that the source stores now, go before it, and come as
    the source has them. The second statements set defaults, which may need what the target does not have, such as a
    new sequence.
    """
    table = qualified(*target)
    here = {column.name: column for column in new if not column.generated}
    there = {column.name: column for column in old if not column.generated}
    other = [name for name in there if name not in here or there[name].type_name != here[name].type_name]
    computed = [
        one.name for one in old if one.generated and (one.name in here or any(name in one.default for name in other))
    ]
    statements = [f"ALTER TABLE {table} DROP COLUMN {quote(name)}" for name in computed]
    statements += [f"ALTER TABLE {table} DROP COLUMN {quote(name)}" for name in there if name not in here]
    defaults = []
    for name, column in here.items():
        same = name in there and there[name].type_name == column.type_name
        if same:
            continue
        bare = replace(column, filled=column.filled if heirs else None, default="")
        statements += [_emptied(table, bare)] if name in there else added(table, bare)
        if column.default:
            defaults.append(f"ALTER TABLE {table} ALTER COLUMN {quote(name)} SET DEFAULT {column.default}")
    statements += [computed_statement(table, column) for column in new if column.generated and column.name in computed]
    return statements, defaults


def computed_statement(table: str, column: Column) -> str:
    """Return the statement that adds a generated column."""
    collation = f" COLLATE {column.collation}" if column.collation else ""
    kind = "VIRTUAL" if column.generated == "v" else "STORED"
    made = f"{quote(column.name)} {column.type_name}{collation} GENERATED ALWAYS AS ({column.default}) {kind}"
    return f"ALTER TABLE {table} ADD COLUMN {made}" + (" NOT NULL" if column.not_null else "")


def _emptied(table: str, column: Column) -> str:
    """Return the statement that retypes a column in which there is no value."""
    collation = f" COLLATE {column.collation}" if column.collation else ""
    name = quote(column.name)
    kind = column.type_name
    return (
        f"ALTER TABLE {table} ALTER COLUMN {name} DROP DEFAULT,"
        f" ALTER COLUMN {name} TYPE {kind}{collation} USING NULL::{kind}"
    )
