"""The settings that every session of ours has, whatever the server, the database or the account say."""

from __future__ import annotations

import re

from .errors import ConnectFailed
from .plan import Side
from .wording import noun, say

PINS = {
    # Text forms must be the same on both servers, or values change silently on the way (dates above all).
    "datestyle": "ISO",
    "intervalstyle": "postgres",
    "extra_float_digits": "3",
    "timezone": "UTC",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "search_path": "",
    # An account may be set to act as another role, which mostly may not replicate. Rights are judged for the account.
    "role": "none",
    # Off, a NULL in an array that goes as text would become the text "NULL".
    "array_nulls": "on",
    # What our statements mean.
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    # On, any error would end the session, also one that is answered by trying again.
    "exit_on_error": "off",
    # A role or database may carry timeouts that would kill a long copy or a snapshot holder.
    "statement_timeout": "0",
    "lock_timeout": "0",
    # Scans must start at the beginning.
    "synchronize_seqscans": "off",
    # A NOTICE inside a raw copy stream would reach the other server as an unknown message.
    "client_min_messages": "error",
    "default_transaction_read_only": "off",
    "check_function_bodies": "off",
    # A line may die without a word. The server's own habit is to keep our transaction and its locks for two hours then.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
ESCAPES_SINCE = 90500
COMPILES_SINCE = 110000
BLANKS = {"default_transaction_isolation": "read committed"}
PINS_BY_VERSION = {
    # Every row is meant: row security must raise instead of hiding. Values with blanks can be sent since 9.5 only.
    90500: {"row_security": "off", **BLANKS},
    90600: {"idle_in_transaction_session_timeout": "0"},
    # Our queries of the catalog look costly and are not: compiling them takes many times as long as running them.
    COMPILES_SINCE: {"jit": "off"},
    120000: {"default_table_access_method": "heap"},
    140000: {"idle_session_timeout": "0", "client_connection_check_interval": "1s"},
    # Materialized views read views.
    170000: {"transaction_timeout": "0", "restrict_nonsystem_relation_kind": ""},
}
_USER_TIMEOUT_SINCE = 120000


def user_timeout(version: int) -> str | None:
    """Return the tcp_user_timeout with which a server gives up a dead line within a minute also in an answer.

    None for a version that knows none. Only for sessions whose answers are short and read at once: what was not read
    for so long counts as a dead line, and a source in a COPY waits for a target that is slow.
    """
    return "60000" if version >= _USER_TIMEOUT_SINCE else None


def pinned_options(version: int, **extra: str | None) -> str:
    """Return the `options` value with every pin that a server of this version knows (engine: settings beat roles).

    None leaves a pin out: the server's own value is in force. Before 9.5 a server takes no value with blanks there;
    `Sessions.open` sets such pins itself.
    """
    pins: dict[str, str | None] = dict(PINS)
    for since, more in PINS_BY_VERSION.items():
        if version >= since:
            pins.update(more)
    pins.update(extra)
    # The server splits at white space and takes a backslash as "the next character is meant".
    kept = {name: value for name, value in pins.items() if value is not None}
    return " ".join(f"-c {name}=" + re.sub(r"([\\\s])", r"\\\1", value) for name, value in kept.items())


def dropped(side: Side, digits: object) -> ConnectFailed:
    """Return the error for a session that has `digits` for extra_float_digits instead of the pin."""
    return ConnectFailed(
        say(
            "The settings that our sessions ask for do not reach the {side}: {names}.",
            side=noun(side),
            names=say("{key} is {settings}", key="extra_float_digits", settings=str(digits)),
        ),
        hint=say(
            "Connection poolers and proxies may drop them, and then values could change on the way. "
            "Enter the address of the PostgreSQL server itself."
        ),
        code="POOLER-REFUSED",
    )
