"""What workers and the dispatcher do to a task: claim it under a lease, give it back, record what came of it."""

from __future__ import annotations

from .checks import (
    CHECK_RUN,
    Change,
    begin_items,
    changes,
    finish_check,
    forget_others,
    give_up_check,
    say_checking,
    start_goes_on,
    start_refused,
    store_again,
    store_results,
    wants_check_before_start,
)
from .claims import (
    Claim,
    claim_check,
    claim_foreground,
    claim_migration,
    claim_sync,
    held_task,
    others_wait_for_sync,
    release,
    release_check,
    renew,
    syncs,
)
from .dispatching import dispatch
from .endings import cancelled, cleaned_up_again
from .leaves import leave_used, leaves, renamed
from .new_tables import added, additions, new_tables_found, not_added, undecided
from .outrun import outrun
from .permissions import permission_used, permissions
from .results import (
    back_to_sync,
    comparison_done,
    fail,
    finish_step,
    progressed,
    recopies_done,
    set_ready,
)

__all__ = [
    "CHECK_RUN",
    "Change",
    "Claim",
    "added",
    "additions",
    "back_to_sync",
    "begin_items",
    "cancelled",
    "changes",
    "claim_check",
    "claim_foreground",
    "claim_migration",
    "claim_sync",
    "cleaned_up_again",
    "comparison_done",
    "dispatch",
    "fail",
    "finish_check",
    "finish_step",
    "forget_others",
    "give_up_check",
    "held_task",
    "leave_used",
    "leaves",
    "new_tables_found",
    "not_added",
    "others_wait_for_sync",
    "outrun",
    "permission_used",
    "permissions",
    "progressed",
    "recopies_done",
    "release",
    "release_check",
    "renamed",
    "renew",
    "say_checking",
    "set_ready",
    "start_goes_on",
    "start_refused",
    "store_again",
    "store_results",
    "syncs",
    "undecided",
    "wants_check_before_start",
]
