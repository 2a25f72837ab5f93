"""The structure comparison of a run: what did not arrive on the target, or is not as on the source, and why.

Its notes never make a comparison of rows unequal: they are kept beside it, with the statement that would mend each one
and the server's own words where it refused that statement before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from typing import Any

import psycopg

from . import source_items
from .archive import Archive, open_archive
from .catalog import keys_without_rows, list_tables
from .causes import refusal_again
from .compare import bare_tables, tables_in_scope
from .comparing.further import with_further
from .comparing.own_account import without_own_rights
from .comparing.structure import ACCESS, ACTIVE, Compared, Difference, Scope, compare_things
from .comparing.things import Identity, Thing, Things, read_things
from .comparing.wording import printed_by
from .connect import Connection, translate
from .errors import EngineError
from .late import waiting_checks
from .layouts import arranged, layouts_of
from .mapping import leaves_any, renaming_of
from .mending import comment_entry, making_room, mending_statement, owner_statement
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import EntryState, Kind, LedgerItem, Note
from .refused_checks import CheckKey, RefusedCheck, refused_checks
from .replica_identity import identity_was
from .secret_options import shown_sql
from .target_objects import creates, existing, identity, some
from .toc import Entry
from .user_mappings import mapping_of, mapping_words
from .values import frozen
from .wording import NOTHING, Sentence, count, say, together, verbatim

_CONSTRAINT = 2606  # the oid of pg_constraint
_TOLD_BY_PARTS = frozenset({"ACL", "DEFAULT ACL", "COMMENT", "DATABASE PROPERTIES"})
_MOST_STATEMENTS = 50
_PARTITIONS_COUNT_SINCE = 170000
_PARTITIONS = (
    "SELECT n.nspname::text, c.relname::text, u.name"
    " FROM unnest(%s::text[], %s::text[], %s::text[]) u(schema, tab, name)"
    " CROSS JOIN LATERAL pg_catalog.pg_partition_tree(pg_catalog.to_regclass(format('%%I.%%I', u.schema, u.tab))) t"
    " JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE t.level > 0"
)
_STATES = frozenset({Kind.OBJECT, Kind.TRIGGER_STATE, Kind.IDENTITY_STATE})


@frozen(kw_only=False)
class _Refusals:
    """The archive, and what the target said to those of its entries that it refused."""

    archive: Archive | None
    states: Mapping[int, EntryState]
    mappings: Mapping[str, str]
    """What the target said to the secrets of user mappings, by their names."""
    checks: Mapping[CheckKey, RefusedCheck]

    def entry(self, thing: Thing) -> Entry | None:
        """Return the entry that makes a thing: also of what hangs on it, such as a column."""
        if self.archive is None:
            return None
        if thing.kind == "row security":
            rows = self.archive.of_type("ROW SECURITY")
            return next((one for one in rows if (one.schema, one.tag) == (thing.schema, thing.table)), None)
        if thing.kind == "user mapping":  # an archive does not say which
            mappings = ((one, mapping_of(one)) for one in self.archive.of_type("USER MAPPING"))
            return next((one for one, mapping in mappings if mapping and mapping.title == thing.name), None)
        return self.archive.by_object.get((thing.class_oid, thing.oid)) if thing.class_oid and thing.oid else None

    def of_checks(self, one: Difference) -> list[RefusedCheck]:
        """Return what the target refused of a check, or of the checks of a domain, when it was to come back."""
        thing = one.thing
        if thing.kind == "domain" and one.part not in ("owner", "comment", "privileges", "rights taken"):
            return [said for key, said in self.checks.items() if key[:3] == ("DOMAIN", thing.schema, thing.name)]
        at = ("TABLE", thing.schema, thing.table, thing.name)
        unfit = one.what.startswith(("missing", "not validated"))
        return [self.checks[at]] if thing.kind == "constraint" and unfit and at in self.checks else []

    def words(self, entry: Entry | None) -> Sentence:
        """Return what the target said when it refused the entry."""
        state = self.states.get(entry.dump_id) if entry else None
        same = state is not None and entry is not None and (state.type, state.name) == (entry.type, entry.tag)
        return refusal_again(state.error) if state and same and not state.done else NOTHING

    def words_on_setting(self, setting: str) -> Sentence:
        """Return what the target said when it refused a setting of the database."""
        lines = (line for one in self.states.values() if not one.done for line in one.error.splitlines())
        words = (line.removeprefix(start) for line in lines if line.startswith(start := f"{setting}: "))
        return verbatim("; ".join(words))

    def words_on_grants(self, entry: Entry | None) -> Sentence:
        """Return what the target said when it refused grants on an object or its columns, the same only once."""
        if self.archive is None or entry is None:
            return NOTHING
        grants = (one for one in self.archive.of_type("ACL") if entry.dump_id in one.depends_on)
        return together(dict.fromkeys(words for one in grants if (words := self.words(one))), "; ")


def look_at_structure(run: Run, database: DatabasePlan, *, final: bool = False) -> list[Note]:
    """Compare the structures of one database, store the notes and tell them in the task's history; returns them.

    `final`: Complete has made everything, so nothing waits any more. Changes nothing on either server. Raises
    EngineError only when a server cannot be reached: what a server refuses to show becomes a note, beside what the
    target refused to make.
    """
    name = database.source_name
    ours = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.TABLE, Kind.OBJECT})
    entries = run.ports.store.entries(name)
    refusals = _Refusals(_archive(run, database), entries, mapping_words(ours), refused_checks(ours))
    try:
        return _compare(run, database, refusals, final=final)
    except EngineError as error:
        if error.retryable:
            raise
        what = say("could not be compared: {words}", words=error.message)
    notes = [Note(database=name, kind="structure", name=name, what=what), *_refused(name, refusals, set(), None)]
    run.ports.store.save_notes(name, 0, notes)
    run.ports.store.event("warning", "STRUCTURE-NOTES", say("{name}: the structure {what}", name=name, what=what))
    return notes


def _compare(run: Run, database: DatabasePlan, refusals: _Refusals, *, final: bool) -> list[Note]:
    side = Side.SOURCE
    try:
        with (
            run.sessions.session(side, database.source_name) as source,
            run.sessions.session(Side.TARGET, database.target_name) as target,
            run.sessions.session(Side.TARGET, database.target_name) as printing,
        ):
            scope = _scope(run, database, source, refusals.archive, final=final)
            side = Side.TARGET
            scope = replace(scope, target_states=_with_partitions(target, scope.target_states))
            with ThreadPoolExecutor(max_workers=1, thread_name_prefix="towpath-structure") as beside:
                reading = beside.submit(_read_source, run, database, source)
                there = read_things(target, run.ports.control.check)
            compared = compare_things(reading.result(), there, scope, printed_by(printing))
            compared = with_further(reading.result(), there, compared, scope, printed_by(printing))
            compared = _with_members(target, there, compared, refusals)
            compared = without_own_rights(target, run.plan.source.user, compared)
    except psycopg.Error as error:
        raise _unreadable(run, database, side, error) from error
    compared = replace(compared, differences=tuple(_on_target(one, database) for one in compared.differences))
    notes = _notes(database, compared, refusals)
    run.ports.store.save_notes(database.source_name, compared.count, notes)
    _tell(run, database, compared, notes, final=final)
    return notes


def _with_members(target: Connection, there: Things, compared: Compared, refusals: _Refusals) -> Compared:
    """Tell what is not missing, but a part of an extension of the target, where it stands alone on the source."""

    def place(thing: Thing) -> tuple[int, str, str]:
        return (thing.class_oid, thing.schema, thing.name.partition("(")[0].partition(" using ")[0])

    missing = [one for one in compared.differences if not one.part and one.what == say("missing on the target")]
    entries = {id(one): refusals.entry(one.thing) for one in missing if not one.thing.table}
    if not any(entries.values()):
        return compared
    standing, known = existing(target), {place(thing) for thing in there.by_identity.values()}

    def told(one: Difference) -> Difference:
        entry = entries.get(id(one))
        if entry is None or place(one.thing) in known or not creates(entry) or identity(entry) not in standing:
            return one
        return replace(one, what=say("a part of an extension on the target, which is used as it is"))

    return replace(compared, differences=tuple(told(one) for one in compared.differences))


def _read_source(run: Run, database: DatabasePlan, source: Connection) -> Things:
    """Read the source's objects, in a thread of its own: both servers take as long, and neither waits for the other."""
    try:
        return read_things(source, run.ports.control.check)
    except psycopg.Error as error:
        raise _unreadable(run, database, Side.SOURCE, error) from error


