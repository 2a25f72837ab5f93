"""An account that may see less of an older server's catalogs compares structures all the same."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from tests.postgres.compare_kit import plan_for, structure_now
from tests.postgres.compare_kit import server as endpoint
from tests.servers import Server, started

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="npm has PostgreSQL 10 to 13 for x86-64 only")


@pytest.fixture(params=["10", "13"])
def older(request: pytest.FixtureRequest) -> Iterator[Server]:
    with started(f"older-{request.param}", request.param) as one:
        yield one


def test_an_ordinary_account_of_a_source_before_14_is_told_what_is_missing(
    older: Server, target_cluster: Cluster, target_db: str, tmp_path: Path
) -> None:
    password = secrets.token_urlsafe()
    with older.connect() as connection:
        connection.execute(f"CREATE ROLE ordinary LOGIN PASSWORD '{password}'".encode())
        connection.execute("CREATE DATABASE shop OWNER ordinary")
    with older.connect("shop", user="ordinary", password=password) as connection:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT id FROM t")
    plan = plan_for(endpoint(older), endpoint(target_cluster), "shop", target_db, work_dir=tmp_path)
    plan = replace(plan, source=replace(plan.source, user="ordinary", password=password))
    with target_cluster.connect(target_db) as connection:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
    notes = structure_now(plan)
    assert [note.title for note in notes if note.what.startswith("missing")] == ["view public.v"]
    assert not [note for note in notes if note.kind == "structure"]
