"""The settings of the source's session that sends the stream."""

from __future__ import annotations

from ..connect import Connection

_TIMEOUT_SINCE = 120000  # before, a client may not set it
_MEMORY_SINCE = 130000
_TIMEOUT = "5min"
_MOST_BYTES = 256 << 20
_UNCHOSEN_BYTES = 64 << 20  # PostgreSQL's own

_FOUND = """
SELECT pg_catalog.pg_size_bytes(pg_catalog.current_setting('logical_decoding_work_mem'))::text,
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers'))::text
"""


def sender_settings(source: Connection) -> dict[str, str]:
    """Return what the session that sends changes is to be opened with; `source`: an ordinary session of that server.

    A transaction whose changes need more than `logical_decoding_work_mem` is written to the source's disk and read from
    there again, which is half of the sender's work. Where nobody has chosen another value than PostgreSQL's own, as
    much as the server's shared buffers is allowed, and no more than 256 MB. It is used by large transactions only.
    """
    version = source.info.server_version
    settings = {"wal_sender_timeout": _TIMEOUT} if version >= _TIMEOUT_SINCE else {}
    if version >= _MEMORY_SINCE:
        row = source.execute(_FOUND).fetchone()
        if row and (memory := decoding_bytes(*(int(str(size)) for size in row))):
            settings["logical_decoding_work_mem"] = f"{memory >> 10}kB"
    return settings


def decoding_bytes(chosen: int, buffers: int) -> int | None:
    """Return how much memory for decoding to ask for; None to leave what somebody chose, or what is no less."""
    wanted = min(_MOST_BYTES, buffers)
    return wanted if chosen == _UNCHOSEN_BYTES < wanted else None
