"""What the server keeps from being dropped or renamed: keys that foreign keys lean on, and checks of a parent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

from ..names import qualified
from .things import Thing, Things, without_quotes

_GROUP = re.compile(r'(?P<before>(?:"(?:[^"]|"")*"|[^"(])*)\((?P<inside>(?:"(?:[^"]|"")*"|[^")])*)\)')
_LISTED = re.compile(r'(?:"(?:[^"]|"")*"|[^",])+')
_FIRST_NAME = re.compile(r'"(?:[^"]|"")*"|\S+')
_FOREIGN, _REFERS, _PERIOD = "FOREIGN KEY", " REFERENCES ", "PERIOD "
_NOT_INHERITED = " NO INHERIT"

_Referred = tuple[str, frozenset[str]]


class Leaning:
    """Answers from what was read of one database; reads all of its foreign keys once, when they are first needed."""

    def __init__(self, things: Things) -> None:
        self._things = things

    def is_referred_to(self, key: Thing) -> bool:
        """Say whether a foreign key refers to the columns of this key, or of this unique index."""
        found = _GROUP.match(str(key.values.get("definition")))
        return found is not None and (_text(key.schema, key.table), _columns(found["inside"])) in self._referred

    def is_inherited(self, check: Thing) -> bool:
        """Say whether a check comes from a parent of its table; the server renames it with that of the parent only."""
        texts = _LISTED.findall(self._parents(check))
        places = [self._places[text] for one in texts if (text := without_quotes(one.strip())) in self._places]
        above = (self._things.by_identity.get(("constraint", *place, check.name)) for place in places)
        return any(one is not None and _hands_down(one) for one in above)

    def _parents(self, check: Thing) -> str:
        kinds = ("table", "foreign table")
        found = (self._things.by_identity.get((kind, check.schema, check.table, "")) for kind in kinds)
        return next((str(one.values.get("parents", "")) for one in found if one is not None), "")

    @cached_property
    def _places(self) -> dict[str, tuple[str, str]]:
        return {_text(*place): place for place in self._things.relations}

    @cached_property
    def _referred(self) -> frozenset[_Referred]:
        constraints = (one for one in self._things.by_identity.values() if one.kind == "constraint")
        return frozenset(one for thing in constraints for one in _referred(str(thing.values.get("definition"))))


def _hands_down(thing: Thing) -> bool:
    definition = str(thing.values.get("definition"))
    return definition.startswith("CHECK ") and not definition.endswith(_NOT_INHERITED)


def _referred(definition: str) -> Iterator[_Referred]:
    """Yield the table and the columns that a foreign key refers to; nothing for other constraints."""
    groups = list(_GROUP.finditer(definition)) if definition.startswith(_FOREIGN) else []
    if len(groups) > 1:
        yield without_quotes(groups[1]["before"].removeprefix(_REFERS)), _columns(groups[1]["inside"])


def _columns(text: str) -> frozenset[str]:
    listed = (one.strip().removeprefix(_PERIOD) for one in _LISTED.findall(text))
    return frozenset(without_quotes(found[0]) for one in listed if (found := _FIRST_NAME.match(one)))


def _text(schema: str, table: str) -> str:
    return without_quotes(qualified(schema, table))
