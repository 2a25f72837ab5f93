"""A whole full migration with as few connections as the check lets pass."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import connect, indexes
from migrations_app.engine.connect import Sessions
from migrations_app.engine.copy_board import Board
from migrations_app.engine.copying import Lane
from migrations_app.engine.errors import ConnectFailed
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.states import StepName, steps_for
from tests.comparator import differences
from tests.fakes import fake_ports, wait_until
from tests.postgres.engine_runs import fakes, make_plan, server

TABLES = 8
FILL = "".join(
    f"CREATE TABLE t{n} (id int PRIMARY KEY, other int, note text, twin int REFERENCES t{max(n - 1, 0)},"
    f" again int REFERENCES t{max(n - 1, 0)});"
    f"INSERT INTO t{n} SELECT g, g % 100, repeat(md5(g::text), 8), g, g FROM generate_series(1, {40_000 // (n + 1)}) g;"
    f"CREATE INDEX ON t{n} (other); CREATE INDEX ON t{n} (note); CREATE INDEX ON t{n} (other, id);"
    for n in range(TABLES)
)


@contextlib.contextmanager
def limited(cluster: Cluster, database: str, connections: int) -> Iterator[str]:
    """Let an account own a database which may log in so often at the same time."""
    with cluster.connect() as boss:
        boss.execute(f"CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT {connections}".encode())
        boss.execute("GRANT SET ON PARAMETER session_replication_role TO few")
        boss.execute(f'ALTER DATABASE "{database}" OWNER TO few'.encode())
    try:
        with cluster.connect(database) as boss:
            boss.execute("ALTER SCHEMA public OWNER TO few")
        yield "few"
    finally:
        with cluster.connect() as boss:
            boss.execute("ALTER ROLE few NOLOGIN")
            boss.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'few'")
        with cluster.connect(database) as boss:
            boss.execute("REASSIGN OWNED BY few TO postgres")
            boss.execute("DROP OWNED BY few")
        with cluster.connect() as boss:
            boss.execute(f'ALTER DATABASE "{database}" OWNER TO postgres'.encode())
            boss.execute("REVOKE SET ON PARAMETER session_replication_role FROM few")
            boss.execute("DROP ROLE few")


@pytest.fixture
def plan(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Plan]:
    with source_cluster.connect(source_db) as connection:
        connection.execute(FILL.encode())
    with limited(target_cluster, target_db, 3) as user:
        made = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path, incremental=False)
        yield replace(made, target=server(target_cluster, user, user))


def migrate_with_few(plan: Plan) -> None:
    """Run all steps; what a refused lane waits for is told once, and is no failure."""
    ports = fake_ports()
    store = fakes(ports)[1]
    (database,) = plan.databases
    store.targets[database.source_name] = database.target_name
    with Executor(plan, ports) as executor:
        for step in steps_for(incremental=False):
            if step is not StepName.CHECK:
                assert executor.run(step).done
    codes = [code for _, code, _ in store.events]
    assert codes.count("CONNECT-FULL") == 1, codes
    assert "RUN-RETRY" not in codes, store.events


@pytest.mark.long
@pytest.mark.parametrize("jobs", [(2, 2), (4, 8)], ids=["defaults", "many jobs"])
def test_three_connections_are_enough_for_a_full_migration(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, jobs: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(plan, copy_jobs=jobs[0], index_jobs=jobs[1])
    monkeypatch.setattr(indexes, "SMALL_TABLE_BYTES", 1 << 20)
    monkeypatch.setattr("migrations_app.engine.index_lanes.SMALL_TABLE_BYTES", 1 << 20)
    monkeypatch.setattr("migrations_app.engine.lanes.AGAIN_SECONDS", 0.3)
    (database,) = plan.databases
    migrate_with_few(plan)
    with (
        source_cluster.connect(database.source_name) as source,
        target_cluster.connect(database.target_name) as target,
    ):
        assert differences(source, target, ignore=["owners", "privileges"]) == []


@pytest.mark.long
def test_a_lane_that_is_refused_while_the_others_still_log_in_waits_for_them(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(plan, copy_jobs=4)
    monkeypatch.setattr("migrations_app.engine.lanes.AGAIN_SECONDS", 0.3)
    refused = threading.Event()
    ask, log_in = Board.refused, Lane.__init__

    def tell(board: Board[Any]) -> bool:
        answer = ask(board)
        refused.set()
        return answer

    def linger(lane: Lane, *arguments: Any, **more: Any) -> None:
        log_in(lane, *arguments, **more)
        assert refused.wait(30), "no lane was refused"

    monkeypatch.setattr(Board, "refused", tell)
    monkeypatch.setattr(Lane, "__init__", linger)
    migrate_with_few(plan)


def test_a_login_that_is_refused_for_a_session_that_is_just_ending_is_tried_again(
    plan: Plan, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = fake_ports()
    name = plan.databases[0].target_name
    original = connect.forwarded_failure
    asked = []
    with Sessions(plan, ports.control) as sessions, target_cluster.connect() as boss:
        sessions.version(Side.TARGET)
        boss.execute("ALTER ROLE few CONNECTION LIMIT 1")
        with target_cluster.connect(name, user="few", password="few") as ending:

            def explain(*arguments: Any, **more: Any) -> ConnectFailed:
                asked.append(arguments)
                ending.close()
                wait_until(lambda: _sessions(boss) == 0, what="the end of the last session")
                return original(*arguments, **more)

            monkeypatch.setattr(connect, "forwarded_failure", explain)
            sessions.open(Side.TARGET, name).close()
    assert asked


def test_a_login_that_a_full_server_refuses_is_told_as_that(plan: Plan, target_cluster: Cluster) -> None:
    ports = fake_ports()
    with Sessions(plan, ports.control) as sessions, target_cluster.connect() as boss:
        boss.execute("ALTER ROLE few CONNECTION LIMIT 0")
        with pytest.raises(ConnectFailed) as refused:
            sessions.open(Side.TARGET, plan.databases[0].target_name)
    assert refused.value.code == "CONNECT-FULL"


def _sessions(boss: psycopg.Connection[Any]) -> int:
    row = boss.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'few'").fetchone()
    return int(row[0]) if row else -1
