"""What other pages tell about a check."""

from __future__ import annotations

from django import template
from django.template import Context
from django.utils.translation import gettext

from migrations_app import selectors
from migrations_app.models import MigrationTask

from .. import proof
from ..check_words import GROUPS, LOOKS_AT, TITLES
from ..engine_words import FIXES, KINDS, RESULTS, SETTINGS, VERDICTS

register = template.Library()
_KNOWN = frozenset({*GROUPS, *TITLES, *LOOKS_AT, *FIXES})


@register.inclusion_tag("console/partials/_again.html", takes_context=True)
def password_again(context: Context, name: str, only_if: str = "") -> dict[str, object]:
    """A field for the reader's own password, unless it was entered of late. `only_if`: a label that says when."""
    request = context["request"]
    wanted = not proof.is_fresh(request)
    return {"wanted": wanted, "name": name, "only_if": only_if, "problem": context.get("proof_problem", "")}


@register.simple_tag
def open_warnings(task: MigrationTask) -> int:
    """How many warnings of the check nobody has acknowledged."""
    return selectors.unacknowledged_warnings(task)


@register.filter
def first_lines(sql: str) -> str:
    """The first lines of SQL; the report and the command line's JSON have all of them."""
    return selectors.first_lines(sql)


@register.filter
def brief(seconds: float) -> str:
    """A short time: under 1 ms, 12 ms, 1.3 s."""
    if seconds < 0.001:
        return "<1 ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"


@register.filter
def engine_words(text: str) -> str:
    """What the engine calls a check item, a fix or a verdict, in the reader's language; other text stays as it is."""
    if text in VERDICTS:
        return str(VERDICTS[text])
    return gettext(text) if text in _KNOWN else text


@register.filter
def result_words(state: str) -> str:
    """The result of a check item or the state of a step in the reader's language."""
    return str(RESULTS.get(state, state))


@register.filter
def setting_label(name: str) -> str:
    """What a setting of an endpoint is called in a report."""
    return str(SETTINGS.get(name, name))


@register.filter
def setting_value(value: object, name: str) -> str:
    """The value of a setting of an endpoint in a report: in words where it is one of a few, else as it is."""
    return selectors.setting_words(name, value)


@register.filter
def plain_time(exact: str | None) -> str:
    """A time of a report for people, 2030-01-31 23:00:05; the report says that all are UTC."""
    return exact.replace("T", " ").removesuffix("Z") if exact else "–"


@register.filter
def kind_words(kind: str) -> str:
    """A kind of object on a server in the reader's language."""
    return str(KINDS.get(kind, kind))
