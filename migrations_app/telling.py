"""Sentences of the engine, said in the language of whoever asks."""

from __future__ import annotations

from typing import Any

from django.utils.translation import get_language, gettext, ngettext

from .engine.wording import how, retell


def tell(text: str) -> str:
    """Return a sentence in the reader's language; other text, and what has no translation, stays as it is."""
    return tell_kept(how(text), str(text))


def tell_kept(data: Any, english: str) -> str:
    """Return in the reader's language what was kept of a sentence; `english` where it cannot be told otherwise."""
    if data is None or not english or (get_language() or "en").startswith("en"):
        return english
    try:
        return retell(data, gettext, ngettext)
    except (KeyError, TypeError, ValueError):  # written by another version, or a translation with a place of its own
        return english
