"""The one selection model: rules on a path (database, schema, table); the most specific rule wins.

Picker, checks, dump, copy, stream, comparison and report all ask the same object. A rule set stays small however many
tables there are, and a table that appears later inside a selected schema is selected too.

A rule says `data` (structure and data), `structure` (structure only) or nothing at all. Between a rule for a table and
one for its schema stands a glob on the names inside the schema; between schema and database one on the names inside the
database. Of two globs at the same place the later one wins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from functools import cached_property
from typing import Any, Literal

from .patterns import compile_glob
from .values import frozen
from .wording import say

Path = tuple[str, ...]
"""() = the whole instance, (database,), (database, schema) or (database, schema, table)."""

Mode = Literal["data", "structure", ""]
"""What moves: structure and data, structure only, or nothing."""

Rule = bool | Literal["structure"]
"""How a mode is stored: True = data, "structure", False = nothing."""

_MODES: dict[Any, Mode] = {True: "data", False: "", "data": "data", "structure": "structure", "": ""}
_RULES: dict[Mode, Rule] = {"data": True, "structure": "structure", "": False}
MODES: tuple[Mode, ...] = ("data", "structure", "")
MOST_PATTERNS = 200

FOREIGN_KEYS = ("require", "without")
"""What happens to foreign keys whose parent is left out: the check refuses them, or they are not made."""


ROLES = ("none", "needed", "all")
"""Which roles of the source are made on the target when they are missing there."""
DESTRUCTIVE = frozenset({"truncate", "recreate"})
"""Policies that are chosen only by typing the task's name."""
EXISTING = ("refuse", "keep", "truncate", "recreate")
"""What happens to objects of the target that have the name of one that is migrated."""

FOLLOW = ("ask", "additions")
"""What happens when a table changes on the source during the sync: it stops and asks, or does so for all but what is
only added: columns that may be NULL and have no default, and empty partitions."""


@frozen(kw_only=False)
class PatternRule:
    """A glob on the names inside a database or a schema, and what is wanted of the objects that match."""

    scope: Path
    text: str
    mode: Mode

    def covers(self, schema: str, name: str) -> bool:
        """Say whether the object matches; whether it lies in the scope is the caller's question."""
        return compile_glob(self.text).matches(schema, name)

    def reaches(self, schema: str) -> bool:
        """Say whether objects of this schema can match."""
        return compile_glob(self.text).matches_schema(schema)


