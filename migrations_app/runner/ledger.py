"""The engine's ledger on our rows."""

from __future__ import annotations

from collections.abc import Collection
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from ..engine.errors import LeaseLost
from ..engine.failpoints import durable
from ..engine.plan import Others, Side
from ..engine.ports import Kind, LedgerItem
from ..models import LedgerEntry, MigrationTask
from ..services import work
from .many_rows import write_rows
from .planning import others_of
from .recorder import Recorder

_AT_ONCE = 500
_NAMED_AT_MOST = 100
_FIELDS = ("side", "database", "kind", "schema", "name", "detail")


class OrmLedger:
    """engine.ports.Ledger on LedgerEntry rows."""

    def __init__(self, claim: work.Claim, recorder: Recorder) -> None:
        self._claim, self._task_id, self._recorder = claim, UUID(claim.task_id), recorder

    def _open(self) -> Any:
        return LedgerEntry.objects.filter(task_id=self._task_id, removed_at=None)

    def _like(self, items: Collection[LedgerItem]) -> Any:
        """Return the open rows among which these items are: not the thousands of tables where it is about a slot.

        Nor where it is about one of them, as when they are dropped one by one.
        """
        parts = ["side", "database", "kind"] + (["schema", "name"] if len(items) <= _NAMED_AT_MOST else [])
        return self._open().filter(**{f"{part}__in": {getattr(item, part) for item in items} for part in parts})

    def intend(self, *items: LedgerItem) -> None:
        """See the port."""

        def write() -> None:
            fields, now = attrgetter(*_FIELDS), timezone.now()
            rows = [(self._task_id, *fields(item), now) for item in items]
            write_rows(LedgerEntry, ["task", *_FIELDS, "made_at"], rows)

        if items:
            with durable("ledger.intend", items[0].kind):
                self._recorder.call(write)

    def removed(self, *items: LedgerItem) -> None:
        """See the port."""

        def write() -> None:
            now, keys = timezone.now(), {(i.side, i.database, i.kind, i.schema, i.name) for i in items}
            named = self._like(items)
            rows = named.values_list("pk", "side", "database", "kind", "schema", "name")
            gone = [pk for pk, *key in rows if tuple(key) in keys]
            for start in range(0, len(gone), _AT_ONCE):
                LedgerEntry.objects.filter(pk__in=gone[start : start + _AT_ONCE]).update(removed_at=now)

        if items:
            with durable("ledger.removed", items[0].kind):
                self._recorder.call(write)

    def amend(self, *items: LedgerItem) -> None:
        """See the port."""

        def write() -> None:
            details = {(i.side, i.database, i.kind, i.schema, i.name): i.detail for i in items}
            rows = []
            for row in self._like(items):
                key = (row.side, row.database, row.kind, row.schema, row.name)
                if key in details:
                    row.detail = details[key]
                    rows.append(row)
            with transaction.atomic():
                if rows and work.held_task(self._claim) is None:
                    raise LeaseLost  # what this worker knows is the past: another one may just find something else
                LedgerEntry.objects.bulk_update(rows, ["detail"], batch_size=_AT_ONCE)

        if items:
            with durable("ledger.amend", items[0].kind):
                self._recorder.call(write)

    def items(
        self, side: Side | None = None, database: str | None = None, kinds: Collection[Kind] = ()
    ) -> list[LedgerItem]:
        """See the port."""

        def read() -> list[LedgerItem]:
            rows = self._open().order_by("id").values_list("side", "database", "kind", "schema", "name", "detail")
            if side is not None:
                rows = rows.filter(side=side)
            if database is not None:
                rows = rows.filter(database=database)
            if kinds:
                rows = rows.filter(kind__in=sorted(kinds))
            return [
                LedgerItem(side=Side(where), database=base, kind=Kind(kind), schema=schema, name=name, detail=detail)
                for where, base, kind, schema, name, detail in rows
            ]

        return self._recorder.call(read)

    def others(self) -> Others:
        """See the port."""
        return self._recorder.call(lambda: others_of(MigrationTask.objects.get(pk=self._task_id)))
