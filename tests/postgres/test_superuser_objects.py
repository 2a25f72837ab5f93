"""What only a superuser can create, under a target account that is none: said at the check, never met in mid-run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from migrations_app.engine.selection import Selection
from tests.fakes import fake_ports
from tests.postgres import checks_kit
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import plain_account, plan_for, run_steps, server, structure_now

RANGE = """
CREATE SCHEMA "ran ge"; SET search_path = "ran ge";
CREATE TYPE steps;
CREATE FUNCTION steps_canonical(steps) RETURNS steps LANGUAGE internal IMMUTABLE STRICT AS 'int4range_canonical';
CREATE FUNCTION steps_apart(int, int) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT ($1 - $2)::float8';
CREATE TYPE steps AS RANGE (subtype = int, canonical = steps_canonical, subtype_diff = steps_apart);
CREATE TABLE walks (id int PRIMARY KEY, over steps); INSERT INTO walks VALUES (1, '[1,4]'), (2, '(2,3)');
CREATE INDEX ON walks USING gist (over); SET search_path = public
"""
BASE = """
CREATE TYPE score;
CREATE FUNCTION score_in(cstring) RETURNS score LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION score_out(score) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE score (INPUT = score_in, OUTPUT = score_out, LIKE = int, CATEGORY = 'N', DEFAULT = '7', DELIMITER = ';');
CREATE TABLE games (id int PRIMARY KEY, reached score); INSERT INTO games VALUES (1, '12')
"""
IN, OUT = "public.score_in(cstring)", "public.score_out(public.score)"
QUICK = "CREATE FUNCTION quick(int) RETURNS int LANGUAGE internal IMMUTABLE STRICT AS 'int4up';"
SILENT = """
CREATE FUNCTION silent("LEAKPROOF" int) RETURNS int LANGUAGE sql IMMUTABLE LEAKPROOF AS 'SELECT $1 + 1 -- LEAKPROOF';
CREATE TABLE t (id int PRIMARY KEY, more int DEFAULT silent(1) CHECK (silent(more) > 0)); INSERT INTO t VALUES (1);
CREATE INDEX ON t (silent(id))
"""


@pytest.fixture
def plan(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Plan]:
    """Into a target whose account owns the database, and is no superuser."""
    with plain_account(target_cluster, target_db) as limited:
        yield plan_for(server(source_cluster), limited, source_db, target_db, work_dir=tmp_path)


@pytest.fixture
def here(source_cluster: Cluster, source_db: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with source_cluster.connect(source_db) as connection:
        yield connection


# Fixtures that stand in the kit.
there = checks_kit.there


@pytest.mark.parametrize(
    ("script", "named", "table"),
    [
        (RANGE, 'function "ran ge".steps_canonical("ran ge".steps), type "ran ge".steps.', '"ran ge".walks'),
        (
            BASE,
            "function public.score_in(cstring), function public.score_out(public.score), type public.score.",
            "games",
        ),
    ],
    ids=["range", "base"],
)
def test_a_type_that_only_a_superuser_can_create_fails_and_arrives_after_the_shown_statements(
    plan: Plan, here: psycopg.Connection, there: psycopg.Connection, script: str, named: str, table: str
) -> None:
    here.execute(script.encode())
    result = check(plan, "superuser-objects")
    assert (result.status, result.found.partition("without: ")[2]) == ("failed", named)
    there.execute(result.sql.encode())
    keeping = replace(plan, selection=replace(plan.selection, existing="keep"))
    assert check(keeping, "superuser-objects").status == "passed"
    store = run_steps(keeping, fake_ports())
    assert all(one.equal for one in store.comparisons)
    asked = f"TABLE {table}".encode()
    assert there.execute(asked).fetchall() == here.execute(asked).fetchall()


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE t (id int PRIMARY KEY, at int DEFAULT quick(1))",
        "CREATE TABLE t (id int CHECK (quick(id) > 0))",
        "CREATE TABLE t (id int, more int GENERATED ALWAYS AS (quick(id)) STORED)",
        "CREATE TABLE t (id int) PARTITION BY RANGE (quick(id))",
        "CREATE DOMAIN t AS int CHECK (quick(VALUE) > 0)",
        "CREATE OPERATOR ## (RIGHTARG = int, FUNCTION = quick); CREATE TABLE t (id int CHECK (## id > 0))",
    ],
    ids=["default", "check", "generated", "partition key", "domain", "operator"],
)
def test_a_function_for_superusers_that_a_table_cannot_do_without_fails(
    plan: Plan, here: psycopg.Connection, there: psycopg.Connection, script: str
) -> None:
    here.execute((QUICK + script).encode())
    result = check(plan, "superuser-objects")
    assert (result.status, result.found.partition("without: ")[2]) == ("failed", "function public.quick(integer).")
    there.execute(result.sql.encode())
    assert check(plan, "superuser-objects").status == "passed"


@pytest.mark.parametrize(
    "script",
    [
        "CREATE TABLE t (id int); CREATE INDEX ON t (quick(id)); CREATE VIEW v AS SELECT quick(id) FROM t",
        "CREATE TABLE t (id int); ALTER TABLE t ADD CHECK (quick(id) > 0) NOT VALID",
    ],
    ids=["index and view", "not valid"],
)
def test_a_function_for_superusers_that_holds_no_rows_up_is_a_warning(
    plan: Plan, here: psycopg.Connection, script: str
) -> None:
    here.execute((QUICK + script).encode())
    assert check(plan, "superuser-objects").status == "warning"
    store = run_steps(plan, fake_ports())
    assert all(one.equal for one in store.comparisons)


def test_a_function_for_superusers_that_only_an_unselected_table_needs_is_a_warning(
    plan: Plan, here: psycopg.Connection, source_db: str, target_db: str
) -> None:
    here.execute((QUICK + "CREATE TABLE t (id int DEFAULT quick(1)); CREATE TABLE other (id int)").encode())
    rules = {(source_db, "public", "other"): True}
    part = replace(plan, selection=Selection(rules=rules, targets={source_db: target_db}))
    assert check(part, "superuser-objects").status == "warning"
    assert all(one.equal for one in run_steps(part, fake_ports()).comparisons)


def test_a_library_of_an_extension_that_the_target_offers_is_told_with_that_extension(
    plan: Plan, here: psycopg.Connection, target_cluster: Cluster
) -> None:
    here.execute(
        "CREATE FUNCTION far() RETURNS language_handler AS '$libdir/plpgsql', 'plpgsql_call_handler' LANGUAGE C"
    )
    result = check(plan, "superuser-objects")
    assert "The target offers plpgsql as an extension. Created there before the start" in result.hint
    assert (result.status, result.sql) == ("warning", 'CREATE EXTENSION IF NOT EXISTS "plpgsql" SCHEMA "public";')
    result = check(replace(plan, target=server(target_cluster)), "superuser-objects")
    assert "plpgsql as an extension, so its library should be there" in result.hint
    assert ("Install the libraries" in result.hint, result.sql) == (False, "")


def test_a_library_of_no_extension_of_the_target_is_to_be_installed(
    plan: Plan, here: psycopg.Connection, target_cluster: Cluster
) -> None:
    here.execute(
        "CREATE FUNCTION far(internal) RETURNS internal AS '$libdir/dict_snowball', 'dsnowball_init' LANGUAGE C"
    )
    result = check(replace(plan, target=server(target_cluster)), "superuser-objects")
    assert (result.status, "Install the libraries there first" in result.hint) == ("warning", True)
    assert "as an extension" not in result.hint


def test_a_leakproof_function_arrives_without_that_and_is_told_with_the_statement(
    plan: Plan, here: psycopg.Connection, there: psycopg.Connection
) -> None:
    here.execute(SILENT)
    result = check(plan, "superuser-objects")
    statement = "ALTER FUNCTION public.silent(integer) LEAKPROOF;"
    assert (result.status, result.sql) == ("warning", statement)
    assert result.found.endswith(
        "1 function is made without LEAKPROOF, which only a superuser can give: function public.silent(integer)."
    )
    ports = fake_ports()
    store = run_steps(plan, ports)
    assert all(one.equal for one in store.comparisons)
    (note,) = [one for one in store.notes[plan.databases[0].source_name] if one.kind == "function"]
    assert note.what == "leakproof: true on the source, none on the target"
    assert note.statement == 'ALTER FUNCTION "public".silent("LEAKPROOF" integer) LEAKPROOF;'
    there.execute(note.statement.encode())
    assert [one.kind for one in structure_now(plan, ports, final=True)] == ["owner"]


def test_a_leakproof_function_is_told_beside_what_no_account_but_a_superuser_can_make(
    plan: Plan, here: psycopg.Connection
) -> None:
    here.execute((QUICK + SILENT).encode())
    result = check(plan, "superuser-objects")
    assert result.status == "warning"
    assert "1 object that only a superuser can create: function public.quick(integer)." in result.found
    assert "1 function is made without LEAKPROOF" in result.found
    here.execute("ALTER TABLE t ALTER more SET DEFAULT quick(1)")
    result = check(plan, "superuser-objects")
    assert (result.status, "LEAKPROOF" in result.sql) == ("failed", False)
    assert "1 function is made without LEAKPROOF" in result.found
