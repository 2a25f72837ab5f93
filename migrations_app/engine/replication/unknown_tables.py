"""A table of the source that the task does not know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..drift import Place


class UnknownTable(NamedTuple):
    """A table with rows of its own that the task does not know.

    `top`, `top_place`: the topmost partitioned table above it, 0 when it is no partition. `among`: another partition
    of that one is known.
    """

    oid: int
    place: Place
    unlogged: bool
    top: int
    top_place: Place
    among: bool


def unknown_table(row: Sequence[object]) -> UnknownTable:
    """Return what a row of `unknown_tables.sql` tells."""
    oid, schema, name, unlogged, top, top_schema, top_name, among = row
    return UnknownTable(
        oid=int(str(oid)),
        place=(str(schema), str(name)),
        unlogged=bool(unlogged),
        top=int(str(top or 0)),
        top_place=(str(top_schema or ""), str(top_name or "")),
        among=bool(among),
    )
