"""Watches how much WAL the sources keep for tasks, and does at the budget what the task's policy says.

Whoever looks at a server does so outside of these transactions and hands in what was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from .. import clock, queue
from ..engine.replication.governed import LOST, SlotsLook, safe_size, standing
from ..engine.replication.governor import WINDOW_SECONDS, Bound, Judgement, Kept, Level, Limits, Policy, judge
from ..engine.states import Status, StepName
from ..engine.wording import NOTHING, Sentence, as_data, listing, say, together
from ..models import MigrationTask, Sample, TaskDatabase
from ..refusals import past_return
from .base import locked, move, note, touch
from .figures import UNKNOWN, no_more_tries
from .lifecycle import begin_cancel
from .resuming import go_on

_HOLDING = (Status.QUEUED, Status.RUNNING, Status.READY, Status.COMPLETING, Status.PAUSED, Status.FAILED)
_WORKING = (Status.RUNNING, Status.READY)
_AT_WORK = (Status.QUEUED, *_WORKING, Status.COMPLETING)
_URGENT = (Level.ALARM, Level.REACHED)
_FULL_STEPS = ("", StepName.SCHEMA, StepName.COPY, StepName.INDEX)
_SPOOLING_STEPS = (StepName.COPY, StepName.INDEX, StepName.SYNC)
_LOOK_SECONDS, _URGENT_SECONDS, _UNREACHABLE_SECONDS = 60, 15, 300
_NEARLY_BYTES = 1_000_000  # a source that is written to all the time never lets a spool be quite empty
_LEVELS = {Level.NORMAL: "info", Level.WARNING: "warning", Level.ALARM: "error", Level.REACHED: "error"}


def _holding() -> QuerySet[MigrationTask]:
    """Tasks for which a source may keep WAL, paused and failed ones too."""
    slots = TaskDatabase.objects.exclude(slot="").values("task")
    holding = MigrationTask.objects.filter(status__in=_HOLDING, incremental=True, pk__in=slots)
    return holding.exclude(status=Status.COMPLETING, finished_at__isnull=False)  # has completed, and cleans up again


def _due(now: datetime) -> QuerySet[MigrationTask]:
    """Tasks that are to be looked at: once a minute, more often from the alarm level on, and when the clock was set
    back since the last look."""
    due = Q(wal_looked_at=None) | Q(wal_looked_at__lt=now - timedelta(seconds=_LOOK_SECONDS))
    due |= Q(wal_looked_at__gt=now + timedelta(seconds=_UNREACHABLE_SECONDS))
    due |= Q(wal_level__in=_URGENT, wal_looked_at__lt=now - timedelta(seconds=_URGENT_SECONDS))
    return _holding().filter(due)


def take_look(task_id: str, now: datetime) -> bool:
    """Say whether a task is due, and count it as looked at: `task run` looks by itself, without a dispatcher."""
    return bool(
        MigrationTask.objects.filter(pk__in=_due(now).filter(pk=task_id).values("pk")).update(wal_looked_at=now)
    )


def wake_looks(now: datetime) -> int:
    """Ask for a look at every task that is due."""
    keys = list(_due(now).values_list("pk", flat=True))
    MigrationTask.objects.filter(pk__in=keys).update(wal_looked_at=now)
    for key in keys:
        queue.wake("wal", str(key))
    return len(keys)


def could_not_look(task_id: str) -> None:
    """Leave a source that cannot be reached alone for some minutes: those who work on the task tell what is wrong."""
    later = clock.now() + timedelta(seconds=_UNREACHABLE_SECONDS - _LOOK_SECONDS)
    MigrationTask.objects.filter(pk=task_id).update(wal_looked_at=later)


def slots_of(task_id: str) -> list[str]:
    """Return the slots of a task that may keep WAL; none once it has ended or gives up."""
    if not _holding().filter(pk=task_id).exists():
        return []
    return list(TaskDatabase.objects.filter(task_id=UUID(task_id)).exclude(slot="").values_list("slot", flat=True))


@transaction.atomic
def record_look(task_id: str, slots: Sequence[str], seen: SlotsLook) -> None:
    """Judge what was seen of these slots, tell a change of level once, and act at the budget.

    Does nothing when the task has ended or begun anew since the look.
    """
    task = locked(task_id)
    if sorted(slots) != sorted(slots_of(task_id)):
        return
    if seen.kept_bytes is None:
        _without_slot(task, seen)
        return
    judged = judge(_samples(task, seen.kept_bytes), _limits(task, seen), _level_of(task))
    before = _level_of(task)
    holds_on = judged.level is Level.REACHED and task.status in _WORKING
    state = _state(judged, seen) | {"acted": task.wal_state.get("acted", 0) if holds_on else 0}
    changed = judged.level is not before
    MigrationTask.objects.filter(pk=task.pk).update(wal_level=judged.level, wal_state=state)
    if changed:
        text = standing(judged) + _what_now(task, judged)
        note(task, text, code=f"WAL-{judged.level.name}", level=_LEVELS[judged.level], **_figures(judged))
    task.refresh_from_db()
    _act(task, judged)


def _level_of(task: MigrationTask) -> Level:
    return Level(task.wal_level) if task.wal_level else Level.NORMAL


def _samples(task: MigrationTask, kept_bytes: int) -> list[Kept]:
    """Return what was kept in the last minutes. A worker writes samples by itself; without one it is done here."""
    now = timezone.now()
    if task.lease_until is None or task.lease_until < clock.now():
        Sample.objects.create(task=task, at=now, wal_kept_bytes=kept_bytes)
    known = Sample.objects.filter(
        task=task, at__gt=now - timedelta(seconds=WINDOW_SECONDS), at__lt=now, wal_kept_bytes__isnull=False
    )
    rows = known.order_by("at").values_list("at", "wal_kept_bytes")
    samples = [Kept(at=at.timestamp(), kept_bytes=int(kept or 0)) for at, kept in rows]
    return [*samples, Kept(at=now.timestamp(), kept_bytes=kept_bytes)]


def _limits(task: MigrationTask, seen: SlotsLook) -> Limits:
    return Limits(
        budget_bytes=task.wal_budget_bytes,
        disk_bytes=task.wal_disk_bytes,
        safe_bytes=seen.safe_bytes,
        wal_status=seen.wal_status,
        wal_bytes=seen.wal_bytes,
    )


def _figures(judged: Judgement) -> dict[str, Any]:
    return {"kept": judged.kept_bytes, "limit": judged.limit_bytes, "bound": judged.bound.value}


def _state(judged: Judgement, seen: SlotsLook) -> dict[str, Any]:
    text = standing(judged) + safe_size(judged, seen)
    return _figures(judged) | {
        "left": judged.left_bytes,
        "rate": judged.bytes_per_second,
        "seconds": judged.seconds_left,
        "status": seen.wal_status,
        "text": text,
        "words": as_data(text=text),
    }


def _ends(task: MigrationTask) -> bool:
    """Say whether a task is to be completed, maybe by Retry: what a new copy would clear may be in use by then."""
    return task.status == Status.COMPLETING or past_return(task)


def _what_now(task: MigrationTask, judged: Judgement) -> Sentence:
    """Say what follows from a level: what the operator can do, or what is done by itself."""
    if judged.level is Level.NORMAL:
        return NOTHING
    if judged.level is not Level.REACHED:
        return _advice(task, judged)
    if task.status == Status.COMPLETING:
        return say(" The task is being completed, which ends it; nothing else is done.")
    if _ends(task):
        return say(
            " Complete has begun to open the target to the application, so nothing is given up by itself any more. "
            "Press Retry to end it, or Cancel."
        )
    if task.wal_policy == Policy.PAUSE_OTHERS:
        if task.status not in _WORKING:
            return say(" The task itself is not at work, so pausing others would not help: let it go on, or cancel it.")
        return say(" Other tasks of the same source are paused until it has fallen below the warning level.")
    if task.wal_policy == Policy.SPOOL:
        return _spooling_now(task)
    if task.wal_policy in (Policy.DROP, Policy.NEW_COPY):
        return say(" The slot is given up now, as the task's policy says.")
    return say(
        " Nothing is done by itself, as the task's policy says: let the sync catch up, raise the budget, or cancel."
    )


def _can_spool(task: MigrationTask) -> bool:
    """Say whether a worker has the source's slot now, and could put what comes into a spool."""
    return task.status in _WORKING and task.current_step in _SPOOLING_STEPS


