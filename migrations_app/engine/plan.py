"""What a run is told: frozen values that cross from the Django side into the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from .selection import Selection


class TlsMode(StrEnum):
    """How a connection is protected. `prefer` exists for command-line URIs only (libpq's own default)."""

    DISABLE = "disable"
    PREFER = "prefer"
    REQUIRE = "require"
    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


class Side(StrEnum):
    """Which of the two servers."""

    SOURCE = "source"
    TARGET = "target"


@dataclass(frozen=True, kw_only=True)
class Server:
    """An address to connect to. The password never shows in `repr`."""

    host: str
    port: int
    user: str
    password: str = field(default="", repr=False)
    database: str = "postgres"
    tls: TlsMode = TlsMode.DISABLE
    ca_file: str = ""
    """PEM file for verify-ca / verify-full; empty = the system's trust store."""


@dataclass(frozen=True, kw_only=True)
class DatabasePlan:
    """One database of the task: its name on the source and on the target."""

    source_name: str
    target_name: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run needs to know. Built anew from the task's rows for every slice.

    `key` is 8 lower-case hex digits of the task's id: all our server objects carry it.
    `epoch` grows with every claim; sessions and the bookmark are fenced by it.
    """

    key: str
    epoch: int
    source: Server
    target: Server
    databases: tuple[DatabasePlan, ...]
    selection: Selection
    incremental: bool
    work_dir: Path
    copy_jobs: int = 2
    index_jobs: int = 2
    connect_timeout_seconds: int = 5
    slice_seconds: float = 5.0
    """How long a sync slice may go on when another task waits for the worker."""
    ready_lag_bytes: int = 1 << 20
    ready_lag_seconds: float = 5.0
