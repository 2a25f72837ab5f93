"""The database on the target: made when it is missing, with the encoding and the sort order of the source's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import psycopg

from .archive import Archive
from .causes import LIBRARY
from .connect import Connection, first_line, translate
from .errors import SourceError, TargetError
from .failpoints import durable
from .login_libraries import refused_at_login
from .mapping import renaming_of
from .names import literal, quote
from .outcome import Run
from .owners import may_own
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem
from .restore import Failure, entry_state
from .rights import run_statements, statements
from .target_objects import some
from .values import frozen
from .wording import count, say, template

_NAME = rb"""(?:"(?:[^"]|"")*"|[^\s";]+)"""
_ABOUT_DATABASE = re.compile(
    rb"(ALTER DATABASE (?="
    + _NAME
    + rb" SET )(?!"
    + _NAME
    + rb" SET TABLESPACE )|ALTER ROLE "
    + _NAME
    + rb" IN DATABASE "
    rb"|COMMENT ON DATABASE |(?:GRANT|REVOKE) [A-Z, ]+ ON DATABASE )" + _NAME
)
_SETTING = re.compile(rb' SET (?:"((?:[^"]|"")+)"|(\S+)) TO ')
_VALUE = re.compile(rb"(ALTER .*? SET .*? TO ).*", re.DOTALL)
_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
_PROVIDERS_SINCE = 150000
_RULES_SINCE = 160000
_PUBLIC_OWNER = (
    "SELECT pg_catalog.pg_get_userbyid(n.nspowner) FROM pg_catalog.pg_namespace n WHERE n.nspname = 'public'"
    " AND n.nspowner <> 10 AND pg_catalog.pg_get_userbyid(n.nspowner) <> 'pg_database_owner'"
)
LOCALE_REFUSED = frozenset({"22023", "42809", "0A000", "42704"})
"""SQLSTATEs of a CREATE DATABASE whose locale or provider the server does not have."""
_OWN_LOCALE = template(
    "The target does not have the locale of database {source_name} and uses its own for "
    "{target_name}: text may sort in another order. ({words})"
)
_OTHER_TYPES = template(
    "The target does not have the character types of database {source_name}: {target_name} has those of locale C, and"
    " sorts text as on the source. ({words})"
)
_BYTEWISE = template(
    "The target does not have the locale of database {source_name}, and its own does not fit the encoding:"
    " {target_name} has locale C, where text sorts by its bytes. ({words})"
)


@frozen
class _Clauses:
    """Clauses of CREATE DATABASE."""

    encoding: list[str]
    libc: list[str]
    provider: list[str]
    """Empty for libc's locales."""
    libc_only: list[str]
    """What keeps a template's provider away."""


