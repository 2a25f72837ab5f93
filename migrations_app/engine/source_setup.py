"""What the source must have before a slot is made: replica identities and the publication, written in the ledger.

Everything here can be repeated at any time. The publication comes before the slot, always: changes of a table that is
published later are lost without a word on newer servers.
"""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from . import publishing, source_items, truncate_log
from .catalog import Table
from .connect import Connection, translate
from .errors import ConnectionLost, SourceError
from .failpoints import durable
from .names import TARGET_SCHEMA, publication_name, qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem
from .values import frozen
from .versions import decodes_truncate, has_publications
from .wording import Sentence, count, listing, say, together, verbatim

_LOCK_NOT_AVAILABLE = "55P03"
_LONGEST_WAIT_SECONDS = 15.0

_WITHOUT_IDENTITY = """
SELECT c.oid::bigint, c.relreplident::text,
       (SELECT i.relname FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
         WHERE x.indrelid = c.oid AND x.indisreplident LIMIT 1)
  FROM pg_catalog.pg_class c
 WHERE c.oid = ANY(%s::oid[]) AND c.relkind = 'r' AND c.relpersistence = 'p' AND c.relreplident <> 'f'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_index x
                    WHERE x.indrelid = c.oid AND x.indisvalid AND x.indimmediate
                      AND CASE c.relreplident WHEN 'd' THEN x.indisprimary
                                              WHEN 'i' THEN x.indisreplident ELSE false END
                      AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a
                                       WHERE a.attrelid = x.indrelid AND a.attnum = ANY(x.indkey)
                                         AND pg_catalog.row_to_json(a) ->> 'attgenerated' <> ''))
 ORDER BY c.oid
"""

_HOLDERS = """
SELECT DISTINCT a.pid, a.usename, extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::bigint
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
 WHERE l.granted AND a.pid <> pg_catalog.pg_backend_pid()
   AND CASE WHEN pg_catalog.cardinality(%s::oid[]) = 0 THEN l.relation >= 16384 ELSE l.relation = ANY(%s::oid[]) END
   AND l.mode = ANY(%s) AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
 ORDER BY 1 LIMIT 5
"""
_STRONG = ["ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"]
_ANY = ["AccessShareLock", "RowShareLock", "RowExclusiveLock", *_STRONG]


def without_identity(connection: Connection, oids: list[int]) -> set[int]:
    """Return those of these tables that have nothing by which a changed row can be told. Raises psycopg.Error."""
    return {int(str(row[0])) for row in connection.execute(_WITHOUT_IDENTITY, (oids,)).fetchall()}


def prepare(run: Run, database: DatabasePlan, connection: Connection, tables: list[Table], *, anew: bool) -> str:
    """Give every selected table an identity and publish exactly the selected tables. Returns the publication's name.

    `anew`: no slot depends on the publication yet, so one that an earlier run left is replaced. Raises SourceError with
    the statements to run when our account may not do it, or when a publication that the slot needs is gone.
    """
    fix_identities(run, database, connection, tables)
    version = connection.info.server_version
    if not decodes_truncate(version):
        _note_truncates(run, database, connection, tables)
    if not has_publications(version):
        return ""  # the server sends every table, and what is not selected is left out here
    name = publication_name(run.plan.key, database_oid(connection))
    wanted = publishing.published(tables, version)
    run.ports.ledger.intend(
        LedgerItem(side=Side.SOURCE, database=database.source_name, kind=Kind.PUBLICATION, name=name)
    )
    _publish(run, database, connection, name, wanted, anew=anew)
    log = truncate_log.log_oid(connection, run.plan.key)
    if log and log not in (publishing.published_now(connection, name) or ()):
        place = qualified(TARGET_SCHEMA, truncate_log.log_name(run.plan.key))
        text = f"ALTER PUBLICATION {quote(name)} ADD TABLE ONLY {place}"
        _locking(run, connection, [], text, say("publishing the log of emptied tables"))
    return name


def _publish(
    run: Run, database: DatabasePlan, connection: Connection, name: str, wanted: list[Table], *, anew: bool
) -> None:
    existing = publishing.published_now(connection, name)
    if existing is not None and anew:

        def drop() -> None:
            publishing.drop(connection, name)

        persist(run, connection, [], drop, say("replacing the publication"), _ANY)
        existing = None
    if existing is None:
        if not anew:
            raise SourceError(
                say(
                    "The publication {name} of database {source_name} is gone, so changes may be missing.",
                    name=name,
                    source_name=database.source_name,
                ),
                hint=say("Press Restart with new copy: it removes what is ours and begins anew."),
                code="SRC-SLOTLOST",
            )
        for locked, text in publishing.making(name, wanted, connection.info.server_version):
            _locking(run, connection, locked, text, say("creating the publication"))
    elif missing := [table for table in wanted if table.oid not in existing]:
        for locked, text in publishing.adding(name, missing):
            _locking(run, connection, locked, text, say("adding tables to the publication"))


