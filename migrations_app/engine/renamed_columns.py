"""Columns that have another name on the source, told by their numbers where a table is copied again. Pure.

A column that gets its new name on the target keeps what hangs on it there, such as the primary key; one that is dropped
and added takes that with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .drift import Column, Place
from .names import qualified, quote
from .rows_file import without_file
from .shapes import Shape


def renamed_columns(numbers: Iterable[tuple[str, int]], new: Sequence[Column], there: Shape) -> dict[str, str]:
    """Return new names by old ones, of columns of the target's table that the source calls otherwise now.

    `numbers`: what is remembered of the source's columns as they were when the target was alike. `new`: the stored
    columns of the source as they are. Columns of another type, and identities, which the ledger knows by their names,
    are left out.
    """
    known = without_file(numbers)
    here = {column.number: column for column in new}
    taken = {column.name for column in there.columns}
    found: dict[str, str] = {}
    for column in there.stored:
        now = here.get(known.get(column.name, 0))
        if now is None or now.name in taken:  # its own, or that of another one
            continue
        if now.type_name == column.type_name and not (column.identity or now.identity):
            found[column.name] = now.name
    return found


def renaming_statement(place: Place, old: str, new: str) -> str:
    """Return the statement that renames a column of a table."""
    return f"ALTER TABLE {qualified(*place)} RENAME COLUMN {quote(old)} TO {quote(new)}"


def with_names(shape: Shape, renamed: Mapping[str, str]) -> Shape:
    """Return a table whose columns have got these names."""
    columns = tuple(replace(column, name=renamed.get(column.name, column.name)) for column in shape.columns)
    return replace(shape, columns=columns, key=tuple(renamed.get(name, name) for name in shape.key))
