"""Items about what the target must offer for the source's structure: extensions, encodings, collations, tablespaces."""

from __future__ import annotations

from typing import Any

import psycopg

from ..choosing import takes_event_trigger
from ..names import quote
from ..plan import DatabasePlan, Side
from ..sql import query
from ..vendors import EXTENSIONS
from ..wording import Sentence, count, listing, say
from .alike import like_source
from .context import Context
from .fixes import create_database, extension_statements
from .locales import has_provider, knows_locale, plain, target_collations
from .no_text import no_text
from .ordered import splits_by_text
from .registry import ON_SOURCE, Finding, Group, failed, item, lines, passed, warning

_EVENT_TRIGGERS = (
    "SELECT e.evtname::text, n.nspname::text, EXISTS (SELECT 1 FROM pg_catalog.pg_depend d"
    " WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e')"
    " FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc p ON p.oid = e.evtfoid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace WHERE e.evtenabled <> 'D' ORDER BY 1"
)


@item(
    "extensions",
    "Extensions exist on the target",
    Group.TARGET,
    "Every extension of the source database can be created on the target.",
    per_database=True,
)
def extensions(context: Context, database: DatabasePlan) -> Finding:
    """Compare the installed extensions with what the target offers."""
    rows = context.source(database.source_name).execute(query("check_extensions")).fetchall()
    if not rows:
        return passed(say("The source database uses no extensions."))
    chosen = {table.oid for table in context.tables(database.source_name)}
    needed = {str(name) for name, users in rows if chosen.intersection(users)}  # type: ignore[arg-type]
    names = [str(row[0]) for row in rows]
    offered = _offered(context)
    if offered is None:
        return warning(
            say("The target's list of available extensions cannot be read."),
            say("Make sure that it offers {names}.", names=listing(names)),
        )
    missing = [name for name in names if name not in offered]
    whole = context.whole_database(database.source_name)
    hard = [name for name in missing if name in needed or (whole and name not in EXTENSIONS)]
    install = say(
        "Install the extension's package on the target server. On managed servers it may have to be allowed first."
    )
    if hard:
        return failed(
            say("The target does not offer {names}, which selected objects need.", names=listing(hard, 20)), install
        )
    if missing:
        told = say("The target does not offer {names}.", names=listing(missing))
        if all(name in EXTENSIONS for name in missing):
            hint = say(
                "They belong to the vendor of the source, and no selected table uses them: they are left out, and"
                " noted."
            )
            return warning(told, hint)
        return warning(told, say("No selected table needs what is missing. {install}", install=install))
    return _may_create(context, database, names, offered)


def _offered(context: Context) -> dict[str, bool] | None:
    """Return the target's available extensions by name; the value says whether an ordinary account may create it."""
    try:
        rows = context.target().execute(query("check_available_extensions")).fetchall()
    except psycopg.Error:
        return None
    return {str(name): bool(anybody) for name, anybody in rows}


def _may_create(context: Context, database: DatabasePlan, names: list[str], offered: dict[str, bool]) -> Finding:
    installed: set[str] = set()
    if context.target_exists(database):
        rows = (
            context.target(database.target_name).execute("SELECT extname::text FROM pg_catalog.pg_extension").fetchall()
        )
        installed = {str(row[0]) for row in rows}
    closed = [name for name in names if name not in installed and not offered[name]]
    if closed and not context.is_superuser(Side.TARGET):
        finding = warning(
            say("Only a superuser may create {names} on the target.", names=listing(closed)),
            _create_first(context, database),
            lines(extension_statements(_placed(context, database, closed))),
        )
        return _created_by_us(context, database, closed, finding)
    return passed(say("The target offers {names}.", names=listing(names)))


def _create_first(context: Context, database: DatabasePlan) -> Sentence:
    name = database.target_name
    if context.target_exists(database):
        return say(
            "Create the extensions in {target_name} before the start, unless the server's vendor lets this account"
            " create them.",
            target_name=name,
        )
    return say(
        "Create the database {target_name} and the extensions in it before the start, unless the "
        "server's vendor lets this account create them.",
        target_name=name,
    )


