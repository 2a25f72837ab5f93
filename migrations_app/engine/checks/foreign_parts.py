"""Items about what the source takes from outside: extensions, libraries, languages, roles, other servers."""

from __future__ import annotations

from dataclasses import replace

from ..names import literal, quote
from ..plan import DatabasePlan, Side
from ..sql import query
from ..vendors import OWN_WAYS
from ..wording import Sentence, count, listing, say, together
from .context import Context
from .registry import ON_SOURCE, Finding, Group, failed, item, lines, passed, warning
from .roles import made_roles, may_make_roles

PRELOADED = frozenset(
    {"anon", "citus", "pg_cron", "pg_net", "pg_squeeze", "pg_stat_statements", "pg_tle", "pgaudit", "pglogical"}
    | {"pgsodium", "supabase_vault", "timescaledb"}
)
"""Extensions that do nothing, or cannot be created, unless shared_preload_libraries names them."""
_HARD = frozenset({"timescaledb", "citus"})


def extension_facts(context: Context, side: Side, database: str) -> list[tuple[str, str, str, list[str]]]:
    def read() -> list[tuple[str, str, str, list[str]]]:
        rows = context.session(side, database).execute(query("check_extension_facts")).fetchall()
        return [(str(a), str(b), str(c), list(d)) for a, b, c, d in rows]  # type: ignore[call-overload]

    return context.remember(("extension facts", side, database), read)


@item(
    "extension-versions",
    "Versions of extensions",
    Group.TARGET,
    "The target offers each extension in the source's version or a later one, and allows it.",
    per_database=True,
)
def extension_versions(context: Context, database: DatabasePlan) -> Finding:
    """Compare versions with the target's default ones, and names with a vendor's list of allowed ones."""
    facts = extension_facts(context, Side.SOURCE, database.source_name)
    if not facts:
        return passed(say("The source database uses no extensions."))
    rows = context.target().execute("SELECT name::text, default_version::text FROM pg_catalog.pg_available_extensions")
    offered = {str(name): str(version) for name, version in rows.fetchall()}
    allowed = context.one(Side.TARGET, "SELECT pg_catalog.current_setting('azure.extensions', true)")
    closed = [name for name, *_rest in facts if allowed and name.lower() not in str(allowed).lower().split(",")]
    if closed:
        return failed(
            say("The target's vendor does not allow {names} yet.", names=listing(closed)),
            say("Add the extensions to the server parameter azure.extensions, then check again."),
        )
    older = [
        say(
            "{name} ({version} on the source, {offered} on the target)",
            name=name,
            version=version,
            offered=offered[name],
        )
        for name, version, *_rest in facts
        if name in offered and _number(offered[name]) < _number(version)
    ]
    if older:
        return warning(
            say("The target offers an older {names}.", names=listing(older)),
            say("Objects may use what the older version lacks. Install the source's version on the target."),
        )
    return passed(say("The target offers every extension in the source's version or a later one."))


def _number(version: str) -> tuple[int, ...]:
    """Return a version in a form that can be compared: 3.10.1 is later than 3.9."""
    return tuple(int(part) for part in version.replace("-", ".").split(".") if part.isdecimal())


@item(
    "extension-preload",
    "Extensions that must be preloaded",
    Group.TARGET,
    "Some extensions work only when shared_preload_libraries of the target names them.",
    per_database=True,
)
def extension_preload(context: Context, database: DatabasePlan) -> Finding:
    """Compare the source's extensions with shared_preload_libraries of the target."""
    names = [name for name, *_rest in extension_facts(context, Side.SOURCE, database.source_name) if name in PRELOADED]
    if not names:
        return passed(say("No extension of the source has to be preloaded on the target."))
    text = context.one(
        Side.TARGET, "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'shared_preload_libraries'"
    )
    if text is None:
        return _preload_unknown(context, names)
    loaded = [part.strip(' "') for part in str(text).split(",") if part.strip(' "')]
    missing = sorted(set(names) - {name.rpartition("/")[2] for name in loaded})
    if not missing:
        return passed(say("The target preloads {names}.", names=listing(names)))
    return warning(
        say("The target does not preload {names}.", names=listing(missing)),
        say(
            "Add it to shared_preload_libraries of the target (on managed servers: a parameter) and "
            "restart the target before the start."
        ),
        f"ALTER SYSTEM SET shared_preload_libraries = {', '.join(literal(name) for name in [*loaded, *missing])};",
        needs_restart=True,
    )


