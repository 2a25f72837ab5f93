"""What becomes of work when the console's own database goes away: it waits for it, and nothing is taken for broken."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable

from django.db import InterfaceError, OperationalError, connections

log = logging.getLogger(__name__)

GONE = (OperationalError, InterfaceError)
"""What is raised where the server does not answer; `lost` tells it from what it says about a statement."""


def lost() -> bool:
    """Say whether this thread's connection is of no use any more, and close it then: the next use opens another."""
    connection = connections["default"]
    if connection.connection is not None and connection.is_usable():
        return False
    connection.close()
    return True


def full(error: BaseException | None) -> bool:
    """Say whether an error came of it that SQLite has found its disk full."""
    while error is not None and getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
        error = error.__cause__
    return error is not None


def keep_trying(write: Callable[[], None], wait: Callable[[float], bool]) -> bool:
    """Run `write()` again until the database has taken it. False: `wait(seconds)` said True, that it must end.

    It may then have been written or not; only what may be written twice belongs here.
    """
    while True:
        try:
            write()
        except GONE as error:
            if not full(error) and not lost():
                raise
            log.warning("the console's own database does not take it: %s", error)
        else:
            return True
        if wait(1.0):
            return False
