"""The check page: items in groups, worst first, what can be done about each, and whether Start is possible."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from ..check_counts import count_items
from ..draft_facts import draft_hash
from ..engine.checks.fixes import Fix, fix_of, is_offered
from ..engine.checks.registry import CheckInfo, Group, all_items
from ..engine.errors import PlanError
from ..engine.states import Status
from ..engine.values import frozen
from ..engine.wording import retell
from ..models import CheckItem, ConnectionTest, MigrationTask
from .wording import told_in, told_list

ORDER = {"failed": 0, "warning": 1, "waiting": 2, "passed": 3}
_PREPARABLE = frozenset(
    {
        "publication-rights",
        "replication-login",
        "replication-privilege",
        "replication-slots",
        "source-login",
        "source-readable",
        "wal-level",
        "wal-senders",
    }
)
_TELL_FIX_MINUTES = 5
SHOWN_DATABASES = 3


@frozen
class CheckRow:
    """One result: an item as a whole, or an item in one database."""

    item: CheckItem
    fix_label: str  # '' = nothing that we could do
    acknowledgeable: bool
    prepare: bool  # the page Prepare the source says how to get there
    restarted: str = ""  # the server that its restart is about

    @property
    def because(self) -> str:
        """Why nobody could look, '' where somebody did."""
        words = self.item.words if self.item.status == "failed" else {}
        return told_in({"words": words, "because": retell(words["because"])}, "because") if "because" in words else ""

    @property
    def problem(self) -> bool:
        """Whether somebody should look."""
        return self.item.status in ("failed", "warning")


@frozen
class CheckEntry:
    """One item with its results, one for each database where it is per database."""

    code: str
    title: str
    looks_at: str
    status: str  # the worst of its rows
    rows: list[CheckRow]
    seconds: float | None

    @property
    def because(self) -> str:
        """Why nobody could look at it in any of its databases; '' where somebody did."""
        found = {row.because for row in self.rows}
        return found.pop() if len(found) == 1 else ""

    @property
    def single(self) -> CheckRow | None:
        """The only row, when there is one only."""
        return self.rows[0] if len(self.rows) == 1 else None

    @property
    def problems(self) -> list[CheckRow]:
        """The rows that somebody should look at."""
        return [row for row in self.rows if row.problem]

    @property
    def first(self) -> list[CheckRow]:
        """The rows that are shown at once: with many databases the others are folded."""
        return self.problems[:SHOWN_DATABASES]

    @property
    def more(self) -> list[CheckRow]:
        """The problems of further databases."""
        return self.problems[SHOWN_DATABASES:]

    @property
    def told(self) -> list[CheckRow]:
        """The rows whose findings the hint repeats, worst first; the page holds those of further databases."""
        return [row for row in self.rows if row.item.status != "waiting" and row.item.found][:SHOWN_DATABASES]

    @property
    def advised(self) -> CheckRow | None:
        """The row whose advice the hint repeats: the worst that has one."""
        return next((row for row in self.rows if row.item.status != "waiting" and row.item.hint), None)

    @property
    def acknowledgeable(self) -> int:
        """In how many databases somebody could acknowledge the warning."""
        return sum(1 for row in self.rows if row.acknowledgeable)

    @property
    def rest(self) -> list[CheckRow]:
        """The rows that say nothing new."""
        return [row for row in self.rows if not row.problem]

    @property
    def problem(self) -> bool:
        """Whether somebody should look."""
        return self.status in ("failed", "warning")


@frozen
class CheckFold:
    """Items that nobody could look at for one cause, which is an item of its own."""

    because: str
    entries: list[CheckEntry]


@frozen
class CheckGroup:
    """Items that belong together, worst first."""

    name: str
    entries: list[CheckEntry]
    failed: int
    unseen: int  # Failed because nobody could look
    warnings: int
    passed: int
    waiting: int

    @property
    def problems(self) -> list[CheckEntry]:
        """Entries that are not passed and not folded: failed, warned about, or still to come."""
        return [entry for entry in self.entries if entry.status != "passed" and not entry.because]

    @property
    def folds(self) -> list[CheckFold]:
        """What nobody could look at, one line for each cause."""
        by_cause: dict[str, list[CheckEntry]] = {}
        for entry in self.entries:
            if entry.because:
                by_cause.setdefault(entry.because, []).append(entry)
        return [CheckFold(because=because, entries=entries) for because, entries in by_cause.items()]

    @property
    def fine(self) -> list[CheckEntry]:
        """Entries that passed."""
        return [entry for entry in self.entries if entry.status == "passed"]

    @property
    def total(self) -> int:
        """How many items the group has."""
        return self.failed + self.unseen + self.warnings + self.passed + self.waiting


@frozen
class CheckView:
    """The whole check page."""

    groups: list[CheckGroup]
    items: int
    results: int  # of all items, where several databases have one each
    databases: int
    failed: int
    unseen: int  # Failed because nobody could look
    warnings: int
    passed: int
    waiting: int
    acknowledged: int
    running: bool
    valid: bool
    expired: bool
    valid_until: datetime | None
    can_start: bool
    why_not: str
    fix: ConnectionTest | None  # the last press on Fix, while it is worth telling
    fixing: bool
    editable: bool  # the check belongs to a task that was not started
    only_full: bool  # without incremental sync something less would be Failed

    @property
    def open_warnings(self) -> int:
        """Warnings that nobody has acknowledged."""
        return self.warnings - self.acknowledged

    @property
    def problems(self) -> int:
        """How many items somebody should look at."""
        return self.failed + self.unseen + self.warnings

    @property
    def done(self) -> int:
        """How many items have a result."""
        return self.items - self.waiting


@frozen
class FixView:
    """A fix before it is run: what it does and the statements."""

    item: CheckItem
    fix: Fix


def check_view(task: MigrationTask) -> CheckView:
    """Return the last check of a task as the page shows it."""
    items = list(CheckItem.objects.filter(task=task))
    counts = count_items((item.code, item.status) for item in items)
    running = task.status == Status.CHECKING
    valid_until = task.checked_at + timedelta(hours=settings.CHECK_VALID_HOURS) if task.checked_at else None
    expired = valid_until is not None and valid_until < timezone.now()
    fresh = bool(task.checked_hash) and task.checked_hash == draft_hash(task)
    why_not = _why_not(task, counts, running=running, fresh=fresh, expired=expired)
    fix = _told_fix(task)
    editable = Status(task.status) in (Status.DRAFT, Status.CHECK_FAILED, Status.CHECK_PASSED)
    groups = _groups(items, editable=editable)
    unseen = sum(group.unseen for group in groups)
    open_codes = {item.code for item in items if item.status == "warning" and not item.acknowledged_at}
    return CheckView(
        groups=groups,
        items=sum(counts.values()),
        results=len(items),
        databases=len({item.database for item in items if item.database}),
        failed=counts["failed"] - unseen,
        unseen=unseen,
        warnings=counts["warning"],
        passed=counts["passed"],
        waiting=counts["waiting"],
        acknowledged=counts["warning"] - _counted(items, "warning", open_codes),
        running=running,
        valid=fresh and not expired,
        expired=expired,
        valid_until=valid_until,
        can_start=not why_not,
        why_not=why_not,
        fix=fix,
        fixing=fix is not None and fix.state in ("waiting", "running"),
        editable=editable,
        only_full=task.incremental
        and editable
        and not running
        and any(g.failed for g in groups if g.name == Group.SYNC),
    )


def _counted(items: list[CheckItem], status: str, codes: set[str]) -> int:
    """Return how many items among `codes` have this status as their worst."""
    return count_items((item.code, item.status) for item in items if item.code in codes)[status]


def _told_fix(task: MigrationTask) -> ConnectionTest | None:
    last = ConnectionTest.objects.filter(task=task, kind="fix").first()
    if last is None or last.finished_at is None:
        return last
    told = timezone.now() - last.finished_at < timedelta(minutes=_TELL_FIX_MINUTES)
    looked_again = task.checked_at is not None and last.state == "failed" and task.checked_at > last.finished_at
    return last if told and not looked_again else None


def _why_not(task: MigrationTask, counts: dict[str, int], *, running: bool, fresh: bool, expired: bool) -> str:
    reasons = [
        (running, _("The check is running.")),
        (
            Status(task.status) not in (Status.DRAFT, Status.CHECK_FAILED, Status.CHECK_PASSED),
            _("This task has been started already."),
        ),
        (not task.checked_at, _("The check has not run yet.")),
        (not fresh, _("The settings changed after the check; run it again.")),
        (expired, _("The check is too old; run it again.")),
        (bool(counts["failed"]), _("Start is possible when nothing is Failed.")),
        (
            bool(counts["waiting"]) or task.status != Status.CHECK_PASSED,
            _("Some items have not run yet; check again."),
        ),
    ]
    return next((words for holds, words in reasons if holds), "")


def _groups(items: list[CheckItem], *, editable: bool) -> list[CheckGroup]:
    names = list(dict.fromkeys(item.group for item in items))
    infos = {info.code: info for info in all_items()}
    groups = []
    for name in names:
        own = [item for item in items if item.group == name]
        counts = count_items((item.code, item.status) for item in own)
        entries = _entries(own, infos, editable=editable)
        unseen = sum(1 for entry in entries if entry.because)
        groups.append(
            CheckGroup(
                name=name,
                entries=entries,
                failed=counts["failed"] - unseen,
                unseen=unseen,
                warnings=counts["warning"],
                passed=counts["passed"],
                waiting=counts["waiting"],
            )
        )

    def place(group: CheckGroup) -> tuple[bool, bool, bool, int]:
        return group.failed == 0, group.unseen == 0, group.warnings == 0, names.index(group.name)

    return sorted(groups, key=place)


def _entries(items: list[CheckItem], infos: dict[str, CheckInfo], *, editable: bool) -> list[CheckEntry]:
    by_code: dict[str, list[CheckItem]] = {}
    for item in items:
        by_code.setdefault(item.code, []).append(item)
    entries = []
    for code, own in by_code.items():
        own.sort(key=lambda item: (ORDER[item.status], item.database))
        spent = [item.seconds for item in own if item.seconds is not None]
        info = infos.get(code)
        entries.append(
            CheckEntry(
                code=code,
                title=own[0].title,
                looks_at=info.looks_at if info else "",
                status=own[0].status,
                rows=[_row(item, info, editable=editable) for item in own],
                seconds=sum(spent) if spent else None,
            )
        )
    return sorted(entries, key=lambda entry: (ORDER[entry.status], entry.rows[0].item.position))


def _row(item: CheckItem, info: CheckInfo | None, *, editable: bool) -> CheckRow:
    problem = item.status in ("failed", "warning")
    fix = _fix(item) if editable else None
    return CheckRow(
        item=item,
        fix_label=fix.label if fix else "",
        acknowledgeable=editable and item.status == "warning" and item.acknowledged_at is None,
        prepare=editable and problem and item.code in _PREPARABLE,
        restarted=str(info.restarted) if info and item.needs_restart else "",
    )


def _fix(item: CheckItem) -> Fix | None:
    try:
        return fix_of(item.fix, item.fix_arguments) if is_offered(item.status, item.fix) else None
    except PlanError:  # written by another version
        return None


def check_item(task: MigrationTask, item_id: int) -> CheckItem | None:
    """Return one result of a task, or None."""
    return CheckItem.objects.filter(task=task, pk=item_id).first()


def fix_view(task: MigrationTask, item_id: int) -> FixView | None:
    """Return what the Fix button of an item does, or None when there is nothing to do any more."""
    item = check_item(task, item_id)
    fix = _fix(item) if item is not None else None
    return FixView(item=item, fix=fix) if item is not None and fix is not None else None


def unacknowledged_warnings(task: MigrationTask) -> int:
    """Return how many warnings nobody has acknowledged; the start asks for no more than a look at them."""
    open_ones = CheckItem.objects.filter(task=task, status="warning", acknowledged_at=None).order_by()
    return open_ones.values("code").distinct().count()


def preparation(task: MigrationTask) -> ConnectionTest | None:
    """Return the last look at what the source needs, or None."""
    return ConnectionTest.objects.filter(task=task, kind="prepare").first()


def told_preparation(detail: dict[str, Any]) -> dict[str, Any]:
    """Return what such a look found, with its texts in the reader's language."""
    texts = {name: told_in(detail, name) for name in ("failure", "failure_hint")}
    lists = {name: told_list(detail, name) for name in ("notes", "vendor_words")}
    settings = [line | {"why": told_in(line, "why")} for line in detail.get("settings", [])]
    return detail | texts | lists | {"settings": settings}


def is_of_this_draft(task: MigrationTask, prepared: ConnectionTest) -> bool:
    """Say whether a preparation was made for the task as it stands."""
    return bool(prepared.detail.get("draft") == draft_hash(task))