def _unreadable(run: Run, database: DatabasePlan, side: Side, error: psycopg.Error) -> EngineError:
    run.ports.control.check()
    return translate(error, side, say("comparing the structure of {name}", name=database.source_name))


def _archive(run: Run, database: DatabasePlan) -> Archive | None:
    """Return the archive, which only explains what is found; without it there is less to say."""
    try:
        return open_archive(run, database)
    except EngineError as error:
        if error.retryable:
            raise
        return None


def _scope(run: Run, database: DatabasePlan, source: Connection, archive: Archive | None, *, final: bool) -> Scope:
    name, selection, ledger = database.source_name, run.plan.selection, run.ports.ledger
    everything = arranged(list_tables(source), layouts_of(run, database))
    inside, _ = tables_in_scope(run, database, everything)
    bare = bare_tables(run, name, everything)
    left = {(entry.class_oid, entry.oid) for entry in archive.left_out if entry.oid} if archive else set()
    if leaves_any(selection, name):
        keys = keys_without_rows(source, everything, inside, [*inside, *bare])
        left |= {(_CONSTRAINT, oid) for oid in keys}
    return Scope(
        database=name,
        selection=selection,
        tables={(table.schema, table.name) for table in [*inside, *bare]},
        renaming=renaming_of(run, database),
        as_found=layouts_of(run, database).kept,
        waiting=frozenset() if final else _waiting(run, database),
        late=frozenset() if final or archive is None else waiting_checks(run, database, archive),
        without=left,
        source_states=_source_states(source_items.all_called_now(run, name, source)),
        target_states=_target_states(ledger.items(Side.TARGET, database.target_name, _STATES)),
    )


