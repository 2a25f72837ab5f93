"""Migrations whose workers are killed at named places, and started again, until they have ended."""

from __future__ import annotations

import contextlib
import json
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.failpoints import VARIABLE, arm, armed, permit
from tests.acceptance.kit import Migration, Operator, Refused
from tests.acceptance.places import Place
from tests.installation import ROOT, Installation

SECONDS = 60


class Yard:
    """An installation without workers of its own: tests start each, know its pid, and see how it ends."""

    def __init__(self, installation: Installation, source: Cluster, target: Cluster) -> None:
        self.installation, self.source, self.target = installation, source, target
        self.folder = Path(installation.environment[VARIABLE])
        self.operator = Operator(installation)
        self._log = (installation.folder / "workers.log").open("ab")
        self._forks = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.failpoint_worker"],
            env=installation.environment,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
        )

    def start(self, task: str, do: str = "drive", *, parts: bool = False) -> None:
        """Start a worker. One at a time."""
        assert self._forks.stdin
        self._forks.stdin.write(json.dumps({"do": do, "task": task, "parts": parts}).encode() + b"\n")
        self._line()

    def _line(self) -> int:
        assert self._forks.stdout
        return int(self._forks.stdout.readline())

    def ended(self, seconds: float = 0.02) -> int | None:
        """Return how the worker ended, None while it works; waits a moment."""
        assert self._forks.stdout
        readable, _, _ = select.select([self._forks.stdout], [], [], seconds)
        return self._line() if readable else None

    def stop(self) -> None:
        """End everything."""
        self.operator.stop()
        assert self._forks.stdin
        assert self._forks.stdout
        self._forks.stdin.close()
        self._forks.wait(30)
        self._forks.stdout.close()
        self._log.close()


@contextlib.contextmanager
def open_yard(source: Cluster, target: Cluster, folder: Path) -> Iterator[Yard]:
    """Make an installation whose workers obey orders in a folder of its own."""
    orders = folder / "orders"
    permit(orders)
    # One table after the other: a worker that is killed at one action is not in the middle of another.
    installation = Installation(folder, **{VARIABLE: str(orders)}, TOWPATH_COPY_JOBS="1", TOWPATH_INDEX_JOBS="1")
    installation.migrate()
    yard = Yard(installation, source, target)
    try:
        yield yard
    finally:
        yard.stop()


@dataclass
class Killed:
    """A migration whose workers are killed as ordered. `kills`: how many have been."""

    yard: Yard
    migration: Migration
    parts: bool = False
    kills: int = 0
    working: bool = field(default=False)

    def press(self, action: str, **arguments: object) -> None:
        """Press a button."""
        self.migration.press(action, **arguments)

    def work(self, *statuses: str) -> str:
        """Have workers work, another one after each kill, until the task has one of these statuses and none is due.

        The last worker may go on.
        """
        deadline, known = time.monotonic() + SECONDS, self.kills
        while True:
            if self.kills > known:
                deadline, known = time.monotonic() + SECONDS, self.kills
            if not self.working:
                self.yard.start(self.migration.id, parts=self.parts)
                self.working = True
            if (status := self._look()) in statuses:
                return status
            assert status != "failed", self.story()
            assert time.monotonic() < deadline, f"{status} instead of {statuses}\n{self.story()}"

    def _look(self) -> str:
        code = self.yard.ended()
        if code is not None:
            self.working = False
            assert code in (0, -signal.SIGKILL), self.story()
            self.kills += code != 0
        return self.migration.status

    def until_copied_once_more(self) -> None:
        """Have workers work until nothing is left that is to be copied once more."""
        self._until_not("recopy_requested")

    def until_compared(self) -> None:
        """Have workers work until the comparison that was asked for is done."""
        self._until_not("compare_requested")

    def _until_not(self, column: str) -> None:
        deadline = time.monotonic() + SECONDS
        while self.migration.column(column):
            self.work("ready", "running")
            assert time.monotonic() < deadline, self.story()

    def until_killed(self) -> None:
        """Have a worker work until it has been killed."""
        deadline, before = time.monotonic() + SECONDS, self.kills
        while self.kills == before:
            self.work("running", "queued", "ready")
            assert time.monotonic() < deadline, self.story()

    def files(self) -> list[str]:
        """Return what the task keeps on the worker's disk."""
        return [str(path) for path in (self.yard.installation.data / "work").glob(f"*{self.migration.id}*")]

    def rest(self) -> None:
        """Wait for the end of the worker, of a task that has ended."""
        deadline = time.monotonic() + SECONDS
        while self.working:
            self._look()
            assert time.monotonic() < deadline, self.story()

    def check(self) -> None:
        """Have the task checked, as was asked for, by another worker after each kill."""
        while True:
            deadline = time.monotonic() + SECONDS
            self.yard.start(self.migration.id, "check")
            while (code := self.yard.ended(1)) is None:
                assert time.monotonic() < deadline, self.story()
            if code == 0:
                break
            assert code == -signal.SIGKILL, self.story()
            self.kills += 1
        assert self.migration.status == "check_passed", self.story()

    def story(self) -> str:
        """Return what is known, for a failing test."""
        hits = self.yard.folder / "hits"
        done = hits.read_text() if hits.exists() else ""
        return f"{armed(self.yard.folder)} still due, {self.kills} kills:\n{done}\n{self.migration.story()}"


@contextlib.contextmanager
def killed(
    yard: Yard, pair: tuple[Place, Place], *, existing: str = "refuse", parts: bool = False, into: str = ""
) -> Iterator[Killed]:
    """Make a task on two databases, checked and not yet started, whose workers the test starts.

    `into`: see Migration.
    """
    migration = Migration(yard, *pair, into=into)  # type: ignore[arg-type]  # what it needs of a world is here
    yard.operator.do(
        f"task = MigrationTask.objects.get(pk={migration.id!r})\n"
        "from dataclasses import replace\n"
        "services.set_selection(task_id=task.pk, actor=None,"
        " selection=replace(Selection.from_json(task.selection), roles='needed'))\n"
        f"services.set_existing(task_id=task.pk, actor=None, policy={existing!r}, typed=task.name)\n"
        "MigrationTask.objects.filter(pk=task.pk).update(foreground=True)"
    )
    made = Killed(yard, migration, parts)
    try:
        made.press("request_check")
        made.check()
        yield made
    finally:
        arm(yard.folder)
        with contextlib.suppress(Refused):
            if migration.status not in ("completed", "cancelled", "draft", "check_passed", "check_failed"):
                migration.press("cancel_task")
                made.work("cancelled")
        made.rest()
        migration.close()
