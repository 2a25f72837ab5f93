"""The item about objects that only a superuser of the target can create, or that need a library there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from ..connect import Connection
from ..mapping import renamed_schemas
from ..names import quote
from ..plan import DatabasePlan, Side
from ..renaming import Renaming
from ..sql import query
from ..values import frozen
from ..wording import NOTHING, Sentence, count, listing, noun, say, together
from .context import Context
from .registry import CheckStatus, Finding, Group, failed, item, lines, passed, warning

_IN_FOLDER = re.compile(r"(?:\$libdir/)?(?P<name>[^/]+?)(?:\.so)?")
_VERSION = re.compile(r"-[0-9.]+$")
_FAMILY = 2753
"""The oid of pg_opfamily."""


@frozen(kw_only=False)
class _Special:
    """An object of the source that takes a superuser. `library`: what it calls on the server's host, or ''."""

    kind: str
    shown: str
    library: str
    catalog: int
    oid: int
    schema: str
    name: str
    leakproof: bool
    """It needs a superuser for being LEAKPROOF alone: without that any account makes it."""

    @property
    def words(self) -> Sentence:
        return say("{kind} {name}", kind=noun(self.kind), name=self.shown)


@item(
    "superuser-objects",
    "Objects that need a superuser or a library",
    Group.TARGET,
    "C functions, low-level casts, text search parsers, operator classes and the like need a superuser of the target.",
    per_database=True,
)
def superuser_objects(context: Context, database: DatabasePlan) -> Finding:
    """List such objects of the source database that no extension brings and the target does not have yet."""
    rows = context.source(database.source_name).execute(query("check_superuser_objects")).fetchall()
    found = [_Special(*row) for row in rows]  # type: ignore[arg-type]
    if not found:
        return passed(say("No object needs a superuser or a library of the target."))
    lacking = _lacking(context, database, found)
    if not lacking:
        return passed(say("The target has everything that only a superuser can create."))
    superuser = context.is_superuser(Side.TARGET)
    bare = [] if superuser else [one for one in lacking if one.leakproof]
    others = [one for one in lacking if one not in bare]
    if bare and not others:
        return _with_bare(context, database, passed(NOTHING), bare)
    return _with_bare(context, database, _of_superusers(context, database, others, superuser), bare)


def _with_bare(context: Context, database: DatabasePlan, finding: Finding, bare: list[_Special]) -> Finding:
    """Add what will be made without LEAKPROOF to what was found of the others."""
    if not bare:
        return finding
    told = say(
        "{number} made without LEAKPROOF, which only a superuser can give: {names}.",
        number=count(len(bare), "{number} function is", "{number} functions are"),
        names=listing(one.words for one in bare),
    )
    hint = say(
        "They do the same without it; a query through a view with a security barrier, or under row security, may be"
        " slower. A superuser of the target can give it when they have arrived."
    )
    if finding.status == CheckStatus.FAILED:  # its statements come before the start
        return replace(
            finding,
            found=together(part for part in (finding.found, told) if part),
            hint=together(part for part in (finding.hint, hint) if part),
        )
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    statements = lines(renaming.shown(f"ALTER FUNCTION {one.shown} LEAKPROOF;") for one in bare)
    afterwards = "-- when the functions have arrived:" if finding.sql else ""
    sql = "\n".join(text for text in (finding.sql, afterwards, statements) if text)
    return warning(
        together(part for part in (finding.found, told) if part),
        together(part for part in (finding.hint, hint) if part),
        sql,
    )


def _of_superusers(context: Context, database: DatabasePlan, lacking: list[_Special], superuser: bool) -> Finding:
    libraries = sorted({one.library for one in lacking if one.library})
    if superuser and not libraries:
        return passed(
            say(
                "The target account may create {number} that only superusers can create.",
                number=count(len(lacking), "{number} object", "{number} objects"),
            )
        )
    offered = _offered(context, libraries)
    stopping = [] if superuser else _stopping(context, database, lacking)
    if stopping and not context.is_managed(Side.TARGET):
        return _stops(context, database, stopping, offered)
    words = say(" They need the library {names} on the target.", names=listing(libraries)) if libraries else NOTHING
    return warning(
        say(
            "{number} that only a superuser can create: {names}.",
            number=count(len(lacking), "{number} object", "{number} objects"),
            names=listing(one.words for one in lacking),
        )
        + words,
        together([*_about_extensions(superuser, offered), _what_to_do(superuser, set(libraries) - set(offered))]),
        "" if superuser else lines(_statements(context, database, lacking, offered)),
    )


def _statements(
    context: Context, database: DatabasePlan, lacking: list[_Special], offered: dict[str, str]
) -> list[str]:
    """Return what a superuser can run before the start; what needs functions of the database itself is none of it."""
    wanted = {(one.catalog, one.oid): one for one in lacking}
    rows = context.source(database.source_name).execute(query("check_superuser_statements")).fetchall()
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    there = _there(context, database)
    found = [
        (wanted[at], str(text))
        for *at_, text, later, schema, family in rows
        if (at := tuple(at_)) in wanted
        and not later
        and not (family and (_FAMILY, renaming.schema(str(schema)), renaming.shown(str(family))) in there)
    ]
    return [
        *_schemas_made(context, database, [one for one, _ in found]),
        *_extensions_made(context, database, lacking, offered),
        *dict.fromkeys(renaming.shown(text) for _, text in found),
    ]


