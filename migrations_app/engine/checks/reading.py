"""The item about functions that read other tables, where the target calls them for each row that comes."""

from __future__ import annotations

from collections.abc import Iterable

from ..mapping import renamed_schemas
from ..names import qualified, quote
from ..plan import DatabasePlan
from ..renaming import Renaming
from ..sql import query
from ..values import frozen
from ..wording import listing, say, template, together
from .context import Context
from .layout import USED
from .registry import Finding, Group, item, lines, passed, warning


@frozen(kw_only=False)
class _Reader:
    """A definition whose function may read other tables. `kind`: generated, domain inside, check or index.

    `base`: of a generated column, one that it is computed from; else empty.
    """

    kind: str
    schema: str
    owner: str
    name: str
    base: str = ""

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.owner}.{self.name}"


_FOUND = {
    "generated": template("Columns that the target computes by functions which may read other tables: {names}."),
    "domain inside": template(
        "Checks of domains that columns have in arrays or rows, which may read other tables or tell the time: {names}."
    ),
    "check": template(
        "Checks that stand on the target already, and which may read other tables or tell the time: {names}."
    ),
    "index": template("Indexes that stand on the target already and whose functions may read other tables: {names}."),
}
_HINTS = {
    "generated": template(
        "The target computes such a column when its row comes, and the other tables may be empty or half filled then: "
        "the values can be wrong, and the comparison says so. Compute them anew when all rows are there."
    ),
    "domain inside": template(
        "The target may refuse a row because what such a check looks for has not come yet, or because time has passed. "
        "Take it off the domain on the source until all rows are on the target, and add it on both sides afterwards; "
        "or leave the tables out."
    ),
    "check": template(
        "Such a check stays while the rows come, and may refuse one because what it looks for has not come yet, or "
        "because time has passed. Drop it on the target before the start, and add it again when all rows are there."
    ),
    "index": template(
        "Such an index stays while the rows come, and may miss entries afterwards, without an error. REINDEX it when "
        "all rows are there."
    ),
}


@item(
    "reading-functions",
    "Functions that read other tables",
    Group.SELECTION,
    "What the target computes or checks by a function for each row that comes may need rows of other tables.",
    per_database=True,
)
def reading_functions(context: Context, database: DatabasePlan) -> Finding:
    """List what cannot be put off until all rows are there, as checks and indexes are that the task makes."""
    name = database.source_name
    moving = {(table.schema, table.name) for table in context.moving(name)}
    found = _on_source(context, name, moving) + _standing(context, database, moving)
    if not found:
        return passed(say("Nothing that is computed or checked while rows come reads other tables."))
    kinds = [kind for kind in _FOUND if any(one.kind == kind for one in found)]
    return warning(
        together(say(_FOUND[kind], names=listing(one.label for one in found if one.kind == kind)) for kind in kinds),
        together(say(_HINTS[kind]) for kind in kinds),
        lines(_anew(one, _renaming(context, name)) for one in found if one.base),
    )


def _renaming(context: Context, name: str) -> Renaming:
    return Renaming(schemas=renamed_schemas(context.plan.selection, name))


def _on_source(context: Context, name: str, moving: set[tuple[str, str]]) -> list[_Reader]:
    readers = _readers(context.source(name).execute(query("late_objects")).fetchall())
    touches = context.plan.selection.touches
    return [
        one
        for one in readers
        if (one.kind == "generated" and (one.schema, one.owner) in moving)
        or (one.kind == "domain inside" and touches(name, one.schema))
    ]


def _standing(context: Context, database: DatabasePlan, moving: set[tuple[str, str]]) -> list[_Reader]:
    """Return what tables of the target have that are used as they are."""
    if context.plan.selection.existing not in USED or not context.target_exists(database):
        return []
    place = _renaming(context, database.source_name).place
    places = {place(one) for one in moving}
    readers = _readers(context.target(database.target_name).execute(query("late_objects")).fetchall())
    return [one for one in readers if one.kind in ("check", "index") and (one.schema, one.owner) in places]


def _readers(rows: Iterable[tuple[object, ...]]) -> list[_Reader]:
    return [
        _Reader(str(kind), str(schema), str(owner), str(name), str(text) if kind == "generated" else "")
        for kind, _, _, schema, owner, name, text in rows
    ]


def _anew(one: _Reader, renaming: Renaming) -> str:
    """Return what computes a column anew: the server does so only where a column is set that it is computed from."""
    base = quote(one.base)
    return f"UPDATE {qualified(*renaming.place((one.schema, one.owner)))} SET {base} = {base};"  # noqa: S608
