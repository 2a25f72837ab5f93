"""Tables that stand on the target with other partitions than on the source get all their rows by their names."""

from __future__ import annotations

from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import copy_plan, copying
from migrations_app.engine.checks import CheckStatus
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.errors import ConflictError, ConnectionLost
from migrations_app.engine.executor import Executor
from migrations_app.engine.parts import Part
from migrations_app.engine.plan import DatabasePlan, Plan
from migrations_app.engine.ports import Ports, TableStatus
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import copy as copy_step
from migrations_app.engine.steps import schema
from migrations_app.engine.table_work import TableWork
from tests.fakes import FakeStore
from tests.postgres import complete_kit, layouts_kit
from tests.postgres.compare_kit import running
from tests.postgres.layouts_kit import (
    BY_HASH,
    GATHERED,
    ITEMS,
    OLD_ROWS,
    ONE_TABLE,
    complete,
    copy,
    looked,
    rows,
    run,
    syncing,
    tables,
)

# Fixtures that stand in the kit.
plan = layouts_kit.plan
ports = layouts_kit.ports
source = complete_kit.source
target = complete_kit.target

Session = psycopg.Connection[Any]


@pytest.mark.parametrize("layout", GATHERED)
def test_rows_of_all_partitions_go_into_the_table_that_the_target_has(
    plan: Plan, ports: Ports, source: Session, target: Session, layout: str
) -> None:
    run(target, GATHERED[layout], OLD_ROWS, "CREATE INDEX mine ON sales (day)")
    before = tables(target)
    copy(plan, ports)
    store = complete(plan, ports)
    assert rows(target, "sales") == rows(source, "sales")
    assert tables(target) == before | {"items", "plain"}
    assert "DST-EMPTIED" in {code for _, code, _ in store.events}
    indexes = target.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'sales' ORDER BY 1").fetchall()
    assert indexes == [("mine",), ("sales_pkey",)]


def test_the_other_layout_is_noted_as_chosen_and_what_it_lacks_as_missing(
    plan: Plan, ports: Ports, target: Session
) -> None:
    run(target, BY_HASH)
    copy(plan, ports)
    store = complete(plan, ports)
    noted = {(note.kind, note.name or note.table, str(note.what)[:29]) for note in store.notes[next(iter(store.notes))]}
    assert noted == {("table", "sales", "partitioned otherwise than on"), ("index", "by_what", "missing on the target")}


