"""Tables of the target that a task uses as they are: whose they are, and whether row security stands in the way."""

from __future__ import annotations

from dataclasses import replace

from ..mapping import renamed_schemas
from ..names import qualified
from ..owners import inherits, joining
from ..plan import DatabasePlan, Side
from ..renaming import Renaming
from ..wording import Sentence, count, listing, noun, say, together
from .context import Context
from .layout import other_layouts
from .objects import Thing
from .registry import CheckStatus, Finding, failed, lines, warning

_Place = tuple[str, str]

_BOUND = (
    "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relrowsecurity AND pg_catalog.row_security_active(c.oid) ORDER BY 1, 2"
)
_OF_OTHERS = (
    "SELECT n.nspname::text, c.relname::text, r.rolname::text, r.rolsuper FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles r ON r.oid = c.relowner"
    " WHERE c.relkind IN ('r', 'p') AND NOT pg_catalog.pg_has_role(r.oid, 'USAGE') ORDER BY 1, 2"
)


def rows_refused(context: Context, database: DatabasePlan, tables: list[Thing]) -> Finding | None:
    """Say which tables that are to be filled hide rows from the target account; None when there are none.

    Its sessions ask for all rows, so that such a table lets it neither read nor write.
    """
    places = {(thing.schema, thing.name) for thing in tables}
    rows = context.target(database.target_name).execute(_BOUND.encode()).fetchall()
    found = [place for schema, name in rows if (place := (str(schema), str(name))) in places]
    if not found:
        return None
    return failed(
        say(
            "{number} of {name} are to be filled, and their row security binds the target account: {names}.",
            number=count(len(found), "{number} table", "{number} tables"),
            name=database.target_name,
            names=listing(".".join(place) for place in found),
        ),
        say("Switch it off until the migration has ended, or take an account with BYPASSRLS."),
        lines(f"ALTER TABLE {qualified(*place)} DISABLE ROW LEVEL SECURITY;" for place in found),
    )


def noted(context: Context, database: DatabasePlan, tables: list[Thing], finding: Finding) -> Finding:
    """Add to what was found what else there is to say of tables that stay: what cannot be added to them, and how their
    row security is other than on the source. Failed when the copy could not end without what cannot be added."""
    places = {(thing.schema, thing.name) for thing in tables}
    refused = _parts_refused(context, database, places)
    if refused and refused.status == CheckStatus.FAILED:
        return refused
    for more in (refused, _other_row_security(context, database, places)):
        if more:
            finding = replace(
                finding,
                found=together([finding.found, more.found]),
                hint=together([finding.hint, more.hint]),
                sql="\n".join(text for text in (finding.sql, more.sql) if text),
            )
    return finding


def _parts_refused(context: Context, database: DatabasePlan, places: set[_Place]) -> Finding | None:
    """Say which tables of other owners lack what only their owner can add; None when none does."""
    rows = context.target(database.target_name).execute(_OF_OTHERS.encode()).fetchall()
    theirs = {(str(schema), str(name)): (str(owner), bool(rules)) for schema, name, owner, rules in rows}
    spread = {one.target for one in other_layouts(context, database)}  # nothing is added to these
    lacking = _lacking(context, database, places & theirs.keys() - spread)
    if not lacking:
        return None
    target = context.target()
    owners = sorted({owner for owner, rules in map(theirs.__getitem__, lacking) if not rules})
    found = say(
        "{number} of {name} belong to other roles, and the target account cannot add what they lack: {names}.",
        number=count(len(lacking), "{number} table", "{number} tables"),
        name=database.target_name,
        names=listing(_words(place, parts) for place, parts in lacking.items()),
    )
    hint = say("Make the account a member of the owner's role, or let the owner add it before the start.")
    statements = lines(joining(owners, target.info.user, target.info.server_version, inheriting=inherits(target)))
    if any(needed for parts in lacking.values() for _, needed in parts):
        return failed(found, together([say("Without a key the copy would stop at its end."), hint]), statements)
    return warning(found, hint, statements)


_Part = tuple[Sentence, bool]
"""(what it is, with its name; whether the copy cannot end without it)"""


def _lacking(context: Context, database: DatabasePlan, places: set[_Place]) -> dict[_Place, list[_Part]]:
    if not places:
        return {}
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    chosen = {table.oid for table in context.tables(database.source_name)}
    there = {tuple(row[:4]) for row in context.rows(Side.TARGET, "check_owned_parts", database.target_name)}
    found: dict[_Place, list[_Part]] = {}
    for row in context.rows(Side.SOURCE, "check_owned_parts", database.source_name):
        schema, table, kind, name, needed, leads_to, own = row
        place = renaming.place((str(schema), str(table)))
        moves = own and (not leads_to or leads_to in chosen)
        if place in places and moves and (*place, kind, name) not in there:
            words = say("{kind} {name}", kind=noun(kind), name=name)
            found.setdefault(place, []).append((words, bool(needed)))
    return found


def _words(place: _Place, parts: list[_Part]) -> Sentence:
    return say("{table} ({differences})", table=".".join(place), differences=listing(words for words, _ in parts))


def _other_row_security(context: Context, database: DatabasePlan, places: set[_Place]) -> Finding | None:
    """Say which tables stay with a row security that they do not have on the source; None when none does.

    What is on there and off on the target is switched on at the end, so nothing is to be said of it.
    """
    renaming = Renaming(schemas=renamed_schemas(context.plan.selection, database.source_name))
    source, target = _row_security(context, Side.SOURCE, database), _row_security(context, Side.TARGET, database)
    wanted = {renaming.place(place): forced for place, forced in source.items()}
    found, statements = [], []
    for place in sorted(places & target.keys()):
        if place in wanted and wanted[place] == target[place]:
            continue
        name = ".".join(place)
        if place not in wanted:
            found.append(say("{name} (off on the source)", name=name))
        elif target[place]:
            found.append(say("{name} (binds the owner too)", name=name))
        else:
            found.append(say("{name} (does not bind the owner)", name=name))
        change = "DISABLE" if place not in wanted else "NO FORCE" if target[place] else "FORCE"
        statements.append(f"ALTER TABLE {qualified(*place)} {change} ROW LEVEL SECURITY;")
    if not found:
        return None
    return warning(
        say(
            "Row security of {number} is other than on the source, and stays so: {names}.",
            number=count(len(found), "{number} table", "{number} tables"),
            names=listing(found),
        ),
        say("It may hide rows from the application, or refuse them, when it has moved."),
        lines(statements),
    )


def _row_security(context: Context, side: Side, database: DatabasePlan) -> dict[_Place, bool]:
    name = database.source_name if side is Side.SOURCE else database.target_name
    rows = context.rows(side, "check_row_security", name)
    return {(str(schema), str(table)): bool(forced) for schema, table, forced in rows}
