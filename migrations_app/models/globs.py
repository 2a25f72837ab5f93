"""A query condition for globs, so that the database that holds our rows finds and counts the matches itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import CharField, Lookup

if TYPE_CHECKING:
    _TextLookup = Lookup[str]
else:
    _TextLookup = Lookup


@CharField.register_lookup
class Glob(_TextLookup):
    """`name__glob="app_*"`: `*` stands for anything, `?` for one character; upper and lower case differ."""

    lookup_name = "glob"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """Write the condition as LIKE, where `%` and `_` are what `*` and `?` are in a glob."""
        left, parameters = self.process_lhs(compiler, connection)
        pattern = "".join({"*": "%", "?": "_"}.get(char, "\\" + char if char in "%_\\" else char) for char in self.rhs)
        return f"{left} LIKE %s ESCAPE '\\'", [*parameters, pattern]

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """Write the condition as GLOB: SQLite's LIKE takes upper and lower case for the same."""
        left, parameters = self.process_lhs(compiler, connection)
        return f"{left} GLOB %s", [*parameters, str(self.rhs).replace("[", "[[]")]
