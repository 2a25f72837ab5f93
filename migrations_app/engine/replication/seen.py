"""Waits until the source shows what its stream has told.

A server sends a transaction as soon as its commit is on the disk. Other sessions see what it did only when the process
that committed has said so, a moment later, and with synchronous standbys not before these have answered. Until then it
keeps its locks: of a table that it made, changed or attached that is AccessExclusiveLock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from ..connect import Connection
from ..errors import ConnectionLost
from ..wording import say

_Asking = AbstractContextManager[Connection]
_SECONDS = 30.0
_PAUSE_SECONDS = 0.01
_STATE = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l
                WHERE l.locktype = 'relation' AND l.relation = %(oid)s AND l.granted AND l.mode = 'AccessExclusiveLock'
                  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                                     WHERE d.datname = pg_catalog.current_database())),
       EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = %(oid)s)
"""


def await_catalog(
    asking: Callable[[], AbstractContextManager[Connection]], oid: int, check: Callable[[], None]
) -> None:
    """Return once nobody who may have made, changed or attached this table is about to end, or after 30 seconds.

    Raises ConnectionLost, which is tried again, for a table that cannot be seen by then: to pass it by would lose rows;
    or what `check` raises when the owner must stop.
    """
    end = time.monotonic() + _SECONDS
    while True:
        check()
        with asking() as connection:
            row = connection.execute(_STATE, {"oid": oid}).fetchone() or (False, True)
        locked, seen = row
        if not locked:
            return
        if time.monotonic() >= end:
            break
        time.sleep(_PAUSE_SECONDS)
    if not seen:
        raise ConnectionLost(
            say("A transaction of the source that made a table (oid {oid}) has not ended there yet.", oid=oid),
            hint=say("With synchronous replication, look whether the source's standbys answer."),
        )
