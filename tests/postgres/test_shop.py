"""The sample data, and the oracle that the other tests trust."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.shop import load_analytics, load_shop, table_counts
from tests.comparator import differences

SMALL = 0.01
_COLUMNS = "SELECT count(*) FROM pg_attribute WHERE attrelid > 16384 AND attnum > 0 AND atttypid ="
QUESTIONS = {
    "partitioned tables below partitioned tables": "SELECT count(*) FROM pg_class WHERE relkind = 'p' AND"
    " relispartition",
    "default partitions": "SELECT count(*) FROM pg_partitioned_table WHERE partdefid <> 0",
    "enums": "SELECT count(*) FROM pg_type WHERE typtype = 'e'",
    "domains": "SELECT count(*) FROM pg_type WHERE typtype = 'd' AND typnamespace = 'public'::regnamespace",
    "composites": "SELECT count(*) FROM pg_class WHERE relkind = 'c'",
    "own ranges": "SELECT count(*) FROM pg_type t JOIN pg_range ON rngtypid = t.oid WHERE typnamespace ="
    " 'catalog'::regnamespace",
    "identity always": "SELECT count(*) FROM pg_attribute WHERE attidentity = 'a'",
    "identity by default": "SELECT count(*) FROM pg_attribute WHERE attidentity = 'd'",
    "generated columns": "SELECT count(*) FROM pg_attribute WHERE attgenerated = 's'",
    "self-references": "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = confrelid",
    "deferrable constraints": "SELECT count(*) FROM pg_constraint WHERE condeferrable AND contype = 'u'",
    "exclusion constraints": "SELECT count(*) FROM pg_constraint WHERE contype = 'x'",
    "constraints not validated": "SELECT count(*) FROM pg_constraint WHERE NOT convalidated",
    "partial indexes": "SELECT count(*) FROM pg_index WHERE indpred IS NOT NULL",
    "expression indexes": "SELECT count(*) FROM pg_index WHERE indexprs IS NOT NULL",
    "materialized views": "SELECT count(*) FROM pg_class WHERE relkind = 'm'",
    "triggers that always fire": "SELECT count(*) FROM pg_trigger WHERE tgenabled = 'A'",
    "rules": "SELECT count(*) FROM pg_rules WHERE schemaname = 'sales'",
    "sequences without owner": "SELECT count(*) FROM pg_class c WHERE relkind = 'S' AND NOT EXISTS"
    " (SELECT FROM pg_depend WHERE objid = c.oid AND deptype IN ('a', 'i'))",
    "large objects": "SELECT count(*) FROM pg_largeobject_metadata",
    "comments": "SELECT count(*) FROM pg_description WHERE objoid > 16384",
    "dropped columns": "SELECT count(*) FROM pg_attribute WHERE attisdropped",
    "tables without key": "SELECT count(*) FROM pg_class c WHERE relkind = 'r' AND relnamespace ="
    " 'sales'::regnamespace"
    " AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)",
    "arrays": "SELECT count(*) FROM pg_attribute WHERE atttypid::regtype::text ~ '\\[\\]$' AND attrelid > 16384"
    " AND attnum > 0",
    "jsonb": f"{_COLUMNS} 'jsonb'::regtype",
    "bytea": f"{_COLUMNS} 'bytea'::regtype",
    "numeric": f"{_COLUMNS} 'numeric'::regtype",
    "timestamptz": f"{_COLUMNS} 'timestamptz'::regtype",
    "range columns": "SELECT count(*) FROM pg_attribute JOIN pg_type t ON t.oid = atttypid WHERE typtype = 'r'"
    " AND attrelid > 16384 AND attnum > 0",
    "serial": "SELECT count(*) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid WHERE c.relkind = 'S' AND"
    " d.deptype = 'a' AND d.refobjsubid > 0",
    "circular foreign keys": "SELECT count(*) FROM pg_constraint a JOIN pg_constraint b ON a.conrelid = b.confrelid"
    " AND a.confrelid = b.conrelid WHERE a.contype = 'f' AND b.contype = 'f' AND a.conrelid <> a.confrelid",
    "deferrable foreign keys": "SELECT count(*) FROM pg_constraint WHERE condeferrable AND contype = 'f'",
    "views on views": "SELECT count(*) FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON"
    " v.oid = r.ev_class JOIN pg_class on_view ON on_view.oid = d.refobjid WHERE v.relkind = 'v' AND"
    " on_view.relkind = 'v' AND v.oid <> on_view.oid AND v.oid > 16384",
    "triggers with functions of their own": "SELECT count(*) FROM pg_trigger JOIN pg_proc p ON p.oid = tgfoid"
    " WHERE NOT tgisinternal AND p.oid > 16384",
    "names in mixed case": "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '[A-Z]'",
    "names beyond ASCII": "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'S') AND relname ~ '[^ -~]'",
    "names with spaces": "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE '% %'",
}


@pytest.fixture
def shop(source_cluster: Cluster, source_db: str) -> str:
    with source_cluster.connect(source_db) as connection:
        load_shop(connection, SMALL)
    return source_db


def _dump_and_restore(source: Cluster, name: str, target: Cluster, target_name: str, folder: Path) -> None:
    """PostgreSQL's own tools, so that nothing of the product takes part."""
    archive = folder / "shop.dump"
    tools = target.bin()
    for cluster, command in (
        (source, ["pg_dump", "-Fc", "-f", str(archive), "-d", name]),
        (target, ["pg_restore", "--exit-on-error", "-d", target_name, str(archive)]),
    ):
        login = ["-h", "127.0.0.1", "-p", str(cluster.port), "-U", "postgres"]
        subprocess.run(
            [str(tools / command[0]), *login, *command[1:]],
            check=True,
            env={**os.environ, "PGPASSWORD": cluster.password},
        )


