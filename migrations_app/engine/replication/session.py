"""One running sync of one database: connects both ends, proves that they still fit together, and moves the target
forward, either for as long as wished or to an exact position.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType

import psycopg

from ..conflicts import Permission
from ..connect import Connection, codec_of, end_older_sessions, translate
from ..drift import Leave
from ..encodings import stream_encoding
from ..errors import ConflictError, EngineError, SchemaChanged, SourceError
from ..failover import require_not_set_back, require_promoted
from ..layout_parts import Parts
from ..lsn import before_page_header
from ..mapping import renaming_of
from ..native import native_zone, open_source
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import DatabaseState, TableState
from ..row_sizes import is_too_large, refused_in_stream
from ..slots import end_own_reader, readers_of
from ..wording import say
from . import bookmark
from .apply import Applier
from .behind import known_before
from .continuing import require_same_server
from .explained import slot_is_read
from .failures import as_they_are
from .intake import Intake
from .lag import SourceWatch, read_slot, require_slot
from .listed import require_listed, require_published
from .names_followed import TableRenamed, follow
from .older import newer_form
from .pipeline import Pipeline
from .prepare import prepare_target, take_for_changes
from .receiving import SpooledStream
from .relations import NotBinary, Relations
from .reshaping import Reshaping
from .sender_settings import sender_settings
from .stream import SlotBusy, Stream, open_stream
from .taking import Taking
from .target_reader import target_reader
from .transaction import Transaction
from .translated import Translated

_LITTLE_BYTES = 32 << 10
_GATHER_MILLISECONDS = 2
_IDLE_SECONDS = 0.1
_PING_SECONDS, _STOP_SECONDS = 0.2, 0.02
_BUSY_SECONDS = 15.0
_BINARY_SINCE = 140000

_text_only: set[str] = set()  # slots of this process whose stream met a type that does not travel in binary form


class SyncSession:
    """Use as a context manager; `advance` any number of times. One thread.

    Entering it takes the bookmark for the run's epoch, which shuts out every older worker. Raises EngineError on any
    failure, and what `check` raises when the run must stop; the position on the target is then the last committed one.
    """

    _compares_publication = True

    def __init__(self, run: Run, database: DatabasePlan, check: Callable[[], None] | None = None) -> None:
        self._run = run
        self._database = database
        self._check = check or run.ports.control.check
        self._exit = contextlib.ExitStack()
        self._pinged_at = self._stop_asked_at = 0.0
        self._table_states: list[TableState] | None = None
        self._target: Connection | None = None  # between the claim and its first change
        self.watch: SourceWatch
        self._stream: Stream | Translated | SpooledStream
        self._applying: Connection
        self._applier: Applier
        self._intake: Intake
        self._watermark: Callable[[int], int | None] = lambda _: None  # until there is somebody who skips changes

    def __enter__(self) -> SyncSession:
        with contextlib.ExitStack() as stack:
            stack.callback(self._close_target)
            self._connect(stack)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def abandon(self) -> None:
        """Give back the target's locks after `advance` has failed: they hold up whoever waits. Idempotent.

        Whatever was not committed is rolled back; nothing but closing is left to do with the session.
        """
        self._applying.close()

    @property
    def position(self) -> int:
        """The durable position: everything that committed on the source before it is on the target for good."""
        return self._applier.durable

    @property
    def reached(self) -> int:
        """Everything that committed on the source before it has been taken; not all of it need be durable yet."""
        return self._applier.end

    @property
    def rows_applied(self) -> int:
        """Changes that this session has brought to the target for good."""
        return self._applier.rows_applied

    @property
    def lag_bytes(self) -> int:
        """WAL bytes of the source, at the last look, that are not committed on the target yet."""
        return self.watch.lag_bytes(self._applier.waits.reached)

    @property
    def lag_seconds(self) -> float:
        """Seconds behind the source, by its own clock."""
        waits = self._applier.waits
        return self.watch.lag_seconds(waits.reached, waits.since)

    def advance(self, *, until: int | None = None, stop: Callable[[], bool] | None = None) -> int:
        """Apply source transactions in commit order; return the durable position.

        `until`: take every transaction that commits before this LSN, nothing later; return as soon as that is known.
        `stop`: return at an end of a transaction soon after it says True. With neither it runs until an error.
        """
        goal = None if until is None else before_page_header(until)
        asked = None if stop is None else lambda: self._asked(stop)
        try:
            while not self._goal_reached(goal) and not self._stop_wanted(stop):
                if self._intake.work(goal, asked):
                    break
                self._check()
                self._intake.feed(self._take() or self._rest(goal))
            return self._applier.settle()
        except NotBinary:
            _text_only.add(self._stream.slot)
            raise
        except TableRenamed as found:
            self.abandon()
            follow(self._run, self._database, found)
            raise
        except EngineError as error:
            self._check()  # a session that was cut because the run must stop fails like any other
            self._place(error)
            if isinstance(error, SourceError) and is_too_large(error):
                raise refused_in_stream(self._run, self._database, error) from error
            require_published(self._run, self._database, self.watch, error)
            raise

    def _place(self, error: EngineError) -> None:
        """Add to a conflict the database that it is in, to a changed table its place in the stream as well."""
        if isinstance(error, ConflictError) and error.conflict:
            error.conflict = replace(error.conflict, database=self._database.source_name)
        if isinstance(error, SchemaChanged) and error.drift:
            lsn = error.drift.lsn or self._applier.final
            error.drift = replace(error.drift, database=self._database.source_name, lsn=lsn)

    def _goal_reached(self, goal: int | None) -> bool:
        return goal is not None and not self._applier.in_transaction and self._applier.end >= goal

    def _stop_wanted(self, stop: Callable[[], bool] | None) -> bool:
        return not (stop is None or self._applier.in_transaction or self._stream.midway) and self._asked(stop)

    def _asked(self, stop: Callable[[], bool]) -> bool:
        now = time.monotonic()
        if now - self._stop_asked_at < _STOP_SECONDS:
            return False
        self._stop_asked_at = now
        return stop()

    def _take(self) -> bytes:
        data = self._stream.take(0)
        if len(data) >= _LITTLE_BYTES or not self._applier.busy:
            return data
        self._applier.wait(milliseconds=_GATHER_MILLISECONDS)  # the source sends each change alone: let a few gather
        return data + self._stream.take(0)

    def _rest(self, goal: int | None) -> bytes:
        """Nothing has arrived: commit, confirm, ask the source how far it is, and wait a moment."""
        self.watch.check()
        self._applier.idle(urgent=self._intake.urgent)
        if self._applier.busy:  # whoever answers first is served first
            self._applier.wait(self._stream.descriptor)
            return self._stream.take(0)
        self._intake.urgent = False
        now = time.monotonic()
        behind = goal if goal is not None else self.watch.insert_lsn
        if self._applier.end < behind and now - self._pinged_at >= _PING_SECONDS:
            self._pinged_at = now
            self._stream.ping()
        return self._stream.take(_IDLE_SECONDS)

    def _connect(self, stack: contextlib.ExitStack) -> None:
        position = self._claim()
        state = self._run.ports.store.database(self._database.source_name)
        with self._speaking_to(Side.SOURCE):
            ordinary, encoding = self._watch_source(stack, state)
            binary = self._travels_binary(state)
            stream = self._stream = self._start_stream(state, ordinary, position, encoding, binary=binary)
            stack.callback(stream.close)
        codec = self._open_target(stack, state, position, encoding, binary=binary)
        with self._speaking_to(Side.SOURCE):
            self._stream = self._translated(stack, stream, state, ordinary, codec)
        self._intake = Intake(self._applier, self._stream)
        self.watch.look()
        self.watch.start()

    def _claim(self) -> int:
        """Shut out older workers on the target, make it ready, and return its position.

        The session that does so applies the changes afterwards: slices are short, and a login is a good part of one.
        """
        plan = self._run.plan
        self._close_target()
        with self._speaking_to(Side.TARGET):
            setup = self._target = self._run.sessions.open(Side.TARGET, self._database.target_name)
            end_older_sessions(setup, plan.key, plan.epoch)
            self._run.sessions.end_orphans(setup)  # of this epoch: one may have the bookmark's row, and change tables
            self._table_states = None  # a spooled one may have tried for long
            prepare_target(self._run, self._database, setup, self.tables())
            return bookmark.claim(setup, plan.key, plan.epoch)

    def _close_target(self) -> None:
        if self._target is not None:
            self._target.close()
            self._target = None

    def _watch_source(self, stack: contextlib.ExitStack, state: DatabaseState) -> tuple[Connection, str]:
        """Open the session beside the stream; return it, and the source's encoding."""
        ordinary = stack.enter_context(contextlib.closing(open_source(self._run, self._database)))
        require_promoted(ordinary)
        self.watch = SourceWatch(ordinary, state.slot, self._run.ports.store, self._check, known_before(state))
        stack.callback(self.watch.close)
        end_older_sessions(ordinary, self._run.plan.key, self._run.plan.epoch)
        return ordinary, stream_encoding(ordinary)

    def _open_target(
        self, stack: contextlib.ExitStack, state: DatabaseState, position: int, encoding: str, *, binary: bool
    ) -> str:
        """Make the session of `_claim` ready to apply; return its codec."""
        assert self._target is not None  # noqa: S101 - for the type checker
        with self._speaking_to(Side.TARGET):
            applying, self._target = self._target, None
            self._applying = applying
            stack.callback(applying.close)
            zone = native_zone(self._run, self._database, applying)
            take_for_changes(applying, state, encoding, zone)
            self._applier = self._make_applier(state, applying, position, binary=binary)
            return codec_of(applying)

    @contextlib.contextmanager
    def _speaking_to(self, side: Side) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self._check()
            doing = say("starting the sync of {source_name}", source_name=self._database.source_name)
            raise translate(error, side, doing) from error

    def _travels_binary(self, state: DatabaseState) -> bool:
        """Say whether values come in binary form, which saves both servers most of the work on them.

        Only between versions that know it, and when every type of every table is one whose form means the same
        anywhere.
        """
        versions = [self._run.sessions.version(side) for side in (Side.SOURCE, Side.TARGET)]
        if min(versions) < _BINARY_SINCE or state.slot in _text_only:
            return False
        return self.watch.travels_binary([table.oid for table in self.tables() if not table.set_aside], [])

    def _translated(
        self, stack: contextlib.ExitStack, stream: Stream, state: DatabaseState, ordinary: Connection, codec: str
    ) -> Stream | Translated:
        tables, mark = self.tables(), lambda oid: self._watermark(oid)
        return newer_form(stack, self._run.plan, tables, self.watch, stream, state, ordinary, codec, mark)

    def _start_stream(
        self, state: DatabaseState, ordinary: Connection, position: int, encoding: str, *, binary: bool
    ) -> Stream:
        sessions = self._run.sessions
        name, settings = self._database.source_name, sender_settings(ordinary)
        connection = sessions.open(Side.SOURCE, name, autocommit=True, replication=True, encoding=encoding, **settings)
        with contextlib.ExitStack() as failed:
            failed.callback(connection.close)
            require_same_server(self._run.ports.store, self.tables(), connection, ordinary, state, position)
            require_slot(require_not_set_back(ordinary, self.tables(), state, position), state.slot, position)
            if state.publication:
                compares = self._compares_publication
                if require_listed(self._run, self._database, self.watch, state, self.tables(), compares=compares):
                    self._table_states = None
            stream = self._stream_when_free(connection, ordinary, state, position, binary=binary)
            failed.callback(stream.close)
            # Whoever read the slot until a moment ago may have taken changes out of it; from now on nobody can.
            require_slot(read_slot(ordinary, state.slot), state.slot, position)
            failed.pop_all()
        return stream

    def _stream_when_free(
        self, connection: Connection, ordinary: Connection, state: DatabaseState, position: int, *, binary: bool
    ) -> Stream:
        deadline, pause = time.monotonic() + _BUSY_SECONDS, 0.02
        while True:
            try:
                return open_stream(
                    connection, state.slot, state.publication, position, binary=binary, check=self._check
                )
            except SlotBusy as error:
                self._check()
                pid = next(iter(readers_of(ordinary, state.slot)[1]), None)
                ours = pid is None or end_own_reader(ordinary, self._run.plan.key, pid)
                if time.monotonic() > deadline:
                    raise slot_is_read(state.slot, pid, ours=ours) from error
                self._run.ports.control.sleep(pause)
                pause = min(pause * 2, 1.0)

    def mark(self, oid: int, watermark: int) -> None:
        """Skip changes of a table that commit before another LSN. Only while nobody advances the session."""
        self._relations.mark(oid, watermark)
        self._applier.remarked()

    @property
    def _mark(self) -> str:
        """The name of the bookmark's row."""
        return self._run.plan.key

    def tables(self) -> list[TableState]:
        """Return the task's tables as they were when the session was opened: there may be very many, read once."""
        if self._table_states is None:
            self._table_states = self._read_tables()
        return self._table_states

    def _read_tables(self) -> list[TableState]:
        return self._run.ports.store.tables(self._database.source_name)

    def _permissions(self) -> list[Permission]:
        return self._run.ports.store.permissions(self._database.source_name)

    def _leaves(self) -> list[Leave]:
        return self._run.ports.store.leaves(self._database.source_name)

    def _moves(self, lineage: Sequence[tuple[str, str]]) -> bool:
        """Say whether a table that the task does not know is its business; `lineage`: it, and those above it."""
        return self._run.plan.selection.mode_of(self._database.source_name, *lineage) == "data"

    def _make_applier(self, state: DatabaseState, connection: Connection, position: int, *, binary: bool) -> Applier:
        plan, tables, pipeline = self._run.plan, self.tables(), Pipeline(connection, self._check)
        texts = self.watch.texts if binary else as_they_are
        store, acknowledge = self._run.ports.store, self._stream.acknowledge
        taking = Taking(self._permissions(), store.permission_used, texts, position=position)
        shapes = Reshaping(self._run, self._database, self._leaves(), self.watch.place, position=position)

        def on_durable(end: int) -> None:
            taking.durable(end)
            shapes.durable(end)
            acknowledge(end)

        relations = self._relations = Relations(
            tables,
            self._moves,
            self.watch,
            target_reader(pipeline),
            shapes,
            renaming_of(self._run, self._database),
            binary=binary,
            parts=Parts(self._run, self._database),
        )
        self._watermark = relations.watermark
        transaction = Transaction(
            pipeline,
            task=self._mark,
            epoch=plan.epoch,
            position=position,
            defer_constraints=not state.replica_role,
            on_durable=on_durable,
        )
        return Applier(
            pipeline,
            relations,
            transaction,
            encoding=pipeline.encoding,
            binary=binary,
            check=self._check,
            texts=texts,
            taking=taking,
            shapes=shapes,
        )
