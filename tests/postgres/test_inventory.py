"""The object tree reads what an instance holds."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import CancelRequested
from migrations_app.engine.inventory import (
    InventoryDatabase,
    InventoryRow,
    InventorySchema,
    InventoryTable,
    read_inventory,
)
from migrations_app.engine.plan import Server
from tests.fakes import FakeControl


@pytest.fixture
def shop(source_cluster: Cluster, source_db: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with source_cluster.connect(source_db) as connection:
        yield connection


def read(cluster: Cluster, database: str = "", **login: str) -> list[InventoryRow]:
    server = Server(host="127.0.0.1", port=cluster.port, **{"user": "postgres", "password": cluster.password, **login})
    rows = list(read_inventory(server))
    return [row for row in rows if database in (getattr(row, "database", None), row.name)] if database else rows


def tables(cluster: Cluster, database: str, **login: str) -> dict[str, InventoryTable]:
    return {row.name: row for row in read(cluster, database, **login) if isinstance(row, InventoryTable)}


def test_every_kind_of_relation_is_named(source_cluster: Cluster, source_db: str, shop: psycopg.Connection) -> None:
    shop.execute("CREATE TABLE plain (i int)")
    shop.execute("CREATE TABLE root (i int) PARTITION BY RANGE (i)")
    shop.execute("CREATE TABLE leaf PARTITION OF root DEFAULT")
    shop.execute("CREATE VIEW v AS SELECT 1 AS one")
    shop.execute("CREATE MATERIALIZED VIEW m AS SELECT 1 AS one")
    shop.execute("CREATE UNLOGGED TABLE quick (i int)")

    found = tables(source_cluster, source_db)

    assert {name: row.kind for name, row in found.items()} == {
        "plain": "table",
        "root": "partitioned",
        "leaf": "partition",
        "v": "view",
        "m": "matview",
        "quick": "table",
    }
    assert found["leaf"].parent == ("public", "root")
    assert found["quick"].unlogged


def test_sizes_are_known_without_analyze(source_cluster: Cluster, source_db: str, shop: psycopg.Connection) -> None:
    shop.execute("CREATE TABLE big AS SELECT generate_series(1, 10000) AS i")
    assert tables(source_cluster, source_db)["big"].bytes > 300_000


def test_a_locked_table_does_not_hold_up_the_tree(
    source_cluster: Cluster, source_db: str, shop: psycopg.Connection
) -> None:
    shop.execute("CREATE TABLE busy AS SELECT 1 AS i")
    with shop.transaction():
        shop.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        started = time.monotonic()
        assert "busy" in tables(source_cluster, source_db)
    assert time.monotonic() - started < 5


def test_foreign_key_parents_are_listed_once_and_without_the_table_itself(
    source_cluster: Cluster, source_db: str, shop: psycopg.Connection
) -> None:
    shop.execute('CREATE SCHEMA "Ware, house"')
    shop.execute('CREATE TABLE "Ware, house"."par""ent" (i int PRIMARY KEY)')
    shop.execute(
        'CREATE TABLE child (i int PRIMARY KEY REFERENCES child, j int REFERENCES "Ware, house"."par""ent",'
        ' k int REFERENCES "Ware, house"."par""ent")'
    )
    assert tables(source_cluster, source_db)["child"].fk_parents == (("Ware, house", 'par"ent'),)


def test_what_may_not_be_read_is_listed_with_the_reason(
    source_cluster: Cluster, source_db: str, shop: psycopg.Connection
) -> None:
    shop.execute("DROP ROLE IF EXISTS tree_reader")
    shop.execute("CREATE ROLE tree_reader LOGIN PASSWORD 'x'")
    shop.execute(
        "CREATE TABLE open_table (i int); CREATE TABLE secret (i int); GRANT SELECT ON open_table TO tree_reader"
    )
    shop.execute("CREATE SCHEMA hidden; CREATE TABLE hidden.t (i int)")
    try:
        found = tables(source_cluster, source_db, user="tree_reader", password="x")
        assert found["open_table"].selectable
        assert not found["secret"].selectable
        assert "SELECT" in found["secret"].reason
        assert "USAGE" in found["t"].reason
    finally:
        shop.execute("DROP OWNED BY tree_reader; DROP ROLE tree_reader")


def test_a_closed_database_is_listed_with_the_reason(source_cluster: Cluster, source_db: str) -> None:
    with source_cluster.connect() as connection:
        connection.execute(f'ALTER DATABASE "{source_db}" ALLOW_CONNECTIONS false')
    try:
        (row,) = read(source_cluster, source_db)
    finally:
        with source_cluster.connect() as connection:
            connection.execute(f'ALTER DATABASE "{source_db}" ALLOW_CONNECTIONS true')
    assert isinstance(row, InventoryDatabase)
    assert not row.can_connect
    assert "does not allow connections" in row.reason


def test_templates_system_schemas_and_the_empty_postgres_database_are_left_out(
    source_cluster: Cluster, source_db: str
) -> None:
    with source_cluster.connect() as connection:  # whatever another test may have left in it
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    rows = read(source_cluster)
    databases = {row.name for row in rows if isinstance(row, InventoryDatabase)}
    assert source_db in databases
    assert not databases & {"template0", "template1", "postgres"}
    assert not {row.name for row in rows if isinstance(row, InventorySchema)} & {"pg_catalog", "information_schema"}


def test_an_empty_schema_is_listed(source_cluster: Cluster, source_db: str, shop: psycopg.Connection) -> None:
    shop.execute("CREATE SCHEMA bare")
    assert "bare" in {row.name for row in read(source_cluster, source_db) if isinstance(row, InventorySchema)}


def test_temporary_and_extension_tables_are_left_out(
    source_cluster: Cluster, source_db: str, shop: psycopg.Connection
) -> None:
    shop.execute("CREATE TEMPORARY TABLE passing (i int)")
    assert "passing" not in tables(source_cluster, source_db)


@pytest.mark.slow
def test_ten_thousand_tables_are_read_in_seconds(
    source_cluster: Cluster, source_db: str, shop: psycopg.Connection
) -> None:
    for block in range(10):
        shop.execute(
            "DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE format('CREATE TABLE t_%s_%s (i int)', "
            f"{block}, i); END LOOP; END $$"
        )
    started = time.monotonic()
    assert len(tables(source_cluster, source_db)) == 10_000
    assert time.monotonic() - started < 5


def test_reading_stops_when_the_run_must_stop(source_cluster: Cluster, source_db: str) -> None:
    control = FakeControl()
    control.cancel()
    with pytest.raises(CancelRequested):
        list(
            read_inventory(
                Server(host="127.0.0.1", port=source_cluster.port, user="postgres", password=source_cluster.password),
                control,
            )
        )
