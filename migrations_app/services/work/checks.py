"""What a worker records about a check: each result as it comes, the end of the run, and what a later run changed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from ... import clock
from ...check_counts import count_items
from ...draft_facts import draft_hash
from ...engine.states import Status, StepName, may_move
from ...engine.values import frozen
from ...engine.wording import NOTHING, Sentence, as_data, how, noun, say, together, verbatim
from ...models import CheckItem, MigrationTask, Step, TaskDatabase
from ..base import Refused, move, note, touch
from ..lifecycle import start_task
from .claims import Claim, held_task

CHECK_RUN = "check-run"
"""The item that stands for the run itself when it broke."""
_STORED = ("title", "group", "status", "found", "hint", "sql", "needs_restart", "fix", "fix_arguments", "seconds")
_AGAIN = say("checking again before anything is made")
_UNACKNOWLEDGED: dict[str, Any] = {"acknowledged_by": "", "acknowledged_reason": "", "acknowledged_at": None}


class ItemInfo(Protocol):
    """What a row needs to know before its item has run."""

    @property
    def code(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def group(self) -> str: ...


class Result(ItemInfo, Protocol):
    """What a row needs to know of a result."""

    @property
    def status(self) -> str: ...
    @property
    def found(self) -> str: ...
    @property
    def hint(self) -> str: ...
    @property
    def sql(self) -> str: ...
    @property
    def database(self) -> str: ...
    @property
    def needs_restart(self) -> bool: ...
    @property
    def fix(self) -> str: ...
    @property
    def fix_arguments(self) -> Mapping[str, Any]: ...
    @property
    def seconds(self) -> float | None: ...
    @property
    def because(self) -> str: ...


@frozen
class Change:
    """An item whose status is another than in the check before."""

    title: str
    database: str
    before: str
    now: str
    found: str

    @property
    def words(self) -> Sentence:
        """The change as an operator reads it."""
        return say(
            "{title}{where}: {before}, now {now}. {found}",
            title=say(self.title),
            where=f" ({self.database})" if self.database else "",
            before=noun(self.before.capitalize()) if self.before else say("not looked at"),
            now=noun(self.now.capitalize()),
            found=self.found,
        )


@transaction.atomic
def begin_items(task: MigrationTask, infos: Iterable[ItemInfo], only: Collection[str]) -> None:
    """Make a waiting row for each item that has none; the rows of earlier runs stay, with their acknowledgements.

    `only` empty: the whole check, so rows of items that this task does not have (any more) go.
    """
    known = {info.code: (number, info) for number, info in enumerate(infos)}
    rows = CheckItem.objects.filter(task=task)
    rows.filter(code=CHECK_RUN).delete()
    if not only:
        rows.exclude(code__in=known).delete()
    wanted = {code for code in known if not only or code in only}
    rows.filter(code__in=wanted).update(status="waiting")
    have = set(rows.values_list("code", flat=True))
    CheckItem.objects.bulk_create(
        CheckItem(task=task, code=code, title=info.title, group=info.group, position=position)
        for code, (position, info) in known.items()
        if code in wanted and code not in have
    )
    touch(task)


@transaction.atomic
def store_results(task: MigrationTask, results: Iterable[tuple[int, Result]]) -> None:
    """Write results with their places on the page. An acknowledgement stays only with the very finding it was for.

    All in a few statements: a check has a hundred results, and each statement costs more than what it writes.
    """
    places = {(result.code, result.database): (position, result) for position, result in results}
    rows = CheckItem.objects.filter(task=task, code__in={code for code, _ in places})
    rows.filter(code__in={code for code, database in places if database}, database="", status="waiting").delete()
    old = {(row.code, row.database): row for row in rows}
    now = timezone.now()
    kept: list[CheckItem] = []
    other: list[CheckItem] = []
    for key, (position, result) in places.items():
        known = old.get(key)
        same = known is not None and known.found == result.found and result.status == "warning"
        values = _stored(result)
        (kept if same else other).append(
            CheckItem(task=task, code=key[0], database=key[1], position=position, checked_at=now, **values)
        )
    names = [*_STORED, "words", "position", "checked_at"]
    for items, more in ((kept, []), (other, list(_UNACKNOWLEDGED))):
        CheckItem.objects.bulk_create(
            items,
            update_conflicts=True,
            unique_fields=["task", "code", "database"],
            update_fields=[*names, *more],
        )
    touch(task)


def _stored(result: Result) -> dict[str, Any]:
    return {name: getattr(result, name) for name in _STORED} | {
        "fix_arguments": dict(result.fix_arguments),
        "words": as_data(found=result.found, hint=result.hint)
        | ({"because": how(result.because)} if result.because else {}),
    }


@transaction.atomic
def forget_others(task: MigrationTask, results: Iterable[Result]) -> None:
    """Delete rows of the items that were just run for databases that are selected no more."""
    seen = {(result.code, result.database) for result in results}
    run = {code for code, _database in seen}
    rows = CheckItem.objects.filter(task=task, code__in=run).values_list("pk", "code", "database")
    if gone := [pk for pk, code, database in rows if (code, database) not in seen]:
        CheckItem.objects.filter(pk__in=gone).delete()


@transaction.atomic
def finish_check(task_id: str, *, hash_checked: str, partial: bool = False) -> None:
    """Close a check: passed when nothing is Failed. A draft that changed meanwhile is checked for nothing.

    `partial`: only some items were run, so the whole is as old as it was.
    """
    task = MigrationTask.objects.select_for_update().get(pk=task_id)
    if task.status != Status.CHECKING:
        return
    counts = item_counts(task)
    failed = counts["failed"] > 0 or counts["waiting"] > 0 or counts["passed"] == 0 or hash_checked != draft_hash(task)
    move(
        task,
        Status.CHECK_FAILED if failed else Status.CHECK_PASSED,
        code="CHECK-FAILED" if failed else "CHECK-PASSED",
        level="warning" if failed else "info",
        message=say("Check ended: {failed} Failed, {warning} Warning, {passed} Passed.", **counts),
        detail=counts,
        checked_at=(task.checked_at if partial else None) or timezone.now(),
        checked_hash=hash_checked,
    )
    if task.new_copy:
        _go_on_with_new_copy(task)


@transaction.atomic
def give_up_check(task_id: str, now: datetime | None = None) -> bool:
    """Close a check that nobody goes on with: its process was stopped, or ended without notice. False: somebody is.

    Items that were not run keep waiting, so that Start waits for another check.
    """
    now = now or clock.now()
    task = MigrationTask.objects.select_for_update().get(pk=task_id)
    if task.status != Status.CHECKING or (task.lease_until is not None and task.lease_until >= now):
        return False
    move(
        task,
        Status.CHECK_FAILED,
        code="CHECK-STOPPED",
        level="warning",
        message=say("The check was broken off before its end."),
        detail=item_counts(task),
        lease_until=None,
        worker="",
        new_copy=False,
    )
    return True


def _go_on_with_new_copy(task: MigrationTask) -> None:
    """Start a task by itself whose new copy was asked for; what its check found Failed waits for somebody."""
    touch(task, new_copy=False)
    try:
        if task.status == Status.CHECK_PASSED:
            start_task(task_id=task.pk, actor=None)
            return
    except Refused:
        pass
    text = say("The new copy does not begin by itself: mend what the check says is Failed, check again, press Start.")
    note(task, text, code="NEW-COPY-WAITS", level="error")


def item_counts(task: MigrationTask) -> dict[str, int]:
    """Return how many items of the last check are failed, warning, passed and waiting.

    An item counts once, with the worst of its results in several databases; one that still waits in one of them waits.
    """
    return count_items(CheckItem.objects.filter(task=task).order_by().values_list("code", "status"))


def wants_check_before_start(task: MigrationTask) -> bool:
    """Say whether the check is too old to begin on it, and nothing was made yet on either server since the start."""
    if task.current_step not in ("", StepName.SCHEMA) or task.started_at is None or task.checked_at is None:
        return False
    if task.ledger.filter(made_at__gte=task.started_at).exists():
        return False
    return task.checked_at < timezone.now() - timedelta(minutes=settings.CHECK_FRESH_MINUTES)


def changes(task: MigrationTask, results: Iterable[Result]) -> list[Change]:
    """Return the results whose status is another than the stored one."""
    before = {(row.code, row.database): row.status for row in CheckItem.objects.filter(task=task)}
    return [
        Change(
            title=result.title,
            database=result.database,
            before=before.get((result.code, result.database), ""),
            now=str(result.status),
            found=result.found,
        )
        for result in results
        if before.get((result.code, result.database)) != result.status
    ]


@transaction.atomic
def say_checking(claim: Claim) -> None:
    """Show at the step that is about to begin that the check runs again first."""
    task = held_task(claim)
    if task is not None:
        Step.objects.filter(task=task, name=task.current_step).update(note=_AGAIN, words=as_data(note=_AGAIN))
        touch(task)


@transaction.atomic
def store_again(claim: Claim, infos: Iterable[ItemInfo], results: Collection[Result]) -> None:
    """Write the results of a check that ran again by itself, all at once: a killed worker leaves the earlier ones."""
    task = held_task(claim)
    if task is None:
        return
    position = {info.code: number for number, info in enumerate(infos)}
    store_results(task, [(position.get(result.code, 0), result) for result in results])
    forget_others(task, results)


@transaction.atomic
def start_goes_on(claim: Claim, changed: Collection[Change]) -> None:
    """After the check before the start found nothing Failed: say what is different, and count the check as fresh."""
    task = held_task(claim)
    if task is None:
        return
    words = say("Checked again before the start. ")
    words += say("This changed: ") + _listed(changed) if changed else say("Nothing changed since the check.")
    Step.objects.filter(task=task, name=task.current_step).update(note="")
    note(task, words, code="CHECK-AGAIN", level="warning" if any(c.now == "warning" for c in changed) else "info")
    touch(task, checked_at=timezone.now())


@transaction.atomic
def start_refused(claim: Claim, changed: Collection[Change]) -> None:
    """After the check before the start found something Failed: back to the check page, as if not started.

    A task that was paused or cancelled meanwhile stays so: Resume checks again.
    """
    task = held_task(claim)
    if task is None or not may_move(Status(task.status), Status.CHECK_FAILED):
        return
    when = (task.checked_at or timezone.now()).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    message = say("Not started. Since the check of {when} this changed: {changes}", when=when, changes=_listed(changed))
    hint = say("Nothing was made on either server. Mend what is Failed, check again, and press Start.")
    Step.objects.filter(task=task).delete()
    TaskDatabase.objects.filter(task=task).delete()
    move(
        task,
        Status.CHECK_FAILED,
        code="CHECK-CHANGED",
        level="error",
        message=message,
        detail=item_counts(task),
        checked_at=timezone.now(),
        error_code="CHECK-CHANGED",
        error_message=message,
        error_hint=hint,
        words=as_data(error_message=message, error_hint=hint),
        current_step="",
        started_at=None,
        queued_at=None,
        failing_since=None,
        tries=0,
        lease_until=None,
        worker="",
    )


def _listed(changed: Collection[Change], most: int = 8) -> Sentence:
    worst = sorted(changed, key=lambda change: ["failed", "warning"].index(change.now) if change.now != "passed" else 2)
    more = say("\n… and {number} more", number=len(worst) - most) if len(worst) > most else NOTHING
    return together((verbatim("\n") + change.words for change in worst[:most]), "") + more
