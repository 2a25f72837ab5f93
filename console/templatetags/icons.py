"""Icons of the heroicons library, each drawn once per process: drawing one anew costs more than a row of a table."""

from __future__ import annotations

from functools import lru_cache

from django import template
from django.utils.safestring import SafeString
from heroicons.templatetags import heroicons

register = template.Library()

Value = str | int
_MOST_KEPT = 512


@lru_cache(maxsize=_MOST_KEPT)
def _drawn(style: str, name: str, size: int, attributes: tuple[tuple[str, Value], ...]) -> SafeString:
    drawn: SafeString = getattr(heroicons, f"heroicon_{style}")(name, size=size, **dict(attributes))
    return drawn


@register.simple_tag
def heroicon_outline(name: str, *, size: int = 24, **attributes: Value) -> SafeString:
    """An icon of thin lines."""
    return _drawn("outline", name, size, tuple(attributes.items()))


@register.simple_tag
def heroicon_micro(name: str, *, size: int = 16, **attributes: Value) -> SafeString:
    """An icon for places as small as a line of text."""
    return _drawn("micro", name, size, tuple(attributes.items()))
