"""A source with a standby that keeps failover slots in step, for the tests of what comes after its promotion."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster, _unprivileged, source_settings
from tests.fakes import wait_until
from tests.folders import public_folder

SECONDS = 120
NAME = "shop"


def _copied(primary: Cluster, folder: Path) -> Cluster:
    """Return a standby of the primary, not started yet."""
    login = f"host=127.0.0.1 port={primary.port} user=postgres password={primary.password} dbname=postgres"
    settings = {
        **source_settings(),
        "primary_conninfo": login,
        "primary_slot_name": "standby",
        "hot_standby_feedback": "on",
        "sync_replication_slots": "on",
    }
    standby = Cluster(folder=folder, major=primary.major, password=primary.password, settings=settings)
    folder.mkdir()
    drop = _unprivileged()
    if drop:
        os.chown(folder, drop["user"], drop["group"])
    command = [
        str(primary.bin() / "pg_basebackup"),
        "-D",
        str(standby.data),
        "-d",
        login,
        "-c",
        "fast",
        "-S",
        "standby",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=120, **drop)
    (standby.data / "standby.signal").touch()
    return standby


@pytest.fixture
def replicated() -> Iterator[tuple[Cluster, Cluster]]:
    """A source with a standby that keeps failover slots in step."""
    with public_folder("failover") as folder:
        primary = Cluster(folder=folder / "primary", major=18, settings=source_settings())
        primary.create()
        primary.start()
        standby = None
        try:
            with primary.connect() as connection:
                connection.execute("SELECT pg_create_physical_replication_slot('standby', true)")
                connection.execute(f"CREATE DATABASE {NAME}".encode())
            standby = _copied(primary, folder / "standby")
            standby.start()
            with primary.connect() as connection:
                worker = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%slotsync worker'"
                wait_until(lambda: connection.execute(worker).fetchone() == (1,), SECONDS, "the standby's worker")
            yield primary, standby
        finally:
            for cluster in (standby, primary):
                if cluster:
                    cluster.stop()
