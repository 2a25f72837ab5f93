"""The details of an event, named and written for people: statements one a line, sizes with their unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .console_extras import size

register = template.Library()

_NAMES: dict[str, Promise] = {
    "key": _("Key"),
    "asked_by": _("Asked for by"),
    "cause": _("Cause"),
    "differences": _("Differences"),
    "found": _("Found"),
    "item": _("Check item"),
    "kept": _("WAL kept"),
    "left": _("Still on the servers"),
    "limit": _("Limit"),
    "bound": _("What limits it"),
    "objects": _("Objects"),
    "slot": _("Slot"),
    "statements": _("Statements"),
    "undo": _("To take it back"),
}
_BOUNDS: dict[str, Promise] = {
    "budget": _("the task's WAL budget"),
    "slot": _("max_slot_wal_keep_size of the source"),
    "disk": _("the room on the WAL disk of the stated size"),
}
_SIZES = ("kept", "limit")


@register.filter
def detail_lines(detail: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The details as (name, value); what has no value is left out, and an unknown name is shown as it is."""
    lines = ((str(_NAMES.get(name, name)), _value(name, value)) for name, value in detail.items())
    return [(name, value) for name, value in lines if value]


def _value(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in _SIZES and isinstance(value, int | float):
        return size(value)
    if name == "bound":
        return str(_BOUNDS.get(str(value), value))
    return "\n".join(map(_part, value)) if isinstance(value, list) else _part(value)


def _part(value: Any) -> str:
    """One thing of a detail: what it is called, what is said of it, and the statement that belongs to it."""
    if not isinstance(value, Mapping):
        return str(value)
    name = ".".join(str(value[key]) for key in ("schema", "name", "object") if value.get(key))
    if not name:  # by database
        return "\n".join(f"{key}: {text}" if key else str(text) for key, text in value.items())
    said = [str(value[key]) for key in ("reason", "error") if value.get(key)]
    said += [", ".join(map(str, value["keys"]))] if value.get("keys") else []
    line = f"{name}: {'; '.join(said)}" if said else name
    return f"{line}\n{value['sql']}" if value.get("sql") else line
