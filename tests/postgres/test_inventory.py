"""The object tree reads what an instance holds."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import CancelRequested
from migrations_app.engine.inventory import (
    InventoryAlong,
    InventoryDatabase,
    InventoryRow,
    InventorySchema,
    InventoryTable,
    read_inventory,
    read_target,
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


def test_a_partition_knows_its_root_and_the_root_its_size(
    source_cluster: Cluster, source_db: str, shop: psycopg.Connection
) -> None:
    shop.execute("CREATE SCHEMA parts")
    shop.execute("CREATE TABLE root (i int, j int) PARTITION BY RANGE (i)")
    shop.execute("CREATE TABLE parts.branch PARTITION OF root DEFAULT PARTITION BY RANGE (j)")
    shop.execute("CREATE TABLE parts.leaf PARTITION OF parts.branch DEFAULT")
    shop.execute("INSERT INTO root SELECT i, i FROM generate_series(1, 5000) i")
    found = tables(source_cluster, source_db)
    assert found["leaf"].parent == ("parts", "branch")
    assert found["leaf"].root == found["branch"].root == ("public", "root")
    assert found["root"].root is None
    assert found["root"].bytes == found["branch"].bytes == found["leaf"].bytes > 100_000


def test_what_cannot_move_is_named_with_the_reason(
    source_cluster: Cluster, source_db: str, shop: psycopg.Connection
) -> None:
    shop.execute("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w")
    shop.execute("CREATE FOREIGN TABLE away (i int) SERVER far")
    shop.execute("CREATE TABLE mine (i int); ALTER EXTENSION plpgsql ADD TABLE mine")
    shop.execute("CREATE TEMPORARY TABLE passing (i int)")
    found = tables(source_cluster, source_db)
    assert "no rows of its own" in found["away"].reason
    assert "extension plpgsql" in found["mine"].reason
    passing = [row for row in read(source_cluster, source_db) if isinstance(row, InventorySchema) and row.reason]
    assert [row.reason for row in passing] == ["1 temporary table of running sessions; such tables never move."]
    assert not any(row.selectable for row in [found["away"], found["mine"], *passing])


def test_what_comes_along_is_listed_without_members_of_extensions(
    source_cluster: Cluster, source_db: str, shop: psycopg.Connection
) -> None:
    shop.execute("CREATE TYPE theirs AS ENUM (); ALTER EXTENSION plpgsql ADD TYPE theirs")
    shop.execute("CREATE SEQUENCE alone; CREATE TYPE mood AS ENUM ('a'); CREATE TYPE pair AS (a int, b int)")
    shop.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TABLE t (i serial)")
    shop.execute("CREATE FUNCTION add(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT a + b'")
    along = {(row.kind, row.name) for row in read(source_cluster, source_db) if isinstance(row, InventoryAlong)}
    assert along == {
        ("sequence", "alone"),
        ("sequence", "t_i_seq"),
        ("type", "mood"),
        ("type", "pair"),
        ("type", "positive"),
        ("function", "add(a integer, b integer)"),
    }


def test_what_a_table_needs_is_known_as_far_as_the_catalog_knows_it(
    source_cluster: Cluster, source_db: str, shop: psycopg.Connection
) -> None:
    shop.execute("CREATE TYPE theirs AS ENUM (); ALTER EXTENSION plpgsql ADD TYPE theirs")
    shop.execute("CREATE SEQUENCE numbers; CREATE TYPE mood AS ENUM ('a')")
    shop.execute("CREATE FUNCTION seven() RETURNS int LANGUAGE sql AS 'SELECT 7'")
    shop.execute("CREATE FUNCTION fine(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'")
    shop.execute("CREATE FUNCTION wake() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    shop.execute(
        "CREATE TABLE t (i serial, n int DEFAULT nextval('numbers'), s int DEFAULT seven() CHECK (fine(s)),"
        " m mood[], h theirs, g int GENERATED ALWAYS AS IDENTITY)"
    )
    shop.execute("CREATE TRIGGER w BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION wake()")
    assert set(tables(source_cluster, source_db)["t"].needs) == {
        ("sequence", "public", "t_i_seq"),
        ("sequence", "public", "t_g_seq"),
        ("sequence", "public", "numbers"),
        ("function", "public", "seven()"),
        ("function", "public", "fine(integer)"),
        ("function", "public", "wake()"),
        ("type", "public", "mood"),
        ("extension", "", "plpgsql"),
    }


def test_the_target_says_what_it_has_under_the_given_names(target_cluster: Cluster, target_db: str) -> None:
    with target_cluster.connect(target_db) as connection:
        connection.execute("CREATE SCHEMA app; CREATE TABLE app.orders AS SELECT generate_series(1, 1204) AS i")
        connection.execute("CREATE VIEW app.v AS SELECT 1 AS one; ANALYZE app.orders")
    server = Server(host="127.0.0.1", port=target_cluster.port, user="postgres", password=target_cluster.password)
    found = {(row.schema, row.name): row for row in read_target(server, [target_db, "not there"])}
    assert {row.database for row in found.values()} == {target_db}
    assert found["app", "orders"].rows_estimate == 1204
    assert (found["app", "v"].kind, found["app", "v"].rows_estimate) == ("view", None)
    assert found["app", ""].kind == "schema"
    assert found["", ""].kind == "database"


def test_the_target_says_which_functions_and_types_it_has(target_cluster: Cluster, target_db: str) -> None:
    with target_cluster.connect(target_db) as connection:
        connection.execute("CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('calm'); CREATE DOMAIN app.short AS text")
        connection.execute(
            "CREATE FUNCTION app.fine(i integer) RETURNS app.mood LANGUAGE sql AS $$SELECT NULL::app.mood$$"
        )
        connection.execute("CREATE TABLE app.plain (i int); CREATE SEQUENCE app.numbers")
    server = Server(host="127.0.0.1", port=target_cluster.port, user="postgres", password=target_cluster.password)
    found = {row.name: (row.kind, row.rows_estimate) for row in read_target(server, [target_db]) if row.schema == "app"}
    assert found == {
        "": ("schema", None),
        "fine(i integer)": ("function", None),
        "mood": ("type", None),
        "short": ("type", None),
        "numbers": ("sequence", None),
        "plain": ("table", None),
    }
