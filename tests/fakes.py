"""In-memory implementations of the engine's ports."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from migrations_app.engine.conflicts import Permission, Use
from migrations_app.engine.drift import Leave, NewTable, Place
from migrations_app.engine.errors import CancelRequested, PauseRequested
from migrations_app.engine.plan import Knobs, Others, Side
from migrations_app.engine.ports import (
    Comparison,
    DatabaseState,
    EntryState,
    Kind,
    LedgerItem,
    Note,
    Ports,
    SpoolState,
    TableState,
)
from migrations_app.engine.wording import Sentence


class FakeControl:
    """A control that a test steers: `cancel()`, `pause()`, `complete`, `compare`, `yields`, `turned`."""

    def __init__(self) -> None:
        self._stop: Exception | None = None
        self._event = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self.complete = False
        self.compare = False
        self.back = False
        self.yields = False
        self.pausing = False
        self.turned: Knobs | None = None
        self.recopy = False
        self.spool = False

    def _stop_with(self, reason: Exception) -> None:
        self._stop = reason
        self._event.set()
        for callback in self._callbacks:
            callback()

    def cancel(self) -> None:
        self._stop_with(CancelRequested())

    def pause(self) -> None:
        self._stop_with(PauseRequested())

    def check(self) -> None:
        if self._stop:
            raise self._stop

    def should_yield(self) -> bool:
        return self.yields

    def pause_requested(self) -> bool:
        return self.pausing

    def complete_requested(self) -> bool:
        return self.complete

    def back_requested(self) -> bool:
        return self.back

    def compare_requested(self) -> bool:
        return self.compare

    def recopy_requested(self) -> bool:
        return self.recopy

    def spool_wanted(self) -> bool:
        return self.spool

    def sleep(self, seconds: float) -> None:
        self._event.wait(seconds)
        self.check()

    def knobs(self) -> Knobs | None:
        return self.turned

    def on_stop(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)


class FakeLedger:
    """A ledger in memory; `history` keeps every call in order."""

    def __init__(self) -> None:
        self._items: dict[LedgerItem, LedgerItem] = {}
        self.history: list[tuple[str, LedgerItem]] = []
        self.of_others = Others()
        self._lock = threading.Lock()

    @staticmethod
    def _key(item: LedgerItem) -> tuple[Any, ...]:
        return (item.side, item.database, item.kind, item.schema, item.name)

    def intend(self, *items: LedgerItem) -> None:
        with self._lock:
            for item in items:
                self.history.append(("intend", item))
                self._items.setdefault(self._key(item), item)  # type: ignore[arg-type]

    def removed(self, *items: LedgerItem) -> None:
        with self._lock:
            for item in items:
                self.history.append(("removed", item))
                self._items.pop(self._key(item), None)  # type: ignore[arg-type]

    def others(self) -> Others:
        return self.of_others

    def amend(self, *items: LedgerItem) -> None:
        with self._lock:
            for item in items:
                self.history.append(("amend", item))
                if self._key(item) in self._items:  # type: ignore[comparison-overlap]
                    self._items[self._key(item)] = item  # type: ignore[index]

    def items(
        self, side: Side | None = None, database: str | None = None, kinds: Collection[Kind] = ()
    ) -> list[LedgerItem]:
        with self._lock:
            return [
                item
                for item in self._items.values()
                if side in (None, item.side) and database in (None, item.database) and (not kinds or item.kind in kinds)
            ]


@dataclass
class FakeStore:
    """A store in memory."""

    targets: dict[str, str] = field(default_factory=dict)
    databases: dict[str, DatabaseState] = field(default_factory=dict)
    table_rows: dict[tuple[str, str, str], TableState] = field(default_factory=dict)
    entry_rows: dict[tuple[str, int], EntryState] = field(default_factory=dict)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    details: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    notes: dict[str, tuple[Note, ...]] = field(default_factory=dict)
    asked_again: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    allowed: dict[str, list[Permission]] = field(default_factory=dict)
    used: list[tuple[Permission, Use]] = field(default_factory=list)
    may_change: dict[str, list[Leave]] = field(default_factory=dict)
    newcomers: dict[str, dict[Place, NewTable]] = field(default_factory=dict)
    to_add: dict[str, list[NewTable]] = field(default_factory=dict)
    refusals: list[Sentence] = field(default_factory=list)
    steps: list[tuple[float, float, str]] = field(default_factory=list)
    kept: list[int] = field(default_factory=list)
    spools: dict[str, SpoolState] = field(default_factory=dict)
    held: list[tuple[str, datetime | None]] = field(default_factory=list)

    def database(self, source_name: str) -> DatabaseState:
        known = self.databases.get(source_name)
        return known or DatabaseState(source_name=source_name, target_name=self.targets.get(source_name, source_name))

    def save_database(self, state: DatabaseState) -> None:
        self.databases[state.source_name] = state

    def spool(self, database: str) -> SpoolState | None:
        return self.spools.get(database)

    def save_spool(self, database: str, state: SpoolState | None) -> None:
        if state is None:
            self.spools.pop(database, None)
        else:
            self.spools[database] = replace(state, host="here")

    def tables(self, database: str) -> list[TableState]:
        return [state for state in self.table_rows.values() if state.database == database]

    def save_tables(self, *states: TableState) -> None:
        for state in states:
            self.table_rows[(state.database, state.schema, state.name)] = state

    def table_progress(self, state: TableState) -> None:
        key = (state.database, state.schema, state.name)
        if key in self.table_rows:
            row = replace(self.table_rows[key], bytes_done=state.bytes_done, rows_done=state.rows_done)
            begun = row.status == "waiting" and state.status == "copying"
            self.table_rows[key] = replace(row, status=state.status) if begun else row

    def entries(self, database: str) -> dict[int, EntryState]:
        return {dump_id: state for (name, dump_id), state in self.entry_rows.items() if name == database}

    def save_entries(self, *states: EntryState) -> None:
        for state in states:
            self.entry_rows[(state.database, state.dump_id)] = state

    def step_progress(self, done: float, total: float, note: str = "") -> None:
        self.steps.append((done, total, note))

    def source_keeps(self, kept_bytes: int) -> None:
        self.kept.append(kept_bytes)

    def snapshot_held(self, database: str, since: datetime | None) -> None:
        self.held.append((database, since))

    def event(self, level: str, code: str, message: str, **detail: Any) -> None:
        self.events.append((level, code, message))
        self.details.append((code, detail))

    def save_comparison(self, comparison: Comparison) -> None:
        self.comparisons.append(comparison)

    def recopies(self, database: str) -> list[tuple[str, str]]:
        return list(self.asked_again.get(database, ()))

    def recopied(self, database: str, schema: str, name: str) -> None:
        if (schema, name) in self.asked_again.get(database, ()):
            self.asked_again[database].remove((schema, name))

    def permissions(self, database: str) -> list[Permission]:
        return list(self.allowed.get(database, ()))

    def permission_used(self, permission: Permission, use: Use) -> None:
        for waiting in self.allowed.values():
            if permission in waiting:
                waiting.remove(permission)
                self.used.append((permission, use))

    def leaves(self, database: str) -> list[Leave]:
        return list(self.may_change.get(database, ()))

    def leave_used(self, leave: Leave) -> None:
        for waiting in self.may_change.values():
            if leave in waiting:
                waiting.remove(leave)

    def renamed(self, table: TableState, schema: str, name: str) -> None:
        old, new = (table.schema, table.name), (schema, name)
        key = (table.database, *old)
        self.table_rows = {
            (table.database, *new) if at == key else at: replace(one, schema=schema, name=name) if at == key else one
            for at, one in self.table_rows.items()
        }
        asked = self.asked_again.get(table.database, [])
        self.asked_again[table.database] = [new if place == old else place for place in asked]

    def new_tables(self, database: str, found: Sequence[NewTable]) -> list[NewTable]:
        known = self.newcomers.setdefault(database, {})
        fresh = [table for table in found if table.place not in known]
        places = {table.place for table in found}
        self.newcomers[database] = known = {
            place: one for place, one in known.items() if place in places or one in self.to_add.get(database, ())
        }
        known.update((table.place, table) for table in found)
        self.to_add.setdefault(database, []).extend(table for table in fresh if table.wanted)
        return fresh

    def additions(self, database: str) -> list[NewTable]:
        return list(self.to_add.get(database, ()))

    def added(self, database: str, table: NewTable) -> None:
        self.to_add[database] = [one for one in self.to_add[database] if one.place != table.place]
        self.newcomers.get(database, {}).pop(table.place, None)

    def not_added(self, database: str, table: NewTable, why: Sentence) -> None:
        self.to_add[database] = [one for one in self.to_add[database] if one.place != table.place]
        self.refusals.append(why)

    def save_notes(self, database: str, compared: int, notes: Sequence[Note]) -> None:
        self.notes[database] = tuple(notes)


def fake_ports() -> Ports:
    """Return ports in memory, all empty."""
    return Ports(control=FakeControl(), ledger=FakeLedger(), store=FakeStore())


def wait_until(condition: Callable[[], Any], seconds: float = 30, what: str = "the condition") -> Any:
    """Poll until `condition()` is true and return its value; fail with `what` when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds} s"
        time.sleep(0.05)
