"""What the operator does next, by the code of a message: told where an error brings no hint that fits better.

Every code is here: in NEXT when it tells of trouble, in SAID when there is nothing to do. Those of a failed login have
their hints in `diagnoses`.
"""

from __future__ import annotations

from .wording import NOTHING, Sentence, say, template

_BY_ITSELF = template(
    "Nothing has to be done: it is tried again by itself. Try now ends the wait, Cancel ends the task."
)
_PROTOCOL = template(
    "Press Retry: the changes are read again from the last kept position. If it comes back, download the report and"
    " look into the source's log."
)
_COPY_ANEW = template("Press Restart with new copy: nothing else helps, because the changes in between are gone.")
_BY_HAND = template("Read which ones and why under Structure on the task page, and mend them there on the target.")
_WAITS = template("Wait, or end the sessions that it names on the source. Everything goes on by itself then.")
_NOT_COMPARED = template("Compare these tables by hand, or mend the reason and press Compare now.")

NEXT: dict[str, str] = {
    # Errors.
    "INT-UNKNOWN": template(
        "Press Retry. If it comes back, download the report and look for the same time in the workers' log."
    ),
    "RUN-RETRY": _BY_ITSELF,
    "RUN-DISK": template("Free space on the disk that the message names, then press Retry."),
    "WORKER-FULL": template("Free space on the disk that the message names, then press Retry."),
    "WORKER-MEMORY": template(
        "Give the worker more memory, or let fewer tables be copied at the same time. Then press Retry."
    ),
    "WORKER-GONE": _BY_ITSELF,
    "CONSOLE-DB": _BY_ITSELF,
    "RUN-TWICE": template(
        "Stop the other console, such as one that a backup came from or a copy of this one. Then press Retry."
    ),
    "PLAN-ERROR": template("Change what the message names in the settings of the task, then run the check again."),
    "INSTANCE-GONE": template("Open the settings of the task, choose the instance again and save."),
    "SRC-ERROR": template(
        "Look into the source's log for the reason and mend it there, then press Retry; or press Cancel."
    ),
    "SRC-DECODING": template(
        "Press Retry once more; where the same comes again, press Restart with new copy: the source's server cannot"
        " read its own log past this transaction."
    ),
    "SRC-FULL": template("Free or add disk space on the source, then press Retry."),
    "SRC-LIMIT": template("Raise on the source the limit that the message names, then press Retry."),
    "SRC-READONLY": template("Make the source writable again, or enter its primary, then press Retry."),
    "SRC-DDL": template(
        "Press Apply and resume where it is offered, or make the same change on the target and press Retry; or copy the"
        " table again, or drop it from the task."
    ),
    "SRC-DUMP": template("Mend on the source what pg_dump says, or leave the object out, then press Retry."),
    "SRC-CHANGED": template(
        "Enter the address of the server that the task started with and press Retry; or press Cancel and start again."
    ),
    "SRC-PLUGIN": template("Install the plugin that the message names on the source, then press Retry."),
    "SRC-PROTOCOL": _PROTOCOL,
    "SRC-PUBLICATION": template(
        "Run on the source what the message says, then press Retry and copy the quarantined tables again; where the"
        " publication is gone, press Cancel, then Start again."
    ),
    "SRC-SLOTBUSY": _BY_ITSELF,
    "SRC-SLOTGONE": _COPY_ANEW,
    "SRC-SLOTLOST": _COPY_ANEW,
    "SRC-FAILOVER": template("Press Restart with new copy, or Cancel: changes may be missing otherwise."),
    "SRC-SETBACK": template("Press Restart with new copy, or Cancel: changes may be missing otherwise."),
    "SPOOL-GONE": template(
        "Put the files of the spool back and press Retry, or press Restart with new copy: the source has forgotten what"
        " was in it."
    ),
    "WAL-GIVENUP": template("Press Start again, with the objects made on the target cleared, for a new copy."),
    "ROW-TOOBIG": template(
        "Shrink the row on the source and press Retry; or press Cancel and leave the table out of the selection."
    ),
    "SRC-TOOBIG": template(
        "Shrink the row on the source and press Restart with new copy; or press Cancel and leave the table out of the"
        " selection."
    ),
    "ROW-ENCODING": template(
        "Repair the text on the source and press Retry; or press Cancel and leave the table out of the selection."
    ),
    "ROW-NAME": template(
        "Make on the target what the message says is missing, or let the row name something else on the source, then"
        " press Retry; or press Cancel and leave the table out of the selection. Names in rows do not follow the new"
        " names of schemas."
    ),
    "DST-ERROR": template(
        "Look into the target's log for the reason and mend it there, then press Retry; or press Cancel."
    ),
    "DST-FULL": template("Free or add disk space on the target, then press Retry."),
    "DST-LIMIT": template("Raise on the target the limit that the message names, then press Retry."),
    "DST-READONLY": template("Make the target writable again, or enter its primary, then press Retry."),
    "DST-BOOKMARKSET": template(
        "Run the statement that the message names on the target, then press Retry; or press Restart with new copy."
    ),
    "DST-BOOKMARK": template(
        "Press Restart with new copy: without its bookmark nobody knows which changes the target has."
    ),
    "DST-AHEAD": template(
        "Restore a newer backup of the console's database and press Retry; or press Cancel, then Start again with the"
        " objects made on the target cleared."
    ),
    "DST-FAILOVER": template(
        "Press Restart with new copy; or press Cancel, then Start again with the objects made on the target cleared."
    ),
    "DST-CHANGED": template(
        "Enter the address of the target that the task copied to and press Retry; or press Cancel and start again."
    ),
    "DST-CONFLICT": template(
        "Let nobody write into the target. Then press Retry, take the source's row, copy the table again, or set it"
        " aside."
    ),
    "DST-DATABASE": template("Make the database on the target with a suitable account, then press Retry."),
    "DST-EXISTS": template(
        "Choose on the Objects step what happens to what the target has, or remove it there, then run the check again."
    ),
    "DST-SOURCE": template("Press Cancel, and enter another target server or another target database name."),
    "DST-OTHERTASK": template(
        "Complete or cancel the other migration and press Retry; or press Cancel and choose other tables, or another"
        " target database."
    ),
    "DST-PRIVILEGE": template("Give the target account the right that the message names, then press Retry."),
    "DST-SCHEMA": template("Make on the target what the message says is missing, then press Retry; or press Cancel."),
    "CMP-DIFF": template("Copy the tables that differ once more, then press Compare now, or Complete again."),
    "ADDRESS-BAD": template("Correct the address in the settings of the task."),
    "VERSION-OUT-OF-RANGE": template("Choose a server of a supported version; docs/compatibility.md lists them."),
    "LOOK-ALIKE": template("Enter the address of a real PostgreSQL server."),
    "CHECK-OVER": template("Run the check again."),
    "CHECK-SLOW": template("Run this item again when the server has less to do."),
    "CHECK-CHANGED": template("Read the items that changed on the check page, mend them and run the check again."),
    "COMPLETE-LATE": template("Remove what it waits for, then press Complete again. The sync goes on meanwhile."),
    "LOGIN-TRIGGER": template(
        "Mend the trigger's function, then run the statement that the message names on the target."
    ),
    "COMPLETE-OPENED": template("Press Retry, which ends what Complete has begun; or press Cancel."),
    "CHECK-COMPLETE": template("Mend what the items say, then press Complete again. The sync goes on meanwhile."),
    "FIX-STALE": template("Load the check page again, read what the fix would run now, and press Fix again."),
    "FIX-FAILED": template("Run the statements by hand with an account that may, then run this check item again."),
    "READ-MOVED": template("Read the objects again: the settings lead to another server now."),
    # Warnings of a task that goes on.
    "SRC-LOCKED": _WAITS,
    "SRC-OLDTX": _WAITS,
    "SRC-WALLIMIT": template("Raise max_slot_wal_keep_size on the source at once, and free its disk if that is short."),
    "SRC-FAILEDOVER": template("Nothing has to be done: the sync goes on at the server that took over."),
    "RUN-EPOCH": template("Nothing has to be done. See that no other console works on the same tasks."),
    "WAL-LOST": template(
        "Press Restart with new copy as soon as the task has failed (a paused one: after Resume), or Cancel: the source"
        " has removed what the task still needed."
    ),
    "SPOOL-BEGUN": template(
        "See why the target does not keep up. Nothing else has to be done while the spool has room."
    ),
    "SPOOL-FILES": template(
        "Mend on the worker's disk what keeps the spool from being read; it is tried again by itself."
    ),
    "SPOOL-FULL": template("See why the target does not keep up, or free space on the worker's disk."),
    "SPOOL-HOLDS": template("Bring the target back; the sync goes on by itself then."),
    "WAL-PAUSED": template("Nothing has to be done: it goes on by itself. Resume ends the pause now."),
    "NEW-COPY-WAITS": template(
        "Remove what is left, or mend what the check says is Failed. Then press Start again, or Start."
    ),
    "DDL-APPLIED": template("Nothing has to be done: the source's table changed in the same way."),
    "SRC-IDENTITY": template("Add the key again on the source, or run there the statement that the message names."),
    "SRC-LATE": template(
        "Stop what still writes on the source, and make the changes of these tables on the target too: nothing carries"
        " them over any more."
    ),
    "SRC-UNSEEN": template("Make sure that nothing writes on the source any more: nothing carries it over."),
    "SRC-TRUNCATE": template("Empty these tables only when the task has ended, or copy them once more afterwards."),
    "COPY-AGAIN": template("Nothing has to be done: the copy takes longer."),
    "COPY-WAITS": template("Look after the server that the message names; the copy goes on by itself."),
    "COPY-LONG": template("Nothing has to be done. It ends sooner with more tables at the same time and no cap."),
    "COPY-HELD": template("Watch the source's disk. A copy of a busy source holds no snapshot for so long with sync."),
    "COPY-LOCKED": template("Nothing has to be done: the lock ends with the copy of this table."),
    "COPY-MOVED": template(
        "Without incremental sync let nothing write to the source, or start the task again with it."
    ),
    "CMP-NEWTABLE": template(
        "Add those that are to move too on the task page, while the task syncs; the others can stay ignored."
    ),
    "SRC-NEWTABLE": template("Press Add or Ignore at the table on the task page: Complete waits for that."),
    "TABLE-NOTADDED": template("Mend what the message says, then press Add again at the table; or press Ignore."),
    "CMP-NOTRUN": _NOT_COMPARED,
    "CMP-SKIPPED": _NOT_COMPARED,
    "DATABASE-LOCALE": template("Compare how text sorts on both sides, before the application uses the target."),
    "DATABASE-SETTINGS": _BY_HAND,
    "EXTENSION-ROWS": template("Copy these rows by hand, with the way that the extension offers."),
    "FK-NOT-VALID": template(
        "Mend the rows without a parent, then run ALTER TABLE … VALIDATE CONSTRAINT on the target."
    ),
    "MAPPING-REFUSED": _BY_HAND,
    "MATVIEW-EMPTY": template("Run REFRESH MATERIALIZED VIEW on the target when its cause is mended."),
    "ROLES-NOTES": template("Make these roles, or give them what they lack, by hand on the target."),
    "SCHEMA-BODIES": template("Change the bodies by hand on the target, before the application uses them."),
    "SCHEMA-KEPT": template("Compare these objects with the source's by hand: they were left as they are."),
    "SCHEMA-OWNER": template("Give the objects to their owners on the target with ALTER … OWNER TO."),
    "SCHEMA-REFUSED": _BY_HAND,
    "SCHEMA-RENAME": _BY_HAND,
    "SCHEMA-RIGHTS": template("Run the grants by hand on the target, once the roles are there."),
    "SCHEMA-TABLESPACE": _BY_HAND,
    "SEQUENCES-AHEAD": template(
        "Set these sequences by hand on the target with setval, if nobody has used them there."
    ),
    "SEQUENCES-BEHIND": template(
        "Set these sequences by hand on the target with setval, before the application uses them."
    ),
    "SEQUENCES-LIMITS": template(
        "Change these sequences on the target with ALTER SEQUENCE as they were changed on the source."
    ),
    "SEQUENCES-REFUSED": template(
        "Grant SELECT on these sequences to the source account, and UPDATE on them to the target account."
    ),
    "SEQUENCES-UNREAD": template(
        "Let the source account read the sequences, or set them by hand on the target with setval."
    ),
    "STRUCTURE-NOTES": _BY_HAND,
    "SUBSET-KEYS": template("Select the parent tables too, or make the keys by hand when their parents are there."),
    "SUBSET-OBJECTS": template("Select what they need too, or make them by hand on the target."),
    "SUBSET-DATABASE": template("Make them by hand on the target where they are wanted, or select the whole database."),
    "DST-DROPPED": template("Nothing has to be done: it was confirmed by the task's name."),
    "DST-EMPTIED": template("Nothing has to be done: it was confirmed by the task's name."),
    "TARGET-CLEARED": template("Remove by hand on the target what is left, then run the check again."),
    "TABLE-QUARANTINED": template("Copy the table once more or drop it from the task: Complete waits for that."),
    "TABLE-DROPPED": template("Make another task for this table, if it has to move."),
    "CANCEL-LEFT": template(
        "It is tried again by itself, and at once with Try clean-up. Or run on the server what the task page says"
        " beside each thing that is left, and then press Try clean-up."
    ),
    "COMPLETE-LEFT": template(
        "Run on the server what the task page says beside each thing that is left, and then press Try clean-up."
    ),
    "ANOTHER-SERVER": template(
        "Enter the address of the server that the task started with and press Retry; or press Cancel and start again."
    ),
    "CHECK-STOPPED": template("Run the check again."),
    "CHECK-FAILED": template("Mend what the items that are Failed say, then run the check again."),
    "TASK-BEHIND": template("Nothing has to be done: the task is ready again once the target has caught up."),
}
SAID = frozenset(
    {
        "CHECK-ACKNOWLEDGED",
        "CHECK-AGAIN",
        "CHECK-PASSED",
        "CHECK-STARTED",
        "CHECK-WITHDRAWN",
        "CMP-EQUAL",
        "CMP-REQUESTED",
        "COMPLETE-BACK",
        "COMPLETE-OPENING",
        "COMPLETE-RESUMED",
        "COMPLETE-STOPPED",
        "CONFLICT-TAKE",
        "CONFLICT-TAKEN",
        "COPY-ASIDE",
        "COPY-GAVEWAY",
        "COPY-RENEWED",
        "DDL-APPLY",
        "FIX-ASKED",
        "FIX-DONE",
        "MAPPINGS-FILLED",
        "PASSWORDS-GIVEN",
        "RECOPY-BEGUN",
        "RECOPY-DONE",
        "RECOPY-LATER",
        "RECOPY-REQUESTED",
        "ROLES-MADE",
        "RUN-RESUMED",
        "SPOOL-DRAINED",
        "SRC-FAILOVERSLOT",
        "SRC-PIECES",
        "SSH-HOST-KEY-CONFIRMED",
        "STRUCTURE-EQUAL",
        "STRUCTURE-ONLY",
        "TABLE-ADD",
        "TABLE-ADDED",
        "TABLE-IGNORED",
        "TASK-ACCESS",
        "TASK-AGAIN",
        "TASK-CANCELLED",
        "TASK-CANCELLING",
        "TASK-CLEANUP",
        "TASK-CLONED",
        "TASK-COMPLETED",
        "TASK-COMPLETING",
        "TASK-CREATED",
        "TASK-EDITED",
        "TASK-EXISTING",
        "TASK-FULL-ONLY",
        "TASK-HANDEDOVER",
        "TASK-NEWCOPY",
        "TASK-PAUSED",
        "TASK-QUEUED",
        "TASK-READY",
        "TASK-REOPENED",
        "TASK-RESCHEDULED",
        "TASK-RESUMED",
        "TASK-RETRIED",
        "TASK-RUNNING",
        "TASK-SCHEDULED",
        "TASK-TAGGED",
        "TASK-TUNED",
        "TASK-UNSCHEDULED",
        "TASK-UNTAGGED",
        "WAL-BUDGET",
        "WAL-RESUMED",
    }
)
"""Codes that tell what was done, by whom or by itself."""


def next_action(code: str) -> Sentence:
    """Return what to do after a message with this code; NOTHING for one that tells of no trouble."""
    return say(NEXT[code]) if code in NEXT else NOTHING
