"""What the object tree's templates need: values of its buttons, and what comes along in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.translation import gettext, ngettext

from .console_extras import visible

register = template.Library()


@register.filter
def mode_value(box: Any) -> str:
    """What pressing a node's mode posts: its path and the other mode."""
    return json.dumps({"path": list(box.path), "mode": "data" if box.mode == "structure" else "structure"})


@register.filter
def mode_label(box: Any) -> str:
    """What the button of a node's mode is called: what moves now, and what pressing does."""
    name = ".".join(visible(part) for part in box.path) or gettext("Whole instance")
    if box.mode == "structure":
        return gettext("%(name)s: structure only. Press to take the data too.") % {"name": name}
    return gettext("%(name)s: structure and data. Press to take the structure only.") % {"name": name}


@register.filter
def pattern_value(rule: Any) -> str:
    """What forgetting a pattern posts."""
    return json.dumps({"path": list(rule.scope), "q": rule.text})


@register.simple_tag
def matching_value(path: tuple[str, ...], search: str, mode: str) -> str:
    """What a button over the matches of a search posts. Simple tags escape what they return."""
    return json.dumps({"path": list(path), "q": search, "mode": mode})


@register.filter
def last_of(path: tuple[str, ...]) -> str:
    """The name at the end of a path."""
    return path[-1] if path else ""


@register.simple_tag
def along_words(counts: Mapping[str, int], kind: str = "") -> str:
    """Counts by kind in words: "12 views, 3 functions"; of one kind only when it is named."""
    return ", ".join(_words(each, number) for each, number in counts.items() if kind in ("", each))


def _words(kind: str, number: int) -> str:
    shown = {"n": f"{number:,}"}
    if kind == "view":
        return ngettext("%(n)s view", "%(n)s views", number) % shown
    if kind == "matview":
        return ngettext("%(n)s materialized view", "%(n)s materialized views", number) % shown
    if kind == "function":
        return ngettext("%(n)s function", "%(n)s functions", number) % shown
    if kind == "sequence":
        return ngettext("%(n)s sequence", "%(n)s sequences", number) % shown
    if kind == "extension":
        return ngettext("%(n)s extension", "%(n)s extensions", number) % shown
    return ngettext("%(n)s type", "%(n)s types", number) % shown
