"""Values of regclass and its like: the check tells which the target will not take, the copy says what stopped it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.checks import CheckResult, named
from migrations_app.engine.errors import TargetError
from migrations_app.engine.plan import Plan
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName
from tests.fakes import fake_ports
from tests.postgres import drift_kit, shape_kit
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.complete_kit import migrate
from tests.postgres.shape_kit import Connection
from tests.postgres.sync_kit import Pair

# Fixtures that stand in the kits.
task = shape_kit.task
shop = shape_kit.shop
there = shape_kit.there
pair = drift_kit.pair

APP = """
CREATE SCHEMA app; CREATE TABLE app.thing (id int PRIMARY KEY); CREATE TYPE app.mood AS ENUM ('sad');
CREATE FUNCTION app.twice(i int) RETURNS int LANGUAGE sql AS 'SELECT i * 2';
CREATE FUNCTION public.of(m app.mood) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE DOMAIN public.names AS regclass[];
CREATE TABLE public.holder (id int PRIMARY KEY, rel regclass, kind regtype, call regprocedure, place regnamespace,
  rels names);
"""


def renaming(task: Plan) -> Plan:
    name = task.databases[0].source_name
    return replace(task, selection=replace(task.selection, schema_targets={(name, "app"): "shop"}))


def leaving_out(task: Plan, *path: str) -> Plan:
    name = task.databases[0].source_name
    return replace(task, selection=Selection(rules={(name,): True, (name, *path): False}))


def looked(task: Plan) -> CheckResult:
    return check(task, "named-values")


def test_names_that_come_along_pass(shop: Connection, task: Plan) -> None:
    assert looked(task).found == "No column that moves holds names of objects."
    shop.execute(APP)
    shop.execute(
        "INSERT INTO holder VALUES (1, 'app.thing', 'app.mood', 'app.twice(int)', 'app', '{app.thing,holder}'),"
        " (2, 'pg_class', 'int4[]', 'lower(text)', 'pg_catalog', '{}'), (3, '-', '-', '-', '-', NULL)"
    )
    assert looked(task).status == "passed"


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("rel", "app.thing", "app.thing"),
        ("kind", "app.mood[]", "app.mood[]"),
        ("call", "app.twice(int)", "app.twice(integer)"),
        ("call", "public.of(app.mood)", "public.of(app.mood)"),
        ("place", "app", "app"),
        ("rels", "{pg_class,app.thing}", "app.thing"),
    ],
)
def test_a_value_that_names_a_renamed_schema_is_refused(
    shop: Connection, task: Plan, column: str, value: str, told: str
) -> None:
    shop.execute(APP)
    shop.execute(f"INSERT INTO holder (id, {column}) VALUES (1, '{value}')".encode())
    assert looked(task).status == "passed"
    result = looked(renaming(task))
    assert result.status == "failed"
    assert f"public.holder ({column}): {told} (its schema gets another name)" in result.found


DEEP = """
CREATE TYPE inner_pair AS ("a b" int, n names); CREATE TYPE pair AS (a int, b inner_pair);
CREATE DOMAIN some_pairs AS pair[]; CREATE TYPE many AS (p some_pairs); CREATE DOMAIN one_pair AS pair;
CREATE TABLE deep (id int, p pair, ps pair[], m many, d one_pair, ds one_pair[], h holder);
"""


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("p", "ROW(1, ROW(2, '{pg_class,app.thing}'))", "p.b.n"),
        ("ps", "ARRAY[NULL, ROW(1, ROW(2, '{pg_class,app.thing}'))::pair]", "ps.b.n"),
        ("m", "ROW(ARRAY[[ROW(1, ROW(2, '{app.thing}'))::pair]])", "m.p.b.n"),
        ("d", "ROW(1, ROW(2, '{app.thing}'))", "d.b.n"),
        ("ds", "ARRAY[ROW(1, ROW(2, '{app.thing}'))::one_pair]", "ds.b.n"),
        ("h", "ROW(1, 'app.thing', NULL, NULL, NULL, NULL)", "h.rel"),
    ],
)
def test_a_name_inside_a_row_is_found_as_any_other(
    shop: Connection, task: Plan, column: str, value: str, field: str
) -> None:
    shop.execute(APP + DEEP + "INSERT INTO deep (id) VALUES (1)")
    shop.execute(f"INSERT INTO deep (id, {column}) VALUES (2, {value})".encode())
    assert looked(task).status == "passed"
    result = looked(renaming(task))
    assert result.status == "failed"
    assert f"public.deep ({field}): app.thing (its schema gets another name)" in result.found


@pytest.mark.parametrize(
    ("column", "value", "field"),
    [
        ("r", "'[pg_class,app.thing]'", "r"),
        ("r", "'[app.thing,)'", "r"),
        ("rs", "ARRAY[NULL, 'empty', '(,app.thing)'::rels]", "rs"),
        ("d", "ROW(1, '[app.thing,app.thing]')", "d.r"),
    ],
)
def test_a_name_in_a_range_is_found_as_any_other(
    shop: Connection, task: Plan, column: str, value: str, field: str
) -> None:
    shop.execute("CREATE SCHEMA app; CREATE TABLE app.thing (id int); CREATE TYPE rels AS RANGE (subtype = regclass)")
    shop.execute("CREATE TYPE pair AS (a int, r rels); CREATE TABLE wide (id int, r rels, rs rels[], d pair)")
    shop.execute("INSERT INTO wide (id) VALUES (1)")
    shop.execute(f"INSERT INTO wide (id, {column}) VALUES (2, {value})".encode())
    assert looked(task).status == "passed"
    result = looked(renaming(task))
    assert result.status == "failed"
    assert f"public.wide ({field}): app.thing (its schema gets another name)" in result.found


def test_a_name_in_a_multirange_is_found_as_any_other(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE SCHEMA app; CREATE TABLE app.thing (id int); CREATE TYPE rels AS RANGE (subtype = regclass)")
    (name,) = shop.execute(
        "SELECT rngmultitypid::regtype::text FROM pg_range WHERE rngtypid = 'rels'::regtype"
    ).fetchone() or ("",)
    shop.execute(f"CREATE TABLE wide (m {name}, ms {name}[])".encode())
    shop.execute(f"INSERT INTO wide VALUES ('{{[app.thing,)}}', ARRAY['{{(,app.thing)}}'::{name}])".encode())
    result = looked(renaming(task))
    assert result.status == "failed"
    assert "public.wide (m): app.thing" in result.found
    assert "public.wide (ms): app.thing" in result.found


def test_a_value_that_names_a_table_which_is_left_out_is_refused(shop: Connection, task: Plan) -> None:
    shop.execute(APP + "INSERT INTO holder (id, rel, kind) VALUES (1, 'app.thing', 'app.thing')")
    found = looked(leaving_out(task, "app", "thing")).found
    assert "public.holder (rel): app.thing (is not moved), public.holder (kind): app.thing (is not moved)" in found


def test_a_value_that_names_something_in_a_schema_which_is_left_out_is_refused(shop: Connection, task: Plan) -> None:
    shop.execute(APP + "INSERT INTO holder (id, call) VALUES (1, 'app.twice(int)')")
    assert "app.twice(integer) (is not moved)" in looked(leaving_out(task, "app")).found


def test_a_value_that_names_an_index_is_refused_as_indexes_come_after_the_rows(shop: Connection, task: Plan) -> None:
    shop.execute(APP + "INSERT INTO holder (id, rel) VALUES (1, 'app.thing_pkey')")
    assert "app.thing_pkey (an index, which is made after the rows)" in looked(task).found


def test_what_the_target_has_already_may_be_named(shop: Connection, there: Connection, task: Plan) -> None:
    shop.execute(APP + "INSERT INTO holder (id, rel) VALUES (1, 'app.thing')")
    there.execute("CREATE SCHEMA app; CREATE TABLE app.thing (id int)")
    assert looked(leaving_out(task, "app")).status == "passed"


def test_rows_that_stay_behind_may_name_anything(shop: Connection, task: Plan) -> None:
    shop.execute(APP + "INSERT INTO holder (id, rel) VALUES (1, 'app.thing')")
    name = task.databases[0].source_name
    selection = Selection(rules={(name,): True, (name, "app"): False, (name, "public", "holder"): "structure"})
    assert looked(replace(task, selection=selection)).status == "passed"


def test_a_role_that_the_target_lacks_is_refused_unless_it_is_made(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE mine (r regrole); INSERT INTO mine VALUES ('postgres')")
    assert looked(task).status == "passed"
    shop.execute('CREATE ROLE "Only here"; INSERT INTO mine VALUES (\'"Only here"\')')
    try:
        result = looked(task)
        assert result.status == "failed"
        assert 'public.mine (r): "Only here" (is no role there)' in result.found
        assert looked(replace(task, selection=replace(task.selection, roles="all"))).status == "passed"
    finally:
        shop.execute('DROP TABLE mine; DROP ROLE "Only here"')


def test_a_value_that_names_nothing_any_more_is_a_warning(shop: Connection, task: Plan) -> None:
    shop.execute(APP + "CREATE TABLE gone (); INSERT INTO holder (id, rel) VALUES (1, 'gone'); DROP TABLE gone")
    result = looked(task)
    assert result.status == "warning"
    assert "travel as numbers: public.holder (rel)" in result.found


def test_what_nobody_has_looked_through_is_a_warning(
    shop: Connection, task: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.execute("CREATE TABLE late (r regclass)")
    assert looked(task).status == "passed"
    monkeypatch.setattr(named, "LOOK_SECONDS", 0)
    result = looked(task)
    assert result.status == "warning"
    assert "Not looked through within 0 s" in result.found
    assert "public.late (r)" in result.found


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(APP.encode())
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


@pytest.mark.parametrize(
    ("column", "value"), [("rel", "app.thing"), ("call", "app.twice(int)"), ("place", "app"), ("rels", "{app.thing}")]
)
def test_a_copy_that_a_name_stops_says_in_which_table_and_columns(
    plan: Plan, source_cluster: Cluster, column: str, value: str
) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute(f"INSERT INTO holder (id, {column}) VALUES (1, '{value}')".encode())
    with pytest.raises(TargetError) as caught:
        migrate(renaming(plan), fake_ports(), StepName.SCHEMA, StepName.COPY)
    assert caught.value.code == "ROW-NAME"
    assert "A value in public.holder names what the target does not have." in caught.value.message
    assert f"{column} (reg" in caught.value.message
    assert "app" in caught.value.message.partition("reported an error")[2]
    assert "do not follow the new names of schemas" in caught.value.hint


def test_a_table_that_is_gone_from_the_target_is_no_name_in_a_row(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute("INSERT INTO holder (id, rel) VALUES (1, 'app.thing')")
    ports = fake_ports()
    migrate(plan, ports, StepName.SCHEMA)
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute("DROP TABLE holder")
    with pytest.raises(TargetError) as caught:
        migrate(plan, ports, StepName.COPY)
    assert caught.value.code != "ROW-NAME"


def test_a_sync_that_a_name_stops_says_so_and_goes_on_when_it_is_there(pair: Pair) -> None:
    pair.build("CREATE TABLE named (id int PRIMARY KEY, v text, rel regclass)")
    pair.at_source("CREATE SEQUENCE later", "INSERT INTO named VALUES (1, 'x', 'later')")
    with pytest.raises(TargetError) as caught:
        pair.catch_up()
    assert "a value of regclass or its like names what the target does not have" in caught.value.hint
    pair.at_target("CREATE SEQUENCE later")
    pair.catch_up()
    pair.assert_equal()
