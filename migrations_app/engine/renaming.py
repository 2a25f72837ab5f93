"""Gives schemas other names in SQL text that pg_dump or the server has written.

Such text names every schema: the search path was empty. A name is changed where it qualifies another one, where the
statement is about the schema itself, and in strings that the server reads as a name (`'s.seq'::regclass`); never in
other strings, comments or bodies of functions. Inside of queries the same word may also be the alias of a table: what
stands where columns stand is then left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from .names import literal, quote
from .sqltokens import COMMENT, DOLLAR, NAME, OPERATOR, SPACE, STRING, WORD, Token, UnreadableSql, cut, string_content

TableName = tuple[str, str]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SIMPLE = re.compile(r"[a-z_][a-z0-9_]*")
_REG = _words("regclass regtype regproc regprocedure regoper regoperator regconfig regdictionary regcollation")
_BEFORE_SCHEMA = _words("create drop alter on in with set")
_QUERIES = _words("view rule function procedure policy trigger")
_BEFORE_KIND = _words("create or replace recursive materialized constraint")
_IMPLIED = frozenset(("old", "new", "excluded"))
# Behind these stands a column; behind any other word a relation or a type.
_BEFORE_COLUMN = _words(
    "select distinct where and or not when then else case by in like ilike between having set values returning"
    " limit offset is all any some array row similar escape for filter over partition return both leading trailing"
    " passing within order group symmetric interval with check zone placing document content value key variadic"
)
_CLAUSES = _words("select from where group having order window limit offset set returning values")
_FROM_INSIDE = _words("extract substring trim overlay position btrim ltrim rtrim")
_QUOTES = re.compile(r"""["'\\]""")
_NOTHING = Token("other", "", "")


class UnclearName(ValueError):
    """A name stands where it cannot be changed safely."""


@dataclass(frozen=True, eq=False)
class Renaming:
    """The names that the schemas of one database get on the target. Falsy when all keep theirs."""

    schemas: Mapping[str, str] = field(default_factory=dict)
    """New name by old name."""
    written: Mapping[str, str] = field(default_factory=dict)
    """How the target writes a name in SQL text, where that is not plain."""
    elsewhere: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Schema on the target of what belongs to extensions, by (schema, name), where it is not the schema's new name."""
    extensions: Mapping[str, str] = field(default_factory=dict)
    """Schema on the target of each extension of a renamed schema."""

    def __bool__(self) -> bool:
        return bool(self.schemas)

    def schema(self, name: str) -> str:
        """Return the schema's name on the target."""
        return self.schemas.get(name, name)

    def place(self, name: TableName) -> TableName:
        """Return (schema, name) of an object on the target."""
        return (self.schemas.get(name[0], name[0]), name[1])

    def text(self, text: str, *, backslash: bool = False) -> str:
        """Return SQL text with the target's names in it; text that names no renamed schema comes back as it is.

        Raises UnclearName, or UnreadableSql for what is no SQL.
        """
        if not self.may_be_in(text):
            return text
        return _Rewriter(self, cut(text, backslash=backslash), backslash).result()

    def may_be_in(self, text: str) -> bool:
        """Say whether the text could name a renamed schema, at a glance."""
        return any(mark in text for mark in self._marks)

    def shown(self, text: str) -> str:
        """Return `text` for a comparison or a message: as it is when it cannot be read."""
        try:
            return self.text(text)
        except ValueError:
            return text

    def write(self, schema: str) -> str:
        """Return a target schema's name as the target writes it in SQL text."""
        return self.written.get(schema) or (schema if _SIMPLE.fullmatch(schema) else quote(schema))

    def bodies(self, text: str) -> bool:
        """Say whether a body or another long string in `text` names a renamed schema: such text is never changed."""
        return any(self._mention.search(token.text) for token in cut(text) if token.kind in (DOLLAR, STRING))

    def mentioned(self, body: str) -> bool:
        """Say whether a function's body seems to name a renamed schema."""
        return bool(self and self._mention.search(body))

    @cached_property
    def _marks(self) -> tuple[str, ...]:
        # Quotes and backslashes are written in several ways: the longest piece without them must be there.
        return tuple(max(_QUOTES.split(name), key=len) for name in self.schemas)

    @cached_property
    def _mention(self) -> re.Pattern[str]:
        plain = "|".join(re.escape(name) for name in self.schemas)
        quoted = "|".join(re.escape(quote(name)) for name in self.schemas)
        return re.compile(rf'(?:{quoted}|(?<![\w$".])(?:{plain}))\s*\.', re.IGNORECASE)


