"""The connection limit of a database that the task made: that of the source's, set when everything else is done.

It holds for every account but superusers, whose sessions alone cannot be refused by it.
"""

from __future__ import annotations

import re

from .archive import open_archive
from .names import quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind
from .rights import run_statements, statements
from .toc import Entry
from .wording import NOTHING, Sentence, count, listing, say

_LIMIT = re.compile(rb"ALTER DATABASE .* CONNECTION LIMIT = (\d+);?\s*", re.DOTALL)


def limit_connections(run: Run, database: DatabasePlan) -> None:
    """Give a database that we made the connection limit of the source's. Idempotent.

    An account that is no superuser would be bound by it, in the clean-up too: an event tells it the statement then, as
    the comparison of structures does.
    """
    found = _limit(run, database)
    if found is None:
        return
    entry, limit = found
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        why: Sentence = say("sessions of the task itself could be refused")
        if connection.info.parameter_status("is_superuser") == "on":
            refused = run_statements(run, connection, entry, [_statement(database, limit)])
            why = refused[0].words if refused else NOTHING
    if why:
        _tell(run, database, limit, why)


def _tell(run: Run, database: DatabasePlan, limit: int, why: Sentence) -> None:
    statement = _statement(database, limit).decode()
    run.ports.store.event(
        "warning",
        "DATABASE-SETTINGS",
        say(
            "{number} of database {target_name} could not be restored: {names}.",
            number=count(1, "{number} setting", "{number} settings"),
            target_name=database.target_name,
            names=listing([say("{name} ({details})", name=statement, details=why)]),
        ),
    )


def _limit(run: Run, database: DatabasePlan) -> tuple[Entry, int] | None:
    """Return the limit of the source's database, and the entry that tells it; None when there is nothing to set."""
    if not run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.DATABASE}):
        return None
    for entry in open_archive(run, database).about_database:
        for text in statements(entry.definition):
            if told := _LIMIT.fullmatch(text):
                return entry, int(told[1])
    return None


def _statement(database: DatabasePlan, limit: int) -> bytes:
    return f"ALTER DATABASE {quote(database.target_name)} CONNECTION LIMIT {limit};".encode()
