"""How a column offers the words of an engine enumeration."""

from __future__ import annotations

from enum import StrEnum


def choices_of(names: type[StrEnum]) -> list[tuple[str, str]]:
    """Return the choices of a column that holds one of an engine's words."""
    return [(name.value, name.value.replace("_", " ").capitalize()) for name in names]