@frozen(kw_only=False)
class Selection:
    """Immutable rules; `toggle` returns a new one. The empty selection selects nothing."""

    rules: Mapping[Path, Rule] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    """Database name on the target where it is not the same as on the source."""
    schema_targets: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """Schema name on the target by (database, schema) of the source, where it is not the same."""
    patterns: tuple[PatternRule, ...] = ()
    foreign_keys: str = "require"
    """`require`: parents of foreign keys have to be selected; `without`: keys whose parent is left out are not made."""
    roles: str = "none"
    role_passwords: bool = False
    """Roles that are made get the password's hash of the source, where our account there may read it."""
    existing: str = "refuse"
    follow: str = "ask"

    @classmethod
    def everything(cls) -> Selection:
        """Return the selection of the whole instance."""
        return cls(rules={(): True})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Selection:
        """Rebuild from `to_json`. Raises ValueError on data of another shape."""
        try:
            rules = {_path(path, 3): _RULES[_MODES[value]] for path, value in data.get("rules", [])}
            targets = {str(name): str(target) for name, target in data.get("targets", {}).items()}
            schemas = {(str(db), str(name)): str(target) for db, name, target in data.get("schema_targets", [])}
            patterns = tuple(_pattern(*entry) for entry in data.get("patterns", []))
            options = {name: data.get(name, usual) for name, usual in _OPTIONS.items()}
        except (TypeError, AttributeError, KeyError, ValueError) as error:
            raise ValueError(f"not a selection ({error}): {data!r}"[:500]) from error
        for name, allowed in _CHOICES.items():
            if options[name] not in allowed:
                raise ValueError(f"not a selection: {name} is {options[name]!r}"[:500])
        return cls(rules, targets, schemas, patterns, **options)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON data, in an order that is the same for equal selections. What is not used is left out."""
        data: dict[str, Any] = {
            "rules": [[list(path), value] for path, value in sorted(self.rules.items(), key=lambda rule: rule[0])],
            "targets": dict(sorted(self.targets.items())),
        }
        if self.schema_targets:
            data["schema_targets"] = [[*path, target] for path, target in sorted(self.schema_targets.items())]
        if self.patterns:
            data["patterns"] = [[list(rule.scope), rule.text, rule.mode] for rule in self.patterns]
        data |= {name: value for name, usual in _OPTIONS.items() if (value := getattr(self, name)) != usual}
        return data

    def mode(self, *path: str) -> Mode:
        """Return what moves of the object at `path`: the most specific rule decides."""
        for length in range(len(path), -1, -1):
            value = self.rules.get(path[:length])
            if value is not None:
                return _MODES[value]
            if len(path) == 3 and length > 1:
                matching = self._matching(path[: length - 1], path[1], path[2])
                if matching is not None:
                    return matching.mode
        return ""

    def mode_of(self, database: str, *lineage: tuple[str, str]) -> Mode:
        """Return what moves of a table that may be a partition; `lineage` is (schema, name) from it up to its root.

        A partition goes with its root, unless a rule names the partition (or one between) itself.
        """
        for schema, name in lineage[:-1]:
            value = self.rules.get((database, schema, name))
            if value is not None:
                return _MODES[value]
        return self.mode(database, *lineage[-1])

    def _matching(self, scope: Path, schema: str, name: str) -> PatternRule | None:
        rules = self._patterns_in.get(scope, ())
        return next((rule for rule in rules if rule.covers(schema, name)), None)

    def includes(self, *path: str) -> bool:
        """Say whether the object at `path` is selected, with its data or without."""
        return self.mode(*path) != ""

    def chooser(self, database: str, schema: str) -> Callable[[str], bool]:
        """Return what `includes` says of each table of one schema, for asking about very many of them."""
        at = database, schema
        named, otherwise = self._named.get(at, {}), self.includes(*at)
        rules = [*self._patterns_in.get(at, ()), *(() if at in self.rules else self._patterns_in.get((database,), ()))]
        tests = [(compile_glob(rule.text).matches_name, rule.mode != "") for rule in rules if rule.reaches(schema)]
        if not named and not tests:
            return lambda name: otherwise

        def chosen(name: str) -> bool:
            moves = named.get(name)
            if moves is None:
                moves = next((moves for matches, moves in tests if matches(name)), otherwise)
            return moves

        return chosen

    @cached_property
    def _named(self) -> dict[Path, dict[str, bool]]:
        """By schema the tables that have rules of their own, and whether they move."""
        found: dict[Path, dict[str, bool]] = defaultdict(dict)
        for path, value in self.rules.items():
            if len(path) == 3:
                found[path[:2]][path[2]] = value is not False
        return dict(found)

    def state(self, *path: str) -> str:
        """Return `all`, `none` or `some` for the node at `path` (tri-state of the object tree)."""
        own = self.includes(*path)
        differs = (not own) in self._below.get(path, ())
        if not differs and len(path) == 2 and path not in self.rules:
            outer = self._patterns_in.get(path[:1], ())
            differs = any(
                (rule.mode != "") != own and compile_glob(rule.text).matches_schema(path[1]) for rule in outer
            )
        if differs:
            return "some"
        return "all" if own else "none"

    def touches(self, *path: str) -> bool:
        """Say whether anything at or below `path` is selected."""
        return self.state(*path) != "none"

    @cached_property
    def _patterns_in(self) -> dict[Path, list[PatternRule]]:
        """The patterns of each scope, the one that wins first."""
        scopes: dict[Path, list[PatternRule]] = defaultdict(list)
        for rule in reversed(self.patterns):
            scopes[rule.scope].append(rule)
        return dict(scopes)

    @cached_property
    def _below(self) -> dict[Path, set[bool]]:
        """For each path whether rules below it select (True), leave out (False), or both."""
        found: dict[Path, set[bool]] = defaultdict(set)
        for path, value in self.rules.items():
            for length in range(len(path)):
                found[path[:length]].add(value is not False)
        for rule in self.patterns:
            for length in range(len(rule.scope) + 1):
                found[rule.scope[:length]].add(rule.mode != "")
        return dict(found)

    def toggle(self, path: Iterable[str], selected: bool) -> Selection:
        """Return a selection in which the whole subtree at `path` is selected or not.

        What is selected moves as its surroundings do: structure only inside a schema of which only the structure
        moves, else with its data.
        """
        at = tuple(path)
        if not selected:
            return self.choose(at, "")
        return self.choose(at, self._without(at).mode(*at) or "data")

    def choose(self, path: Iterable[str], mode: Mode) -> Selection:
        """Return a selection in which the whole subtree at `path` moves by `mode`; rules below are forgotten."""
        at = tuple(path)
        rest = self._without(at)
        if rest.mode(*at) == mode and not (len(at) == 2 and at[:1] in rest._patterns_in):
            return rest
        return replace(rest, rules={**rest.rules, at: _RULES[mode]})

    def choose_tables(self, tables: Iterable[Path], mode: Mode | None) -> Selection:
        """Return what `choose` makes of one table after the other, in one go: they may be very many.

        `mode` None: as with `toggle`, each moves as its surroundings do, or with its data.
        """
        chosen = set(tables)
        rest = replace(self, rules={path: value for path, value in self.rules.items() if path not in chosen})
        rules = dict(rest.rules)
        for path in sorted(chosen):
            around = rest.mode(*path)
            wanted = (around or "data") if mode is None else mode
            if wanted != around:
                rules[path] = _RULES[wanted]
        return replace(rest, rules=rules)

    def renamed(self, old: Path, new: Path) -> Selection:
        """Return a selection in which a table moves under another name as it did under the old one."""
        if old not in self.rules and self.mode(*old) == self.mode(*new):
            return self
        return self.choose_tables([new], self.mode(*old))

    def _without(self, at: Path) -> Selection:
        length = len(at)
        return replace(
            self,
            rules={rule: value for rule, value in self.rules.items() if rule[:length] != at},
            patterns=tuple(rule for rule in self.patterns if rule.scope[:length] != at),
        )

    def choose_matching(self, scope: Path, text: str, mode: Mode) -> Selection:
        """Return a selection in which every object that matches a glob inside `scope` moves by `mode`.

        `scope` is (database,) or (database, schema). Objects that appear later and match are meant too. Raises
        ValueError (PatternError) for a glob that cannot be read, another scope, or one pattern too many.
        """
        pattern, (database, *_) = compile_glob(text), _path(scope, 2)
        if len(scope) == 2:
            if not pattern.matches_schema(scope[1]):
                raise ValueError(say("The pattern {text} names another schema than {name}.", text=text, name=scope[1]))
            text = pattern.table_text
        placed = [PatternRule(scope, text, mode)]
        if len(scope) == 1:  # a schema with rules of its own would outrank the one for the database
            own = {path[1] for path in self.rules if len(path) == 2} | {
                rule.scope[1] for rule in self.patterns if len(rule.scope) == 2
            }
            placed += [
                PatternRule((database, schema), pattern.table_text, mode)
                for schema in sorted(own)
                if self._has_own(database, schema) and pattern.matches_schema(schema)
            ]
        keys = {(rule.scope, rule.text) for rule in placed}
        patterns = (*(rule for rule in self.patterns if (rule.scope, rule.text) not in keys), *placed)
        if len(patterns) > MOST_PATTERNS:
            raise ValueError(say("A selection holds at most {number} patterns.", number=MOST_PATTERNS))
        outranked = {
            path
            for path in self.rules
            if len(path) == 3 and path[: len(scope)] == scope and placed[0].covers(path[1], path[2])
        }
        rules = {path: value for path, value in self.rules.items() if path not in outranked}
        return replace(self, rules=rules, patterns=patterns)

    def _has_own(self, database: str, schema: str) -> bool:
        return (database, schema) in self.rules or (database, schema) in self._patterns_in

    def forget_pattern(self, scope: Path, text: str) -> Selection:
        """Return a selection without this pattern."""
        return replace(
            self, patterns=tuple(rule for rule in self.patterns if (rule.scope, rule.text) != (tuple(scope), text))
        )

    def target_name(self, database: str) -> str:
        """Return the name that a source database gets on the target."""
        return self.targets.get(database, database)

    def target_schema(self, database: str, schema: str) -> str:
        """Return the name that a schema of a source database gets on the target."""
        return self.schema_targets.get((database, schema), schema)


_OPTIONS: dict[str, Any] = {
    "foreign_keys": "require",
    "roles": "none",
    "role_passwords": False,
    "existing": "refuse",
    "follow": "ask",
}
_CHOICES: dict[str, tuple[Any, ...]] = {
    "foreign_keys": FOREIGN_KEYS,
    "roles": ROLES,
    "role_passwords": (False, True),
    "existing": EXISTING,
    "follow": FOLLOW,
}


def _path(value: Any, longest: int) -> Path:
    if not isinstance(value, list | tuple) or len(value) > longest or not all(isinstance(part, str) for part in value):
        raise ValueError("a selection rule names at most database, schema and table")
    return tuple(value)


def _pattern(scope: Any, text: Any, mode: Any) -> PatternRule:
    at = _path(scope, 2)
    if not at or mode not in MODES or not isinstance(text, str):
        raise ValueError("a pattern needs a database, a glob and a mode")
    compile_glob(text)
    return PatternRule(at, text, _MODES[mode])
