"""Columns that the target computes and the source does not any more. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .drift import Column

COMPUTED = "GENERATED"
"""What such a column is on the target, in a change that tells of it."""
NOTHING: Mapping[str, bool] = {}


def computed_columns(old: Sequence[tuple[str, str, bool]], new: Sequence[Column]) -> dict[str, bool]:
    """Return the names of generated columns of the target that the source's catalog has as stored ones, and whether
    each is certain to be the same column, whose expression was dropped there: then its values are what they were.

    `old`: (name, type, whether it is generated) of the target's columns; `new` as for `compare`. One that was dropped
    and made anew stands at another place, or behind one that is gone.
    """
    before = dict(zip([name for name, _, _ in old], ["", *(name for name, _, _ in old)], strict=False))
    ahead = dict(zip([one.name for one in new], ["", *(one.name for one in new)], strict=False))
    stored = {one.name: one for one in new if not one.generated}
    return {
        name: stored[name].type_name == type_name
        and not (stored[name].after_dropped or stored[name].default)
        and before[name] == ahead[name]
        for name, type_name, generated in old
        if generated and name in stored
    }
