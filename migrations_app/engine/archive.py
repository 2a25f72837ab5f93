"""The schema of one source database as a pg_dump archive on this worker, cut down to what the task selected.

The archive and its notes lie in the task's work folder. When they are missing, because another machine took the task
over, they are made again: the steps look at the target itself to see what is done, never at the archive.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import field
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import psycopg

from .catalog import Table, keys_without_rows, moving_tables, read_tables, selected_tables
from .choosing import choose, coming_along, of_whole_database
from .connect import Connection, translate
from .errors import SourceError
from .failpoints import durable
from .identity_types import read_types, with_own_type
from .late_checks import LateCheck, late_checks
from .layouts import arranged, layouts_of
from .mapping import leaves_any, renaming_of
from .names import TARGET_SCHEMA, qualified
from .newer_words import with_quoted_words
from .not_null_names import by_table, read_names, with_quoted_names
from .option_names import with_small_options
from .outcome import Run
from .pieces import dump_whole
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem
from .renamed_entries import Refused, rename_entries, rename_left
from .renaming import Renaming
from .sequences import unread_sequences
from .spread_keys import as_wholes, spread_keys
from .sql import query
from .toc import Entry, read_archive
from .values import frozen
from .wording import say

# What is not an object of the database, cannot be carried, or belongs to the server as a whole.
_NEVER = frozenset(
    {
        "ENCODING",
        "STDSTRINGS",
        "SEARCHPATH",
        "DATABASE",
        "DATABASE PROPERTIES",
        "PUBLICATION",
        "PUBLICATION TABLE",
        "PUBLICATION TABLES IN SCHEMA",
        "SUBSCRIPTION",
        "SUBSCRIPTION TABLE",
        "SECURITY LABEL",
    }
)
_POPULATED = (
    "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'm' AND c.relispopulated"
)
_OUR_TRIGGER = re.compile(r" towpath_[0-9a-f]+$")
_CONSTRAINT = 2606  # the oid of pg_constraint
_ON_ROWS = frozenset({"INDEX", "CONSTRAINT"})
_NEVER_TAGS = {"COMMENT": ("DATABASE ", "EXTENSION "), "ACL": ("DATABASE ",)}


@frozen
class Place:
    """The table that an index, a constraint or a statistics object belongs to, and its own bare name."""

    schema: str
    table: str
    kind: str  # r table, p partitioned root, m materialized view
    name: str


@frozen
class Archive:
    """The entries that the task restores, in an order in which they can be run, under the names of the target."""

    entries: tuple[Entry, ...]
    left_out: tuple[Entry, ...]
    """Entries that hang on tables which are not selected, and foreign keys to tables whose rows do not move."""
    refused: tuple[Refused, ...]
    """Entries that cannot be put under the names of the target."""
    renaming: Renaming = field(repr=False)
    about_database: tuple[Entry, ...]
    """Settings, rights and comment of the database itself: for a target database that we made."""
    setup: bytes
    """Settings of the dump's text that a restoring session needs."""
    places: dict[tuple[int, int], Place]
    populated: frozenset[tuple[str, str]]
    """Materialized views that hold rows on the source."""
    by_table: dict[tuple[str, str], tuple[Entry, ...]] = field(repr=False)
    """Entries of indexes, keys and statistics by (schema, table), but for the late ones."""
    late: frozenset[tuple[int, int]] = frozenset()
    """(catalog, oid) of indexes that must not be built before the rows of all tables are there: see `late`."""
    late_checks: tuple[LateCheck, ...] = ()
    along: frozenset[int] = frozenset()
    """Dump ids of what nobody has selected: it is made because it may be needed, and never in place of another."""
    untouched: frozenset[int] = frozenset()
    """Those of `along` that others have made on the target, where `untouched` has looked: nothing is done to them."""
    bare: frozenset[int] = frozenset()
    """Dump ids of selected tables whose rows do not move."""

    def section(self, section: str) -> list[Entry]:
        """Return the entries of `pre-data` or `post-data`."""
        return [entry for entry in self.entries if entry.section == section]

    def of_type(self, *types: str) -> list[Entry]:
        """Return the entries of these types, in order."""
        return [entry for entry in self.entries if entry.type in types]

    @cached_property
    def by_object(self) -> dict[tuple[int, int], Entry]:
        """The entry that makes an object of the source, by (catalog, oid)."""
        return {(one.class_oid, one.oid): one for one in reversed((*self.entries, *self._refused())) if one.oid}

    def _refused(self) -> tuple[Entry, ...]:
        return tuple(one.entry for one in self.refused)

    def place(self, entry: Entry) -> Place | None:
        """Return what the entry belongs to, if it is an index, a table constraint or a statistics object."""
        return self.places.get((entry.class_oid, entry.oid))


