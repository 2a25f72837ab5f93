"""What of an archive would change objects that nobody has selected and that others made on the target before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .archive import Archive
from .connect import Connection
from .outcome import Run
from .plan import DatabasePlan
from .target_objects import kept
from .toc import POST_DATA, Entry

_OWNERS = frozenset({"TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW", "DOMAIN"})


def leave_untouched(
    run: Run, database: DatabasePlan, connection: Connection, archive: Archive
) -> tuple[Archive, set[int]]:
    """Return the archive without what `without_untouched` leaves out, and `target_objects.kept` of all its entries."""
    theirs = kept(run, database.target_name, connection, archive.entries)
    return without_untouched(archive, theirs), theirs


def but_untouched(run: Run, database: DatabasePlan, connection: Connection, archive: Archive) -> Archive:
    """Return the archive without what `without_untouched` leaves out; a target where that is nothing is not asked."""
    return leave_untouched(run, database, connection, archive)[0] if archive.along else archive


def without_untouched(archive: Archive, theirs: set[int]) -> Archive:
    """Return the archive without what follows the rows of tables, views and domains that only come along and that
    others have made: indexes, constraints, statistics, triggers, rules, policies, and what hangs on those. Pure.

    `theirs`: dump ids of what others have made. What merely names such an object stays, as a key that leads to it.
    """
    untouched = archive.along & theirs
    if not untouched:
        return archive
    owners = {one.dump_id: one for one in archive.entries if one.type in _OWNERS}
    out: set[int] = set()
    for entry in archive.entries:
        if entry.section != POST_DATA:
            continue
        attached = entry.type == "INDEX ATTACH" and not (out | untouched).isdisjoint(entry.depends_on)
        if attached or _owner(archive, entry, owners) in untouched:
            out.add(entry.dump_id)
    out |= {one.dump_id for one in archive.of_type("COMMENT") if not out.isdisjoint(one.depends_on)}
    return replace(
        archive,
        entries=tuple(one for one in archive.entries if one.dump_id not in out),
        by_table={
            place: tuple(one for one in entries if one.dump_id not in out)
            for place, entries in archive.by_table.items()
        },
        untouched=untouched,
    )


def _owner(archive: Archive, entry: Entry, owners: Mapping[int, Entry]) -> int | None:
    """Return the dump id of the table, view or domain that an entry is a part of.

    An entry may need several of them. A dump calls a part by the name of what it belongs to and its own.
    """
    needed = [owners[on] for on in entry.depends_on if on in owners]
    if place := archive.place(entry):
        found = [one for one in needed if (one.schema, one.tag) == (place.schema, place.table)]
    else:
        found = [one for one in needed if one.schema == entry.schema and f"{entry.tag} ".startswith(f"{one.tag} ")]
    return max(found, key=lambda one: len(one.tag)).dump_id if found else None
