"""The check item about the order of text, on servers with ICU: what is told, and what records a version anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrations_app.engine.plan import DatabasePlan, Plan
from migrations_app.engine.selection import Selection
from tests.postgres import other_servers_kit
from tests.postgres.checks_kit import check
from tests.servers import Server

pytestmark = other_servers_kit.only_there

# Fixtures that stand in the kit.
ten = other_servers_kit.ten
eighteen = other_servers_kit.eighteen
task = other_servers_kit.task


@pytest.mark.parametrize("collation", ["de-x-icu", "und-x-icu"])
def test_text_indexes_are_named_where_two_libraries_order_text(ten: Server, task: Plan, collation: str) -> None:
    with ten.connect("shop") as shop:
        shop.execute('CREATE TABLE t (a text COLLATE "C" PRIMARY KEY, i int UNIQUE)')
        assert check(task, "collation-versions").status == "passed"
        shop.execute(f'CREATE INDEX worded ON t (a COLLATE "{collation}")')
        row = shop.execute("SELECT collversion FROM pg_collation WHERE collname = %s", (collation,)).fetchone()
    result = check(task, "collation-versions")
    assert (result.status, f"version {row[0] if row else ''} on the source" in result.found) == ("warning", True)
    assert "public.worded" in result.found
    assert "t_i_key" not in result.found


def test_text_indexes_are_named_where_the_library_was_changed_below_them(eighteen: Server, task: Plan) -> None:
    task = replace(task, source=task.target)
    with eighteen.connect("shop") as shop:
        shop.execute('CREATE TABLE t (a text COLLATE "de-x-icu" PRIMARY KEY)')
        assert check(task, "collation-versions").status == "passed"
        shop.execute("SET allow_system_table_mods = on")
        shop.execute("UPDATE pg_collation SET collversion = '58.0.6.50' WHERE collprovider = 'i'")
        result = check(task, "collation-versions")
        assert (result.status, "was changed (58.0.6.50 to " in result.found) == ("warning", True)
        assert "public.t_pkey" in result.found
        for statement in result.sql.splitlines():
            shop.execute(statement)
    assert check(task, "collation-versions").status == "passed"


def test_the_statement_that_records_a_version_anew_is_one_that_the_source_knows(ten: Server, task: Plan) -> None:
    task = replace(task, target=task.source)
    with ten.connect("shop") as shop:
        shop.execute('CREATE SCHEMA "a.b"; CREATE TABLE "a.b".t (a text COLLATE "de-x-icu" PRIMARY KEY)')
        shop.execute("UPDATE pg_collation SET collversion = '1' WHERE collname = 'de-x-icu'")
        result = check(task, "collation-versions")
        assert (result.status, "was changed (1 to " in result.found) == ("warning", True)
        for statement in result.sql.splitlines():
            shop.execute(statement)
    assert check(task, "collation-versions").status == "passed"


def test_the_order_of_a_database_itself_is_recorded_with_the_database(eighteen: Server, task: Plan) -> None:
    task = replace(task, source=task.target, databases=(DatabasePlan(source_name="sorted", target_name="none"),))
    task = replace(task, selection=Selection.everything())
    with eighteen.connect() as connection:
        connection.execute("CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de'")
        try:
            with eighteen.connect("sorted") as shop:
                shop.execute("CREATE TABLE t (a text PRIMARY KEY)")
                assert check(task, "collation-versions").status == "passed"
                shop.execute("UPDATE pg_database SET datcollversion = '1' WHERE datname = 'sorted'")
                result = check(task, "collation-versions")
                assert (result.status, "was changed (1 to " in result.found) == ("warning", True)
                for statement in result.sql.splitlines():
                    shop.execute(statement)
            assert check(task, "collation-versions").status == "passed"
        finally:
            connection.execute("DROP DATABASE sorted WITH (FORCE)")
