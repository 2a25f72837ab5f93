"""Patterns on object names: a glob (`app_*`, `public.o*`) or a regular expression between slashes (`/^t_[0-9]+$/`).

Names come from a server that we do not trust and patterns from whoever can sign in, so a pattern must never be able to
run for long: globs become expressions that cannot go back, and regular expressions run on an automaton of our own
(`automaton`) whose work is counted. A selection keeps globs only: they can never fail while a migration runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from .automaton import Automaton, PatternError
from .values import frozen
from .wording import say

__all__ = ["LONGEST_PATTERN", "NamePattern", "PatternError", "compile_glob", "compile_pattern"]

LONGEST_PATTERN = 130
"""Characters: two full names and a dot, or slashes."""

_Test = Callable[[str], bool]


@frozen(kw_only=False)
class NamePattern:
    """A pattern that was read. `table_text` is its part about the name alone, as a pattern of its own."""

    text: str
    table_text: str
    _schema: _Test | None
    _name: _Test

    def matches_schema(self, schema: str) -> bool:
        """Say whether objects of this schema can match at all."""
        return self._schema is None or self._schema(schema)

    def matches_name(self, name: str) -> bool:
        """Say whether an object of this name matches, if those of its schema can."""
        return self._name(name)

    def matches(self, schema: str, name: str) -> bool:
        """Say whether an object matches. Upper and lower case differ, as they do in the server."""
        return (self._schema is None or self._schema(schema)) and self._name(name)


def compile_pattern(text: str) -> NamePattern:
    """Read a glob or, between slashes, a regular expression. Raises PatternError in words for the one who typed it.

    A regular expression is looked for anywhere in the name unless it is anchored. Its allowance of work belongs to the
    returned object: compile anew for each search.
    """
    if not text.startswith("/"):
        return compile_glob(text)
    _refuse_odd(text)
    if len(text) < 3 or not text.endswith("/"):
        raise PatternError(say("A regular expression stands between two slashes: /^t_[0-9]+$/."))
    return NamePattern(text, text, None, Automaton(text[1:-1]).found_in)


@lru_cache(maxsize=256)
def compile_glob(text: str) -> NamePattern:
    """Read a glob: `*` stands for anything, `?` for one character, a dot parts schema and name. Raises PatternError."""
    _refuse_odd(text)
    schema, dot, name = text.partition(".")
    if not dot:
        return NamePattern(text, text, None, _glob(text))
    if not schema or not name:
        raise PatternError(say("A dot parts schema and name: public.o*."))
    if "." in name:
        raise PatternError(say("Only one dot can part schema and name; write ? for a dot inside a name."))
    return NamePattern(text, name, _glob(schema), _glob(name))


def _refuse_odd(text: str) -> None:
    if not text.strip() or "\x00" in text:
        raise PatternError(say("The pattern is empty."))
    if len(text) > LONGEST_PATTERN:
        raise PatternError(say("A pattern has at most {number} characters.", number=LONGEST_PATTERN))


def _glob(text: str) -> _Test:
    """Return a test of a whole name. Each piece between two stars is taken at its first place and never given back."""
    pieces = re.split(r"\*+", text)
    parts = ["".join("." if char == "?" else re.escape(char) for char in piece) for piece in pieces]
    if len(parts) == 1:
        expression = parts[0]
    else:
        middle = "".join(f"(?>.*?{part})" for part in parts[1:-1] if part)
        expression = f"{parts[0]}{middle}.*{parts[-1]}"
    compiled = re.compile(rf"(?s:{expression})\Z")
    return lambda name: compiled.match(name) is not None
