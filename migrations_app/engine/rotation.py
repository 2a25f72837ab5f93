"""Lets a long copy take a newer snapshot from time to time, so that the source can remove dead rows again.

With incremental sync every table has its own place in the stream, so the tables of a database may be of different
snapshots: once one is held for longer than the limit of the plan, no table begins under it any more. What is under way
is finished, the snapshot is closed, and what waited is copied under a new one. Without sync one snapshot has to do.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from .copy_board import Unit
from .copy_plan import DatabaseWork, plan_database
from .outcome import Run
from .plan import DatabasePlan
from .ports import Control, TableStatus
from .snapshot import Snapshot
from .source_setup import age
from .table_work import TableWork
from .wording import count, say

_LOOK_SECONDS = 1.0


class Rotation:
    """Which tables of a copy wait for a newer snapshot. Thread-safe."""

    def __init__(self, run: Run, works: list[DatabaseWork]) -> None:
        self._run, self._limit = run, run.plan.snapshot_seconds
        self._lock = threading.Lock()
        self._under_way: dict[TableWork, float] = {}
        self._waiting: defaultdict[str, set[TableWork]] = defaultdict(set)
        self._used = {work.database.source_name for work in works if self._too_old(work.snapshot)}
        """Databases whose snapshot may be replaced: it has served for something, or is from long before this copy."""

    def _too_old(self, snapshot: Snapshot | None) -> bool:
        return self._run.plan.incremental and snapshot is not None and snapshot.hold.seconds > self._limit

    def may_begin(self, unit: Unit, snapshot: Snapshot | None) -> bool:
        """Say whether a lane may copy a unit under the open snapshot; after a no its tables wait for the next one.

        The parts of a table stay together, and every snapshot serves for one unit at least.
        """
        name = unit.database.source_name
        if unit.apart:
            return True
        with self._lock:
            begun = any(one in self._under_way for one in unit.tables)
            if unit.tables and not begun and name in self._used and self._too_old(snapshot):
                self._waiting[name].update(unit.tables)
                return False
            self._under_way.update((one, time.monotonic()) for one in unit.tables if one not in self._under_way)
            self._used.add(name)
            return True

    def waits(self, database: DatabasePlan) -> bool:
        """Say whether tables of a database wait for a newer snapshot."""
        with self._lock:
            return bool(self._waiting[database.source_name])

    def renew(self, database: DatabasePlan, check: Callable[[], None]) -> DatabaseWork:
        """Open a newer snapshot, when nothing is read under the old one any more, for the tables that wait for it.

        `check` raises when the copy must end. Waits and raises as `open_again`; also SchemaChanged, for a table that is
        not what the target was made from.
        """
        name = database.source_name
        run = copy.copy(self._run)
        run.ports = replace(run.ports, control=cast(Control, _Checked(run.ports.control, check)))
        work = plan_database(run, database, again=True)
        with self._lock:
            names = {(one.table.schema, one.table.name) for one in self._waiting.pop(name)}
            self._used.discard(name)
        waited = [one for one in work.to_copy if (one.state.schema, one.state.name) in names]
        run.ports.store.event(
            "info",
            "COPY-RENEWED",
            say(
                "The snapshot of {source_name} had been held for longer than {limit}, so a newer one is used for "
                "{number}. The source can remove dead rows again.",
                source_name=name,
                limit=age(int(self._limit)),
                number=count(len(waited), "{number} table", "{number} tables"),
            ),
        )
        return replace(work, to_copy=waited, to_index=[], done=[])

    def tell(self) -> None:
        """Tell once of each table whose own copy holds the snapshot for longer than the limit."""
        if not self._run.plan.incremental:
            return  # then `HeldWatch` tells of the snapshot itself
        with self._lock:
            active = [one for one in self._under_way if one.state.status is TableStatus.COPYING]
            long = [one for one in active if time.monotonic() - self._under_way[one] > self._limit]
            self._under_way.update((one, float("inf")) for one in long)
        for one in long:
            self._run.ports.store.event(
                "warning",
                "COPY-LONG",
                say(
                    "The copy of {label} in {source_name} takes longer than {limit}. A table is copied under one "
                    "snapshot, so that is held until its end: the source cannot remove rows of this database that are "
                    "updated or deleted meanwhile, and its tables grow.",
                    label=one.label,
                    source_name=one.database.source_name,
                    limit=age(int(self._limit)),
                ),
            )


class HeldWatch:
    """A thread that tells, between `start` and `stop`, what a long snapshot of a task without sync costs the source.

    In whatever step the limit is passed; once for each snapshot. With sync there is nothing to tell.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="towpath-held", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        if not self._run.plan.incremental:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            _tell_held(self._run)


def _tell_held(run: Run) -> None:
    for hold in run.holds.newly_older(run.plan.snapshot_seconds):
        run.ports.store.event(
            "warning",
            "COPY-HELD",
            say(
                "The snapshot of {source_name} has been held for longer than {limit}, and is held until all its tables "
                "are copied and compared: a task without incremental sync needs one snapshot for all. Until then the "
                "source cannot remove rows of this database that are updated or deleted (its xmin is held back): its "
                "tables and indexes grow, and VACUUM does not help.",
                source_name=hold.database,
                limit=age(int(run.plan.snapshot_seconds)),
            ),
        )


class _Checked:
    """A control whose check also ends a wait when the copy has failed elsewhere."""

    def __init__(self, control: Control, check: Callable[[], None]) -> None:
        self._control, self.check = control, check

    def __getattr__(self, name: str) -> Any:
        return getattr(self._control, name)
