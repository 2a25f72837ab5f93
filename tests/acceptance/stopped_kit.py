"""A task of its own in a running console, syncing one small table, for tests that bring its sync to a stop."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from migrations_app.demo.clusters import Cluster
from tests.acceptance.places import Place, drop_database
from tests.acceptance.test_whole_flow import Console
from tests.fakes import wait_until

_STATUS = "SELECT status FROM migrations_app_migrationtask WHERE id = ?"


@dataclass
class Stopped:
    """A task whose sync was brought to a stop, and both of its databases."""

    task: str
    source: Place
    target: Place


def printed(console: Console, *arguments: str) -> str:
    """Run a command of `task` that must end well, and return what it printed."""
    done = console.installation.manage("task", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def until(console: Console, task: str, status: str) -> None:
    """Wait for a status of the task."""
    key = task.replace("-", "")
    wait_until(lambda: console.installation.query(_STATUS, key) == [(status,)], 90, f"{status} of the task")


@contextlib.contextmanager
def syncing_goods(console: Console, source_cluster: Cluster, target_cluster: Cluster, rows: str) -> Iterator[Stopped]:
    """Sync a table `goods` (id, v) with these rows until the task is ready. Cancelled in the end if it still runs."""
    name = f"goods_{secrets.token_hex(3)}"
    source, target = Place(source_cluster, name), Place(target_cluster, name)
    with source_cluster.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    source.run(f"CREATE TABLE goods (id int PRIMARY KEY, v text); INSERT INTO goods VALUES {rows}")
    addresses = ("--source", source_cluster.uri(), "--target", target_cluster.uri(), "--database", name)
    task = json.loads(printed(console, "create", *addresses, "--name", name, "--json"))["id"]
    try:
        printed(console, "check", task)
        printed(console, "start", task)
        until(console, task, "ready")
        yield Stopped(task, source, target)
    finally:
        console.installation.manage("task", "cancel", task)  # refused when it has completed
        ended = [("cancelled",)], [("completed",)]
        key = task.replace("-", "")
        wait_until(lambda: console.installation.query(_STATUS, key) in ended, 60, "the end of the task")
        for place in (source, target):
            drop_database(place)
