"""Compares what stands around the rows of two databases, object by object and part by part.

Only what the source has and the target lacks, or has differently, counts: further objects on the target harm nobody.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from dataclasses import field, replace
from typing import Any

from ..names import quote
from ..renaming import Renaming
from ..secret_options import is_secret
from ..selection import Selection
from ..values import frozen
from ..wording import Sentence, noun, say, verbatim
from .counting import COUNTING
from .things import RELATIONS, Identity, Thing, Things
from .wording import Prints, same_text

_NOTHING = Renaming()
ACCESS = frozenset({"row security", "policy", "default privileges", "event trigger", "database", "database setting"})
ACTIVE = frozenset({"foreign key", "trigger", "rule"})
_FUNCTIONS = frozenset({"function", "procedure", "aggregate"})
_NEVER_SHOWN = frozenset({"body", "library", "foreign options"})  # long texts, and texts that may hold a password
_AS_WRITTEN = frozenset(
    {
        *("body", "library", "labels", "label", "comment", "comments on constraints"),
        *("owner", "privileges", "rights taken", "options", "settings", "setting", "role", "value"),
    }
)
_NOT_CARRIED = {
    "publication": say("missing on the target: publications are not carried over"),
    "subscription": say("missing on the target: subscriptions are not carried over"),
    "security label": say("missing on the target: security labels are not carried over"),
}
_INVALID = say("not made on the target, because it is invalid on the source: build it anew there, or drop it")
_UNSEEN = {
    "lock": say("not compared, because somebody has locked it on the {side}", side=noun("source")),
    "right": say("how it counts was not compared, because the source account may not read it"),
}
_PATH = re.compile(r"(?:^|, )search_path=")
_PARTITIONING = frozenset({"kind", "partition", "partition key", "parents"})
_ONLY = " ON ONLY "
_AS_FOUND = say(
    "partitioned otherwise than on the source, as it was found and chosen: its rows go by the name of the whole table, "
    "and its indexes and keys stay as they are"
)
_SHOWN = 200
_MAINTAIN_SINCE = 170000
_NAMES_COLLATE_SINCE = 120000
_PARTITIONS_COUNT_SINCE = 170000
"""Since then partitions have the identity of the whole table."""
_NAMES_COLLATION = 'pg_catalog."C"'
"""What columns of views have when they are made of texts that were names."""
_PUBLIC_CLOSED_SINCE = 150000

Grant = tuple[str, str, bool, str]
"""(grantee, '' = PUBLIC; privilege; with grant option; grantor, '' = the owner)."""


@frozen
class Scope:
    """What of a database is to be on the target by now, and how it is called there."""

    database: str
    selection: Selection
    tables: Container[tuple[str, str]]
    """(schema, name) of the selected tables, by their names on the source."""
    renaming: Renaming = _NOTHING
    as_found: Container[tuple[str, str]] = frozenset()
    """Tables, by their names on the target, that stay partitioned as they were found there."""
    waiting: frozenset[str] = frozenset()
    """Kinds that are made at Complete only, and are not asked for yet; `privileges` among them."""
    late: frozenset[tuple[str, str, str]] = frozenset()
    """(schema, table or domain, name) of checks that are put back at Complete only; by the target's names."""
    without: Container[tuple[int, int]] = frozenset()
    """(catalog, oid) of what the task leaves out."""
    source_states: dict[Identity, dict[str, Any]] = field(default_factory=dict)
    """Parts that the task itself has changed on the source, with what they were."""
    target_states: dict[Identity, dict[str, Any]] = field(default_factory=dict)
    """The same for the target; by the target's names."""


_CHECKS_OF_DOMAINS = ("constraints", "comments on constraints")


@frozen
class Difference:
    """One thing that is missing or other on the target. `part` is empty when it is missing or not in use."""

    thing: Thing
    """As the source has it, under the names of the target."""
    part: str
    what: Sentence
    source: Any = None
    target: Any = None


@frozen
class Compared:
    """What came of a comparison of structures."""

    differences: tuple[Difference, ...]
    equal: frozenset[tuple[int, int]]
    """(catalog, oid) on the source of what is the same on both sides."""
    count: int
    """How many objects were compared."""


