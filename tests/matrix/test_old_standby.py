"""Standbys before 10 lend their snapshots to nobody: the check says so, and a copy from one stops with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import ConnectionLost, SourceError
from migrations_app.engine.plan import Plan
from migrations_app.engine.snapshot import open_first
from tests.folders import public_folder
from tests.postgres.checks_kit import check, login, plan
from tests.postgres.compare_kit import running
from tests.servers import Server, server, why_unavailable

pytestmark = pytest.mark.matrix
_FOR_EVER = "standby_mode = 'on'\n"


@pytest.fixture(scope="module", params=["9.3", "9.6"])
def standby(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server before 10 that waits for a primary for ever, after it has been one."""
    if reason := why_unavailable(request.param):
        pytest.skip(reason)
    with public_folder("old-standby") as folder:
        settings = {"hot_standby": "on", "wal_level": "hot_standby"}
        one = server(folder / "server", request.param, settings, package=True)
        one.create()
        one.start()
        with one.connect() as connection:
            connection.execute(b"CREATE TABLE kept (id int PRIMARY KEY)")
        one.stop()
        (one.data / "recovery.conf").write_text(_FOR_EVER)
        one.start()
        yield one
        one.stop()


@pytest.fixture
def task(standby: Server, target_cluster: Cluster) -> Plan:
    return plan(login(standby), login(target_cluster), [("postgres", "not there yet")], incremental=False)


@pytest.mark.parametrize("incremental", [False, True])
def test_the_check_refuses_it_also_for_a_full_migration(incremental: bool, standby: Server, task: Plan) -> None:
    result = check(replace(task, incremental=incremental), "source-primary")
    assert (result.status, result.sql) == ("failed", "")
    assert f"standby of PostgreSQL {standby.version}" in result.found
    assert "primary" in result.hint


def test_a_copy_from_it_ends_with_the_reason_each_time_it_asks(task: Plan) -> None:
    with running(task) as run:
        snapshot = open_first(run, task.databases[0])
        for _ in range(2):
            with pytest.raises(SourceError) as refused:
                _ = snapshot.export_id
            assert not refused.value.retryable
            assert "recovery" in refused.value.message
        snapshot.close()


def test_a_holder_that_has_ended_is_waited_for(standby: Server, task: Plan) -> None:
    with running(task) as run, standby.connect() as other:
        snapshot = open_first(run, task.databases[0])
        other.execute("SELECT pg_terminate_backend(%s)", (snapshot.holder.info.backend_pid,))
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                _ = snapshot.export_id
        snapshot.close()