def _preload_unknown(context: Context, names: list[str]) -> Finding:
    """Ordinary accounts do not see the list: a statement made without it would drop what stands there."""
    return warning(
        say(
            "{names} must be preloaded on the target, and {user} may not see what it preloads.",
            names=listing(names),
            user=context.target().info.user,
        ),
        say(
            "Let a superuser of the target look with SHOW shared_preload_libraries, or make the account a member of"
            " pg_read_all_settings and check again."
        ),
        f"GRANT pg_read_all_settings TO {quote(context.target().info.user)};",
    )


@item(
    "extension-data",
    "Data that extensions keep",
    Group.SELECTION,
    "Rows that you added to the configuration tables of an extension are copied with the whole database.",
    per_database=True,
    sides=ON_SOURCE,
)
def extension_data(context: Context, database: DatabasePlan) -> Finding:
    """List configuration tables that hold rows, and extensions that need a procedure of their own."""
    facts = extension_facts(context, Side.SOURCE, database.source_name)
    special = [name for name, *_rest in facts if name in OWN_WAYS]
    if hard := [name for name in special if name in _HARD]:
        return failed(
            say("The source database uses {names}.", names=listing(hard)),
            _ways([*hard, *special][:3]),
        )
    if special:
        return warning(
            say("The source database uses {names}.", names=listing(special)),
            _ways(special),
        )
    tables = [
        say("{table} (of {name})", table=table, name=name)
        for name, _version, _schema, config in facts
        for table in config
    ]
    if tables:
        number = count(len(tables), "{number} configuration table", "{number} configuration tables")
        told = say("{number} of extensions: {names}.", number=number, names=listing(tables))
        if context.whole_database(database.source_name):
            return passed(told, say("Rows that you added there are copied."))
        return warning(
            told,
            say("Rows that you added there are copied only with the whole database. Add them on the target by hand."),
        )
    return passed(say("No extension of the source keeps rows that would stay behind."))


def _ways(names: list[str]) -> Sentence:
    first, *rest = (OWN_WAYS[name] for name in names)
    for way in rest:
        first = say("{first} {second}", first=first, second=way)
    return first


@item(
    "languages",
    "Procedural languages",
    Group.TARGET,
    "The languages that functions are written in exist on the target.",
    per_database=True,
)
def languages(context: Context, database: DatabasePlan) -> Finding:
    """Compare the languages of the source database with those of the target."""
    rows = context.source(database.source_name).execute(query("check_languages")).fetchall()
    if not rows:
        return passed(say("Functions are written in the languages that every server has."))
    superuser = context.is_superuser(Side.TARGET)
    known = _known_languages(context, database)
    lacking = [(str(name), bool(by_extension)) for name, by_extension, *_rest in rows if str(name) not in known]
    missing = [name for name, by_extension in lacking if by_extension]
    if missing:
        return failed(
            say("The target lacks the language {names}.", names=listing(missing)),
            say("Install the language's package on the target, or leave the functions in it out."),
            lines(f"CREATE EXTENSION {quote(name)};" for name in missing),
        )
    if lacking and not superuser:
        return failed(
            say("The target lacks the language {names}.", names=listing(name for name, _ in lacking)),
            say(
                "No extension brings it, so that only a superuser can create it. Let one create it in {target_name}"
                " before the start, or leave the functions in it out.",
                target_name=database.target_name,
            ),
        )
    untrusted = [
        say("{name} ({number})", name=name, number=count(int(str(number)), "{number} function", "{number} functions"))
        for name, _e, trusted, number in rows
        if not trusted
    ]
    if untrusted:
        return warning(
            say("Functions are written in untrusted languages: {names}.", names=listing(untrusted)),
            say("They can do on the target's host what its server may do. ")
            + (
                say("Look through them before the start.")
                if superuser
                else say("Only a superuser of the target can create them.")
            ),
        )
    return passed(say("The target knows {names}.", names=listing(str(row[0]) for row in rows)))


def _known_languages(context: Context, database: DatabasePlan) -> set[str]:
    """Return what the target offers as an extension, and the languages of the target database, if that is there."""
    text = "SELECT name::text FROM pg_catalog.pg_available_extensions"
    if not context.target_exists(database):
        return {str(row[0]) for row in context.target().execute(text.encode()).fetchall()}
    text += " UNION ALL SELECT lanname::text FROM pg_catalog.pg_language"
    return {str(row[0]) for row in context.target(database.target_name).execute(text.encode()).fetchall()}


