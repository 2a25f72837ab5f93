"""Puts the source's row in place of what is on the target, where somebody allowed it: once, for one row of one
transaction of the source.

A permission is looked at only when a change has failed: the change is then known, everything of its batch is taken
back, and when it is done again this change replaces what is in its way. It goes with the transaction that moves the
bookmark, so it happens exactly once; it is used up when that is on the target for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..conflicts import Obstacle, Permission, Use
from .failures import Texts, conflict_of
from .pgoutput import Delete, Insert, Update
from .pipeline import StatementFailed
from .row_path import Change


class Taking:
    """The permissions of one database during one session. One thread only."""

    def __init__(
        self,
        permissions: Iterable[Permission],
        used: Callable[[Permission, Use], None],
        texts: Texts,
        *,
        position: int,
    ) -> None:
        """`used` writes down what became of a permission. `position`: where the session begins, durable."""
        self._used = used
        self._texts = texts
        self._waiting = list(permissions)
        self._taken: set[Permission] = set()
        self._changes: list[tuple[int, Insert | Update | Delete]] = []
        self._passed(position, Use.UNKNOWN)

    @property
    def waits(self) -> bool:
        """Whether there is a permission that is not used up."""
        return bool(self._waiting)

    @property
    def took(self) -> bool:
        """Whether something was taken that is not on the target for good."""
        return bool(self._changes)

    def allows(self, failure: StatementFailed) -> bool:
        """Say whether what failed is allowed to take the source's row; `takes` is true of it from then on."""
        change = failure.context
        if not self._waiting or not isinstance(change, Change) or self.takes(change):
            return False
        conflict = conflict_of(change, failure.error, failure.affected, self._texts)
        if conflict is None or conflict.obstacle is not Obstacle.NONE:
            return False
        place = (conflict.schema, conflict.name, conflict.digest, conflict.lsn)
        found = [one for one in self._waiting if (one.schema, one.name, one.digest, one.lsn) == place]
        if found:
            self._taken.update(found)
            self._changes.append((change.final, change.message))
        return bool(found)

    def takes(self, change: Change) -> bool:
        """Say whether this change replaces what is in its way."""
        return bool(self._changes) and (change.final, change.message) in self._changes

    def durable(self, position: int) -> None:
        """Use up what lies before `position`: everything before it is on the target for good."""
        self._passed(position, Use.NOT_NEEDED)
        self._changes = [one for one in self._changes if one[0] >= position]

    def _passed(self, position: int, use: Use) -> None:
        for permission in [one for one in self._waiting if one.lsn < position]:
            self._used(permission, Use.TAKEN if permission in self._taken else use)
            self._waiting.remove(permission)
