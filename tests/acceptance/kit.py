"""The whole product on two real servers: tasks are driven as an operator does it, and looked at from outside."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.writer import Writer
from tests.acceptance.places import Place, nothing_of_ours, refresh
from tests.comparator import differences
from tests.fakes import wait_until
from tests.installation import ROOT, Installation, alive, descendants

PARTS = "console,migrate,sync,dispatcher"
ENDED = ("completed", "cancelled")
LATE_STEPS = ("sync", "compare", "complete", "cleanup")

_OPERATOR = """
import io, json, sys, traceback
from contextlib import redirect_stdout
from migrations_app import own_database, services
from migrations_app.management.cli.address import endpoint_from_uri
from migrations_app.models import *
from migrations_app.engine.selection import Selection
out = sys.stdout
for line in sys.stdin:
    printed = io.StringIO()
    own_database.lost()
    try:
        with redirect_stdout(printed):
            exec(json.loads(line), globals())
        answer = {"printed": printed.getvalue()}
    except services.Refused as refused:
        answer = {"refused": refused.message}
    except BaseException:
        answer = {"broken": traceback.format_exc()}
    out.write(json.dumps(answer) + "\\n")
    out.flush()
"""


class Refused(AssertionError):
    """The product refused what the operator asked for."""


class Operator:
    """A process that presses the product's buttons: calls of `services`, without a start of Python for each."""

    def __init__(self, installation: Installation) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "shell", "-v0", "-c", _OPERATOR],
            env=installation.environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, code: str) -> str:
        """Run code and return what it printed. Raises Refused with the product's words."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "refused" in answer:
            raise Refused(answer["refused"])
        assert "broken" not in answer, answer["broken"]
        return str(answer["printed"]).strip()

    def stop(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                stream.close()
        self._process.wait(20)


class World:
    """One installation with all its workers, and two servers."""

    def __init__(self, installation: Installation, source: Cluster, target: Cluster) -> None:
        self.installation, self.source, self.target = installation, source, target
        self.operator = Operator(installation)
        self.start()

    def start(self) -> None:
        """Start all workers, at first or once more after a stop; they are there when each gave a sign of life."""
        with contextlib.closing(self.installation.rows()) as rows:  # the tables are there: `open_world` made them
            beats = "SELECT cluster, pid FROM migrations_app_workerbeat"
            former = set(rows.read(beats))
            self.up = self.installation.start("up", "--only", PARTS, "--logs", str(self.installation.folder / "logs"))
            wait_until(lambda: len({name for name, _ in set(rows.read(beats)) - former}) >= 4, 60, "all workers")

    def clusters(self) -> dict[str, int]:
        """Return the pid of the main process of every queue cluster that runs."""
        found = {}
        for pid in descendants(self.up.pid):
            with contextlib.suppress(OSError):
                if b"qcluster" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                    name = next(v[15:].decode() for v in environment if v.startswith(b"Q_CLUSTER_NAME="))
                    if parent == self.up.pid:
                        found[name] = pid
        return found


@contextlib.contextmanager
def open_world(source: Cluster, target: Cluster, folder: Path, **environment: str) -> Iterator[World]:
    """Start an installation with all workers, and end it with everything that it started."""
    installation = Installation(folder, **environment)
    installation.migrate()
    world = None
    try:
        world = World(installation, source, target)
        yield world
    finally:
        if world:
            world.operator.stop()
        installation.stop()


class Migration:
    """One task, driven by the operator and worked on by the installation's workers."""

    def __init__(
        self,
        world: World,
        source: Place,
        target: Place,
        *,
        incremental: bool = True,
        more: tuple[str, ...] = (),
        into: str = "",
    ) -> None:
        """`into`: the target as an account other than the superuser, as a URI."""
        self.world, self.source, self.target = world, source, target
        names = json.dumps([source.name, *more])
        self.id = world.operator.do(
            f"task = services.create_draft(actor=None, name='kit', scheduled_at=None, incremental={incremental},"
            f" source=endpoint_from_uri({source.cluster.uri()!r}, 'source'),"
            f" target=endpoint_from_uri({into or target.cluster.uri()!r}, 'target'))\n"
            f"selection = Selection()\n"
            f"for name in {names}: selection = selection.toggle((name,), True)\n"
            f"services.set_selection(task_id=task.pk, actor=None, selection=selection)\n"
            f"print(task.pk.hex)"
        )
        self._rows = world.installation.rows()

    def close(self) -> None:
        """Cancel the task if it has not ended, so that nothing goes on behind the next test."""
        with contextlib.suppress(Refused, AssertionError, IndexError):  # the test may have deleted it
            if self.status not in (*ENDED, "draft", "check_failed", "check_passed"):
                self.press("cancel_task")
                self.until("cancelled", seconds=45)
        self._rows.close()

    def look_again(self) -> None:
        """Look at the task's row through another session, after a restart of the console's own server."""
        self._rows.again()

    def column(self, name: str) -> Any:
        """Return a column of the task's row as it is now."""
        return self._rows.read(f"SELECT {name} FROM migrations_app_migrationtask WHERE id = ?", self.id)[0][0]

    @property
    def status(self) -> str:
        return str(self.column("status"))

    @property
    def step(self) -> str:
        return str(self.column("current_step"))

    @property
    def epoch(self) -> int:
        return int(self.column("epoch"))

    def press(self, action: str, **arguments: Any) -> None:
        """Press a button: a function of `services`."""
        listed = "".join(f", {name}={value!r}" for name, value in arguments.items())
        self.world.operator.do(f"services.{action}(task_id={self.id!r}, actor=None{listed})")

    def check(self) -> None:
        """Have the task checked by a worker."""
        self.press("request_check")
        self.until("check_passed", seconds=60)

    def start(self) -> None:
        """Check and start."""
        self.check()
        self.press("start_task")

    def until(self, *statuses: str, seconds: float = 60) -> str:
        """Wait for one of these statuses; fail at once when the task has gone another way."""
        wrong = {"failed", "check_failed", "cancelled"} - set(statuses)
        deadline = time.monotonic() + seconds
        while (status := self.status) not in statuses:
            assert status not in wrong, f"{status} instead of {statuses}\n{self.story()}"
            assert time.monotonic() < deadline, f"{status} instead of {statuses} after {seconds} s\n{self.story()}"
            time.sleep(0.02)
        return status

    def until_step(self, step: str, seconds: float = 60) -> int:
        """Wait until a worker is at this step and return its pid."""
        deadline = time.monotonic() + seconds
        while True:
            ((found, worker, status),) = self._rows.read(
                "SELECT current_step, worker, status FROM migrations_app_migrationtask WHERE id = ?", self.id
            )
            # The worker of the copy still holds the task for a moment when the sync is already the current step.
            _, pid, cluster = worker.split(":") if worker else ("", "0", "")
            right = (cluster == "sync") == (step in LATE_STEPS)
            if found == step and right and status not in ("cancelling", "failed"):
                return int(pid)
            assert status != "failed", self.story()
            assert time.monotonic() < deadline, f"never at {step} but {status} at {found}\n{self.story()}"
            time.sleep(0.005)

    def complete(self, seconds: float = 60) -> None:
        """Press Complete once the task is ready and no outage is under way, and wait for the end."""
        wait_until(
            lambda: self.until("ready", seconds=seconds) == "ready" and not self.column("failing_since"),
            seconds,
            "the task being in sync",
        )
        self.press("complete_task")
        self.until("completed", seconds=seconds)

    def ledger(self, side: str) -> list[tuple[str, str, str]]:
        """Return kind, schema and name of everything that is still in the ledger for this side."""
        return self._rows.read(
            "SELECT kind, schema, name FROM migrations_app_ledgerentry WHERE task_id = ? AND side = ?"
            " AND removed_at IS NULL",
            self.id,
            side,
        )

    def events(self) -> list[tuple[str, str]]:
        """Return code and text of everything that the task's history says, oldest first."""
        return self._rows.read("SELECT code, message FROM migrations_app_event WHERE task_id = ? ORDER BY id", self.id)

    def copied(self) -> dict[str, int | None]:
        """Return the names of the tables whose rows are on the target, with the places of their snapshots."""
        rows = self._rows.read(
            "SELECT name, watermark FROM migrations_app_tablecopy WHERE task_id = ?"
            " AND status NOT IN ('waiting', 'copying')",
            self.id,
        )
        return dict(rows)

    def story(self) -> str:
        """Return what is known about the task, for a failing test."""
        failed = self._rows.read(
            "SELECT code, found FROM migrations_app_checkitem WHERE task_id = ? AND status = 'failed'", self.id
        )
        compared = self._rows.read("SELECT differences FROM migrations_app_comparisonresult WHERE task_id = ?", self.id)
        lines = [f"{code}: {text}" for code, text in [*failed, *self.events()]] + [str(row[0]) for row in compared]
        return "\n".join(lines) + "\n" + self.world.installation.logs()[-6000:]

    def differences(self, **options: Any) -> list[str]:
        """Return how the target differs from the source, by the oracle of the tests. See `refresh`."""
        refresh(self.source)
        with self.source.connect() as source, self.target.connect() as target:
            return differences(source, target, **options)


