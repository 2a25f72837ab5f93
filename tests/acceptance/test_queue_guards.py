"""The queue library's known weaknesses, each closed, each shown by really killing the process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import wait_until
from tests.installation import Installation, alive, descendants


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """An installation whose `console` cluster runs."""
    made = Installation(tmp_path)
    made.migrate()
    cluster = made.start("qcluster", Q_CLUSTER_NAME="console")
    wait_until(lambda: len(descendants(cluster.pid)) >= 5, 30, "the cluster with two workers")
    wait_until(lambda: made.query("SELECT pid FROM migrations_app_workerbeat"), 30, "a first sign of life")
    yield made
    made.stop()


def workers(installation: Installation) -> list[int]:
    """Return the pids of the workers that gave a sign of life and still run."""
    rows = installation.query("SELECT pid FROM migrations_app_workerbeat WHERE cluster = 'console'")
    return [pid for (pid,) in rows if alive(pid)]


def serves(installation: Installation) -> None:
    """Assert that a new message is taken."""
    installation.shell("from migrations_app import queue; [queue.wake('canary') for _ in range(4)]")
    wait_until(
        lambda: installation.query("SELECT count(*) FROM django_q_ormq") == [(0,)], 30, "all messages being taken"
    )


@pytest.mark.long
def test_a_cluster_whose_idle_workers_are_killed_goes_on_serving(installation: Installation) -> None:
    wait_until(lambda: len(workers(installation)) == 2, 30, "both workers idle")
    for pid in workers(installation):
        os.kill(pid, signal.SIGKILL)
    serves(installation)


@pytest.mark.long
def test_a_cluster_whose_idle_workers_were_killed_still_stops_when_told(installation: Installation) -> None:
    wait_until(lambda: len(workers(installation)) == 2, 30, "both workers idle")
    for pid in workers(installation):
        os.kill(pid, signal.SIGKILL)
    serves(installation)
    main = installation.processes[0]
    main.send_signal(signal.SIGTERM)
    assert main.wait(30) == 0


@pytest.mark.sample(1)
@pytest.mark.parametrize("victim", ["main", "sentinel"])
def test_no_orphans_take_work_after_a_kill(installation: Installation, victim: str) -> None:
    main = installation.processes[0].pid
    family = descendants(main)
    sentinel = family[0]
    os.kill(main if victim == "main" else sentinel, signal.SIGKILL)
    installation.processes[0].wait(15)
    wait_until(lambda: not [pid for pid in family if alive(pid)], 15, "the end of the whole family")


def test_a_message_is_gone_as_soon_as_its_job_begins(installation: Installation) -> None:
    installation.shell(
        "from django_q.tasks import async_task;"
        "async_task('time.sleep', 60, q_options={'cluster': 'console', 'save': False})"
    )
    wait_until(
        lambda: installation.query("SELECT count(*) FROM django_q_ormq") == [(0,)], 20, "the message being taken"
    )
    os.kill(installation.processes[0].pid, signal.SIGKILL)  # or stopping would wait for the job


def test_every_job_name_resolves() -> None:
    import pydoc

    from migrations_app import queue

    for path in queue.job_paths():
        assert callable(pydoc.locate(path)), path
