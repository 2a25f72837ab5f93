"""The check item about rows of a child in other tables' columns, whose fields a dump puts in another order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrations_app.engine.plan import Plan
from tests.postgres import shape_kit
from tests.postgres.checks_kit import check
from tests.postgres.shape_kit import Connection

# Fixtures that stand in the kit.
task = shape_kit.task
shop = shape_kit.shop
there = shape_kit.there


def test_rows_of_a_child_whose_columns_move_fail_where_a_column_holds_them(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE parent (a int, b int); CREATE TABLE made_so (c int) INHERITS (parent)")
    shop.execute("CREATE TABLE joined (b int, a int); ALTER TABLE joined INHERIT parent")
    shop.execute("CREATE TABLE below () INHERITS (joined); CREATE TABLE holder (x made_so)")
    assert check(task, "moved-fields").status == "passed"
    shop.execute("ALTER TABLE holder ADD y joined, ADD z below[]")
    result = check(task, "moved-fields")
    assert result.status == "failed"
    assert result.found.endswith("public.holder.y (public.joined), public.holder.z (public.below).")


def test_rows_whose_columns_move_are_found_inside_of_other_values(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE parent (a int, b int); CREATE TABLE joined (b int, a int)")
    shop.execute("ALTER TABLE joined INHERIT parent; CREATE DOMAIN many AS joined[]")
    shop.execute("CREATE TYPE deep AS (n int, s many)")
    shop.execute("CREATE TYPE spans AS RANGE (subtype = deep); CREATE TABLE row_of (s spans)")
    shop.execute("CREATE TABLE holder (i int, d deep[], r row_of)")
    result = check(task, "moved-fields")
    assert result.status == "failed"
    assert all(f"public.{name} (public.joined)" in result.found for name in ("holder.d", "holder.r", "row_of.s"))
    assert "holder.i" not in result.found


@pytest.mark.parametrize("existing", ["keep", "truncate"])
def test_rows_of_a_child_pass_where_the_target_has_it_in_the_same_order(
    shop: Connection, there: Connection, task: Plan, existing: str
) -> None:
    shop.execute("CREATE TABLE parent (a int, b int); CREATE TABLE joined (b int, a int)")
    shop.execute("ALTER TABLE joined INHERIT parent; CREATE TABLE holder (x joined)")
    used = replace(task, selection=replace(task.selection, existing=existing))
    assert check(used, "moved-fields").status == "failed"
    there.execute("CREATE TABLE joined (a int, b int)")
    assert check(used, "moved-fields").status == "failed"
    there.execute("DROP TABLE joined; CREATE TABLE joined (b int, a int)")
    assert check(used, "moved-fields").status == "passed"
    assert check(task, "moved-fields").status == "failed"
