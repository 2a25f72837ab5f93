"""The database on the target: made when it is missing, with the encoding and the sort order of the source's."""

from __future__ import annotations

import psycopg

from .connect import Connection, first_line, translate
from .errors import SourceError, TargetError
from .names import literal, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem

_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def ensure_database(run: Run, database: DatabasePlan) -> None:
    """Make the target database unless it is there; one that we make is in the ledger first. Idempotent.

    When the target does not know the source's sort order, its own is used and an event says so. Raises TargetError.
    """
    with run.sessions.session(Side.TARGET) as connection:
        found = connection.execute(
            "SELECT FROM pg_catalog.pg_database WHERE datname = %s", (database.target_name,)
        ).fetchone()
        if found is not None:
            return
        options = _options(run, database, connection.info.server_version)
        run.ports.ledger.intend(
            LedgerItem(side=Side.TARGET, database=database.target_name, kind=Kind.DATABASE, name=database.target_name)
        )
        _create(run, database, connection, options)


def _create(run: Run, database: DatabasePlan, connection: Connection, options: list[str]) -> None:
    statement = f"CREATE DATABASE {quote(database.target_name)} TEMPLATE template0"
    try:
        connection.execute(" ".join([statement, *options]).encode())
        return
    except psycopg.errors.DuplicateDatabase:
        return
    except psycopg.Error as error:
        problem = _refused(run, database, error)
        if error.sqlstate not in ("22023", "42809", "0A000", "42704"):
            raise problem from error
        words = first_line(error)
    try:
        connection.execute(" ".join([statement, *options[:1]]).encode())
    except psycopg.Error as error:
        raise _refused(run, database, error) from error
    run.ports.store.event(
        "warning",
        "DATABASE-LOCALE",
        f"The target does not have the locale of database {database.source_name!r} and uses its own for"
        f" {database.target_name!r}: text may sort in another order. ({words})",
    )


def _refused(run: Run, database: DatabasePlan, error: psycopg.Error) -> Exception:
    run.ports.control.check()
    problem = translate(error, Side.TARGET, "making a database")
    if problem.retryable:
        return problem
    return TargetError(
        f"The database {database.target_name!r} cannot be made on the target: {first_line(error)} ({error.sqlstate})",
        hint="Give the target account the right CREATEDB, or make the database yourself and start again.",
        code="DST-DATABASE",
    )


def _options(run: Run, database: DatabasePlan, target_version: int) -> list[str]:
    """Return the clauses of CREATE DATABASE: the encoding first, then the locale."""
    with run.sessions.session(Side.SOURCE, database.source_name) as source:
        # Read through JSON: the columns of the locale differ from one major version to the next.
        row = source.execute(
            "SELECT pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,"
            " coalesce(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c'),"
            " coalesce(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale')"
            " FROM pg_catalog.pg_database d WHERE d.datname = current_database()"
        ).fetchone()
    if row is None:
        raise SourceError(f"The source does not describe its database {database.source_name!r}.")
    encoding, collate, ctype, provider, locale = (str(value or "") for value in row)
    options = [f"ENCODING {literal(encoding)}", f"LC_COLLATE {literal(collate)}", f"LC_CTYPE {literal(ctype)}"]
    if provider != "c" and target_version >= 150000:
        options.append(f"LOCALE_PROVIDER {_PROVIDERS[provider]}")
        options.append(f"{'ICU' if provider == 'i' else 'BUILTIN'}_LOCALE {literal(locale)}")
    return options


def may_silence_triggers(connection: Connection) -> bool:
    """Say whether our target account may set session_replication_role, which keeps triggers and foreign keys quiet."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    except psycopg.Error as error:
        raise translate(error, Side.TARGET, "looking at our rights") from error
    return True
