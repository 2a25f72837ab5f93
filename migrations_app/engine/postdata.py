"""What is made on the target after the rows: keys between tables, triggers, rules, contents of views, rights.

`build_table` is called by the copy for each finished table, `restore_rest` by the index step. `restore_deferred` is
called by Complete, for what must not stand while changes are applied.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import psycopg

from . import source_items
from .analyzing import analyze, analyze_matviews, analyze_parents
from .archive import Archive, archive_of_all, open_archive
from .connect import Connection, end_older_sessions, first_line
from .extension_comments import carry_extension_comments
from .extension_rows import carry_extension_rows
from .failpoints import durable
from .foreign_keys import in_parallel, of_one_moment, restore_foreign_keys
from .indexes import build_missing, build_settings, build_table, dropped_tables
from .late import comments_on_late, prove_checks, put_back_checks
from .mapping import renaming_of
from .names import qualified
from .native import forms_text, zone_text
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import FINE, Kind
from .replica_identity import identity_was
from .restore import (
    Failure,
    Manner,
    entry_state,
    make_durable,
    raise_unless_refused,
    remember,
    run_entries,
    run_one,
    set_owners,
)
from .rights import restore_rights
from .row_security import binding
from .sequences import OwnSequences, carry_over, closed_sequences, list_sequences, with_states
from .settings_for_all import restore_for_all
from .silencing import quiet_events
from .target_database import restore_settings
from .target_objects import made_after_keys, record, some
from .toc import POST_DATA, PRE_DATA, Entry
from .unmoved import TableName
from .untouched import but_untouched, leave_untouched
from .wording import count, say, together

__all__ = ["build_table", "refresh_matviews", "restore_deferred", "restore_rest"]

_LISTED = Manner(is_fatal=lambda entry: False, repeatable=True)
_BUILT_BY_TABLE = frozenset({"INDEX", "CONSTRAINT", "STATISTICS"})
# Act on rows: they must not see the changes that the sync applies, unless the session's role keeps them quiet.
_ACTIVE = frozenset({"FK CONSTRAINT", "TRIGGER", "RULE"})
# Would keep us or our changes out of the tables; they matter to people, who come after Complete.
_ACCESS = frozenset({"ROW SECURITY", "POLICY", "DEFAULT ACL", "EVENT TRIGGER"})
_STAGES = 7


def restore_rest(run: Run, database: DatabasePlan) -> None:
    """Make everything after the rows that may stand now, and look again at what `build_table` made. Idempotent.

    Raises TargetError when a key cannot be built; anything else that the target refuses is listed in an event.
    """
    archive = open_archive(run, database)
    with run.sessions.session(Side.TARGET, database.target_name, synchronous_commit="off") as connection:
        end_older_sessions(connection, run.plan.key, run.plan.epoch, strict=Side.TARGET)
        archive, theirs = leave_untouched(run, database, connection, archive)
        connection.execute(archive.setup + build_settings(run, database, connection))
        _stage(run, database, 0, say("views"))
        _retry_failed(run, database, connection, archive)
        _stage(run, database, 1, say("indexes"))
        _build_late(run, database, archive)
        keys, dropped = _indexes(archive, of_matviews=False), dropped_tables(run, database, archive)
        remember(run, database, build_missing(run, connection, archive, keys, dropped=dropped))
        _restore_plain(run, database, connection, theirs, _plain(archive), archive.of_type("STATISTICS"))
        if not run.plan.incremental:
            put_back_checks(run, database, connection, archive)
        carry_extension_rows(run, database)
        _stage(run, database, 2, say("statistics of partitioned tables"))
        analyze_parents(run, database, connection, archive)
        _stage(run, database, 3, say("foreign keys, triggers and rules"))
        if not _defers_active(run, database):
            _restore_active(run, database, connection, archive, prove=not _waits_for_sync(run, database))
        prove_checks(run, database, connection, archive)
        if not run.plan.incremental:
            _restore_access(run, database, connection, archive, theirs)
        _stage(run, database, 4, say("materialized views"))
        refresh_matviews(run, database, connection=connection, only_empty=True)
        remember(run, database, build_missing(run, connection, archive, _indexes(archive, of_matviews=True)))
        analyze_matviews(run, database, connection, archive)
        _stage(run, database, 5, say("comments and rights"))
        comments = _comments(run, database, archive, theirs)
        remember(run, database, run_entries(run, connection, comments, _LISTED))
        carry_extension_comments(run, database, connection)
        _stage(run, database, 6, say("sequences"))
        set_sequences(run, database, connection, archive)
        _restore_identities(run, database, connection)
        make_durable(connection)


def restore_deferred(run: Run, database: DatabasePlan) -> None:
    """Make what had to wait for the end of the sync: rights, policies, checks that were put off, the proof of foreign
    keys between tables of different moments, and where the target account may not silence them, foreign keys, triggers
    and rules. Idempotent; refusals are listed in events."""
    archive = archive_of_all(run, database)
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        archive, theirs = leave_untouched(run, database, connection, archive)
        connection.execute(archive.setup + zone_text(run, database, connection))
        quiet_events(connection)
        _retry_failed(run, database, connection, archive)
        _restore_active(run, database, connection, archive)
        put_back_checks(run, database, connection, archive)
        prove_checks(run, database, connection, archive)
        _restore_access(run, database, connection, archive, theirs)
        comments = _comments(run, database, archive, theirs, everything=True)
        remember(run, database, run_entries(run, connection, comments, _LISTED))


def restore_added(run: Run, database: DatabasePlan, archive: Archive, tables: Collection[int]) -> None:
    """Make what hangs on tables that were added later, as far as it may stand during the sync. Idempotent.

    `tables`: their oids on the source; their rows are there, and the indexes of those that hold rows. Raises
    TargetError when a key cannot be built; anything else that the target refuses is listed in an event.
    """
    ids = hanging_on(archive, tables)

    def of_them(entries: list[Entry]) -> list[Entry]:
        return [entry for entry in entries if entry.dump_id in ids]

    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        archive, theirs = leave_untouched(run, database, connection, archive)
        connection.execute(archive.setup + build_settings(run, database, connection))
        indexes = of_them(_indexes(archive, of_matviews=False))
        remember(run, database, build_missing(run, connection, archive, indexes))
        plain, statistics = of_them(_plain(archive)), of_them(archive.of_type("STATISTICS"))
        _restore_plain(run, database, connection, theirs, plain, statistics)
        places = {(entry.schema, entry.tag) for entry in archive.of_type("TABLE") if entry.oid in tables}
        prove_checks(run, database, connection, archive, places)
        if not _defers_active(run, database):
            remember(run, database, run_entries(run, connection, of_them(_triggers_and_rules(archive)), _LISTED))
            restore_foreign_keys(run, database, connection, archive, prove=False)
        comments = of_them(_comments(run, database, archive, theirs))
        remember(run, database, run_entries(run, connection, comments, _LISTED))
        _restore_identities(run, database, connection)


def hanging_on(archive: Archive, tables: Collection[int]) -> set[int]:
    """Return the dump ids of tables (their oids on the source) and of everything that hangs on them."""
    found: set[int] = set()
    for entry in sorted(archive.entries, key=lambda one: one.section == POST_DATA or one.type in ("COMMENT", "ACL")):
        if (entry.type == "TABLE" and entry.oid in tables) or not found.isdisjoint(entry.depends_on):
            found.add(entry.dump_id)
    return found


def _stage(run: Run, database: DatabasePlan, number: int, note: str) -> None:
    run.ports.control.check()
    at = [known.source_name for known in run.databases()].index(database.source_name)
    run.ports.store.step_progress(
        at * _STAGES + number,
        len(run.databases()) * _STAGES,
        say("{target_name}: {note}", target_name=database.target_name, note=note),
    )


def _waits_for_sync(run: Run, database: DatabasePlan) -> bool:
    """Say whether the rows fit together only when the sync has brought all tables to one moment."""
    return run.plan.incremental and not of_one_moment(run, database)


def _defers_active(run: Run, database: DatabasePlan) -> bool:
    return run.plan.incremental and not run.ports.store.database(database.source_name).replica_role


def _retry_failed(run: Run, database: DatabasePlan, connection: Connection, archive: Archive) -> None:
    """Try once more what the target refused before the rows came: a view may only have missed another object."""
    states = run.ports.store.entries(database.source_name).values()
    known = {(state.type, state.schema, state.name): state for state in states if not state.done}
    waiting = [entry for entry in archive.section(PRE_DATA) if (entry.type, entry.schema, entry.tag) in known]
    made = [entry for entry in waiting if run_one(run, connection, entry, _LISTED) is None]
    set_owners(run, connection, made)
    done = (known[entry.type, entry.schema, entry.tag] for entry in made)  # a later archive has other numbers
    run.ports.store.save_entries(*(replace(state, done=True, error="") for state in done))


def _indexes(archive: Archive, *, of_matviews: bool) -> list[Entry]:
    found = [entry for entry in archive.section(POST_DATA) if entry.type in _BUILT_BY_TABLE]
    return [
        entry for entry in found if ((place := archive.place(entry)) is not None and place.kind == "m") == of_matviews
    ]


def _is_active(entry: Entry) -> bool:
    # A view that needs another one in a circle comes as a rule entry too; it acts on nothing.
    return entry.type in _ACTIVE and not entry.definition.startswith(b"CREATE OR REPLACE VIEW")


def _triggers_and_rules(archive: Archive) -> list[Entry]:
    """Return those that act on rows. The states of triggers that partitions have from the whole table come last: a dump
    does not know on which trigger further up they depend."""
    found = [entry for entry in archive.section(POST_DATA) if _is_active(entry) and entry.type != "FK CONSTRAINT"]
    return sorted(found, key=lambda one: one.type == "TRIGGER" and one.definition.lstrip().startswith(b"ALTER "))


def _plain(archive: Archive) -> list[Entry]:
    """Return the entries that neither act on rows nor guard access, such as attachments of partition indexes."""
    return [
        entry
        for entry in archive.section(POST_DATA)
        if entry.type not in _BUILT_BY_TABLE and entry.type not in _ACCESS and not _is_active(entry)
    ]


def _restore_plain(
    run: Run,
    database: DatabasePlan,
    connection: Connection,
    theirs: set[int],
    entries: list[Entry],
    statistics: list[Entry],
) -> None:
    """Make what needed the keys of tables, such as views that group by one, and give it and statistics their owners.

    `theirs`: dump ids of what others had made on the target before (see `kept`). It stays as it is.
    """
    entries = [one for one in entries if not (made_after_keys(one) and one.dump_id in theirs)]
    made = [entry for entry in entries if made_after_keys(entry)]
    record(run, database, made)
    failures = run_entries(run, connection, entries, _LISTED)
    remember(run, database, failures)
    refused = {failure.entry.dump_id for failure in failures}
    set_owners(run, connection, [*statistics, *(entry for entry in made if entry.dump_id not in refused)])


def _build_late(run: Run, database: DatabasePlan, archive: Archive) -> None:
    """Build what had to wait for the rows of all tables, several tables at once, and its statistics."""
    tables: dict[TableName, list[Entry]] = {}
    for entry in archive.entries:
        place = archive.place(entry)
        if place and place.kind == "r" and (entry.class_oid, entry.oid) in archive.late:
            tables.setdefault((place.schema, place.table), []).append(entry)

    def work(session: Connection, item: tuple[TableName, list[Entry]]) -> None:
        place, entries = item
        session.execute(archive.setup + build_settings(run, database, session))
        remember(run, database, build_missing(run, session, archive, entries, *place))
        analyze(run, session, *place)

    in_parallel(run, database, list(tables.items()), work)


def _restore_active(
    run: Run, database: DatabasePlan, connection: Connection, archive: Archive, *, prove: bool = True
) -> None:
    remember(run, database, run_entries(run, connection, _triggers_and_rules(archive), _LISTED))
    restore_foreign_keys(run, database, connection, archive, prove=prove)


def _restore_access(
    run: Run, database: DatabasePlan, connection: Connection, archive: Archive, theirs: set[int]
) -> None:
    last = binding(connection)  # nobody could compare these any more: see `row_security`
    entries = archive.of_type("ROW SECURITY", "POLICY")
    guards = [one for one in entries if one.type == "POLICY" or (one.schema, one.tag) not in last]
    remember(run, database, run_entries(run, connection, guards, _LISTED))
    restore_rights(run, database, connection, archive, theirs)
    restore_settings(run, database, connection, archive)
    if database == run.databases()[-1]:  # they would act on our sessions in the other ones
        restore_for_all(run, connection)


def _comments(
    run: Run, database: DatabasePlan, archive: Archive, theirs: set[int], *, everything: bool = False
) -> list[Entry]:
    """Return the comments on objects that stand by now, or on `everything`; what was there before keeps what it has."""
    waiting = theirs | {entry.dump_id for entry in archive.of_type("EVENT TRIGGER")}  # they come last, with their own
    if run.plan.incremental and not everything:
        defers = _defers_active(run, database)
        waiting |= {e.dump_id for e in archive.entries if e.type in _ACCESS or (defers and _is_active(e))}
        if _waits_for_sync(run, database):
            waiting |= {e.dump_id for e in archive.of_type("FK CONSTRAINT")}
        waiting |= comments_on_late(archive)
    comments = archive.of_type("COMMENT")
    return [one for one in comments if one.dump_id not in waiting and waiting.isdisjoint(one.depends_on)]


def refresh_matviews(
    run: Run, database: DatabasePlan, *, connection: Connection | None = None, only_empty: bool = False
) -> None:
    """Fill the materialized views that are filled on the source, in an order that respects views on views.

    With `only_empty` those that are filled already stay as they are. Runs with the rights of each view's owner. A
    refresh that fails is listed in an event.
    """
    if connection is None:
        with run.sessions.session(Side.TARGET, database.target_name) as session:
            quiet_events(session)
            refresh_matviews(run, database, connection=session, only_empty=only_empty)
        return
    archive = but_untouched(run, database, connection, open_archive(run, database))
    rows = connection.execute(
        "SELECT n.nspname, c.relname, c.relispopulated FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm'"
    ).fetchall()
    filled = {(str(row[0]), str(row[1])): bool(row[2]) for row in rows}
    wanted = [
        entry
        for entry in archive.of_type("MATERIALIZED VIEW")
        if (entry.schema, entry.tag) in archive.populated
        and entry.dump_id not in archive.untouched
        and not (only_empty and filled.get((entry.schema, entry.tag)))
    ]
    forms = forms_text(run, database, connection) if wanted else b""
    manner = Manner(is_fatal=lambda entry: False, text=lambda entry: forms + _refresh_text(entry))
    failures = [failure for entry in wanted if (failure := run_one(run, connection, entry, manner))]
    _report_refresh(run, database, failures)


def _refresh_text(entry: Entry) -> bytes:
    """Return the statement; it reads what its owner may see, as on the source: our sessions refuse row security."""
    statement = b"REFRESH MATERIALIZED VIEW " + qualified(entry.schema, entry.tag).encode() + b";"
    return b"SET LOCAL row_security = on;\n" + statement


def _report_refresh(run: Run, database: DatabasePlan, failures: list[Failure]) -> None:
    if failures:
        run.ports.store.save_entries(*(entry_state(database, it.entry, error=it.words) for it in failures))
        listed = some(
            say("{label}: {words}", label=f"{it.entry.schema}.{it.entry.tag}", words=it.words) for it in failures
        )
        run.ports.store.event(
            "warning",
            "MATVIEW-EMPTY",
            say(
                "{number} of {target_name} could not be filled: {names}.",
                number=count(len(failures), "{number} materialized view", "{number} materialized views"),
                target_name=database.target_name,
                names=listed,
            ),
        )


def set_sequences(run: Run, database: DatabasePlan, connection: Connection, archive: Archive) -> None:
    """Bring the restored sequences to where the source's are now. Complete does it again."""
    ours = {(entry.schema, entry.tag) for entry in archive.of_type("SEQUENCE")}
    if not ours:
        return
    try:
        with run.sessions.session(Side.SOURCE, database.source_name) as source:
            listed = [item for item in list_sequences(source) if archive.renaming.place(item.key) in ours]
            closed = closed_sequences(source)
            wanted = with_states(source, [item for item in listed if item.key not in closed])
    except psycopg.errors.InsufficientPrivilege as error:
        run.ports.store.event(
            "warning",
            "SEQUENCES-UNREAD",
            say("Sequences of the source cannot be read: {reason}", reason=first_line(error)),
        )
        return
    if refused := [".".join(item.key) for item in listed if item.key in closed]:
        text = say("Sequences of the source cannot be read: {reason}", reason=some(refused))
        run.ports.store.event("warning", "SEQUENCES-UNREAD", text)
    own = OwnSequences(run, database)
    verdicts = carry_over(wanted, connection, own, run.ports.control.check, archive.renaming)
    behind = [
        say("{label}: {words}", label=together([item.schema, item.name], "."), words=item.reason)
        for item in verdicts
        if item.verdict not in FINE
    ]
    if behind:
        run.ports.store.event(
            "warning", "SEQUENCES-BEHIND", say("Sequences that could not be set: {names}.", names=some(behind))
        )


def _restore_identities(run: Run, database: DatabasePlan, connection: Connection) -> None:
    """Give back the replica identity that a table had before we changed it on the source: the dump saw ours."""
    renaming = renaming_of(run, database)
    for item, place in source_items.in_task(run, database.source_name):
        identity = identity_was(item) if item.kind is Kind.REPLICA_IDENTITY else ""
        if not identity:
            continue
        table = qualified(*renaming.place(place))
        statement = f"ALTER TABLE {table} REPLICA IDENTITY {identity}"
        try:
            with durable("target.identity"):
                connection.execute(statement.encode())
        except psycopg.Error as error:
            raise_unless_refused(
                run, error, say("setting the replica identity of {schema}.{name}", schema=place[0], name=place[1])
            )
