"""What else looks at tables of the target takes those with other partitions for what they are."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from migrations_app.engine.checks import CheckStatus
from migrations_app.engine.plan import Plan
from migrations_app.engine.table_work import TableWork, acting_keys
from tests.postgres import complete_kit, layouts_kit
from tests.postgres.layouts_kit import BY_HASH, GATHERED, ITEMS, ONE_TABLE, looked, run

# Fixtures that stand in the kit.
plan = layouts_kit.plan
source = complete_kit.source
target = complete_kit.target

Session = psycopg.Connection[Any]
BY_ENUM = (
    "CREATE TYPE mood AS ENUM ('good', 'bad')",
    "CREATE TABLE moods (id int, now mood) PARTITION BY HASH (now)",
    "CREATE TABLE moods_0 PARTITION OF moods FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
)


@pytest.mark.parametrize("existing", ["keep", "truncate", "recreate"])
@pytest.mark.parametrize("layout", GATHERED)
def test_a_table_that_is_partitioned_on_one_side_is_not_another_kind_of_object(
    plan: Plan, target: Session, existing: str, layout: str
) -> None:
    run(target, GATHERED[layout], ITEMS)
    chosen = replace(plan, selection=replace(plan.selection, existing=existing))
    assert looked(chosen, "target-conflicts").status is CheckStatus.WARNING


@pytest.mark.parametrize(("there", "status"), [("", CheckStatus.FAILED), ("one table", CheckStatus.PASSED)])
def test_rows_spread_by_the_hash_of_an_enum_may_go_by_the_name_of_the_table(
    plan: Plan, source: Session, target: Session, there: str, status: CheckStatus
) -> None:
    run(source, *BY_ENUM)
    if there:
        run(target, "CREATE TYPE mood AS ENUM ('good', 'bad')", "CREATE TABLE moods (id int, now mood)")
    assert looked(plan, "table-families").status is status


def work_of(name: str) -> TableWork:
    return cast(TableWork, SimpleNamespace(place=("public", name)))


def test_keys_that_lead_to_single_partitions_of_the_target_act_as_well(target: Session) -> None:
    run(
        target,
        BY_HASH,
        "CREATE TABLE one (id int, day date, FOREIGN KEY (id, day) REFERENCES sales_h0 ON DELETE CASCADE)",
        "CREATE TABLE two (id int, day date, FOREIGN KEY (id, day) REFERENCES sales ON DELETE SET NULL)",
    )
    tables = {key.partition(" ")[0] for key in acting_keys(target, [work_of("sales")])}
    assert tables == {"public.one", "public.two"}


def test_keys_between_the_partitions_of_one_table_take_no_other_rows_along(target: Session) -> None:
    run(
        target,
        "CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree ON DELETE CASCADE) PARTITION BY HASH (id)",
        "CREATE TABLE tree_0 PARTITION OF tree FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        ONE_TABLE,
    )
    assert acting_keys(target, [work_of("tree"), work_of("sales")]) == []


def test_keys_that_are_not_enforced_take_no_rows_along(target: Session) -> None:
    run(
        target,
        ONE_TABLE,
        "CREATE TABLE loose (id int, day date, FOREIGN KEY (id, day) REFERENCES sales ON DELETE CASCADE NOT ENFORCED)",
    )
    assert acting_keys(target, [work_of("sales")]) == []
