"""The command line as somebody types it: a terminal with its own console database, and pairs of databases."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.shop import load_shop
from tests.acceptance.places import Place, database_pair
from tests.comparator import differences
from tests.installation import ROOT, Installation

TABLES = """
CREATE SCHEMA sales;
CREATE TABLE sales.parents (id int PRIMARY KEY, name text);
CREATE TABLE sales.children (id int PRIMARY KEY, parent int REFERENCES sales.parents);
CREATE TABLE public.things (id int PRIMARY KEY, v text);
INSERT INTO sales.parents SELECT g, 'p' FROM generate_series(1, 50) g;
INSERT INTO sales.children SELECT g, g FROM generate_series(1, 50) g;
INSERT INTO public.things SELECT g, 't' FROM generate_series(1, 50) g;
"""


class Terminal:
    """A shell with `manage.py task` and two servers; no worker runs anywhere."""

    def __init__(self, installation: Installation, source: Cluster, target: Cluster) -> None:
        self.installation, self.source, self.target = installation, source, target

    def task(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.installation.manage("task", *words, **environment)

    def run(self, *more: str, source: str = "", target: str = "", **environment: str) -> Any:
        """Run a task with the servers' own addresses, or others."""
        ends = ["--source", source or self.source.uri(), "--target", target or self.target.uri()]
        return self.task("run", *ends, *more, **environment)

    def run_on_a_screen(self, *more: str) -> tuple[int, str, str]:
        """Run a task whose messages go to a screen. Returns the exit code, what was printed, what the screen got."""
        ends = ["--source", self.source.uri(), "--target", self.target.uri()]
        command = [sys.executable, str(ROOT / "manage.py"), "task", "run", *ends, *more]
        screen, other_end = pty.openpty()
        with subprocess.Popen(
            command, env=self.installation.environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=other_end, text=True
        ) as process:
            os.close(other_end)
            got = b""
            with contextlib.suppress(OSError):  # what a screen says when nobody writes to it any more
                while part := os.read(screen, 65536):
                    got += part
            os.close(screen)
            printed = process.stdout.read() if process.stdout else ""
            return process.wait(60), printed, got.decode().replace("\r\n", "\n")


@pytest.fixture(scope="module")
def terminal(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    installation = Installation(tmp_path_factory.mktemp("terminal"))
    installation.migrate()
    yield Terminal(installation, source_cluster, target_cluster)
    installation.stop()


@pytest.fixture
def shop(terminal: Terminal) -> Iterator[tuple[Place, Place]]:
    with database_pair(terminal, lambda connection: load_shop(connection, 0.01)) as places:
        yield places


@pytest.fixture
def small(terminal: Terminal) -> Iterator[tuple[Place, Place]]:
    with database_pair(terminal, TABLES) as places:
        yield places


def different(source: Place, target: Place, **options: Any) -> list[str]:
    with source.connect() as one, target.connect() as other:
        return differences(one, other, **options)
