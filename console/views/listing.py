"""The task list and its one poll."""

from __future__ import annotations

import time
from typing import Any, cast

from django.http import HttpResponse
from django.shortcuts import render
from django.template.loader import get_template
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from migrations_app import selectors

from ..access import Can
from ..http import HtmxRequest

# The poll names every row that it shows; so many still fit into one request line.
ROWS_PER_PAGE = 30
_MOST_KEPT = 3000
_KEPT: dict[tuple[object, ...], SafeString] = {}
_DEFAULT_SORT = "-created"
_ENDED = ("completed", "cancelled")
_WAITING_FOR_TIME = ("queued", "scheduled")
_WAITING_FOR_OPERATOR = ("ready", "check_failed", "check_passed", "paused", "failed", "draft")


@require_GET
def task_list(request: HtmxRequest) -> HttpResponse:
    """The list, newest first, by search text, status and tag, sorted by any column."""
    wanted = _wanted(request)
    counts = selectors.status_counts(user=request.user)
    total = sum(counts.values())
    page, marks = selectors.task_page(
        user=request.user, wanted=wanted, page=request.GET.get("page"), size=ROWS_PER_PAGE, known=total
    )
    context: dict[str, Any] = {
        "rows": _drawn(request, marks),
        "page": page,
        "wanted": wanted,
        "total": total,
        "counts": counts,
        "groups": selectors.group_counts(counts),
        "tags": selectors.all_tags(),
        "query": _query(wanted),
        "summary": _summary(counts),
        "live": any(mark.live for mark in marks),
    }
    return render(request, "console/list.html", context)


def _drawn(request: HtmxRequest, marks: list[selectors.RowMark]) -> list[SafeString]:
    """Return the rows as HTML, each drawn once per version and kept by this process.

    A row that can change by itself tells times that run: it is kept for two seconds, for others who look meanwhile.
    """
    can = Can(request.user)
    about = (can.operate, get_language(), timezone.now().date())
    now = int(time.monotonic() // 2)
    names = {mark.id: (mark.id, mark.version, mark.status, now if mark.live else 0, *about) for mark in marks}
    # Another thread may drop a row between any two looks.
    found = {mark.id: kept for mark in marks if (kept := _KEPT.get(names[mark.id])) is not None}
    rows = selectors.rows_of(user=request.user, keys=[mark.id for mark in marks if mark.id not in found])
    template = get_template("console/partials/_row.html")
    for key, row in rows.items():
        found[key] = cast(SafeString, template.render({"row": row, "can": can}))
        _keep(names[key], found[key])
    return [found[mark.id] for mark in marks if mark.id in found]


def _keep(name: tuple[object, ...], drawn: SafeString) -> None:
    if len(_KEPT) >= _MOST_KEPT:
        for oldest in list(_KEPT)[: _MOST_KEPT // 10]:
            _KEPT.pop(oldest, None)
    _KEPT[name] = drawn


def _wanted(request: HtmxRequest) -> selectors.ListFilter:
    get = request.GET
    sort = get.get("sort", "")
    known = sort.removeprefix("-") in ("created", "name", "status", "lag", "progress")
    return selectors.ListFilter(
        search=_plain(get.get("q", ""))[:200],
        status=_plain(get.get("status", ""))[:20],
        tag=_plain(get.get("tag", ""))[:40],
        sort=sort if known else _DEFAULT_SORT,
    )


def _plain(text: str) -> str:
    return text.replace("\0", "").strip()


def _query(wanted: selectors.ListFilter) -> dict[str, str]:
    sort = "" if wanted.sort == _DEFAULT_SORT else wanted.sort
    return {"q": wanted.search, "status": wanted.status, "tag": wanted.tag, "sort": sort}


def _summary(counts: dict[str, int]) -> str:
    queued = sum(counts.get(status, 0) for status in _WAITING_FOR_TIME)
    waiting = sum(counts.get(status, 0) for status in _WAITING_FOR_OPERATOR)
    ended = sum(counts.get(status, 0) for status in _ENDED)
    running = sum(counts.values()) - queued - waiting - ended
    if not counts:
        return _("No tasks")
    parts = [
        ngettext("%(n)s running", "%(n)s running", running) % {"n": f"{running:,}"} if running else "",
        ngettext("%(n)s queued", "%(n)s queued", queued) % {"n": f"{queued:,}"} if queued else "",
        ngettext("%(n)s waits for you", "%(n)s wait for you", waiting) % {"n": f"{waiting:,}"} if waiting else "",
    ]
    over = ngettext("%(n)s ended", "%(n)s ended", ended) % {"n": f"{ended:,}"}
    return ", ".join(part for part in parts if part) or over


@require_GET
def live_rows(request: HtmxRequest) -> HttpResponse:
    """Rows that changed since the page saw them, as out-of-band cells; 204 when none did.

    `known` holds id:version:status of each row that the page shows, with :turn for one that waits for its turn.
    When nothing can change any more the poller comes back without its trigger, which ends the polling.
    """
    known = _known(request.GET.getlist("known")[:ROWS_PER_PAGE])
    versions = {task_id: version for task_id, (version, _status, _turn) in known.items()}
    turns = {task_id: turn for task_id, (_version, _status, turn) in known.items()}
    rows, can_change = selectors.changed_rows(user=request.user, known=versions, turns=turns)
    if not rows and can_change:
        return HttpResponse(status=204)
    moved = [row for row in rows if known[str(row.id)][1] != row.status]
    context: dict[str, Any] = {
        "rows": rows,
        "moved": moved,
        "live": can_change,
    }
    if moved:
        context["summary"] = _summary(selectors.status_counts(user=request.user))
    return render(request, "console/partials/_live.html", context)


def _known(values: list[str]) -> dict[str, tuple[int, str, str]]:
    known = {}
    for value in values:
        task_id, _colon, rest = value.partition(":")
        version, _colon, rest = rest.partition(":")
        status, _colon, turn = rest.partition(":")
        if version.isdecimal() and len(version) < 19:
            known[task_id] = (int(version), status, turn)
    return known
