"""Generated columns that the source computes otherwise than the target: nothing of them travels. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .drift import UNREAD, Change, ChangeKind, Column, Drift, Place
from .drifting import computed_statement
from .names import qualified, quote

_SET_EXPRESSION_SINCE = 170000


def recomputed(
    source: Place, target: Place, old: Sequence[Column], new: Sequence[Column], *, version: int, alone: bool = False
) -> Drift | None:
    """Compare what generated columns of both sides are computed from, which is their default; None when it is alike.

    `old` are the target's, `new` the source's as the target calls what is in them. `target`: the table that statements
    are for. `version`: of the target. `alone`: what is below that table, or above it, computes otherwise on the source,
    and is not to be changed along: only newer servers can do that.
    """
    there = {column.name: column for column in old if column.generated}
    changes: list[Change] = []
    statements: list[str] = []
    for column in new:
        before = there.get(column.name)
        if before is None or not column.generated or column.default == before.default != UNREAD:
            continue
        changes.append(
            Change(kind=ChangeKind.GENERATED, name=column.name, old=_shown(before.default), new=_shown(column.default))
        )
        statements += _statements(target, column, version, alone=alone)
    if not changes:
        return None
    if any(column.default == UNREAD for column in (*old, *new) if column.generated):
        statements = []
    return Drift(schema=source[0], name=source[1], changes=tuple(changes), statements=tuple(statements))


def together(one: Drift | None, other: Drift | None) -> Drift | None:
    """Return two drifts of one table as one, which has statements where both have."""
    if one is None or other is None:
        return one or other
    both = not one.doubt and one.statements and other.statements
    statements = (*one.statements, *other.statements) if both else ()
    return replace(one, changes=(*one.changes, *other.changes), statements=statements, harmless=False, digest="")


def _shown(expression: str) -> str:
    return f"GENERATED ALWAYS AS ({expression})"


def _statements(target: Place, column: Column, version: int, *, alone: bool) -> list[str]:
    table, name = qualified(*target), quote(column.name)
    if version >= _SET_EXPRESSION_SINCE:
        only = "ONLY " if alone else ""
        return [f"ALTER TABLE {only}{table} ALTER COLUMN {name} SET EXPRESSION AS ({column.default})"]
    if alone:
        return []
    return [f"ALTER TABLE {table} DROP COLUMN {name}", computed_statement(table, column)]
