"""Functions that tables call while rows are copied: which may find something else without a search_path."""

from __future__ import annotations

import pytest

from migrations_app.engine.plan import Plan
from tests.postgres import checks_kit
from tests.postgres.checks_kit import Connection, check

# Fixtures that stand in the kit.
task = checks_kit.task
shop = checks_kit.shop


_USES = {
    "generated column": "CREATE TABLE t (i int, j int GENERATED ALWAYS AS (f(i)) STORED)",
    "check": "CREATE TABLE t (i int CHECK (f(i) > 0))",
    "index": "CREATE TABLE t (i int); CREATE INDEX ON t (f(i))",
}


@pytest.mark.parametrize("use", _USES.values(), ids=_USES)
def test_a_function_without_a_search_path_in_a_definition_is_a_warning_until_it_has_one(
    use: str, shop: Connection, task: Plan
) -> None:
    shop.execute("CREATE TABLE plain (i int, j int GENERATED ALWAYS AS (i * 2) STORED)")
    assert "1 generated column" in check(task, "called-functions").found
    shop.execute("CREATE TABLE limits (least int); INSERT INTO limits VALUES (1)")
    body = "BEGIN RETURN i + coalesce((SELECT max(least) FROM limits), 1); END"
    shop.execute(f"CREATE FUNCTION f(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS '{body}'".encode())
    shop.execute(use.encode())
    result = check(task, "called-functions")
    assert result.status == "warning"
    assert "public.f(integer)" in result.found
    shop.execute(result.sql)
    assert check(task, "called-functions").status == "passed"


@pytest.mark.parametrize(
    ("language", "body"),
    [
        ("plpgsql", "BEGIN IF i > 0 THEN RETURN i * 2; END IF; RETURN NULL; END"),
        ("sql", "-- it's not a string\nSELECT /* nor /* is */ this */ concat_ws(' ', x, i)::int"),
        (
            "sql",
            "SELECT extract(epoch FROM to_date(x, 'YYYY'))::int + position('a' IN x) + substring(x FROM 2 FOR 3)::int",
        ),
        (
            "plpgsql",
            "DECLARE n int := 1; found text DEFAULT x; BEGIN WHILE n < i LOOP n := n + 1; END LOOP; RETURN n; END",
        ),
        ("sql", "SELECT CASE WHEN lower(x) LIKE 'a%%' THEN $1 ELSE char_length(pg_catalog.upper(x))::int + abs(i) END"),
    ],
)
def test_a_function_that_names_only_what_every_server_has_is_no_warning(
    language: str, body: str, shop: Connection, task: Plan
) -> None:
    text = body.replace("'", "''").replace("%%", "%")
    shop.execute(f"CREATE FUNCTION f(i int, x text) RETURNS int LANGUAGE {language} IMMUTABLE AS '{text}'".encode())
    shop.execute("CREATE TABLE t (i int, x text, j int GENERATED ALWAYS AS (f(i, x)) STORED)")
    assert check(task, "called-functions").status == "passed"


@pytest.mark.parametrize(
    "body",
    [
        "SELECT lower(x)",  # somebody has a function of this name
        "SELECT public.lower(1)",
        "SELECT shown(x)",
        "SELECT x ## 'a'",
        "SELECT CAST('a' AS mood)::text",
        "SELECT mood 'a' || x",
        "SELECT 'limits'::regclass::text",
        "SELECT nextval('numbers')::text",
        "SELECT to_tsvector('of_ours', x)::text",
        "SELECT max(least)::text FROM limits",
        "SELECT current_setting('search_path')",
        "SELECT string_agg(x, ',') FROM x",  # an argument, and a table
        "SELECT extract(year FROM moments.x) FROM moments",
        "SELECT format('%s', x::mood)",
    ],
)
def test_a_function_that_may_find_something_by_the_path_is_a_warning(body: str, shop: Connection, task: Plan) -> None:
    shop.execute(
        "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE limits (least int); CREATE SEQUENCE numbers;"
        " CREATE TABLE x (x text); CREATE TABLE moments (x date);"
        " CREATE FUNCTION lower(int) RETURNS text LANGUAGE sql AS 'SELECT ''a''::text';"
        " CREATE FUNCTION shown(text) RETURNS text LANGUAGE sql AS 'SELECT $1';"
        " CREATE TEXT SEARCH CONFIGURATION of_ours (COPY = simple);"
        " CREATE FUNCTION joined(text, text) RETURNS text LANGUAGE sql AS 'SELECT $1';"
        " CREATE OPERATOR ## (LEFTARG = text, RIGHTARG = text, FUNCTION = joined)"
    )
    text = body.replace("'", "''")
    shop.execute(f"CREATE FUNCTION f(x text, mood text) RETURNS text LANGUAGE sql IMMUTABLE AS '{text}'".encode())
    shop.execute("CREATE TABLE t (x text CHECK (f(x, x) <> 'z'))")
    assert check(task, "called-functions").status == "warning"
