"""What only the target has and what matters: row security, and what stands in the place of something missing.

An index, a key or a check may be there under another name, and a table takes no second primary key: the statement that
makes what is missing would be refused.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import replace

from ..names import quote
from ..renaming import Renaming
from ..values import frozen
from ..wording import say
from .structure import Compared, Difference, Scope
from .things import Thing, Things
from .wording import Prints, same_text

_NAMED = frozenset({"constraint", "index"})
_PRIMARY = "PRIMARY KEY"
_INDEX_NAME = re.compile(r'(?P<what>CREATE (?:UNIQUE )?INDEX )(?:"(?:[^"]|"")*"|[^\s"]+)')
_MISSING = say("missing on the target")
_ONLY_THERE = say("only on the target, where it may hide rows or refuse them")

_Place = tuple[str, str]


@frozen(kw_only=False)
class InTheWay:
    """What stands where something missing would be made: a constraint or an index of the same table."""

    kind: str
    name: str


def with_further(source: Things, target: Things, compared: Compared, scope: Scope, prints: Prints) -> Compared:
    """Return what was compared with that added, and with what stands in the place of something missing. Pure but for
    `prints`."""
    missing = [one for one in compared.differences if one.thing.kind in _NAMED and one.what == _MISSING]
    changed = _by_other_names(source, target, missing, scope.renaming, prints) if missing else {}
    with_index = {(*_place(one.thing), one.thing.name) for one in missing if id(one) in changed and _is_key(one.thing)}
    kept = [
        changed.get(id(one), one)
        for one in compared.differences
        if one.thing.kind != "index" or (*_place(one.thing), one.thing.name) not in with_index
    ]
    return replace(compared, differences=(*kept, *_guards(source, target, scope)))


def _is_key(thing: Thing) -> bool:
    return thing.kind == "constraint"


def _place(thing: Thing) -> _Place:
    return (thing.schema, thing.table)


def _by_other_names(
    source: Things, target: Things, missing: list[Difference], renaming: Renaming, prints: Prints
) -> dict[int, Difference]:
    """Return what is to be told instead, by `id` of the difference."""
    places = {_place(one.thing) for one in missing}
    wanted = {
        (one.kind, renaming.schema(one.schema), one.table, one.name)
        for one in source.by_identity.values()
        if one.kind in _NAMED
    }
    found = (one for one in target.by_identity.values() if one.kind in _NAMED and _place(one) in places)
    spare = [one for one in found if (one.kind, *_place(one), one.name) not in wanted]
    changed = {}
    for one in missing:
        twin = next((other for other in spare if _is_same(one.thing, other, prints)), None)
        if twin is not None:
            spare.remove(twin)
            what = say("is called {name} on the target", name=quote(twin.name))
            changed[id(one)] = replace(one, what=what, target=twin.name)
        elif other := _in_the_way(one.thing, spare, target):
            changed[id(one)] = replace(one, target=other)
    return changed


def _is_same(thing: Thing, other: Thing, prints: Prints) -> bool:
    if (thing.kind, *_place(thing)) != (other.kind, *_place(other)) or not other.usable:
        return False
    here, there = (_INDEX_NAME.sub(r"\g<what>x", str(one.values.get("definition")), count=1) for one in (thing, other))
    return here == there or same_text(thing, "definition", here, there, prints)


def _in_the_way(thing: Thing, spare: list[Thing], target: Things) -> InTheWay | None:
    other_kind = "index" if thing.kind == "constraint" else "constraint"
    same_name = target.by_identity.get((other_kind, *_place(thing), thing.name))
    if same_name is not None:
        return InTheWay(other_kind, thing.name)
    if not _is_primary(thing):
        return None
    keys = (one for one in spare if _place(one) == _place(thing) and _is_primary(one))
    return next((InTheWay("constraint", one.name) for one in keys), None)


def _is_primary(thing: Thing) -> bool:
    return thing.kind == "constraint" and str(thing.values.get("definition")).startswith(_PRIMARY)


def _guards(source: Things, target: Things, scope: Scope) -> Iterator[Difference]:
    """Tell row security that only the target has, and policies of a row security that both have."""
    if "row security" in scope.waiting:
        return
    place = scope.renaming.place
    tables = {place(one) for one in source.relations if one in scope.tables}
    guarded = {place(_place(one)) for one in source.by_identity.values() if one.kind == "row security"}
    policies = {(*place(_place(one)), one.name) for one in source.by_identity.values() if one.kind == "policy"}
    for thing in target.by_identity.values():
        if _place(thing) in tables and _is_further(thing, guarded, policies):
            nameless = replace(thing, class_oid=0, oid=0)  # its numbers are those of something else on the source
            yield Difference(thing=nameless, part="further", what=_ONLY_THERE)


def _is_further(thing: Thing, guarded: Container[_Place], policies: Container[tuple[str, str, str]]) -> bool:
    if thing.kind == "row security":
        return _place(thing) not in guarded
    return thing.kind == "policy" and _place(thing) in guarded and (*_place(thing), thing.name) not in policies
