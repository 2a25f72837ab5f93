"""Fixtures that several tests with real servers share."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from tests.postgres.engine_runs import make_plan
from tests.postgres.schema_kit import AWKWARD, ROWS


@pytest.fixture
def awkward_roles(source_cluster, target_cluster) -> None:
    for cluster, names in (
        (source_cluster, ("awkward_owner", "only on the source; x")),
        (target_cluster, ("awkward_owner",)),
    ):
        with cluster.connect() as connection:
            for name in names:
                with contextlib.suppress(psycopg.errors.DuplicateObject):
                    connection.execute(f'CREATE ROLE "{name}"')


@pytest.fixture
def awkward_db(source_cluster, source_db, awkward_roles) -> str:
    with source_cluster.connect(source_db) as connection:
        connection.execute(AWKWARD)
        connection.execute("ALTER TABLE public.unready DROP CONSTRAINT later_valid")
        connection.execute(ROWS)
    return source_db


@pytest.fixture
def awkward_plan(source_cluster, target_cluster, awkward_db, target_db, tmp_path):
    return make_plan(source_cluster, target_cluster, [(awkward_db, target_db)], tmp_path, incremental=False)
