"""The item about values that name objects: the target has to know those names when the rows come."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field

import psycopg

from ..catalog import Table
from ..mapping import renamed_schemas
from ..named_values import Named, NamedColumn, is_known, named_by, named_columns
from ..plan import DatabasePlan, Side
from ..renaming import Renaming
from ..wording import Sentence, listing, say, together
from .context import Context, Unavailable
from .registry import Finding, Group, failed, item, passed, warning
from .roles import made_roles

LOOK_SECONDS = 8.0
"""For all tables of a database together: shorter than an item may take."""
_MOST_NAMES = 3
_MOST_ASKED = 200
_HINT = say(
    "Such a value travels as the name, word for word, and names in rows do not follow the new names of schemas: a name "
    "that the target does not know stops the copy. Let the schema keep its name, select what is named, or make it on "
    "the target first; or make the column text on the source, or leave the table out."
)


@dataclass
class _Found:
    """What a look has found, each with its table and column."""

    missing: list[Sentence] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)


@item(
    "named-values",
    "Values that name objects",
    Group.SELECTION,
    "A value of regclass and its like travels as the name of an object, which the target must have under that name.",
    per_database=True,
)
def named_values(context: Context, database: DatabasePlan) -> Finding:
    """Look in the rows that move for names that the target will not have while it takes them."""
    tables = {table.oid: table for table in context.moving(database.source_name) if table.kind == "r"}
    columns = named_columns(context.source(database.source_name), tables.keys())
    if not columns:
        return passed(say("No column that moves holds names of objects."))
    found = _look(context, database, [(tables[oid], one) for oid, ones in columns.items() for one in ones])
    if found.missing:
        return failed(
            say("Values that name what the target will not have: {names}.", names=listing(found.missing)), _HINT
        )
    if found.numbers or found.unseen:
        return warning(_not_known(found), _HINT)
    return passed(say("What is named by values that move will be on the target."))


def _not_known(found: _Found) -> Sentence:
    said = []
    if found.numbers:
        said.append(
            say(
                "Values that name nothing on the source any more, and travel as numbers: {names}.",
                names=listing(found.numbers),
            )
        )
    if found.unseen:
        said.append(
            say(
                "Not looked through within {seconds} s: {names}.",
                seconds=int(LOOK_SECONDS),
                names=listing(found.unseen),
            )
        )
    return together(said)


def _look(context: Context, database: DatabasePlan, columns: list[tuple[Table, NamedColumn]]) -> _Found:
    until = time.monotonic() + LOOK_SECONDS
    found = _Found()
    judge = _Judge(context, database)
    for table, column in sorted(columns, key=lambda one: one[0].bytes):
        label = f"{table.schema}.{table.name} ({column.label})"
        left = until - time.monotonic()
        if not table.can_read:
            continue  # another item says so
        named = named_by(context.source(database.source_name), table, column, seconds=left) if left > 0 else None
        if named is None:
            found.unseen.append(label)
            continue
        if any(not one.text for one in named):
            found.numbers.append(label)
        reasons = [why for one in named if one.text and (why := judge.missing(column, one))]
        if reasons:
            found.missing.append(say("{place}: {names}", place=label, names=listing(reasons, _MOST_NAMES)))
    return found


class _Judge:
    """Says of what a value names why the target will not have it."""

    def __init__(self, context: Context, database: DatabasePlan) -> None:
        self._context, self._database, self._selection = context, database, context.plan.selection
        self._name = database.source_name
        self._renaming = Renaming(schemas=renamed_schemas(self._selection, self._name))
        self._tables = {(table.schema, table.name) for table in context.tables(self._name)}
        self._asked: dict[tuple[str, str], bool] = {}

    def missing(self, column: NamedColumn, one: Named) -> Sentence | None:
        """Return the name with the reason, None when the target will have it or has it already."""
        why = self._reason(column, one)
        key = (column.kind, one.text)
        if why is None or (key not in self._asked and len(self._asked) >= _MOST_ASKED):
            return why
        if key not in self._asked:
            self._asked[key] = _stands(self._context, self._database, *key)
        return None if self._asked[key] else why

    def _reason(self, column: NamedColumn, one: Named) -> Sentence | None:
        if column.kind == "regrole":
            return None if one.text in _roles(self._context) else say("{name} (is no role there)", name=one.text)
        whole = column.kind == "regnamespace"
        if one.schema in self._renaming.schemas if whole else self._renaming.mentioned(one.text):
            return say("{name} (its schema gets another name)", name=one.text)
        if one.relkind in ("i", "I"):
            return say("{name} (an index, which is made after the rows)", name=one.text)
        comes = one.relkind not in ("r", "p") or (one.schema, one.relation) in self._tables
        if comes and self._selection.touches(self._name, one.schema) and not one.schema.startswith("pg_"):
            return None
        return say("{name} (is not moved)", name=one.text)


def _roles(context: Context) -> set[str]:
    """Return how the roles that the target has or gets are written as values."""
    return context.remember("roles that values name", lambda: _read_roles(context))


def _read_roles(context: Context) -> set[str]:
    text = "SELECT pg_catalog.quote_ident(n) FROM unnest(%s::text[]) n"
    there = context.target().execute("SELECT rolname::text FROM pg_catalog.pg_roles").fetchall()
    names = [*made_roles(context), *(str(row[0]) for row in there)]
    return {str(row[0]) for row in context.source().execute(text, (names,)).fetchall()}


def _stands(context: Context, database: DatabasePlan, kind: str, text: str) -> bool:
    """Say whether the target has it already. Of a database that is missing, or cannot be asked, nothing stands."""
    with contextlib.suppress(Unavailable, psycopg.Error):
        if context.target_exists(database):
            return is_known(context.session(Side.TARGET, database.target_name), kind, text)
    return False