def _placed(context: Context, database: DatabasePlan, names: list[str]) -> list[tuple[str, str]]:
    """Return these extensions of the source with the schema that each is in, by its name on the target."""
    rows = (
        context.source(database.source_name)
        .execute(
            "SELECT e.extname::text, n.nspname::text FROM pg_catalog.pg_extension e"
            " JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace ORDER BY 1"
        )
        .fetchall()
    )
    name_of = context.plan.selection.target_schema
    return [(str(name), name_of(database.source_name, str(schema))) for name, schema in rows if name in names]


def _created_by_us(context: Context, database: DatabasePlan, names: list[str], finding: Finding) -> Finding:
    """Offer to create the extensions where the account is one that vendors let do more than its attributes say."""
    if not context.is_managed(Side.TARGET):
        return finding
    wanted = [list(one) for one in _placed(context, database, names)]
    create = None
    if not context.target_exists(database):
        like = like_source(context, database)
        if like is None or like.lacking:
            return finding  # the start makes the database, with another locale
        create = like.options
    return finding.fixed_by("extensions", database=database.target_name, extensions=wanted, create=create)


@item(
    "encoding",
    "Encodings fit",
    Group.TARGET,
    "Every character of the source can be stored on the target.",
    per_database=True,
)
def encoding(context: Context, database: DatabasePlan) -> Finding:
    """Compare the encodings of the two databases; names and texts of the schema must be readable too."""
    source = context.source_database(database.source_name)["encoding"]
    if (stranger := no_text(context, database, source)) is not None:
        return stranger
    if not context.target_exists(database):
        return passed(say("The target database will be created with the source's encoding, {source}.", source=source))
    target = context.databases(Side.TARGET)[database.target_name]["encoding"]
    if source == target:
        return passed(say("Both databases use {source}.", source=source))
    recreate = say(
        "Create {target_name} anew with the encoding {source} for an exact copy.",
        target_name=database.target_name,
        source=source,
    )
    like = like_source(context, database)
    sql = (
        create_database(database.target_name, like.instead or like.options, context.target().info.user) if like else ""
    )
    if "SQL_ASCII" in (source, target):
        return failed(
            say(
                "The source uses {source}, the target {target}; bytes cannot be converted safely.",
                source=source,
                target=target,
            ),
            recreate,
            sql,
        )
    if target != "UTF8":
        return failed(
            say(
                "The source uses {source}, and {target} cannot hold every character of it.",
                source=source,
                target=target,
            ),
            recreate,
            sql,
        )
    return warning(
        say("The source uses {source}, the target UTF8.", source=source),
        say("Text is converted on the way. {recreate}", recreate=recreate),
        sql,
    )


@item(
    "locale",
    "Locale exists on the target",
    Group.TARGET,
    "The source database's locale, which orders text, is known to the target.",
    per_database=True,
)
def locale(context: Context, database: DatabasePlan) -> Finding:
    """Compare locale and provider of the two databases, or look for the locale on the target."""
    source = context.source_database(database.source_name)
    name = source["locale"] or source["collate"]
    if context.target_exists(database):
        target = context.databases(Side.TARGET)[database.target_name]
        if _same_locale(source, target):
            return passed(say("Both databases use {name}.", name=name))
        return warning(
            say(
                "The source orders text by {name}, the target by {target}.",
                name=name,
                target=target["locale"] or target["collate"],
            )
            + splits_by_text(context, database),
            say(
                "Queries may return text in another order. Create the target database anew with the "
                "source's locale if it matters."
            ),
        )
    if knows_locale(context, source):
        return passed(say("The target knows {name}.", name=name))
    return warning(
        say("The target does not know the locale {name}.", name=name) + splits_by_text(context, database),
        say(
            "{target_name} will get the target's own locale; text may be ordered differently. "
            "Install the locale on the target to avoid that.",
            target_name=database.target_name,
        ),
    )


