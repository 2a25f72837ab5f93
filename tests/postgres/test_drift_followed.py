"""What is followed by itself when a table changes on the source, and what the look beside the stream warns of."""

from __future__ import annotations

import threading
from dataclasses import replace

import psycopg
import pytest

from migrations_app.engine.drift import Doubt
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.ports import NEVER, TableStatus
from migrations_app.engine.replication import polling
from migrations_app.engine.steps import sync
from tests.fakes import wait_until
from tests.postgres import drift_kit
from tests.postgres.drift_kit import ROWS, TABLE, allow, stopped
from tests.postgres.sync_kit import Pair, force_path

# A fixture that stands in the kit.
pair = drift_kit.pair


# What is only added, by the task's option

PARTED = (
    "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY LIST (id);"
    " CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)"
)


@pytest.fixture
def following(pair: Pair) -> Pair:
    pair.selection = replace(pair.selection, follow="additions")
    return pair


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_added_columns_that_may_be_null_are_followed_by_themselves(
    following: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    following.build(TABLE, ROWS)
    following.at_source("ALTER TABLE t ADD COLUMN a int, ADD COLUMN b text", "INSERT INTO t VALUES (200, 'x', 1, 'y')")
    following.at_source("ALTER TABLE t ADD COLUMN c date", "UPDATE t SET c = '2026-01-02' WHERE id < 9")
    following.catch_up()
    following.assert_equal()
    assert [code for _, code, _ in following.store.events] == ["DDL-APPLIED"] * 2


@pytest.mark.parametrize(
    "ddl",
    [
        "ALTER TABLE t ADD COLUMN c int DEFAULT 1",
        "ALTER TABLE t DROP COLUMN v",
        "ALTER TABLE t ALTER v TYPE varchar(9)",
        "ALTER TABLE t ADD COLUMN c int, DROP COLUMN v",
    ],
)
def test_anything_else_stops_the_sync_whatever_the_option_says(following: Pair, ddl: str) -> None:
    following.build(TABLE, ROWS)
    following.at_source(ddl, "INSERT INTO t (id) VALUES (200)")
    assert not stopped(following).harmless


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_partition_that_was_made_empty_is_followed_by_itself(
    following: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    following.build(PARTED)
    following.at_source("CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)", "INSERT INTO m VALUES (1, 'x'), (2, 'y')")
    following.catch_up()
    following.assert_equal()
    (state,) = [state for state in following.store.tables(following.source_db) if state.name == "m2"]
    assert (state.status, state.oid > 0) == (TableStatus.DONE, True)
    following.at_source("UPDATE m SET v = 'z' WHERE id = 2", "ALTER TABLE m ADD COLUMN c int", "UPDATE m SET c = id")
    following.catch_up()
    following.assert_equal()


SUB_TREE = (
    "CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2, 3) PARTITION BY RANGE (id);"
    " CREATE TABLE m23 PARTITION OF m2 FOR VALUES FROM (2) TO (9) PARTITION BY LIST (id);"
    " CREATE TABLE m2even PARTITION OF m23 FOR VALUES IN (2, 4); CREATE TABLE m2odd PARTITION OF m23 FOR VALUES IN (3)"
)


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_new_partitions_that_are_partitioned_themselves_are_followed_by_themselves(
    following: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    following.build(PARTED)
    following.at_source(SUB_TREE, "INSERT INTO m VALUES (1, 'x'), (2, 'y'), (3, 'z')", "UPDATE m SET v = v || '!'")
    following.catch_up()
    following.assert_equal()
    assert {state.name for state in following.store.tables(following.source_db)} == {"m1", "m2even", "m2odd"}
    assert {item.name for item in following.ledger.items() if item.kind == "table"} == {"m2", "m23", "m2even", "m2odd"}
    following.at_source("ALTER TABLE m ADD COLUMN c int", "UPDATE m SET c = id", "DELETE FROM m WHERE id = 3")
    following.catch_up()
    following.assert_equal()


def test_a_sub_tree_is_applied_as_a_whole_when_that_is_allowed(pair: Pair) -> None:
    pair.build(PARTED)
    pair.at_source(SUB_TREE, "INSERT INTO m VALUES (2, 'y')")
    drift = stopped(pair)
    assert (drift.name, drift.above) == ("m2even", (("public", "m2"), ("public", "m23")))
    assert [statement.split(" PARTITION OF ")[0] for statement in drift.statements] == [
        f'CREATE TABLE "public"."{name}"' for name in ("m2", "m23", "m2even")
    ]
    allow(pair, drift)
    pair.catch_up()
    pair.at_source("INSERT INTO m VALUES (3, 'z')")
    drift = stopped(pair)
    assert (drift.name, drift.above) == ("m2odd", ())
    allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()


def test_a_sub_tree_that_a_worker_made_before_it_died_is_taken_for_what_it_is(following: Pair) -> None:
    following.build(PARTED)
    following.at_source(SUB_TREE, "INSERT INTO m VALUES (2, 'y')")
    following.catch_up()
    del following.store.table_rows[following.source_db, "public", "m2even"]  # it died before it wrote this down
    following.at_source("INSERT INTO m VALUES (3, 'z')", "UPDATE m SET v = 'w' WHERE id = 2")
    following.catch_up()
    following.assert_equal()


@pytest.mark.parametrize(
    "ddl",
    [
        (
            "CREATE TABLE m2 (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
            " CREATE TABLE m23 PARTITION OF m2 FOR VALUES FROM (2) TO (9); INSERT INTO m2 VALUES (2, 'before')",
            "ALTER TABLE m ATTACH PARTITION m2 FOR VALUES IN (2, 3)",
        ),
        (
            "CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2, 3) PARTITION BY RANGE (id);"
            " CREATE TABLE m23 (id int PRIMARY KEY, v text); INSERT INTO m23 VALUES (2, 'before')",
            "ALTER TABLE m2 ATTACH PARTITION m23 FOR VALUES FROM (2) TO (9)",
        ),
    ],
    ids=["above", "below"],
)
def test_a_sub_tree_that_was_attached_at_any_level_stops_the_sync(following: Pair, ddl: tuple[str, str]) -> None:
    following.build(PARTED)
    following.at_source(*ddl, "INSERT INTO m VALUES (3, 'after')")
    drift = stopped(following)
    assert (drift.name, drift.doubt, drift.statements) == ("m23", Doubt.ATTACHED, ())


def test_a_partition_that_was_attached_with_rows_stops_the_sync(following: Pair) -> None:
    following.build(PARTED)
    following.at_source(
        "CREATE TABLE m2 (id int PRIMARY KEY, v text); INSERT INTO m2 VALUES (2, 'before')",
        "ALTER TABLE m ATTACH PARTITION m2 FOR VALUES IN (2, 3)",
        "INSERT INTO m VALUES (3, 'after')",
    )
    drift = stopped(following)
    assert (drift.name, drift.doubt, drift.statements) == ("m2", Doubt.ATTACHED, ())


def test_a_new_partition_is_applied_when_that_is_allowed(pair: Pair) -> None:
    pair.build(PARTED)
    pair.at_source("CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)", "INSERT INTO m VALUES (2, 'y')")
    drift = stopped(pair)
    assert drift.statements == ("""CREATE TABLE "public"."m2" PARTITION OF "public"."m" FOR VALUES IN (2)""",)
    allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()


def test_a_partition_that_a_worker_made_before_it_died_is_taken_for_what_it_is(following: Pair) -> None:
    following.build(PARTED)
    following.at_source("CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)", "INSERT INTO m VALUES (2, 'y')")
    following.catch_up()
    del following.store.table_rows[following.source_db, "public", "m2"]  # it died before it wrote this down
    following.at_source("UPDATE m SET v = 'z' WHERE id = 2")
    following.catch_up()
    following.assert_equal()
    assert (following.source_db, "public", "m2") in following.store.table_rows


def test_a_table_of_somebody_else_is_not_taken_for_the_new_partition(following: Pair) -> None:
    following.build(PARTED)
    following.at_target("CREATE TABLE m2 (id int PRIMARY KEY, v text)")
    following.at_source("CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)", "INSERT INTO m VALUES (2, 'y')")
    with pytest.raises(SchemaChanged, match="new partition"):
        following.catch_up()
    assert following.value("SELECT count(*) FROM m2", "target") == 0


_WARNINGS = {("warning", "SRC-DDL"), ("warning", "SRC-NEWTABLE"), ("error", "SRC-IDENTITY")}


def looked(pair: Pair) -> list[str]:
    """Sync a slice that looks at the source once, and return the warnings."""
    return [message for level, code, message in pair.look() if (level, code) in _WARNINGS]


def test_a_change_that_no_row_has_told_yet_is_warned_of_once_with_the_statement(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    assert looked(pair) == []
    pair.at_source("ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 7")
    (said,) = looked(pair)
    assert "column c exists only on the source" in said
    assert "stop just before the first row of the new shape" in said
    assert """ADD COLUMN "c" integer DEFAULT '7'::integer NOT NULL""" in said
    assert looked(pair) == []
    pair.at_source("ALTER TABLE t ALTER v SET NOT NULL")
    (said,) = looked(pair)
    assert 'ALTER COLUMN "v" SET NOT NULL' in said


def test_what_was_mended_on_the_target_is_settled_and_may_be_told_anew(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("ALTER TABLE t ADD COLUMN c int")
    assert len(looked(pair)) == 1
    pair.at_target("ALTER TABLE t ADD COLUMN c int")
    assert looked(pair) == []
    assert list(pair.state.told_drift) == []
    pair.at_target("ALTER TABLE t DROP COLUMN c")
    pair.at_source("ALTER TABLE t ALTER v SET DEFAULT 'x'")
    assert len(looked(pair)) == 1


@pytest.mark.parametrize(
    ("ddl", "words"),
    [
        ("ALTER TABLE t RENAME TO u", "now called public.u"),
        ("CREATE TABLE more (id int PRIMARY KEY)", "public.more of"),
        ("ALTER TABLE t ALTER v SET NOT NULL", "column v is NOT NULL on the source and NULL on the target"),
        ("ALTER TABLE t DROP COLUMN v", "column v exists only on the target"),
        ("ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (id * 2) STORED", "column g"),
    ],
)
def test_the_look_finds_whatever_happens_to_tables(pair: Pair, ddl: str, words: str) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source(ddl)
    (said,) = looked(pair)
    assert words in said


@pytest.mark.long
@pytest.mark.parametrize("ddl", ["ALTER TABLE t DROP CONSTRAINT t_pkey", "ALTER TABLE t REPLICA IDENTITY NOTHING"])
def test_a_table_whose_changes_the_source_refuses_from_now_on_is_told_once_and_anew_after_it_was_mended(
    pair: Pair, ddl: str
) -> None:
    pair.build(TABLE, ROWS)
    assert looked(pair) == []
    pair.at_source(ddl)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        pair.at_source("DELETE FROM t WHERE id = 1")
    (said,) = looked(pair)
    assert "public.t of" in said
    assert 'ALTER TABLE "public"."t" REPLICA IDENTITY FULL' in said
    assert looked(pair) == []
    pair.at_source('ALTER TABLE "public"."t" REPLICA IDENTITY FULL')
    assert looked(pair) == []
    pair.at_source("DELETE FROM t WHERE id = 1", "ALTER TABLE t REPLICA IDENTITY NOTHING")
    assert len(looked(pair)) == 1
    pair.assert_equal()


@pytest.mark.parametrize("status", [TableStatus.DROPPED, TableStatus.QUARANTINED])
def test_changes_that_the_source_refuses_are_told_also_of_a_table_that_the_sync_passes_by(
    pair: Pair, status: TableStatus
) -> None:
    pair.build(TABLE, ROWS)
    assert looked(pair) == []
    (state,) = [one for one in pair.store.tables(pair.source_db) if one.name == "t"]
    pair.store.save_tables(replace(state, status=status, watermark=NEVER))
    pair.at_source("ALTER TABLE t DROP CONSTRAINT t_pkey")
    (said,) = looked(pair)
    assert "public.t of" in said


def test_a_table_that_was_dropped_is_warned_of_and_then_asked_about(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    active = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'"

    def told() -> bool:
        return any("public.t of" in message and "gone" in message for _, _, message in pair.store.events)

    def drop() -> None:
        try:
            wait_until(lambda: pair.value(active), what="the sync")
            pair.at_source("DROP TABLE t")
            polling._looked.clear()
            wait_until(told, what="the warning")
        finally:
            pair.control.yields = True

    dropping = threading.Thread(target=drop)
    dropping.start()
    with pair.running(slice_seconds=0.0) as run:
        sync.run(run)
    dropping.join()
    assert told()
    drift = stopped(pair)
    assert (drift.name, drift.doubt) == ("t", Doubt.GONE)


def test_all_partitions_of_a_table_are_one_warning(pair: Pair) -> None:
    pair.build(PARTED + "; CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)")
    pair.at_source("ALTER TABLE m ADD COLUMN c int")
    (said,) = looked(pair)
    assert 'ALTER TABLE "public"."m" ADD COLUMN' in said


def test_a_new_partition_is_warned_of_unless_it_is_followed(pair: Pair) -> None:
    pair.build(PARTED)
    pair.at_source("CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)")
    (said,) = looked(pair)
    assert "public.m2" in said
    pair.store.save_database(replace(pair.state, told_drift=()))
    pair.selection = replace(pair.selection, follow="additions")
    assert looked(pair) == []
