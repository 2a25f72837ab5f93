"""Ends what sessions of this run left behind on a server: here they are over, and nobody has told the server.

A line can die without a word. The server's process then waits for us for hours, with its transaction and its locks; and
a COMMIT that was on its way may still arrive, long after the same rows were copied anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg

from .errors import ConnectionLost
from .plan import Side
from .wording import listing, noun, say

WAIT_SECONDS = 10.0
_TURN_SECONDS = 0.1
MAY_END = (
    "(pg_catalog.pg_has_role({0}, 'USAGE') AND (pg_catalog.current_setting('is_superuser') = 'on'"
    " OR NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.oid = {0} AND r.rolsuper)"
    " AND (pg_catalog.current_setting('server_version_num')::int >= 90500"
    " OR {0} = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user))))"
)
"""Says whether we may end a session of this role (an oid); to try it on another one fails the whole statement.

Before 9.5 members of a role may not end its sessions.
"""
# A number is given to another process some day; and a pooler may have numbers of its own, which mean nothing here.
_END = (
    "SELECT a.pid, a.xact_start IS NOT NULL, pg_catalog.pg_terminate_backend(a.pid)"  # noqa: S608 - constants
    " FROM pg_catalog.pg_stat_activity a JOIN (VALUES {}) AS one (pid, seconds) ON a.pid = one.pid"
    " WHERE a.application_name = pg_catalog.current_setting('application_name')"
    " AND a.backend_start < pg_catalog.clock_timestamp() - one.seconds * interval '1 second'"
    " AND a.pid <> pg_catalog.pg_backend_pid() AND pg_catalog.pg_backend_pid() = {}"
    f" AND {MAY_END.format('a.usesysid')}"
)


def not_ended(side: Side, processes: list[int]) -> ConnectionLost:
    """Return the error for sessions of ours that a server does not end, and that may still commit something."""
    return ConnectionLost(
        say(
            "The {side} does not end a session that we have lost (PID {names}). "
            "Until it has, nobody knows what it still does.",
            side=noun(side),
            names=listing([str(process) for process in processes]),
        )
    )


class Orphans:
    """Numbers of server processes whose sessions ended here in the midst of something, by server. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[Side, dict[int, float]] = {}

    def note(self, side: Side, process: int) -> None:
        """Remember a process that may not know that its session is over."""
        with self._lock:
            self._since.setdefault(side, {})[process] = time.monotonic()

    def ended(self, side: Side, *processes: int) -> None:
        """Forget those that have ended."""
        with self._lock:
            for process in processes:
                self._since.get(side, {}).pop(process, None)

    def end(
        self, connection: psycopg.Connection[tuple[object, ...]], side: Side, sleep: Callable[[float], None]
    ) -> None:
        """End those that are left on the server of a session of this run, and wait until they are gone.

        Asks nothing when there are none. One that is still there after ten seconds, but has no transaction, can do no
        harm and is forgotten. Raises ConnectionLost when one has, psycopg's errors, or what `sleep` raises.
        """
        until = time.monotonic() + WAIT_SECONDS
        while known := self._known(side):
            now = time.monotonic()
            ones = ", ".join(f"({process}, {now - since:.3f})" for process, since in known.items())
            rows = connection.execute(_END.format(ones, connection.info.backend_pid).encode()).fetchall()
            left = {int(str(process)): bool(holds) for process, holds, _ in rows}
            self.ended(side, *set(known).difference(left))
            if left and now < until:
                sleep(_TURN_SECONDS)
                continue
            holding = [process for process, holds in left.items() if holds]
            self.ended(side, *set(left).difference(holding))  # or everything that follows would wait for them anew
            if holding:
                raise not_ended(side, holding)
            return

    def _known(self, side: Side) -> dict[int, float]:
        with self._lock:
            return dict(self._since.get(side, {}))
