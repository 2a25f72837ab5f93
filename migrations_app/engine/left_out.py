"""Tells what of a source's schema stays behind, because it hangs on rows or tables that do not move."""

from __future__ import annotations

from collections.abc import Container

from .archive import Archive
from .outcome import Run
from .plan import DatabasePlan
from .secret_options import shown_sql
from .target_objects import some
from .wording import count, say

_WORTH_TELLING = frozenset({"VIEW", "MATERIALIZED VIEW", "FUNCTION", "PROCEDURE", "AGGREGATE", "TYPE", "DOMAIN"})


def report_left_out(
    run: Run, database: DatabasePlan, archive: Archive, only: Container[tuple[str, str]] | None = None
) -> None:
    """Say what cannot come along because it hangs on rows or tables that do not move.

    `only`: the foreign keys of these tables, by their names on the target, and nothing else.
    """
    tables = {(entry.schema, entry.tag) for entry in archive.of_type("TABLE")}
    if only is not None:
        tables = {place for place in tables if place in only}
    keys = [
        entry
        for entry in archive.left_out
        if entry.type == "FK CONSTRAINT" and (place := archive.place(entry)) and (place.schema, place.table) in tables
    ]
    others = [entry for entry in archive.left_out if only is None and entry.type in _WORTH_TELLING]
    what_keys = count(
        len(keys),
        "{number} foreign key to tables that are not selected with their rows",
        "{number} foreign keys to tables that are not selected with their rows",
    )
    what_others = count(
        len(others),
        "{number} object that uses tables which are not selected",
        "{number} objects that use tables which are not selected",
    )
    for code, what, entries in (("SUBSET-KEYS", what_keys, keys), ("SUBSET-OBJECTS", what_others, others)):
        if entries:
            labels = [entry.label for entry in entries]
            detail = {"objects": labels[:500]}
            if entries is keys:
                detail["statements"] = [shown_sql(entry) for entry in keys[:500]]
            run.ports.store.event(
                "warning",
                code,
                say(
                    "Left out of database {source_name}: {what}: {names}.",
                    what=what,
                    source_name=database.source_name,
                    names=some(labels),
                ),
                **detail,
            )
