"""Libraries that a setting has every new session load: where the target lacks one, it lets nobody in any more.

A server takes such a setting without a look at the libraries, and is then closed to those whom it is for, us included.
"""

from __future__ import annotations

import re
from typing import Any

import psycopg

from .causes import LIBRARY, cause_of, refusal
from .connect import Connection, first_line
from .errors import ConnectFailed
from .outcome import Run
from .plan import Side
from .restore import raise_unless_refused
from .wording import Sentence, say

_LOADED = re.compile(rb' SET "?(session_preload_libraries|local_preload_libraries)"? TO (.+?);?\s*\Z', re.DOTALL | re.I)

_WHERE = re.compile(r"(?:connection failed: )?connection to server .*? failed: ")


def refused_at_login(run: Run, target: Connection, statement: bytes) -> Sentence | None:
    """Return why a login would fail once this statement has set its libraries for others; None for any other statement,
    and where logins succeed.

    Found out by a login of ours that asks for the same, so nothing is set before. Raises EngineError when the target is
    lost, or lets nobody in now whatever is asked for.
    """
    found = _LOADED.search(statement)
    if found is None:
        return None
    name, doing = found[1].decode().lower(), say("looking at libraries")
    try:
        with target.transaction(force_rollback=True):
            target.execute(b"SET LOCAL " + found[1] + b" TO " + found[2])
            row = target.execute("SELECT pg_catalog.current_setting(%s)", (name,)).fetchone()
    except psycopg.Error as error:
        raise_unless_refused(run, error, doing)
        return refusal(cause_of(error.sqlstate or "", "").label, first_line(error), error.sqlstate)
    asked: dict[str, Any] = {name: str(row[0]) if row else ""}
    database = target.info.dbname
    try:
        run.sessions.open(Side.TARGET, database, **asked).close()
    except ConnectFailed as failure:
        run.sessions.open(Side.TARGET, database).close()
        return say("{label}: {words}", label=LIBRARY.label, words=server_words(failure))
    return None


def server_words(failure: ConnectFailed) -> str:
    """Return what the server said at the login, without the address that libpq puts before it, and where it arose."""
    lines = str(failure.__cause__ or failure).strip().splitlines() or [""]
    words = _WHERE.sub("", next((line for line in reversed(lines) if _WHERE.search(line)), lines[-1]), count=1)
    return "".join(ch if ch.isprintable() else " " for ch in words)[:500]
