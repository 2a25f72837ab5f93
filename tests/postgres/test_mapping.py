"""Schemas and databases under other names on the target, structure without rows, foreign keys left out.

The oracle of the names is the server itself: afterwards the source's schemas are renamed by ALTER SCHEMA, and then both
sides have to be the same to the last view.
"""

from __future__ import annotations

from collections.abc import Iterator
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
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import DatabasePlan, Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import plan_for, running, server

ODD = 'we ird "sch%ema'
HOSTILE = "Ü.n'\"%s\\ $x$ --"
FULL = (StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP)
SYNC = (StepName.SCHEMA, StepName.COPY, StepName.INDEX)


@pytest.fixture
def ports() -> Ports:
    return fake_ports()


def execute(connection: psycopg.Connection[Any], text: str) -> list[Any]:
    cursor = connection.execute(text.encode())
    return [row[0] for row in cursor.fetchall()] if cursor.description else []


def plan_of(source: Cluster, target: Cluster, names: tuple[str, str], folder: Path, **more: Any) -> Plan:
    """Return a plan that moves a whole database; `schemas` says which schemas get other names."""
    schemas = more.pop("schemas", {})
    selection = Selection(
        rules={(names[0],): True, **more.pop("rules", {})},
        targets={names[0]: names[1]},
        schema_targets={(names[0], old): new for old, new in schemas.items()},
        foreign_keys=more.pop("foreign_keys", "require"),
    )
    return plan_for(server(source), server(target), *names, selection=selection, work_dir=folder, **more)


def migrate(plan: Plan, ports: Ports, *steps: StepName) -> None:
    with Executor(plan, ports) as executor:
        for step in steps:
            assert executor.run(step).done, step


def store_of(ports: Ports) -> FakeStore:
    assert isinstance(ports.store, FakeStore)
    return ports.store


def told(ports: Ports) -> dict[str, str]:
    return {code: text for _, code, text in store_of(ports).events}


def rename(connection: psycopg.Connection[Any], schemas: dict[str, str]) -> None:
    def quoted(name: str) -> str:
        return '"' + name.replace('"', '""') + '"'

    for number, old in enumerate(schemas):
        execute(connection, f"ALTER SCHEMA {quoted(old)} RENAME TO towpath_test_{number}")
    for number, new in enumerate(schemas.values()):
        execute(connection, f"ALTER SCHEMA towpath_test_{number} RENAME TO {quoted(new)}")


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


APP = """
CREATE TYPE mood AS ENUM ('ok', 'sad');
CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, m mood DEFAULT 'ok');
CREATE TABLE orders (id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers, m mood[]);
CREATE TABLE loose (a int, m mood);
CREATE UNLOGGED TABLE cache (k text PRIMARY KEY);
CREATE TABLE part (id int PRIMARY KEY, t text) PARTITION BY LIST (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part_d PARTITION OF part DEFAULT;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN INSERT INTO public.loose VALUES (-1, 'sad'); RETURN NEW; END $$;
CREATE FUNCTION is_ok(m mood, VARIADIC more mood[]) RETURNS boolean RETURN m = 'ok';
CREATE AGGREGATE best(mood) (SFUNC = enum_larger, STYPE = mood);
CREATE TRIGGER touched AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE orders ENABLE ALWAYS TRIGGER touched;
CREATE MATERIALIZED VIEW per_customer AS SELECT customer, count(*) FROM orders GROUP BY 1;
INSERT INTO customers (name) SELECT 'c' || g FROM generate_series(1, 20) g;
INSERT INTO orders (customer, m) SELECT g % 20 + 1, '{ok,sad}' FROM generate_series(1, 200) g;
INSERT INTO part SELECT g, 'x' FROM generate_series(1, 9) g;
INSERT INTO cache VALUES ('a');
REFRESH MATERIALIZED VIEW per_customer;
"""
LATER = """
INSERT INTO orders (customer, m) VALUES (3, '{sad}'), (4, NULL);
UPDATE customers SET name = 'x', m = 'sad' WHERE id = 3;
DELETE FROM orders WHERE id = 5;
UPDATE loose SET m = 'ok'; DELETE FROM loose WHERE a = 2;
TRUNCATE part_1;
UPDATE part SET t = 'y' WHERE id = 3;
INSERT INTO cache VALUES ('b');
"""


@pytest.fixture
def app(source_cluster: Cluster, source_db: str, ports: Ports, plans: list[Plan]) -> Iterator[psycopg.Connection[Any]]:
    with source_cluster.connect(source_db) as source:
        execute(source, APP)
        yield source
    for plan in plans:
        free = Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)
        with running(plan, free) as run:
            clean_up(run, keep_target_objects=True)


@pytest.fixture
def plans() -> list[Plan]:
    """Plans whose slots have to go whatever happens."""
    return []


