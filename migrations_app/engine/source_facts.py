"""What a source has today, as far as our account is let in: the facts behind the page Prepare the source.

Nothing is made or changed. A server that cannot be reached, or that has never heard of the account, is the usual case
here, so every fact has a value for "not known".
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import field, replace
from typing import Any

import psycopg

from .catalog import Table, read_tables, selected_tables
from .connect import Connection
from .errors import EngineError
from .names import APPLICATION_PREFIX
from .password_kept import known_as_scram, role_is_as_scram
from .plan import Plan, Server, Side
from .probe import bounded, open_session, settle, tls_words
from .sequences import is_selected, owning_table
from .sql import query
from .values import frozen
from .vendors import vendor_of
from .versions import can_decode
from .wording import NOTHING, Sentence, say

ASK_SECONDS = 15
SMALL = "towpath"
"""The account that could take a superuser's place."""
_SETTINGS = (
    "wal_level",
    "max_replication_slots",
    "max_wal_senders",
    "max_slot_wal_keep_size",
    "wal_sender_timeout",
    "idle_replication_slot_timeout",
    "max_locks_per_transaction",
    "max_connections",
    "max_prepared_transactions",
    "password_encryption",
    "config_file",
    "hba_file",
)


@frozen
class Setting:
    """One server setting. `shown` is as people write it, `number` in its base unit (None for words)."""

    shown: str
    number: int | None
    pending_restart: bool = False


@frozen
class DatabaseFacts:
    """What of one database is selected and who owns it. `unknown` says why nothing could be read, or is ''."""

    name: str
    unknown: Sentence = NOTHING
    tables: tuple[Table, ...] = ()
    forced_row_security: bool = False
    schemas: tuple[tuple[str, str, bool], ...] = ()  # name, owner, everybody may enter
    sequences: tuple[tuple[str, str, str], ...] = ()  # schema, name, owner
    closed_large_objects: int = 0  # of a database that moves whole: those that an ordinary account may not read


@frozen
class SourceFacts:
    """What is known of a source."""

    failure: Sentence = NOTHING  # why we were not let in; '' = we were
    hint: Sentence = NOTHING
    version: int = 0  # 0 = not known
    superuser: bool = False
    replication: bool = False
    address: str = ""  # where the server sees us coming from
    address_seen: bool = False  # False: what this machine believes
    tls: str = ""  # the protocol, '' = none or not known
    vendor: str = ""
    scram: bool = False  # the account's password is certainly kept as SCRAM, not as md5
    small_scram: bool = True  # that of the role SMALL too, or nobody has made that yet
    settings: dict[str, Setting] = field(default_factory=dict)
    slots_used: int = 0
    senders_used: int = 0
    replication_refused: Sentence = NOTHING  # why a replication login failed; '' = it works
    superusers: frozenset[str] = frozenset()
    inherits: bool = True  # the account has by itself the rights of roles that it is in
    usable: frozenset[str] = frozenset()  # roles whose rights the account has
    joined: frozenset[str] = frozenset()  # roles that it is in, with their rights or without
    databases: tuple[DatabaseFacts, ...] = ()


def read_facts(plan: Plan) -> SourceFacts:
    """Return what is known of the source. Raises nothing for a server that refuses: that is a fact as well."""
    try:
        with _session(plan, "") as connection, bounded(connection, ASK_SECONDS):
            facts = _server_facts(connection)
    except EngineError as refused:
        return _from_outside(plan, refused.message, refused.hint)
    except psycopg.Error as error:
        words = error.sqlstate or type(error).__name__
        return _from_outside(plan, say("The source stopped answering ({words}).", words=words), NOTHING)
    databases = tuple(_database_facts(plan, database.source_name) for database in plan.databases)
    refused_login = _replication_login(plan) if plan.incremental and can_decode(facts.version) else NOTHING
    return replace(facts, databases=databases, replication_refused=refused_login)


def _from_outside(plan: Plan, failure: Sentence, hint: Sentence) -> SourceFacts:
    unknown = say("the account cannot log in yet")
    databases = tuple(DatabaseFacts(name=database.source_name, unknown=unknown) for database in plan.databases)
    return SourceFacts(failure=failure, hint=hint, address=_own_address(plan.source), databases=databases)


def _own_address(server: Server) -> str:
    """Return the address that this machine would use towards the server; nothing is sent."""
    with contextlib.suppress(OSError):
        family, _, _, _, place = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0]).partition("%")[0]
    return ""


def _session(plan: Plan, database: str, *, replication: bool = False) -> Connection:
    return open_session(
        plan.source,
        Side.SOURCE,
        database,
        seconds=plan.connect_timeout_seconds,
        name=f"{APPLICATION_PREFIX}:{plan.key}:prepare",
        replication=replication,
        accepting=None,
        **({} if replication else {"statement_timeout": f"{ASK_SECONDS}s"}),
    )


