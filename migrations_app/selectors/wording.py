"""Sentences of the engine and of the services in the language of whoever looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Protocol

from django.utils.translation import gettext as _

from ..engine import next_actions
from ..telling import tell, tell_kept


class Worded(Protocol):
    """A row with texts in English, and what they were made from in `words`, or in `how` where it has such a column."""

    words: Any


Tell = Callable[[Worded, str], str]


def in_english(row: Worded, name: str) -> str:
    """Return the row's text of this name as it was written: for files that programs read."""
    return str(getattr(row, name))


def told(row: Worded, name: str) -> str:
    """Return the row's text of this name in the reader's language, in English where it cannot be told otherwise."""
    english = str(getattr(row, name))
    kept = getattr(row, "how", row.words)
    data = kept.get(name) if isinstance(kept, dict) else None
    return tell_kept(data, english)


def next_action(code: str) -> str:
    """Return in the reader's language what to do after a message with this code; '' where there is nothing to do."""
    return tell(next_actions.next_action(code))


def told_in(part: Mapping[str, Any], name: str, tell: Tell = told) -> str:
    """Return the text of this name of a part of a row that is kept as JSON, with its `words` beside it."""
    return tell(SimpleNamespace(words=part.get("words"), **{name: part.get(name) or ""}), name)


def told_list(part: Mapping[str, Any], name: str, tell: Tell = told) -> list[str]:
    """Return the list of texts of this name of such a part."""
    texts, kept = part.get(name) or [], (part.get("words") or {}).get(name) or []
    known = kept if len(kept) == len(texts) else [None] * len(texts)
    return [
        tell(SimpleNamespace(words={"text": data}, text=text), "text") for text, data in zip(texts, known, strict=True)
    ]


def told_difference(item: Mapping[str, Any], tell: Tell = told) -> dict[str, Any]:
    """Return a difference of a comparison with its texts told, and without what they were made from.

    For people `place` names the thing as it is shown beside others.
    """
    known = {name: value for name, value in item.items() if name != "words"}
    texts = {name: told_in(item, name, tell) for name in ("name", "reason") if name in item}
    place = {} if tell is in_english else {"place": _place(item, texts)}
    return known | texts | place | {"sample_keys": told_list(item, "sample_keys", tell)}


def _place(item: Mapping[str, Any], texts: Mapping[str, str]) -> str:
    """Return how a thing is named beside others: schema.table, or what it is and in which schema."""
    name, schema = texts.get("name", ""), item.get("schema") or ""
    if not schema:
        return name
    if "name" in (item.get("words") or {}):
        return _("%(object)s in schema %(schema)s") % {"object": name, "schema": schema}
    return f"{schema}.{name}"


def first_lines(text: str, most: int = 50) -> str:
    """Return the first lines of SQL; a comment says how many more there are."""
    lines = text.split("\n")
    more = len(lines) - most
    return "\n".join([*lines[:most], f"-- and {more} more"]) if more > 0 else text
