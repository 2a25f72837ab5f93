"""Asks a server what it does for one of our sessions, through another one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psycopg

from .errors import ConnectFailed
from .patience import BELIEVED, Session, Vital, Watcher
from .sql import query
from .values import frozen

_SECONDS = 10.0
_STATE = "SELECT state FROM pg_catalog.pg_stat_activity WHERE pid = %s"


@frozen(kw_only=False)
class Onlooker:
    """What is asked of the server of the session `pid`, each time through a new session from `open`.

    A new one, as whether the server lets anybody in is a part of the question. `check` raises when the run must stop.
    """

    open: Callable[[], psycopg.Connection[tuple[object, ...]]]
    check: Callable[[], None]
    pid: int

    def look(self) -> Vital | None:
        """Ask a server what it does for the session; None: nothing, it is gone or cannot be reached."""
        try:
            with self._asking() as asking:
                row = asking.execute(query("vitals", asking.info.server_version), {"pid": self.pid}).fetchone()
        except ConnectFailed as failure:
            return None if failure.retryable and failure.code != "CONNECT-FULL" else BELIEVED
        except psycopg.Error:
            return None
        return Vital(*(str(value or "") for value in row)) if row else None

    def at_work(self) -> bool | None:
        """Ask a server whether it runs a statement for the session; None when it does not answer that now."""
        try:
            with self._asking() as asking:
                row = asking.execute(_STATE, (self.pid,)).fetchone()
        except (ConnectFailed, psycopg.Error):
            return None
        return row is not None and row[0] == "active"

    @contextlib.contextmanager
    def _asking(self) -> Iterator[Session]:
        with self.open() as asking:
            assert isinstance(asking, Session)  # noqa: S101 - for the type checker
            asking.watcher = Watcher(self.check, None, seconds=_SECONDS)
            yield asking