def compare_things(source: Things, target: Things, scope: Scope, prints: Prints = lambda text: None) -> Compared:
    """Return how the target differs from the source in what `scope` names. Pure but for `prints`.

    Servers print the same definition in more than one way (see `wording`).
    """
    differences: list[Difference] = []
    equal, count = set(), 0
    for thing in _selected(source, scope):
        wanted = _renamed(_restored(thing, scope.source_states), scope.renaming)
        other = target.by_identity.get(wanted.identity)
        if (wanted.schema, wanted.table) in target.locked or _is_of_missing(wanted, target):
            continue
        if wanted.kind == "constraint" and (wanted.schema, wanted.table, wanted.name) in scope.late:
            continue
        count += 1
        found = list(_judge(wanted, other, source, target, scope, prints))
        if wanted.kind == "table" and other is not None and (wanted.schema, wanted.table) in scope.as_found:
            found.append(Difference(thing=wanted, part="partition", what=_AS_FOUND))
        differences += found
        if not found:
            equal.add((thing.class_oid, thing.oid))
    differences += _locked(source, target, scope)
    return Compared(differences=tuple(differences), equal=frozenset(equal), count=count)


def _selected(source: Things, scope: Scope) -> Iterator[Thing]:
    selection, database = scope.selection, scope.database
    everything = selection.state(database) == "all"
    schemas = {thing.schema for thing in source.by_identity.values() if thing.kind == "schema"}
    whole = {schema for schema in schemas if selection.state(database, schema) == "all"}
    views = {place for place in source.views if place not in scope.tables and selection.includes(database, *place)}
    for thing in source.by_identity.values():
        if (thing.class_oid, thing.oid) in scope.without or _kind(thing) in scope.waiting:
            continue
        if thing.table:
            chosen = (thing.schema, thing.table) in scope.tables or (thing.schema, thing.table) in views
        else:
            chosen = thing.schema in whole if thing.schema else everything
        if chosen:
            yield thing


def _locked(source: Things, target: Things, scope: Scope) -> Iterator[Difference]:
    """Tell the tables about which nothing is known."""
    renaming = scope.renaming
    places = {renaming.place(one): "source" for one in source.locked if one in scope.tables}
    wanted = {renaming.place(one) for one in source.relations if one in scope.tables}
    places |= {one: "target" for one in target.locked if one in wanted}
    for (schema, table), side in sorted(places.items()):
        thing = Thing(
            kind="table", schema=schema, table=table, name="", class_oid=0, oid=0, sub=0, usable=True, parts="{}"
        )
        what = say("not compared, because somebody has locked it on the {side}", side=noun(side))
        yield Difference(thing=thing, part="lock", what=what)


def _kind(thing: Thing) -> str:
    foreign = thing.kind == "constraint" and str(thing.values.get("definition", "")).startswith("FOREIGN KEY")
    return "foreign key" if foreign else thing.kind


def _restored(thing: Thing, states: dict[Identity, dict[str, Any]]) -> Thing:
    """Return the thing as it was before the task changed it for the time of the sync."""
    changed = states.get(thing.identity)
    return thing.with_values(**changed) if changed else thing


def _renamed(thing: Thing, renaming: Renaming) -> Thing:
    """Return the object as the target should have it."""
    if not renaming:
        return thing
    values = {part: _renamed_part(thing, part, value, renaming) for part, value in thing.values.items()}
    shown = thing.kind in _FUNCTIONS or thing.kind in ("statistics object", "operator", "cast", "transform")
    name = renaming.shown(thing.name) if shown else thing.name
    return replace(thing, schema=renaming.schema(thing.schema), name=name).with_values(**values)


def _renamed_part(thing: Thing, part: str, value: Any, renaming: Renaming) -> Any:
    if not isinstance(value, str):
        return value
    if part == "settings" and (found := _PATH.search(value)):
        return value[: found.end()] + _renamed_path(value[found.end() :], renaming)
    if part == "value" and thing.values.get("setting") == "search_path":
        return _renamed_path(value, renaming)
    return value if part in _AS_WRITTEN else renaming.shown(value)


def _renamed_path(path: str, renaming: Renaming) -> str:
    start = "SET search_path = "
    return renaming.shown(start + path).removeprefix(start)


def _is_of_missing(thing: Thing, target: Things) -> bool:
    """Say whether the whole table is missing: then that is told, and not every column and index of it."""
    if not thing.table or thing.kind in RELATIONS:
        return False
    return (thing.schema, thing.table) not in target.relations


