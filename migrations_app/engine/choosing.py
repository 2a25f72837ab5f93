"""Which entries of an archive are restored when only some tables are wanted, and which of those merely come along."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from .selection import Selection
from .toc import Entry

TABLE_TYPES = frozenset({"TABLE", "FOREIGN TABLE"})


def choose(
    entries: list[Entry],
    is_wanted: Callable[[Entry], bool],
    blocked: Collection[tuple[int, int]] = (),
) -> set[int]:
    """Return the dump ids to restore when only some tables are wanted.

    Everything else stays unless it hangs on a table that is left out. A table that a wanted one needs (a parent by
    inheritance, a row type) is restored as well, and stays empty. An owned sequence does not pull its owner's table.
    `blocked` are (catalog, oid) of what cannot be restored because it hangs on something outside of the archive.
    """
    by_id = {entry.dump_id: entry for entry in entries}
    needed = required(entries, is_wanted)
    kept: set[int] = set()
    for entry in entries:
        if (entry.class_oid, entry.oid) in blocked:
            continue
        if entry.dump_id in needed or (entry.type not in TABLE_TYPES and _stands(entry, kept, by_id)):
            kept.add(entry.dump_id)
    return kept


def required(entries: Sequence[Entry], is_wanted: Callable[[Entry], bool]) -> set[int]:
    """Return the dump ids of the wanted tables, of their defaults, and of everything that has to exist before those."""
    by_id = {entry.dump_id: entry for entry in entries}
    needed = {entry.dump_id for entry in entries if entry.type in TABLE_TYPES and is_wanted(entry)}
    while True:
        before = len(needed)
        needed |= {e.dump_id for e in entries if e.type == "DEFAULT" and _on_needed_table(e, needed, by_id)}
        for entry in reversed(entries):
            if entry.dump_id in needed:
                needed.update(_hard(entry, by_id))
        if len(needed) == before:
            return needed


def _on_needed_table(entry: Entry, needed: set[int], by_id: dict[int, Entry]) -> bool:
    """Say whether a default is that of a needed table. It may name others: 'app.t'::regclass."""
    tables = (by_id[on] for on in entry.depends_on if on in needed and by_id[on].type in TABLE_TYPES)
    return any(one.schema == entry.schema and entry.tag.startswith(one.tag + " ") for one in tables)


def _is_free_sequence(entry: Entry) -> bool:
    return entry.type == "SEQUENCE" and entry.definition.startswith(b"CREATE SEQUENCE")


def _hard(entry: Entry, by_id: dict[int, Entry]) -> list[int]:
    """What must exist before the entry: all that it names, but for the owner of a sequence."""
    found = [on for on in entry.depends_on if on in by_id]
    return [on for on in found if by_id[on].type not in TABLE_TYPES] if _is_free_sequence(entry) else found


def _stands(entry: Entry, kept: set[int], by_id: dict[int, Entry]) -> bool:
    needs = [on for on in entry.depends_on if on in by_id]
    if entry.type == "SEQUENCE OWNED BY":  # names only the sequence: its owner is the sequence's table
        needs = [*needs, *(on for sequence in needs for on in by_id[sequence].depends_on if on in by_id)]
    return all(on in kept for on in needs)


def coming_along(
    entries: Sequence[Entry],
    kept: Collection[int],
    is_wanted: Callable[[Entry], bool],
    includes: Callable[[str, str], bool],
) -> set[int]:
    """Return the dump ids of kept entries that nobody has selected: tables that a wanted one needs, and everything else
    that is restored because it might be needed. `includes` says whether (schema, name) is selected.

    A sequence is selected with the table whose column it serves.
    """
    tables = {entry.dump_id: is_wanted(entry) for entry in entries if entry.type in TABLE_TYPES}
    along = set()
    for entry in entries:
        if entry.dump_id not in kept:
            continue
        owners = [tables[on] for on in entry.depends_on if on in tables] if entry.type == "SEQUENCE" else []
        selected = tables.get(entry.dump_id, any(owners) if owners else includes(entry.schema, entry.tag))
        if not selected:
            along.add(entry.dump_id)
    return along


def of_whole_database(entries: Sequence[Entry], selection: Selection, database: str) -> set[tuple[int, int]]:
    """Return (catalog, oid) of the entries that concern more of a database than was selected of it.

    Default privileges in a schema of which nothing is selected, those in no schema where the database is not selected
    itself, and event triggers as `takes_event_trigger` says.
    """
    schemas = {entry.dump_id: entry.schema for entry in entries if entry.type == "FUNCTION"}
    found = set()
    for entry in entries:
        if entry.type == "DEFAULT ACL":
            comes = selection.touches(database, entry.schema) if entry.schema else selection.includes(database)
        elif entry.type == "EVENT TRIGGER":
            calls = next((schemas[on] for on in entry.depends_on if on in schemas), None)
            comes = takes_event_trigger(selection, database, calls)
        else:
            continue
        if not comes:
            found.add((entry.class_oid, entry.oid))
    return found


def takes_event_trigger(selection: Selection, database: str, schema: str | None) -> bool:
    """Say whether an event trigger comes, which acts on all of its database: with that, or with its function's schema.

    `schema`: None for that of a function that an extension has brought.
    """
    return selection.includes(database) or (schema is not None and selection.includes(database, schema))
