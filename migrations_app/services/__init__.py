"""Everything that writes our rows. Pages, command line, dispatcher and runner call these; nothing else saves.

Every public function is one transaction: state change, event and wake-up happen together or not at all.
"""

from __future__ import annotations

from ..sources import InventoryError
from .access import Access, change_access, movable_sides, request_access_test
from .accounts import (
    SETUP_HOURS,
    administrator_exists,
    change_own_password,
    change_role,
    choose_language,
    create_first_administrator,
    create_user,
    end_sessions,
    new_setup_token,
    reset_password,
    set_active,
    setup_token_is_open,
)
from .audit import answered, answering, asked, record_request
from .base import Changed, NotFound, Refused, Untyped, why_closed
from .bulk import BULK_ACTIONS, BulkResult, apply_to_many
from .checking import (
    acknowledge,
    check_without_sync,
    fix_done,
    fix_failed,
    fix_for,
    request_check,
    request_fix,
    request_preparation,
    withdraw_acknowledgement,
)
from .cloning import clone_task
from .completing import keep_syncing
from .conflicts import apply_drift, conflict_of, drop_conflict, quarantine_conflict, recopy_conflict, take_source_row
from .directory import (
    ResourceData,
    delete_resource,
    freshen,
    import_inventory,
    remove_account,
    save_resource,
    set_account,
)
from .drafts import (
    confirm_host_key,
    create_draft,
    request_inventory,
    request_test,
    save_settings,
    try_side,
)
from .endpoint_tests import confirm_endpoint_key, request_endpoint_test
from .endpoints import EndpointData, delete_endpoint, keeps_password, keeps_ssh_secrets, save_endpoint
from .governing import could_not_look, record_look, slots_of, take_look
from .handing_over import hand_over_task
from .leftovers import clean_up_task, delete_task
from .lifecycle import (
    cancel_task,
    compare_task,
    complete_task,
    pause_task,
    restart_with_new_copy,
    resume_task,
    retry_task,
    start_again,
    start_now,
    start_task,
    take_to_foreground,
    try_now,
    workers_alive,
)
from .new_tables import add_new_table, ignore_new_table
from .passwords import PasswordData, give_passwords, takes_passwords
from .quarantine import drop_table, quarantine_table
from .recopying import recopy_table
from .renaming import BadTargets, name_problem
from .reopening import nothing_made, reopen_task
from .sampling import thin_samples
from .scheduling import reschedule_task, unschedule_task
from .selecting import (
    drop_pattern,
    include_parents,
    planned_databases,
    set_existing,
    set_follow,
    set_foreign_keys,
    set_listed,
    set_matching,
    set_mode,
    set_roles,
    set_selected,
    set_selection,
    set_targets,
)
from .sign_in import forget_failures, may_sign_in, record_failure, record_sign_in, record_sign_out
from .tagging import add_tag, remove_tag
from .tuning import MOST_JOBS, MOST_MB_PER_SECOND, tune_task
from .wal_budget import POLICIES, parse_bytes, set_wal_budget

__all__ = [
    "BULK_ACTIONS",
    "MOST_JOBS",
    "MOST_MB_PER_SECOND",
    "POLICIES",
    "SETUP_HOURS",
    "Access",
    "BadTargets",
    "BulkResult",
    "Changed",
    "EndpointData",
    "InventoryError",
    "NotFound",
    "PasswordData",
    "Refused",
    "ResourceData",
    "Untyped",
    "acknowledge",
    "add_new_table",
    "add_tag",
    "administrator_exists",
    "answered",
    "answering",
    "apply_drift",
    "apply_to_many",
    "asked",
    "cancel_task",
    "change_access",
    "change_own_password",
    "change_role",
    "check_without_sync",
    "choose_language",
    "clean_up_task",
    "clone_task",
    "compare_task",
    "complete_task",
    "confirm_endpoint_key",
    "confirm_host_key",
    "conflict_of",
    "could_not_look",
    "create_draft",
    "create_first_administrator",
    "create_user",
    "delete_endpoint",
    "delete_resource",
    "delete_task",
    "drop_conflict",
    "drop_pattern",
    "drop_table",
    "end_sessions",
    "fix_done",
    "fix_failed",
    "fix_for",
    "forget_failures",
    "freshen",
    "give_passwords",
    "hand_over_task",
    "ignore_new_table",
    "import_inventory",
    "include_parents",
    "keep_syncing",
    "keeps_password",
    "keeps_ssh_secrets",
    "may_sign_in",
    "movable_sides",
    "name_problem",
    "new_setup_token",
    "nothing_made",
    "parse_bytes",
    "pause_task",
    "planned_databases",
    "quarantine_conflict",
    "quarantine_table",
    "recopy_conflict",
    "recopy_table",
    "record_failure",
    "record_look",
    "record_request",
    "record_sign_in",
    "record_sign_out",
    "remove_account",
    "remove_tag",
    "reopen_task",
    "request_access_test",
    "request_check",
    "request_endpoint_test",
    "request_fix",
    "request_inventory",
    "request_preparation",
    "request_test",
    "reschedule_task",
    "reset_password",
    "restart_with_new_copy",
    "resume_task",
    "retry_task",
    "save_endpoint",
    "save_resource",
    "save_settings",
    "set_account",
    "set_active",
    "set_existing",
    "set_follow",
    "set_foreign_keys",
    "set_listed",
    "set_matching",
    "set_mode",
    "set_roles",
    "set_selected",
    "set_selection",
    "set_targets",
    "set_wal_budget",
    "setup_token_is_open",
    "slots_of",
    "start_again",
    "start_now",
    "start_task",
    "take_look",
    "take_source_row",
    "take_to_foreground",
    "takes_passwords",
    "thin_samples",
    "try_now",
    "try_side",
    "tune_task",
    "unschedule_task",
    "why_closed",
    "withdraw_acknowledgement",
    "workers_alive",
]
