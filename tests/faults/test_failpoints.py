"""A worker killed right before and right after each thing that outlives it: the task ends as if nothing was."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.failpoints import arm
from tests.acceptance.places import Place, database_pair
from tests.faults.failpoint_cases import TALES, Tale
from tests.faults.failpoint_kit import Yard, killed, open_yard
from tests.faults.failpoint_stories import SCHEMA, assert_nothing_left


@pytest.fixture(scope="module")
def yard(source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with open_yard(source_cluster, target_cluster, tmp_path_factory.mktemp("failpoints")) as opened:
        yield opened


@pytest.fixture
def pair(yard: Yard) -> Iterator[tuple[Place, Place]]:
    """A small shop of everything that passes some point, and its namesake on the target to come."""
    role = f"role_{secrets.token_hex(4)}"

    def fill(connection: psycopg.Connection[Any]) -> None:
        connection.execute(SCHEMA.format(role=role).encode())

    try:
        with database_pair(yard, fill) as places:
            yield places
    finally:
        for cluster in (yard.source, yard.target):
            with cluster.connect() as connection:
                connection.execute(f'DROP ROLE IF EXISTS "{role}", "{role}_account"'.encode())


@pytest.mark.parametrize("tale", [pytest.param(one, id=one.name.replace(" ", "-"), marks=one.marks) for one in TALES])
def test_kills_before_and_after_it_change_nothing(yard: Yard, pair: tuple[Place, Place], tale: Tale) -> None:
    tale.before(*pair)
    pair[0].remember()
    (yard.folder / "hits").unlink(missing_ok=True)
    with killed(yard, pair, existing=tale.existing, parts=tale.parts, into=tale.into(*pair)) as task:
        arm(yard.folder, *(shot for case in tale.cases for shot in case.shots), *tale.more)
        tale.story(task)
        assert_nothing_left(task)
        assert task.kills == 2 * len(tale.cases), task.story()
