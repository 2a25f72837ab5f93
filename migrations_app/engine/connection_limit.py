"""The connection limit of a database that the task made: that of the source's, set when everything else is done.

It holds for every account but superusers, so our own sessions would be refused before, and by a small one afterwards.
"""

from __future__ import annotations

import re

from .archive import open_archive
from .connect import Connection
from .names import quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind
from .restore import entry_state
from .rights import run_statements, statements
from .toc import Entry
from .wording import NOTHING, Sentence, count, listing, say

_LIMIT = re.compile(rb"ALTER DATABASE .* CONNECTION LIMIT = (\d+);?\s*", re.DOTALL)
_OURS = 10
"""Sessions of ours that must have room beside those that are open: what is left to do takes fewer."""
_OPEN = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database()"
_NOW = "SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = %s"
_PART = "connection limit: "


def limit_connections(run: Run, database: DatabasePlan) -> None:
    """Give a database that we made the connection limit of the source's. Idempotent.

    Where the target refuses it, or would refuse our own sessions with it, an event tells that with the statement, as
    the comparison of structures does.
    """
    found = _limit(run, database)
    if found is None:
        return
    entry, limit = found
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        if _has_room(connection, limit):
            refused = run_statements(run, connection, entry, [_statement(database, limit)])
            why = refused[0].words if refused else NOTHING
            _remember(run, database, entry, why)
        else:
            why = say("sessions of the task itself would be refused")
    if why:
        _tell(run, database, limit, why)


def _has_room(connection: Connection, limit: int) -> bool:
    if not _is_bound(connection):
        return True
    row = connection.execute(_OPEN.encode()).fetchone()
    return row is not None and limit >= int(str(row[0])) + _OURS


def _remember(run: Run, database: DatabasePlan, entry: Entry, why: Sentence) -> None:
    """Keep what the target said to it, beside what it said to the settings of the database: see `target_database`."""
    state = run.ports.store.entries(database.source_name).get(entry.dump_id)
    before = state.error.splitlines() if state and not state.done else []
    lines = [line for line in before if not line.startswith(_PART)] + ([_PART + why] if why else [])
    if lines != before:
        run.ports.store.save_entries(entry_state(database, entry, error="\n".join(lines)))


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


def lift_limit(run: Run, database: DatabasePlan) -> None:
    """Take back what `limit_connections` did in a run that was killed before its end: this one needs its sessions.

    Another limit than the source's is not ours, and stays.
    """
    found = _limit(run, database)
    if found is None:
        return
    entry, limit = found
    with run.sessions.session(Side.TARGET) as connection:
        row = connection.execute(_NOW, (database.target_name,)).fetchone()
        if _is_bound(connection) and row is not None and row[0] == limit:
            run_statements(run, connection, entry, [_statement(database, -1)])


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


def _is_bound(connection: Connection) -> bool:
    return connection.info.parameter_status("is_superuser") != "on"
