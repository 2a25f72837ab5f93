"""The check before Start: one function per item, registered with code, title and group.

The modules are imported for their registrations; their order is the order of the items inside a group.
"""

from __future__ import annotations

from . import capacity, connectivity, privileges, selected, structure, sync, sync_tables, target  # noqa: F401
from .registry import CheckInfo, CheckResult, CheckStatus, Group, all_items
from .run import is_startable, items_for, run_checks

__all__ = [
    "CheckInfo",
    "CheckResult",
    "CheckStatus",
    "Group",
    "all_items",
    "is_startable",
    "items_for",
    "run_checks",
]
