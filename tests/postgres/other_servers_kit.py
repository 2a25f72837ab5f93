"""Servers of npm with what the wheel lacks (oids, ICU, TLS), and tasks between them; for x86-64 only."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from migrations_app.engine.plan import Plan
from tests.fakes import wait_until
from tests.postgres.checks_kit import login, plan
from tests.servers import Server, started

only_there = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="npm's PostgreSQL 10 with oids, ICU and TLS is for x86-64 only"
)


def _running(version: str, **settings: str) -> Iterator[Server]:
    with started(f"other-{version}", version, settings) as one:
        yield one


@pytest.fixture(scope="module")
def ten() -> Iterator[Server]:
    """PostgreSQL 10 with ICU 53; nothing makes statistics of its catalogs."""
    yield from _running("10", wal_level="logical", max_replication_slots="4", autovacuum="off")


@pytest.fixture(scope="module")
def eighteen() -> Iterator[Server]:
    """PostgreSQL 18 with a later ICU."""
    yield from _running("18", wal_level="logical")


@pytest.fixture
def task(ten: Server, eighteen: Server) -> Iterator[Plan]:
    with ten.connect() as here, eighteen.connect() as there:
        for side in (here, there):
            side.execute("CREATE DATABASE shop TEMPLATE template0")
    yield plan(login(ten), login(eighteen), [("shop", "shop")])
    for one in (ten, eighteen):
        with one.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shop'")
            wait_until(lambda: _dropped(connection), what="nobody is in the database")


@pytest.fixture
def fifteen() -> Iterator[Server]:
    """PostgreSQL 15, the last that lets a child alone compute a column of both, with a database `shop`."""
    for one in _running("15"):
        with one.connect() as connection:
            connection.execute("CREATE DATABASE shop TEMPLATE template0")
        yield one


@pytest.fixture
def to_eighteen(fifteen: Server, eighteen: Server) -> Iterator[Plan]:
    with eighteen.connect() as there:
        there.execute("CREATE DATABASE shop TEMPLATE template0")
    yield plan(login(fifteen), login(eighteen), [("shop", "shop")])
    with eighteen.connect() as there:
        wait_until(lambda: _dropped(there), what="nobody is in the database")


def _dropped(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("DROP DATABASE IF EXISTS shop")
    except psycopg.errors.ObjectInUse:
        return False
    return True
