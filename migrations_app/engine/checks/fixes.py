"""What the Fix button of a check item does: a short list of statements that is shown before it is run.

A finding names a fix and its arguments; the statements are built from them here and nowhere else, so that what the
operator reads and what the worker runs cannot differ. A fix makes or changes only what it shows, never drops anything,
and is the operator's own act: Cancel and Complete leave it as it is, and the way back is told with it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psycopg

from ..connect import Connection, first_line
from ..errors import EngineError, PlanError
from ..names import APPLICATION_PREFIX, literal, qualified, quote
from ..owners import joining
from ..plan import Plan, Side
from ..probe import bounded, open_session
from ..target_database import LOCALE_REFUSED
from ..values import frozen
from ..wording import Sentence, noun, say

STATEMENT_SECONDS = 30
LOCK_WAIT = "5s"
_PROVIDERS = {"i": "ICU", "b": "BUILTIN"}
_IDENTITIES = {"n": "NOTHING", "f": "FULL"}
_EARLY = frozenset({"database", "schemas"})
_THERE_ALREADY = frozenset({"42710", "42P04", "42P06"})
SETTINGS = frozenset(
    {
        "idle_replication_slot_timeout",
        "max_connections",
        "max_locks_per_transaction",
        "max_replication_slots",
        "max_slot_wal_keep_size",
        "max_wal_senders",
        "old_snapshot_threshold",
        "wal_level",
        "wal_sender_timeout",
    }
)
"""Server settings that a fix may write; a finding cannot smuggle in another."""


class FixFailed(EngineError):
    """A fix was refused by a server; the message holds its reason, and what had been done before it."""

    code = "FIX-FAILED"


@frozen
class Statement:
    """One statement and where it runs ('' = the database of the login)."""

    side: Side
    sql: str
    database: str = ""


@frozen
class Fix:
    """What will be done, in words and in SQL, and how it is taken back. `undo` is in the order in which it is run."""

    label: str
    effect: str
    statements: tuple[Statement, ...]
    undo: tuple[Statement, ...] = ()
    needs_restart: bool = False

    @property
    def side(self) -> Side:
        """The one server that is changed."""
        return self.statements[0].side

    @property
    def mark(self) -> str:
        """A short hash of the statements: what was read and confirmed must be what is run."""
        text = "\n".join(f"{one.side} {one.database} {one.sql}" for one in self.statements)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_offered(status: str, name: str) -> bool:
    """Say whether a result of this status may offer a fix of this name; a passed one only what the start makes too."""
    return bool(name) and (status in ("failed", "warning") or (status == "passed" and name in _EARLY))


def fix_of(name: str, arguments: Mapping[str, Any]) -> Fix:
    """Return the fix of this name. Raises PlanError for a name or arguments that this version does not know."""
    try:
        fix = _FIXES[name](arguments)
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(
            say("This fix is not known any more."), hint=say("Run the check item again and look at what it offers.")
        ) from error
    if not fix.statements:
        raise PlanError(say("There is nothing to do."), hint=say("Run the check item again."))
    return fix


def run_fix(plan: Plan, fix: Fix) -> None:
    """Run the statements one by one, each a transaction of its own. Repeatable: what is there already stays.

    Raises FixFailed with the server's reason, or ConnectFailed. Waits at most five seconds for a lock, so that the
    application is not held up.
    """
    done: list[str] = []
    with contextlib.ExitStack() as stack:
        sessions: dict[tuple[Side, str], Connection] = {}
        for statement in fix.statements:
            key = (statement.side, statement.database)
            if key not in sessions:
                sessions[key] = stack.enter_context(_session(plan, *key))
            try:
                with bounded(sessions[key], 2 * STATEMENT_SECONDS):
                    sessions[key].execute(statement.sql.encode())
            except psycopg.Error as error:
                if error.sqlstate in _THERE_ALREADY:
                    continue
                raise _refused(statement, error, done) from error
            done.append(statement.sql)


def _session(plan: Plan, side: Side, database: str) -> Connection:
    return open_session(
        plan.server(side),
        side,
        database,
        seconds=plan.connect_timeout_seconds,
        name=f"{APPLICATION_PREFIX}:{plan.key}:fix",
        statement_timeout=f"{STATEMENT_SECONDS}s",
        lock_timeout=LOCK_WAIT,
    )


def _refused(statement: Statement, error: psycopg.Error, done: Sequence[str]) -> FixFailed:
    state = f" ({error.sqlstate})" if error.sqlstate else ""
    before = (
        say(" Before that, this was done and stays: {statements}", statements=" ".join(done))
        if done
        else say(" Nothing was changed.")
    )
    return FixFailed(
        say(
            "The {side} refused `{sql}`: {reason}{state}.",
            side=noun(statement.side),
            sql=statement.sql,
            reason=first_line(error),
            state=state,
        )
        + before,
        hint=_what_to_do(statement, error.sqlstate or ""),
    )


def _what_to_do(statement: Statement, state: str) -> Sentence:
    if state == "55P03":
        return say("Somebody else uses the object now; try again in a moment.")
    if state in LOCALE_REFUSED and statement.sql.startswith("CREATE DATABASE "):
        return say(
            "Install the locale on the target's machine, or let the start make the database: where the target has no"
            " such locale, it takes the target's own one or C, and says so."
        )
    return say("Let an account with the right run the SQL that the item shows, then check the item again.")


def _replica_identity(arguments: Mapping[str, Any]) -> Fix:
    database, ways, back = str(arguments["database"]), [], []
    for schema, name, index, before in arguments["tables"]:
        table = f"ALTER TABLE {qualified(str(schema), str(name))} REPLICA IDENTITY"
        ways.append(_on(Side.SOURCE, f"{table} {f'USING INDEX {quote(str(index))}' if index else 'FULL'};", database))
        back.append(_on(Side.SOURCE, f"{table} {_IDENTITIES.get(before, 'DEFAULT')};", database))
    return Fix(
        label="Set the replica identity",
        effect="Changes on the source how PostgreSQL recognises rows of these tables in its WAL: by their unique index"
        " where they have one over columns that are never NULL, else by the whole old row (FULL), which writes more WAL"
        " for each UPDATE and DELETE. Each table is locked for a moment. It stays after the migration.",
        statements=tuple(ways),
        undo=tuple(back),
    )


def _extensions(arguments: Mapping[str, Any]) -> Fix:
    database = str(arguments["database"])
    create = arguments.get("create")
    statements = [_on(Side.TARGET, create_database(database, create))] if create else []
    undo: list[Statement] = []
    wanted = [(str(name), str(schema or "")) for name, schema in arguments["extensions"]]
    statements += [_on(Side.TARGET, sql, database) for sql in extension_statements(wanted)]
    for name, _ in wanted:
        undo.insert(0, _on(Side.TARGET, f"DROP EXTENSION {quote(str(name))};", database))
    if create:
        undo = [_on(Side.TARGET, f"DROP DATABASE {quote(database)};")]
    return Fix(
        label="Create the extensions",
        effect="Makes on the target, with the target account, what the source's extensions need there. Some vendors"
        " allow their accounts to do that; if this one refuses, its reason is shown.",
        statements=tuple(dict.fromkeys(statements)),
        undo=tuple(undo),
    )


def extension_statements(wanted: Sequence[tuple[str, str]]) -> list[str]:
    """Return the statements that make extensions, given with the schema of each ('' is wherever the target likes)."""
    statements = []
    for name, schema in wanted:
        if schema and schema not in ("public", "pg_catalog"):
            statements.append(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)};")
        place = f" SCHEMA {quote(schema)}" if schema and schema != "pg_catalog" else ""
        statements.append(f"CREATE EXTENSION IF NOT EXISTS {quote(name)}{place};")
    return list(dict.fromkeys(statements))


def _database(arguments: Mapping[str, Any]) -> Fix:
    name = str(arguments["database"])
    return Fix(
        label="Create the database",
        effect="Makes the target database, empty and with the source's encoding and sort order. It belongs to the"
        " target account; Cancel leaves it there.",
        statements=(_on(Side.TARGET, create_database(name, arguments)),),
        undo=(_on(Side.TARGET, f"DROP DATABASE {quote(name)};"),),
    )


def create_database(name: str, options: Mapping[str, Any], owner: str = "") -> str:
    """Return the statement that makes a database with the encoding and sort order that `options` tell."""
    parts = [f"CREATE DATABASE {quote(name)}", *([f"OWNER {quote(owner)}"] if owner else []), "TEMPLATE template0"]
    for word, key in (("ENCODING", "encoding"), ("LC_COLLATE", "collate"), ("LC_CTYPE", "ctype")):
        if options.get(key):
            parts.append(f"{word} {literal(str(options[key]))}")
    provider = _PROVIDERS.get(str(options.get("provider", "")))
    if provider and options.get("locale"):
        parts += [f"LOCALE_PROVIDER {provider.lower()}", f"{provider}_LOCALE {literal(str(options['locale']))}"]
        if provider == "ICU" and options.get("rules"):
            parts.append(f"ICU_RULES {literal(str(options['rules']))}")
    elif options.get("provider") == "c":
        parts.append("LOCALE_PROVIDER libc")
    return " ".join(parts) + ";"


def _schemas(arguments: Mapping[str, Any]) -> Fix:
    database, names = str(arguments["database"]), [str(name) for name in arguments["schemas"]]
    return Fix(
        label="Create the schemas",
        effect="Makes the missing schemas on the target, empty. They belong to the target account.",
        statements=tuple(_on(Side.TARGET, f"CREATE SCHEMA IF NOT EXISTS {quote(name)};", database) for name in names),
        undo=tuple(_on(Side.TARGET, f"DROP SCHEMA {quote(name)};", database) for name in names),
    )


def _roles(arguments: Mapping[str, Any]) -> Fix:
    user, statements, undo = str(arguments["user"]), [], []
    members, version = bool(arguments.get("members", True)), int(arguments.get("version", 0))
    for role in map(str, arguments["roles"]):
        statements.append(_on(Side.TARGET, f"CREATE ROLE {quote(role)} NOLOGIN;"))
        if members:
            grants = joining([role], user, version, inheriting=True, become=True)
            statements += [_on(Side.TARGET, grant) for grant in grants]
        undo.append(_on(Side.TARGET, f"DROP ROLE {quote(role)};"))
    owners = (
        "Makes the owning roles on the target, without login and without rights of their own, and lets the"
        " target account act for them. Objects then keep their owners. The roles stay after the migration."
    )
    named = (
        "Makes the roles on the target, without login and without rights of their own, so that grants and policies can"
        " name them. The roles stay after the migration."
    )
    return Fix(
        label="Create the owners" if members else "Create the roles",
        effect=owners if members else named,
        statements=tuple(statements),
        undo=tuple(undo),
    )


def _settings(arguments: Mapping[str, Any]) -> Fix:
    statements, undo = [], []
    for name, value, before in arguments["settings"]:
        if name not in SETTINGS:
            raise ValueError(name)
        statements.append(_on(Side.SOURCE, f"ALTER SYSTEM SET {name} = {literal(str(value))};"))
        undo.append(_on(Side.SOURCE, f"ALTER SYSTEM SET {name} = {literal(str(before))};"))
    restart = bool(arguments.get("restart"))
    reload = _on(Side.SOURCE, "SELECT pg_catalog.pg_reload_conf();")
    return Fix(
        label="Write the setting",
        effect="Writes the setting into the source's postgresql.auto.conf. "
        + (
            "It takes effect when you restart the source; nothing restarts it for you."
            if restart
            else "The source reads its configuration again at once, for all databases; nothing is interrupted."
        )
        + " It stays after the migration.",
        statements=(*statements, reload),
        undo=(*undo, reload),
        needs_restart=restart,
    )


def _on(side: Side, sql: str, database: str = "") -> Statement:
    return Statement(side=side, sql=sql, database=database)


_FIXES: dict[str, Callable[[Mapping[str, Any]], Fix]] = {
    "database": _database,
    "extensions": _extensions,
    "replica-identity": _replica_identity,
    "roles": _roles,
    "schemas": _schemas,
    "settings": _settings,
}