@item(
    "named-roles",
    "Roles that rights and policies name",
    Group.PRIVILEGES,
    "Grants and row-security policies can be restored only for roles that the target has.",
    per_database=True,
)
def named_roles(context: Context, database: DatabasePlan) -> Finding:
    """Compare the roles that grants and policies of the source database name with those of the target."""
    rows = context.rows(Side.SOURCE, "check_named_roles", database.source_name)
    known = {
        str(row[0]) for row in context.target().execute("SELECT rolname::text FROM pg_catalog.pg_roles").fetchall()
    } | made_roles(context)
    policies = sorted({str(role) for role, what, _number in rows if what == "policy" and str(role) not in known})
    missing = {str(role) for role, _what, _number in rows if str(role) not in known}
    account = context.plan.source.user
    ours = account in missing and account not in policies  # what it may here it was mostly given for the migration
    grants = sorted(missing - ({account} if ours else set()))
    if not grants and not ours:
        return passed(say("Every role that a grant or a policy names is on the target, or will be made there."))
    if not grants:
        return passed(_of_account(account), _ACCOUNT_TOO)
    finding = _roles_missing(policies, grants)
    if ours:
        finding = replace(
            finding,
            found=together([finding.found, _of_account(account)]),
            hint=together([finding.hint, _ACCOUNT_TOO]),
        )
    ordinary = [name for name in grants if not name.startswith("pg_")]
    if not ordinary or not may_make_roles(context):
        return finding
    return finding.fixed_by("roles", roles=ordinary, user=context.target().info.user, members=False)


_ACCOUNT_TOO = say("Create that role on the target first if the application uses it.")


def _of_account(name: str) -> Sentence:
    return say(
        "{name}, the account that the migration has on the source, is not on the target: its own rights stay behind.",
        name=name,
    )


def _roles_missing(policies: list[str], grants: list[str]) -> Finding:
    statements = lines(f"CREATE ROLE {quote(name)} NOLOGIN;" for name in grants)
    if policies:
        return failed(
            say("Row-security policies name roles that the target lacks: {names}.", names=listing(policies)),
            say(
                "Without the role the policy cannot be created, and rows that it hides would be shown. Create the roles"
                " on the target first, or let the task make them: Roles on the objects step."
            ),
            statements,
        )
    return warning(
        say(
            "Grants name {number} that the target lacks: {names}.",
            number=count(len(grants), "{number} role", "{number} roles"),
            names=listing(grants),
        ),
        say(
            "Their rights are not restored and are listed in the report. Create the roles on the target first, or let"
            " the task make them: Roles on the objects step. Roles of the source's vendor can be left out."
        ),
        statements,
    )


@item(
    "foreign-servers",
    "Foreign servers",
    Group.TARGET,
    "Passwords that the source account may not see are asked for, and the target must be able to reach the servers.",
    per_database=True,
    sides=ON_SOURCE,
)
def foreign_servers(context: Context, database: DatabasePlan) -> Finding:
    """List foreign servers of the source database, and the user mappings whose passwords only an operator knows."""
    session = context.source(database.source_name)
    rows = session.execute(query("check_foreign_servers")).fetchall()
    if not rows:
        return passed(say("The database has no foreign servers."))
    mappings = session.execute(query("check_user_mappings")).fetchall()
    hidden = [{"server": str(server), "role": str(role)} for server, role, unseen in mappings if unseen]
    told = say(
        "The database has {number}, with {number_2}: {names}.",
        number=count(len(rows), "{number} foreign server", "{number} foreign servers"),
        number_2=count(len(mappings), "{number} user mapping", "{number} user mappings"),
        names=listing(f"{name} ({kind})" for name, kind, _n in rows),
    )
    reach = say("See that the target's host can reach these servers.")
    if not hidden:
        return warning(told, reach)
    given = {(one.server, one.role) for one in context.plan.passwords if one.database == database.source_name}
    open_ones = [one for one in hidden if (one["server"], one["role"]) not in given]
    named = (f"{'PUBLIC' if one['role'] == 'public' else one['role']} on {one['server']}" for one in open_ones)
    if open_ones:
        told += say(" The source account may not see what these sign in with: {names}.", names=listing(named))
        reach = together(
            [
                say(
                    "Enter their users and passwords on the page Passwords, or set them on the target afterwards: the"
                    " notes at the end list those that lack one."
                ),
                reach,
            ]
        )
    return warning(told, reach).asks({"database": database.source_name, **one} for one in hidden)
