"""Tells what of a source's schema stays behind: it hangs on rows that do not move, or on more than was selected."""

from __future__ import annotations

from collections.abc import Container

from .archive import Archive
from .outcome import Run
from .plan import DatabasePlan
from .secret_options import shown_sql
from .target_objects import some
from .toc import Entry
from .wording import Sentence, count, say

_WORTH_TELLING = frozenset({"VIEW", "MATERIALIZED VIEW", "FUNCTION", "PROCEDURE", "AGGREGATE", "TYPE", "DOMAIN"})
_OF_TABLES = frozenset({"POLICY", "RULE", "TRIGGER"})
"""The tag of such an entry is the table's name, a blank, and its own."""
_OF_DATABASE = frozenset({"EVENT TRIGGER", "DEFAULT ACL"})


def report_left_out(
    run: Run, database: DatabasePlan, archive: Archive, only: Container[tuple[str, str]] | None = None
) -> None:
    """Say what does not come along because it hangs on rows or tables that do not move, or concerns more than those.

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
    others = [entry for entry in archive.left_out if only is None and _is_worth_telling(entry, tables)]
    wider = [entry for entry in archive.left_out if only is None and entry.type in _OF_DATABASE]
    told = (("SUBSET-KEYS", keys), ("SUBSET-OBJECTS", others), ("SUBSET-DATABASE", wider))
    for code, entries in told:
        if entries:
            labels = [entry.label for entry in entries]
            detail = {"objects": labels[:500]}
            if entries is not others:
                detail["statements"] = [shown_sql(entry) for entry in entries[:500]]
            run.ports.store.event(
                "warning",
                code,
                say(
                    "Left out of database {source_name}: {what}: {names}.",
                    what=_counted(code, len(entries)),
                    source_name=database.source_name,
                    names=some(labels),
                ),
                **detail,
            )


def _is_worth_telling(entry: Entry, tables: Container[tuple[str, str]]) -> bool:
    """Say whether what is left out is missed: of what hangs on a table, only when that comes itself."""
    if entry.type not in _OF_TABLES:
        return entry.type in _WORTH_TELLING
    blanks = (at for at, letter in enumerate(entry.tag) if letter == " ")
    return any((entry.schema, entry.tag[:at]) in tables for at in blanks)


def _counted(code: str, number: int) -> Sentence:
    if code == "SUBSET-KEYS":
        return count(
            number,
            "{number} foreign key to tables that are not selected with their rows",
            "{number} foreign keys to tables that are not selected with their rows",
        )
    if code == "SUBSET-OBJECTS":
        return count(
            number,
            "{number} object that uses tables which are not selected",
            "{number} objects that use tables which are not selected",
        )
    return count(
        number,
        "{number} event trigger or default privilege that concerns more than was selected",
        "{number} event triggers and default privileges that concern more than was selected",
    )
