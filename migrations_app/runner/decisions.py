"""What operators decide about single tables and rows, as the engine's store tells it: requests, permissions, leaves."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from ..engine.conflicts import Permission, Use
from ..engine.drift import Leave, NewTable
from ..engine.failpoints import durable
from ..engine.ports import TableState
from ..engine.wording import Sentence
from ..models import Recopy
from ..services import work
from .recorder import Recorder


class Decisions:
    """This part of engine.ports.Store on our rows."""

    _recorder: Recorder
    _task_id: UUID

    def recopies(self, database: str) -> list[tuple[str, str]]:
        """See the port."""

        def read() -> list[tuple[str, str]]:
            rows = Recopy.objects.filter(task_id=self._task_id, database=database)
            return [(row.schema, row.name) for row in rows]

        return self._recorder.call(read)

    def recopied(self, database: str, schema: str, name: str) -> None:
        """See the port."""

        def write() -> None:
            Recopy.objects.filter(task_id=self._task_id, database=database, schema=schema, name=name).delete()

        with durable("store.decision", "recopied"):
            self._recorder.call(write)

    def permissions(self, database: str) -> list[Permission]:
        """See the port."""
        return self._recorder.call(lambda: work.permissions(self._task_id, database))

    def permission_used(self, permission: Permission, use: Use) -> None:
        """See the port."""
        with durable("store.decision", "permission"):
            self._recorder.call(lambda: work.permission_used(self._task_id, permission, use))

    def leaves(self, database: str) -> list[Leave]:
        """See the port."""
        return self._recorder.call(lambda: work.leaves(self._task_id, database))

    def leave_used(self, leave: Leave) -> None:
        """See the port."""
        with durable("store.decision", "leave"):
            self._recorder.call(lambda: work.leave_used(self._task_id, leave))

    def renamed(self, table: TableState, schema: str, name: str) -> None:
        """See the port."""
        with durable("store.decision", "renamed"):
            self._recorder.call(lambda: work.renamed(self._task_id, table, schema, name))

    def new_tables(self, database: str, found: Sequence[NewTable]) -> list[NewTable]:
        """See the port."""
        with durable("store.decision", "found"):
            return self._recorder.call(lambda: work.new_tables_found(self._task_id, database, found))

    def additions(self, database: str) -> list[NewTable]:
        """See the port."""
        return self._recorder.call(lambda: work.additions(self._task_id, database))

    def added(self, database: str, table: NewTable) -> None:
        """See the port."""
        with durable("store.decision", "added"):
            self._recorder.call(lambda: work.added(self._task_id, database, table))

    def not_added(self, database: str, table: NewTable, why: Sentence) -> None:
        """See the port."""
        with durable("store.decision", "not added"):
            self._recorder.call(lambda: work.not_added(self._task_id, database, table, why))
