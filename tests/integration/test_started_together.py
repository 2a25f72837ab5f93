"""Commands that are started at once on an empty data folder wait for each other, and all of them work."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from console.env import private_file
from tests.fakes import wait_until
from tests.installation import Installation

COMMANDS = 4


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Installation]:
    """An installation without tables, in the kind of database that the tests run with."""
    environment, url = {}, os.environ.get("DATABASE_URL", "")
    if url:
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("DROP DATABASE IF EXISTS started_together WITH (FORCE)")
            server.execute("CREATE DATABASE started_together")
        environment["DATABASE_URL"] = url.rpartition("/")[0] + "/started_together"
    installation = Installation(tmp_path / "data", **environment)
    installation.folder.mkdir()
    yield installation
    installation.stop()
    if url:
        with psycopg.connect(url, autocommit=True) as server:
            server.execute("DROP DATABASE started_together WITH (FORCE)")


@pytest.mark.long
def test_the_product_and_commands_may_be_started_at_once(empty: Installation) -> None:
    up = empty.start("up", "--only", "dispatcher")
    lists = [empty.start("task", "list") for _ in range(COMMANDS)]
    for one in lists:
        one.wait(120)
    assert [one.returncode for one in lists] == [0] * COMMANDS, empty.logs()
    beats = "SELECT 1 FROM migrations_app_workerbeat WHERE cluster = 'dispatcher'"
    wait_until(lambda: up.poll() is not None or empty.query(beats), 60, "the dispatcher")
    assert up.poll() is None, empty.logs()
    up.send_signal(signal.SIGTERM)
    assert up.wait(60) == 0, empty.logs()
    assert not list(empty.folder.glob("*.migrating"))


def test_a_key_that_was_begun_and_never_written_is_made(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    assert private_file(path, lambda: "made") == "made"
    assert private_file(path, lambda: "other") == "made"
    assert path.stat().st_mode & 0o777 == 0o600


def test_who_comes_second_reads_the_key_that_the_first_one_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, makes, may_end = tmp_path / "key", threading.Event(), threading.Event()
    at_the_lock, lock = threading.Semaphore(0), fcntl.flock

    def locked(*arguments: Any) -> None:
        at_the_lock.release()
        lock(*arguments)

    monkeypatch.setattr(fcntl, "flock", locked)
    found: list[str] = []

    def slowly() -> str:
        makes.set()
        assert may_end.wait(30)
        return "first"

    first = threading.Thread(target=lambda: found.append(private_file(path, slowly)))
    second = threading.Thread(target=lambda: found.append(private_file(path, lambda: "second")))
    first.start()
    assert makes.wait(30)
    second.start()
    for _ in (first, second):
        assert at_the_lock.acquire(timeout=30)
    may_end.set()
    for one in (first, second):
        one.join(30)
    assert found == ["first", "first"]
