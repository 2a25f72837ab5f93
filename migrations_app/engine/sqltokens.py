"""Cuts SQL text into tokens as the server's scanner does, without understanding it: joined again they are the text.

For texts that pg_dump and the server's own functions write. What stands in strings, dollar quotes and comments is one
token, so nothing in it can be taken for a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

SPACE, COMMENT, DOLLAR, STRING, NAME, WORD, NUMBER, OPERATOR, OTHER = (
    "space",
    "comment",
    "dollar",
    "string",
    "name",
    "word",
    "number",
    "operator",
    "other",
)
_PLAIN = r"'(?:[^']|'')*'"
_ESCAPED = r"'(?:[^'\\]|\\.|'')*'"
_SCANNER = r"""
  (?P<space>\s+)
| (?P<word>(?![eEbBxXnN]'|[uU]&['"])[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*)
| (?P<comment>--[^\n]*|/\*)
| (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
| (?P<string>[eE]{escaped}|[uU]&{single}|[bBxXnN]?{plain})
| (?P<name>(?:[uU]&)?"(?:[^"]|"")*")
| (?P<number>(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?|\$\d+)
| (?P<operator>::|(?:(?!--|/\*)[-+*/<>=~!@\#%^&|`?])+)
| (?P<other>.)
"""
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ESCAPE = re.compile(r"''|\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_LETTERS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class UnreadableSql(ValueError):
    """A string, a name or a comment has no end."""


class Token(NamedTuple):
    """A piece of the text. `value` is the name that a `name` or `word` stands for; "" for everything else."""

    kind: str
    text: str
    value: str


def cut(text: str, *, backslash: bool = False) -> list[Token]:
    """Return the tokens of `text`. `backslash`: plain strings have escapes (standard_conforming_strings is off).

    Raises UnreadableSql.
    """
    return list(tokens_from(text, 0, backslash=backslash))


def tokens_from(text: str, at: int, *, backslash: bool = False) -> Iterator[Token]:
    """Yield the tokens of `text` from this place on, as `cut` does. Raises UnreadableSql where it comes to no end."""
    match = _pattern(backslash).match
    while (found := match(text, at)) is not None:
        kind, piece = str(found.lastgroup), found[0]
        if kind == WORD:
            yield Token(WORD, piece, piece.lower() if piece.isascii() else piece.translate(_LOWER))
            at += len(piece)
            continue
        if kind == DOLLAR:
            end = text.find(piece, found.end())
            piece = text[at : _known(end, piece) + len(piece)]
        elif piece == "/*":
            piece = text[at : _comment_end(text, at)]
        elif kind == OTHER and piece in "eE'\"":
            raise UnreadableSql(f"{piece} at {at} is never closed")
        yield Token(kind, piece, piece[1:-1].replace('""', '"') if kind == NAME and piece[0] == '"' else "")
        at += len(piece)


@cache
def _pattern(backslash: bool) -> re.Pattern[str]:
    plain = _ESCAPED if backslash else _PLAIN
    text = _SCANNER.replace("{escaped}", _ESCAPED).replace("{single}", _PLAIN).replace("{plain}", plain)
    return re.compile(text, re.DOTALL | re.VERBOSE)


def _known(at: int, what: str) -> int:
    if at < 0:
        raise UnreadableSql(f"{what} is never closed")
    return at


def _comment_end(text: str, at: int) -> int:
    """Return where a comment ends that begins at `at`; comments nest."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, at):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    raise UnreadableSql("/* is never closed")


def string_content(text: str, *, backslash: bool = False) -> str | None:
    """Return what a string token says, None for kinds that hold no text (bits, U&)."""
    escaped = text[0] in "eE"
    if not escaped and text[0] != "'":
        return None
    inner = text[2:-1] if escaped else text[1:-1]
    if not escaped and not backslash:
        return inner.replace("''", "'")
    return _unescaped(inner)


def _unescaped(inner: str) -> str:
    def plain(found: re.Match[str]) -> str:
        octal, hexadecimal, short, long, letter = found.groups()
        if found[0] == "''":
            return "'"
        if letter is not None:
            return _LETTERS.get(letter, letter)
        return chr(int(octal, 8) if octal else int(hexadecimal or short or long, 16))

    return _ESCAPE.sub(plain, inner)
