"""The changes of one table alone, from a place of its own up to where the sync of its database stands.

A table that is copied once more is left out of the main stream meanwhile. What is written to it after its new snapshot
comes through a second, temporary slot, whose snapshot that was, until both are at the same place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..conflicts import Permission
from ..connect import Connection, codec_of
from ..drift import Leave
from ..encodings import stream_encoding
from ..errors import ConflictError, EngineError, SchemaChanged
from ..layout_parts import Parts
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import NEVER, TableState
from ..wording import say
from . import bookmark
from .continuing import require_publication
from .intake import Intake
from .lag import SourceWatch
from .prepare import open_for_changes
from .session import SyncSession
from .stream import open_stream


class TableSession(SyncSession):
    """A sync of one table. Use as `SyncSession`; it keeps a bookmark of its own, which is gone when it is left."""

    def __init__(
        self,
        run: Run,
        database: DatabasePlan,
        table: TableState,
        *,
        slot: str,
        connection: Connection,
        check: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(run, database, check)
        self._table, self._slot, self._replication = table, slot, connection

    @property
    def _mark(self) -> str:
        return f"{self._run.plan.key}/{self._table.oid}"

    def _read_tables(self) -> list[TableState]:
        known = self._run.ports.store.tables(self._database.source_name)
        return [self._table if one.oid == self._table.oid else replace(one, watermark=NEVER) for one in known]

    def _connect(self, stack: contextlib.ExitStack) -> None:
        sessions, epoch = self._run.sessions, self._run.plan.epoch
        position = self._table.watermark or 0
        with self._speaking_to(Side.TARGET):
            setup = stack.enter_context(sessions.session(Side.TARGET, self._database.target_name))
            bookmark.reset(setup, self._mark, position, epoch)
            stack.callback(self._forget)
        state = replace(self._run.ports.store.database(self._database.source_name), slot=self._slot)
        with self._speaking_to(Side.SOURCE):
            ordinary = sessions.open(Side.SOURCE, self._database.source_name)
            self.watch = SourceWatch(ordinary, self._slot, self._run.ports.store, self._check)
            stack.callback(self.watch.close)
            encoding = stream_encoding(self._replication)
            if state.publication:
                parts = Parts(self._run, self._database)
                require_publication(None, self.watch, state, self.tables(), parts)
            self._stream = open_stream(self._replication, self._slot, state.publication, position, check=self._check)
            stack.callback(self._stream.close)
        with self._speaking_to(Side.TARGET):
            applying = self._applying = open_for_changes(self._run, self._database, state, encoding)
            stack.callback(applying.close)
            self._applier = self._make_applier(state, applying, position, binary=False)
            codec = codec_of(applying)
        with self._speaking_to(Side.SOURCE):
            self._stream = self._translated(stack, self._stream, state, ordinary, codec)
        self._intake = Intake(self._applier, self._stream)
        self.watch.look()
        self.watch.start()

    def _moves(self, lineage: Sequence[tuple[str, str]]) -> bool:
        """Leave every table that is new to the main stream, or both would make it and apply its rows."""
        return (self._table.schema, self._table.name) in lineage and super()._moves(lineage)

    def _permissions(self) -> list[Permission]:
        return []  # its rows were copied after whatever they are for

    def _leaves(self) -> list[Leave]:
        return []  # its columns were those of the source when it was copied

    def _place(self, error: EngineError) -> None:
        """Leave no choice: the table is copied again in any case."""
        if isinstance(error, ConflictError):
            error.conflict = None
        if isinstance(error, SchemaChanged) and error.drift:
            error.drift = None
            error.hint = say("Press Retry: the table is copied again with the columns that it has now.")

    def _forget(self) -> None:
        with self._run.sessions.session(Side.TARGET, self._database.target_name) as connection:
            bookmark.forget(connection, self._mark)
