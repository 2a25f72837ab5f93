"""Whether two servers mean the same by texts that they print in their own ways."""

from __future__ import annotations

import re
from collections.abc import Callable

import psycopg

from ..connect import Connection
from ..names import qualified
from ..newer_words import quoted
from .things import Thing, without_quotes

Prints = Callable[[str], str | None]
"""Says how the target prints a query; None when it cannot read it."""

_NOISE = re.compile(r'[\s()]|::(?:"[^"]*"|[a-z_ ])+(?:\.(?:"[^"]*"|[a-z_ ])+)?(?:\[\])*')
_EXPRESSIONS = frozenset({"default", "using", "with check", "generated as"})
_OTHERS = frozenset({"definition", "constraints", "partition", "partition key", "settings", "arguments", "returns"})
_NAMES = frozenset(
    {
        *("type", "of type", "base", "attributes", "range", "key type", "state type", "parents", "part of"),
        *("function", "functions", "handler", "validator", "operators", "commutator", "negator", "sort operator"),
        *("collation", "mappings"),
    }
)
_QUOTED_OPTION = re.compile(r"(?<=[( ])(\w+)='([\w.-]+)'(?=[,)])")
_IN_ARGUMENT = re.compile(r"(^|, )IN (?=\S)")
_VIEW = "towpath_as_printed"


def same_text(thing: Thing, part: str, here: str, there: str, prints: Prints) -> bool:
    """Say whether two definitions mean the same, although they are written in different ways.

    What a server prints is not always what it prints of that again, and versions differ. The target decides where it
    can read both texts; else brackets and casts do not count.
    """
    if part in _NAMES:
        return without_quotes(here) == without_quotes(there)
    if part not in _EXPRESSIONS | _OTHERS:
        return False
    ours, theirs = _query(thing, part, quoted(here)), _query(thing, part, there)
    if ours and theirs:
        printed = prints(ours)
        if printed is not None:
            return printed in (prints(theirs), there)
    return _plain(thing, part, here) == _plain(thing, part, there)


def _plain(thing: Thing, part: str, text: str) -> str:
    if thing.kind == "trigger":  # since 11 a trigger executes a FUNCTION
        text = text.replace(" EXECUTE PROCEDURE ", " EXECUTE FUNCTION ", 1)
    elif part == "arguments":  # since 14 IN stands before the arguments of procedures
        text = _IN_ARGUMENT.sub(r"\1", text)
    elif thing.kind in ("index", "constraint"):  # 9.3 and 9.4 wrote options without quotes at first
        text = _QUOTED_OPTION.sub(r"\1=\2", text)
    return _NOISE.sub("", without_quotes(text))


def _query(thing: Thing, part: str, text: str) -> str:
    """Return a query that holds the text; '' when it is part of no query."""
    if thing.kind in ("view", "materialized view") and part == "definition":
        return text
    if part == "definition" and thing.kind == "constraint" and text.startswith("CHECK ("):
        text = text.removeprefix("CHECK ").removesuffix(" NO INHERIT").removesuffix(" NOT ENFORCED")
    elif part not in _EXPRESSIONS:
        return ""
    return f"SELECT ({text}) FROM {qualified(thing.schema, thing.table)}"  # noqa: S608 - run as a view, and only that


def printed_by(connection: Connection) -> Prints:
    """Return what says how the session's server prints a query: it is made a temporary view, and taken back.

    Nothing stays. Raises psycopg's errors when the session is lost.
    """

    def prints(text: str) -> str | None:
        statement = f"CREATE TEMPORARY VIEW {_VIEW} AS {text.rstrip().removesuffix(';')}"
        try:
            with connection.transaction(force_rollback=True):
                connection.execute("SET LOCAL lock_timeout = '2s'")
                _run_one(connection, statement)
                row = connection.execute(
                    f"SELECT pg_catalog.pg_get_viewdef('pg_temp.{_VIEW}'::pg_catalog.regclass)".encode()
                ).fetchone()
        except psycopg.Error:
            if connection.closed:
                raise
            return None
        return str(row[0]) if row else None

    return prints


def _run_one(connection: Connection, statement: str) -> None:
    """Run one statement: a text of the source that holds more than one is refused by the protocol itself."""
    result = connection.pgconn.exec_params(statement.encode(), [])
    if result.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(result)
