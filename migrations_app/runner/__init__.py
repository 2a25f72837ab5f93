"""The bridge: claims a task, decrypts, builds the plan, drives the engine, records what came of it.

What pages ask is answered in `asking`, which the command line does without: it is imported by name.
"""

from __future__ import annotations

from .checking import run_check
from .driving import drive_foreground, run_migration, run_sync
from .governing import look_at_wal
from .lease import stop_all, stopping
from .planning import trust_command_line

__all__ = [
    "drive_foreground",
    "look_at_wal",
    "run_check",
    "run_migration",
    "run_sync",
    "stop_all",
    "stopping",
    "trust_command_line",
]
