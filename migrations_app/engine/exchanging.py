"""Writes the statements that give tables of the target the names that those of the source have now.

Pure, as `drifting`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .drift import Change, ChangeKind, Doubt, Drift, Place
from .names import qualified, quote


def renaming_statements(old: Place, new: Place) -> tuple[str, ...]:
    """Return the statements that give a table another schema, another name, or both."""
    found = []
    if old[0] != new[0]:
        found.append(f"ALTER TABLE {qualified(*old)} SET SCHEMA {quote(new[0])}")
    if old[1] != new[1]:
        found.append(f"ALTER TABLE {qualified(new[0], old[1])} RENAME TO {quote(new[1])}")
    return tuple(found)


def exchanged_tables(
    moves: Sequence[tuple[Place, Place]], on_target: Callable[[Place], Place], aside: Place | None
) -> Drift:
    """Return the drift of tables that exchanged their names on the source: (old, new) of each, new being that of the
    next one's old name.

    `aside`: what the first one is called on the target meanwhile; None where they cannot be exchanged there.
    """
    names = [(".".join(old), ".".join(new)) for old, new in moves]
    statements: list[str] = []
    if aside is not None:
        (first, last), *rest = moves
        statements += renaming_statements(on_target(first), aside)
        for old, new in reversed(rest):
            statements += renaming_statements(on_target(old), on_target(new))
        statements += renaming_statements(aside, on_target(last))
    return Drift(
        schema=moves[0][0][0],
        name=moves[0][0][1],
        changes=tuple(Change(kind=ChangeKind.TABLE_RENAMED, name=old, old=old, new=new) for old, new in names),
        statements=tuple(statements),
        doubt=Doubt.NONE if statements else Doubt.OTHER_NAME,
    )
