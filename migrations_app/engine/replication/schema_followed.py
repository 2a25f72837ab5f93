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
from .moves import Move

_TABLE = "r"


class SchemaMove(NamedTuple):
    """Tables of the task that moved with their schema, and what became of it. `done`: the target has it already."""

    moves: list[Move]
    drift: Drift
    done: bool


class _Held(NamedTuple):
    names: set[str]
    tables: dict[int, str]
    """Names of tables with rows by oid."""


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
    statement = f"ALTER SCHEMA {quote(places[0])} RENAME TO {quote(places[1])}"
    drift = Drift(
        schema=moved[0].schema,
        name=moved[0].name,
        changes=(Change(kind=ChangeKind.SCHEMA_RENAMED, name=old, old=old, new=new),),
        statements=(statement,) if wanted is None else (),
    )
    return SchemaMove([Move(one, (new, one.name)) for one in moved], drift, done=wanted is not None)


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
    return _Held({str(name) for name, _, _ in rows}, tables)


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