def _note_truncates(run: Run, database: DatabasePlan, connection: Connection, tables: list[Table]) -> None:
    def lock(locked: list[Table], statement: str, doing: Sentence) -> None:
        _locking(run, connection, locked, statement, doing)

    truncate_log.note_truncates(run, database, connection, tables, lock)


def database_oid(connection: Connection) -> int:
    """Return the oid of the connected database, which is part of our objects' names."""
    row = connection.execute(
        "SELECT oid::bigint FROM pg_catalog.pg_database WHERE datname = current_database()"
    ).fetchone()
    return int(str(row[0])) if row else 0


@frozen(kw_only=False)
class _Identity:
    table: Table
    was: str
    index: str

    @property
    def statement(self) -> str:
        return f"ALTER TABLE {qualified(self.table.schema, self.table.name)} REPLICA IDENTITY FULL"


def fix_identities(run: Run, database: DatabasePlan, connection: Connection, tables: list[Table]) -> int:
    """Set REPLICA IDENTITY FULL where updates could not be published otherwise; returns on how many tables.

    Without it the application's own UPDATE would fail on the source as soon as the table is published. The old value is
    kept in the ledger. Raises SourceError, before anything is changed, when we do not own all of these tables.
    """
    by_oid = {table.oid: table for table in tables}
    rows = connection.execute(_WITHOUT_IDENTITY, (list(by_oid),)).fetchall()
    lacking = [_Identity(by_oid[int(str(row[0]))], str(row[1]), str(row[2] or "")) for row in rows]
    foreign = [item for item in lacking if not item.table.is_owner]
    if foreign:
        raise SourceError(
            say(
                "{number} of {source_name} have no key, and our account may not give them a replica identity: {names}.",
                number=count(len(foreign), "{number} table", "{number} tables"),
                source_name=database.source_name,
                names=listing((f"{item.table.schema}.{item.table.name}" for item in foreign), 5),
            ),
            hint=together(
                [
                    say("Run on the source as the owner of these tables, or add a primary key, then press Retry:"),
                    *(f"{item.statement};" for item in foreign),
                ],
                by="\n",
            ),
        )
    if lacking:
        source_items.follow_names(run, database.source_name, connection)
    for item in lacking:
        detail = {"was": item.was, "index": item.index, source_items.OID: item.table.oid}
        source_items.note(
            run,
            LedgerItem(
                side=Side.SOURCE,
                database=database.source_name,
                kind=Kind.REPLICA_IDENTITY,
                schema=item.table.schema,
                name=item.table.name,
                detail=detail,
            ),
        )
        _locking(run, connection, [item.table], item.statement, say("setting a replica identity"))
    return len(lacking)


def _locking(run: Run, connection: Connection, tables: list[Table], statement: str, doing: str) -> None:
    """Run a statement that needs locks; the session's lock_timeout keeps others from queuing behind us for long."""

    def attempt() -> None:
        with durable("source.setup", " ".join(statement.split()[:2]).lower()):
            connection.execute(statement)

    persist(run, connection, tables, attempt, doing, _ANY)


def persist(
    run: Run,
    connection: Connection,
    tables: list[Table],
    attempt: Callable[[], None],
    doing: str,
    conflicting: list[str],
) -> None:
    """Repeat `attempt` while it fails for a lock that somebody else holds, and tell the operator who that is.

    No `tables` means any table. The sessions that `attempt` uses must have a lock_timeout.
    Raises what `Control` raises, or the translated error of any other failure. `connection` must be usable again after
    a failed attempt; it is also asked who holds the locks.
    """
    tries = 0
    while True:
        run.ports.control.check()
        try:
            attempt()
        except psycopg.Error as error:
            run.ports.control.check()
            if error.sqlstate != _LOCK_NOT_AVAILABLE:
                raise translate(error, Side.SOURCE, doing) from error
        else:
            return
        tries += 1
        if tries in (2, 10) or tries % 40 == 0:
            run.ports.store.event(
                "warning",
                "SRC-LOCKED",
                say("Waiting for a lock on the source ({doing})", doing=doing) + _who(connection, tables, conflicting),
            )
        run.ports.control.sleep(min(0.5 * 2**tries, _LONGEST_WAIT_SECONDS))


def _who(connection: Connection, tables: list[Table], modes: list[str]) -> Sentence:
    try:
        oids = [table.oid for table in tables]
        rows = connection.execute(_HOLDERS, (oids, oids, modes)).fetchall()
    except psycopg.Error as error:
        raise ConnectionLost(say("Lost the connection to the source while asking who holds a lock.")) from error
    held = listing(
        say("PID {pid}, user {user}, {age}", pid=pid, user=user, age=age(seconds)) for pid, user, seconds in rows
    )
    return say(": held by {names}.", names=held) if rows else verbatim(".")


def age(seconds: object) -> str:
    """Return an age in words, such as `2 h 10 min`."""
    total = int(str(seconds)) if seconds is not None else 0
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min"
    return f"{total // 3600} h {total % 3600 // 60} min"
