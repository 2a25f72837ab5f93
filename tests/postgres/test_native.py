"""What is computed on the target is computed as an ordinary session of the source computes it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import native
from migrations_app.engine.errors import TargetError
from migrations_app.engine.plan import Side
from migrations_app.engine.states import StepName
from tests.comparator import differences
from tests.fakes import fake_ports
from tests.faults.engine_kit import Driver
from tests.postgres.compare_kit import plan_for, run_steps, server
from tests.postgres.engine_runs import make_plan, running

# 00:30 in Shanghai is the day before in UTC.
TABLES = """
CREATE FUNCTION day_of(timestamptz) RETURNS date IMMUTABLE LANGUAGE sql AS 'SELECT $1::date';
CREATE DOMAIN recent AS timestamptz CHECK (VALUE::date >= '2024-01-01');
CREATE TABLE checked (id int PRIMARY KEY, at recent, day date, CONSTRAINT same CHECK (day = at::date));
CREATE TABLE computed (id int PRIMARY KEY, at timestamptz, day date GENERATED ALWAYS AS (day_of(at)) STORED);
CREATE INDEX by_day ON computed (day_of(at));
CREATE TABLE daily (id int, at timestamptz) PARTITION BY LIST (day_of(at));
CREATE TABLE first PARTITION OF daily FOR VALUES IN ('2024-01-01');
CREATE MATERIALIZED VIEW days AS
  SELECT id, at::date AS day, at::text AS words, '1 day'::interval::text AS long FROM computed;
"""
ROWS = """
INSERT INTO checked SELECT g, '2024-01-01 00:30:00+08', '2024-01-01' FROM generate_series({0}, {0} + 9) g;
INSERT INTO computed SELECT id, at FROM checked WHERE id >= {0};
INSERT INTO daily SELECT id, at FROM checked WHERE id >= {0};
"""


@contextlib.contextmanager
def as_users(cluster: Cluster, name: str) -> Iterator[psycopg.Connection[Any]]:
    """A session that has the settings of the database, written as the source's are."""
    with cluster.connect(name) as connection:
        connection.execute("SET timezone = 'Asia/Shanghai'; SET enable_seqscan = off")
        yield connection


@pytest.fixture
def in_shanghai(source_cluster: Cluster, source_db: str) -> str:
    with source_cluster.connect(source_db) as connection:
        for setting in ("timezone = 'Asia/Shanghai'", "datestyle = 'German'", "intervalstyle = 'iso_8601'"):
            connection.execute(f'ALTER DATABASE "{source_db}" SET {setting}'.encode())
    with source_cluster.connect(source_db) as connection:
        connection.execute(TABLES.encode())
        connection.execute(ROWS.format(1).encode())
        connection.execute("REFRESH MATERIALIZED VIEW days")
    return source_db


def found_by_day(cluster: Cluster, name: str) -> Any:
    with as_users(cluster, name) as connection:
        return connection.execute("SELECT count(*) FROM computed WHERE day_of(at) = '2024-01-01'").fetchone()


def test_a_full_migration_computes_days_in_the_time_zone_of_the_source(
    source_cluster: Cluster, target_cluster: Cluster, in_shanghai: str, target_db: str, tmp_path: Path
) -> None:
    plan = plan_for(server(source_cluster), server(target_cluster), in_shanghai, target_db, work_dir=tmp_path)
    run_steps(plan, fake_ports())
    with source_cluster.connect(in_shanghai) as here, target_cluster.connect(target_db) as there:
        assert differences(here, there, ignore=["schema"]) == []
    assert found_by_day(target_cluster, target_db) == (10,)


def test_rows_that_come_with_the_sync_are_computed_in_the_time_zone_of_the_source(
    source_cluster: Cluster, target_cluster: Cluster, in_shanghai: str, target_db: str, tmp_path: Path
) -> None:
    plan = make_plan(source_cluster, target_cluster, [(in_shanghai, target_db)], tmp_path)
    with Driver(plan) as driver:
        driver.until_in_sync()
        with source_cluster.connect(in_shanghai) as here:
            here.execute(ROWS.format(20).encode())
        driver.until(lambda: found_by_day(target_cluster, target_db) == (20,), "the rows")
        assert driver.step is StepName.SYNC
    with source_cluster.connect(in_shanghai) as here, target_cluster.connect(target_db) as there:
        tables = ["public.checked", "public.computed", "public.first"]
        assert differences(here, there, tables=tables) == []


def test_a_zone_that_only_our_account_has_counts_for_nobody(
    source_cluster: Cluster, target_cluster: Cluster, in_shanghai: str, target_db: str, tmp_path: Path
) -> None:
    with source_cluster.connect() as boss:
        boss.execute(f"ALTER ROLE postgres IN DATABASE \"{in_shanghai}\" SET timezone = 'Asia/Tokyo'".encode())
    plan = make_plan(source_cluster, target_cluster, [(in_shanghai, target_db)], tmp_path)
    with running(plan) as run:
        assert native.native_settings(run, plan.databases[0])["timezone"] == "Asia/Shanghai"


def test_a_zone_that_the_target_does_not_know_leaves_the_pinned_one(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)
    with running(plan) as run, run.sessions.session(Side.TARGET, target_db) as target:
        run.native[source_db] = {"timezone": "Mars/Olympus"}
        assert native.native_zone(run, plan.databases[0], target) == "UTC"


def test_the_session_that_told_the_settings_has_every_pin(
    source_cluster: Cluster, target_cluster: Cluster, in_shanghai: str, target_db: str, tmp_path: Path
) -> None:
    plan = make_plan(source_cluster, target_cluster, [(in_shanghai, target_db)], tmp_path)
    with running(plan) as run, native.open_source(run, plan.databases[0]) as told:
        row = told.execute(
            "SELECT '2024-01-01'::timestamptz::text || '1 day'::interval || extra_float_digits"
            " FROM pg_catalog.current_setting('extra_float_digits') AS extra_float_digits"
        ).fetchone()
    assert row == ("2024-01-01 00:00:00+001 day3",)


def test_a_server_that_keeps_an_account_from_views_fills_materialized_ones_all_the_same(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    with source_cluster.connect(source_db) as here, target_cluster.connect(target_db) as there:
        here.execute("CREATE VIEW one AS SELECT 1 AS i; CREATE MATERIALIZED VIEW filled AS SELECT i FROM one")
        there.execute(f"ALTER DATABASE \"{target_db}\" SET restrict_nonsystem_relation_kind = 'view'".encode())
    run_steps(
        plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path), fake_ports()
    )
    with target_cluster.connect(target_db) as there:
        assert there.execute("SELECT relispopulated FROM pg_class WHERE relname = 'filled'").fetchone() == (True,)


def test_a_row_that_breaks_a_check_on_the_target_alone_is_explained(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    with source_cluster.connect(source_db) as here:
        here.execute("CREATE TABLE asked (i int PRIMARY KEY, CHECK (version() LIKE 'PostgreSQL 16%'))")
        here.execute("INSERT INTO asked VALUES (1)")
    plan = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)
    with pytest.raises(TargetError) as raised:
        run_steps(plan, fake_ports())
    assert raised.value.code == "DST-ERROR"
    assert "as on the source" in raised.value.hint
