"""Runs entries of a schema archive on the target: many at once while all goes well, one by one where something fails.

A chunk of entries is one statement string, so the server runs it as one transaction with one answer. Only when a chunk
fails are its entries run one by one, to find the one to blame; then a failure is either fatal or listed, by its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg

from .archive import Archive
from .causes import RIGHT, UNKNOWN, Cause, cause_of, refusal
from .connect import Connection, first_line, translate
from .errors import TargetError
from .failpoints import durable
from .mapping import renaming_of
from .names import qualified, quote
from .older_words import for_target, without_leakproof
from .outcome import Run
from .owners import has_own_owner, may_own, owner_text, owner_text_with_right
from .plan import DatabasePlan, Side
from .ports import EntryState, Note
from .secret_options import shown_sql, without_secrets
from .target_objects import claim, creates, made_after_keys, some
from .toc import PRE_DATA, Entry
from .values import frozen
from .wording import NOTHING, Sentence, count, say, together

CHUNK_ENTRIES = 500  # each table of a transaction costs several locks; the server's default table holds some 6,400
_CHUNK_BYTES = 1 << 20
# Without these the copied data has no place, or not its shape.
_FATAL = frozenset(
    {
        "TABLE",
        "TABLE ATTACH",
        "TYPE",
        "SHELL TYPE",
        "DOMAIN",
        "SEQUENCE",
        "SEQUENCE OWNED BY",
        "SCHEMA",
        "DEFAULT",
        "CONSTRAINT",
        "CHECK CONSTRAINT",
    }
)
# Hold no rows, nor does what hangs on them when they were refused: a default of a view, a foreign table as a partition.
_WITHOUT_ROWS = frozenset({"VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"})
_HANGING = frozenset({"DEFAULT", "TABLE ATTACH"})
_ALREADY_THERE = ("42710", "42P07", "42P16", "42723", "42P06")
_NOT_ALLOWED = "42501"
_WITH_PATH, _WITHOUT_PATH = b"SET LOCAL search_path = ", b"\nSET LOCAL search_path = '';"
_NAME_NOT_FOUND = ("42883", "42P01", "42704", "3F000")


@frozen
class Failure:
    """An entry that the target refused, and the server's words."""

    entry: Entry
    words: Sentence
    """What kind of refusal it is, what the server said, and the SQLSTATE."""
    cause: Cause = UNKNOWN


class Refused(TargetError):
    """The target refuses what the rows cannot do without. `failures` are all of them, `others` depend on those."""

    def __init__(self, failures: list[Failure], others: int = 0) -> None:
        listed = _listed(failures)
        text = say("The target refused {names}", names=listed)
        if len(failures) > 1:
            text = say("The target refused {number} objects: {names}", number=len(failures), names=listed)
        more = say("; {number} more depend on them", number=others) if others else NOTHING
        hints = dict.fromkeys(one.cause.hint for one in failures[:5])
        super().__init__(
            text + more,
            hint=together([*hints, say("Or leave what needs it out of the selection.")]),
            code="DST-SCHEMA",
        )
        self.failures = failures


def _listed(failures: list[Failure]) -> Sentence:
    return some(say("{label}: {words}", label=one.entry.label, words=one.words) for one in failures)


@frozen
class Manner:
    """How a list of entries is run. `repeatable`: what is there already is ours, and counts as done."""

    is_fatal: Callable[[Entry], bool] = lambda entry: entry.type in _FATAL
    text: Callable[[Entry], bytes] = lambda entry: entry.definition
    repeatable: bool = False
    progress: Callable[[int], None] = lambda count: None


def run_entries(run: Run, connection: Connection, entries: list[Entry], manner: Manner) -> list[Failure]:
    """Run entries in order on an autocommit session and return those that failed without being fatal.

    An entry that fails does not hold up the others. Raises Refused, which names every fatal failure, when all have been
    tried; ConnectionLost, or what `Control.check` raises.
    """
    failures: list[Failure] = []
    fatal: list[Failure] = []
    missing: set[int] = set()
    spared: set[int] = set()
    for chunk in _chunks(entries):
        run.ports.control.check()
        if missing.isdisjoint(on for entry in chunk for on in entry.depends_on):
            try:
                with durable("target.entry", chunk[0].type):
                    connection.execute(b"\n".join(_text(connection, entry, manner) for entry in chunk))
                manner.progress(len(chunk))
                continue
            except psycopg.Error as error:
                raise_unless_refused(run, error, say("restoring the schema"))
        for entry in chunk:
            if not missing.isdisjoint(entry.depends_on):
                missing.add(entry.dump_id)  # it could only be refused for the same reason
                continue
            one = manner if spared.isdisjoint(entry.depends_on) else replace(manner, is_fatal=_of_rows)
            try:
                if failure := run_one(run, connection, entry, one):
                    failures.append(failure)
                    spared |= {entry.dump_id} if entry.type in _WITHOUT_ROWS else set()
            except Refused as refused:
                fatal += refused.failures
                missing.add(entry.dump_id)
        manner.progress(len(chunk))
    if fatal:
        raise Refused(fatal, others=len(missing) - len(fatal))
    return failures


