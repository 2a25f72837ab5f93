"""The check tells of functions that read other tables where the target calls them for each row that comes."""

from __future__ import annotations

from dataclasses import replace

from migrations_app.engine.checks import CheckResult
from migrations_app.engine.plan import Plan
from migrations_app.engine.selection import Selection
from tests.postgres import shape_kit
from tests.postgres.checks_kit import check
from tests.postgres.shape_kit import Connection
from tests.postgres.test_late import CHECKED, INDEXED, LOOKUP

# Fixtures that stand in the kit.
task = shape_kit.task
shop = shape_kit.shop
there = shape_kit.there

CLASS = (
    "CREATE FUNCTION class(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT class FROM public.lookup WHERE id = $1';"
)
COMPUTED = CLASS + "CREATE TABLE reader (id int, c text GENERATED ALWAYS AS (class(id)) STORED)"


def looked(task: Plan) -> CheckResult:
    return check(task, "reading-functions")


def without(task: Plan, *path: str) -> Plan:
    name = task.databases[0].source_name
    return replace(task, selection=Selection(rules={(name,): True, (name, *path): False}))


def using(task: Plan) -> Plan:
    return replace(task, selection=replace(task.selection, existing="truncate"))


def test_checks_and_indexes_that_the_task_makes_after_the_rows_pass(shop: Connection, task: Plan) -> None:
    shop.execute(LOOKUP + INDEXED)
    shop.execute("DROP TABLE reader")
    shop.execute(CHECKED)
    assert looked(task).status == "passed"


def test_a_column_that_is_computed_from_another_table_is_a_warning_with_what_computes_it_anew(
    shop: Connection, task: Plan
) -> None:
    shop.execute(LOOKUP + COMPUTED + "; INSERT INTO reader VALUES (1)")
    result = looked(task)
    assert result.status == "warning"
    assert "public.reader.c" in result.found
    assert result.sql == 'UPDATE "public"."reader" SET "id" = "id";'
    shop.execute("UPDATE lookup SET class = 'new'")
    shop.execute(result.sql.encode())
    assert shop.execute("SELECT c FROM reader").fetchall() == [("new",)]
    assert looked(without(task, "public", "reader")).status == "passed"


def test_a_column_that_is_computed_from_its_row_passes(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE FUNCTION plain(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'")
    shop.execute("CREATE TABLE own (id int, c int GENERATED ALWAYS AS (plain(id)) STORED, d int DEFAULT plain(1))")
    assert looked(task).status == "passed"


def test_a_check_of_a_domain_is_a_warning_only_where_it_could_not_be_proved_afterwards(
    shop: Connection, task: Plan
) -> None:
    shop.execute(LOOKUP + CLASS + "CREATE DOMAIN classed AS int CHECK (class(VALUE) <> '')")
    shop.execute("CREATE DOMAIN further AS classed; CREATE TABLE reader (a classed, b further)")
    assert looked(task).status == "passed"
    shop.execute("CREATE TABLE many (ids classed[])")
    result = looked(task)
    assert result.status == "warning"
    assert "Checks of domains that columns have in arrays or rows" in result.found
    assert "public.classed.classed_check" in result.found
    shop.execute("DROP TABLE many; CREATE TYPE pair AS (a int, b classed)")
    assert looked(task).status == "warning"


def test_what_stands_on_tables_of_the_target_that_are_used_is_a_warning(
    shop: Connection, there: Connection, task: Plan
) -> None:
    shop.execute(LOOKUP + "CREATE TABLE reader (id int)")
    there.execute(LOOKUP + CLASS + "CREATE TABLE reader (id int CONSTRAINT reads CHECK (class(id) <> ''))")
    there.execute("CREATE INDEX by_class ON reader (class(id))")
    assert looked(task).status == "passed"
    result = looked(using(task))
    assert result.status == "warning"
    assert "Checks that stand on the target already" in result.found
    assert "public.reader.reads" in result.found
    assert "public.reader.by_class" in result.found
    assert "REINDEX" in result.hint
