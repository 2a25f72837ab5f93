"""A source that is a standby of the target: whatever is removed from the target is gone from the source as well."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster, _unprivileged
from migrations_app.engine.errors import ConflictError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import StepName
from tests.fakes import FakeStore, fake_ports, wait_until
from tests.folders import public_folder
from tests.postgres.checks_kit import check, login, plan
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.occupied_kit import choose

pytestmark = pytest.mark.long
ITEM = "different-servers"
SECONDS = 120


def standby_of(primary: Cluster, folder: Path) -> Cluster:
    """Return a running standby that streams from the primary."""
    address = f"host=127.0.0.1 port={primary.port} user=postgres password={primary.password} dbname=postgres"
    standby = Cluster(folder=folder, major=primary.major, password=primary.password)
    folder.mkdir()
    drop = _unprivileged()
    if drop:
        os.chown(folder, drop["user"], drop["group"])
    command = [str(primary.bin() / "pg_basebackup"), "-R", "-D", str(standby.data), "-d", address, "-c", "fast"]
    subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=SECONDS, **drop)
    standby.start()
    return standby


def caught_up(primary: Cluster, standby: Cluster) -> None:
    with primary.connect() as here, standby.connect() as there:
        row = here.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        text = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_until(lambda: there.execute(text, row).fetchone() == (True,), SECONDS, "the standby has caught up")


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """A primary with the database `shop` and two rows, and its standby."""
    with public_folder("follower") as folder:
        primary = Cluster(folder=folder / "primary", major=16, settings={"wal_level": "replica"})
        primary.create()
        primary.start()
        standby = None
        try:
            with primary.connect() as connection:
                connection.execute("CREATE DATABASE shop")
                connection.execute("CREATE ROLE blind LOGIN PASSWORD 'x'")
            with primary.connect("shop") as connection:
                connection.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
            standby = standby_of(primary, folder / "standby")
            caught_up(primary, standby)
            yield primary, standby
        finally:
            for cluster in (standby, primary):
                if cluster:
                    cluster.stop()


def test_a_standby_of_the_target_fails_as_the_source_of_databases_of_the_same_names(
    pair: tuple[Cluster, Cluster],
) -> None:
    primary, standby = pair
    result = check(plan(login(standby), login(primary), [("shop", "shop")], incremental=False), ITEM)
    assert (result.status, result.found.endswith("removed there: shop.")) == ("failed", True)
    crossed = plan(login(standby), login(primary), [("shop", "postgres"), ("postgres", "other")], incremental=False)
    assert check(crossed, ITEM).status == "failed"


def test_a_standby_of_the_target_is_a_warning_for_databases_of_other_names(pair: tuple[Cluster, Cluster]) -> None:
    primary, standby = pair
    apart = plan(login(standby), login(primary), [("shop", "shop_copy")], incremental=False)
    assert check(apart, ITEM).status == "warning"


def test_a_standby_whose_system_identifier_cannot_be_read_is_not_believed_to_be_another_server(
    pair: tuple[Cluster, Cluster], target_cluster: Cluster
) -> None:
    primary, standby = pair
    with primary.connect() as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        try:
            caught_up(primary, standby)
            blind = {"user": "blind", "password": "x"}
            task = plan(login(standby, **blind), login(primary, **blind), [("shop", "shop")], incremental=False)
            result = check(task, ITEM)
            newer = replace(task, target=login(target_cluster))
            apart = check(newer, ITEM)
        finally:
            connection.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC")
    assert (result.status, "pg_control_system" in result.hint) == ("failed", True)
    assert apart.status == "passed"


@pytest.mark.parametrize("policy", ["keep", "truncate", "recreate"])
def test_a_run_removes_nothing_from_a_target_that_its_source_may_follow(
    policy: str, pair: tuple[Cluster, Cluster], tmp_path: Path
) -> None:
    primary, standby = pair
    task = choose(_full(plan_for(server(standby), server(primary), "shop", "shop", work_dir=tmp_path)), policy)
    ports = fake_ports()
    assert isinstance(ports.store, FakeStore)
    ports.store.targets["shop"] = "shop"
    with Executor(task, ports) as executor, pytest.raises(ConflictError) as refused:
        executor.run(StepName.SCHEMA)
    assert refused.value.code == "DST-SOURCE"
    caught_up(primary, standby)
    for cluster in pair:
        with cluster.connect("shop") as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)


def _full(task: Plan) -> Plan:
    return replace(task, incremental=False)


def test_a_copy_that_was_promoted_is_a_server_of_its_own(pair: tuple[Cluster, Cluster]) -> None:
    primary, _ = pair
    with public_folder("promoted") as folder:
        copy = standby_of(primary, folder / "copy")
        try:
            with copy.connect() as connection:
                assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
            assert check(plan(login(primary), login(copy), [("shop", "shop")]), ITEM).status == "passed"
            assert check(plan(login(copy), login(primary), [("shop", "shop")]), ITEM).status == "passed"
        finally:
            copy.stop()
