"""Compares small tables many at a time: what they cost is the round trips to the servers, not their rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..connect import Connection
from .hashing import Dialect, Digest, Shape, fetch

T = TypeVar("T")
_MOST = 32
_LOCK_TIMEOUT = "100ms"
"""How long a batch may wait for a lock while it holds others. A session of the application that waits for one of these
would look for a deadlock after a second at the earliest, and be the one that gives way."""
# By names of the catalog's own type, which its index finds: else each batch would read the whole list of relations.
_UNMOVED = """
SELECT n.nspname::text, c.relname::text
  FROM (SELECT pg_catalog.unnest(%s::name[]) AS schema, pg_catalog.unnest(%s::name[]) AS name) w
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
  JOIN pg_catalog.pg_class c ON c.relname = w.name AND c.relnamespace = n.oid
 WHERE c.relfilenode = pg_catalog.pg_relation_filenode(c.oid)
"""


def take(queue: deque[T], small: Callable[[T], bool]) -> list[T]:
    """Take the next from the queue, and where it is small, those behind it that are. Raises IndexError at the end."""
    taken = [queue.popleft()]
    while len(taken) < _MOST and small(taken[-1]):
        try:
            following = queue.popleft()
        except IndexError:
            break
        if not small(following):
            queue.appendleft(following)
            break
        taken.append(following)
    return taken


def digests(connection: Connection, shapes: Sequence[Shape], dialect: Dialect) -> list[Digest | None]:
    """Read every row of several tables in one statement; None for one whose file the snapshot does not know any more.

    For a transaction with a savepoint, which the caller goes back to: the locks of all tables are held until then, and
    a lock is waited for a moment only. Raises psycopg's errors.
    """
    connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'".encode())
    reads = (
        f"SELECT {number}, count(*), coalesce(sum(h), 0) " + shape.rows(dialect) for number, shape in enumerate(shapes)
    )
    read = sorted(
        (int(str(number)), int(str(rows)), int(str(total)))
        for number, rows, total in fetch(connection, " UNION ALL ".join(reads))
    )
    names = [shape.schema for shape in shapes], [shape.name for shape in shapes]
    unmoved = {(str(schema), str(name)) for schema, name in connection.execute(_UNMOVED, names).fetchall()}
    return [
        Digest(rows, total) if (shape.schema, shape.name) in unmoved else None
        for shape, (_, rows, total) in zip(shapes, read, strict=True)
    ]
