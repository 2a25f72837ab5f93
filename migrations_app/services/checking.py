"""What operators ask of a check: run it, acknowledge a warning, mend what was found, prepare the source."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import queue
from ..draft_facts import draft_hash
from ..engine.checks.fixes import Fix, fix_of, is_offered
from ..engine.errors import PlanError
from ..engine.selection import Selection
from ..engine.states import Action, Status
from ..engine.wording import Sentence, listing, noun, say, together
from ..models import CheckItem, ConnectionTest, MigrationTask
from .base import Actor, Refused, TaskId, actor_name, hand_over, locked, move, note, require, require_filled
from .drafts import leave_out_sync

_LONGEST_REASON = 500
_BUSY = ("waiting", "running")


@transaction.atomic
def request_check(*, task_id: TaskId, actor: Actor, code: str = "", group: str = "") -> None:
    """Ask a worker to run all items, the one named, or those of a group.

    Raises Refused: the task is past its check, or has nothing yet that could be checked.
    Some items alone are run only while the others still hold: after an edit, or when they are too old, all are run.
    """
    task = locked(task_id)
    require(Action.CHECK, task)
    require_filled(task, "source", "target")
    hand_over(task, actor)
    if not _moves_anything(task):
        raise Refused(_("Nothing is selected. Select at least one table in the objects step."))
    items = CheckItem.objects.filter(task=task)
    if code and not items.filter(code=code).exists():
        raise Refused(_("There is no check item %(code)s.") % {"code": code})
    if group and not items.filter(group=group).exists():
        raise Refused(_("There is no group %(name)s of check items.") % {"name": group})
    some = items.filter(code=code) if code else items.filter(group=group) if group else items.none()
    if not _still_holds(task):
        some = items.none()
    codes = sorted(set(some.values_list("code", flat=True)))
    items.filter(**({"code__in": codes} if codes else {})).update(status="waiting")
    move(
        task,
        Status.CHECKING,
        actor=actor,
        code="CHECK-STARTED",
        message=say("Check of {names} started.", names=listing(codes)) if codes else say("Check started."),
        error_code="",
        error_message="",
        error_hint="",
    )
    if not task.foreground:
        queue.wake("check", str(task.pk), ",".join(codes))


@transaction.atomic
def check_without_sync(*, task_id: TaskId, actor: Actor) -> None:
    """Switch incremental sync off and check again, both or nothing. Raises Refused as either does."""
    leave_out_sync(task_id=task_id, actor=actor)
    request_check(task_id=task_id, actor=actor)


def _moves_anything(task: MigrationTask) -> bool:
    return Selection.from_json(task.selection).touches()


def _still_holds(task: MigrationTask) -> bool:
    oldest = timezone.now() - timedelta(hours=settings.CHECK_VALID_HOURS)
    return task.checked_at is not None and task.checked_at > oldest and task.checked_hash == draft_hash(task)


@transaction.atomic
def acknowledge(
    *, task_id: TaskId, item_id: int, actor: Actor, reason: str, everywhere: bool = False
) -> list[CheckItem]:
    """Write down who knows of a warning and why it may stay; `everywhere`: also in the item's other databases.

    It opens and closes nothing: a warning never stands in the way of Start. Raises Refused when it is no warning any
    more, or without a reason.
    """
    task = locked(task_id)
    require(Action.CHECK, task)
    item = _item(task, item_id)
    reason = " ".join(reason.split())
    if item.status != "warning":
        raise Refused(_("Only a warning can be acknowledged. Load the page again: the item has another result now."))
    if not reason:
        raise Refused(_("Say why the warning may stay. Whoever reads the report later has only this line."))
    if len(reason) > _LONGEST_REASON:
        raise Refused(_("Use at most %(number)d characters.") % {"number": _LONGEST_REASON})
    same = CheckItem.objects.filter(task=task, code=item.code, status="warning", acknowledged_at=None)
    items = list(same) if everywhere else [item]
    for one in items:
        one.acknowledged_by = actor_name(actor)
        one.acknowledged_reason = reason
        one.acknowledged_at = timezone.now()
        one.save(update_fields=["acknowledged_by", "acknowledged_reason", "acknowledged_at"])
    found = {one.database: one.found for one in items}
    text = say("Warning acknowledged: {names}. Reason: {reason}", names=listing(map(_words, items)), reason=reason)
    note(task, text, actor=actor, code="CHECK-ACKNOWLEDGED", item=item.code, found=found)
    return items


@transaction.atomic
def withdraw_acknowledgement(*, task_id: TaskId, item_id: int, actor: Actor) -> None:
    """Take an acknowledgement back. Idempotent. Raises Refused when the item is gone."""
    task = locked(task_id)
    require(Action.CHECK, task)
    item = _item(task, item_id)
    if not item.acknowledged_at:
        return
    item.acknowledged_by, item.acknowledged_reason, item.acknowledged_at = "", "", None
    item.save(update_fields=["acknowledged_by", "acknowledged_reason", "acknowledged_at"])
    note(
        task,
        say("Acknowledgement withdrawn: {words}.", words=_words(item)),
        actor=actor,
        code="CHECK-WITHDRAWN",
        item=item.code,
    )


def fix_for(item: CheckItem) -> Fix:
    """Return what the Fix button of an item does, exactly. Raises Refused when there is nothing to do."""
    if not is_offered(item.status, item.fix):
        raise Refused(_("There is nothing to fix here any more. Load the page again."))
    try:
        return fix_of(item.fix, item.fix_arguments)
    except PlanError as error:
        raise Refused(together([error.message, error.hint])) from error


@transaction.atomic
def request_fix(*, task_id: TaskId, item_id: int, actor: Actor, mark: str) -> ConnectionTest:
    """Ask a worker to run the statements of a fix that the operator has read (`mark`), and the item after it.

    Raises Refused when the task is past its check, another fix runs, or the statements are others by now.
    """
    task = locked(task_id)
    require(Action.CHECK, task)
    item = _item(task, item_id)
    fix = fix_for(item)
    if fix.mark != mark:
        raise Refused(_("The item found something else meanwhile, so the SQL is another. Read it again."))
    if task.tests.filter(kind="fix", state__in=_BUSY).exists():
        raise Refused(_("A fix of this task is running. Wait for its result."))
    detail = {
        "item": item.pk,
        "code": item.code,
        "database": item.database,
        "title": item.title,
        "fix": item.fix,
        "arguments": item.fix_arguments,
        "actor": actor_name(actor),
        "draft": draft_hash(task),
    }
    hand_over(task, actor)  # the item is looked at again after it
    test = ConnectionTest.objects.create(task=task, side=fix.side, kind="fix", detail=detail)
    sql, undo = (" ".join(one.sql for one in part) for part in (fix.statements, fix.undo))
    note(
        task,
        say(
            "Fix asked for: {words}. On the {side}: {sql} To take it back: {undo}",
            words=_words(item),
            side=noun(fix.side),
            sql=sql,
            undo=undo,
        ),
        actor=actor,
        code="FIX-ASKED",
        statements=[one.sql for one in fix.statements],
        undo=[one.sql for one in fix.undo],
    )
    queue.wake("test", str(test.pk))
    return test


@transaction.atomic
def fix_done(test: ConnectionTest, fix: Fix) -> None:
    """Write down that a fix was run, with the way back, and have its item looked at again."""
    task = locked(test.task_id)
    note(
        task,
        say(
            "{label}: done on the {side}, asked for by {actor}. To take it back: {undo}",
            label=say(fix.label),
            side=noun(fix.side),
            actor=test.detail.get("actor") or say("the console"),
            undo=" ".join(one.sql for one in fix.undo),
        ),
        code="FIX-DONE",
        statements=[one.sql for one in fix.statements],
        undo=[one.sql for one in fix.undo],
    )
    task.refresh_from_db()
    editable = Status(task.status) in (Status.CHECK_FAILED, Status.CHECK_PASSED, Status.DRAFT)
    if editable and _moves_anything(task):
        code = str(test.detail.get("code", ""))
        known = CheckItem.objects.filter(task=task, code=code).exists()
        request_check(task_id=task.pk, actor=None, code=code if known else "")


@transaction.atomic
def fix_failed(test: ConnectionTest, message: str) -> None:
    """Write down that a server refused a fix."""
    note(locked(test.task_id), say("Fix not done: {message}", message=message), code="FIX-FAILED", level="error")


@transaction.atomic
def request_preparation(*, task_id: TaskId, actor: Actor) -> ConnectionTest:
    """Ask a worker to look at what the source has, for the page that says what it needs. One at a time."""
    task = locked(task_id)
    require_filled(task, "source")
    waiting = task.tests.filter(kind="prepare", state__in=_BUSY).first()
    if waiting:
        return waiting
    test = ConnectionTest.objects.create(task=task, side="source", kind="prepare")
    queue.wake("test", str(test.pk))
    return test


def _item(task: MigrationTask, item_id: int) -> CheckItem:
    item = CheckItem.objects.filter(task=task, pk=item_id).first()
    if item is None:
        raise Refused(_("This check item is no longer there. Load the page again."))
    return item


def _words(item: CheckItem) -> Sentence:
    title = say(item.title)
    return say("{title} ({database})", title=title, database=item.database) if item.database else title