def _of_rows(entry: Entry) -> bool:
    """Say whether the rows need an entry although it needs something that holds none and was refused."""
    return entry.type in _FATAL - _HANGING


def run_one(run: Run, connection: Connection, entry: Entry, manner: Manner) -> Failure | None:
    """Run one entry as a transaction of its own; return the failure when it is not fatal.

    A definition that finds a name only by the usual search path is tried once more with schema `public` on it, and a
    function that is LEAKPROOF without that, which the comparison of structures tells.
    """
    run.ports.control.check()
    text = _text(connection, entry, manner)
    try:
        with durable("target.entry", entry.type):
            connection.execute(text)
        return None
    except psycopg.Error as error:
        raise_unless_refused(run, error, say("restoring {label}", label=entry.label))
        first = error
    if manner.repeatable and first.sqlstate in _ALREADY_THERE:
        return None
    if run_otherwise(run, connection, entry, text, first):
        return None
    failure = failed(entry, first)
    if manner.is_fatal(entry):
        raise Refused([failure]) from first
    return failure


def run_otherwise(run: Run, connection: Connection, entry: Entry, text: bytes, error: psycopg.Error) -> bool:
    """Try what `run_one` does with a definition (`text`) that the target has refused with this error: one change of it,
    or both. Say whether one was taken.

    Each try is a transaction of its own, or a savepoint within one, in which the search path stays as it was.
    """
    while (other := _other_text(run, connection, entry, text, error.sqlstate)) is not None:
        text = other
        try:
            with durable("target.entry", entry.type), connection.transaction():
                connection.execute(text)
            return True
        except psycopg.Error as refused:
            raise_unless_refused(run, refused, say("restoring {label}", label=entry.label))
            error = refused
    return False


def _other_text(run: Run, connection: Connection, entry: Entry, text: bytes, sqlstate: str | None) -> bytes | None:
    """Return what to try instead of a definition that the target has refused; None for what was tried already."""
    if sqlstate in _NAME_NOT_FOUND and entry.type != "TABLE" and not text.startswith(_WITH_PATH):
        return _WITH_PATH + _usual_schema(run, connection) + b";\n" + text + _WITHOUT_PATH
    return without_leakproof(entry.type, text) if sqlstate == _NOT_ALLOWED else None


def _text(connection: Connection, entry: Entry, manner: Manner) -> bytes:
    return for_target(entry.type, manner.text(entry), connection.info.server_version)


def failed(entry: Entry, error: psycopg.Error) -> Failure:
    """Return the failure of an entry, by what the server said."""
    cause = cause_of(error.sqlstate or "", entry.type)
    return Failure(entry=entry, words=refusal(cause.label, first_line(error), error.sqlstate), cause=cause)


def _usual_schema(run: Run, connection: Connection) -> bytes:
    """Return what stands for the source's `public` in the session's database."""
    renamings = [
        renaming_of(run, database) for database in run.databases() if database.target_name == connection.info.dbname
    ]
    return quote(renamings[0].schema("public") if renamings else "public").encode()


def raise_unless_refused(run: Run, error: psycopg.Error, doing: str) -> None:
    """Raise when the error says nothing about the entry: we must stop, the session is lost, the target has no room."""
    run.ports.control.check()
    problem = translate(error, Side.TARGET, doing)
    if problem.retryable or problem.code in ("DST-FULL", "DST-LIMIT", "DST-READONLY"):
        raise problem from error


