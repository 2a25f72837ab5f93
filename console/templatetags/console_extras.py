"""Figures and names as operators read them. Everything returned is plain text: autoescaping stays in charge."""

from __future__ import annotations

import hashlib
import json
import math
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import template
from django.template import Context
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, pgettext, to_locale
from django.utils.translation import gettext as _

from migrations_app import selectors

register = template.Library()

_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"]
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
NOTHING = "–"


@register.filter
def visible(value: object) -> str:
    """Show a name as it is, with control, bidirectional and other invisible characters as escapes.

    A name from a server may hold line breaks or reorder the text around it; nobody should be misled by one.
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(_escape(char) if unicodedata.category(char) in _INVISIBLE else char for char in text)


def _escape(char: str) -> str:
    return _SHORT.get(char) or (f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")


@register.filter
def told(row: selectors.Worded, name: str) -> str:
    """A text of the engine or of a service in the reader's language: `event|told:"message"`."""
    return selectors.told(row, name)


@register.filter
def said(text: str) -> str:
    """A sentence that was made for this page alone, in the reader's language."""
    return selectors.tell(text)


@register.filter
def deed(code: str) -> str:
    """An action of the audit trail in words: `entry.action|deed`."""
    return selectors.deed(code)


@register.filter
def next_action(code: str) -> str:
    """What to do after a message with this code: `event.code|next_action`; nothing where nothing is to be done."""
    return selectors.next_action(code)


