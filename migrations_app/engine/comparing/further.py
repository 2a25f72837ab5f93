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
from .leaning import Leaning
from .structure import Compared, Difference, Scope
from .things import Thing, Things
from .wording import Prints, same_text

_NAMED = frozenset({"constraint", "index"})
_LIKE_RELATIONS = frozenset({"index", "sequence", "composite type"})
_PRIMARY, _UNIQUE_INDEX = "PRIMARY KEY", "CREATE UNIQUE "
_KEYS = (_PRIMARY, "UNIQUE", "EXCLUDE")
"""How the constraints begin whose name is that of an index; those of checks and foreign keys are names of their own."""
_INDEX_NAME = re.compile(r'(?P<what>CREATE (?:UNIQUE )?INDEX )(?:"(?:[^"]|"")*"|[^\s"]+)')
_MISSING = say("missing on the target")
_ONLY_THERE = say("only on the target, where it may hide rows or refuse them")

_Place = tuple[str, str]
_Spare = dict[tuple[str, str, str], list[Thing]]
"""What only the target has, by kind, schema and table."""


@frozen(kw_only=False)
class InTheWay:
    """What stands where something missing would be made: a constraint or an index of the same table."""

    kind: str
    name: str
    is_needed: bool = False
    """Whether the server would refuse to drop it: foreign keys refer to it, or it is a part of the whole table's."""


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
    kept.sort(key=_needs_a_key_gone)
    return replace(compared, differences=(*kept, *_guards(source, target, scope)))


def _needs_a_key_gone(one: Difference) -> bool:
    """Say whether its statement is refused while a primary key has the column that the source's has not."""
    return one.thing.kind == "column" and one.part == "not null" and one.source is None


def _is_key(thing: Thing) -> bool:
    return thing.kind == "constraint" and _definition(thing).startswith(_KEYS)


def _definition(thing: Thing) -> str:
    return str(thing.values.get("definition"))


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
    spare: _Spare = {}
    for one in target.by_identity.values():
        if one.kind in _NAMED and _place(one) in places and (one.kind, *_place(one), one.name) not in wanted:
            spare.setdefault((one.kind, *_place(one)), []).append(one)
    changed, leaning, taken = {}, Leaning(target), _taken(target)
    for told in missing:
        thing, others = told.thing, spare.get((told.thing.kind, *_place(told.thing)), [])
        at = next((at for at, other in enumerate(others) if _is_same(thing, other, prints)), None)
        if at is not None:
            changed[id(told)] = _called(told, others.pop(at), leaning, taken)
        elif other := _in_the_way(thing, spare, target, leaning):
            changed[id(told)] = replace(told, target=other)
    return changed


def _taken(target: Things) -> frozenset[tuple[str, str]]:
    """Return (schema, name) of what a key or an index cannot be called like."""
    named = {(one.schema, one.name) for one in target.by_identity.values() if one.kind in _LIKE_RELATIONS}
    return target.relations | named


def _called(told: Difference, twin: Thing, leaning: Leaning, taken: frozenset[tuple[str, str]]) -> Difference:
    """Tell the other name. It is no `target` where the server would refuse to take it for the right one: that of an
    inherited check, which gets its name with the one of the parent, and where something else has the right one."""
    if (twin.kind == "index" or _is_key(twin)) and (told.thing.schema, told.thing.name) in taken:
        what = say("is called {name} on the target, where something else has its own", name=quote(twin.name))
        return replace(told, what=what, target=None)
    what = say("is called {name} on the target", name=quote(twin.name))
    is_mended_above = twin.kind == "constraint" and leaning.is_inherited(twin)
    return replace(told, what=what, target=None if is_mended_above else twin.name)


def _is_same(thing: Thing, other: Thing, prints: Prints) -> bool:
    if not other.usable:
        return False
    here, there = (_INDEX_NAME.sub(r"\g<what>x", _definition(one), count=1) for one in (thing, other))
    return here == there or same_text(thing, "definition", here, there, prints)


def _in_the_way(thing: Thing, spare: _Spare, target: Things, leaning: Leaning) -> InTheWay | None:
    """Return what has the name of a missing key, or is the primary key in the place of another one.

    An index has nothing of its table in its way: a key there of its name has an index of that name.
    """
    if not _is_key(thing):
        return None
    index = target.by_identity.get(("index", *_place(thing), thing.name))
    if index is not None:
        is_referred_to = _definition(index).startswith(_UNIQUE_INDEX) and leaning.is_referred_to(index)
        return InTheWay("index", index.name, "part of" in index.values or is_referred_to)
    if not _is_primary(thing):
        return None
    keys = (one for one in spare.get(("constraint", *_place(thing)), ()) if _is_primary(one))
    return next((InTheWay("constraint", one.name, leaning.is_referred_to(one)) for one in keys), None)


def _is_primary(thing: Thing) -> bool:
    return thing.kind == "constraint" and _definition(thing).startswith(_PRIMARY)


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