def _spooling_now(task: MigrationTask) -> Sentence:
    if not _can_spool(task):
        return say(" The task is not at work, so nothing can be put into a spool: let it go on, or cancel it.")
    if task.spooling:
        return say(
            " Changes go into a spool already: see whether it has room, and whether a long transaction of the source "
            "itself holds its WAL."
        )
    return say(" Changes go into a spool on the worker's disk now, as the task's policy says.")


def _advice(task: MigrationTask, judged: Judgement) -> Sentence:
    if task.status == Status.PAUSED:
        return say(" Resume the task in time: while it is paused the source keeps every change.")
    if task.status == Status.FAILED:
        return say(" Retry or cancel the task in time: while it has failed the source keeps every change.")
    if judged.bound is Bound.SLOT:
        return say(" Raise max_slot_wal_keep_size on the source, or let fewer changes wait.")
    return say(" See why the sync does not catch up, or make room on the source.")


def _without_slot(task: MigrationTask, seen: SlotsLook) -> None:
    """The slot is gone, or has lost its WAL: nothing is kept any more. Told once."""
    release(task)
    if seen.wal_status != "lost":
        MigrationTask.objects.filter(pk=task.pk).exclude(wal_level="").update(
            wal_level="", wal_state={}, version=F("version") + 1
        )
        return
    if task.wal_state.get("status") != "lost":
        state = {"status": "lost", "text": LOST, "words": as_data(text=LOST)}
        note(task, LOST, code="WAL-LOST", level="error")
        touch(task, wal_level=Level.ALARM, wal_state=state)
    if task.wal_policy == Policy.NEW_COPY and not _ends(task):
        _give_up(task, LOST)


