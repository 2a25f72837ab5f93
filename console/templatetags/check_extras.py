"""What other pages tell about a check."""

from __future__ import annotations

from django import template

from migrations_app import selectors
from migrations_app.models import MigrationTask

register = template.Library()


@register.simple_tag
def open_warnings(task: MigrationTask) -> int:
    """How many warnings of the check nobody has acknowledged."""
    return selectors.unacknowledged_warnings(task)


@register.filter
def brief(seconds: float) -> str:
    """A short time: under 1 ms, 12 ms, 1.3 s."""
    if seconds < 0.001:
        return "<1 ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"
