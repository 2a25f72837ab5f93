"""Everything that writes our rows. Pages, command line, dispatcher and runner call these; nothing else saves.

Every public function is one transaction: state change, event and wake-up happen together or not at all.
"""

from __future__ import annotations

from .base import NotFound, Refused
from .bulk import BULK_ACTIONS, BulkResult, apply_to_many
from .checking import request_check
from .cloning import clone_task
from .drafts import (
    EndpointData,
    create_draft,
    include_parents,
    planned_databases,
    request_inventory,
    request_test,
    save_settings,
    set_selected,
    set_selection,
)
from .lifecycle import (
    cancel_task,
    compare_task,
    complete_task,
    delete_task,
    pause_task,
    resume_task,
    retry_task,
    start_again,
    start_now,
    start_task,
    take_to_foreground,
    try_now,
    workers_alive,
)
from .reopening import Access, change_access, movable_sides, nothing_made, reopen_task
from .sampling import thin_samples
from .sign_in import forget_failures, may_sign_in, record_failure
from .tagging import add_tag, remove_tag

__all__ = [
    "BULK_ACTIONS",
    "Access",
    "BulkResult",
    "EndpointData",
    "NotFound",
    "Refused",
    "add_tag",
    "apply_to_many",
    "cancel_task",
    "change_access",
    "clone_task",
    "compare_task",
    "complete_task",
    "create_draft",
    "delete_task",
    "forget_failures",
    "include_parents",
    "may_sign_in",
    "movable_sides",
    "nothing_made",
    "pause_task",
    "planned_databases",
    "record_failure",
    "remove_tag",
    "reopen_task",
    "request_check",
    "request_inventory",
    "request_test",
    "resume_task",
    "retry_task",
    "save_settings",
    "set_selected",
    "set_selection",
    "start_again",
    "start_now",
    "start_task",
    "take_to_foreground",
    "thin_samples",
    "try_now",
    "workers_alive",
]
