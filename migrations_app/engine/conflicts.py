"""A change that does not fit the target: what is known about it, and the leave to put the source's row in its place."""

from __future__ import annotations

from enum import StrEnum

from .values import frozen


class ConflictKind(StrEnum):
    """What the change met on the target."""

    ROW_MISSING = "row_missing"
    DUPLICATE_KEY = "duplicate_key"
    TWO_ROWS = "two_rows"
    REFUSED = "refused"  # a constraint, trigger or rule of the target


class Obstacle(StrEnum):
    """Why the source's row cannot take the place of what is on the target."""

    NONE = ""
    OTHER_KEY = "other_key"  # another unique constraint than the key: more rows than this one would have to go
    NOT_WHOLE = "not_whole"  # the stream leaves a large value out that did not change
    REFUSED = "refused"  # the target does not take the row at all
    AT_THE_END = "at_the_end"  # the key is checked at the end of a transaction: nothing tells which change it was


@frozen
class Conflict:
    """Where the sync stopped. `key` shows the row's key shortened, which is user data; `digest` tells one from another.

    `lsn` is where the commit of the source's transaction begins. Names are the source's. Where a check at the end of a
    transaction failed, `change` is "change", `key` the constraint's name, and `lsn` may be that of a later transaction.
    """

    database: str
    schema: str
    name: str
    kind: ConflictKind
    change: str  # insert, update, delete; change: one of them
    key: str
    digest: str
    lsn: int
    obstacle: Obstacle = Obstacle.NONE


@frozen
class Permission:
    """Leave to take the source's row once: for this row, in this transaction of the source."""

    number: int
    schema: str
    name: str
    digest: str
    lsn: int


class Use(StrEnum):
    """What became of a permission when its transaction had been applied for good."""

    TAKEN = "taken"
    NOT_NEEDED = "not_needed"  # the change fitted by then
    UNKNOWN = "unknown"  # the worker died between the commit and its note of it
