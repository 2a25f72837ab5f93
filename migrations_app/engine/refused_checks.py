"""What the target said to checks that came back after the rows, kept with the tables and domains of our ledger.

No entry of the archive makes such a check alone, so nothing else would know why it is not there, or not proved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import psycopg

from .causes import cause_of, refusal
from .connect import first_line
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem
from .values import frozen

CheckKey = tuple[str, str, str, str]
"""TABLE or DOMAIN, schema, table or domain, name: those of the target."""
_KEY = "checks"


@frozen
class RefusedCheck:
    """The statement that the target refused, and its words."""

    statement: str
    words: str


def refused_check(statement: str, error: psycopg.Error) -> RefusedCheck:
    """Return the refusal of a statement, by what the server said."""
    cause = cause_of(error.sqlstate or "", "CHECK CONSTRAINT")
    return RefusedCheck(statement=f"{statement};", words=refusal(cause.label, first_line(error), error.sqlstate))


def owner_of(item: LedgerItem) -> tuple[str, str, str] | None:
    """Return the kind, schema and name of a table or domain; None for anything else that we made."""
    if item.kind is Kind.TABLE:
        return "TABLE", item.schema, item.name
    return ("DOMAIN", item.schema, item.detail["tag"]) if item.detail.get("type") == "DOMAIN" else None


def keep_refusals(
    run: Run, database: DatabasePlan, tried: Collection[CheckKey], refused: Mapping[CheckKey, RefusedCheck]
) -> None:
    """Remember what was refused of all that was tried, in place of what was before. Idempotent."""
    if not tried:
        return
    by_owner: dict[tuple[str, str, str], set[CheckKey]] = defaultdict(set)
    for key in tried:
        by_owner[key[:3]].add(key)
    for item in run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.TABLE, Kind.OBJECT}):
        keys = by_owner.get(owner_of(item) or ("", "", ""), set())
        known: dict[str, list[str]] = item.detail.get(_KEY, {})
        kept = {name: said for name, said in known.items() if name not in {key[3] for key in keys}}
        kept |= {key[3]: [refused[key].statement, refused[key].words] for key in keys if key in refused}
        if kept != known:
            run.ports.ledger.amend(replace(item, detail={**item.detail, _KEY: kept}))


def refused_checks(items: Iterable[LedgerItem]) -> dict[CheckKey, RefusedCheck]:
    """Return what is remembered."""
    return {
        (*owner, name): RefusedCheck(statement=statement, words=words)
        for item in items
        if item.detail.get(_KEY) and (owner := owner_of(item))
        for name, (statement, words) in item.detail[_KEY].items()
    }