def _waiting(run: Run, database: DatabasePlan) -> frozenset[str]:
    """Return what stands on the target only after Complete."""
    if not run.plan.incremental:
        return frozenset({"event trigger", "rights taken", "connection limit"})
    later = ACCESS | {"privileges", "rights taken"}
    return later if run.ports.store.database(database.source_name).replica_role else later | ACTIVE


def _source_states(items: Iterable[LedgerItem]) -> dict[Identity, dict[str, Any]]:
    """Return the replica identities that the task has changed, as they were."""
    ours = [item for item in items if item.kind is Kind.REPLICA_IDENTITY]
    return {
        ("table", item.schema, item.name, ""): {"replica identity": identity_was(item) or "DEFAULT"} for item in ours
    }


def _target_states(items: Iterable[LedgerItem]) -> dict[Identity, dict[str, Any]]:
    """Return triggers, rules and identity columns that are changed for the time of the sync, as they will be again."""
    found: dict[Identity, dict[str, Any]] = {}
    for item in items:
        if item.kind is Kind.OBJECT and "options" in item.detail:  # of a user mapping; we may not see them there
            found["user mapping", "", "", str(item.detail["title"])] = {"given": ", ".join(item.detail["options"])}
        if item.kind in (Kind.TRIGGER_STATE, Kind.IDENTITY_STATE):
            what, table, name = (str(item.detail[key]) for key in ("what", "table", "name"))
            if what == "identity":
                found["column", item.schema, table, name] = {"identity": "always"}
            else:
                found[what, item.schema, table, name] = {"enabled": str(item.detail["was"])}
    return found


def _with_partitions(target: Connection, states: dict[Identity, dict[str, Any]]) -> dict[Identity, dict[str, Any]]:
    """Return the states with those of partitions, whose identity columns since 17 change with the whole table's."""
    columns = [identity for identity, values in states.items() if identity[0] == "column" and "identity" in values]
    if not columns or target.info.server_version < _PARTITIONS_COUNT_SINCE:
        return states
    _, schemas, tables, names = (list(part) for part in zip(*columns, strict=True))
    rows = target.execute(_PARTITIONS, (schemas, tables, names)).fetchall()
    below = {("column", str(schema), str(table), str(name)): {"identity": "always"} for schema, table, name in rows}
    return {**below, **states}


def _on_target(one: Difference, database: DatabasePlan) -> Difference:
    """Tell what belongs to the database as a whole how that is called on the target."""
    if one.thing.kind == "database":
        return replace(one, thing=replace(one.thing, name=database.target_name))
    if one.thing.kind in ("database setting", "security label"):
        return replace(one, thing=one.thing.with_values(database=database.target_name))
    return one


def _notes(database: DatabasePlan, compared: Compared, refusals: _Refusals) -> list[Note]:
    name = database.source_name
    owners = [one for one in compared.differences if one.part == "owner"]
    told: set[int] = set()
    notes = []
    for one in compared.differences:
        entry = refusals.entry(one.thing)
        if entry:
            told.add(entry.dump_id)
        if one.part != "owner":
            notes.append(_note(name, one, entry, refusals))
    notes += _owner_notes(name, owners, refusals)
    return notes + _refused(name, refusals, told, compared)


