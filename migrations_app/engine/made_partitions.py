"""Whether a partition was made as one, as far as a source that crashes can tell.

Its catalog says so by the order of its entries, and recovery forgets that order for what it writes again. What this
process has seen before stays true; and what only the absence of a crash makes certain is not believed after one.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from .connect import Connection
from .layouts import PARTITIONS_SINCE
from .probe import read_system_id

_COUNTED = "SELECT pg_catalog.pg_stat_get_bgwriter_stat_reset_time()::text"

_places: WeakKeyDictionary[Connection, tuple[object, ...]] = WeakKeyDictionary()

_made: set[tuple[object, ...]] = set()
"""Database of a server, oid, and the transaction that made the table a partition."""

_counted: dict[tuple[object, ...], str] = {}
"""By database of a server: since when its statistics counted when they were asked first. A crash sets them back."""


def note_source(connection: Connection) -> None:
    """Remember, once for each source, what tells a later crash. Raises psycopg.Error."""
    if connection.info.server_version < PARTITIONS_SINCE:
        return
    place = _place(connection)
    if place not in _counted:
        _counted[place] = _now(connection)


def was_made(connection: Connection, oid: int, transaction: str, *, born: bool, doubtful: bool) -> bool:
    """Say whether a partition was made as one. Raises psycopg.Error.

    `born`: the catalog says so now; `doubtful`: it may say so of an attached one after a crash. `transaction`: the one
    that made the table a partition.
    """
    place = _place(connection)
    key = (*place, oid, transaction)
    if born and not (doubtful and _may_have_crashed(connection, place)):
        _made.add(key)
    return key in _made


def _may_have_crashed(connection: Connection, place: tuple[object, ...]) -> bool:
    known = _counted.get(place)
    return known is not None and known != _now(connection)


def _place(connection: Connection) -> tuple[object, ...]:
    """Return what stays the same of a database, by whichever forwarder it is reached."""
    if connection not in _places:
        info = connection.info
        _places[connection] = (read_system_id(connection) or (info.host, info.port), info.dbname)
    return _places[connection]


def _now(connection: Connection) -> str:
    row = connection.execute(_COUNTED.encode()).fetchone()
    return str(row[0]) if row else ""