@pytest.fixture
def target(target_cluster: Cluster, target_db: str) -> Iterator[psycopg.Connection[Any]]:
    with target_cluster.connect(target_db) as connection:
        yield connection


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


VIEWS = """
CREATE SCHEMA data;
CREATE TYPE data.kind AS ENUM ('x');
CREATE TABLE data.amount (v int, created timestamptz, k data.kind);
CREATE TABLE data.data (data int, amount int);
CREATE TABLE public.data (amount int, other int, created timestamptz);
CREATE TABLE public.t (data int, other int);
CREATE FUNCTION data.amount(int) RETURNS int RETURN $1 + 1;
CREATE FUNCTION public.data(data.kind, kind data.kind DEFAULT 'x'::data.kind) RETURNS bigint
  BEGIN ATOMIC SELECT count(*) FROM public.data, data.amount a WHERE data.amount = a.v; END;
CREATE VIEW v1 AS SELECT data.other, data.amount, data.amount + 1 AS more FROM public.data, data.amount AS a;
CREATE VIEW v2 AS SELECT extract(year FROM data.created) AS y, data.amount(data.amount), 'x'::data.kind AS data
  FROM (public.data JOIN (data.amount a CROSS JOIN data.data d) ON data.amount IS DISTINCT FROM a.v), data.amount b;
CREATE VIEW v3 AS SELECT t.data, data.amount FROM t, LATERAL (SELECT data.amount FROM data.data, public.t u) data
  WHERE EXISTS (SELECT FROM data.amount WHERE amount.v = data.amount) ORDER BY data.amount, data.amount + 2;
CREATE VIEW v4 AS WITH data AS (SELECT v AS amount FROM data.amount) SELECT data.amount, sum(data.amount) OVER
  (PARTITION BY data.amount ORDER BY data.amount) FROM data GROUP BY data.amount;
CREATE VIEW v5 AS SELECT data.created AT TIME ZONE 'UTC' AS a, CASE data.amount WHEN data.amount(1) THEN data.other END
  FROM public.data UNION SELECT NULL, data.amount FROM data.data data;
CREATE RULE r AS ON UPDATE TO public.t DO ALSO DELETE FROM public.data USING data.amount a WHERE data.amount = a.v;
CREATE POLICY p ON public.data USING (EXISTS (SELECT FROM data.amount, data.data d WHERE data.other = d.amount));
"""


def test_an_alias_with_the_name_of_the_schema_stays_an_alias(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    ports: Ports,
    target: psycopg.Connection[Any],
) -> None:
    plan = plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path, schemas={"data": "facts"})
    with source_cluster.connect(source_db) as source:
        execute(source, VIEWS)
        migrate(plan, ports, *FULL)
        rename(source, {"data": "facts"})
        assert differences(source, target) == []
    assert "SCHEMA-REFUSED" not in told(ports)


def test_what_cannot_be_renamed_safely_is_left_out_and_named(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    ports: Ports,
    target: psycopg.Connection[Any],
) -> None:
    with source_cluster.connect(source_db) as source:
        execute(source, "CREATE TABLE t (id int); CREATE VIEW v AS SELECT '{public.t}'::regclass[] AS names")
        execute(source, "CREATE VIEW above AS SELECT names FROM v")
    plan = plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path, schemas={"public": HOSTILE})
    migrate(plan, ports, *SYNC)
    assert "VIEW public.v: a list of names cannot be changed" in told(ports)["SCHEMA-RENAME"]
    assert "above" in told(ports)["SCHEMA-REFUSED"]


@pytest.mark.parametrize(("there", "home"), [("", "app"), ("elsewhere", "elsewhere")])
def test_what_belongs_to_an_extension_is_looked_for_where_the_target_has_it(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    ports: Ports,
    target: psycopg.Connection[Any],
    there: str,
    home: str,
) -> None:
    with source_cluster.connect(source_db) as source:
        execute(
            source,
            "CREATE EXTENSION vector; CREATE TABLE words (id int PRIMARY KEY, v vector(3), CHECK (v <> '[1,1,1]'));"
            " CREATE INDEX near ON words USING hnsw (v vector_l2_ops); INSERT INTO words VALUES (1, '[1,2,3]');"
            " CREATE FUNCTION far(vector) RETURNS float8 RETURN $1 <-> '[0,0,0]'::vector",
        )
    if there:
        execute(target, f"CREATE SCHEMA {there}; CREATE EXTENSION vector SCHEMA {there}")
    plan = plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path, schemas={"public": "app"})
    migrate(plan, ports, *FULL)
    assert store_of(ports).comparisons[-1].equal
    types = "SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'app.words'::regclass AND attname = 'v'"
    assert execute(target, types) == [f"{home}.vector"]
    assert execute(target, f"SELECT app.far(v::{home}.vector) > 3 FROM app.words") == [True]


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
    assert "touch()" in result("renamed-bodies", schemas={"public": "app"}).found
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