def _note(database: str, one: Difference, entry: Entry | None, refusals: _Refusals) -> Note:
    thing = one.thing
    if one.part == "comment" and refusals.archive:
        entry = comment_entry(refusals.archive, thing, entry)
    if one.part == "rights taken" and entry and "owner" not in thing.values:  # of a column's sequence
        one = replace(one, thing=thing.with_values(owner=entry.owner))
    missing = not one.part and one.what.startswith("missing")
    statement = mending_statement(one)
    if entry and (missing or one.part == "comment"):
        statement = making_room(one, shown_sql(entry))
    words = refusals.words_on_grants(entry) if one.part in ("privileges", "rights taken") else NOTHING
    if missing or one.part in ("comment", "filled", "enabled", ""):
        words = refusals.words(entry)
    if one.part == "option names":
        words = refusal_again(refusals.mappings.get(thing.name, "")) or words
    if thing.kind in ("database setting", "database"):
        words = refusals.words_on_setting(str(thing.values.get("setting", one.part)))
    if said := refusals.of_checks(one):
        statement = "\n".join(check.statement for check in said)
        words = together((refusal_again(check.words) for check in said), "; ")
    return Note(
        database=database,
        kind=thing.kind,
        schema=thing.schema,
        table=thing.table,
        name=thing.name,
        what=one.what,
        statement=statement,
        words=words,
    )


def _owner_notes(database: str, found: list[Difference], refusals: _Refusals) -> list[Note]:
    """Tell other owners once for each pair of roles: there may be thousands of objects."""
    notes = []
    pair = attrgetter("source", "target")
    for (source, target), group in groupby(sorted(found, key=pair), pair):
        owned = list(group)
        names = some(f"{one.thing.schema}.{one.thing.table or one.thing.name}".strip(".") for one in owned)
        texts = [text for one in owned[:_MOST_STATEMENTS] if (text := owner_statement(one, refusals.entry(one.thing)))]
        notes.append(
            Note(
                database=database,
                kind="owner",
                name=str(source),
                what=say(
                    "{objects} owned by {target} on the target instead of {source}: {names}",
                    objects=count(len(owned), "{number} object", "{number} objects"),
                    target=target,
                    source=source,
                    names=names,
                ),
                statement="\n".join(texts),
            )
        )
    return notes


def _refused(database: str, refusals: _Refusals, told: set[int], compared: Compared | None) -> list[Note]:
    """Tell what the target has refused of kinds, or in parts of the database, that were not compared object by object.

    What stands on the target by now, and what a difference tells already, is not told again. None: nothing could be
    compared, and all is told.
    """
    notes = []
    equal, by_parts = (compared.equal, _TOLD_BY_PARTS) if compared else (frozenset(), frozenset())
    by_id = {entry.dump_id: entry for entry in refusals.archive.entries} if refusals.archive else {}
    for state in refusals.states.values():
        entry = by_id.get(state.dump_id)
        mine = entry if entry and (entry.type, entry.tag) == (state.type, state.name) else None
        mended = mine is not None and (mine.class_oid, mine.oid) in equal
        if state.done or state.dump_id in told or mended or state.type in by_parts:
            continue
        notes.append(
            Note(
                database=database,
                kind=state.type.lower(),
                schema=state.schema,
                name=state.name,
                what=say("refused by the target"),
                statement=shown_sql(mine) if mine else "",
                words=refusal_again(state.error),
            )
        )
    return notes


def _tell(run: Run, database: DatabasePlan, compared: Compared, notes: list[Note], *, final: bool) -> None:
    name = database.source_name
    if not notes:
        text = say(
            "{name}: the structure has arrived: {number} objects compared, none is missing or other.",
            name=name,
            number=compared.count,
        )
        if not final and run.plan.incremental:
            text += say(" Rights and policies follow at Complete.")
        run.ports.store.event("info", "STRUCTURE-EQUAL", text)
        return
    text = say(
        "{name}: {notes} on the structure, of {number} objects compared: {listed}.",
        name=name,
        notes=count(len(notes), "{number} note", "{number} notes"),
        number=compared.count,
        listed=some((say("{name} ({details})", name=one.title, details=one.what) for one in notes), 5),
    )
    run.ports.store.event("warning", "STRUCTURE-NOTES", text)
