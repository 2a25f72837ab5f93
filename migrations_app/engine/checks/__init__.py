"""The check before Start: one function per item, registered with code, title and group.

The modules are imported for their registrations; their order is the order of the items inside a group.
"""

from __future__ import annotations

from . import (  # noqa: F401
    capacity,
    children,
    collating,
    connectivity,
    foreign_parts,
    genuine,
    layout,
    named,
    privileges,
    reading,
    renamed,
    selected,
    sendable,
    shape,
    shown,
    source_care,
    structure,
    superusers,
    sync,
    sync_now,
    sync_tables,
    system_parts,
    target,
)
from .registry import CheckInfo, CheckResult, CheckStatus, Group, all_items
from .run import Known, is_startable, items_for, run_checks

__all__ = [
    "CheckInfo",
    "CheckResult",
    "CheckStatus",
    "Group",
    "Known",
    "all_items",
    "is_startable",
    "items_for",
    "run_checks",
]
