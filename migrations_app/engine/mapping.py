"""Which names things get on the target, and what moves with its rows: the selection applied to one database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from .connect import Connection, translate
from .errors import PlanError
from .names import TARGET_SCHEMA
from .outcome import Run
from .plan import DatabasePlan, Side
from .renaming import Renaming
from .selection import Selection
from .sql import query
from .wording import say

NOTHING = Renaming()
_LONGEST_NAME = 63
_BODIES = (
    "SELECT p.oid::pg_catalog.regprocedure::text, n.nspname::text, p.prosrc"
    " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    " WHERE p.oid >= 16384 AND p.prosrc <> '' AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d"
    " WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e') ORDER BY 1"
)

_ARGUMENTS = (
    "SELECT pg_catalog.quote_ident(t.tgname) || ' of ' || t.tgrelid::pg_catalog.regclass::text, n.nspname::text,"
    " t.tgargs FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND t.tgnargs > 0 ORDER BY 1"
)


def renamed_schemas(selection: Selection, database: str) -> dict[str, str]:
    """Return the new name of each schema of a source database that gets one."""
    return {old: new for (name, old), new in selection.schema_targets.items() if name == database and new != old}


def leaves_rows(selection: Selection, database: str) -> bool:
    """Say whether the structure of something in a database may move without its rows."""
    rules = [path for path, value in selection.rules.items() if value == "structure"]
    rules += [rule.scope for rule in selection.patterns if rule.mode == "structure"]
    return any(path[:1] in ((), (database,)) for path in rules)


def leaves_any(selection: Selection, database: str) -> bool:
    """Say whether rows of a database may stay behind."""
    return selection.state(database) != "all" or leaves_rows(selection, database)


def renaming_of(run: Run, database: DatabasePlan) -> Renaming:
    """Return the names that the schemas of a database get on the target, where its database must exist.

    Asks both servers once in a run, and nobody when no schema is renamed. Raises PlanError for a name that no schema
    can have, and EngineError of the side that failed.
    """
    known = run.renamings.get(database.source_name)
    if known is None:
        schemas = renamed_schemas(run.plan.selection, database.source_name)
        for name in schemas.values():
            refuse_name(name)
        known = run.renamings[database.source_name] = _read(run, database, schemas) if schemas else NOTHING
    return known


def refuse_name(name: str) -> None:
    """Raise PlanError for a name that a schema of the target cannot have."""
    reserved = name in (TARGET_SCHEMA, "information_schema") or name.startswith("pg_")
    if reserved or not 0 < len(name.encode()) <= _LONGEST_NAME or "\x00" in name:
        raise PlanError(
            say("No schema of the target can be called {name}.", name=f"{name!r}"),
            hint=say(
                "Choose a name of 1 to 63 bytes that does not begin with pg_ and is neither towpath nor "
                "information_schema."
            ),
        )


def _read(run: Run, database: DatabasePlan, schemas: Mapping[str, str]) -> Renaming:
    names = sorted({*schemas.values()})
    side = Side.SOURCE
    try:
        with run.sessions.session(side, database.source_name) as source:
            members = source.execute(query("extension_members"), {"schemas": list(schemas)}).fetchall()
        side = Side.TARGET
        with run.sessions.session(side, database.target_name) as target:
            there = dict(_pairs(target, query("extension_schemas")))
            new = [*names, *there.values()]
            written = _written(target, new)
    except psycopg.Error as error:
        run.ports.control.check()
        raise translate(error, side, say("reading the names of schemas and extensions")) from error
    extensions, elsewhere = {}, {}
    for extension, home, schema, name in (tuple(str(value) for value in row) for row in members):
        usual = schemas.get(home, home)
        extensions[extension] = there.get(extension, usual)
        place = extensions[extension] if schema == home else schemas.get(schema, schema)
        if place != schemas.get(schema, schema):
            elsewhere[schema, name] = place
    return Renaming(schemas=dict(schemas), written=written, elsewhere=elsewhere, extensions=extensions)


def _pairs(connection: Connection, text: str) -> list[tuple[str, str]]:
    return [(str(row[0]), str(row[1])) for row in connection.execute(text.encode()).fetchall()]


def _written(connection: Connection, names: Iterable[str]) -> dict[str, str]:
    rows = connection.execute(
        "SELECT n, pg_catalog.quote_ident(n) FROM unnest(%s::text[]) n", (list(names),)
    ).fetchall()
    return {str(row[0]): str(row[1]) for row in rows}


def bodies_that_name(connection: Connection, selection: Selection, database: str) -> list[str]:
    """Return the functions of the connected source database whose bodies name a schema that is renamed.

    Their text is never changed, so on the target they look for the old name. Empty when nothing is renamed. Raises
    psycopg's errors.
    """
    renaming = Renaming(schemas=renamed_schemas(selection, database))
    rows = connection.execute(_BODIES.encode()).fetchall() if renaming else []
    return _that_name(rows, renaming, selection, database)


def arguments_that_name(connection: Connection, selection: Selection, database: str) -> list[str]:
    """Return the triggers whose arguments do, which are text like a body. Otherwise as `bodies_that_name`."""
    renaming = Renaming(schemas=renamed_schemas(selection, database))
    rows: list[tuple[Any, ...]] = connection.execute(_ARGUMENTS.encode()).fetchall() if renaming else []
    # Each argument ends with a NUL, before which no name could be told from what follows.
    texts = (
        (label, schema, bytes(packed).replace(b"\0", b"\n").decode(errors="replace")) for label, schema, packed in rows
    )
    return _that_name(texts, renaming, selection, database)


def _that_name(
    rows: Iterable[tuple[object, ...]], renaming: Renaming, selection: Selection, database: str
) -> list[str]:
    return [
        str(label)
        for label, schema, text in rows
        if renaming.mentioned(str(text)) and selection.touches(database, str(schema))
    ]