@register.filter
def differences(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a comparison found, with its texts in the reader's language."""
    return [selectors.told_difference(item) for item in items]


@register.filter
def differing(items: list[dict[str, Any]]) -> int:
    """How many of the things that a comparison names are other than they should be, or could not be compared."""
    return sum(item.get("verdict") in ("differs", "not_compared") for item in items)


@register.filter
def size(value: float | None) -> str:
    """Bytes in powers of 1000, as disk makers and PostgreSQL's operators read them: 999 B, 1.2 kB, 38 GB."""
    if value is None:
        return NOTHING
    number, unit = float(value), 0
    while abs(number) >= 999.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    figure = f"{number:.1f}" if unit and abs(number) < 9.95 else f"{number:.0f}"
    return f"{figure.removesuffix('.0')} {_UNITS[unit]}"


@register.filter
def count(value: float | None) -> str:
    """A whole number with thousands separated: 1,204."""
    return NOTHING if value is None else f"{int(value):,}"


@register.filter
def short_count(value: float | None) -> str:
    """A large number in few characters: 1,204 · 48.2 k · 1.3 M."""
    if value is None:
        return NOTHING
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{value / (1e3 if unit == 'k' else limit):.1f}".removesuffix(".0") + f" {unit}"
    return f"{value:,.0f}"


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds in at most two units: 0.2 s, 45 s, 6 min, 1 h 20 min, 3 d 4 h."""
    if seconds is None or math.isnan(seconds):
        return NOTHING
    if seconds < 10:
        return f"{max(seconds, 0):.1f}".removesuffix(".0") + " s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


@register.filter
def left(moment: datetime | None) -> str:
    """Time until `moment`: "6 min left"; "due" once it has passed."""
    if moment is None:
        return NOTHING
    seconds = (moment - timezone.now()).total_seconds()
    return _("%(time)s left") % {"time": duration(seconds)} if seconds > 1 else _("any moment")


@register.filter
def until(moment: datetime) -> str:
    """Time until `moment` without a word after it: "9 h 12 min"."""
    return duration(max(0.0, (moment - timezone.now()).total_seconds()))


@register.filter
def lsn(value: int | None) -> str:
    """A log position in PostgreSQL's own notation: 0/1A2B3C4D."""
    return NOTHING if value is None else f"{value >> 32:X}/{value & 0xFFFFFFFF:X}"


@register.filter
def clock(moment: datetime | None) -> str:
    """A time in UTC, as short as it can be: 12:04, 21 Nov 12:04, 21 Nov 2024."""
    if moment is None:
        return NOTHING
    value, now = moment.astimezone(UTC), timezone.now()
    if value.date() == now.date():
        return f"{value:%H:%M}"
    if abs(value - now) < timedelta(days=300):
        return date_format(value, pgettext("format of a date", "j M H:i"))
    return date_format(value, pgettext("format of a date", "j M Y"))


@register.simple_tag
def moment(value: datetime | None, seconds: bool = False) -> str | SafeString:
    """A `<time>` element in UTC: short text, exact machine-readable time.

    It takes the focus, because app.js shows the exact time, also in the reader's own zone, on hover and focus.
    """
    if value is None:
        return NOTHING
    exact = value.astimezone(UTC)
    text = f"{clock(value)}:{exact:%S}" if seconds and ":" in clock(value) else clock(value)
    return format_html('<time datetime="{}" tabindex="0">{}</time>', f"{exact:%Y-%m-%dT%H:%M:%SZ}", text)


def _query_of(context: Context) -> dict[str, str]:
    return dict(context.get("query") or {})


@register.simple_tag(takes_context=True)
def query(context: Context, **changes: object) -> str:
    """The address's query with some parts changed; an empty part is left out. The view puts its parts in `query`."""
    parts = {name: str(value) for name, value in ({**_query_of(context), **changes}).items()}
    return "?" + urlencode({name: value for name, value in parts.items() if value})


@register.simple_tag(takes_context=True)
def sort_by(context: Context, column: str, first: str = "", prefix: str = "") -> str:
    """The query that sorts by `column`; a second press turns the order round. `first`: - to begin with the largest."""
    key = f"{prefix}sort"
    other = "" if first else "-"
    current = _query_of(context).get(key, "")
    return str(query(context, **{key: (other if current == first + column else first) + column, f"{prefix}page": ""}))


@register.simple_tag(takes_context=True)
def sorted_as(context: Context, column: str, prefix: str = "") -> str:
    """The value of aria-sort of a column: ascending, descending or none."""
    current = _query_of(context).get(f"{prefix}sort", "")
    return {column: "ascending", f"-{column}": "descending"}.get(current, "none")


@register.filter
def measure(value: float | None, chart: Any) -> str:
    """A value of a chart with its unit: 0.2 s, 48.2 k rows/s, 41 MB."""
    if value is None:
        return NOTHING
    text = {"seconds": duration, "bytes": size}.get(chart.unit, short_count)(value)
    if chart.unit == "rows":
        return _("%(number)s rows/s") % {"number": text}
    return f"{text}/s" if chart.per_second else text


@register.filter
def inert(text: object) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe stands before what would begin one."""
    words = str(text)
    return "'" + words if words[:1] in ("=", "+", "-", "@", "\t", "\r") else words


@register.filter
def item(values: dict[str, Any], key: str) -> Any:
    """One value of a mapping by a name that is known only on the page; nothing when it is not there."""
    return values.get(key)


@register.filter
def ordinal(number: int) -> str:
    """1st, 2nd, 3rd in English; the plain number in other languages, whose texts say the rest."""
    if not (get_language() or "en").startswith("en"):
        return str(number)
    tens = number % 100
    ending = "th" if 10 < tens < 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


@register.filter
def language_tag(code: str) -> str:
    """A language as the attribute lang wants it: zh-Hans for zh-hans."""
    return to_locale(code).replace("_", "-")


@register.filter
def path_query(path: tuple[str, ...]) -> str:
    """The query string that names a node of the object tree: path=db&path=schema."""
    return urlencode([("path", part) for part in path])


@register.filter
def share_of(part: float | None, whole: float | None) -> int:
    """Percent of `part` in `whole`, 0 to 100; 0 when there is no whole."""
    return max(0, min(100, round(100 * (part or 0) / whole))) if whole else 0


@register.filter
def visible_lines(value: object) -> str:
    """Like `visible`, but line breaks stay: for our own texts and SQL, shown where lines cannot mislead."""
    return "\n".join(visible(line) for line in str(value).split("\n"))


@register.filter
def dotted(path: tuple[str, ...]) -> str:
    """A path of the object tree as one visible name: shop.public.orders."""
    return ".".join(visible(part) for part in path)


@register.filter
def node_id(path: tuple[str, ...]) -> str:
    """The element id of a node: names may hold anything, ids may not."""
    return "n" + hashlib.sha256(json.dumps(path).encode()).hexdigest()[:16]


@register.filter
def pick_value(box: Any) -> str:
    """What pressing a node's box posts: its path, and that everything or nothing below it is wanted."""
    path, state = (box["path"], box["state"]) if isinstance(box, dict) else (box.path, box.state)
    return json.dumps({"path": list(path), "selected": state != "all"})


@register.filter
def checked(state: str) -> str:
    """A node's state as aria-checked says it."""
    return {"all": "true", "some": "mixed"}.get(state, "false")


@register.filter
def took(row: Any) -> float | None:
    """Seconds between `started_at` and `finished_at`; None while one of them is missing."""
    if row.started_at is None or row.finished_at is None:
        return None
    return float((row.finished_at - row.started_at).total_seconds())
