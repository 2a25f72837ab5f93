"""The task list and its one poll."""

from __future__ import annotations

import time
import zlib
from typing import Any, cast

from django.http import HttpResponse, QueryDict
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


@require_GET
def task_list(request: HtmxRequest) -> HttpResponse:
    """The list, newest first, by search text, status and tag, sorted by any column."""
    wanted = _wanted(request.GET)
    numbers = _numbers(selectors.status_counts(user=request.user), wanted)
    page, marks = selectors.task_page(
        user=request.user, wanted=wanted, page=request.GET.get("page"), size=ROWS_PER_PAGE, known=numbers["total"]
    )
    context: dict[str, Any] = {
        "rows": _drawn(request, marks),
        "page": page,
        "live": any(mark.live for mark in marks),
    }
    return render(request, "console/list.html", context | numbers)


def _numbers(counts: dict[str, int], wanted: selectors.ListFilter) -> dict[str, Any]:
    """Return what the summary and the filters are drawn from."""
    groups = selectors.group_counts(counts)
    return {
        "wanted": wanted,
        "query": _query(wanted),
        "counts": counts,
        "counted": _counted(counts),
        "total": sum(counts.values()),
        "groups": groups,
        "tags": selectors.all_tags(),
        "summary": _summary(groups),
    }


def _counted(counts: dict[str, int]) -> str:
    """Return a short mark of how many tasks stand in each status, by which a page tells which numbers it shows."""
    return f"{zlib.crc32(repr(sorted(counts.items())).encode()):x}"


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


def _wanted(get: QueryDict) -> selectors.ListFilter:
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


def _summary(groups: list[selectors.GroupCount]) -> str:
    """Tell the numbers of the filters in a line: the same ones, in the same order; what has ended when there is no
    other."""
    counts = {group.name: group.count for group in groups}
    if not counts:
        return _("No tasks")
    told = {
        "running": ngettext("%(n)s running", "%(n)s running", counts.get("running", 0)),
        "queued": ngettext("%(n)s queued", "%(n)s queued", counts.get("queued", 0)),
        "waiting": ngettext("%(n)s waits for you", "%(n)s wait for you", counts.get("waiting", 0)),
        "failed": ngettext("%(n)s failed", "%(n)s failed", counts.get("failed", 0)),
        "draft": ngettext("%(n)s draft", "%(n)s drafts", counts.get("draft", 0)),
        "ended": ngettext("%(n)s ended", "%(n)s ended", counts.get("ended", 0)),
    }
    named = [name for name in counts if name != "ended"] or ["ended"]
    return _(", ").join(told[name] % {"n": f"{counts[name]:,}"} for name in named)


@require_GET
def live_rows(request: HtmxRequest) -> HttpResponse:
    """Rows that changed since the page saw them, as out-of-band cells, and the filters when their numbers did; 204
    when nothing did.

    `known` holds id:version:status of each row that the page shows, with :turn for one that waits for its turn, and
    `counts` the mark of the numbers; what is filtered says the page's own address.
    When nothing can change any more the poller comes back without its trigger, which ends the polling.
    """
    known = _known(request.GET.getlist("known")[:ROWS_PER_PAGE])
    versions = {task_id: version for task_id, (version, _status, _turn) in known.items()}
    turns = {task_id: turn for task_id, (_version, _status, turn) in known.items()}
    rows, can_change = selectors.changed_rows(user=request.user, known=versions, turns=turns)
    counts = selectors.status_counts(user=request.user)
    stale = request.GET.get("counts", _counted(counts)) != _counted(counts)
    if not rows and can_change and not stale:
        return HttpResponse(status=204)
    moved = [row for row in rows if known[str(row.id)][1] != row.status]
    context: dict[str, Any] = {
        "rows": rows,
        "moved": moved,
        "live": can_change,
    }
    if stale:
        context |= _numbers(counts, _wanted(_page_query(request)))
    return render(request, "console/partials/_live.html", context)


def _page_query(request: HtmxRequest) -> QueryDict:
    """Return the query of the page that asks: it says what its filters keep."""
    return QueryDict((request.htmx.current_url or "").partition("?")[2].partition("#")[0])


def _known(values: list[str]) -> dict[str, tuple[int, str, str]]:
    known = {}
    for value in values:
        task_id, _colon, rest = value.partition(":")
        version, _colon, rest = rest.partition(":")
        status, _colon, turn = rest.partition(":")
        if version.isdecimal() and len(version) < 19:
            known[task_id] = (int(version), status, turn)
    return known