def _same_locale(source: dict[str, Any], target: dict[str, Any]) -> bool:
    if source["provider"] != target["provider"]:
        return False
    if source["provider"] != "c":
        return bool(source["locale"] == target["locale"])
    return plain(source["collate"]) == plain(target["collate"]) and plain(source["ctype"]) == plain(target["ctype"])


@item(
    "collations",
    "Collations exist on the target",
    Group.TARGET,
    "Collations that columns name, and those that users made, are known to the target.",
    per_database=True,
)
def collations(context: Context, database: DatabasePlan) -> Finding:
    """Compare collations used by columns, and the locales of user-made ones, with those of the target."""
    rows = context.source(database.source_name).execute(query("check_collations")).fetchall()
    if not rows:
        return passed(say("No column names a collation of its own."))
    names = {entry[0] for entry in target_collations(context)}
    locales = {plain(entry[2]) for entry in target_collations(context) if entry[1] == "c"} | {"c", "c.utf8"}
    missing = [
        str(name)
        for name, provider, is_user_made, collate in rows
        if not has_provider(context, str(provider))
        or not (is_user_made or str(name) in names)
        or (is_user_made and provider == "c" and plain(str(collate)) not in locales)
    ]
    if missing:
        return failed(
            say("The target lacks the {names}.", names=listing(say("collation {name}", name=name) for name in missing)),
            say(
                "Install the locale on the target (then run pg_import_system_collations), or use a "
                "target built with ICU."
            ),
            "SELECT pg_import_system_collations('pg_catalog');",
        )
    return passed(
        say("{number} found on the target.", number=count(len(rows), "{number} collation", "{number} collations"))
    )


@item(
    "tablespaces",
    "Tablespaces",
    Group.TARGET,
    "Objects in tablespaces of their own are placed in the target's default one.",
    per_database=True,
    sides=ON_SOURCE,
)
def tablespaces(context: Context, database: DatabasePlan) -> Finding:
    """List tablespaces that objects of the source database use."""
    rows = (
        context.source(database.source_name)
        .execute(
            "SELECT t.spcname::text, count(*) FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace"
            " WHERE t.spcname NOT IN ('pg_global', 'pg_default') GROUP BY 1 ORDER BY 1"
        )
        .fetchall()
    )
    if not rows:
        return passed(say("All objects are in the default tablespace."))
    words = [
        say("{name} ({number})", name=name, number=count(int(str(number)), "{number} object", "{number} objects"))
        for name, number in rows
    ]
    return warning(
        say("Objects use the tablespaces {names}.", names=listing(words)),
        say("On the target they are placed in the default tablespace; move them afterwards if it matters."),
    )


@item(
    "event-triggers",
    "Event triggers",
    Group.TARGET,
    "Event triggers act on the migration's own statements and need a superuser.",
    per_database=True,
)
def event_triggers(context: Context, database: DatabasePlan) -> Finding:
    """List event triggers of the source, and those of the target that would see our statements."""
    selection, name = context.plan.selection, database.source_name
    triggers = context.source(name).execute(_EVENT_TRIGGERS).fetchall()
    ours = [
        str(trigger)
        for trigger, schema, extended in triggers
        if takes_event_trigger(selection, name, None if extended else str(schema))
    ]
    if context.target_exists(database):
        theirs = [str(row[0]) for row in context.target(database.target_name).execute(_EVENT_TRIGGERS).fetchall()]
        if theirs:
            return warning(
                say("The target database has event triggers: {names}.", names=listing(theirs)),
                say("They act on every object that the migration creates. Disable them until it has completed."),
                lines(f"ALTER EVENT TRIGGER {quote(name)} DISABLE;" for name in theirs),
            )
    if ours and not context.is_superuser(Side.TARGET):
        return warning(
            say(
                "The source has {number}: {names}.",
                number=count(len(ours), "{number} event trigger", "{number} event triggers"),
                names=listing(ours),
            ),
            say(
                "Only a superuser of the target can create them; they are listed in the report for you "
                "to create by hand."
            ),
        )
    if ours:
        return passed(
            say(
                "{number} will be created last.",
                number=count(len(ours), "{number} event trigger", "{number} event triggers"),
            )
        )
    return passed(say("There are no event triggers."))
