"""Check items about the selection and the structure that it needs."""

from __future__ import annotations

from dataclasses import replace

import psycopg

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.checks import run_checks
from migrations_app.engine.names import qualified, quote
from migrations_app.engine.plan import DatabasePlan, Plan
from migrations_app.engine.selection import Selection
from tests.fakes import FakeControl
from tests.postgres import checks_kit
from tests.postgres.checks_kit import check, login, plan

Connection = psycopg.Connection[tuple[object, ...]]


# Fixtures that stand in the kit.
task = checks_kit.task
shop = checks_kit.shop


def only(task: Plan, *path: str) -> Plan:
    return replace(task, selection=Selection(rules={(task.databases[0].source_name, *path): True}))


def test_an_empty_selection_fails(task: Plan) -> None:
    assert check(replace(task, selection=Selection()), "selection").status == "failed"
    assert check(replace(task, databases=()), "selection").status == "failed"


def test_a_selection_of_nothing_but_a_pattern_is_no_empty_one(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE app_one (i int); CREATE TABLE other (i int)")
    chosen = Selection().choose_matching((task.databases[0].source_name,), "app_*", "data")
    result = check(replace(task, selection=chosen), "selection")
    assert (result.status, result.found) == ("passed", "1 table in 1 database selected.")


def test_a_selected_table_that_is_gone_fails(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE here (i int)")
    assert check(only(task, "public", "here"), "selection").status == "passed"
    result = check(only(task, "public", "gone"), "selection")
    assert result.status == "failed"
    assert "public.gone" in result.found
    assert check(only(task, "no_schema"), "selection").status == "failed"


def test_what_is_left_out_by_a_name_that_is_not_there_is_a_warning(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE here (i int); CREATE TABLE secret (i int)")
    (database,) = task.databases
    without = task.selection.choose((database.source_name, "public", "secret"), "")
    left = replace(task, selection=without.choose((database.source_name, "logs"), ""))
    result = check(left, "selection")
    assert (result.status, "not on the source: " in result.found) == ("warning", True)
    assert result.found.endswith("logs.")
    shop.execute("CREATE SCHEMA logs")
    assert check(left, "selection").status == "passed"
    shop.execute("ALTER TABLE secret RENAME TO moved")
    assert check(left, "selection").found.endswith("public.secret.")


def test_a_database_that_is_selected_by_a_misspelt_name_fails(task: Plan) -> None:
    alone = Selection(rules={("misspelt",): True})
    for wrong in (
        replace(task, selection=task.selection.choose(("misspelt",), "data")),
        replace(task, selection=task.selection.choose_matching(("misspelt",), "a_*", "data")),
        replace(task, databases=(), selection=alone),
    ):
        result = check(wrong, "selection")
        assert (result.status, result.found) == ("failed", "The source no longer has misspelt.")


def test_a_selected_database_that_is_gone_fails(task: Plan) -> None:
    gone = DatabasePlan(source_name="gone", target_name="gone")
    result = check(replace(task, databases=(gone,), selection=Selection.everything()), "selection")
    assert result.status == "failed"
    assert "gone" in result.found


def test_two_databases_cannot_get_one_target_name(task: Plan) -> None:
    twice = (task.databases[0], DatabasePlan(source_name="postgres", target_name=task.databases[0].target_name))
    assert "More than one" in check(replace(task, databases=twice), "selection").found


def test_a_database_without_tables_is_a_warning(task: Plan) -> None:
    assert check(task, "selection").status == "warning"


def test_foreign_key_parents_that_are_left_out_fail_by_name(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE parent (i int PRIMARY KEY); CREATE TABLE child (i int REFERENCES parent)")
    assert check(task, "foreign-key-parents").status == "passed"
    result = check(only(task, "public", "child"), "foreign-key-parents")
    assert result.status == "failed"
    assert "public.parent (parent of public.child by child_i_fkey)" in result.found


def test_a_foreign_key_to_a_table_of_an_extension_stays_inside_the_whole_database(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE EXTENSION vector; CREATE TABLE systems (id int PRIMARY KEY)")
    shop.execute("ALTER EXTENSION vector ADD TABLE systems; CREATE TABLE child (i int REFERENCES systems)")
    assert check(task, "foreign-key-parents").status == "passed"
    result = check(only(task, "public", "child"), "foreign-key-parents")
    assert (result.status, "public.systems (parent of public.child" in result.found) == ("failed", True)


def test_a_selected_partition_brings_the_parents_of_its_root(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE parent (i int PRIMARY KEY)")
    shop.execute("CREATE TABLE root (i int REFERENCES parent) PARTITION BY RANGE (i)")
    shop.execute("CREATE TABLE leaf PARTITION OF root DEFAULT")
    assert check(only(task, "public", "leaf"), "foreign-key-parents").status == "failed"


def test_a_table_that_refers_to_itself_is_complete(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE tree (i int PRIMARY KEY, up int REFERENCES tree)")
    assert check(only(task, "public", "tree"), "foreign-key-parents").status == "passed"


def test_large_objects_are_told(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE t (i int)")
    assert check(task, "large-objects").status == "passed"
    shop.execute("SELECT lo_from_bytea(0, 'x')")
    assert "once more at Complete" in check(task, "large-objects").hint
    assert check(replace(task, incremental=False), "large-objects").status == "passed"
    assert "left out" in check(only(task, "public", "t"), "large-objects").found


def test_large_objects_of_others_fail(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE ROLE lo_reader LOGIN PASSWORD 'x'; SELECT lo_from_bytea(0, 'x')")
    try:
        stranger = replace(task, source=replace(task.source, user="lo_reader", password="x"))
        assert check(stranger, "large-objects").status == "failed"
    finally:
        shop.execute("DROP ROLE lo_reader")


def test_rules_on_a_selected_table_are_a_warning(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE t (i int)")
    assert check(task, "table-rules").status == "passed"
    shop.execute("CREATE RULE quiet AS ON DELETE TO t DO INSTEAD NOTHING")
    assert check(task, "table-rules").status == "warning"
    assert "outside the selection" in check(only(task, "public", "t"), "table-rules").hint


def test_a_foreign_table_is_a_warning(shop: Connection, task: Plan) -> None:
    assert check(task, "foreign-tables").status == "passed"
    shop.execute("CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER far FOREIGN DATA WRAPPER nothing")
    shop.execute("CREATE FOREIGN TABLE remote (i int) SERVER far")
    result = check(task, "foreign-tables")
    assert (result.status, "public.remote" in result.found) == ("warning", True)
    assert check(only(task, "other"), "foreign-tables").status == "passed"


def test_event_triggers_are_told(shop: Connection, task: Plan, target_cluster: Cluster, target_db: str) -> None:
    shop.execute("CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    shop.execute("CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION f()")
    assert "created last" in check(task, "event-triggers").found
    with target_cluster.connect(target_db) as there:
        there.execute("CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
        there.execute("CREATE EVENT TRIGGER nosy ON ddl_command_end EXECUTE FUNCTION f()")
        result = check(task, "event-triggers")
        assert result.status == "warning"
        there.execute(result.sql)
    assert check(task, "event-triggers").status == "passed"


def test_event_triggers_need_a_superuser_on_the_target(shop: Connection, task: Plan, target_cluster: Cluster) -> None:
    shop.execute("CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    shop.execute("CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION f()")
    with target_cluster.connect() as there:
        there.execute("CREATE ROLE event_writer LOGIN PASSWORD 'x'")
        try:
            stranger = replace(task, target=replace(task.target, user="event_writer", password="x"))
            assert check(stranger, "event-triggers").status == "warning"
        finally:
            there.execute("DROP ROLE event_writer")


HOSTILE = [
    'a"b',
    "it's",
    "%s %(x)s {} {0}",
    "; DROP TABLE x; --",
    "new\nline\ttab",
    "<script>",
    "$$",
    "\\gexec",
    " ",
    "naïve 🐘",
]


def test_no_name_makes_an_item_stumble(source_cluster: Cluster, target_cluster: Cluster) -> None:
    names = [f"host=127.0.0.1 dbname=x {name}" for name in HOSTILE[:4]]
    with source_cluster.connect() as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {quote(name)}")
    try:
        with source_cluster.connect(names[0]) as shop:
            for name in HOSTILE:
                shop.execute(f"CREATE SCHEMA {quote(name)}")
                shop.execute(f"CREATE TABLE {qualified(name, name)} ({quote(name)} json)")
                shop.execute(f"CREATE RULE {quote(name)} AS ON DELETE TO {qualified(name, name)} DO INSTEAD NOTHING")
        task = plan(login(source_cluster), login(target_cluster), [(name, name) for name in names])
        results = run_checks(task, FakeControl(), report=lambda result: None)
        assert [result for result in results if "could not be looked at" in result.found] == []
        keys = next(result for result in results if result.code == "table-keys")
        assert keys.found.startswith(f"{len(HOSTILE)} tables without a key")
        assert "\n" not in keys.found
        with source_cluster.connect(names[0]) as shop:
            shop.execute(keys.sql)
            left = shop.execute("SELECT count(*) FROM pg_class WHERE relreplident = 'f'").fetchone()
        assert left == (len(HOSTILE),)
    finally:
        with source_cluster.connect() as connection:
            for name in names:
                connection.execute(f"DROP DATABASE {quote(name)} WITH (FORCE)")


def test_a_schema_with_the_name_of_ours_fails_when_it_is_selected(shop: Connection, task: Plan) -> None:
    assert check(task, "reserved-schema").status == "passed"
    shop.execute("CREATE SCHEMA towpath; CREATE TABLE towpath.mine (i int); CREATE TABLE public.other (i int)")
    result = check(task, "reserved-schema")
    assert result.status == "failed"
    assert "RENAME" in result.sql
    assert check(only(task, "public"), "reserved-schema").status == "passed"
    shop.execute(result.sql)
    assert check(task, "reserved-schema").status == "passed"


def test_tables_outside_the_selection_that_views_and_triggers_use_are_a_warning(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE inside (i int); CREATE TABLE outside (i int); CREATE TABLE unused (i int)")
    shop.execute("CREATE VIEW both_of_them AS SELECT inside.i FROM inside, outside")
    assert check(task, "read-by-views").status == "passed"
    assert check(only(task, "public", "inside"), "read-by-views").status == "passed"
    pair = {(task.databases[0].source_name, "public", name): True for name in ("inside", "both_of_them")}
    result = check(replace(task, selection=Selection(rules=pair)), "read-by-views")
    assert (result.status, "view public.both_of_them reads public.outside" in result.found) == ("warning", True)
    shop.execute(
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO outside VALUES (NEW.i); RETURN NEW; END'"
    )
    shop.execute("CREATE TRIGGER noted AFTER INSERT ON inside FOR EACH ROW EXECUTE FUNCTION note()")
    result = check(only(task, "public", "inside"), "read-by-views")
    assert (result.status, "trigger noted of public.inside names outside" in result.found) == ("warning", True)
