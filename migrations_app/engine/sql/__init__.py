"""Named catalog queries: each file can be pasted into psql.

`NAME.sql` is for every version that its head names. Where older servers lack a whole catalog, `NAME.before-10.sql`
stands beside it; single columns that some versions lack are read through row_to_json, which all of them parse.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import LiteralString

import psycopg

_VARIANT = ".before-"


def query(name: str, version: int | None = None) -> LiteralString:
    """Return the text of `name`.sql for a server of this version (such as 90624).

    Raises FileNotFoundError for an unknown name, and LookupError when the text depends on the version and none is
    given. 0 is what a session says that has ended: then it raises psycopg.OperationalError, as the query would.
    """
    older = _variants(name)
    if older and version is None:
        raise LookupError(f"{name}.sql depends on the version of the server")
    if older and not version:
        raise psycopg.OperationalError("the connection is lost")
    for before, variant in older:
        if version is not None and version < before:
            return _text(variant)
    return _text(name)


@cache
def _text(name: str) -> LiteralString:
    return resources.files(__name__).joinpath(f"{name}.sql").read_text()


def _variants(name: str) -> list[tuple[int, str]]:
    """Return (version before which it is meant, name of the file), oldest first."""
    return _all_variants().get(name, [])


@cache
def _all_variants() -> dict[str, list[tuple[int, str]]]:
    """Return the variants of each query that has some. The folder is looked through once, not for each query."""
    found: dict[str, list[tuple[int, str]]] = {}
    for file in resources.files(__name__).iterdir():
        stem = file.name.removesuffix(".sql")
        name, variant, version = stem.partition(_VARIANT)
        if variant:
            found.setdefault(name, []).append((version_number(version), stem))
    return {name: sorted(variants) for name, variants in found.items()}


def version_number(words: str) -> int:
    """Return 90600 for `9.6` and 100000 for `10`."""
    first, _, second = words.partition(".")
    return int(first) * 10000 + int(second or 0) * 100