def test_every_kind_of_object_that_a_migration_can_stumble_over_is_there(source_cluster: Cluster, shop: str) -> None:
    with source_cluster.connect(shop) as connection:
        found = {what: connection.execute(query.encode()).fetchone() for what, query in QUESTIONS.items()}
    missing = [what for what, row in found.items() if not row or not row[0]]
    assert missing == []


def test_every_table_of_the_small_shop_has_rows(source_cluster: Cluster, shop: str) -> None:
    with source_cluster.connect(shop) as connection:
        counts = table_counts(connection)
    assert len(counts) >= 25
    assert [name for name, rows in counts.items() if not rows] == []


def test_the_same_scale_gives_the_same_rows_on_another_server(
    source_cluster: Cluster, shop: str, target_cluster: Cluster, target_db: str
) -> None:
    with source_cluster.connect(shop) as here, target_cluster.connect(target_db) as there:
        load_shop(there, SMALL)
        assert [line for line in differences(here, there) if line.startswith(("table", "sequence "))] == []


def test_the_oracle_finds_no_difference_after_dump_and_restore(
    source_cluster: Cluster, shop: str, target_cluster: Cluster, target_db: str, tmp_path: Path
) -> None:
    _dump_and_restore(source_cluster, shop, target_cluster, target_db, tmp_path)
    with source_cluster.connect(shop) as here, target_cluster.connect(target_db) as there:
        assert differences(here, there) == []


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (
            "UPDATE sales.shipments SET weight = '-0' WHERE id = (SELECT min(id) FROM sales.shipments)",
            "table sales.shipments",
        ),
        ("UPDATE catalog.reviews SET body = body || ' ' WHERE id = 1", "table catalog.reviews"),
        ("UPDATE catalog.reviews SET author = '' WHERE author IS NULL", "table catalog.reviews"),
        (
            "DELETE FROM sales.customer_notes WHERE ctid = (SELECT ctid FROM sales.customer_notes LIMIT 1)",
            "table sales.customer_notes",
        ),
        ("INSERT INTO sales.customer_notes SELECT * FROM sales.customer_notes LIMIT 1", "table sales.customer_notes"),
        ("SELECT nextval('sales.invoice_number')", "sequence sales.invoice_number"),
        ("SELECT lo_put(oid, 3, 'x') FROM pg_largeobject_metadata LIMIT 1", "large object"),
        ("DROP INDEX catalog.products_slug", "index catalog.products_slug"),
        ("ALTER TABLE public.settings ENABLE TRIGGER record", "trigger record on public.settings"),
        ("ALTER TABLE catalog.brands ALTER id SET GENERATED BY DEFAULT", "column catalog.brands.id"),
        ("ALTER TABLE sales.customer_notes REPLICA IDENTITY FULL", "replica identity sales.customer_notes"),
        ("COMMENT ON TABLE sales.customer_notes IS NULL", "comment table sales.customer_notes"),
        ("DROP RULE remember ON sales.coupons", "rule remember on sales.coupons"),
        ("REFRESH MATERIALIZED VIEW sales.best_months WITH NO DATA", "table sales.best_months"),
        ('DROP VIEW public."Top 10 Kunden"', 'relation public."Top 10 Kunden"'),
        (
            "ALTER TABLE sales.payments DROP CONSTRAINT payments_order_id_placed_at_fkey",
            "constraint payments_order_id_placed_at_fkey",
        ),
    ],
)
def test_the_oracle_finds_each_kind_of_damage(damage: str, expected: str, source_cluster: Cluster, shop: str) -> None:
    copy = f"{shop}_copy"
    with source_cluster.connect() as admin:
        admin.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{shop}"')
    try:
        with source_cluster.connect(shop) as here, source_cluster.connect(copy) as there:
            there.execute(damage.encode())
            assert any(line.startswith(expected) for line in differences(here, there))
    finally:
        with source_cluster.connect() as admin:
            admin.execute(f'DROP DATABASE "{copy}" WITH (FORCE)')


def test_the_second_database_loads(source_cluster: Cluster, source_db: str) -> None:
    with source_cluster.connect(source_db) as connection:
        load_analytics(connection)
        assert all(table_counts(connection).values())
