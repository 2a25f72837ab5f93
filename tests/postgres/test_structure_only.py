"""Tables and databases that move without their rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.postgres import mapping_kit
from tests.postgres.mapping_kit import FULL, LATER, SYNC, execute, migrate, plan_of, store_of, told

# Fixtures that stand in the kit.
ports = mapping_kit.ports
app = mapping_kit.app
plans = mapping_kit.plans
target = mapping_kit.target


def test_structure_alone_is_made_whole_and_never_called_equal(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    ports: Ports,
    app: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    plans: list[Plan],
) -> None:
    rules: dict[Any, Any] = {(source_db, "public", name): "structure" for name in ("orders", "part_d", "per_customer")}
    plan = plan_of(
        source_cluster,
        target_cluster,
        (source_db, target_db),
        tmp_path,
        rules=rules,
        schemas={"public": "app"},
        incremental=True,
    )
    plans.append(plan)
    migrate(plan, ports, *SYNC)
    published = "SELECT tablename FROM pg_publication_tables ORDER BY 1"
    assert execute(app, published) == ["customers", "loose", "part_1"]
    execute(app, LATER)
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    assert execute(target, "SELECT count(*) FROM app.orders") == [0]
    assert execute(target, "SELECT count(*) FROM app.part") == [0]
    assert execute(target, "SELECT count(*) FROM app.customers WHERE m = 'sad'") == [1]
    assert execute(target, "SELECT relispopulated FROM pg_class WHERE relname = 'per_customer'") == [False]
    assert execute(target, "SELECT last_value FROM app.orders_id_seq") == execute(
        app, "SELECT last_value FROM orders_id_seq"
    )
    made = "SELECT conname FROM pg_constraint WHERE conrelid = '{}.orders'::regclass AND contype <> 'n' ORDER BY 1"
    assert execute(target, made.format("app")) == execute(app, made.format("public"))
    assert execute(target, "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == ["touched"]
    comparison = store_of(ports).comparisons[-1]
    assert comparison.equal
    verdicts = {item.name: item.verdict for item in comparison.tables}
    assert verdicts["orders"] == verdicts["part_d"] == "structure_only"
    assert "2 more were not to be moved" in told(ports)["CMP-EQUAL"]
    assert "2 tables" in told(ports)["STRUCTURE-ONLY"]


def test_foreign_keys_to_rows_that_stay_are_left_out_with_the_statement_to_add_them(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    ports: Ports,
    app: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    plans: list[Plan],
) -> None:
    execute(app, "CREATE TABLE child (id int PRIMARY KEY, o bigint REFERENCES orders); INSERT INTO child VALUES (1, 1)")
    rules: dict[Any, Any] = {
        (source_db, "public", "customers"): False,
        (source_db, "public", "child"): True,
        (source_db, "public", "orders"): "structure",
    }
    names, schemas = (source_db, target_db), {"public": "app"}
    plan = plan_of(
        source_cluster, target_cluster, names, tmp_path, rules=rules, schemas=schemas, foreign_keys="without"
    )
    migrate(plan, ports, *FULL)
    assert execute(target, "SELECT conname FROM pg_constraint WHERE contype = 'f'") == []
    [event] = [detail for code, detail in store_of(ports).details if code == "SUBSET-KEYS"]
    comparison = store_of(ports).comparisons[-1]
    assert [item.name for item in comparison.other if item.verdict == "left_out"] == [
        "constraint child_o_fkey on child",
        "constraint orders_customer_fkey on orders",
    ]
    assert comparison.equal
    assert any("REFERENCES app.orders(id)" in text for text in event["statements"])


def test_a_database_without_its_rows_syncs_nothing_and_completes(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    ports: Ports,
    app: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    plans: list[Plan],
) -> None:
    execute(app, "SELECT lo_from_bytea(4711, 'x')")
    bare: dict[Any, Any] = {(source_db,): "structure"}
    plan = plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path, rules=bare, incremental=True)
    plans.append(plan)
    migrate(plan, ports, *SYNC)
    execute(app, LATER)
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    assert store_of(ports).tables(source_db) == []
    assert execute(target, "SELECT count(*) FROM orders UNION ALL SELECT count(*) FROM cache") == [0, 0]
    assert execute(target, "SELECT count(*) FROM pg_largeobject_metadata") == [0]
    assert execute(target, "SELECT convalidated FROM pg_constraint WHERE contype = 'f'") == [True]
    assert {item.verdict for item in store_of(ports).comparisons[-1].tables} == {"structure_only"}
