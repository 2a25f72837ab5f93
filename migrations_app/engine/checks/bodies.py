"""Which functions mean the same under any search_path: those whose bodies name nothing but what every server has."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from ..connect import Connection
from ..sql import query
from ..sqltokens import COMMENT, DOLLAR, NAME, OPERATOR, OTHER, SPACE, STRING, WORD, Token, UnreadableSql, cut
from ..values import frozen

_SQL = frozenset(
    {
        *("select", "case", "when", "then", "else", "end", "and", "or", "not", "is", "null", "true", "false", "as"),
        *("between", "in", "like", "ilike", "distinct", "coalesce", "nullif", "greatest", "least", "cast", "row"),
        *("array", "int", "integer", "smallint", "bigint", "real", "float", "decimal", "numeric", "boolean", "char"),
        *("character", "varchar", "varying", "double", "precision", "bit", "interval", "timestamp", "time", "zone"),
        *("at", "without", "trim", "both", "leading", "trailing", "from", "for", "placing", "substring", "position"),
        *("overlay", "extract", "symmetric", "similar", "escape", "unknown"),
    }
)
_PLPGSQL = frozenset({"begin", "return", "if", "elsif", "declare", "constant", "default", "while", "loop", "exit"})
_FIELD = frozenset({"extract"})
"""Behind these and a bracket stands the name of a part of a time, which is looked up nowhere."""
_MEANT = {
    "between": ("<=", ">="),
    "in": ("=", "<>"),
    "case": ("=",),
    "nullif": ("=",),
    "distinct": ("=",),
    "like": ("~~", "!~~"),
    "ilike": ("~~*", "!~~*"),
}
"""Operators that a word stands for."""
_MARKS = frozenset("()[],;:.")
_NONE = Token(OTHER, "", "")


@frozen(kw_only=False)
class Body:
    """A function: its name as it is shown, its language and text, and the names of its arguments."""

    name: str
    language: str
    text: str
    arguments: frozenset[str]

    @classmethod
    def of(cls, name: Any, _statement: Any, language: Any, text: Any, arguments: Any) -> Body:
        """Return what a row of check_called_functions.sql tells, but for its first column."""
        return cls(str(name), str(language), str(text), frozenset(str(one) for one in arguments))


def same_everywhere(source: Connection, bodies: Iterable[Body]) -> set[str]:
    """Return the names of those functions that find nothing by the search_path. Others may be harmless too."""
    read = {body: tokens for body in bodies if (tokens := _tokens(body)) is not None}
    words = {word for body, tokens in read.items() for word in _asked(tokens)}
    rows = source.execute(query("check_plain_names"), {"words": sorted(words)}).fetchall() if words else []
    plain = {str(word) for word, kind in rows if kind == "plain"}
    taken = {str(word) for word, kind in rows if kind == "taken"}
    return {body.name for body, tokens in read.items() if _is_plain(body, tokens, plain, taken)}


def _tokens(body: Body) -> list[Token] | None:
    """Return what a body is made of; None when it cannot be read, or has what may hide something."""
    if body.language not in ("sql", "plpgsql"):
        return None
    try:
        found = [one for one in cut(body.text) if one.kind not in (SPACE, COMMENT)]
    except UnreadableSql:
        return None
    hides = any(
        one.kind == DOLLAR or "\\" in one.text or (one.kind == OTHER and one.text not in _MARKS) for one in found
    )
    return None if hides else found


def _asked(tokens: list[Token]) -> set[str]:
    """Return the names and operators of a body, with those that its words stand for, and the parts of operators."""
    found = {one.value for one in tokens if one.kind in (WORD, NAME)}
    found |= {sign for word in found for sign in _MEANT.get(word, ())}
    for one in tokens:
        if one.kind == OPERATOR:
            size = len(one.text)
            found |= {one.text[start:end] for start in range(size) for end in range(start + 1, size + 1)}
    return found


def _is_plain(body: Body, tokens: list[Token], plain: set[str], taken: set[str]) -> bool:
    if any(not (sign[0].isalnum() or sign[0] == "_") and sign in taken for sign in _asked(tokens)):
        return False
    known = _SQL | (_PLPGSQL if body.language == "plpgsql" else frozenset())
    own = body.arguments | (_declared(tokens) if body.language == "plpgsql" else frozenset())
    if any(one.value == "from" for one in tokens):
        own -= taken  # a table may have the name
    for at, one in enumerate(tokens):
        before = tokens[at - 1] if at else _NONE
        after = tokens[at + 1] if at + 1 < len(tokens) else _NONE
        if one.kind not in (WORD, NAME) or (one.value == "pg_catalog" and after.text == "."):
            continue
        if before.text == "." and (at < 2 or tokens[at - 2].value != "pg_catalog"):
            return False
        if before.text == "(" and at > 1 and tokens[at - 2].value in _FIELD:
            continue
        of_type = before.text in (".", "::") or before.value == "as" or after.text == "(" or after.kind == STRING
        if one.value in own and not of_type:
            continue
        if one.value in taken or (one.value not in plain and (one.kind == NAME or one.value not in known)):
            return False
    return True


def _declared(tokens: list[Token]) -> frozenset[str]:
    """Return the variables of a body that has one block: each begins a line of its DECLARE."""
    if not tokens or tokens[0].value != "declare" or [one.value for one in tokens].count("begin") != 1:
        return frozenset()
    found = set()
    for before, one in pairwise(tokens):
        if one.value == "begin":
            break
        if before.text == ";" or before is tokens[0]:
            found.add(one.value)
    return frozenset(found)
