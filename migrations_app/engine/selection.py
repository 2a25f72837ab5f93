"""The one selection model: rules on a path (database, schema, table); the most specific rule wins.

Picker, checks, dump, copy, stream, comparison and report all ask the same object. A rule set stays small however many
tables there are, and a table that appears later inside a selected schema is selected too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]
"""() = the whole instance, (database,), (database, schema) or (database, schema, table)."""


@dataclass(frozen=True)
class Selection:
    """Immutable rules; `toggle` returns a new one. The empty selection selects nothing."""

    rules: Mapping[Path, bool] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    """Database name on the target where it is not the same as on the source."""

    @classmethod
    def everything(cls) -> Selection:
        """Return the selection of the whole instance."""
        return cls(rules={(): True})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Selection:
        """Rebuild from `to_json`. Raises ValueError on data of another shape."""
        try:
            rules = {tuple(str(part) for part in path): bool(value) for path, value in data.get("rules", [])}
            targets = {str(name): str(target) for name, target in data.get("targets", {}).items()}
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not a selection: {data!r}") from error
        if any(len(path) > 3 for path in rules):
            raise ValueError("a selection rule names at most database, schema and table")
        return cls(rules=rules, targets=targets)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data, in an order that is the same for equal selections."""
        rules = [[list(path), value] for path, value in sorted(self.rules.items())]
        return {"rules": rules, "targets": dict(sorted(self.targets.items()))}

    def includes(self, *path: str) -> bool:
        """Say whether the object at `path` is selected: the longest rule that is a prefix of it decides."""
        for length in range(len(path), -1, -1):
            value = self.rules.get(path[:length])
            if value is not None:
                return value
        return False

    def state(self, *path: str) -> str:
        """Return `all`, `none` or `some` for the node at `path` (tri-state of the object tree)."""
        own = self.includes(*path)
        below = [value for rule, value in self.rules.items() if len(rule) > len(path) and rule[: len(path)] == path]
        if any(value != own for value in below):
            return "some"
        return "all" if own else "none"

    def touches(self, *path: str) -> bool:
        """Say whether anything at or below `path` is selected."""
        return self.state(*path) != "none"

    def toggle(self, path: Iterable[str], selected: bool) -> Selection:
        """Return a selection in which the whole subtree at `path` is selected or not."""
        at = tuple(path)
        rules = {rule: value for rule, value in self.rules.items() if rule[: len(at)] != at}
        if Selection(rules=rules).includes(*at) != selected:
            rules[at] = selected
        return Selection(rules=rules, targets=self.targets)

    def target_name(self, database: str) -> str:
        """Return the name that a source database gets on the target."""
        return self.targets.get(database, database)
