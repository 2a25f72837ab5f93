"""Drives a session at the level of libpq, never blocking for more than a second, so that every wait can be ended.

psycopg's own calls wait until the server answers. A hung server answers never: here each wait asks whether the run must
stop, and a server that is silent and shows no sign of life is given up.
"""

from __future__ import annotations

import contextlib
import select

import psycopg
from psycopg import pq

from .connect import Connection, server_error, translate
from .errors import ConnectionLost, EngineError
from .patience import Patience as Patience
from .plan import Side
from .wording import noun, say

_POLL_MILLISECONDS = 1000
_GOOD = frozenset(
    {
        pq.ExecStatus.COMMAND_OK,
        pq.ExecStatus.TUPLES_OK,
        pq.ExecStatus.COPY_IN,
        pq.ExecStatus.COPY_OUT,
        pq.ExecStatus.EMPTY_QUERY,
    }
)


def wait(patience: Patience, wanted: dict[int, int]) -> dict[int, int]:
    """Wait until one of the descriptors is ready for its events; returns what is ready. Raises as `Patience` does."""
    poll = select.poll()
    for descriptor, events in wanted.items():
        poll.register(descriptor, events)
    while True:
        ready = dict(poll.poll(_POLL_MILLISECONDS))
        patience.check()
        if ready:
            return ready
        patience.waited()


def flush(pgconn: pq.abc.PGconn, patience: Patience) -> None:
    """Send everything that libpq has queued."""
    while pgconn.flush():
        ready = wait(patience, {pgconn.socket: select.POLLIN | select.POLLOUT})
        if ready[pgconn.socket] & select.POLLIN:
            pgconn.consume_input()
        patience.moved()


def next_result(pgconn: pq.abc.PGconn, patience: Patience) -> pq.abc.PGresult | None:
    """Return the next result of what was sent, None after the last."""
    while pgconn.is_busy():
        wait(patience, {pgconn.socket: select.POLLIN})
        pgconn.consume_input()
        patience.moved()
    return pgconn.get_result()


def drain(pgconn: pq.abc.PGconn, patience: Patience) -> pq.abc.PGresult | None:
    """Read all results; return the first that reports an error, else the last."""
    kept: pq.abc.PGresult | None = None
    while (result := next_result(pgconn, patience)) is not None:
        if kept is None or kept.status in _GOOD:
            kept = result
        if result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT):
            break
    return kept


def command(connection: Connection, side: Side, text: str, patience: Patience, doing: str) -> pq.abc.PGresult:
    """Run one statement or several (without parameters) and return the last result.

    Ends early after a COPY statement has begun. Raises EngineError for what the server or the line reports.
    """
    pgconn = connection.pgconn
    try:
        patience.moved()
        pgconn.send_query(text.encode())
        flush(pgconn, patience)
        result = drain(pgconn, patience)
    except psycopg.Error as error:
        patience.check()
        raise translate(error, side, doing) from error
    if result is None or result.status not in _GOOD:
        patience.check()
        raise result_error(result, side, doing)
    return result


def result_error(result: pq.abc.PGresult | None, side: Side, doing: str) -> EngineError:
    """Return the typed error that a failed result reports."""
    if result is None:
        return ConnectionLost(say("Lost the connection to the {side} while {doing}.", side=noun(side), doing=doing))
    state = result.error_field(pq.DiagnosticField.SQLSTATE) or b"08006"
    words = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message or b"no reason given"
    return server_error(state.decode(errors="replace"), one_line(words), side, doing)


def one_line(words: bytes) -> str:
    """Return a server's words on one line, printable, at most 500 characters."""
    text = words.decode(errors="replace").strip()
    return "".join(ch if ch.isprintable() else " " for ch in text)[:500]


def discard(connection: Connection) -> None:
    """Close a session whose state is unknown; the server rolls back. Never raises."""
    with contextlib.suppress(psycopg.Error, OSError):
        connection.close()