def _lacking(context: Context, database: DatabasePlan, found: list[_Special]) -> list[_Special]:
    """Return what the target does not have already: what is there is used as it is, unless all is made anew."""
    there = _there(context, database)
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    return [one for one in found if (one.catalog, renaming.schema(one.schema), renaming.shown(one.name)) not in there]


def _there(context: Context, database: DatabasePlan) -> set[tuple[int, str, str]]:
    """Return catalog, schema and name of what stays on the target."""
    if not context.target_exists(database) or context.plan.selection.existing == "recreate":
        return set()
    rows = context.target(database.target_name).execute(query("existing_objects")).fetchall()
    return {(int(str(catalog)), str(schema), str(name)) for catalog, schema, name in rows}


def _offered(context: Context, libraries: Iterable[str]) -> dict[str, str]:
    """Return the extension that the target offers by the name of a library: it comes with the same package."""
    rows = context.target().execute("SELECT name::text FROM pg_catalog.pg_available_extensions").fetchall()
    names = {str(row[0]) for row in rows}
    found: dict[str, str] = {}
    for library in libraries:
        match = _IN_FOLDER.fullmatch(library)
        named = match["name"] if match else ""
        for name in (named, _VERSION.sub("", named)):
            if name in names:
                found.setdefault(library, name)
    return found


def _stopping(context: Context, database: DatabasePlan, lacking: list[_Special]) -> list[_Special]:
    """Return those without which a type or a selected table cannot be made, which would stop the task."""
    asked = {"catalogs": [one.catalog for one in lacking], "objects": [one.oid for one in lacking]}
    rows = context.source(database.source_name).execute(query("check_superuser_needs"), asked).fetchall()
    chosen = {table.oid for table in context.tables(database.source_name)}
    needed = {(catalog, oid) for catalog, oid, table in rows if table == 0 or table in chosen}
    return [one for one in lacking if (one.catalog, one.oid) in needed]


def _stops(context: Context, database: DatabasePlan, stopping: list[_Special], offered: dict[str, str]) -> Finding:
    """Say what an account that is no superuser would stop at, with the statements that make it."""
    types = any(one.kind == "type" for one in stopping)
    kept = say("A type that is there is used only when the objects step says that what is there is kept.")
    return failed(
        say(
            "{number} that only a superuser can create and the tables cannot do without: {names}.",
            number=count(len(stopping), "{number} object", "{number} objects"),
            names=listing(one.words for one in stopping),
        ),
        together(
            [
                *_about_extensions(False, offered),
                say(
                    "Let a superuser of the target create them in {target_name} before the start, or take a target"
                    " account that is a superuser.",
                    target_name=database.target_name,
                ),
                *([kept] if types else []),
            ]
        ),
        lines(
            [
                *_schemas_made(context, database, stopping),
                *_extensions_made(context, database, stopping, offered),
                # Functions may have been altered since they were an extension's; types are looked at again after it.
                *_made(context, database, [one for one in stopping if one.kind == "function" or not offered]),
            ]
        ),
    )


def _made(context: Context, database: DatabasePlan, wanted: list[_Special]) -> list[str]:
    """Return the statements that make types and functions: shells first, then what a type calls, then the types."""
    source = context.source(database.source_name)
    types = [one.oid for one in wanted if one.kind == "type"]
    rows = source.execute(query("check_superuser_types"), {"types": types}).fetchall() if types else []
    found = {(int(str(what)), str(statement)) for what, statement in rows}
    found |= {(1, _function_text(source, one.oid)) for one in wanted if one.kind == "function"}
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    return [renaming.shown(statement) for _what, statement in sorted(found)]


def _schemas_made(context: Context, database: DatabasePlan, wanted: list[_Special]) -> list[str]:
    """Return the statements that make what the objects stand in, where the task goes on making things."""
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    places = {renaming.schema(one.schema) for one in wanted if one.schema} - {"public"}
    me = quote(context.target().info.user)
    return [f"CREATE SCHEMA IF NOT EXISTS {quote(place)} AUTHORIZATION {me};" for place in sorted(places)]


def _function_text(source: Connection, oid: int) -> str:
    row = source.execute("SELECT pg_catalog.pg_get_functiondef(%s)", (oid,)).fetchone()
    return f"{str(row[0]).strip()};" if row else ""


def _about_extensions(superuser: bool, offered: dict[str, str]) -> list[Sentence]:
    if not offered:
        return []
    names = listing(sorted(set(offered.values())))
    if superuser:
        return [say("The target offers {names} as an extension, so its library should be there.", names=names)]
    return [
        say(
            "The target offers {names} as an extension. Created there before the start, in the schema of these"
            " functions, it brings them, and they are used as they are.",
            names=names,
        )
    ]


def _extensions_made(
    context: Context, database: DatabasePlan, lacking: list[_Special], offered: dict[str, str]
) -> list[str]:
    """Return the statements that make the extensions, each where the source has the functions of its library."""
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    places = {offered[one.library]: renaming.schema(one.schema) for one in lacking if one.library in offered}
    return [
        f"CREATE EXTENSION IF NOT EXISTS {quote(name)} SCHEMA {quote(place)};" for name, place in sorted(places.items())
    ]


def _what_to_do(superuser: bool, not_offered: set[str]) -> Sentence:
    told = say("What the target refuses is listed in the report, with everything that depends on it.")
    if superuser:
        return told + (say(" Install the libraries there first.") if not_offered else NOTHING)
    return told + say(" Let a superuser create it there before the start.")
