"""What a slice of a step ends with, and what every step is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .connect import Sessions
from .holding import Holds
from .plan import DatabasePlan, Knobs, Plan
from .ports import Comparison, Ports
from .values import frozen


@frozen
class Outcome:
    """DONE: go on with the next step. Not done: the same step wants another slice."""

    done: bool
    note: str = ""


DONE = Outcome(done=True)
CONTINUE = Outcome(done=False)


@dataclass(kw_only=True)
class Run:
    """One worker's run of a task: lives from claim to release, across the steps that the worker does in a row.

    `snapshots` keeps the open snapshot holders (engine.snapshot.Snapshot by source database name), so that the copy
    goes on under the snapshot that the schema was read under when the same worker does both.
    """

    plan: Plan
    ports: Ports
    sessions: Sessions
    snapshots: dict[str, Any] = field(default_factory=dict)
    renamings: dict[str, Any] = field(default_factory=dict)
    """How schemas are called on the target (engine.renaming.Renaming by source database name), once it was asked."""
    layouts: dict[str, Any] = field(default_factory=dict)
    """Tables that have other partitions on the target (engine.layouts.Layouts by source database name), likewise."""
    building: dict[str, int] = field(default_factory=dict)
    """What this target says of its memory and processors (see `indexes.build_settings`), once it was asked."""
    adopted: dict[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    """(schema, name) of the tables that were there before, by target database name, until the ledger gets others."""
    native: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """What ordinary sessions on the source have (see `native.native_settings`), by source database name, likewise."""
    zones: dict[str, str] = field(default_factory=dict)
    """The time zone in which expressions are computed on the target (see `native.native_zone`), likewise."""
    proof: list[Comparison] = field(default_factory=list)
    """What the step `compare` of this same run found on the way to Complete; empty after a resume."""
    holds: Holds = field(init=False)

    def __post_init__(self) -> None:
        self.holds = Holds(self.ports.store.snapshot_held)

    def databases(self) -> tuple[DatabasePlan, ...]:
        """Return the databases of the task."""
        return self.plan.databases


def knobs(run: Run) -> Knobs:
    """Return how the knobs of the copy stand now."""
    return run.ports.control.knobs() or run.plan.knobs
