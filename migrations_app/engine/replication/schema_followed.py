"""A schema that has another name on the source: all of its tables moved together, and with them what else it holds.

One statement does the same on the target, where its schema holds nothing that the source's does not. What is on the
target tells whether that is done: either the old name is there, or the new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple, cast

from ..drift import Change, ChangeKind, Drift
from ..mapping import renaming_of
from ..names import quote
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import Kind, LedgerItem, TableState
from ..renaming import Renaming
from ..sql import query
from ..sqltokens import cut
from .moves import Move

_TABLE, _TYPE = "r", "type"
_WITH_TYPES = (
    "SELECT min(a.attrelid::bigint) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
    " WHERE n.nspname = %s AND a.attrelid = ANY(%s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped"
)


class SchemaMove(NamedTuple):
    """Tables of the task that moved with their schema, and what became of it. `done`: the target has it already.

    Of a schema of types alone: in place of tables that moved stands one that has columns of such types.
    """

    moves: list[Move]
    drift: Drift
    done: bool


class _Held(NamedTuple):
    names: set[str]
    tables: dict[int, str]
    """Names of tables with rows by oid."""
    types: set[str]


def schema_move(
    run: Run, database: DatabasePlan, new: str, old: str, tables: Iterable[TableState]
) -> SchemaMove | None:
    """Return what became of a schema whose tables are in `new` on the source; None when that was no renaming of it,
    or the target's schema cannot follow as a whole."""
    if _held(run, Side.SOURCE, database.source_name, old) is not None:
        return None
    after = _held(run, Side.SOURCE, database.source_name, new)
    members = sorted((one for one in tables if one.schema == old), key=lambda one: one.oid)
    moved = [one for one in members if after and after.tables.get(one.oid) == one.name]
    if after is None or any(after.tables.get(one.oid) != one.name and not one.set_aside for one in members):
        return None
    renaming = renaming_of(run, database)
    places = renaming.schema(old), renaming.schema(new)
    there, wanted = (_held(run, Side.TARGET, database.target_name, name) for name in places)
    found = there if wanted is None else wanted
    if (there is None) == (wanted is None) or found is None or found.names - after.names:
        return None
    drift = _renamed(moved[0], (old, new), places, done=wanted is not None)
    return SchemaMove([Move(one, (new, one.name)) for one in moved], drift, done=wanted is not None)


def _renamed(table: TableState, names: tuple[str, str], places: tuple[str, str], *, done: bool) -> Drift:
    """Return the drift that is told of a table; `names`: (old, new) of its schema, `places`: those on the target."""
    return Drift(
        schema=table.schema,
        name=table.name,
        changes=(Change(kind=ChangeKind.SCHEMA_RENAMED, name=names[0], old=names[0], new=names[1]),),
        statements=() if done else (f"ALTER SCHEMA {quote(places[0])} RENAME TO {quote(places[1])}",),
    )


def moved_types(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the pairs of schemas (old, new) in which types stand that are called alike otherwise. Pure.

    `pairs`: names of types as a server shows them with their schemas.
    """
    found = set()
    for old, new in pairs:
        (before, name), (after, other) = _cut(old), _cut(new)
        if name and name == other and before != after:
            found.add((before, after))
    return found


def _cut(shown: str) -> tuple[str, str]:
    """Return the schema and the rest of a type's name; nothing where it has no schema."""
    first, *rest = cut(shown)
    text = "".join(token.text for token in rest)
    return (first.value, text) if text.startswith(".") else ("", "")


def types_move(
    run: Run, database: DatabasePlan, places: tuple[str, str], tables: Iterable[TableState]
) -> SchemaMove | None:
    """Return what became of a schema whose types columns of the task have, `places` being what the target calls it and
    is to call it; None when that was no renaming of it, or the target's schema cannot follow as a whole."""
    former = {new: old for old, new in renaming_of(run, database).schemas.items()}
    old, new = (former.get(place, place) for place in places)
    if _held(run, Side.SOURCE, database.source_name, old) is not None:
        return None
    there, wanted = (_held(run, Side.TARGET, database.target_name, place) for place in places)
    after = _held(run, Side.SOURCE, database.source_name, new)
    if there is None or wanted is not None or after is None:
        return None
    known = {one.oid: one for one in tables if not one.set_aside}
    with run.sessions.session(Side.SOURCE, database.source_name) as connection:
        row = connection.execute(_WITH_TYPES, (new, list(known))).fetchone()
    first = known.get(cast(int, row[0])) if row else None
    if first is None or there.names - after.names or there.types - after.types:
        return None
    return SchemaMove([Move(first, (new, first.name))], _renamed(first, (old, new), places, done=False), done=False)


def _held(run: Run, side: Side, name: str, schema: str) -> _Held | None:
    """Return the relations of a schema; None where there is no such schema."""
    with run.sessions.session(side, name) as connection:
        row = connection.execute(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s)", (schema,)
        ).fetchone()
        if not row or not row[0]:
            return None
        rows = connection.execute(query("schema_relations"), {"schema": schema}).fetchall()
    tables = {cast(int, oid): str(name) for name, kind, oid in rows if kind == _TABLE}
    types = {str(name) for name, kind, _ in rows if kind == _TYPE}
    return _Held({str(name) for name, kind, _ in rows if kind != _TYPE}, tables, types)


def item_in(item: LedgerItem, old: str, new: str) -> LedgerItem | None:
    """Return what the ledger calls an object of a schema, or the schema, once that has its new name; None where nothing
    changes.

    What would remove an object of another schema may name it too: a trigger on a table, a function of a type.
    """
    moved = Renaming({old: new})
    is_schema = item.kind is Kind.SCHEMA and item.name == old
    if not is_schema and item.schema != old:
        before = str(item.detail.get("drop", ""))
        after = moved.shown(before)
        return replace(item, detail={**item.detail, "drop": after}) if after != before else None
    detail = dict(item.detail)
    if "drop" in detail:
        detail["drop"] = f"DROP SCHEMA {quote(new)}" if is_schema else moved.text(str(detail["drop"]))
    if is_schema:
        return replace(item, name=new, detail=detail | ({"tag": new} if "tag" in detail else {}))
    return replace(item, schema=new, detail=detail)