def _act(task: MigrationTask, judged: Judgement) -> None:
    if judged.level is Level.NORMAL:
        release(task)
        _end_spooling(task)
    if judged.level is not Level.REACHED or _ends(task):
        return
    if task.wal_policy in (Policy.DROP, Policy.NEW_COPY):
        _give_up(task, standing(judged))
    elif task.wal_policy == Policy.PAUSE_OTHERS and task.status in _WORKING:
        _pause_others(task)
    elif task.wal_policy == Policy.SPOOL and _can_spool(task):
        MigrationTask.objects.filter(pk=task.pk).update(spooling=True)  # its worker looks at the row each second


def _end_spooling(task: MigrationTask) -> None:
    """Let changes come from the source again once the target has nearly all that the spool holds."""
    if task.spooling and not TaskDatabase.objects.filter(task=task, spool_bytes__gt=_NEARLY_BYTES).exists():
        MigrationTask.objects.filter(pk=task.pk).update(spooling=False)


def _give_up(task: MigrationTask, why: Sentence) -> None:
    """Record that the slot is given up; a worker then removes it by the ledger, whoever is killed meanwhile.

    Never of a task whose target Complete has begun to open, whoever calls.
    """
    if _ends(task):
        return
    again = task.wal_policy == Policy.NEW_COPY
    text = say("{why} The slot is given up, as the task's policy says: changes end here.", why=why)
    hint = (
        say("What is ours is removed from both servers, then the task starts again with a new copy by itself.")
        if again
        else say("Press Start again, with the objects made on the target cleared, for a new copy.")
    )
    begin_cancel(
        task,
        actor=None,
        code="WAL-GIVENUP",
        message=together([text, hint]),
        new_copy=again,
        error_code="WAL-GIVENUP",
        error_message=text,
        error_hint=hint,
        words=as_data(error_message=text, error_hint=hint),
        wal_level="",
        wal_state={},
    )
    queue.wake("sync", str(task.pk))


def _pause_others(task: MigrationTask) -> None:
    """Pause full migrations from the same server first; if that did not help by the next look, its syncs too.

    Each is done once: what an operator resumes after that, or starts, is left alone. A task whose own WAL is urgent is
    spared, because it would only get worse.
    """
    acted = int(task.wal_state.get("acted", 0))
    if acted >= 2 or task.source is None:
        return
    others = MigrationTask.objects.select_for_update(skip_locked=True, of=("self",)).filter(
        source__host=task.source.host, source__port=task.source.port, status__in=_WORKING
    )
    full = Q(current_step__in=_FULL_STEPS) | Q(incremental=False)
    others = others.filter(full if acted == 0 else ~full)
    names = []
    for other in others.exclude(pk=task.pk).exclude(wal_level__in=_URGENT):
        text = say(
            "Paused by itself, because the source keeps more WAL for the task {name} than its budget. It goes on by "
            "itself when that has fallen below the warning level.",
            name=task.name,
        )
        move(
            other,
            Status.PAUSED,
            code="WAL-PAUSED",
            level="warning",
            message=text,
            paused_for=task,
            **no_more_tries(other),
            **UNKNOWN,
        )
        names.append(other.name)
    if names:
        note(task, say("Paused for this task's WAL budget: {names}.", names=listing(names)), code="WAL-PAUSED")
    MigrationTask.objects.filter(pk=task.pk).update(wal_state=task.wal_state | {"acted": acted + 1})


def release(task: MigrationTask) -> None:
    """Let the tasks go on that were paused for this one."""
    paused = MigrationTask.objects.select_for_update(skip_locked=True, of=("self",))
    for other in paused.filter(paused_for=task, status=Status.PAUSED):
        text = say("Goes on by itself: the WAL that was kept for the task {name} has fallen.", name=task.name)
        go_on(other, None, "WAL-RESUMED", text)


def release_orphans() -> None:
    """Let tasks go on that are paused for one that they cannot help (any more): it is not at work, or has changed."""
    held = MigrationTask.objects.filter(paused_for__isnull=False, status=Status.PAUSED)
    past = Q(wal_level__in=["", Level.NORMAL]) | ~Q(status__in=_AT_WORK) | ~Q(wal_policy=Policy.PAUSE_OTHERS)
    for task in MigrationTask.objects.filter(past, pk__in=held.values("paused_for")):
        release(task)