def _chunks(entries: list[Entry]) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    size = 0
    for entry in entries:
        if chunk and (len(chunk) >= CHUNK_ENTRIES or size + len(entry.definition) > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += len(entry.definition)
    if chunk:
        yield chunk


def restore_pre_data(run: Run, database: DatabasePlan, archive: Archive) -> None:
    """Make schemas, types, functions, tables, sequences and views on the target, and give them their owners.

    Everything is written in the ledger first. Starts from nothing: `clear_for_restore` goes before. Raises
    ConflictError when something is in the way, TargetError when the target refuses what the data needs.
    """
    with run.sessions.session(Side.TARGET, database.target_name, synchronous_commit="off") as connection:
        connection.execute(archive.setup or b"SELECT 1")
        later = [entry for entry in archive.entries if made_after_keys(entry) or entry.type == "EVENT TRIGGER"]
        sets = {"along": archive.along, "bare": archive.bare}
        entries = claim(run, database, connection, archive.section(PRE_DATA), later, **sets)
        _report_storage(run, entries)
        done = 0

        def progress(count: int) -> None:
            nonlocal done
            done += count
            run.ports.store.step_progress(
                done, len(entries), say("{done} of {number} objects", done=done, number=len(entries))
            )

        try:
            failures = run_entries(run, connection, entries, Manner(text=entry_text, progress=progress))
        except Refused as refused:
            remember(run, database, refused.failures)
            run.ports.store.save_notes(database.source_name, 0, [_note(database, one) for one in refused.failures])
            raise
        remember(run, database, failures)
        set_owners(run, connection, entries)
        make_durable(connection)


def entry_text(entry: Entry) -> bytes:
    """Return the entry's SQL; a table's access method is a setting, not a part of its definition."""
    if entry.type == "USER MAPPING":
        return without_secrets(entry.definition)
    if entry.type == "SCHEMA":
        return b"CREATE SCHEMA " + quote(entry.tag).encode() + b";"  # the dump of `public` says nothing
    method = quote(entry.access_method).encode()
    if entry.relkind == "p" and entry.access_method:  # holds no rows itself, and takes one only by a statement
        table = qualified(entry.schema, entry.tag).encode()
        return entry.definition + b"\nALTER TABLE ONLY " + table + b" SET ACCESS METHOD " + method + b";"
    if entry.access_method in ("", "heap"):
        return entry.definition
    reset = b"\nSET LOCAL default_table_access_method = heap;"
    return b"SET LOCAL default_table_access_method = " + method + b";\n" + entry.definition + reset


def _report_storage(run: Run, entries: list[Entry]) -> None:
    moved = sorted({entry.tablespace for entry in entries if entry.tablespace})
    if moved:
        run.ports.store.event(
            "info",
            "SCHEMA-TABLESPACE",
            say(
                "Objects of the tablespaces {names} go to the default tablespace of the target database.",
                names=some(moved),
            ),
        )


def remember(run: Run, database: DatabasePlan, failures: list[Failure]) -> None:
    """Store the entries that failed, and tell the operator once."""
    if not failures:
        return
    run.ports.store.save_entries(*(entry_state(database, it.entry, error=it.words) for it in failures))
    run.ports.store.event(
        "warning",
        "SCHEMA-REFUSED",
        say(
            "The target refused {number} of database {target_name}: {names}.",
            number=count(len(failures), "{number} object", "{number} objects"),
            target_name=database.target_name,
            names=_listed(failures),
        ),
        objects=[{"object": it.entry.label, "error": it.words} for it in failures[:500]],
    )


def _note(database: DatabasePlan, failure: Failure) -> Note:
    entry = failure.entry
    return Note(
        database=database.source_name,
        kind=entry.type.lower(),
        schema=entry.schema,
        name=entry.tag,
        what=together([say("refused by the target, and the rows cannot do without it."), failure.cause.hint]),
        statement=shown_sql(entry),
        words=failure.words,
    )


def entry_state(database: DatabasePlan, entry: Entry, *, error: str = "") -> EntryState:
    """Return what is stored about an entry: done when `error` is empty."""
    return EntryState(
        database=database.source_name,
        dump_id=entry.dump_id,
        section=entry.section,
        type=entry.type,
        schema=entry.schema,
        name=entry.tag,
        done=not error,
        error=error,
    )


def set_owners(run: Run, connection: Connection, entries: list[Entry]) -> None:
    """Give restored objects to the roles that own them on the source, where such a role exists and we may.

    Runs before any data: index expressions, checks and refreshes of an object run with its owner's rights, and should
    not run with ours. What stays ours is reported once. Idempotent.
    """
    possible = may_own(connection)
    tables = {entry.dump_id for entry in entries if entry.type == "TABLE"}
    owned = [entry for entry in entries if creates(entry) and entry.owner and has_own_owner(entry, tables)]
    failures = run_entries(
        run,
        connection,
        [entry for entry in owned if entry.owner in possible],
        Manner(is_fatal=lambda entry: False, text=owner_text),
    )
    refused = [one.entry for one in failures if one.cause is RIGHT and one.entry.schema]
    failures = [one for one in failures if one.entry not in refused]
    failures += run_entries(run, connection, refused, Manner(is_fatal=lambda entry: False, text=owner_text_with_right))
    me = connection.info.user
    missing = sorted({entry.owner for entry in owned} - possible - {me})
    if missing or failures:
        number = len(failures) + sum(entry.owner in missing for entry in owned)
        why = (
            say("no role of the target that we may act for is called {names}", names=some(missing))
            if missing
            else failures[0].words
        )
        run.ports.store.event(
            "warning",
            "SCHEMA-OWNER",
            say(
                "On the target, {me} owns {number}: {why}.",
                number=count(number, "{number} object", "{number} objects"),
                me=me,
                why=why,
            ),
        )


@durable("target.flush")
def make_durable(connection: Connection) -> None:
    """Flush what earlier commits of this server wrote without waiting. A target crash could undo them otherwise.

    A commit that has written nothing does not wait for the disk either: so something is written that leaves no trace.
    Raises EngineError when that fails.
    """
    try:
        connection.execute("SET synchronous_commit = on")
        try:
            connection.execute("SELECT pg_catalog.pg_logical_emit_message(true, 'towpath', '')")
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction):
            connection.execute("SELECT pg_catalog.lo_unlink(pg_catalog.lo_create(0))")
    except psycopg.Error as error:
        raise translate(error, Side.TARGET, say("flushing its log")) from error
