"""What a source needs for its size and for its large objects, as far as the facts of it tell. Pure."""

from __future__ import annotations

from .names import literal
from .source_facts import DatabaseFacts, SourceFacts

_LOCKS_PER_TABLE = 4  # of the lock table; other sessions need room too


def wanted_locks(facts: SourceFacts) -> int | None:
    """Return the max_locks_per_transaction under which every selected table of the largest database can be locked.

    None when there is room enough already, or nobody could look. The same line as the check item `source-locks` draws.
    """
    numbers = [
        setting.number if (setting := facts.settings.get(name)) else None
        for name in ("max_locks_per_transaction", "max_connections", "max_prepared_transactions")
    ]
    each, connections, prepared = numbers
    if each is None or connections is None:
        return None
    sessions = connections + (prepared or 0)
    tables = max((len(database.tables) for database in facts.databases), default=0)
    if tables * _LOCKS_PER_TABLE <= each * sessions:
        return None
    return tables * _LOCKS_PER_TABLE // max(sessions, 1) + 64


def large_object_grants(database: DatabaseFacts, account: str) -> list[str]:
    """Return the line for psql that lets a (quoted) account read every large object, where some are out of its reach.

    Large objects have no default rights and no grant for all of them: psql makes one statement for each.
    """
    if not database.closed_large_objects:
        return []
    grant = literal("GRANT SELECT ON LARGE OBJECT %s TO %s;")
    return [f"SELECT format({grant}, oid, {literal(account)}) FROM pg_largeobject_metadata \\gexec"]  # noqa: S608 - shown to be copied
