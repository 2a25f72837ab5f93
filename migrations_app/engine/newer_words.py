"""Names that an older source writes plainly, and that later servers take for words of SQL.

A server quotes the names that are words of its own version only. Behind `system_user` an older one has a column, and
a later one its own value, without an error; an argument called `json` is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from .names import quote
from .sqltokens import COMMENT, NAME, SPACE, WORD, Token, UnreadableSql, cut
from .toc import Entry

SINCE = {
    **dict.fromkeys(("grouping", "tablesample"), 90500),
    **dict.fromkeys(("xmlnamespaces", "xmltable"), 100000),
    "normalize": 130000,
    **dict.fromkeys(("json_array", "json_arrayagg", "json_object", "json_objectagg", "system_user"), 160000),
    **dict.fromkeys(("json", "json_exists", "json_query", "json_scalar", "json_serialize"), 170000),
    **dict.fromkeys(("json_table", "json_value", "merge_action"), 170000),
}
"""The words that are not free for every use, by the first version (`server_version_num`) that has them."""
_NEWEST = max(SINCE.values())
_MAY_HAVE = re.compile("|".join(SINCE))
_ALSO_A_TYPE = "json"
_BEFORE_ARGUMENT = frozenset({"(", ",", "in", "out", "inout", "variadic"})


def with_quoted_words(entry: Entry, version: int, *, backslash: bool = False) -> Entry:
    """Return an entry of an archive with such names in quotes. `version` is the source's (`server_version_num`).

    `backslash`: plain strings of the archive have escapes.
    """
    if version >= _NEWEST:
        return entry
    definition, drop = (
        quoted(text.decode(errors="surrogateescape"), version, backslash=backslash).encode(errors="surrogateescape")
        for text in (entry.definition, entry.drop)
    )
    if (definition, drop) == (entry.definition, entry.drop):
        return entry
    return replace(entry, definition=definition, drop=drop)


def quoted(text: str, version: int = 0, *, backslash: bool = False) -> str:
    """Return SQL that a server of this version, or pg_dump for it, has written, with such names in quotes.

    It means the same on every server, so that all of them may be quoted (0). What stands in strings and comments
    stays, and so does text that is no SQL.
    """
    if version >= _NEWEST or not _MAY_HAVE.search(text):
        return text
    try:
        tokens = cut(text, backslash=backslash)
    except UnreadableSql:
        return text
    return "".join(_quoted(tokens, version))


def as_newest(name: str) -> str:
    """Return the name of a type, as format_type writes it, in the way of the newest server: types of two servers are
    the same where these are. It means the same on every server."""
    if "." not in name or not _MAY_HAVE.search(name):
        return name  # without a schema it is one of the server's own
    try:
        tokens = cut(name)
    except UnreadableSql:
        return name
    around = zip(["", *(one.text for one in tokens)], tokens, [*(one.text for one in tokens[1:]), ""], strict=False)
    return "".join(
        quote(one.text) if one.kind == WORD and one.text in SINCE and "." in (before, behind) else one.text
        for before, one, behind in around
    )


def _quoted(tokens: list[Token], version: int) -> Iterator[str]:
    before = ""
    for at, token in enumerate(tokens):
        is_name = token.kind == WORD and SINCE.get(token.text, 0) > version and before != "."
        if is_name and (token.text != _ALSO_A_TYPE or _is_argument(before, tokens, at)):
            yield quote(token.text)
        else:
            yield token.text
        if token.kind not in (SPACE, COMMENT):
            before = token.text.lower()


def _is_argument(before: str, tokens: list[Token], at: int) -> bool:
    """Say whether a word is the name of an argument, which stands before its type or its value."""
    behind = next((one for one in tokens[at + 1 :] if one.kind not in (SPACE, COMMENT)), None)
    return before in _BEFORE_ARGUMENT and behind is not None and (behind.kind in (WORD, NAME) or behind.text == "=>")
