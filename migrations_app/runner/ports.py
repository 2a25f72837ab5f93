"""The engine's store on our rows."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet, Sum
from django.utils import timezone

from ..engine.failpoints import durable
from ..engine.ports import (
    NOT_MOVED,
    Comparison,
    DatabaseState,
    EntryState,
    Note,
    SpoolState,
    TableState,
    TableStatus,
)
from ..engine.states import WORKED, Status, StepName
from ..engine.wording import as_data, say
from ..models import (
    ArchiveEntry,
    ComparisonResult,
    Event,
    MigrationTask,
    Step,
    StructureNote,
    TableCopy,
    TaskDatabase,
)
from ..services import work
from .decisions import Decisions
from .many_rows import write_rows
from .rate import Average, Lasting, Rate, pace
from .recorder import Recorder
from .samples import Sampler
from .spools import read_spool, write_spool
from .storable import storable, words_of
from .sync_rates import SyncRates

_FLUSH_SECONDS = 1.0
_BEHIND_SECONDS = 30.0
_MOST_NOTES = 2000
_DATABASE_FIELDS = [field.name for field in fields(DatabaseState) if field.name not in ("source_name",)]
_FIRST = {TableStatus.COPIED: "started_at", TableStatus.DONE: "finished_at"}
"""What a table has at the latest with a status: small ones are over before their beginning was written down."""
_TABLE_FIELDS = [field.name for field in fields(TableState)]


def _table_state(row: dict[str, Any]) -> TableState:
    known = {"status": TableStatus(row["status"]), "published_by": tuple(row["published_by"])}
    return TableState(**{**row, **known, "numbers": tuple((name, number) for name, number in row["numbers"])})


def _is_text(name: str) -> bool:
    """Say whether our database takes a name: bytes of no encoding are in it as half characters."""
    return not any("\ud800" <= one <= "\udfff" for one in name)


def _table_row(state: TableState) -> list[Any]:
    numbers = [(name, number) for name, number in state.numbers if name.isascii() or _is_text(name)]
    kept = {"published_by": list(state.published_by), "numbers": numbers}
    return [kept.get(name, getattr(state, name)) for name in _TABLE_FIELDS]


class OrmStore(Decisions):
    """engine.ports.Store on our rows. Running counts are kept in memory and written about once a second."""

    def __init__(self, claim: work.Claim, recorder: Recorder, targets: dict[str, str]) -> None:
        self._claim, self._recorder, self._targets = claim, recorder, targets
        self._task_id = UUID(claim.task_id)
        self._lock = threading.Lock()
        self._flushed = 0.0
        self._counts: dict[tuple[str, str, str], TableState] = {}
        self._step: tuple[float, float, str] | None = None
        self._rate = Rate()
        self._passing = Lasting(60)  # one table may take hours: an outage before it is over by then
        self._compared = Average()
        self._sampler = Sampler(self._task_id)
        self._behind_since: float | None = None
        self._sync_rates: SyncRates | None = None
        self.current: StepName = StepName.SCHEMA

    def database(self, source_name: str) -> DatabaseState:
        """See the port."""

        def read() -> DatabaseState:
            row = TaskDatabase.objects.filter(task_id=self._task_id, source_name=source_name).first()
            if row is None:
                return DatabaseState(source_name=source_name, target_name=self._targets.get(source_name, source_name))
            return DatabaseState(source_name=source_name, **{name: getattr(row, name) for name in _DATABASE_FIELDS})

        return self._recorder.call(read)

    def save_database(self, state: DatabaseState) -> None:
        """See the port. Also shows lag and rate on the task, and moves it between running and ready."""

        def write() -> None:
            values = {name: getattr(state, name) for name in _DATABASE_FIELDS}
            if not self._held().exists():
                return  # another worker has the task by now, and has stored more
            rows = TaskDatabase.objects.filter(task_id=self._task_id, source_name=state.source_name)
            before = rows.values_list("bookmark", flat=True).first()
            TaskDatabase.objects.update_or_create(task_id=self._task_id, source_name=state.source_name, defaults=values)
            if self.current == StepName.SYNC:
                self._show_sync()
                if before is not None and (state.bookmark or 0) > before:
                    work.progressed(self._claim)  # far behind or not: this outage is over

        with durable("store.database", self.current):
            self._recorder.call(write)

    def _held(self) -> QuerySet[MigrationTask]:
        return MigrationTask.objects.filter(pk=self._task_id, epoch=self._claim.epoch)

    def _show_sync(self) -> None:
        rows = list(TaskDatabase.objects.filter(task_id=self._task_id))
        known = [row for row in rows if row.lag_bytes is not None]
        lag_bytes = max((row.lag_bytes or 0 for row in known), default=None)
        lag_seconds = max((row.lag_seconds or 0.0 for row in known), default=None)
        in_sync = bool(rows) and all(row.in_sync for row in rows)
        rates = self._sync_rates = self._sync_rates or SyncRates(self._known_rates())
        rates.see(rows)
        held = self._held()
        # A worker learns up to a second later that the task was paused or cancelled: what it saw is then the past.
        held.filter(status__in=sorted(WORKED - {Status.CANCELLING})).update(
            lag_bytes=lag_bytes,
            lag_seconds=lag_seconds,
            version=F("version") + 1,
            **rates.columns(0 if in_sync else lag_bytes or 0),
        )
        self._sampler.sync(
            lag_bytes=lag_bytes,
            lag_seconds=lag_seconds,
            rows_per_second=rates.rows,
            wal_bytes_per_second=rates.written,
        )
        if in_sync:
            self._behind_since = None
            work.progressed(self._claim)
            work.set_ready(self._claim, True)
        else:
            self._behind_since = self._behind_since or time.monotonic()
            if time.monotonic() - self._behind_since > _BEHIND_SECONDS:
                work.set_ready(self._claim, False)

    def _known_rates(self) -> dict[str, Any]:
        return MigrationTask.objects.filter(pk=self._task_id).values_list("rates", flat=True).first() or {}

    def spool(self, database: str) -> SpoolState | None:
        """See the port."""
        return self._recorder.call(lambda: read_spool(self._task_id, database))

    def save_spool(self, database: str, state: SpoolState | None) -> None:
        """See the port."""
        with durable("store.spool"):
            self._recorder.call(lambda: write_spool(self._claim, database, state))

    def tables(self, database: str) -> list[TableState]:
        """See the port."""

        def read() -> list[TableState]:
            rows = TableCopy.objects.filter(task_id=self._task_id, database=database).order_by("id")
            return [_table_state(row) for row in rows.values(*_TABLE_FIELDS)]

        return self._recorder.call(read)

    def save_tables(self, *states: TableState) -> None:
        """See the port."""
        if not states:
            return

        def write() -> None:
            now = timezone.now()
            lots: dict[TableStatus, list[TableState]] = defaultdict(list)
            for state in states:
                lots[state.status].append(state)
            self._upsert(lots.pop(TableStatus.COPYING, []), started_at=now, finished_at=None)
            for status, lot in lots.items():
                self._upsert(lot, **({_FIRST[status]: now} if status in _FIRST else {}), once=status in _FIRST)
            if lots.keys() & _FIRST.keys():
                work.progressed(self._claim)

        with self._lock:
            for state in states:
                self._counts.pop((state.database, state.schema, state.name), None)
        with durable("store.tables", states[0].status):
            self._recorder.call(write)
        self._maybe_flush()

    def _upsert(self, states: list[TableState], *, once: bool = False, **times: datetime | None) -> None:
        """Store states and `times`; with `once` no time that is known is changed."""
        more = tuple(times.values())
        rows = [(self._task_id, *_table_row(state), *more) for state in states]
        key = ["task", "database", "schema", "name"]
        write_rows(TableCopy, ["task", *_TABLE_FIELDS, *times], rows, key=key, once=times if once else ())

    def table_progress(self, state: TableState) -> None:
        """See the port."""
        with self._lock:
            self._counts[(state.database, state.schema, state.name)] = state
        self._maybe_flush()

    def entries(self, database: str) -> dict[int, EntryState]:
        """See the port."""

        def read() -> dict[int, EntryState]:
            rows = ArchiveEntry.objects.filter(task_id=self._task_id, database=database)
            return {
                row.dump_id: EntryState(
                    database=row.database,
                    dump_id=row.dump_id,
                    section=row.section,
                    type=row.type,
                    schema=row.schema,
                    name=row.name,
                    done=row.done,
                    error=row.error,
                )
                for row in rows
            }

        return self._recorder.call(read)

    def save_entries(self, *states: EntryState) -> None:
        """See the port."""
        names = [field.name for field in fields(EntryState)]

        def write() -> None:
            ArchiveEntry.objects.bulk_create(
                [
                    ArchiveEntry(task_id=self._task_id, **{name: getattr(state, name) for name in names})
                    for state in states
                ],
                update_conflicts=True,
                unique_fields=["task", "database", "dump_id"],
                update_fields=[name for name in names if name not in ("database", "dump_id")],
                batch_size=500,
            )

        if states:
            with durable("store.entries"):
                self._recorder.call(write)

    def step_progress(self, done: float, total: float, note: str = "") -> None:
        """See the port."""
        with self._lock:
            self._step = (done, total, note)
        self._maybe_flush()

    def source_keeps(self, kept_bytes: int) -> None:
        """See the port. Goes into the next sample of the charts."""
        self._sampler.kept(kept_bytes)

    def snapshot_held(self, database: str, since: datetime | None) -> None:
        """See the port. What a worker says that has lost the task counts for nothing."""
        rows = TaskDatabase.objects.filter(task_id=self._task_id, source_name=database, task__epoch=self._claim.epoch)
        self._recorder.start(lambda: rows.update(snapshot_since=since))

    def event(self, level: str, code: str, message: str, **detail: Any) -> None:
        """See the port."""

        def write() -> None:
            Event.objects.create(
                task_id=self._task_id,
                level=level,
                code=code,
                message=message[:4000],
                words=as_data(message=message) if len(message) <= 4000 else {},
                detail=detail,
            )
            MigrationTask.objects.filter(pk=self._task_id).update(version=F("version") + 1)

        with durable("store.event"):
            self._recorder.call(write)

    def save_comparison(self, comparison: Comparison) -> None:
        """See the port. Only what is not equal is kept in detail; the same comparison, told further, is one row."""
        differences = [
            {
                name: getattr(item, name)
                for name in ("schema", "name", "verdict", "source_rows", "target_rows", "reason")
            }
            | {"sample_keys": [str(key) for key in item.sample_keys], "words": words_of(item)}
            for item in (*comparison.tables, *comparison.other)
            if item.verdict != "equal"
        ]

        def write() -> None:
            ComparisonResult.objects.update_or_create(
                task_id=self._task_id,
                database=comparison.database,
                started_at=comparison.started_at,
                defaults={
                    "lsn": comparison.lsn,
                    "rows_applied": comparison.rows_applied,
                    "finished_at": comparison.finished_at,
                    "equal": comparison.equal,
                    "tables_count": sum(item.verdict not in NOT_MOVED for item in comparison.tables),
                    "source_rows": sum(item.source_rows for item in comparison.tables),
                    "differences": differences,
                },
            )
            MigrationTask.objects.filter(pk=self._task_id).update(version=F("version") + 1)

        with durable("store.comparison"):
            self._recorder.call(write)

    def save_notes(self, database: str, compared: int, notes: Sequence[Note]) -> None:
        """See the port. The task shows how many there are in all its databases."""
        rows = [
            StructureNote(
                task_id=self._task_id,
                title=note.title,
                how=storable(as_data(title=note.title, what=note.what, words=note.words)),
                **{field.name: getattr(note, field.name).replace("\0", "") for field in fields(Note)},
            )
            for note in notes[:_MOST_NOTES]
        ]
        if len(notes) > _MOST_NOTES:
            more = say("{number} more notes on this database are not kept", number=len(notes) - _MOST_NOTES)
            rows.append(
                StructureNote(
                    task_id=self._task_id,
                    database=database,
                    kind="more",
                    title="…",
                    what=more,
                    how=as_data(what=more),
                )
            )

        def write() -> None:
            with transaction.atomic():
                known = StructureNote.objects.filter(task_id=self._task_id)
                known.filter(database=database).delete()
                StructureNote.objects.bulk_create(rows, batch_size=200)
                TaskDatabase.objects.filter(task_id=self._task_id, source_name=database).update(
                    structure_at=timezone.now(), structure_count=compared
                )
                MigrationTask.objects.filter(pk=self._task_id).update(
                    notes_count=known.count(), version=F("version") + 1
                )

        with durable("store.notes"):
            self._recorder.call(write)

    def _maybe_flush(self) -> None:
        with self._lock:
            if time.monotonic() - self._flushed < _FLUSH_SECONDS:
                return
            self._flushed = time.monotonic()
        self.flush()

    def flush(self) -> None:
        """Write the running counts now."""
        with self._lock:
            counts, self._counts = self._counts, {}
            step, self._step = self._step, None

        def write() -> None:
            for (database, schema, name), state in counts.items():
                row = TableCopy.objects.filter(task_id=self._task_id, database=database, schema=schema, name=name)
                if state.status == TableStatus.COPYING:  # what was finished meanwhile stays so
                    row = row.filter(status__in=(TableStatus.WAITING, TableStatus.COPYING))
                    row.filter(status=TableStatus.WAITING).update(status=state.status, started_at=timezone.now())
                row.update(bytes_done=state.bytes_done, rows_done=state.rows_done)
            if self._passing.grows(sum(state.bytes_done for state in counts.values())):
                work.progressed(self._claim)
            if step is not None:
                self._show_step(*step)

        if counts or step is not None:
            self._recorder.call(write)

    def _show_step(self, done: float, total: float, note: str) -> None:
        Step.objects.filter(task_id=self._task_id, name=self.current).update(
            progress_done=done, progress_total=total, note=note[:300], words=as_data(note=note)
        )
        shown: dict[str, Any] = {}
        if self.current == StepName.COPY:
            speed = self._rate.update("bytes", done)
            copied = TableCopy.objects.filter(task_id=self._task_id).aggregate(rows=Sum("rows_done"))["rows"] or 0
            shown = pace(speed, total - done) | {"rows_per_second": self._rate.update("rows", float(copied))}
            self._sampler.copy(bytes_per_second=speed)
        elif self.current == StepName.COMPARE:
            shown = pace(self._compared.update(done), total - done)
        MigrationTask.objects.filter(pk=self._task_id, epoch=self._claim.epoch).update(
            version=F("version") + 1, **shown
        )
