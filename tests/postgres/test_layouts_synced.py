"""The sync follows tables that have other partitions on the target, and stops where it cannot tell which rows went."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.conflicts import ConflictKind, Obstacle
from migrations_app.engine.drift import Doubt, Drift
from migrations_app.engine.errors import CompareDiffers, ConflictError, SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import NEVER, Ports, TableStatus
from migrations_app.engine.replication.spooled import open_session
from migrations_app.engine.states import StepName
from tests.fakes import FakeStore
from tests.postgres import complete_kit, layouts_kit
from tests.postgres.compare_kit import running
from tests.postgres.complete_kit import migrate
from tests.postgres.conflicts_kit import allow, permission
from tests.postgres.layouts_kit import (
    BY_HASH,
    GATHERED,
    ITEMS,
    ONE_TABLE,
    complete,
    copy,
    plan_over,
    replace,
    rows,
    run,
    syncing,
)

# Fixtures that stand in the kit.
ports = layouts_kit.ports
source = complete_kit.source
target = complete_kit.target

Session = psycopg.Connection[Any]
CHANGES = """
INSERT INTO sales SELECT g, '2020-01-01'::date + g, 'new' FROM generate_series(500, 900) g;
UPDATE sales SET what = 'changed' WHERE id % 7 = 0;
UPDATE sales SET day = day + 400 WHERE id BETWEEN 10 AND 30;
UPDATE sales_21 SET id = id + 1000 WHERE id % 5 = 0;
DELETE FROM sales WHERE id % 11 = 0;
"""
NEW = """
CREATE TABLE sales_30 PARTITION OF sales FOR VALUES FROM ('2030-01-01') TO ('2040-01-01') PARTITION BY LIST (id);
CREATE TABLE sales_30_1 PARTITION OF sales_30 FOR VALUES IN (1, 2, 3);
"""


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    return syncing(plan_over(source_cluster, target_cluster, source_db, target_db, tmp_path))


@pytest.mark.sample(1)
@pytest.mark.parametrize("layout", GATHERED)
def test_changes_of_every_partition_arrive_by_the_name_of_the_table(
    plan: Plan, ports: Ports, source: Session, target: Session, layout: str
) -> None:
    run(target, GATHERED[layout])
    copy(plan, ports)
    run(source, CHANGES, NEW, "INSERT INTO sales VALUES (1, '2031-01-01', 'later'), (2, '2032-01-01', 'later')")
    run(source, "UPDATE sales SET day = '2020-05-05' WHERE what = 'later' AND id = 1")
    complete(plan, ports)
    assert rows(target, "sales") == rows(source, "sales")
    assert (2,) in target.execute("SELECT id FROM sales WHERE what = 'later'").fetchall()


@pytest.mark.sample(1)
@pytest.mark.parametrize("layout", [ONE_TABLE, BY_HASH])
def test_a_table_that_is_emptied_as_a_whole_is_emptied(
    plan: Plan, ports: Ports, source: Session, target: Session, layout: str
) -> None:
    run(target, layout)
    copy(plan, ports)
    run(source, CHANGES, "TRUNCATE sales", "INSERT INTO sales VALUES (1, '2021-01-01', 'after')")
    complete(plan, ports)
    assert rows(target, "sales") == rows(source, "sales")


def test_changes_of_a_plain_table_arrive_in_the_partitions_of_the_target(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(target, ITEMS)
    copy(plan, ports)
    run(
        source,
        "INSERT INTO items SELECT g, 'new' FROM generate_series(200, 600) g",
        "UPDATE items SET id = id + 2000 WHERE id < 20",
        "DELETE FROM items WHERE id % 3 = 0",
    )
    complete(plan, ports)
    assert rows(target, "items") == rows(source, "items")


def test_a_row_of_others_that_has_the_key_in_a_partition_of_the_target_gives_way(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(
        target,
        "CREATE TABLE items (what text, id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE items_low PARTITION OF items FOR VALUES FROM (MINVALUE) TO (60)",
        "CREATE TABLE items_high PARTITION OF items FOR VALUES FROM (60) TO (MAXVALUE) PARTITION BY HASH (id)",
        "CREATE TABLE items_last PARTITION OF items_high FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
    )
    copy(plan, ports)
    run(target, "INSERT INTO items (id, what) VALUES (500, 'foreign')")
    run(source, "INSERT INTO items VALUES (500, 'ours')")
    with pytest.raises(ConflictError) as caught:
        catch_up(plan, ports, source)
    conflict = caught.value.conflict
    assert conflict is not None
    assert (conflict.kind, conflict.obstacle) == (ConflictKind.DUPLICATE_KEY, Obstacle.NONE)
    allow(cast(FakeStore, ports.store), permission(conflict), database=plan.databases[0].source_name)
    catch_up(replace(plan, epoch=2), ports, source)
    assert target.execute("SELECT id, what FROM items ORDER BY 1").fetchall() == rows(source, "items")


@pytest.mark.long
def test_a_plain_table_that_is_emptied_empties_the_partitions_of_the_target(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(target, ITEMS)
    copy(plan, ports)
    run(source, "TRUNCATE items", "INSERT INTO items VALUES (1, 'after'), (99, 'after')")
    complete(plan, ports)
    assert rows(target, "items") == [(1, "after"), (99, "after")]


@pytest.mark.long
def test_one_of_equal_rows_is_deleted_where_several_partitions_have_a_row_at_its_place(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(
        source,
        "CREATE TABLE bare (id int, what text)",
        "INSERT INTO bare SELECT g % 4, 'x' FROM generate_series(1, 40) g",
    )
    run(
        target,
        "CREATE TABLE bare (id int, what text) PARTITION BY LIST (id)",
        *(f"CREATE TABLE bare_{n} PARTITION OF bare FOR VALUES IN ({n})" for n in range(4)),
    )
    copy(plan, ports)
    run(source, "DELETE FROM bare WHERE ctid IN (SELECT min(ctid) FROM bare GROUP BY id)")
    complete(plan, ports)
    assert rows(target, "bare") == rows(source, "bare")


def catch_up(plan: Plan, ports: Ports, source: Session) -> None:
    """Apply what the source has written by now, as one worker."""
    row = source.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
    assert row
    with running(plan, ports) as run, open_session(run, plan.databases[0]) as session:
        session.advance(until=parse_lsn(row[0]))


def stopped(plan: Plan, ports: Ports) -> Drift:
    with Executor(plan, ports) as executor, pytest.raises(SchemaChanged) as caught:
        executor.run(StepName.COMPLETE)
    assert caught.value.drift is not None
    assert (caught.value.drift.schema, caught.value.drift.name) == ("public", "sales")
    assert caught.value.drift.doubt is Doubt.PARTS
    return caught.value.drift


def copied_again(plan: Plan, ports: Ports) -> Plan:
    (database,) = plan.databases
    cast(FakeStore, ports.store).asked_again[database.source_name] = [("public", "sales")]
    later = replace(plan, epoch=plan.epoch + 1)
    with Executor(later, ports) as executor:
        assert executor.recopy().done
    return later


@pytest.mark.long
def test_a_partition_that_is_emptied_by_itself_stops_the_sync_until_the_table_is_copied_again(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(target, ONE_TABLE)
    copy(plan, ports)
    run(source, "INSERT INTO sales VALUES (777, '2020-01-01', 'before')", "TRUNCATE sales_21", CHANGES)
    drift = stopped(plan, ports)
    assert {change.name for change in drift.changes} <= {"public.sales_21_low", "public.sales_21_high"}
    later = copied_again(plan, ports)
    run(source, CHANGES.replace("g, '2020", "g + 5000, '2020"))
    complete(later, ports)
    assert rows(target, "sales") == rows(source, "sales")


@pytest.mark.long
def test_a_partition_that_is_attached_with_rows_stops_the_sync_until_the_table_is_copied_again(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(target, ONE_TABLE)
    copy(plan, ports)
    run(
        source,
        "CREATE TABLE sales_40 (id int NOT NULL, day date NOT NULL, what text, PRIMARY KEY (id, day))",
        "INSERT INTO sales_40 VALUES (1, '2041-01-01', 'silent')",
        "ALTER TABLE sales ATTACH PARTITION sales_40 FOR VALUES FROM ('2040-01-01') TO ('2050-01-01')",
        "INSERT INTO sales VALUES (2, '2042-01-01', 'told')",
    )
    assert [change.name for change in stopped(plan, ports).changes] == ["public.sales_40"]
    later = copied_again(plan, ports)
    run(source, "INSERT INTO sales VALUES (3, '2043-01-01', 'later')")
    complete(later, ports)
    assert rows(target, "sales") == rows(source, "sales")


@pytest.mark.sample(1)
@pytest.mark.parametrize("statement", ["ALTER TABLE sales DETACH PARTITION sales_22", "DROP TABLE sales_22"])
def test_rows_that_left_with_a_partition_are_told_and_go_when_the_table_is_copied_again(
    plan: Plan, ports: Ports, source: Session, target: Session, statement: str
) -> None:
    run(target, ONE_TABLE)
    copy(plan, ports)
    run(source, "UPDATE sales SET what = 'last' WHERE day >= '2022-01-01'", statement, "DELETE FROM sales WHERE id < 9")
    ports.control.complete = True  # type: ignore[attr-defined]
    with Executor(plan, ports) as executor:
        assert executor.run(StepName.SYNC).done
    told = [text for _, code, text in cast(FakeStore, ports.store).events if code == "SRC-DDL"]
    assert any("public.sales_22 is no partition of public.sales" in text for text in told)
    assert (100,) in target.execute("SELECT id FROM sales").fetchall()
    refused = replace(plan, epoch=plan.epoch + 1)
    with pytest.raises(CompareDiffers, match=r"public\.sales"):
        migrate(refused, ports, StepName.COMPARE, StepName.COMPLETE)
    ports.control.complete = False  # type: ignore[attr-defined]
    later = copied_again(refused, ports)
    complete(later, ports)
    assert rows(target, "sales") == rows(source, "sales")


@pytest.mark.long
def test_a_new_partition_that_is_unlogged_is_told_when_it_appears_and_comes_when_it_is_logged(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(target, ONE_TABLE)
    copy(plan, ports)
    made = "PARTITION OF sales FOR VALUES FROM ('2040-01-01') TO ('2050-01-01')"
    run(source, f"CREATE UNLOGGED TABLE sales_40 {made}", "INSERT INTO sales VALUES (1, '2041-01-01', 'silent')")
    ports.control.complete = True  # type: ignore[attr-defined]
    with Executor(plan, ports) as executor:
        assert executor.run(StepName.SYNC).done
    (told,) = [text for _, code, text in cast(FakeStore, ports.store).events if code == "SRC-DDL"]
    assert "public.sales_40 is a new partition of public.sales" in told
    assert 'ALTER TABLE "public"."sales_40" SET LOGGED' in told
    ports.control.complete = False  # type: ignore[attr-defined]
    run(source, "ALTER TABLE sales_40 SET LOGGED")
    later = copied_again(plan, ports)
    run(source, "INSERT INTO sales VALUES (2, '2042-01-01', 'told')")
    complete(later, ports)
    assert rows(target, "sales") == rows(source, "sales")


@pytest.mark.long
def test_a_new_partition_is_one_of_the_table_also_for_the_worker_that_comes_next(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(target, ONE_TABLE)
    copy(plan, ports)
    run(source, NEW, "INSERT INTO sales VALUES (1, '2031-01-01', 'one')")
    catch_up(plan, ports, source)
    run(source, "UPDATE sales SET what = 'two' WHERE what = 'one'", "INSERT INTO sales VALUES (2, '2032-01-01', 'two')")
    complete(replace(plan, epoch=2), ports)
    assert rows(target, "sales") == rows(source, "sales")


@pytest.mark.long
def test_changes_of_a_partition_that_is_detached_for_a_while_arrive(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(target, ONE_TABLE)
    copy(plan, ports)
    run(
        source,
        "ALTER TABLE sales DETACH PARTITION sales_22",
        "UPDATE sales_22 SET what = 'apart'",
        "ALTER TABLE sales ATTACH PARTITION sales_22 FOR VALUES FROM ('2022-01-01') TO ('2023-01-01')",
    )
    complete(plan, ports)
    assert rows(target, "sales") == rows(source, "sales")
    assert target.execute("SELECT count(*) > 0 FROM sales WHERE what = 'apart'").fetchone() == (True,)


@pytest.mark.sample(1)
@pytest.mark.parametrize("layout", [ONE_TABLE, BY_HASH])
def test_a_column_that_is_added_to_all_partitions_is_followed(
    plan: Plan, ports: Ports, source: Session, target: Session, layout: str
) -> None:
    run(target, layout)
    following = replace(plan, selection=replace(plan.selection, follow="additions"))
    copy(following, ports)
    run(
        source,
        "UPDATE sales SET what = 'before'",
        "ALTER TABLE sales ADD COLUMN more int",
        CHANGES.replace("changed", "x"),
    )
    run(source, "UPDATE sales SET more = id")
    complete(following, ports)
    columns = "(SELECT id, day, what, more FROM sales) s"
    assert rows(target, columns) == rows(source, columns)


def test_a_column_of_partitions_that_were_written_anew_since_is_asked_about(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(target, ONE_TABLE)
    following = replace(plan, selection=replace(plan.selection, follow="additions"))
    copy(following, ports)
    run(source, "ALTER TABLE sales ADD COLUMN more int DEFAULT 5", "ALTER TABLE sales ALTER more DROP DEFAULT")
    run(source, *(f"VACUUM FULL sales_{part}" for part in (20, "21_low", "21_high", 22)))
    run(source, "UPDATE sales SET more = 7 WHERE id = 1")
    with pytest.raises(SchemaChanged) as caught:
        catch_up(following, ports, source)
    assert caught.value.drift is not None
    assert (caught.value.drift.name, caught.value.drift.doubt) == ("sales", Doubt.VALUES)


@pytest.mark.long
def test_a_table_that_the_sync_passes_by_is_not_stopped_by_its_partitions(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(target, ONE_TABLE)
    copy(plan, ports)
    store = cast(FakeStore, ports.store)
    (sales,) = (one for one in store.table_rows.values() if one.name == "sales")
    store.save_tables(replace(sales, status=TableStatus.QUARANTINED, watermark=NEVER))
    run(source, NEW, "INSERT INTO sales VALUES (1, '2031-01-01', 'unseen')", "TRUNCATE sales_20", "DELETE FROM plain")
    catch_up(plan, ports, source)
    assert rows(target, "plain") == []
    assert len(rows(target, "sales")) == 100
    store.save_tables(sales)
    complete(copied_again(plan, ports), ports)
    assert rows(target, "sales") == rows(source, "sales")


@pytest.mark.long
def test_triggers_of_the_targets_partitions_keep_silent_and_come_back(
    plan: Plan, ports: Ports, source: Session, target: Session
) -> None:
    run(
        target,
        ITEMS,
        "CREATE TABLE seen (id int)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO public.seen VALUES (NEW.id); RETURN NEW; END'",
        "CREATE TRIGGER on_all AFTER INSERT ON items FOR EACH ROW EXECUTE FUNCTION note()",
        "CREATE TRIGGER on_one AFTER INSERT ON items_low FOR EACH ROW EXECUTE FUNCTION note()",
        "ALTER TABLE items ENABLE ALWAYS TRIGGER on_all",
        "ALTER TABLE items_low ENABLE ALWAYS TRIGGER on_one",
    )
    enabled = "pg_trigger WHERE NOT tgisinternal"
    before = target.execute(
        f"SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM {enabled} ORDER BY 1, 2"
    ).fetchall()
    copy(plan, ports)
    run(source, "INSERT INTO items VALUES (40, 'new') ON CONFLICT DO NOTHING", "INSERT INTO items VALUES (1000, 'new')")
    complete(plan, ports)
    assert rows(target, "(SELECT id, 1 FROM seen) s") == []
    after = target.execute(
        f"SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM {enabled} ORDER BY 1, 2"
    ).fetchall()
    assert after == before
