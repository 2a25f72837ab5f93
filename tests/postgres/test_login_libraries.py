"""Settings that have sessions load libraries which the target lacks are told, and nobody is locked out of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from tests import tidy
from tests.fakes import fake_ports
from tests.postgres.compare_kit import plan_for, run_steps, server

LOADS = "session_preload_libraries"


@pytest.fixture
def library(source_cluster: Cluster) -> str:
    """A library that the source can load, and the target, of another version, cannot."""
    with source_cluster.connect() as connection:
        row = connection.execute("SELECT setting FROM pg_config() WHERE name = 'PKGLIBDIR'").fetchone()
    return f"{row[0] if row else ''}/plpgsql.so"


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, tmp_path: Path) -> Iterator[Plan]:
    there = f"{source_db}_there"
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 10)")
    yield plan_for(server(source_cluster), server(target_cluster), source_db, there, work_dir=tmp_path)
    with target_cluster.connect() as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {there} WITH (FORCE)".encode())


@pytest.mark.parametrize("incremental", [False, pytest.param(True, marks=pytest.mark.long)])
def test_a_library_that_the_target_lacks_is_noted_and_locks_nobody_out_of_the_database(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, source_db: str, library: str, incremental: bool
) -> None:
    with source_cluster.connect() as connection:
        connection.execute(f"ALTER DATABASE {source_db} SET {LOADS} = 'plpgsql', '{library}'".encode())
        connection.execute(f"ALTER DATABASE {source_db} SET work_mem = '5MB'".encode())
    store = run_steps(replace(plan, incremental=incremental), fake_ports())
    with target_cluster.connect(f"{source_db}_there") as connection:
        assert connection.execute("SELECT count(*), current_setting('work_mem') FROM a").fetchone() == (10, "5MB")
        shown = connection.execute(f"SELECT current_setting('{LOADS}')".encode()).fetchone()
    assert shown == ("",)
    told = [text for _, code, text in store.events if code == "DATABASE-SETTINGS"]
    assert len(told) == 1
    assert LOADS in told[0]
    assert f'missing library: FATAL:  could not load library "{library[:40]}' in told[0]


def test_a_library_that_the_target_has_is_loaded_there_as_on_the_source(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    with source_cluster.connect() as connection:
        connection.execute(f"ALTER DATABASE {source_db} SET {LOADS} = 'plpgsql', '$libdir/plpgsql'".encode())
    store = run_steps(plan, fake_ports())
    with target_cluster.connect(f"{source_db}_there") as connection:
        assert connection.execute(f"SHOW {LOADS}".encode()).fetchone() == ('plpgsql, "$libdir/plpgsql"',)
    assert "DATABASE-SETTINGS" not in [code for _, code, _ in store.events]


def test_a_role_whose_sessions_load_a_library_that_the_target_lacks_may_log_in_there(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, source_db: str, library: str
) -> None:
    role = f"loads_{source_db}"
    try:
        with source_cluster.connect(source_db) as connection:
            connection.execute(f"CREATE ROLE {role} LOGIN; ALTER TABLE a OWNER TO {role}".encode())
            connection.execute(f"ALTER ROLE {role} SET {LOADS} = '{library}'".encode())
        store = run_steps(replace(plan, selection=replace(plan.selection, roles="needed")), fake_ports())
        with target_cluster.connect() as connection:
            row = connection.execute("SELECT rolconfig FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
        assert row == (None,)
        assert any(one.name == role and "missing library" in one.words for one in store.notes[""])
    finally:
        tidy.drop_role(source_cluster, role, source_db)
        tidy.drop_role(target_cluster, role, f"{source_db}_there")
