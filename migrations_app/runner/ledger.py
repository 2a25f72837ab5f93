"""The engine's ledger on our rows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.utils import timezone

from ..engine.failpoints import durable
from ..engine.plan import Side
from ..engine.ports import Kind, LedgerItem
from ..models import LedgerEntry
from ..services import work
from .recorder import Recorder

_AT_ONCE = 500


class OrmLedger:
    """engine.ports.Ledger on LedgerEntry rows."""

    def __init__(self, claim: work.Claim, recorder: Recorder) -> None:
        self._task_id, self._recorder = UUID(claim.task_id), recorder

    def _open(self) -> Any:
        return LedgerEntry.objects.filter(task_id=self._task_id, removed_at=None)

    def intend(self, *items: LedgerItem) -> None:
        """See the port."""

        def write() -> None:
            LedgerEntry.objects.bulk_create(
                [
                    LedgerEntry(
                        task_id=self._task_id,
                        side=item.side,
                        database=item.database,
                        kind=item.kind,
                        schema=item.schema,
                        name=item.name,
                        detail=item.detail,
                    )
                    for item in items
                ],
                ignore_conflicts=True,
                batch_size=_AT_ONCE,
            )

        if items:
            with durable("ledger.intend", items[0].kind):
                self._recorder.call(write)

    def removed(self, *items: LedgerItem) -> None:
        """See the port."""

        def write() -> None:
            now, keys = timezone.now(), {(i.side, i.database, i.kind, i.schema, i.name) for i in items}
            named = self._open().filter(database__in={item.database for item in items})
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
            for row in self._open().filter(database__in={item.database for item in items}):
                key = (row.side, row.database, row.kind, row.schema, row.name)
                if key in details:
                    row.detail = details[key]
                    rows.append(row)
            LedgerEntry.objects.bulk_update(rows, ["detail"], batch_size=_AT_ONCE)

        if items:
            with durable("ledger.amend", items[0].kind):
                self._recorder.call(write)

    def items(self, side: Side | None = None, database: str | None = None) -> list[LedgerItem]:
        """See the port."""

        def read() -> list[LedgerItem]:
            rows = self._open().order_by("id").values_list("side", "database", "kind", "schema", "name", "detail")
            if side is not None:
                rows = rows.filter(side=side)
            if database is not None:
                rows = rows.filter(database=database)
            return [
                LedgerItem(side=Side(where), database=base, kind=Kind(kind), schema=schema, name=name, detail=detail)
                for where, base, kind, schema, name, detail in rows
            ]

        return self._recorder.call(read)