class _Rewriter:
    """One pass over the tokens of a text."""

    def __init__(self, names: Renaming, tokens: list[Token], backslash: bool) -> None:
        self.names, self.tokens, self.backslash = names, tokens, backslash
        self.at = [at for at, token in enumerate(tokens) if token.kind not in (SPACE, COMMENT)]
        self.out = [token.text for token in tokens]
        self.query_from = self._query_from()
        self.aliases = self._aliases()

    def peek(self, place: int) -> Token:
        """Return the token at a place among those that mean something."""
        return self.tokens[self.at[place]] if 0 <= place < len(self.at) else _NOTHING

    def result(self) -> str:
        schemas, tokens = self.names.schemas, self.tokens
        for place, at in enumerate(self.at):
            kind, _, name = tokens[at]
            if kind == STRING:
                self._string(place)
            elif name in schemas:
                target = self._target(place, name)
                if target is not None:
                    self.out[at] = self.names.write(target)
        return "".join(self.out)

    def _target(self, place: int, name: str) -> str | None:
        """Return the schema to write at a place, None when the word is something else."""
        new = self.names.schemas[name]
        if self.peek(place + 1).text == ".":
            if self.peek(place - 1).text == ".":
                return None
            what = self.peek(place + 2)
            if what.kind == OPERATOR:
                is_row = what.text == "*" and not self._is_operator(place)
                return None if is_row else self.names.elsewhere.get((name, what.text), new)
            if what.kind not in (NAME, WORD):
                return None
            if name in self.aliases and place >= self.query_from and not self._is_certain(place):
                return None
            return self.names.elsewhere.get((name, what.value), new)
        if self._names_schema(place):
            return self._of_extension(place, new)
        return new if self._in_search_path(place) else None

    def _names_schema(self, place: int) -> bool:
        place -= 2 if self.peek(place - 1).value == "exists" else 0
        before = self.peek(place - 1)
        return (before.kind, before.value) == (WORD, "schema") and self.peek(place - 2).value in _BEFORE_SCHEMA

    def _of_extension(self, place: int, new: str) -> str:
        words = [self.peek(at).value for at in range(place)]
        if words[:2] != ["create", "extension"]:
            return new
        return self.names.extensions.get(words[-3], new)

    def _in_search_path(self, place: int) -> bool:
        """Say whether the place lies in the list of `SET search_path TO a, b`."""
        while self.peek(place - 1).text == ",":
            place -= 2
        to = self.peek(place - 1)
        return (
            (to.value == "to" or to.text == "=")
            and self.peek(place - 2).value == "search_path"
            and self.peek(place - 3).value == "set"
        )

    def _is_operator(self, place: int) -> bool:
        before = self.peek(place - 1)
        if before.text == "(" or before.kind == "number":
            before = self.peek(place - 2)
        return before.value == "operator"

    def _string(self, place: int) -> None:
        token = self.peek(place)
        content = string_content(token.text, backslash=self.backslash) if self.names.may_be_in(token.text) else None
        if not content:
            return
        if content in self.names.schemas and self._in_search_path(place):
            self.out[self.at[place]] = literal(self.names.schemas[content])
            return
        kind, is_list = self._read_as(place)
        if kind == "regnamespace":
            bare = _bare(content)
            changed = self.names.write(self.names.schemas[bare]) if bare in self.names.schemas else content
        elif kind in _REG:
            changed = self.names.text(content)
        else:
            return
        if changed != content:
            if is_list and '"' in changed:
                raise UnclearName(f"a list of names cannot be changed: {token.text}")
            self.out[self.at[place]] = literal(changed)

    def _read_as(self, place: int) -> tuple[str, bool]:
        """Return the type that the server reads the string as (`'x'::t` or `('x'::text)::t`), and if it is an array."""
        kind, end = self._cast(place + 1)
        if kind == "text" and self.peek(end).text == ")":
            kind, end = self._cast(end + 1)
        return kind, self.peek(end).text == "["

    def _cast(self, place: int) -> tuple[str, int]:
        if self.peek(place).text != "::":
            return "", place
        place += 1
        if self.peek(place).value == "pg_catalog" and self.peek(place + 1).text == ".":
            place += 2
        return self.peek(place).value, place + 1

    def _query_from(self) -> int:
        """Return the place from which on column references may stand; beyond the end when there are none."""
        words = (self.peek(place).value for place in range(len(self.at)))
        first = self.peek(0).value
        kind = next((word for word in words if word not in _BEFORE_KIND), "")
        if first in ("select", "with"):
            return 0
        if first != "create" or kind not in _QUERIES:
            return len(self.at)
        return self._body() if kind in ("function", "procedure") else 0

    def _body(self) -> int:
        """Return the place where the statements of a function begin that are no string."""
        for place in range(len(self.at)):
            word = self.peek(place).value
            if word == "return" or (word == "begin" and self.peek(place + 1).value == "atomic"):
                return place
        return len(self.at)

    def _aliases(self) -> set[str]:
        """Return the renamed schemas whose names stand in a query as something else too, such as an alias."""
        if self.query_from >= len(self.at):
            return set()
        found = _IMPLIED.intersection(self.names.schemas)
        for place in range(len(self.at)):
            name = self.peek(place).value
            if name in self.names.schemas and self.peek(place + 1).text != "." and not self._names_schema(place):
                found |= {name}
        return set(found)

    def _is_certain(self, place: int) -> bool:
        """Say whether only a schema can qualify a name here, although an alias has the same name."""
        if self.peek(place + 3).text == "(":
            return True
        before = self.peek(place - 1)
        if before.text == "(":
            return self._opens_relation(place - 1)
        if before.text == ",":
            return self._in_from_list(place - 1)
        if before.value == "from" and before.kind == WORD:
            return self._is_clause_from(place - 1)
        is_word = before.kind == WORD and before.value not in _BEFORE_COLUMN
        return is_word or before.text == "::" or before.kind == NAME

    def _is_clause_from(self, place: int) -> bool:
        if self.peek(place - 1).value == "distinct":
            return False
        depth = 0
        for at in range(place - 1, -1, -1):
            text = self.peek(at).text
            depth += (text == ")") - (text == "(")
            if depth < 0:
                return self.peek(at - 1).value not in _FROM_INSIDE
        return True

    def _opens_relation(self, place: int) -> bool:
        """Say whether the brackets that open here begin a list of joined tables."""
        while self.peek(place).text == "(":
            place -= 1
        before = self.peek(place)
        if before.text == ",":
            return self._in_from_list(place)
        return before.value == "join" or (before.value == "from" and self._is_clause_from(place))

    def _in_from_list(self, place: int) -> bool:
        """Say whether the comma at a place separates tables: the last clause that began before it is FROM."""
        depth = 0
        for at in range(place - 1, -1, -1):
            token = self.peek(at)
            depth += (token.text == ")") - (token.text == "(")
            if depth < 0:
                return False
            if not depth and token.kind == WORD and token.value in _CLAUSES:
                return token.value == "from" and self._is_clause_from(at)
        return False


def _bare(content: str) -> str:
    """Return the one name that a string holds, as the server reads it."""
    try:
        tokens = cut(content)
    except UnreadableSql:
        return ""
    return tokens[0].value if len(tokens) == 1 else ""
