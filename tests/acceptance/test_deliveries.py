"""What a kill makes of messages under way: none is run twice, none is lost for good, and a task has one worker."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import counted
from tests.acceptance.kit import Migration, World, ends_well, kill, until_taken_over
from tests.acceptance.places import Place, database_pair
from tests.fakes import wait_until
from tests.installation import Installation, alive, descendants
from tests.short_retry import RETRY_SECONDS

_STAMP = "%Y-%m-%d %H:%M:%S.%f"


class Queue:
    """An installation whose `console` cluster (two workers) hands messages out again after seconds."""

    def __init__(self, folder: Path) -> None:
        self.installation = Installation(folder, DJANGO_SETTINGS_MODULE="tests.short_retry")
        self.installation.migrate()
        self.start()

    def start(self) -> None:
        """Start the cluster, as the supervisor does when it has ended."""
        self.main = self.installation.start("qcluster", Q_CLUSTER_NAME="console")
        wait_until(lambda: len(descendants(self.main.pid)) >= 5, 60, "the cluster with two workers")

    def send(self, *names: str, held: bool = False) -> str:
        """Send one message per name and return when: whatever is locked until later has left the broker since."""
        code = (
            "from django.utils import timezone; from django_q.tasks import async_task\n"
            f"for name in {names}:\n"
            f"    async_task('{counted.JOB}', name, {held}, q_options={{'cluster': 'console', 'save': False}})\n"
            f"print(timezone.now().strftime('{_STAMP}'))"
        )
        return self.installation.shell(code).strip()

    def locks(self) -> list[str]:
        """Return until when each message in the broker is not handed out again, oldest message first."""
        found = self.installation.query("SELECT lock FROM django_q_ormq ORDER BY id")
        return [str(lock) for (lock,) in found]

    def ran(self) -> Counter[str]:
        """Return how many runs of each name have begun."""
        return Counter(name for name, _ in counted.runs(self.installation.folder))

    def began(self, *names: str) -> None:
        wait_until(lambda: self.ran().keys() >= set(names), 60, f"the begin of {names}")

    def prefetched(self, count: int, sent: str) -> None:
        """Wait until so many messages have left the broker without a worker that takes them."""
        wait_until(lambda: sum(lock > sent for lock in self.locks()) >= count, 30, f"{count} messages prefetched")

    def locks_expire(self) -> None:
        """Wait until the broker hands every message out again that it has handed out before."""
        until = time.time() + RETRY_SECONDS + 0.5
        wait_until(lambda: time.time() > until, RETRY_SECONDS * 10, "the end of the locks")

    def settle(self) -> None:
        """Let everything run that the broker has, and whatever it would hand out once more."""
        counted.release(self.installation.folder)
        wait_until(lambda: not self.locks(), 60, "an empty broker")
        self.locks_expire()
        markers = [f"marker{number}" for number in range(4)]
        self.send(*markers)
        self.began(*markers)
        wait_until(lambda: not self.locks(), 60, "an empty broker again")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path)
    yield made
    counted.release(tmp_path)
    made.installation.stop()


@pytest.mark.long
def test_a_job_killed_after_its_message_lock_has_run_out_is_not_delivered_again(queue: Queue) -> None:
    queue.send("long", held=True)
    queue.began("long")
    queue.locks_expire()
    worker = counted.runs(queue.installation.folder)[0][1]
    kill(worker)
    queue.settle()
    assert queue.ran()["long"] == 1


@pytest.mark.long
def test_messages_that_outlive_their_lock_in_the_cluster_run_once(queue: Queue) -> None:
    queue.send("one", "two", held=True)
    queue.began("one", "two")
    sent = queue.send("first", "second", held=True)
    queue.prefetched(2, sent)
    queue.locks_expire()
    kill(dict(counted.runs(queue.installation.folder))["one"])
    queue.began("first")
    queue.locks_expire()  # time for the pusher to hand out once more what has waited for too long
    queue.settle()
    names = ["one", "two", "first", "second"]
    assert {name: queue.ran()[name] for name in names} == dict.fromkeys(names, 1)


@pytest.mark.long
@pytest.mark.parametrize(
    "victim", ["main", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sentinel", "pusher"))]
)
def test_prefetched_messages_run_once_after_a_kill(queue: Queue, victim: str) -> None:
    queue.send("one", "two", held=True)
    queue.began("one", "two")
    waiting = ["first", "second", "third", "fourth"]
    queue.prefetched(2, queue.send(*waiting))
    family = descendants(queue.main.pid)
    # The sentinel starts its workers first, then the monitor, and the pusher last.
    sentinel, pusher = family[0], max(descendants(family[0]))
    os.kill({"main": queue.main.pid, "sentinel": sentinel, "pusher": pusher}[victim], signal.SIGKILL)
    if victim == "pusher":
        wait_until(lambda: not alive(pusher), 15, "the end of the pusher")
        queue.locks_expire()
        counted.release(queue.installation.folder)
    else:
        queue.main.wait(30)
        wait_until(lambda: not [pid for pid in family if alive(pid)], 30, "the end of the whole family")
        assert not queue.ran().keys() & set(waiting)
        queue.start()
    queue.began(*waiting)
    queue.settle()
    names = ["one", "two", *waiting]
    assert {name: queue.ran()[name] for name in names} == dict.fromkeys(names, 1)


_ROWS = "CREATE TABLE public.notes (id int PRIMARY KEY, note text); INSERT INTO public.notes VALUES (1, 'one')"


@pytest.fixture
def pair(world: World) -> Iterator[tuple[Place, Place]]:
    with database_pair(world, _ROWS, make_target=True) as places:
        yield places


@pytest.mark.long
def test_a_killed_workers_task_is_taken_over_once_however_often_it_is_delivered(
    world: World, pair: tuple[Place, Place]
) -> None:
    migration = Migration(world, *pair)
    try:
        migration.start()
        migration.until("ready")
        worker, epoch = migration.until_step("sync"), migration.epoch
        kill(worker)
        world.operator.do(f"from migrations_app import queue\nfor _ in range(8): queue.wake('sync', {migration.id!r})")
        until_taken_over(migration, epoch)
        waiting = "SELECT count(*) FROM django_q_ormq WHERE key = 'sync'"
        wait_until(lambda: world.installation.query(waiting) == [(0,)], 60, "every delivery being taken")
        migration.complete()
        ends_well(migration)
        assert migration.epoch == epoch + 1
        assert [code for code, _ in migration.events()].count("RUN-RESUMED") == 1
    finally:
        migration.close()
