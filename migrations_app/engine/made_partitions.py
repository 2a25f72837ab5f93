"""Whether a partition was made as one, as far as a source that crashes can tell.

Its catalog says so by the order of its entries, and recovery forgets that order for what it writes again. What this
process has seen before stays true; and what only the absence of a crash makes certain is not believed after one.
"""

from __future__ import annotations

from .connect import Connection
from .layouts import PARTITIONS_SINCE

_COUNTED = "SELECT pg_catalog.pg_stat_get_bgwriter_stat_reset_time()::text"

_made: set[tuple[object, ...]] = set()
"""Database of a server, oid, and the transaction that made the table a partition."""

_counted: dict[tuple[object, ...], str] = {}
"""By database of a server: since when its statistics counted when they were asked first. A crash sets them back."""


def note_source(connection: Connection) -> None:
    """Remember, once for each source, what tells a later crash. Raises psycopg.Error."""
    place = _place(connection)
    if place not in _counted and connection.info.server_version >= PARTITIONS_SINCE:
        _counted[place] = _now(connection)


def was_made(connection: Connection, oid: int, transaction: str, *, born: bool, doubtful: bool) -> bool:
    """Say whether a partition was made as one. Raises psycopg.Error.

    `born`: the catalog says so now; `doubtful`: it may say so of an attached one after a crash. `transaction`: the one
    that made the table a partition.
    """
    key = (*_place(connection), oid, transaction)
    if born and not (doubtful and _may_have_crashed(connection)):
        _made.add(key)
    return key in _made


def _may_have_crashed(connection: Connection) -> bool:
    known = _counted.get(_place(connection))
    return known is not None and known != _now(connection)


def _place(connection: Connection) -> tuple[object, ...]:
    return connection.info.host, connection.info.port, connection.info.dbname


def _now(connection: Connection) -> str:
    row = connection.execute(_COUNTED.encode()).fetchone()
    return str(row[0]) if row else ""
