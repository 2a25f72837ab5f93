"""Puts the entries of a schema archive under the names that their schemas get on the target."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .errors import ConflictError
from .renaming import Renaming
from .sqltokens import COMMENT, SPACE, UnreadableSql, cut
from .toc import Entry
from .values import frozen
from .wording import say

_RELATION, _TYPE, _ROUTINE = 1259, 1247, 1255  # the oids of pg_class, pg_type and pg_proc
_NAMED = frozenset((_RELATION, _TYPE, _ROUTINE))
_BODIES = frozenset(("FUNCTION", "PROCEDURE"))


@frozen
class Refused:
    """An entry that cannot be put under the names of the target, and why."""

    entry: Entry
    why: str


def rename_entries(
    entries: list[Entry], renaming: Renaming, backslash: bool
) -> tuple[tuple[Entry, ...], tuple[Refused, ...]]:
    """Return the entries under their names on the target, and those for which that cannot be done.

    A schema that two schemas of the source become is made once. Raises ConflictError when two objects would get the
    same name by it.
    """
    if not renaming:
        return tuple(entries), ()
    renamed: list[Entry] = []
    refused: list[Refused] = []
    origins: dict[tuple[str, int, str, str], str] = {}
    for entry in entries:
        try:
            new = _renamed(entry, renaming, backslash)
        except ValueError as error:
            refused.append(Refused(entry=entry, why=str(error)))
            continue
        origin = entry.tag if new.type == "SCHEMA" else entry.schema
        first = origins.setdefault((new.type, new.class_oid, new.schema, new.tag), origin)
        if first != origin and new.type == "SCHEMA":
            continue
        if first != origin and new.class_oid in _NAMED and new.drop:
            raise ConflictError(
                say(
                    "{label} and {type} {first}.{tag} would both become {label_2}.",
                    label=entry.label,
                    type=entry.type,
                    first=first,
                    tag=entry.tag,
                    label_2=new.label,
                ),
                hint=say("Give each of the two schemas a name of its own on the target."),
                code="DST-EXISTS",
            )
        renamed.append(new)
    return tuple(renamed), tuple(refused)


def rename_left(entries: Iterable[Entry], renaming: Renaming, backslash: bool) -> tuple[Entry, ...]:
    """Return entries that are only shown, or are about the database itself, as far as they can be renamed."""
    found = []
    for entry in entries:
        try:
            found.append(_renamed(entry, renaming, backslash) if renaming else entry)
        except ValueError:
            found.append(entry)
    return tuple(found)


def _renamed(entry: Entry, renaming: Renaming, backslash: bool) -> Entry:
    definition, drop = (_text(text, renaming, backslash) for text in (entry.definition, entry.drop))
    tag = entry.tag
    if entry.type == "SCHEMA":
        tag = renaming.schema(tag)
    elif entry.class_oid == _ROUTINE and entry.drop:
        tag = _signature(entry, renaming)
    return replace(entry, definition=definition, drop=drop, schema=renaming.schema(entry.schema), tag=tag)


def _text(text: bytes, renaming: Renaming, backslash: bool) -> bytes:
    whole = text.decode("utf-8", "surrogateescape")
    return renaming.text(whole, backslash=backslash).encode("utf-8", "surrogateescape")


def _signature(entry: Entry, renaming: Renaming) -> str:
    """Return `name(types)` as the server's list of objects has it on the target. The name in it is not quoted."""
    tokens = cut(entry.drop.decode("utf-8", "replace"))  # DROP FUNCTION schema.name(...)
    meaning = [token for token in tokens if token.kind not in (SPACE, COMMENT)]
    name = meaning[4].value
    return name + renaming.text(entry.tag.removeprefix(name)) if entry.tag.startswith(name + "(") else entry.tag


def bodies_that_name(entries: Iterable[Entry], renaming: Renaming) -> list[Entry]:
    """Return the functions among the entries whose bodies name a renamed schema. Bodies are never changed."""
    if not renaming:
        return []
    return [entry for entry in entries if entry.type in _BODIES and _mentions(entry, renaming)]


def _mentions(entry: Entry, renaming: Renaming) -> bool:
    try:
        return renaming.bodies(entry.definition.decode("utf-8", "replace"))
    except UnreadableSql:
        return False
