"""Everything that reads our rows for pages and command line. Nothing here writes, and nothing opens a user's server."""

from __future__ import annotations

from .checkview import CheckGroup, CheckView, check_view
from .pages import (
    Health,
    LedgerLine,
    LeftBehind,
    comparisons,
    connection_test,
    databases,
    events,
    health,
    left_behind,
    steps,
    table_counts,
    tables,
    time_zone_name,
)
from .rows import (
    ActionButton,
    NotFound,
    StepLine,
    TaskRow,
    changed_rows,
    get_task,
    status_counts,
    task_row,
    task_rows,
)
from .tree import SelectionSummary, TreeLevel, TreeNode, selection_states, selection_summary, tree

__all__ = [
    "ActionButton",
    "CheckGroup",
    "CheckView",
    "Health",
    "LedgerLine",
    "LeftBehind",
    "NotFound",
    "SelectionSummary",
    "StepLine",
    "TaskRow",
    "TreeLevel",
    "TreeNode",
    "changed_rows",
    "check_view",
    "comparisons",
    "connection_test",
    "databases",
    "events",
    "get_task",
    "health",
    "left_behind",
    "selection_states",
    "selection_summary",
    "status_counts",
    "steps",
    "table_counts",
    "tables",
    "task_row",
    "task_rows",
    "time_zone_name",
    "tree",
]
