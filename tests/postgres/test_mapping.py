"""Schemas and databases under other names on the target, structure without rows, foreign keys left out.

The oracle of the names is the server itself: afterwards the source's schemas are renamed by ALTER SCHEMA, and then both
sides have to be the same to the last view.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.shop import load_shop
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.cleaning.clearing import clear_target
from migrations_app.engine.errors import ConflictError
from migrations_app.engine.plan import DatabasePlan, Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.comparator import differences
from tests.fakes import fake_ports
from tests.postgres import mapping_kit
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import running
from tests.postgres.mapping_kit import (
    FULL,
    HOSTILE,
    LATER,
    ODD,
    SYNC,
    execute,
    migrate,
    plan_of,
    rename,
    store_of,
    told,
)

# Fixtures that stand in the kit.
ports = mapping_kit.ports
app = mapping_kit.app
plans = mapping_kit.plans
target = mapping_kit.target


@pytest.mark.parametrize("schemas", [{"public": ODD, ODD: "public"}, {"public": "order", ODD: HOSTILE}])
def test_everything_arrives_under_other_names(
    source_cluster: Cluster,
    target_cluster: Cluster,
    awkward_db: str,
    target_db: str,
    tmp_path: Path,
    ports: Ports,
    schemas: dict[str, str],
) -> None:
    plan = plan_of(source_cluster, target_cluster, (awkward_db, target_db), tmp_path, schemas=schemas)
    with source_cluster.connect(awkward_db) as source, target_cluster.connect(target_db) as target:
        if schemas["public"] != ODD:
            execute(target, "CREATE TABLE public.of_others (id int); INSERT INTO public.of_others VALUES (1)")
        migrate(plan, ports, *FULL)
        if schemas["public"] != ODD:
            assert execute(target, "SELECT id FROM public.of_others") == [1]
            execute(target, "DROP SCHEMA public CASCADE")
        for connection in (source, target):
            execute(
                connection,
                "DO $$ BEGIN COMMENT ON SCHEMA public IS NULL; EXCEPTION WHEN invalid_schema_name THEN END $$",
            )
        rename(source, schemas)
        assert differences(source, target) == []
    assert store_of(ports).comparisons[-1].equal
    assert "SCHEMA-REFUSED" not in told(ports)


FOLLOWING = """
CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('sad', 'ok'); CREATE TYPE app.pair AS (a int, b int);
SET search_path = app; CREATE DOMAIN good AS mood DEFAULT 'ok'; RESET search_path;
CREATE FUNCTION app.f() RETURNS int LANGUAGE sql SET work_mem = '4MB' SET search_path = app, pg_temp AS 'SELECT 1';
CREATE PROCEDURE app.p() LANGUAGE sql SET search_path = 'app' AS 'SELECT 1';
CREATE TRANSFORM FOR app.pair LANGUAGE sql (FROM SQL WITH FUNCTION pg_catalog.prsd_lextype(internal));
CREATE TABLE app.t (id int PRIMARY KEY, m app.good);
"""


def test_nothing_that_has_followed_a_name_is_told_as_different(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path, ports: Ports
) -> None:
    plan = plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path, schemas={"app": "Erp 2"})
    with source_cluster.connect(source_db) as source, target_cluster.connect(target_db) as target:
        execute(source, FOLLOWING)
        execute(source, f'ALTER DATABASE "{source_db}" SET search_path = app, public')
        execute(target, f'ALTER DATABASE "{target_db}" SET search_path = "Erp 2", public')
        migrate(plan, ports, *FULL)
    assert [note for notes in store_of(ports).notes.values() for note in notes] == []


def test_two_databases_with_many_schemas_get_other_names_together(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path, ports: Ports
) -> None:
    schemas = {
        "sales": "catalog",
        "catalog": "sales",
        "audit": "Audit.2",
        "Back Office": "back_office",
        "public": "shop",
    }
    plan = plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path, schemas=schemas)
    second = f"{source_db}_second"
    with source_cluster.connect() as connection:
        execute(connection, f'CREATE DATABASE "{second}"')
    try:
        with source_cluster.connect(source_db) as source, source_cluster.connect(second) as other:
            load_shop(source, 0.002)
            execute(other, "CREATE TABLE t (id int PRIMARY KEY, t int); INSERT INTO t VALUES (1, 2)")
        selection = replace(
            plan.selection,
            rules={**plan.selection.rules, (second,): True},
            targets={**plan.selection.targets, second: f"{target_db} 2"},
            schema_targets={**plan.selection.schema_targets, (second, "public"): "sales"},
        )
        databases = (*plan.databases, DatabasePlan(source_name=second, target_name=f"{target_db} 2"))
        migrate(replace(plan, selection=selection, databases=databases), ports, *FULL)
        with source_cluster.connect(source_db) as source, target_cluster.connect(target_db) as target:
            execute(target, "DROP SCHEMA public")
            execute(source, "COMMENT ON SCHEMA public IS NULL")
            rename(source, schemas)
            assert differences(source, target, ignore=["function"]) == []
        with target_cluster.connect(f"{target_db} 2") as target:
            assert execute(target, "SELECT t FROM sales.t") == [2]
    finally:
        for cluster, name in ((source_cluster, second), (target_cluster, f"{target_db} 2")):
            with cluster.connect() as connection:
                execute(connection, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    assert all(comparison.equal for comparison in store_of(ports).comparisons)


def test_a_sync_follows_into_a_schema_of_another_name(
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
    names, schemas = (source_db, target_db), {"public": "order"}
    plan = plan_of(source_cluster, target_cluster, names, tmp_path, schemas=schemas, incremental=True)
    plans.append(plan)
    execute(target, "CREATE TABLE public.customers (id int)")
    migrate(plan, ports, *SYNC)
    execute(app, LATER)
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    assert store_of(ports).comparisons[-1].equal
    assert ports.ledger.items() == []
    assert execute(target, "SELECT count(*) FROM public.customers") == [0]
    execute(target, "DROP SCHEMA public CASCADE")
    execute(app, "COMMENT ON SCHEMA public IS NULL; REFRESH MATERIALIZED VIEW per_customer")
    rename(app, schemas)
    assert differences(app, target) == []
    assert "touch()" in told(ports)["SCHEMA-BODIES"]


def test_start_again_clears_what_was_made_under_the_new_names(
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
    plan = plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path, schemas={"public": "order"})
    execute(target, "CREATE TABLE public.orders (id int); CREATE FUNCTION public.touch() RETURNS int RETURN 1")
    migrate(plan, ports, *SYNC)
    assert execute(target, 'SELECT count(*) FROM "order".orders') == [200]
    with running(plan, ports) as run:
        clean_up(run, keep_target_objects=True)
        assert clear_target(run) == []
    assert execute(target, "SELECT to_regnamespace('order')::text") == [None]
    assert execute(target, "SELECT public.touch()") == [1]
    again = fake_ports()
    migrate(plan, again, *FULL)
    assert store_of(again).comparisons[-1].equal


def test_the_check_looks_at_the_target_under_the_new_names(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    app: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
) -> None:
    names = (source_db, target_db)

    def result(code: str, **more: Any) -> Any:
        return check(plan_of(source_cluster, target_cluster, names, tmp_path, **more), code)

    execute(target, "CREATE TABLE public.orders (id int)")
    execute(app, "CREATE SCHEMA other")
    assert result("target-conflicts").status == "failed"
    assert result("target-conflicts", schemas={"public": "app"}).status == "passed"
    assert result("target-conflicts", schemas={"other": "public", "public": "other"}).status == "passed"
    assert result("schema-names").status == "passed"
    assert result("schema-names", schemas={"other": "app"}).status == "passed"
    assert f'"{target_db}" SET search_path' in result("schema-names", schemas={"public": "app"}).sql
    assert "other and public become x" in result("schema-names", schemas={"public": "x", "other": "x"}).found
    assert "schema none" in result("schema-names", schemas={"none": "x"}).found
    assert result("schema-names", schemas={"public": "pg_x"}).status == "failed"
    assert result("renamed-bodies").status == "passed"
    told = "CREATE TRIGGER told AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION touch('first', 'public.orders')"
    execute(app, told)
    found = result("renamed-bodies", schemas={"public": "app"}).found
    assert "touch()" in found
    assert "1 trigger whose arguments name a renamed schema: told of public.orders." in found
    parent: dict[Any, Any] = {(source_db, "public", "customers"): "structure"}
    assert result("foreign-key-parents", rules=parent).status == "failed"
    assert result("foreign-key-parents", rules=parent, foreign_keys="without").status == "warning"
    child: dict[Any, Any] = {(source_db, "public", "orders"): "structure"}
    assert result("foreign-key-parents", rules=child).status == "passed"


def test_two_schemas_that_become_one_stop_before_anything_is_made_when_names_clash(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    ports: Ports,
    app: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
) -> None:
    schemas = {"other": "one", "public": "one"}
    plan = plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path, schemas=schemas)
    execute(app, "CREATE SCHEMA other; CREATE TABLE other.t (id int); CREATE TABLE other.orders (id int)")
    with pytest.raises(
        ConflictError, match=r"other\.orders and TABLE public\.orders|public\.orders and TABLE other\.orders"
    ):
        migrate(plan, ports, StepName.SCHEMA)
    assert execute(target, "SELECT to_regnamespace('one')::text") == [None]
    execute(app, "DROP TABLE other.orders")
    migrate(plan, ports, *FULL)
    assert store_of(ports).comparisons[-1].equal
    assert execute(target, "SELECT count(*) FROM one.orders, one.t") == [0]
