"""What a server says of one of our sessions that waits for a lock, and whom we name for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.connect import Connection
from migrations_app.engine.onlooker import Onlooker
from migrations_app.engine.outcome import Run
from migrations_app.engine.patience import Vital
from migrations_app.engine.plan import Side
from tests.fakes import wait_until
from tests.postgres.engine_runs import make_plan, running

LOCK = b"BEGIN; LOCK TABLE public.t"


@pytest.fixture
def run(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Run]:
    with target_cluster.connect(target_db) as connection:
        connection.execute("CREATE TABLE public.t ()")
    with running(make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)) as made:
        yield made


def ours(run: Run) -> Connection:
    return run.sessions.open(Side.TARGET, run.databases()[0].target_name)


@contextlib.contextmanager
def waiting(run: Run, holder: Connection) -> Iterator[Vital]:
    """Let a session of ours wait for the table of `holder`, and yield what the server says of it."""
    holder.execute(LOCK)
    name = run.databases()[0].target_name
    with ours(run) as connection:
        pid, found = connection.info.backend_pid, list[Vital]()
        thread = threading.Thread(target=lambda: connection.execute(LOCK))
        thread.start()

        def looked() -> bool:
            vital = Onlooker(lambda: run.sessions.open(Side.TARGET, name), run.ports.control.check, pid).look()
            found[:] = [vital] if vital and vital.wait_type == "Lock" else []
            return bool(found)

        try:
            wait_until(looked, what="the session waiting")
            yield found[0]
        finally:
            holder.execute("ROLLBACK")
            thread.join(20)


def test_strangers_are_named(run: Run, target_cluster: Cluster) -> None:
    with target_cluster.connect(run.databases()[0].target_name) as stranger, waiting(run, stranger) as vital:
        assert f"PID {stranger.info.backend_pid}, user postgres" in vital.blockers
        assert not vital.own


def test_our_own_sessions_are_not(run: Run) -> None:
    with ours(run) as holder, waiting(run, holder) as vital:
        assert vital.blockers == ""
        assert vital.own