def ends_well(migration: Migration) -> None:
    """Assert that the target equals the source and that nothing of ours is anywhere."""
    assert migration.differences() == [], migration.story()
    nothing_of_ours(migration.source, migration.target)
    assert [code for code, _ in migration.events()].count("TASK-COMPLETED") == 1


def finish(migration: Migration, writer: Writer) -> None:
    """Stop the application, complete, and assert that all is well."""
    migration.until("ready")
    assert writer.stop().errors == ()
    migration.complete()
    ends_well(migration)


def kill(pid: int) -> None:
    """End a process as a power cut would."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), 10, "the end of the killed process")


def chance(what: str, longest: float) -> float:
    """Return a random delay; the seed is the one that the test run prints."""
    return random.Random(f"{random.getstate()[1][:4]} {what}").uniform(0, longest)  # noqa: S311 - a moment, no secret


def kill_at(migration: Migration, step: str, delay: float) -> float:
    """Kill the worker `delay` seconds after it was seen at a step. Returns the seconds until another one went on.

    The worker is held still before the blow, so that it is certainly at that step.
    """
    pid = migration.until_step(step)
    deadline = time.monotonic() + delay
    while time.monotonic() < deadline and migration.step == step:
        time.sleep(0.005)
    pid = migration.until_step(step)
    os.kill(pid, signal.SIGSTOP)
    if migration.step != step:
        os.kill(pid, signal.SIGCONT)
        pytest.fail(f"the step {step} was over before the kill could hit it {delay:.2f} s after its begin")
    epoch = migration.epoch
    kill(pid)
    return until_taken_over(migration, epoch)


def until_taken_over(migration: Migration, epoch: int, seconds: float = 30) -> float:
    """Wait until a newer epoch holds the task; return the seconds that it took."""
    began = time.monotonic()

    def taken() -> bool:
        return migration.epoch > epoch and (bool(migration.column("worker")) or migration.status in ENDED)

    wait_until(taken, seconds, "another worker taking over")
    return time.monotonic() - began
