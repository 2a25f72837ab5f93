"""How statuses, steps, actions and table states are called on pages, in the language of whoever looks."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from ..engine.conflicts import ConflictKind, Obstacle
from ..engine.drift import ChangeKind, Doubt
from ..engine.states import Action, Status, StepName, copies_from_the_start

STEPS: dict[StepName, Promise] = {
    StepName.CHECK: _("Check"),
    StepName.SCHEMA: _("Schema"),
    StepName.COPY: _("Copy data"),
    StepName.INDEX: _("Indexes and keys"),
    StepName.SYNC: _("Incremental sync"),
    StepName.COMPARE: _("Comparison"),
    StepName.COMPLETE: _("Complete"),
    StepName.CLEANUP: _("Clean-up"),
}
STATUSES: dict[Status, tuple[Promise, str]] = {
    Status.DRAFT: (_("Draft"), "mute"),
    Status.CHECKING: (_("Checking"), "run"),
    Status.CHECK_FAILED: (_("Check failed"), "bad"),
    Status.CHECK_PASSED: (_("Check passed"), "ok"),
    Status.SCHEDULED: (_("Scheduled"), "mute"),
    Status.QUEUED: (_("Queued"), "mute"),
    Status.RUNNING: (_("Running"), "run"),
    Status.PAUSED: (_("Paused"), "warn"),
    Status.READY: (_("In sync, ready to complete"), "ok"),
    Status.COMPLETING: (_("Completing"), "run"),
    Status.COMPLETED: (_("Completed"), "ok"),
    Status.CANCELLING: (_("Cancelling"), "warn"),
    Status.CANCELLED: (_("Cancelled"), "mute"),
    Status.FAILED: (_("Failed"), "bad"),
}
# What the list is filtered by. Each status is in exactly one group.
GROUPS: dict[str, tuple[Promise, frozenset[Status]]] = {
    "running": (
        _("Running"),
        frozenset({Status.CHECKING, Status.RUNNING, Status.COMPLETING, Status.CANCELLING}),
    ),
    "queued": (_("Queued"), frozenset({Status.QUEUED, Status.SCHEDULED})),
    "waiting": (_("Waits for you"), frozenset({Status.READY, Status.CHECK_PASSED, Status.PAUSED})),
    "failed": (_("Failed"), frozenset({Status.FAILED, Status.CHECK_FAILED})),
    "draft": (_("Drafts"), frozenset({Status.DRAFT})),
    "ended": (_("Ended"), frozenset({Status.COMPLETED, Status.CANCELLED})),
}
ACTIONS: dict[Action, Promise] = {
    Action.EDIT: _("Edit"),
    Action.CHECK: _("Next: Check Task"),
    Action.START: _("Start"),
    Action.START_NOW: _("Start now"),
    Action.RESCHEDULE: _("Change time"),
    Action.UNSCHEDULE: _("Unschedule"),
    Action.PAUSE: _("Pause"),
    Action.RESUME: _("Resume"),
    Action.RETRY: _("Retry"),
    Action.COMPARE: _("Compare now"),
    Action.RECOPY: _("Copy again"),
    Action.TAKE_SOURCE: _("Take the source's row"),
    Action.APPLY: _("Apply and resume"),
    Action.QUARANTINE: _("Quarantine"),
    Action.DROP: _("Drop from task"),
    Action.ADD_TABLE: _("Add"),
    Action.IGNORE_TABLE: _("Ignore"),
    Action.COMPLETE: _("Complete"),
    Action.KEEP_SYNCING: _("Back to sync"),
    Action.HAND_OVER: _("Let workers go on"),
    Action.CANCEL: _("Cancel"),
    Action.START_AGAIN: _("Start again"),
    Action.CLEAN_UP: _("Try clean-up"),
    Action.NEW_COPY: _("Restart with new copy"),
    Action.REOPEN: _("Edit"),
    Action.ACCESS: _("Change access"),
    Action.DELETE: _("Delete"),
}
CONFIRM: dict[Action, Promise] = {
    Action.START: _("Start this migration? The target is filled with the selected objects."),
    Action.START_NOW: _("Start now instead of waiting for the scheduled time?"),
    Action.RESCHEDULE: _("When may this task start? It begins queuing at that time; its check is kept."),
    Action.UNSCHEDULE: _(
        "Take the start back? The task has no time any more and can be edited; it begins when you press Start again."
    ),
    Action.PAUSE: _("Pause? The source keeps every change until you resume, which takes disk space there."),
    Action.RESUME: _("Resume where the task was paused?"),
    Action.RETRY: _("Try again from where the task stopped? Everything that was done is kept."),
    Action.COMPARE: _("Compare source and target now? Both servers read every selected table once; the sync goes on."),
    Action.RECOPY: _(
        "Copy this table again? Its rows on the target are replaced by those of the source. All other tables stay in "
        "sync meanwhile."
    ),
    Action.TAKE_SOURCE: _(
        "Put the source's row in place of whatever has its key on the target? What somebody wrote there is lost. This "
        "holds once, for this row in this transaction; another conflict stops the sync again."
    ),
    Action.APPLY: _(
        "Run the statements below on the target and go on? They run once, at the place of the stream where the table "
        "changed, together with the rows that follow. Rows that are there already get no values but those that the "
        "statements say."
    ),
    Action.QUARANTINE: _(
        "Quarantine this table? Its changes are skipped and all other tables go on. Complete waits until the table is "
        "copied again or dropped from the task."
    ),
    Action.DROP: _(
        "Drop this table from the task for good? It is never synced again and not compared. Its rows stay on the "
        "target as they are now, and may differ from the source's. Only a new task can migrate it then."
    ),
    Action.KEEP_SYNCING: _(
        "Let the sync go on instead of completing? Nothing is lost. Once the target has been opened it is too late."
    ),
    Action.COMPLETE: _(
        "Complete this migration? Stop writing to the source first: the last changes are moved, every row of both "
        "sides is compared, sequences are set, and the sync is closed. Changes made on the source after that do not "
        "arrive."
    ),
    Action.HAND_OVER: _(
        "Let the workers go on with this task where it stands? The terminal that drove it (manage.py task run) has "
        "ended, or does not answer. Unlike a terminal, workers connect only to addresses that this installation's "
        "policy allows: where that is not so, as with 127.0.0.1, the task fails with POLICY-DENIED."
    ),
    Action.CANCEL: _(
        "Cancel this migration? The copy or sync stops, and the slots, publications and helper objects of this task "
        "are removed from both servers. Tables that were made on the target stay there and are listed."
    ),
    Action.START_AGAIN: _("Start this task again? The check runs first."),
    Action.CLEAN_UP: _(
        "Try once more to remove what this task has left on its servers? What was removed by hand meanwhile is crossed "
        "off. Tables that were made on the target stay there."
    ),
    Action.NEW_COPY: _(
        "Restart with a new copy? What the task made on the source is removed, and exactly the objects that it made on "
        "the target are dropped, with all rows in them. Then the check runs and the copy begins anew, all by itself."
    ),
    Action.REOPEN: _(
        "Make this task a draft again? Nothing of it stands on either server, so everything can be edited; "
        "the check has to run again."
    ),
    Action.DELETE: _("Delete this task with its history? Nothing on either server is touched."),
}
# The same for tasks without sync: while their rows are copied, and afterwards.
CONFIRM_COPYING: dict[Action, Promise] = {
    Action.PAUSE: _(
        "Pause? Without sync all tables must come from one moment of the source, and that ends with the pause: Resume "
        "copies every table again from the beginning."
    ),
    Action.RESUME: _("Resume? Every table is copied from the beginning, from a new moment of the source."),
    Action.RETRY: _(
        "Try again? What was made on the target stays, but every table is copied from the beginning: without sync all "
        "of them must come from one moment of the source."
    ),
}
CONFIRM_COPIED: dict[Action, Promise] = {
    Action.PAUSE: _(
        "Pause? All rows are on the target already. If the comparison comes after the pause, it also finds what was "
        "written to the source since they were copied."
    ),
    Action.RECOPY: _(
        "Copy this table again? Its rows on the target are replaced by those that the source has then. It is copied "
        "as soon as the task goes on, before the rows are compared."
    ),
}


def confirmation(action: Action, step: str, *, incremental: bool) -> str:
    """Return what the operator is asked before an action of a task that stands at this step, '' for nothing."""
    known = CONFIRM
    if not incremental:
        known = known | (CONFIRM_COPYING if copies_from_the_start(step, incremental=incremental) else CONFIRM_COPIED)
    return str(known.get(action, ""))


WAL_POLICIES: dict[str, Promise] = {
    "alarm": _("tell it, nothing else"),
    "pause_others": _("pause other tasks of this source"),
    "spool": _("put changes into a spool on the worker's disk"),
    "drop": _("give up the slot and stop"),
    "new_copy": _("give up the slot and copy anew"),
}
WAL_MARKS: dict[str, Promise] = {"alarm": _("WAL alarm"), "reached": _("WAL budget reached")}
CONFLICTS: dict[ConflictKind, Promise] = {
    ConflictKind.ROW_MISSING: _("Row missing"),
    ConflictKind.DUPLICATE_KEY: _("Duplicate key"),
    ConflictKind.TWO_ROWS: _("Two rows"),
    ConflictKind.REFUSED: _("Refused by the target"),
}
OBSTACLES: dict[Obstacle, Promise] = {
    Obstacle.OTHER_KEY: _(
        "The source's row cannot be taken: a row with another key is in the way. Copy the table again."
    ),
    Obstacle.NOT_WHOLE: _(
        "The source's row cannot be taken: the change leaves out a large value that stays as it was. Copy the table "
        "again."
    ),
    Obstacle.REFUSED: _("The source's row cannot be taken: the target does not take such a row."),
    Obstacle.AT_THE_END: _(
        "The source's row cannot be taken: the target checks this key only at the end of a transaction, and does not "
        "tell which change it refuses. Copy the table again."
    ),
}
CHANGED: dict[ChangeKind, Promise] = {
    ChangeKind.ADDED: _("Column added"),
    ChangeKind.DROPPED: _("Column dropped"),
    ChangeKind.RENAMED: _("Column renamed"),
    ChangeKind.RETYPED: _("Type changed"),
    ChangeKind.NOT_NULL: _("NOT NULL changed"),
    ChangeKind.DEFAULT: _("Default changed"),
    ChangeKind.GENERATED: _("Generated column changed"),
    ChangeKind.TABLE_RENAMED: _("Table renamed"),
    ChangeKind.TOP_RENAMED: _("Table renamed"),
    ChangeKind.SCHEMA_RENAMED: _("Schema renamed"),
    ChangeKind.TABLE_GONE: _("Table dropped"),
    ChangeKind.PARTITION: _("New partition"),
    ChangeKind.EMPTIED: _("Emptied partition"),
    ChangeKind.REWRITTEN: _("Rows written anew"),
    ChangeKind.REMADE: _("Column replaced by another"),
}
DOUBTS: dict[Doubt, Promise] = {
    Doubt.VALUES: _(
        "Nothing to apply: the rows of the source got values in this change that no statement is certain to give those "
        "of the target. Copy the table again."
    ),
    Doubt.UNCLEAR: _(
        "Nothing to apply: columns went and others came, and nothing tells whether one was renamed. Copy the table "
        "again."
    ),
    Doubt.OTHER_NAME: _(
        "Nothing to apply: the target or the task has another table of the new name. Rename the table back on the "
        "source and retry, or drop it from the task."
    ),
    Doubt.ATTACHED: _(
        "Nothing to apply: the partition was attached and may hold rows that the sync was never told. Copy again makes "
        "it on the target and copies it; Drop from task leaves it out."
    ),
    Doubt.REPLACED: _(
        "Nothing to apply: the partition has the name that another table of this task had. Copy again gives its rows "
        "to that table on the target; Drop from task leaves it out."
    ),
    Doubt.REMADE: _(
        "Nothing to apply: a column was dropped and made anew, or columns changed their names among themselves, so the "
        "rows of the target have the values of the former ones. Copy the table again."
    ),
    Doubt.REWRITTEN: _(
        "Nothing to apply: all rows were written anew on the source, and may have been changed without a word of the "
        "stream. Copy the table again."
    ),
    Doubt.PARTS: _(
        "Nothing to apply: rows came or went with a partition, and the target has other partitions. Copy the table "
        "again."
    ),
    Doubt.GONE: _("The source does not have this table any more. Drop it from the task."),
}
TABLE_AGAIN = _("Table dropped and made again")
MADE_AGAIN = _(
    "What is called so on the source now is another table. Drop this one from the task; the new one is then listed, "
    "and can be added."
)
TOP_IN_USE = _(
    "Nothing to apply: the target has another table of the new name. Give the tables of the target the names that they "
    "have on the source, or those of the source their former ones, and retry."
)
CHANGES: dict[str, Promise] = {
    "insert": _("insert"),
    "update": _("update"),
    "delete": _("delete"),
    "change": _("change"),
}
ASIDE: dict[str, Promise] = {
    "conflict": _("The sync stopped at a change of this table. Decide at the top of the page."),
    "changed": _("The sync stopped just before the first row of its new form. Decide at the top of the page."),
    "quarantined": _("Its changes are skipped. Copy it again, or drop it from the task."),
    "dropped": _("Not synced and not compared. Its rows on the target stayed as they were."),
}
ASKED = _("To be copied again, as soon as it is its turn.")
SYNCS: dict[str, tuple[Promise, str]] = {
    "none": (_("Not asked for"), ""),
    "waiting": (_("Not begun"), ""),
    "in_sync": (_("In sync"), "ok"),
    "catching_up": (_("Catching up"), "run"),
    "failing": (_("Trying again"), "warn"),
    "stopped": (_("Stopped"), "warn"),
    "closed": (_("Closed"), ""),
}
TABLES: dict[str, tuple[Promise, str]] = {
    "waiting": (_("Waiting"), ""),
    "copying": (_("Copying"), "run"),
    "copied": (_("Copied"), "run"),
    "indexing": (_("Indexing"), "run"),
    "catching_up": (_("Catching up"), "run"),
    "synced": (_("In sync"), "ok"),
    "done": (_("Done"), "ok"),
    "mismatch": (_("Differs"), "bad"),
    "stopped": (_("Stopped"), "warn"),
    "conflict": (_("Conflict"), "bad"),
    "changed": (_("Changed on the source"), "bad"),
    "quarantined": (_("Quarantined"), "bad"),
    "dropped": (_("Dropped from task"), "mute"),
    "excluded": (_("Excluded"), "mute"),
}
