"""Fixtures of the long tests: one world with workers, and a shop with a slow copy for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.shop import load_shop
from migrations_app.demo.writer import Writer
from tests.acceptance.kit import Migration, World, open_world
from tests.acceptance.places import Place, database_pair, slow_copy

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def world(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """An installation with all its workers, shared by all tests: each makes databases and a task of its own."""
    with open_world(source_cluster, target_cluster, tmp_path_factory.mktemp("faults")) as opened:
        yield opened


def _fill(connection: psycopg.Connection[Any]) -> None:
    load_shop(connection, 0.02)
    slow_copy(connection)


@pytest.fixture
def pair(world: World) -> Iterator[tuple[Place, Place]]:
    with database_pair(world, _fill, make_target=True) as places:
        yield places


@pytest.fixture
def migration(world: World, pair: tuple[Place, Place]) -> Iterator[Migration]:
    made = Migration(world, *pair)
    yield made
    made.close()


@pytest.fixture
def writer(pair: tuple[Place, Place]) -> Iterator[Writer]:
    """The application, writing all the time."""
    source, _ = pair
    with Writer(source.cluster.arguments(source.name), seed=2, rate=40) as started:
        yield started