def open_archive(run: Run, database: DatabasePlan, *, fresh: bool = False) -> Archive:
    """Return the archive of a database; dump it first when it is missing, or when `fresh` is asked for.

    A dump runs under the snapshot in `run.snapshots` when one is open. Raises SourceError when pg_dump fails.
    """
    path = archive_path(run, database)
    notes = path.with_suffix(".json")
    if fresh or not (path.exists() and notes.exists()):
        _make(run, database, path, notes)
    stamp = path.stat()
    kept = frozenset(layouts_of(run, database).kept)
    return _load(path, notes, stamp.st_mtime_ns, stamp.st_size, renaming_of(run, database), kept)


def archive_of_all(run: Run, database: DatabasePlan) -> Archive:
    """Return the archive of a database with every table of the task that was restored from one.

    One that lies on this worker from before a table was added is dumped again. Raises as `open_archive`.
    """
    archive = open_archive(run, database)
    there = {(entry.schema, entry.tag) for entry in archive.of_type("TABLE")}
    items = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.TABLE})
    restored = {(one.schema, one.name) for one in items if one.detail.get("type") == "TABLE"}
    states = [state for state in run.ports.store.tables(database.source_name) if not state.set_aside]
    wanted = {archive.renaming.place((state.schema, state.name)) for state in states} & restored
    return archive if wanted <= there else open_archive(run, database, fresh=True)


def archive_path(run: Run, database: DatabasePlan) -> Path:
    """Return where the archive of this database lies on this worker."""
    number = [known.source_name for known in run.databases()].index(database.source_name)
    return run.plan.work_dir / f"schema-{run.plan.key}-{number}.dump"


