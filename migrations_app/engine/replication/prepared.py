"""Names prepared statements, and keeps their number on the target bounded."""

from __future__ import annotations

from collections.abc import Callable

from .pipeline import Pipeline
from .relations import Member, Relations

_MAX_PREPARED = 1000


class Prepared:
    """The prepared statements of one session. Names are kept by the tables that they belong to."""

    def __init__(self, pipeline: Pipeline, relations: Relations) -> None:
        self._pipeline = pipeline
        self._relations = relations
        self._count = self._names = 0

    def name(self, member: Member, key: object, sql: Callable[[], str], context: object) -> bytes:
        """Return the name of a statement of this table, preparing it first when it is new."""
        found = member.names.get(key)
        if found is not None:
            return found
        if self._count >= _MAX_PREPARED:
            self.forget()
        self._count += 1
        self._names += 1
        name = member.names[key] = b"t%d" % self._names
        self._pipeline.prepare(name, sql().encode(self._pipeline.encoding, "surrogateescape"), context)
        return name

    def forget(self) -> None:
        """Forget all of them, on both sides. After a failure nobody knows which ones the server has."""
        self._pipeline.forget()
        self._relations.forget_statements()
        self._count = 0
