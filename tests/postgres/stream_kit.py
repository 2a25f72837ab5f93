"""Plays random streams of changes against two real servers, settles what the sync asks as an operator would, and
compares in the end.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import names
from migrations_app.engine.errors import EngineError, SchemaChanged, SourceStumbled, TargetError
from migrations_app.engine.executor import Executor
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.ports import Kind, LedgerItem
from migrations_app.engine.replication import session as sessions
from migrations_app.engine.replication.polling import Poll
from migrations_app.engine.replication.session import SyncSession
from migrations_app.engine.selection import Selection
from tests.comparator import differences
from tests.fakes import FakeControl, fake_ports, wait_until
from tests.faults.proxy import Cut, FaultProxy, Way, When
from tests.postgres.batches_kit import small_batches
from tests.postgres.random_streams import Stream, Work
from tests.postgres.stream_model import Model, rendered
from tests.postgres.stream_operator import Operator
from tests.postgres.stream_record import Record, Step
from tests.postgres.sync_kit import Pair
from tests.postgres.undecodable import refuses_its_log

_TRIES = 30
_REFUSED = (
    psycopg.errors.IntegrityError,
    psycopg.errors.ObjectNotInPrerequisiteState,  # a change of a row that nothing tells from others
    psycopg.errors.UnsafeNewEnumValueUsage,
    psycopg.errors.FeatureNotSupported,  # emptying what a foreign key points to
    psycopg.errors.ObjectInUse,  # events of a deferred constraint wait for the commit
    psycopg.errors.DataError,
    psycopg.errors.InvalidTableDefinition,
    psycopg.errors.DatatypeMismatch,  # a table that is to be a partition has other columns
)
_TRIED_AGAIN = frozenset({"RUN-RETRY", "CONNECT-FAILED", "NOT-POSTGRES", "SRC-SLOTBUSY"})
"""What a line that is cut, in a login too, and a session that is ended come to."""
_WITHIN_STEPS = 12
"""So many times more often than in the sync the engine asks, while it copies, whether it has to stop."""


class Died(BaseException):
    """Stands for the end of the worker."""


class Undecodable(Exception):
    """The source cannot read its own log any more (`tests.postgres.undecodable`): nothing can follow it further."""


class Watched(FakeControl):
    """A control that tells whenever it is asked."""

    asked: Callable[[], None] | None = None

    def check(self) -> None:
        super().check()
        if self.asked:
            self.asked()


class RoutedPair(Pair):
    """A pair whose sessions all pass through proxies."""

    proxies: dict[str, FaultProxy]
    work_dir: Path
    watched: Watched

    def plan(self, **more: Any) -> Plan:
        """Return the plan of the next run."""
        plan = super().plan(**more)
        return replace(
            plan,
            source=replace(plan.source, port=self.proxies["source"].port),
            target=replace(plan.target, port=self.proxies["target"].port),
            work_dir=self.work_dir,
        )


@dataclass
class Stage:
    """Two databases, and proxies in front of their servers, for one stream after the other."""

    source: Cluster
    target: Cluster
    source_db: str
    target_db: str
    proxies: dict[str, FaultProxy]
    work_dir: Path

    @contextlib.contextmanager
    def play(self, options: Sequence[str]) -> Iterator[Player]:
        """Yield a player of an empty stage; everything that it made is gone afterwards."""
        for cluster, name in ((self.source, self.source_db), (self.target, self.target_db)):
            with cluster.connect(name) as connection:
                connection.execute("DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public")
        follow, watched = "additions" if "additions" in options else "ask", Watched()
        pair = RoutedPair(
            self.source,
            self.target,
            self.source_db,
            self.target_db,
            key=secrets.token_hex(4),
            ports=replace(fake_ports(), control=watched),
            selection=replace(Selection.everything(), follow=follow),
        )
        pair.proxies, pair.work_dir, pair.watched = self.proxies, self.work_dir, watched
        with pytest.MonkeyPatch.context() as patch:
            if "text" in options:
                patch.setattr(sessions, "_BINARY_SINCE", 10**9)
            if "small" in options:
                small_batches(patch)
            player = Player(pair, copy_again="copy-again" in options, ignore="ignore" in options)
            player.record.options = set(options)
            try:
                yield player
            finally:
                player.close()
                self._clear(pair)

    def _clear(self, pair: Pair) -> None:
        def dropped() -> bool:
            try:
                pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
            except psycopg.errors.ObjectInUse:
                pair.at_source(
                    f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                    f" WHERE slot_name = '{pair.state.slot}' AND active"
                )
                return False
            return True

        if pair.state.slot:
            wait_until(dropped, what="the slot being free")
            pair.at_source(f"DROP PUBLICATION IF EXISTS {names.quote(pair.state.publication)}")


class Player:
    """Plays one stream. `record` is what was really done."""

    def __init__(self, pair: RoutedPair, *, copy_again: bool, ignore: bool) -> None:
        self.pair = pair
        self.operator = Operator(pair, copy_again=copy_again, ignore=ignore)
        pair.watched.asked = self._check
        self.record = Record()
        self.faults = 0
        self._open = contextlib.ExitStack()
        self._session: SyncSession | None = None
        self._run: Run | None = None
        self._moments = 0
        self._fault: Callable[[], None] | None = None
        self._stopped = False
        self._main = threading.get_ident()

    def close(self) -> None:
        """End the session, if there is one."""
        self._session = None
        self._open.close()

    def set_up(self, statements: Sequence[str]) -> None:
        """Make the tables on both sides, then slot and publication."""
        self.record.setup = list(statements)
        pair = self.pair
        pair.build("; ".join(statements))
        places = pair.value(
            "SELECT array_agg(relname::text) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p')"
        )
        pair.ledger.intend(
            *(
                LedgerItem(side=Side.TARGET, database=pair.target_db, kind=Kind.TABLE, schema="public", name=name)
                for name in places
            )
        )

    def whole(self, stream: Stream) -> None:
        """Play a stream from beginning to end, and compare."""
        self.set_up(Model(stream.shapes).setup())
        self.through(stream)
        self.finish()

    def through(self, stream: Stream) -> None:
        """Play the steps of a stream whose tables are there; the target need not have everything when this returns."""
        model = Model(stream.shapes)
        for step in stream.steps:
            if isinstance(step, Work):
                model = self._work(model, step)
            else:
                self._step(Step("follow", fault=f"{step.fault} {step.side} {step.at}" if step.fault else ""))
        self._step(Step("commit", tuple(model.last_rows())))

    def again(self, record: Record) -> None:
        """Play what was recorded, and compare."""
        self.set_up(record.setup)
        for step in record.steps:
            self._step(step)
        self.finish()

    def finish(self) -> None:
        """Let the target take everything, and hold it against the source row by row."""
        self._follow("")
        self.close()
        listed = self.pair.value(
            "SELECT array_agg(format('%I.%I', 'public', relname)) FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        )
        tables = [name for name in listed if not self.operator.is_left_out(name.removeprefix("public."))]
        pair = self.pair
        with pair.source.connect(pair.source_db) as source, pair.target.connect(pair.target_db) as target:
            found = differences(source, target, tables=tables)
            assert found == [], f"{found} after {[one[-160:] for one in self.operator.stops]}"

    # The application

    def _work(self, model: Model, work: Work) -> Model:
        """Run a transaction; what the source refuses in it is left out, and all of it is done again without."""
        left_out: set[int] = set()
        while True:
            attempt = model.copy()
            statements = rendered(attempt, work, left_out)
            refused = self._refused([statement for _, statement in statements], back=work.back)
            if refused is None:
                kept = tuple(statement for _, statement in statements)
                self.record.steps.append(Step("rollback" if work.back else "commit", kept))
                return model if work.back else attempt
            # a constraint that is looked at by the commit may be broken by any of them
            left_out.add([number for number, _ in statements[: refused + 1] if number not in left_out][-1])

    def _refused(self, statements: Sequence[str], *, back: bool) -> int | None:
        """Return which statement the source refused, None when it took them all."""
        done = 0
        with self.pair.source.connect(self.pair.source_db) as connection:
            try:
                with connection.transaction(force_rollback=back):
                    for statement in statements:
                        connection.execute(statement.encode())
                        done += 1
            except _REFUSED:
                return done
        return None

    def _step(self, step: Step) -> None:
        self.record.steps.append(step)
        if step.word == "follow":
            self._follow(step.fault)
            return
        refused = self._refused(step.statements, back=step.word == "rollback")
        assert refused is None, step.statements[refused : refused + 1] if refused is not None else ""

    # The sync

    def _follow(self, fault: str) -> None:
        """Bring the target to where the source is now, through one fault and whatever the sync stops for."""
        until = self.pair.insert_lsn()
        disarm = self._arm(fault)
        try:
            for _ in range(_TRIES):
                if self._advanced(until):
                    return
        finally:
            disarm()
        said = f"{self.operator.stops[-6:]} {dict(self.operator.answers)} {self.pair.store.events[-6:]}"
        raise AssertionError(f"the sync does not get on: {said}")

    def _advanced(self, until: int) -> bool:
        """Do what is asked for and go on to `until`; say whether nothing is left to do."""
        self._stopped = False
        store, database = self.pair.store, self.pair.source_db
        try:
            if store.recopies(database) or store.additions(database):
                self.close()
                self._copy()
            session = self._session or self._begin()
            session.advance(until=until, stop=self._stop)
            if not self._stopped:
                self._look(session)
                return not store.additions(database)
            self.close()
        except Died:
            self.close()
        except EngineError as error:
            self.close()
            self._after(error)
        return False

    def _after(self, error: EngineError) -> None:
        """Do what the operator does, if there is anything to do."""
        if isinstance(error, SchemaChanged):
            self.operator.settle(error)
        elif isinstance(error, TargetError) and not error.retryable:
            self.operator.mend(error)
        elif not error.retryable:
            raise error
        else:
            known = isinstance(error, SourceStumbled) or error.code in _TRIED_AGAIN
            assert known, f"{error.code}: {error.message}"
            if isinstance(error, SourceStumbled) and refuses_its_log(self.pair):
                raise Undecodable(error.message) from error
            self.operator.answers[f"tried again: {error.code}"] += 1

    def _copy(self) -> None:
        """Copy what is asked for, or new, while the sync of all others goes on."""
        self.pair.epoch += 1
        with Executor(self.pair.plan(), self.pair.ports) as executor:
            executor.recopy()

    def _look(self, session: SyncSession) -> None:
        """Look at the source as the sync does about twice a minute, and let somebody decide about what is new."""
        assert self._run is not None
        store, database = self.pair.store, self.pair.database
        state = store.database(database.source_name)
        store.save_database(Poll(self._run, database, session.watch, lambda: session.position).look(state, now=True))
        self.operator.decide()

    def _begin(self) -> SyncSession:
        stack = contextlib.ExitStack()
        with stack:
            self._run = stack.enter_context(self.pair.running())
            self._session = stack.enter_context(SyncSession(self._run, self.pair.database, self._check))
            self._open = stack.pop_all()
        return self._session

    # Faults

    def _arm(self, fault: str) -> Callable[[], None]:
        """Lay a fault; return what takes it away."""
        self._fault = None
        if not fault:
            return lambda: None
        word, side, at = fault.split()
        self.faults += 1
        self._moments = int(at) if int(at) % 2 else int(at) * _WITHIN_STEPS
        if word == "renew":
            self.close()
        elif word in ("cut", "doubt"):
            return self._trap(word, self.pair.proxies[side], int(at))
        else:
            self._fault = {"kill": lambda: self._kill(side), "die": _die, "stop": self._take_note}[word]
        return self._disarm

    def _disarm(self) -> None:
        self._fault = None

    def _trap(self, word: str, proxy: FaultProxy, at: int) -> Callable[[], None]:
        if word == "doubt":
            trap = proxy.trigger(word=b"COMMIT", when=When.AFTER)
        else:
            way = Way.TO_SERVER if at % 2 else Way.TO_CLIENT
            trap = proxy.trigger(after_bytes=1 + at * 700, way=way, how=Cut.RST if at % 4 < 2 else Cut.FIN)

        def away() -> None:
            trap.times = 0

        return away

    def _kill(self, side: str) -> None:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'towpath:%'"
        (self.pair.at_source if side == "source" else self.pair.at_target)(f"{query} AND datname = current_database()")

    def _take_note(self) -> None:
        self._stopped = True

    def _check(self) -> None:
        """Let the fault happen when its moment has come: the sync asks this again and again, also while it waits."""
        fault = self._fault
        if fault is None or threading.get_ident() != self._main:
            return
        self._moments -= 1
        if self._moments < 0:
            self._fault = None
            fault()

    def _stop(self) -> bool:
        return self._stopped


def _die() -> None:
    raise Died
