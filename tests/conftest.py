"""Fixtures for every test: two real servers per session, started on first use."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from migrations_app.demo.clusters import Cluster, source_settings
from tests import items_seen, tidy
from tests.folders import public_folder

# How long an example takes says how busy the machine is, nothing else.
settings.register_profile("towpath", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("towpath")
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # playwright runs a loop in the test's thread


def pytest_configure(config: pytest.Config) -> None:
    """A run of all of tests/postgres shows each item of the check passed and not passed, or fails."""
    config.pluginmanager.register(items_seen.ItemsSeen(), items_seen.NAME)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Leave the greater part of what stands under `sample(n)` to `make test-long`, and order the rest."""
    cases: dict[tuple[Path, str], list[pytest.Function]] = {}
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("sample"):
            cases.setdefault((item.path, item.originalname), []).append(item)
    for group in cases.values():
        _leave_to_the_long_run(group)
    yield
    _order(items)


def _leave_to_the_long_run(group: list[pytest.Function]) -> None:
    """Mark all but n cases of one test as long: always the same n, spread over all of them."""
    marker = group[0].get_closest_marker("sample")
    assert marker is not None
    group.sort(key=lambda item: tuple(item.callspec.indices.values()))
    kept = {index * len(group) // marker.args[0] for index in range(marker.args[0])}
    for index, item in enumerate(group):
        if index not in kept:
            item.add_marker(pytest.mark.long)


def _order(items: list[pytest.Item]) -> None:
    """Begin with what takes long, in random order: a file is one process's, and the last ones should be short."""
    rooms = {"acceptance": 0, "faults": 1, "postgres": 2, "integration": 3}
    here = Path(__file__).parent
    items.sort(key=lambda item: rooms.get(item.path.relative_to(here).parts[0], 4))


def _cluster(folder: Path, major: int, settings: dict[str, str], *roles: str) -> Iterator[Cluster]:
    # Half of the time of a login is spent on making guesses slow, and these passwords are 144 random bits.
    more = {"scram_iterations": "1", "max_prepared_transactions": "5"}
    cluster = Cluster(folder=folder, major=major, settings={**settings, **more})
    cluster.create()
    cluster.start()
    try:
        with cluster.connect() as connection:
            for role in roles:
                connection.execute(f'CREATE ROLE "{role}"')
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def source_cluster() -> Iterator[Cluster]:
    """PostgreSQL 16 with logical decoding, and the roles of `schema_kit.AWKWARD` for every test, in every order."""
    with public_folder("source") as folder:
        yield from _cluster(folder / "server", 16, source_settings(), "awkward_owner", "only on the source; x")


@pytest.fixture(scope="session")
def target_cluster() -> Iterator[Cluster]:
    """PostgreSQL 18, also with logical decoding so that it can serve as a source."""
    with public_folder("target") as folder:
        yield from _cluster(folder / "server", 18, source_settings(), "awkward_owner")


def _database(cluster: Cluster) -> Iterator[str]:
    name = f"t_{secrets.token_hex(4)}"
    with cluster.connect() as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield name
    with cluster.connect() as connection:
        for row in connection.execute(
            "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = %s", (name,)
        ).fetchall():
            if row[1]:
                connection.execute("SELECT pg_terminate_backend(%s, 5000)", (row[1],))
            connection.execute("SELECT pg_drop_replication_slot(%s)", (row[0],))
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def source_db(source_cluster: Cluster) -> Iterator[str]:
    """An empty database on the source, dropped afterwards together with its slots."""
    yield from _database(source_cluster)


@pytest.fixture
def target_db(target_cluster: Cluster) -> Iterator[str]:
    """An empty database on the target, dropped afterwards."""
    yield from _database(target_cluster)


@pytest.fixture(scope="session", autouse=True)
def _loopback() -> None:
    """All our servers are on loopback, which only a console that listens there may dial."""
    from migrations_app.runner import planning

    planning.trust_command_line()


@pytest.fixture(scope="session", autouse=True)
def _static_root() -> None:
    """Whitenoise warns about a missing folder, and warnings are errors here."""
    from django.conf import settings

    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


@pytest.fixture(scope="session", autouse=True)
def _static_files_when_asked_for() -> None:
    """Whitenoise reads all files again for each client of a test, which is a quarter of what a test of a page costs."""
    from django.conf import settings

    settings.WHITENOISE_AUTOREFRESH = True


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> None:
    """Passwords of our own users are slow to try on purpose; thousands of tries would make the tests slow as well."""
    from django.contrib.auth.hashers import PBKDF2PasswordHasher

    PBKDF2PasswordHasher.iterations = 1000


@pytest.fixture(autouse=True)
def _english() -> Iterator[None]:
    """A request leaves its language active in the thread; the next test begins without."""
    yield
    from django.utils import translation

    translation.deactivate()


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's chromium, as any account may run it."""
    named = os.environ.get("CHROMIUM")
    executable = shutil.which(named) if named else shutil.which("chromium-headless-shell") or shutil.which("chromium")
    arguments = [
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    if os.geteuid() == 0 or os.environ.get("CHROMIUM_NO_SANDBOX"):
        arguments.append("--no-sandbox")
    return {**browser_type_launch_args, "executable_path": executable, "args": arguments}


@pytest.fixture(autouse=True)
def _tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse a test that leaves a role, a slot or a setting on a shared server: others would fail for it, at times."""
    names = [name for name in ("source_cluster", "target_cluster") if name in request.fixturenames]
    clusters = {name: request.getfixturevalue(name) for name in names}
    before = {name: tidy.on_the_server(cluster) for name, cluster in clusters.items()}
    yield
    for name, cluster in clusters.items():
        now = tidy.on_the_server(cluster)
        assert not now - before[name], f"the test leaves this behind on {name}"
        assert not before[name] - now, f"the test has taken this away from {name}"
