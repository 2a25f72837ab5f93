"""Servers of every version, started on first use, and the table that the run writes."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.folders import public_folder
from tests.installation import Installation
from tests.matrix.table import Table
from tests.matrix.torture import ROLES
from tests.servers import Server, older, server

_DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"


class Servers:
    """Two servers of each version: a source and a target."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[tuple[str, str], Server] = {}

    def of(self, version: str, side: str) -> Server:
        """Return the running server of a version for a side. Raises Unavailable."""
        if (version, side) not in self._running:
            settings = {"max_prepared_transactions": "5", "shared_buffers": "32MB"}
            if not older(version, "9.4"):
                settings |= {"wal_level": "logical", "max_replication_slots": "10", "max_wal_senders": "10"}
            one = server(self._folder / f"{version}-{side}", version, settings, package=True)
            one.create()
            one.start()
            self._running[version, side] = one
            with one.connect() as connection:
                for role in ROLES:
                    connection.execute(f'CREATE ROLE "{role.replace(chr(34), chr(34) * 2)}"')
        return self._running[version, side]

    def stop(self) -> None:
        """Stop all of them."""
        for one in self._running.values():
            one.stop()


@pytest.fixture(scope="session")
def versions() -> Iterator[Servers]:
    """The servers of this run."""
    with public_folder("matrix") as folder:
        found = Servers(folder)
        try:
            yield found
        finally:
            found.stop()


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The product, as a terminal uses it."""
    folder = tmp_path_factory.mktemp("matrix")
    made = Installation(folder, TOWPATH_LOG_LEVEL="ERROR")
    made.migrate()
    yield made
    made.stop()
    if kept := os.environ.get("TOWPATH_MATRIX_LOGS"):
        shutil.copytree(folder, kept, dirs_exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def table() -> Table:
    """The table of results. Each result is written at once: a run that is stopped keeps what it found."""
    return Table(Path(os.environ.get("TOWPATH_MATRIX_TABLE") or _DOCUMENT))


@pytest.fixture(scope="session")
def seed() -> int:
    """What the writers' choices depend on; TOWPATH_MATRIX_SEED repeats a run."""
    return int(os.environ.get("TOWPATH_MATRIX_SEED") or random.SystemRandom().randrange(1 << 30))