def _judge(
    thing: Thing, other: Thing | None, source: Things, target: Things, scope: Scope, prints: Prints
) -> Iterator[Difference]:
    if other is None and (_is_told_elsewhere(thing, target) or _is_counted_above(thing, source, target)):
        return
    if other is None:
        broken = thing.kind == "index" and not thing.usable
        what = _INVALID if broken else _NOT_CARRIED.get(thing.kind) or say("missing on the target")
        yield Difference(thing=thing, part="", what=what)
        return
    if thing.usable and not other.usable:
        what = say("invalid on the target") if thing.kind == "index" else say("not validated on the target")
        yield Difference(thing=thing, part="", what=what)
    other = _restored(other, scope.target_states)
    if thing.kind == "user mapping":
        yield from _judge_mapping(thing, other)
        return
    if thing.kind == "sequence" and (unseen := thing.values.get("unseen")):
        yield Difference(thing=thing, part="unseen", what=_UNSEEN[unseen])
        unknown = dict.fromkeys((*COUNTING, "unseen"))
        thing, other = thing.with_values(**unknown), other.with_values(**unknown)
    if thing.parts == other.parts:
        return
    unread = (thing.schema, thing.table) in source.unread | target.unread
    checks_wait = thing.kind == "domain" and any(one[:2] == (thing.schema, thing.name) for one in scope.late)
    for part in sorted(thing.values.keys() | other.values.keys()):
        here, there = thing.values.get(part), other.values.get(part)
        if here == there or part in scope.waiting or (checks_wait and part in _CHECKS_OF_DOMAINS):
            continue
        if unread and (here is None or there is None):
            what = say("{part}: not compared, because somebody has locked it", part=noun(part))
            yield Difference(thing=thing, part=part, what=what)
        else:
            yield from _judge_part(thing, part, here, there, source, target, scope, prints)


def _is_told_elsewhere(thing: Thing, target: Things) -> bool:
    """Say whether it is a language that stood for itself, which servers since 13 take for the extension of its name; or
    a large object: whether those stand there is found with their contents."""
    if thing.kind == "large object":
        return True
    return thing.kind == "language" and ("extension", "", "", thing.name) in target.by_identity


def _judge_mapping(thing: Thing, other: Thing) -> Iterator[Difference]:
    """Tell what a user mapping lacks. What the task itself has set there counts, also when we may not see it."""
    given = _listed(other.values.get("given"))
    there = given | _listed(other.values.get("option names"))
    if thing.values.get("unseen"):
        lacking = tuple(name for name in ("user", "password") if name not in there)
        if "password" in lacking:
            what = say("the source account may not see its options: it may need a user and a password on the target")
            yield Difference(thing=thing, part="option names", what=what, source=lacking)
        return
    gone = _listed(thing.values.get("option names")) - there
    if other.values.get("unseen"):  # the rest came with the mapping itself
        gone = {name for name in gone if is_secret(name)}
    if gone:
        what = say("not carried over, because it may be a secret: {names}", names=", ".join(sorted(gone)))
        yield Difference(thing=thing, part="option names", what=what, source=tuple(sorted(gone)))


def _listed(names: Any) -> set[str]:
    return set(str(names).split(", ")) if names else set()


def _judge_part(
    thing: Thing, part: str, here: Any, there: Any, source: Things, target: Things, scope: Scope, prints: Prints
) -> Iterator[Difference]:
    if part == "privileges":
        yield from _judge_grants(thing, here or [], there or [], source, target)
        return
    if part == "rights taken":
        yield from _judge_taken(thing, here, there, source, target)
        return
    if part == "filled" and (not here or scope.selection.mode(scope.database, thing.schema, thing.table) != "data"):
        return
    if _comes_with_version(thing, part, here, there, source, target):
        return
    if (thing.schema, thing.table) in scope.as_found:
        if thing.kind == "table" and part in _PARTITIONING:
            return  # told once, as a whole
        if thing.kind == "index" and str(here).replace(_ONLY, " ON ") == str(there).replace(_ONLY, " ON "):
            return
    if isinstance(here, str) and isinstance(there, str) and same_text(thing, part, here, there, prints):
        return
    shown = part not in _NEVER_SHOWN and not may_be_secret(thing)
    what = _how_it_differs(part, here, there, shown=shown)
    yield Difference(thing=thing, part=part, what=what, source=here, target=there)