def test_rows_of_a_plain_table_go_into_the_partitions_of_the_target(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(target, ITEMS, "INSERT INTO items VALUES (7, 'old'), (700, 'old')")
    copy(plan, ports)
    complete(plan, ports)
    assert rows(target, "items") == rows(source, "items")
    assert rows(target, "ONLY items_high") == rows(source, "items WHERE id >= 60")


def test_tables_that_are_to_be_kept_must_be_empty_in_all_partitions(plan: Plan, ports: Ports, target: Session) -> None:
    run(target, ITEMS, "INSERT INTO items VALUES (700, 'mine')")
    keeping = layouts_kit.replace(plan, selection=layouts_kit.replace(plan.selection, existing="keep"))
    assert looked(keeping, "target-conflicts").status is CheckStatus.FAILED
    with Executor(keeping, ports) as executor, pytest.raises(ConflictError, match="which are to be kept"):
        executor.run(StepName.SCHEMA)
    assert rows(target, "items") == [(700, "mine")]


def test_partitions_of_the_same_names_and_bounds_are_filled_one_by_one(
    plan: Plan, ports: Ports, target: Session, source: Session
) -> None:
    alike = layouts_kit.SALES.partition("CREATE INDEX")[0]
    run(target, alike)
    assert looked(plan).status is CheckStatus.PASSED
    copy(plan, ports)
    names = {state.name for state in cast(FakeStore, ports.store).table_rows.values()}
    assert "sales_21_low" in names
    assert "sales" not in names
    complete(plan, ports)
    assert rows(target, "ONLY sales_21_low") == rows(source, "ONLY sales_21_low")


def test_partitions_that_the_target_lacks_are_made_beside_those_that_it_has(
    plan: Plan, ports: Ports, target: Session, source: Session
) -> None:
    run(target, *layouts_kit.SALES.split(";")[:2])
    assert looked(plan).status is CheckStatus.PASSED
    copy(plan, ports)
    complete(plan, ports)
    assert len(rows(target, "ONLY sales_22")) == len(rows(source, "ONLY sales_22"))
    assert rows(target, "sales") == rows(source, "sales")


@pytest.mark.sample(1)
@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("layout", [ONE_TABLE, BY_HASH])
def test_a_copy_that_begins_anew_doubles_no_row(
    plan: Plan, ports: Ports, source: Session, target: Session, layout: str, incremental: bool
) -> None:
    run(target, layout, ITEMS)
    chosen = syncing(plan) if incremental else plan
    copy(chosen, ports)
    store = cast(FakeStore, ports.store)
    for state in list(store.table_rows.values()):  # the target has the rows, but nobody could write that down
        store.save_tables(layouts_kit.replace(state, status=TableStatus.COPYING, watermark=None))
    again = layouts_kit.replace(chosen, epoch=2)
    layouts_kit.migrate(again, ports, StepName.COPY, StepName.INDEX)
    assert rows(target, "sales") == rows(source, "sales")
    assert rows(target, "items") == rows(source, "items")
    complete(again, ports)


@pytest.mark.sample(1)
@pytest.mark.parametrize("layout", [ONE_TABLE, BY_HASH])
def test_partitions_are_copied_side_by_side_and_no_row_is_doubled(
    plan: Plan, ports: Ports, source: Session, target: Session, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(target, layout, "INSERT INTO sales VALUES (1, '2020-02-02', 'old')")
    monkeypatch.setattr(copy_plan, "_SMALL_TABLE_BYTES", 0)
    real, copied = copying.Lane._copy_part, list[Part]()

    def failing(lane: copying.Lane, work: TableWork, part: Part) -> None:
        real(lane, work, part)
        copied.append(part)
        if len(copied) == 2:
            raise ConnectionLost("gone")

    monkeypatch.setattr(copying.Lane, "_copy_part", failing)
    copy(plan, ports)
    assert {part.of for part in copied} == {
        ("public", name) for name in ("sales_20", "sales_21_low", "sales_21_high", "sales_22")
    }
    assert rows(target, "sales") == rows(source, "sales")
    complete(plan, ports)


@pytest.mark.sample(1)
@pytest.mark.parametrize("incremental", [False, True])
def test_tables_that_are_never_left_alone_are_copied_with_all_their_partitions_locked(
    plan: Plan, ports: Ports, source: Session, target: Session, incremental: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(target, BY_HASH)
    monkeypatch.setattr(copy_step, "_PASSES", 0)
    chosen = syncing(plan) if incremental else plan
    copy(chosen, ports)
    assert "COPY-LOCKED" in {code for _, code, _ in cast(FakeStore, ports.store).events}
    complete(chosen, ports)
    assert rows(target, "sales") == rows(source, "sales")


def test_the_check_says_what_happens_to_which_table(plan: Plan, target: Session) -> None:
    run(target, ONE_TABLE, ITEMS)
    result = looked(syncing(plan))
    assert result.status is CheckStatus.WARNING
    assert "public.items (the target puts each row into the partition that it belongs to)" in result.found
    assert "public.sales (the rows of all its partitions go into one table)" in result.found
    assert "TRUNCATE of a single partition" in result.hint
    assert "stop it" not in looked(plan).hint


def test_without_a_key_on_the_target_the_check_warns_of_slow_changes(plan: Plan, target: Session) -> None:
    run(target, ONE_TABLE.replace(", PRIMARY KEY (id, day)", ""))
    assert "each changed row is looked for in the whole table: public.sales" in looked(syncing(plan)).hint


def test_the_partitions_that_get_the_rows_are_not_called_other_objects(plan: Plan, target: Session) -> None:
    run(target, ITEMS)
    assert looked(plan, "target-empty").status is CheckStatus.PASSED


@pytest.mark.parametrize(
    ("there", "changed", "incremental", "why"),
    [
        (ONE_TABLE, "ALTER TABLE sales DROP CONSTRAINT sales_pkey", True, "without a primary key"),
        (
            "CREATE TABLE above (id int, day date, what text) PARTITION BY RANGE (day);"
            " CREATE TABLE sales PARTITION OF above DEFAULT",
            "",
            False,
            "on the target it is itself a partition, of public.above",
        ),
        (
            ONE_TABLE,
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
            "CREATE TABLE far (id int NOT NULL, day date NOT NULL, what text) PARTITION BY RANGE (day);"
            "DROP TABLE sales; ALTER TABLE far RENAME TO sales;"
            "CREATE FOREIGN TABLE sales_far PARTITION OF sales DEFAULT SERVER s",
            False,
            "one of its partitions is a foreign table",
        ),
        (ONE_TABLE, "ALTER TABLE sales_20 SET UNLOGGED", False, "only some of its partitions are logged"),
        (
            ONE_TABLE + "CREATE TABLE items (id int PRIMARY KEY, what text) PARTITION BY RANGE (id);"
            "CREATE TABLE plain PARTITION OF items DEFAULT",
            "",
            False,
            "its partitions on the target are tables of their own on the source: public.plain",
        ),
    ],
)
def test_a_layout_that_rows_cannot_go_into_is_refused_before_anything_is_touched(
    plan: Plan, ports: Ports, source: Session, target: Session, there: str, changed: str, incremental: bool, why: str
) -> None:
    run(target, there, "INSERT INTO sales VALUES (1, '2020-02-02', 'old')")
    run(source, *([changed] if changed else []))
    chosen = syncing(plan) if incremental else plan
    result = looked(chosen)
    assert result.status is CheckStatus.FAILED
    assert why in result.found
    with Executor(chosen, ports) as executor, pytest.raises(ConflictError, match=why):
        executor.run(StepName.SCHEMA)
    assert len(rows(target, "sales")) == 1
    assert source.execute("SELECT FROM pg_publication").fetchall() == []
    assert source.execute("SELECT FROM pg_replication_slots WHERE database = current_database()").fetchall() == []


def test_slots_that_come_before_everything_else_wait_for_no_database_of_the_target(
    plan: Plan,
    ports: Ports,
    source_cluster: Cluster,
    target_cluster: Cluster,
    target_db: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with sources before 10, where the slots of all databases are made first."""
    monkeypatch.setattr(schema, "exports_hold_transactions", lambda version: True)
    second, missing = f"{target_db}_b", f"{target_db}_c"
    with source_cluster.connect() as connection:
        connection.execute(f'CREATE DATABASE "{second}"'.encode())
    (first,) = plan.databases
    both = (first, DatabasePlan(source_name=second, target_name=missing))
    selection = layouts_kit.replace(
        plan.selection,
        rules={(first.source_name,): True, (second,): True},
        targets={one.source_name: one.target_name for one in both},
    )
    cast(FakeStore, ports.store).targets.update(selection.targets)
    wide = syncing(layouts_kit.replace(plan, databases=both, selection=selection))
    try:
        layouts_kit.migrate(wide, ports, StepName.SCHEMA)
        with target_cluster.connect(missing) as connection:
            assert tables(connection) == set()
    finally:
        with running(layouts_kit.replace(wide, epoch=98), ports) as run_:
            clean_up(run_, keep_target_objects=True)
        for cluster, name in ((source_cluster, second), (target_cluster, missing)):
            with cluster.connect() as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