def _make(run: Run, database: DatabasePlan, path: Path, notes: Path) -> None:
    run.plan.work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    notes.unlink(missing_ok=True)
    files = (path, notes)
    name = database.source_name
    run.ports.ledger.intend(
        *(LedgerItem(side=Side.SOURCE, database=name, kind=Kind.FILE, name=str(file)) for file in files)
    )
    snapshot = run.snapshots.get(name)
    try:
        if snapshot is not None:
            text = _dump(run, name, path, snapshot.holder, snapshot.export_id, snapshot.everything)
        else:
            with run.sessions.session(Side.SOURCE, name) as connection:
                text = _dump(run, name, path, connection, "", read_tables(connection, sizes=False))
    except SourceError:
        if snapshot is not None:
            snapshot.check()  # a lost snapshot is worth another try, a refused dump is not
        raise
    except psycopg.Error as error:
        run.ports.control.check()
        raise translate(error, Side.SOURCE, say("reading its catalog")) from error
    unfinished = notes.with_name(notes.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    with durable("local.archive"):
        unfinished.replace(notes)


def _dump(run: Run, name: str, path: Path, connection: Connection, snapshot_id: str, tables: list[Table]) -> str:
    """Dump to `path` and return the notes: which entries are kept, and what the archive itself does not tell.

    `tables`: what the source has at the moment of the dump.
    """
    selection = run.plan.selection
    layouts = layouts_of(run, next(one for one in run.databases() if one.source_name == name))
    tables = arranged(tables, layouts)
    new = _appeared_later(run, name, tables)
    whole = not leaves_any(selection, name) and not new and not layouts.gathered
    tables = [] if whole else tables
    wanted = {table.oid for table in selected_tables(tables, selection, name)} - new
    unreadable = [table for table in tables if table.oid not in wanted and not table.can_read]
    closed = [] if whole else unread_sequences(connection, run.plan.selection, name, wanted)
    exclude = (*(qualified(it.schema, it.name) for it in unreadable), *(qualified(*place) for _, place in closed))
    dump_whole(run, connection, name, snapshot_id, path, exclude)
    stamp = path.stat()
    entries = [entry for entry in _read(path, stamp.st_mtime_ns, stamp.st_size) if not _is_skipped(entry)]
    chosen = _Chosen(kept={entry.dump_id for entry in entries})
    if not whole:
        outside = [*(table.oid for table in unreadable), *(oid for oid, _ in closed)]
        chosen = _choose(run, name, connection, entries, tables, outside, new)
    places = connection.execute(query("entry_tables", connection.info.server_version)).fetchall()
    with connection.transaction(force_rollback=True):  # to write a definition locks its table until the end
        late = connection.execute(query("late_objects")).fetchall()
    return json.dumps(
        {
            "kept": sorted(chosen.kept),
            "along": sorted(chosen.along),
            "bare": sorted(chosen.bare),
            "places": list(map(list, places)),
            "populated": _populated(run, name, connection),
            "late": list(map(list, late)),
            "spread": list(map(list, spread_keys(connection))),
            "unquoted": read_names(connection),
            "types": read_types(connection),
            "version": connection.info.server_version,
        }
    )


@frozen
class _Chosen:
    """The entries of a dump that are restored, those of them that nobody has selected, and tables without rows."""

    kept: set[int]
    along: set[int] = field(default_factory=set)
    bare: set[int] = field(default_factory=set)


def _choose(
    run: Run,
    name: str,
    connection: Connection,
    entries: list[Entry],
    tables: list[Table],
    outside: list[int],
    new: set[int],
) -> _Chosen:
    """Choose the entries of a task that leaves out a part of the database, or tables that came later (`new`)."""
    selection = run.plan.selection
    wanted = {table.oid for table in selected_tables(tables, selection, name)} - new

    def is_wanted(entry: Entry) -> bool:
        if entry.type == "FOREIGN TABLE":
            return selection.includes(name, entry.schema, entry.tag)
        return entry.oid in wanted

    moving = [table for table in moving_tables(tables, selection, name) if table.oid not in new]
    keys = {(_CONSTRAINT, oid) for oid in keys_without_rows(connection, tables, moving)}
    wider = of_whole_database(entries, selection, name)
    kept = choose(entries, is_wanted, _hanging_on(connection, outside) | keys | wider)
    without_rows = wanted - {table.oid for table in moving}
    return _Chosen(
        kept=kept,
        along=coming_along(entries, kept, is_wanted, partial(selection.includes, name)),
        bare={entry.dump_id for entry in entries if entry.type == "TABLE" and entry.oid in without_rows},
    )


def _populated(run: Run, name: str, connection: Connection) -> list[list[object]]:
    """Return [schema, name] of the materialized views that are filled on the source and are to be on the target."""
    mode = run.plan.selection.mode
    found = connection.execute(_POPULATED.encode()).fetchall()
    return [[schema, view] for schema, view in found if mode(name, str(schema), str(view)) != "structure"]


def _appeared_later(run: Run, name: str, tables: list[Table]) -> set[int]:
    """Return the oids of tables that are no part of the task, because they came after its tables were listed."""
    if not run.ports.store.database(name).schema_done:
        return set()
    database = next(one for one in run.databases() if one.source_name == name)
    renaming = renaming_of(run, database)
    made = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.TABLE, Kind.ADOPTED})
    there = {(item.schema, item.name) for item in made}
    parents = {table.oid: table.parent_oid for table in tables if table.is_partition}
    known: set[int | None] = set()
    for state in run.ports.store.tables(name):
        oid: int | None = state.oid
        while oid is not None and oid not in known:
            known.add(oid)
            oid = parents.get(oid)
    return {
        table.oid
        for table in tables
        if table.oid not in known and renaming.place((table.schema, table.name)) not in there
    }


def _hanging_on(connection: Connection, outside: list[int]) -> set[tuple[int, int]]:
    """Return (catalog, oid) of what hangs on tables and sequences (oids) that are not in the dump, which the dump
    itself does not tell."""
    if not outside:
        return set()
    rows = connection.execute(query("hanging_on"), {"tables": outside}).fetchall()
    return {(int(str(row[0])), int(str(row[1]))) for row in rows}