def _server_facts(connection: Connection) -> SourceFacts:
    row = connection.execute(
        "SELECT rolsuper, rolreplication, pg_catalog.host(pg_catalog.inet_client_addr()),"
        " (SELECT count(*) FROM pg_catalog.pg_stat_replication), rolinherit"
        " FROM pg_catalog.pg_roles WHERE rolname = current_user"
    ).fetchone()
    superuser, replication, address, senders, heir = row or (False, False, "", 0, True)
    roles = connection.execute(
        "SELECT rolname::text, rolsuper, pg_catalog.pg_has_role(oid, 'USAGE'), pg_catalog.pg_has_role(oid, 'MEMBER')"
        " FROM pg_catalog.pg_roles"
    ).fetchall()
    names = {str(name) for name, *_ in roles}
    protocol = tls_words(connection)
    return SourceFacts(
        version=connection.info.server_version,
        superuser=bool(superuser),
        replication=bool(replication),
        address=str(address or "").partition("%")[0],
        address_seen=address is not None,
        tls="" if protocol == "none" else protocol,
        vendor=vendor_of(names),
        scram=known_as_scram(connection),
        small_scram=SMALL not in names or role_is_as_scram(connection, SMALL),
        settings=_settings(connection),
        slots_used=_slots_used(connection),
        senders_used=int(str(senders)),
        superusers=frozenset(str(name) for name, is_super, *_ in roles if is_super),
        inherits=bool(heir),
        usable=frozenset(str(name) for name, _, usable, _ in roles if usable),
        joined=frozenset(str(name) for name, *_, joined in roles if joined),
    )


def _slots_used(connection: Connection) -> int:
    if not can_decode(connection.info.server_version):
        return 0
    row = connection.execute("SELECT count(*) FROM pg_catalog.pg_replication_slots").fetchone()
    return int(str(row[0])) if row else 0


def _settings(connection: Connection) -> dict[str, Setting]:
    pending = "pending_restart" if connection.info.server_version >= 90500 else "false"
    rows = connection.execute(
        "SELECT name, pg_catalog.current_setting(name), setting, "  # noqa: S608 - one of two words of ours
        + pending
        + " FROM pg_catalog.pg_settings WHERE name = ANY (%s)",
        (list(_SETTINGS),),
    ).fetchall()
    return {
        str(name): Setting(shown=str(shown), number=_number(raw), pending_restart=bool(waits))
        for name, shown, raw, waits in rows
    }


def _number(raw: Any) -> int | None:
    return int(raw) if str(raw).lstrip("-").isdigit() else None


def _replication_login(plan: Plan) -> Sentence:
    database = plan.databases[0].source_name if plan.databases else plan.source.database
    try:
        with _session(plan, database, replication=True) as connection:
            connection.execute("IDENTIFY_SYSTEM")
    except EngineError as refused:
        return refused.message
    except psycopg.Error as error:
        words = error.sqlstate or type(error).__name__
        return say("The source ended the replication login ({words}).", words=words)
    return NOTHING


def _database_facts(plan: Plan, name: str) -> DatabaseFacts:
    try:
        with _session(plan, name) as connection, bounded(connection, ASK_SECONDS):
            settle(connection)
            return _read_database(connection, plan, name)
    except EngineError as refused:
        return DatabaseFacts(name=name, unknown=refused.message)
    except psycopg.Error as error:
        return DatabaseFacts(name=name, unknown=say("its catalogs could not be read ({words})", words=error.sqlstate))


def _read_database(connection: Connection, plan: Plan, name: str) -> DatabaseFacts:
    tables = selected_tables(read_tables(connection), plan.selection, name)
    forced = connection.execute(
        "SELECT count(*) FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s::oid[])"
        " AND (pg_catalog.row_to_json(c) ->> 'relforcerowsecurity')::boolean",  # which exists since 9.5
        ([table.oid for table in tables],),
    ).fetchone()
    names = {(table.schema, table.name) for table in tables}
    sequences = tuple(
        (str(schema), str(sequence), str(role))
        for schema, sequence, role, *table in connection.execute(query("source_sequences")).fetchall()
        if is_selected((str(schema), str(sequence)), owning_table(*table), names, plan.selection, name)
    )
    used = {schema for schema, *_ in (*names, *sequences)}
    schemas = connection.execute(query("source_schemas")).fetchall()
    return DatabaseFacts(
        name=name,
        tables=tuple(tables),
        forced_row_security=bool(forced and forced[0]),
        schemas=tuple((str(a), str(b), bool(c)) for a, b, c in schemas if str(a) in used),
        sequences=sequences,
        closed_large_objects=_closed_large_objects(connection) if plan.selection.state(name) == "all" else 0,
    )


def _closed_large_objects(connection: Connection) -> int:
    """Count large objects that the account may not read; of a superuser all, because a smaller account may not."""
    row = connection.execute(query("check_large_objects")).fetchone()
    mine = connection.execute("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").fetchone()
    total, closed = row or (0, 0)
    return int(str(total if mine and mine[0] else closed))
