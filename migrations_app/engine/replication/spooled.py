"""A sync whose changes go through a spool on the worker's disk, and the choice between it and an ordinary one.

While changes are received the source comes first: it is relieved also when the target does not answer at all.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

from ..connect import Connection, codec_of
from ..errors import EngineError
from ..lsn import format_lsn
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import DatabaseState, Kind, LedgerItem, SpoolState
from ..versions import decodes_truncate
from ..wording import say
from .intake import Intake
from .lag import SlotState, read_slot, require_slot
from .receiving import ROOM_BYTES, Receiver, SpooledStream, SpoolTurn
from .session import SyncSession
from .spool import Limits, Spool, gone
from .stream import Stream
from .translated import Translated

_AGAIN_SECONDS = 2.0
_RELIEF_SECONDS = 5.0
_LOOK_SECONDS = 1.0


def open_session(run: Run, database: DatabasePlan, check: Callable[[], None] | None = None) -> SyncSession:
    """Return the sync of a database as it has to be opened now: through a spool where that is wanted or holds changes.

    Whoever goes on for long asks `turned` now and then whether it has to be opened anew.
    """
    receive = run.ports.control.spool_wanted() and spool_of(run, database).has_room(_worth_bytes(run))
    if receive or run.ports.store.spool(database.source_name) is not None:
        return SpooledSession(run, database, check, receive=receive)
    return SyncSession(run, database, check)


def spool_of(run: Run, database: DatabasePlan) -> Spool:
    """Return the spool of a database on this machine, before anything of it was read."""
    state, plan = run.ports.store.database(database.source_name), run.plan
    return Spool(
        plan.work_dir / "spool" / (state.slot or "none"),
        slot=state.slot,
        system_id=state.system_id,
        limits=Limits(plan.spool_bytes, plan.spool_free_bytes),
    )


def may_begin(run: Run, database: DatabasePlan) -> bool:
    """Say whether changes can be received beside the copy: there is a slot, and room that is worth it."""
    known = run.ports.store.database(database.source_name).consistent_point is not None
    return known and spool_of(run, database).has_room(_worth_bytes(run))


def _worth_bytes(run: Run) -> int:
    """Return how much room there has to be before receiving begins: well more than where it ends, or both would
    follow each other for ever."""
    return max(run.plan.spool_bytes // 5, 4 * ROOM_BYTES)


class Turns:
    """Says when a running sync has to be opened anew because changes are to go through the spool from now on."""

    def __init__(self, run: Run, database: DatabasePlan) -> None:
        self._run, self._database = run, database
        self._looked_at = 0.0

    def check(self, session: SyncSession | None) -> None:
        """Raise SpoolTurn then; cheap."""
        if not self._run.ports.control.spool_wanted() or session is None:
            return
        spooled = session if isinstance(session, SpooledSession) else None
        if spooled and spooled.receiving:
            return
        now = time.monotonic()
        if now - self._looked_at < _LOOK_SECONDS:
            return
        self._looked_at = now
        spool = spooled.spool if spooled else spool_of(self._run, self._database)
        if spool.has_room(_worth_bytes(self._run)):
            raise SpoolTurn

    def over(self, session: SyncSession) -> bool:
        """Say whether an ordinary sync can go on from the next commit of the source: all of the spool is applied."""
        return isinstance(session, SpooledSession) and session.drained


class SpooledSession(SyncSession):
    """A sync through a spool. `receive` False: what the spool holds is applied, and nothing is added to it.

    Use as `SyncSession`. Raises SlotLost (SPOOL-GONE) when changes that the source has forgotten are not in the spool,
    WorkerFull when this machine's disk is, and SpoolTurn when the session has to be opened anew.
    """

    def __init__(
        self, run: Run, database: DatabasePlan, check: Callable[[], None] | None = None, *, receive: bool
    ) -> None:
        super().__init__(run, database, check)
        self._outer_check, self._check = self._check, self._check_both
        self._receive = receive
        self._known = run.ports.store.spool(database.source_name)
        self.spool = spool_of(run, database)
        self._spooled: SpooledStream | None = None
        self._receiver: Receiver | None = None
        self._encoding = "UTF8"
        self._slot: SlotState
        self._told_at = 0.0
        self._shown = 0
        self._told_full = False

    @property
    def receiving(self) -> bool:
        """Whether changes go into the spool."""
        return self._receiver is not None and self._receiver.running

    @property
    def drained(self) -> bool:
        """Whether nothing is received into the spool any more, and all of it is on the target for good."""
        return self._spooled is not None and self._spooled.live and self.position >= self.spool.reached

    @property
    def _confirmed(self) -> int:
        """What the source has forgotten, when the session was opened."""
        return self._slot.confirmed or 0

    def _check_both(self) -> None:
        self._run.ports.control.check()
        if self._receiver is not None:
            self._receiver.check()  # before anybody opens the stream anew, only to meet the same again
        self._outer_check()

    def _connect(self, stack: contextlib.ExitStack) -> None:
        state = self._run.ports.store.database(self._database.source_name)
        if self._receive:
            self._begin_receiving(stack, state)
            position = self._reach_target(stack, state)
        else:
            position = self._claim()
            if not self._begin_reading(stack, state, position):
                super()._connect(stack)
                return
            self._open_target(stack, state, position, self._encoding, binary=False)
        assert self._spooled is not None  # noqa: S101 - for the type checker
        self._require(position)
        self._spooled.begin(position, self._tell_now_and_then)
        self._intake = Intake(self._applier, self._spooled)
        if self._receiver is None:
            self.watch.look()
            self.watch.start()

    def _begin_receiving(self, stack: contextlib.ExitStack, state: DatabaseState) -> None:
        """Receive from where the spool ends. Files are read once nobody else confirms anything to the source."""
        with self._speaking_to(Side.SOURCE):
            ordinary, self._encoding = self._watch_source(stack, state)
            self.spool.recover(self._check)
            self._slot = read_slot(ordinary, state.slot)
            begins = self.spool.ends
            if begins is None or begins < self._confirmed:
                begins = max(self._confirmed, state.bookmark or 0)
            stream = self._open_stream(stack, state, ordinary, begins)
            self._note_spool(begins)
            self._receiver = Receiver(
                stream,
                self.spool,
                begins,
                self._run.plan.epoch,
                wanted=self._run.ports.control.spool_wanted,
                tell=self._tell,
            )
            self._stream = self._spooled = SpooledStream(stream, self.spool, self._receiver)
            stack.callback(self._spooled.close)
            self._receiver.start()
            self.watch.look()
            self.watch.start()

    def _begin_reading(self, stack: contextlib.ExitStack, state: DatabaseState, position: int) -> bool:
        """Open the stream behind the spool. False: the target has all that it holds, and it is gone now."""
        with self._speaking_to(Side.SOURCE), contextlib.ExitStack() as opening:
            ordinary, self._encoding = self._watch_source(opening, state)
            self.spool.recover(self._check)
            self._slot = read_slot(ordinary, state.slot)
            ends = self.spool.ends
            if ends is None or ends <= position:
                self._require(position)
                self._forget_spool()
                return False
            stream = self._open_stream(opening, state, ordinary, max(ends, self._confirmed))
            self._stream = self._spooled = SpooledStream(stream, self.spool, None)
            opening.callback(self._spooled.close)
            stack.enter_context(opening.pop_all())
        return True

    def _open_stream(
        self, stack: contextlib.ExitStack, state: DatabaseState, ordinary: Connection, begins: int
    ) -> Stream | Translated:
        """Open the stream with all values as text: what is kept may be applied by any session later."""
        stream = self._start_stream(state, ordinary, begins, self._encoding, binary=False)
        stack.callback(stream.close)
        if decodes_truncate(ordinary.info.server_version):
            return stream
        name = self._database.source_name
        with contextlib.closing(self._run.sessions.open(Side.SOURCE, name, encoding=self._encoding)) as one:
            codec = codec_of(one)
        return self._translated(stack, stream, state, ordinary, codec)

    def _require(self, position: int) -> None:
        """Raise SlotLost when the target lacks something that neither the spool nor the source has."""
        if self._known is None:
            require_slot(self._slot, self.spool.folder.name, position)
        ends = self.spool.ends
        begins = self.spool.begins if ends is not None and ends >= self._confirmed else self._confirmed
        if begins is not None and begins > position:
            raise gone(position, begins, self.spool.folder, self._known.host if self._known else "")

    def _reach_target(self, stack: contextlib.ExitStack, state: DatabaseState) -> int:
        """Open the target, however long that takes, as long as changes are received and nobody waits for the worker."""
        told, began = False, time.monotonic()
        while True:
            try:
                position = self._claim()
                self._open_target(stack, state, position, self._encoding, binary=False)
                return position
            except EngineError as error:
                self._check()
                relieved = time.monotonic() - began >= _RELIEF_SECONDS
                if not error.retryable or not self.receiving or (relieved and self._run.ports.control.should_yield()):
                    raise
                if not told:
                    told = True
                    text = say(
                        "The target cannot be reached; changes go into the spool meanwhile. {why}", why=error.message
                    )
                    self._run.ports.store.event("warning", "SPOOL-HOLDS", text)
            self._run.ports.control.sleep(_AGAIN_SECONDS)

    # What is told

    def _item(self) -> LedgerItem:
        folder = self.spool.folder
        return LedgerItem(
            side=Side.SOURCE, database=self._database.source_name, kind=Kind.FILE, name=f"spool/{folder.name}"
        )

    def _note_spool(self, begins: int) -> None:
        """Record where changes are from now on, before the source is told that it may forget any."""
        self._run.ports.ledger.intend(self._item())
        if self._known is None or self.spool.empty:
            text = say(
                "The WAL budget is reached: changes are received into the spool at {folder} from {position} on, so "
                "that the source need not keep them.",
                folder=str(self.spool.folder),
                position=format_lsn(begins),
            )
            self._run.ports.store.event("warning", "SPOOL-BEGUN", text)
        ends = self.spool.ends or begins
        self._save(SpoolState(ends=ends, size=self.spool.size))

    def _save(self, state: SpoolState | None) -> None:
        self._run.ports.store.save_spool(self._database.source_name, state)

    def _forget_spool(self) -> None:
        self.spool.remove()
        self._run.ports.ledger.removed(self._item())
        self._save(None)
        if self._known is not None:
            text = say("Everything in the spool is on the target; the sync takes changes from the source again.")
            self._run.ports.store.event("info", "SPOOL-DRAINED", text)

    def _tell_now_and_then(self) -> None:
        """Tell how far it is while nothing is received, which would tell it."""
        if self._receiver is None or not self._receiver.running:
            now = time.monotonic()
            if now - self._told_at >= _LOOK_SECONDS:
                self._told_at = now
                self._tell()

    def _tell(self) -> None:
        ends = self.spool.ends
        if ends is None:
            return
        self._save(SpoolState(ends=ends, size=self.spool.size))
        if self._receiver is not None and self._receiver.full and not self._told_full:
            self._told_full = True
            text = say("The spool has no more room: the source keeps what comes now, until the spool has been applied.")
            self._run.ports.store.event("warning", "SPOOL-FULL", text)
        self._show_lag()

    def _show_lag(self) -> None:
        """Show how far behind the target is while it stands still: nobody else does then."""
        store = self._run.ports.store
        state = store.database(self._database.source_name)
        position = state.bookmark or 0
        if position != self._shown:
            self._shown = position
            return
        lag_bytes, lag_seconds = self.watch.lag_bytes(position), self.watch.lag_seconds(position, None)
        near = lag_bytes <= self._run.plan.ready_lag_bytes and lag_seconds <= self._run.plan.ready_lag_seconds
        if not near:
            store.save_database(replace(state, lag_bytes=lag_bytes, lag_seconds=lag_seconds, in_sync=False))
