"""The engine under faults: steps as the runner runs them, again after failures that may pass, beside writers."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import EngineError, Interrupted
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres.engine_runs import fakes, make_plan

STEPS = (StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.SYNC)
FULL_STEPS = STEPS[:-1]
ACCOUNTS, SUM = 10, 1000
SCHEMA = f"""
CREATE TABLE ledger (n bigint PRIMARY KEY, who int NOT NULL, v text);
CREATE TABLE heap (n bigint, v text);
CREATE TABLE account (id int PRIMARY KEY, amount int NOT NULL);
CREATE TABLE list (id int PRIMARY KEY, items text NOT NULL DEFAULT '');
INSERT INTO account SELECT g, {SUM // ACCOUNTS} FROM generate_series(1, {ACCOUNTS}) g;
INSERT INTO list SELECT generate_series(0, 7);
CREATE TABLE big (id int PRIMARY KEY, note text, data bytea);
CREATE INDEX ON big (note);
"""
BIG = "INSERT INTO big SELECT g, 'note ' || g, decode(repeat(md5(g::text), 16), 'hex') FROM generate_series(1, {}) g"


@dataclass
class LedgerWriters:
    """An application that knows what it was promised: a number is sure only after its COMMIT has returned.

    Each transaction writes one number into a table with a key and one without, moves an amount between two
    accounts, and appends to a list. A lost server is waited for. `sure` and `doubtful` are complete once `stop` has
    returned.
    """

    arguments: dict[str, Any]
    seed: int = 1
    threads: int = 2
    rate: float = 60.0
    sure: set[int] = field(default_factory=set)
    doubtful: set[int] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _running: list[threading.Thread] = field(default_factory=list)

    def start(self) -> LedgerWriters:
        """Begin to write."""
        for number in range(self.threads):
            thread = threading.Thread(target=self._write, args=(number,), daemon=True)
            thread.start()
            self._running.append(thread)
        return self

    def stop(self) -> None:
        """End after the transactions at hand."""
        self._over.set()
        for thread in self._running:
            thread.join(60)
            assert not thread.is_alive(), "a writer hangs"

    def _write(self, who: int) -> None:
        chance = random.Random(self.seed * 1000 + who)  # noqa: S311 - no secret
        connection: psycopg.Connection[Any] | None = None
        n = who
        while not self._over.wait(self.threads / self.rate):
            n += self.threads
            try:
                connection = connection or psycopg.connect(**self.arguments, autocommit=True, application_name="ledger")
                self._commit(connection, who, n, chance)
            except psycopg.Error as error:
                lost = connection is None or connection.broken or connection.closed
                if not lost and not isinstance(error, psycopg.errors.TransactionRollback):
                    self.errors.append(f"{error.sqlstate} {error}")
                if lost:
                    connection = None
                    self._over.wait(0.1)
        if connection:
            connection.close()

    def _commit(self, connection: psycopg.Connection[Any], who: int, n: int, chance: random.Random) -> None:
        one, other = sorted(chance.sample(range(1, ACCOUNTS + 1), 2))
        amount = chance.randrange(-5, 6)
        started = False
        try:
            connection.execute("BEGIN")
            connection.execute("INSERT INTO ledger VALUES (%s, %s, 'new')", (n, who))
            connection.execute("INSERT INTO heap VALUES (%s, 'same'), (%s, 'same')", (n, n))
            connection.execute("UPDATE account SET amount = amount - %s WHERE id = %s", (amount, one))
            connection.execute("UPDATE account SET amount = amount + %s WHERE id = %s", (amount, other))
            connection.execute("UPDATE list SET items = items || %s WHERE id = %s", (f"{n},", who))
            if n % 7 == 0:
                connection.execute("UPDATE ledger SET v = v || 'x' WHERE n < %s AND n > %s", (n, n - 20))
                connection.execute("DELETE FROM heap WHERE ctid = (SELECT min(ctid) FROM heap)")
            started = True
            connection.execute("COMMIT")
        except psycopg.Error:
            if started:
                self.doubtful.add(n)
            elif not connection.broken and not connection.closed:
                with contextlib.suppress(psycopg.Error):
                    connection.execute("ROLLBACK")
            raise
        self.sure.add(n)


@dataclass
class Failure:
    """A failed attempt, as the runner would note it."""

    at: float
    step: StepName
    code: str
    message: str
    retryable: bool


class Driver:
    """Drives one task's steps in a thread as the runner does: a new epoch per attempt, again after what may pass.

    The back-off is the runner's, shortened. `fatal` is the error that ended it, if one did. A task without sync is
    `finished` after the indexes.
    """

    def __init__(self, plan: Plan, ports: Ports | None = None, step: StepName = StepName.SCHEMA) -> None:
        self.plan, self.ports = plan, ports or fake_ports()
        self.step = step
        self.failures: list[Failure] = []
        self.fatal: BaseException | None = None
        self.finished = False
        self._over = threading.Event()
        self._control = FakeControl()
        self._thread = threading.Thread(target=self._run, name="driver", daemon=True)
        for database in plan.databases:
            fakes(self.ports)[1].targets[database.source_name] = database.target_name

    def __enter__(self) -> Driver:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def store(self) -> FakeStore:
        """What the task has stored."""
        return fakes(self.ports)[1]

    @property
    def events(self) -> list[str]:
        """The codes of everything that the task told."""
        return [code for _, code, _ in self.store.events]

    def told(self, code: str) -> str:
        """Return the text of the last event with this code, '' without one."""
        return next((text for _, found, text in reversed(self.store.events) if found == code), "")

    def pause(self) -> None:
        """Ask the run to stop, as Pause and Cancel do."""
        self._over.set()
        self._control.pause()

    def stop(self, seconds: float = 60) -> float:
        """Pause and wait for the end; returns the seconds that it took."""
        began = time.monotonic()
        self.pause()
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the run does not end"
        return time.monotonic() - began

    def position(self) -> int:
        """Return the last stored bookmark."""
        return self.store.database(self.plan.databases[0].source_name).bookmark or 0

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Wait for a condition; fail at once when the task has ended in an error."""

        def ask() -> Any:
            assert self.fatal is None, f"{self.fatal!r}: {self.story()}"
            return condition()

        try:
            return wait_until(ask, seconds, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from error

    def until_step(self, step: StepName, seconds: float = 60) -> None:
        """Wait until a step has been reached."""
        self.until(lambda: STEPS.index(self.step) >= STEPS.index(step), f"step {step}", seconds)

    def until_failure(self, seconds: float = 60) -> EngineError:
        """Wait until the task has ended in an error, and return it."""
        wait_until(lambda: self.fatal is not None, seconds, f"the failure\n{self.story()}")
        assert isinstance(self.fatal, EngineError), repr(self.fatal)
        return self.fatal

    def until_in_sync(self, seconds: float = 90) -> None:
        """Wait until the target has caught up."""
        name = self.plan.databases[0].source_name
        self.until(
            lambda: self.step is StepName.SYNC and self.store.database(name).in_sync,
            "the target being in sync",
            seconds,
        )

    def until_finished(self, seconds: float = 90) -> None:
        """Wait until a task without sync has done its last step."""
        self.until(lambda: self.finished, "the last step", seconds)

    def story(self) -> str:
        """Return what happened, for a failing test."""
        lines = [f"step {self.step}, epoch {self.plan.epoch}", *map(str, self.failures), *map(str, self.store.events)]
        return "\n".join(lines)

    def _run(self) -> None:
        tries = 0
        self._forget_sync()
        while not self._over.is_set():
            self._control = FakeControl()
            ports = replace(self.ports, control=self._control)
            if self._over.is_set():
                return
            before = (self.step, self.position())
            try:
                with Executor(self.plan, ports) as executor:
                    while executor.run(self.step).done:
                        if not self.plan.incremental and self.step is FULL_STEPS[-1]:
                            self.finished = True
                            return
                        self.step = STEPS[STEPS.index(self.step) + 1]
            except Interrupted:
                pass
            except EngineError as error:
                now = time.monotonic()
                self._forget_sync()
                self.failures.append(Failure(now, self.step, error.code, error.message, error.retryable))
                if not error.retryable:
                    self.fatal = error
                    return
            except BaseException as error:
                self.fatal = error
                return
            tries = 0 if (self.step, self.position()) != before else tries + 1
            self._over.wait(min(4.0, 0.5 * 2.0**tries))
            self.plan = replace(self.plan, epoch=self.plan.epoch + 1)

    def _forget_sync(self) -> None:
        for database in self.plan.databases:
            state = self.store.database(database.source_name)
            self.store.save_database(replace(state, in_sync=False))


def make_schema(plan: Plan) -> Ports:
    """Do the first step of a task as a worker that then ended; returns the ports that remember it."""
    ports = fake_ports()
    for database in plan.databases:
        fakes(ports)[1].targets[database.source_name] = database.target_name
    with Executor(plan, ports) as executor:
        assert executor.run(StepName.SCHEMA).done
    return ports


@dataclass
class Scene:
    """Two databases with the ledger's tables, and the ports through which the engine reaches them."""

    source: Cluster
    target: Cluster
    source_db: str
    target_db: str
    work_dir: Path
    rows: int = 4000

    def fill(self) -> None:
        """Make the tables on the source."""
        with self.source.connect(self.source_db) as connection:
            connection.execute(SCHEMA.encode())
            connection.execute(BIG.format(self.rows).encode())

    def plan(self, *, source_port: int = 0, target_port: int = 0, **more: Any) -> Plan:
        """Return the plan of a task, through these ports instead of the servers' own."""
        plan = make_plan(self.source, self.target, [(self.source_db, self.target_db)], self.work_dir, **more)
        return replace(
            plan,
            source=replace(plan.source, port=source_port or self.source.port),
            target=replace(plan.target, port=target_port or self.target.port),
        )

    def writers(self, seed: int = 1, **more: Any) -> LedgerWriters:
        """Return the application, not yet started."""
        return LedgerWriters(self.source.arguments(self.source_db), seed=seed, **more)

    def at(self, side: str, sql: str) -> list[tuple[Any, ...]]:
        """Run one statement directly on a server, past every proxy."""
        cluster, name = (self.source, self.source_db) if side == "source" else (self.target, self.target_db)
        with cluster.connect(name) as connection:
            cursor = connection.execute(sql.encode())
            return cursor.fetchall() if cursor.description else []

    def our_pids(self, side: str, more: str = "true") -> list[int]:
        """Return the server processes of our sessions."""
        rows = self.at(
            side,
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'towpath:%'"
            f" AND datname = current_database() AND {more} ORDER BY pid",
        )
        return [int(pid) for (pid,) in rows]

    def drained(self, driver: Driver, seconds: float = 90) -> None:
        """Wait until the target has everything that is on the source now. Nobody may write meanwhile."""
        driver.until(self._same, "the last change", seconds)

    def _same(self) -> bool:
        counts = (
            "SELECT (SELECT count(*) FROM ledger), (SELECT sum(length(v)) FROM ledger), (SELECT count(*) FROM heap)"
        )
        return self.at("source", counts) == self.at("target", counts)

    def assert_whole(self, writers: LedgerWriters | None = None) -> None:
        """Every row is the same on both sides, each promised number is there once, no transaction is torn."""
        with self.source.connect(self.source_db) as source, self.target.connect(self.target_db) as target:
            assert differences(source, target, ignore=["schema", "replica identity"]) == []
        if writers is None:
            return
        found = [int(n) for (n,) in self.at("target", "SELECT n FROM ledger")]
        assert max(Counter(found).values(), default=1) == 1
        lost = writers.sure - set(found)
        assert not lost, f"lost: {sorted(lost)[:10]}"
        assert set(found) <= writers.sure | writers.doubtful
        assert writers.errors == []
        assert self.at("target", "SELECT sum(amount) FROM account") == [(SUM,)]

    def assert_no_leftovers(self, seconds: float = 10) -> None:
        """No session and no temporary slot of ours is left; the task's own slot stays while it can go on."""

        def left() -> list[str]:
            found = [f"session {pid} on the {side}" for side in ("source", "target") for pid in self.our_pids(side)]
            rows = self.at(
                "source", "SELECT slot_name FROM pg_replication_slots WHERE temporary AND slot_name ~ 'towpath'"
            )
            return found + [f"temporary slot {name}" for (name,) in rows]

        deadline = time.monotonic() + seconds
        while (found := left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert found == []


@contextlib.contextmanager
def writing(scene: Scene, seed: int = 1, **more: Any) -> Iterator[LedgerWriters]:
    """Let the application write for the time of the block."""
    writers = scene.writers(seed, **more).start()
    try:
        yield writers
    finally:
        writers.stop()