def _is_about_database(entry: Entry) -> bool:
    return entry.type == "DATABASE PROPERTIES" or (
        entry.type in ("ACL", "COMMENT") and not entry.schema and entry.tag.startswith("DATABASE ")
    )


def _is_skipped(entry: Entry) -> bool:
    return entry.type in _NEVER or entry.tag.startswith(_NEVER_TAGS.get(entry.type, ("\x00",))) or _is_ours(entry)


def _is_ours(entry: Entry) -> bool:
    """Say whether a migration made this on the source, for as long as it runs."""
    if entry.type == "TRIGGER":
        return _OUR_TRIGGER.search(entry.tag) is not None
    return TARGET_SCHEMA in (entry.schema, entry.tag if entry.type == "SCHEMA" else "")


@lru_cache(maxsize=1)
def _read(path: Path, _modified: int, _size: int) -> tuple[Entry, ...]:
    """Read an archive that is looked at twice, when it has just been made, only once."""
    return tuple(read_archive(path))


@lru_cache(maxsize=8)
def _load(
    path: Path, notes: Path, modified: int, size: int, renaming: Renaming, as_they_are: frozenset[tuple[str, str]]
) -> Archive:
    """`as_they_are`: tables of the target whose indexes and keys stay what they are."""
    everything = _read(path, modified, size)
    known: dict[str, Any] = json.loads(notes.read_text(encoding="utf-8"))
    kept = set(known["kept"])
    setup = b"".join(entry.definition for entry in everything if entry.type == "STDSTRINGS")
    backslash = b"off" in setup
    if unquoted := by_table(known.get("unquoted", ())):
        everything = tuple(
            with_quoted_names(entry, unquoted, backslash=backslash) if entry.dump_id in kept else entry
            for entry in everything
        )
    everything = tuple(with_small_options(entry, backslash=backslash) for entry in everything)
    if version := int(known.get("version", 0)):
        everything = tuple(with_quoted_words(entry, version, backslash=backslash) for entry in everything)
    entries, refused = rename_entries([entry for entry in everything if entry.dump_id in kept], renaming, backslash)
    if types := dict(known.get("types", ())):
        entries = tuple(with_own_type(entry, types) for entry in entries)
    places = {
        (class_oid, oid): Place(schema=renaming.schema(schema), table=table, kind=kind, name=name)
        for class_oid, oid, schema, table, kind, name in known["places"]
    }
    late = frozenset((class_oid, oid) for kind, class_oid, oid, *_ in known.get("late", ()) if kind == "index")
    if as_they_are:
        there = {key for key, place in places.items() if (place.schema, place.table) in as_they_are}
        entries = tuple(one for one in entries if one.type not in _ON_ROWS or (one.class_oid, one.oid) not in there)
    if spread := known.get("spread"):
        entries = as_wholes(entries, [tuple(key) for key in spread], renaming)
    left = [entry for entry in everything if entry.dump_id not in kept and not _is_skipped(entry)]
    about = [entry for entry in everything if _is_about_database(entry)]
    return Archive(
        entries=entries,
        left_out=rename_left(left, renaming, backslash),
        refused=refused,
        renaming=renaming,
        about_database=rename_left(about, renaming, backslash),
        setup=setup,
        places=places,
        populated=frozenset((renaming.schema(schema), name) for schema, name in known["populated"]),
        by_table=_by_table([one for one in entries if (one.class_oid, one.oid) not in late], places),
        late=late,
        late_checks=late_checks(known.get("late", ()), renaming, version),
        along=frozenset(known.get("along", ())),
        bare=frozenset(known.get("bare", ())),
    )


def _by_table(
    entries: Sequence[Entry], places: dict[tuple[int, int], Place]
) -> dict[tuple[str, str], tuple[Entry, ...]]:
    found: dict[tuple[str, str], tuple[Entry, ...]] = {}
    for entry in entries:
        place = places.get((entry.class_oid, entry.oid))
        if place and place.kind != "m" and entry.type in ("INDEX", "CONSTRAINT", "STATISTICS"):
            key = (place.schema, place.table)
            found[key] = (*found.get(key, ()), entry)
    return found
