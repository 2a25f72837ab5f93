"""Names of storage parameters, which a source before 11 took in any case and later servers want in small letters.

Such a server keeps `WITH ("Fillfactor"=70)` as it was written, obeys it, and pg_dump hands it on.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

from .sqltokens import NAME, Token, UnreadableSql, cut
from .toc import Entry

_WITH_OPTIONS = frozenset({"TABLE", "INDEX", "CONSTRAINT", "VIEW", "MATERIALIZED VIEW"})
_MAY_HAVE = re.compile(rb'"[a-z0-9_]*[A-Z][A-Za-z0-9_]*"=')
_OPTION = re.compile(r'"[A-Za-z_][A-Za-z0-9_]*"')
_LISTED = re.compile(r"(?:^|(?<=, ))[A-Za-z0-9_]+(?==)")


def with_small_options(entry: Entry, *, backslash: bool = False) -> Entry:
    """Return an entry of an archive with the names of its storage parameters in small letters.

    `backslash`: plain strings of the archive have escapes.
    """
    if entry.type not in _WITH_OPTIONS or not _MAY_HAVE.search(entry.definition):
        return entry
    try:
        text = small_options(entry.definition.decode(errors="surrogateescape"), backslash=backslash)
    except UnreadableSql:
        return entry
    return replace(entry, definition=text.encode(errors="surrogateescape"))


def small_options(text: str, *, backslash: bool = False) -> str:
    """Return SQL that a server or pg_dump has written with the names of storage parameters in small letters.

    They alone stand right before a `=`: around one that compares both write blanks. Raises UnreadableSql.
    """
    tokens = [*cut(text, backslash=backslash), Token("", "", "")]
    return "".join(_small(one) if behind.text == "=" else one.text for one, behind in pairwise(tokens))


def _small(token: Token) -> str:
    is_option = token.kind == NAME and _OPTION.fullmatch(token.text) and token.value != token.value.lower()
    return token.value.lower() if is_option else token.text


def small_listed(options: str) -> str:
    """Return options as a catalog has them, `Fillfactor=70, autovacuum_enabled=false`, with names in small letters."""
    return _LISTED.sub(lambda found: found[0].lower(), options)
