"""Sentences of the engine and of the services in the language of whoever looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from django.utils.translation import get_language, gettext, ngettext

from ..engine.wording import retell


class Worded(Protocol):
    """A row with texts in English, and in `words` what they were made from."""

    words: Any


Tell = Callable[[Worded, str], str]


def in_english(row: Worded, name: str) -> str:
    """Return the row's text of this name as it was written: for files that programs read."""
    return str(getattr(row, name))


def told(row: Worded, name: str) -> str:
    """Return the row's text of this name in the reader's language, in English where it cannot be told otherwise."""
    english = str(getattr(row, name))
    data = row.words.get(name) if isinstance(row.words, dict) else None
    if data is None or not english or (get_language() or "en").startswith("en"):
        return english
    try:
        return retell(data, gettext, ngettext)
    except (KeyError, TypeError, ValueError):  # written by another version, or a translation with a place of its own
        return english