def _comes_with_version(thing: Thing, part: str, here: Any, there: Any, source: Things, target: Things) -> bool:
    """Say whether a part is what every server of the target's version makes of it."""
    if part == "owner":  # since 15 it belongs to the role pg_database_owner, before to the first superuser
        return thing.kind == "schema" and thing.schema == "public" and here in ("pg_database_owner", source.first_role)
    if part == "collation" and thing.kind == "column" and source.version < _NAMES_COLLATE_SINCE <= target.version:
        return here is None and there == _NAMES_COLLATION and (thing.schema, thing.table) in target.views
    if part == "identity" and _counts_as_whole(thing, source, target):
        return here is None
    if part == "default" and _counts_as_whole(thing, source, target):  # in place of an identity of its own
        return bool(thing.values.get("identity")) and str(there).startswith("nextval(")
    return False


def _is_counted_above(thing: Thing, source: Things, target: Things) -> bool:
    """Say whether it is the sequence of a partition's own identity, where the target has that of the whole table."""
    if thing.kind != "sequence" or not _counts_as_whole(thing, source, target):
        return False
    column = target.by_identity.get(("column", thing.schema, thing.table, str(thing.values.get("owned by"))))
    return column is not None and bool(column.values.get("identity"))


def _counts_as_whole(thing: Thing, source: Things, target: Things) -> bool:
    """Say whether the target's server has a partition's identity from the whole table alone, and the source's not."""
    if not source.version < _PARTITIONS_COUNT_SINCE <= target.version:
        return False
    table = target.by_identity.get(("table", thing.schema, thing.table, ""))
    return table is not None and "partition" in table.values


def _how_it_differs(part: str, here: Any, there: Any, *, shown: bool) -> Sentence:
    if shown:
        values = {"here": _shown(here), "there": _shown(there)}
        return say("{part}: {here} on the source, {there} on the target", part=noun(part), **values)
    if here and there:
        return say("{part}: differs", part=noun(part))
    return say("{part}: missing on the {side}", part=noun(part), side=noun("target" if here else "source"))


def may_be_secret(thing: Thing) -> bool:
    """Say whether it is a setting that an application has invented for itself: some keep passwords there."""
    return thing.kind == "database setting" and "." in str(thing.values.get("setting", ""))


def _judge_grants(thing: Thing, here: Any, there: Any, source: Things, target: Things) -> Iterator[Difference]:
    granted, standing = {_grant(one) for one in here}, {_grant(one) for one in there}
    missing, more = granted - standing, standing - granted
    if source.version < _MAINTAIN_SINCE <= target.version:
        more = {one for one in more if one[1] != "MAINTAIN"}  # a part of ALL that the source does not know
    if thing.kind == "schema" and thing.schema == "public" and target.version >= _PUBLIC_CLOSED_SINCE:
        missing -= {("", "CREATE", False)}  # what servers before 15 gave to everybody by themselves
        more = {one for one in more if one[0]}
    for grants in (missing, more):
        if grants:
            words = "; ".join(sorted(_words(one) for one in grants))
            lacking = grants is missing
            yield Difference(
                thing=thing,
                part="privileges",
                what=say("privileges missing: {words}", words=words)
                if lacking
                else say("privileges only on the target: {words}", words=words),
                source=tuple(sorted(missing)) if lacking else (),
                target=() if lacking else tuple(sorted(more)),
            )


def _judge_taken(thing: Thing, here: Any, there: Any, source: Things, target: Things) -> Iterator[Difference]:
    """Tell how the rights differ that an owner has taken from himself."""
    wanted, standing = _listed(here), _listed(there)
    if source.version < _MAINTAIN_SINCE <= target.version:
        standing -= {"MAINTAIN"}  # the source does not know whether he would have kept it
    kept, gone = sorted(wanted - standing), sorted(standing - wanted)
    if kept:
        what = say(
            "the owner has taken from himself on the source, and has on the target: {names}", names=", ".join(kept)
        )
        yield Difference(thing=thing, part="rights taken", what=what, source=tuple(kept))
    if gone:
        what = say("the owner has on the source, and lacks on the target: {names}", names=", ".join(gone))
        yield Difference(thing=thing, part="rights taken", what=what, target=tuple(gone))


def _grant(item: Any) -> Grant:
    return (str(item[0]), str(item[1]), bool(item[2]), str(item[3]))


def _words(grant: Grant) -> str:
    grantee, privilege, grantable, grantor = grant
    to = f"{privilege} to {quote(grantee) if grantee else 'PUBLIC'}{' with grant option' if grantable else ''}"
    return f"{to} by {quote(grantor)}" if grantor else to


def _shown(value: Any) -> Sentence:
    if value is None:
        return say("none")
    text = value if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    text = "".join(char if char.isprintable() else " " for char in text)
    return verbatim(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