def ensure_database(run: Run, database: DatabasePlan) -> None:
    """Make the target database unless it is there; one that we make is in the ledger first. Idempotent.

    When the target does not know the source's sort order, its own is used, or that of locale C where its own does not
    fit the encoding, and an event says so. Raises TargetError.
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


def own_like_source(run: Run, database: DatabasePlan) -> None:
    """Give a database that we made the owner of the source's, where that role exists and we may. Idempotent.

    The owner may then create in it, as on the source. What the target refuses is found by the structure comparison.
    """
    if not run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.DATABASE}):
        return
    text = (
        "SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database"
        " WHERE datname = pg_catalog.current_database()"
    )
    with run.sessions.session(Side.SOURCE, database.source_name) as source:
        row = source.execute(text).fetchone()
    owner = str(row[0]) if row else ""
    with run.sessions.session(Side.TARGET, database.target_name) as target:
        if owner in may_own(target):
            _hand_over(run, target, f"DATABASE {quote(database.target_name)}", owner)


def own_public_like_source(run: Run, database: DatabasePlan) -> None:
    """Give `public` of a database that we made its owner on the source, unless that is the usual one. Idempotent.

    What the target refuses is found by the structure comparison.
    """
    ours = bool(run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.DATABASE}))
    if not ours or renaming_of(run, database).schema("public") != "public":
        return
    with run.sessions.session(Side.SOURCE, database.source_name) as source:
        row = source.execute(_PUBLIC_OWNER).fetchone()
    if row is None:
        return
    owner = str(row[0])
    with run.sessions.session(Side.TARGET, database.target_name) as target:
        if owner in {*may_own(target), target.info.user}:
            _hand_over(run, target, "SCHEMA public", owner)


def _hand_over(run: Run, target: Connection, what: str, owner: str) -> None:
    try:
        with durable("target.database", "owner"):
            target.execute(f"ALTER {what} OWNER TO {quote(owner)}".encode())
    except psycopg.Error as error:
        run.ports.control.check()
        problem = translate(error, Side.TARGET, say("handing over a database"))
        if problem.retryable:
            raise problem from error


def _create(run: Run, database: DatabasePlan, connection: Connection, clauses: _Clauses) -> None:
    """Make the database in the first way that the target takes: as on the source, else with another locale."""
    words = ""
    for options, told in _ways(clauses):
        statement = f"CREATE DATABASE {quote(database.target_name)} TEMPLATE template0"
        try:
            with durable("target.database", "make"):
                connection.execute(" ".join([statement, *options]).encode())
        except psycopg.errors.DuplicateDatabase:
            return
        except psycopg.Error as error:
            problem = _refused(run, database, error)
            if error.sqlstate not in LOCALE_REFUSED:
                raise problem from error
            words = words or first_line(error)
            continue
        if told:
            names = {"source_name": database.source_name, "target_name": database.target_name}
            run.ports.store.event("warning", "DATABASE-LOCALE", say(told, words=words, **names))
        return
    raise problem


def _ways(clauses: _Clauses) -> Iterator[tuple[list[str], str]]:
    """Yield the clauses of CREATE DATABASE, and what is to be told when those before were refused."""
    bytewise = ["LC_COLLATE 'C'", "LC_CTYPE 'C'"]
    yield [*clauses.encoding, *clauses.libc, *clauses.provider], ""
    if clauses.provider:
        yield [*clauses.encoding, *bytewise, *clauses.provider], _OTHER_TYPES
    yield clauses.encoding, _OWN_LOCALE
    yield [*clauses.encoding, *bytewise, *clauses.libc_only], _BYTEWISE


def _refused(run: Run, database: DatabasePlan, error: psycopg.Error) -> Exception:
    run.ports.control.check()
    problem = translate(error, Side.TARGET, say("making a database"))
    if problem.retryable:
        return problem
    return TargetError(
        say(
            "The database {target_name} cannot be made on the target: {reason} ({sqlstate})",
            target_name=database.target_name,
            reason=first_line(error),
            sqlstate=error.sqlstate,
        ),
        hint=say("Give the target account the right CREATEDB, or make the database yourself and start again."),
        code="DST-DATABASE",
    )


def _options(run: Run, database: DatabasePlan, target_version: int) -> _Clauses:
    """Return the clauses of CREATE DATABASE that describe the source's."""
    with run.sessions.session(Side.SOURCE, database.source_name) as source:
        # Read through JSON: the columns of the locale differ from one major version to the next.
        row = source.execute(
            "SELECT pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,"
            " coalesce(pg_catalog.row_to_json(d) ->> 'datlocprovider', 'c'),"
            " coalesce(pg_catalog.row_to_json(d) ->> 'datlocale', pg_catalog.row_to_json(d) ->> 'daticulocale'),"
            " pg_catalog.row_to_json(d) ->> 'daticurules'"
            " FROM pg_catalog.pg_database d WHERE d.datname = current_database()"
        ).fetchone()
    if row is None:
        raise SourceError(
            say("The source does not describe its database {source_name}.", source_name=database.source_name)
        )
    encoding, collate, ctype, provider, locale, rules = (str(value or "") for value in row)
    provided: list[str] = []
    if provider != "c" and target_version >= _PROVIDERS_SINCE:
        provided = [
            f"LOCALE_PROVIDER {_PROVIDERS[provider]}",
            f"{'ICU' if provider == 'i' else 'BUILTIN'}_LOCALE {literal(locale)}",
        ]
        provided += [f"ICU_RULES {literal(rules)}"] if rules and target_version >= _RULES_SINCE else []
    libc_only = ["LOCALE_PROVIDER libc"] if target_version >= _PROVIDERS_SINCE else []
    # Without the word a server whose own databases are ICU's makes one of those, with the names that libc gave.
    kept = libc_only if provider == "c" else []
    return _Clauses(
        encoding=[f"ENCODING {literal(encoding)}"],
        libc=[f"LC_COLLATE {literal(collate)}", f"LC_CTYPE {literal(ctype)}", *kept],
        provider=provided,
        libc_only=libc_only,
    )


def restore_settings(run: Run, database: DatabasePlan, connection: Connection, archive: Archive) -> None:
    """Give a database that we made the settings, rights and comment of the source's; refusals are listed. Idempotent.

    So are settings with which nobody could log in to it any more: they are left out.
    The limit on connections comes last: see `connection_limit`. A database that was there before keeps what it has.
    """
    made_by_us = bool(run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.DATABASE}))
    failures: list[Failure] = []
    for entry in archive.about_database if made_by_us else ():
        texts = [retarget(text, database.target_name) for text in statements(entry.definition)]
        for text in filter(None, texts):
            if words := refused_at_login(run, connection, text):
                failures.append(Failure(entry=replace(entry, definition=text), words=words, cause=LIBRARY))
            else:
                failures += run_statements(run, connection, entry, [text])
    if failures:
        _remember(run, database, failures)
        listed = some(f"{_without_value(it.entry.definition)} ({it.words})" for it in failures)
        run.ports.store.event(
            "warning",
            "DATABASE-SETTINGS",
            say(
                "{number} of database {target_name} could not be restored: {names}.",
                number=count(len(failures), "{number} setting", "{number} settings"),
                target_name=database.target_name,
                names=listed,
            ),
        )


def _without_value(statement: bytes) -> str:
    """Return a statement for people. The value of a setting is left out: applications keep passwords in their own."""
    found = _VALUE.match(statement)
    return (found[1] + b"..." if found else statement).decode(errors="replace")


def _remember(run: Run, database: DatabasePlan, failures: list[Failure]) -> None:
    """Keep what the target said to each setting, a line each: the structure comparison tells it beside the setting."""
    lines: dict[int, list[str]] = defaultdict(list)
    for failure in failures:
        found = _SETTING.search(failure.entry.definition)
        name = (found[1].replace(b'""', b'"') if found[1] else found[2]).decode(errors="replace") if found else ""
        lines[failure.entry.dump_id].append(f"{name}: {failure.words}" if name else failure.words)
    entries = {failure.entry.dump_id: failure.entry for failure in failures}
    run.ports.store.save_entries(
        *(entry_state(database, entry, error="\n".join(lines[key])) for key, entry in entries.items())
    )


def retarget(statement: bytes, name: str) -> bytes:
    """Return a statement of the dump about the database with the target's name in it; empty if it is not for us."""
    found = _ABOUT_DATABASE.match(statement)
    if found is None:
        return b""
    return found[1] + quote(name).encode() + statement[found.end() :]
