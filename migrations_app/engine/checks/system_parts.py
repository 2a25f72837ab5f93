"""Items about what users did to the system's own schemas: objects made in them, and rights changed there."""

from __future__ import annotations

from ..names import quote
from ..plan import DatabasePlan, Side
from ..sql import query
from ..vendors import is_vendors_role, vendor_of
from ..wording import count, listing, say, together
from .context import Context
from .foreign_parts import extension_facts
from .registry import ON_SOURCE, CheckStatus, Finding, Group, item, lines, passed, warning

_MADE = 16384
"""What came with the server has a lower oid."""
_ROLE_NAMES = "SELECT rolname::text FROM pg_catalog.pg_roles"


@item(
    "extension-schemas",
    "Objects in system schemas",
    Group.TARGET,
    "What users made in a system schema is not migrated, and only a superuser can create an extension there.",
    per_database=True,
)
def extension_schemas(context: Context, database: DatabasePlan) -> Finding:
    """List what is in pg_catalog or information_schema of the source, and did not come with the server."""
    lacking, found = _system_objects(context, database), _extensions(context, database)
    if not lacking:
        return found
    told = say(
        "{number} in the system's schemas will not be migrated: {names}.",
        number=count(len(lacking), "{number} object", "{number} objects"),
        names=listing(lacking),
    )
    hint = say(
        "No dump holds what somebody made in pg_catalog or information_schema, and tables leave their rows"
        " behind. Move it into another schema on the source, or make it on the target before the start if"
        " anything needs it."
    )
    if found.status is CheckStatus.PASSED:
        return warning(told, hint)
    return warning(together([told, found.found]), together([hint, found.hint]), found.sql)


def _extensions(context: Context, database: DatabasePlan) -> Finding:
    """Say who may create the extensions that live in a system schema."""
    facts = extension_facts(context, Side.SOURCE, database.source_name)
    inside = [name for name, _v, schema, _c in facts if schema in ("pg_catalog", "information_schema")]
    if not inside:
        return passed(say("No extension lives in a system schema."))
    if context.is_superuser(Side.TARGET):
        return passed(say("The target account may create {names} in a system schema.", names=listing(inside)))
    return warning(
        say(
            "Only a superuser of the target can create extensions in a system schema: {names}.",
            names=listing(inside),
        ),
        say("Let a superuser run this in the target database before the start."),
        lines(f"CREATE EXTENSION {quote(name)} SCHEMA pg_catalog;" for name in inside),
    )


def _system_objects(context: Context, database: DatabasePlan) -> list[str]:
    """Return what the target lacks of it, but for what a vendor's own roles have made."""
    vendor = vendor_of({str(name) for (name,) in context.source().execute(_ROLE_NAMES).fetchall()})
    rows = context.source(database.source_name).execute(query("check_system_objects"), {"lowest": _MADE}).fetchall()
    there: set[tuple[object, object]] = set()
    if rows and context.target_exists(database):
        asked = query("check_system_objects")
        known = context.target(database.target_name).execute(asked, {"lowest": 0}).fetchall()  # or built in there
        there = {(kind, name) for kind, name, _owner in known}
    return [
        str(name) for kind, name, owner in rows if (kind, name) not in there and not is_vendors_role(str(owner), vendor)
    ]


@item(
    "system-grants",
    "Grants on system objects",
    Group.PRIVILEGES,
    "Rights on tables and functions of the system catalogs were changed on the source.",
    per_database=True,
    sides=ON_SOURCE,
)
def system_grants(context: Context, database: DatabasePlan) -> Finding:
    """List system objects with privileges of their own."""
    rows = context.rows(Side.SOURCE, "check_catalog_grants", database.source_name)
    if context.version(Side.SOURCE) < 90600:
        return passed(say("Before 9.6 nobody can tell, and such rights are not migrated."))
    if not rows:
        return passed(say("The rights on system objects are those that the server came with."))
    return warning(
        say(
            "Rights on {number} were changed: {names}.",
            number=count(len(rows), "{number} system object", "{number} system objects"),
            names=listing(str(row[1]) for row in rows),
        ),
        say(
            "The target may refuse to change them; what it refuses is listed in the report. Look "
            "whether accounts of the target need these rights."
        ),
    )
