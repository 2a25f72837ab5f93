"""What a task that waits, ends or has ended tells beside its status: what stands, what is lost, and what comes next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..engine.ports import TableStatus
from ..engine.states import Action, Status, StepName, copies_from_the_start
from ..engine.values import frozen
from ..models import ComparisonResult, Event, MigrationTask, NewTable, TableCopy
from ..refusals import cleans_up_again, left_by_its_terminal, past_return, was_opened
from .buttons import action_buttons
from .pages import LeftBehind

_SYNCS = (StepName.SYNC, StepName.COMPARE, StepName.COMPLETE)
_PRESSED, _LATE = "TASK-COMPLETING", "SRC-LATE"


@frozen
class Standing:
    """A sentence or two above everything else on the page of a task. `tone`: warn, run or ''."""

    tone: str
    text: str


def standing(task: MigrationTask, left: LeftBehind) -> Standing | None:
    """Return what a task says that is paused, completing or cancelled; None where its status and figures say it."""
    if left_by_its_terminal(task):
        return Standing(tone="warn", text=_of_ended_terminal(task))
    if task.status == Status.PAUSED:
        return Standing(tone="warn", text=_of_pause(task))
    if cleans_up_again(task):
        return Standing(tone="run", text=_of_cleaning_up())
    if task.status == Status.COMPLETING and not task.error_message:
        return Standing(tone="run", text=_of_completing(task))
    if task.status == Status.READY and _differing([task.pk]):
        return Standing(tone="warn", text=_of_differences())
    if task.status == Status.CANCELLED and (left.source or left.target):
        return Standing(tone="warn" if left.source else "", text=_of_cancelled(left))
    return None


def _of_ended_terminal(task: MigrationTask) -> str:
    said = _(
        "Nobody works on this task: it belongs to a terminal (manage.py task run) that has ended or does not answer. "
        "Press Let workers go on, or go on in a terminal: manage.py task run --resume %(id)s"
    )
    return said % {"id": task.pk}


def _of_pause(task: MigrationTask) -> str:
    if task.paused_for_id is not None:
        return _("Paused for another task's WAL budget. It goes on by itself; Resume ends the pause now.")
    if task.incremental:
        return _(
            "Paused. Resume goes on where it was; until then the source keeps every change, which takes disk there."
        )
    if copies_anew(task):
        return _("Paused. Resume copies every table from the beginning, from a new moment of the source.")
    return _("Paused. All rows are on the target; Resume goes on with what follows them.")


def _of_completing(task: MigrationTask) -> str:
    text = _(
        "Complete was pressed: the last changes are moved, every row is compared, sequences are set, then the sync is "
        "closed. Write neither to the source nor into the target until it has completed."
    )
    if task.back_requested and past_return(task):
        return text + " " + _("Back to sync came too late: the target has been opened.")
    if task.back_requested:
        return text + " " + _("Back to sync was pressed: it stops as soon as it can.")
    if any(button.name == Action.KEEP_SYNCING for button in action_buttons(task)):
        return text + " " + _("Back to sync lets the sync go on instead, with nothing lost.")
    return text


def _of_cleaning_up() -> str:
    return _("The task has completed; only what it had to leave on its servers is being removed.")


def _of_differences() -> str:
    return _(
        "The last comparison did not find everything equal; what it found stands under Last comparison. Copy the "
        "tables that differ again and press Compare now. Complete compares every row once more before it closes the "
        "sync."
    )


def _of_cancelled(left: LeftBehind) -> str:
    parts = []
    if any(line.is_slot for line in left.source):
        parts.append(
            _(
                "A slot of this task is still on the source, which keeps WAL for it until the disk is full. Press Try "
                "clean-up, or remove it as the list below says."
            )
        )
    elif left.source:
        parts.append(
            _("Something of this task is still on the source. Press Try clean-up, or remove it as the list below says.")
        )
    if left.target:
        parts.append(
            _(
                "What the task made on the target stands there still, unfinished: foreign keys may not be proved, and "
                "rights, policies and the state of triggers may be missing. Start again can clear exactly that."
            )
        )
    return " ".join(parts)


def copies_anew(task: MigrationTask) -> bool:
    """Say whether a task that stood still copies every table from the beginning when it goes on."""
    return copies_from_the_start(task.current_step, incremental=task.incremental)


def lost_by_cancel(task: MigrationTask) -> str:
    """Return what Cancel gives up for good; '' while there is nothing to lose."""
    if not TableCopy.objects.filter(task=task, bytes_done__gt=0).exists():
        return ""
    if task.incremental:
        return _(
            "This cannot be taken up again later: the source forgets the changes that it keeps for the task, and Start "
            "again copies everything anew."
        )
    return _("This cannot be taken up again later: Start again copies everything anew.")


def lost_by_start_again(task: MigrationTask) -> str:
    """Return what Start again may take from the application; '' where Complete never began to open the target."""
    if not was_opened(task):
        return ""
    return _(
        "Complete had begun to open the target to the application. What the application has written there since is "
        "lost where objects are cleared, or emptied as the task is told to."
    )


def waiting_tables(tasks: Iterable[MigrationTask]) -> dict[UUID, list[str]]:
    """Return by task what the list shows of tables that somebody has to see to before Complete.

    These are quarantined ones, undecided new ones, and what the last comparison of a ready task found; of a completed
    one, that changes were left behind. Five queries for any number of tasks; tables are counted only where one was ever
    quarantined.
    """
    tasks = list(tasks)
    found = {key: [_("Changes left on the source")] for key in _written_late(tasks)}
    syncing = [task.pk for task in tasks if task.incremental and task.current_step in _SYNCS]
    if not syncing:
        return found
    ever = list(
        Event.objects.filter(task__in=syncing, code="TABLE-QUARANTINED")
        .order_by()
        .values_list("task", flat=True)
        .distinct()
    )
    aside = TableCopy.objects.filter(task__in=ever, status=TableStatus.QUARANTINED).order_by()
    undecided = NewTable.objects.filter(task__in=syncing, choice="").order_by()
    for key, number in Counter(aside.values_list("task", flat=True)).items():
        said = ngettext("%(number)s table quarantined", "%(number)s tables quarantined", number)
        found.setdefault(key, []).append(said % {"number": f"{number:,}"})
    for key, number in Counter(undecided.values_list("task", flat=True)).items():
        said = ngettext("%(number)s new table to decide", "%(number)s new tables to decide", number)
        found.setdefault(key, []).append(said % {"number": f"{number:,}"})
    for key in _differing([task.pk for task in tasks if task.status == Status.READY]):
        found.setdefault(key, []).append(_("Differences found"))
    return found


def late_writes(task: MigrationTask) -> list[Event]:
    """Return the events of a completed task that tell what was written on the source behind the last change that came.

    That it could not be seen is told by such an event too. Empty for a task that has not completed.
    """
    if task.status != Status.COMPLETED:
        return []
    pressed = task.events.filter(code=_PRESSED).order_by("-id").values_list("id", flat=True).first() or 0
    return list(task.events.filter(code__in=(_LATE, "SRC-UNSEEN"), id__gt=pressed).order_by("id"))


def _written_late(tasks: list[MigrationTask]) -> list[UUID]:
    """Return those of some tasks that completed though the source was still written to."""
    ended = [task.pk for task in tasks if task.status == Status.COMPLETED]
    if not ended:
        return []
    told = Event.objects.filter(task__in=ended, code__in=(_PRESSED, _LATE)).order_by("id").values_list("task", "code")
    return [key for key, code in dict(told).items() if code == _LATE]


def _differing(keys: list[UUID]) -> list[UUID]:
    """Return those of some tasks of which the last comparison of some database did not find everything equal."""
    rows = ComparisonResult.objects.filter(task__in=keys).order_by("id").values_list("task", "database", "equal")
    latest = {(key, database): equal for key, database, equal in rows}
    return list(dict.fromkeys(key for (key, _database), equal in latest.items() if not equal))
