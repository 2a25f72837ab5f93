"""Fixtures of the long tests: one world with workers, and a shop with a slow copy for each test."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster, source_settings
from migrations_app.demo.shop import load_shop
from migrations_app.demo.writer import Writer
from tests.acceptance.kit import Migration, World, open_world
from tests.acceptance.places import Place, database_pair, nothing_of_ours, slow_copy
from tests.conftest import _database as new_database
from tests.faults.engine_kit import Scene
from tests.faults.proxy import FaultProxy, fault_proxy
from tests.folders import public_folder

Record = Callable[[str, object], None]
HERE = Path(__file__).parent
SEED = int(os.environ.get("TOWPATH_SEED", "1"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("quick") is None:
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
def record_property(record_property: Record) -> Record:
    """Plain text only: a process of tests cannot hand over a sentence that remembers its template."""
    return lambda name, value: record_property(name, str(value))


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


@pytest.fixture
def scene(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Scene:
    """Two databases on the shared servers: for faults that harm nobody else there."""
    made = Scene(source_cluster, target_cluster, source_db, target_db, tmp_path)
    made.fill()
    return made


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: no session and no temporary slot of ours, and of a task that has ended nothing at all.

    Runs when everything that works on the databases has ended, and before they go.
    """
    scenes = [request.getfixturevalue(name) for name in ("scene", "breakable") if name in request.fixturenames]
    if "fresh_target" in request.fixturenames:
        request.getfixturevalue("fresh_target")  # so that it goes after this
    places = request.getfixturevalue("pair") if "pair" in request.fixturenames else None
    yield
    for scene in scenes:
        for cluster in (scene.source, scene.target):
            cluster.start()
        scene.assert_no_leftovers()
    if isinstance(places, tuple):  # not those of a test that has a pair of its own kind, and no task
        nothing_of_ours(*places)


@pytest.fixture
def proxies(scene: Scene) -> Iterator[dict[str, FaultProxy]]:
    """A proxy in front of each server."""
    with fault_proxy(scene.source.port, SEED) as source, fault_proxy(scene.target.port, SEED + 1) as target:
        yield {"source": source, "target": target}


def _breakable(major: int) -> Iterator[Cluster]:
    with public_folder("breakable") as folder:
        cluster = Cluster(
            folder=folder / "server", major=major, settings={**source_settings(), "scram_iterations": "1"}
        )
        cluster.create()
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture(scope="session")
def breakable_source() -> Iterator[Cluster]:
    """A source for faults that everybody on a server would feel: it may be stopped and reconfigured."""
    yield from _breakable(16)


@pytest.fixture(scope="session")
def breakable_target() -> Iterator[Cluster]:
    """A target of that kind."""
    yield from _breakable(18)


@pytest.fixture
def fresh_target() -> Iterator[Cluster]:
    """A target of one test alone."""
    yield from _breakable(18)


@pytest.fixture
def breakable(breakable_source: Cluster, breakable_target: Cluster, tmp_path: Path) -> Iterator[Scene]:
    """Two databases on servers that may be broken. Both run again, with their own settings, when the test has ended."""
    clusters = (breakable_source, breakable_target)
    database = contextlib.contextmanager(new_database)
    with database(clusters[0]) as one, database(clusters[1]) as other:
        made = Scene(*clusters, one, other, tmp_path)
        made.fill()
        yield made
        for cluster in clusters:
            cluster.start()
            with cluster.connect() as connection:
                connection.execute("ALTER SYSTEM RESET ALL")
                connection.execute("ALTER ROLE postgres RESET ALL")
                connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(params=["binary", "text"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the sync's values come from the source; tables with and without a key are in every scene."""
    if request.param == "text":
        monkeypatch.setattr("migrations_app.engine.replication.session._BINARY_SINCE", 10**9)
    return str(request.param)


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> float:
    """Shorten what a silent server is given, a minute in earnest, to the seconds that this returns."""
    monkeypatch.setattr("migrations_app.engine.patience.STALL_SECONDS", 6.0)
    monkeypatch.setattr("migrations_app.engine.replication.stream._SILENT_SECONDS", 1.0)
    return 3.0
