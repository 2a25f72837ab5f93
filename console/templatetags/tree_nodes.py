"""The nodes of the object tree as HTML, made here and not by a template: two hundred stand on a page.

Template tags of a node cost half a millisecond, this a twentieth of it. Everything passes through `format_html`, which
escapes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .console_extras import checked, count, dotted, node_id, path_query, pick_value, short_count, size, visible
from .icons import heroicon_outline
from .tree_extras import mode_label, mode_value

register = template.Library()

Urls = Mapping[str, str]
_NOTHING = SafeString("")
_OOB = SafeString(' hx-swap-oob="true"')
_ICONS = {
    "schema": "folder",
    "database": "circle-stack",
    "view": "eye",
    "matview": "eye",
    "function": "code-bracket",
    "sequence": "hashtag",
    "type": "tag",
    "foreign": "globe-alt",
}


@register.simple_tag
def tree_box(box: Any, urls: Urls, oob: bool = False, disabled: bool = False) -> SafeString:
    """The tri-state box of a node; `oob`: it replaces the one on the page, wherever it stands."""
    return _box(box, node_id(box.path), urls, _OOB if oob else _NOTHING, disabled)


def _box(box: Any, key: str, urls: Urls, oob: SafeString, disabled: bool) -> SafeString:
    return format_html(
        '<button type="submit" role="checkbox" class="pick" id="{}" name="pick" value="{}" aria-checked="{}"'
        ' aria-label="{}"{}{} hx-post="{}" hx-params="pick,csrfmiddlewaretoken" hx-swap="none" hx-target="#level"'
        " data-again{}></button>",
        key,
        pick_value(box),
        checked(box.state),
        dotted(box.path) if box.path else _("Whole instance"),
        _NOTHING if box.path else SafeString(" data-root"),
        SafeString(" disabled") if disabled else _NOTHING,
        urls["toggle"],
        oob,
    )


@register.simple_tag
def tree_mode(box: Any, urls: Urls, oob: bool = False) -> SafeString:
    """Whether a node moves with its data, as a button that changes it; empty for what does not move."""
    return _mode(box, node_id(box.path), urls, _OOB if oob else _NOTHING)


def _mode(box: Any, key: str, urls: Urls, oob: SafeString) -> SafeString:
    button = _NOTHING
    if box.mode:
        button = format_html(
            '<button type="submit" class="mode {}" name="mode" value="{}" formaction="{}" hx-post="{}"'
            ' hx-params="mode,csrfmiddlewaretoken" hx-swap="none" hx-target="#level" data-again aria-label="{}">'
            "{}</button>",
            box.mode,
            mode_value(box),
            urls["mode"],
            urls["mode"],
            mode_label(box),
            _("structure only") if box.mode == "structure" else _("with data"),
        )
    return format_html('<span class="mode-slot" id="m{}"{}>{}</span>', key, oob, button)


@register.simple_tag(takes_context=True)
def tree_nodes(context: template.Context, nodes: list[Any]) -> SafeString:
    """The nodes of one page, each as a list item. Asks the context for `urls`, `task`, `search` and `along`."""
    urls, search, along = context["urls"], context["search"], context["along"]
    followed = context["task"].incremental
    lines = []
    for node in nodes:
        notes = format_html_join("", '<span class="sub{}">{}</span>', _notes(node, search, along, followed))
        lines.append(_line(node, urls, _label(node, search, notes)))
    return SafeString("\n".join(lines))


def _line(node: Any, urls: Urls, label: SafeString) -> SafeString:
    key = node_id(node.path)
    gap = SafeString('<span class="pick-gap"></span>')
    return format_html(
        '<li{}>{}<div class="body">{}</div>{}</li>',
        _NOTHING if node.selectable else SafeString(' class="off"'),
        gap if node.fixed else _box(node, key, urls, _NOTHING, not node.selectable),
        _branch(node, key, urls, label) if node.has_children else format_html('<div class="leaf">{}</div>', label),
        _NOTHING if node.fixed else _mode(node, key, urls, _NOTHING),
    )


def _branch(node: Any, key: str, urls: Urls, label: SafeString) -> SafeString:
    below = path_query(node.path)
    return format_html(
        '<details id="d{}"><summary>{}</summary><ul hx-get="{}?{}" hx-trigger="toggle from:closest details once, again'
        ' consume" hx-swap="innerHTML" aria-label="{}"><li class="more"><a href="{}?{}">{}</a></li></ul></details>',
        key,
        label,
        urls["tree"],
        below,
        dotted(node.path),
        urls["objects"],
        below,
        _("Open %(name)s") % {"name": visible(node.label)},
    )


def _label(node: Any, search: str, notes: SafeString) -> SafeString:
    return format_html(
        '{}<span class="label name">{}{}</span><span class="figures">{}</span>',
        heroicon_outline(_ICONS.get(node.kind, "table-cells"), size=16, aria_hidden="true"),
        dotted(node.path) if search else visible(node.label),
        notes,
        _figures(node),
    )


def _figures(node: Any) -> SafeString:
    """How many tables or rows, and the size beside those of the siblings."""
    words = ""
    if node.tally and node.selectable:
        total = node.tally.total
        words = (
            _("%(chosen)s of %(total)s") % {"chosen": count(node.tally.chosen), "total": count(total)}
            if node.state == "some"
            else ngettext("%(total)s table", "%(total)s tables", total) % {"total": count(total)}
        )
    elif node.rows > 0 and not node.tally:
        words = _("%(rows)s rows") % {"rows": short_count(node.rows)}
    said = format_html('<small class="num opt">{}</small>', words) if words else _NOTHING
    if not node.selectable or (node.fixed and not node.bytes):
        return said
    bar = '{}<progress class="size" value="{}" max="100" aria-hidden="true"></progress><span class="num">{}</span>'
    return format_html(bar, said, node.share, size(node.bytes))


def _notes(node: Any, search: str, along: bool, followed: bool) -> Iterator[tuple[str, str]]:
    """What stands under a name, each with its class. `followed`: the sync follows changes of tables."""
    if node.partitions:
        shown = {"shown": count(node.partitions)}
        yield "", ngettext("%(shown)s partition", "%(shown)s partitions", node.partitions) % shown
    if node.kind == "partition" and search:
        yield "", _("A partition moves with its table.")
    elif along:
        yield "", _kind(node.kind)
    if node.reason:
        yield "", visible(node.reason)
    if node.unlogged and followed:
        yield (
            " look",
            _("Unlogged: the sync cannot see its changes. It is copied at the start and once more at Complete."),
        )
    if node.target:
        yield "", _("on the target: %(name)s") % {"name": dotted(node.target)}
    if node.at_target:
        yield " there calm" if node.kind in ("database", "schema") else " there", _there(node.at_target_rows)


def _there(rows: int | None) -> str:
    if rows is None:
        return _("exists on the target")
    said = ngettext(
        "exists on the target, %(rows)s row (estimate)", "exists on the target, %(rows)s rows (estimate)", rows
    )
    return said % {"rows": count(rows)}


def _kind(kind: str) -> str:
    known = {"view": _("view"), "matview": _("materialized view"), "function": _("function"), "sequence": _("sequence")}
    return known.get(kind, _("type"))
