"""A table changes on the source while the sync runs: told old and new, and what each choice makes of it."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.drift import Change, ChangeKind, Doubt, Drift, Leave
from migrations_app.engine.errors import ConnectionLost, SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import NEVER, Ports, TableState, TableStatus
from migrations_app.engine.replication import polling, reshaping
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import sync
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres.compare_kit import plan_for, running, server
from tests.postgres.sync_kit import Pair, force_path

TABLE = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY)"
ROOT = (
    "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);"
    " CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100)"
)
ROWS = "INSERT INTO t SELECT g, g::text FROM generate_series(1, 100) g"
START = 'ALTER TABLE "public"."t" '
# What happens on the source, the first row after it, and what the target is to run.
CHANGES = {
    "column": ("ALTER TABLE t ADD COLUMN c int", "(200, 'new', 5)", ['ADD COLUMN "c" integer']),
    "default": (
        "ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 7",
        "(200, 'new')",
        ["ADD COLUMN \"c\" integer DEFAULT '7'::integer NOT NULL", 'ALTER COLUMN "c" SET DEFAULT 7'],
    ),
    "default for a moment": (
        "ALTER TABLE t ADD COLUMN c text[] DEFAULT '{a,\"b c\"}'; ALTER TABLE t ALTER c DROP DEFAULT",
        "(200, 'new', NULL)",
        ['ADD COLUMN "c" text[] DEFAULT \'{a,"b c"}\'::text[]', 'ALTER COLUMN "c" DROP DEFAULT'],
    ),
    "dropped": ("ALTER TABLE t DROP COLUMN v", "(200)", ['DROP COLUMN "v"']),
    "renamed": ("ALTER TABLE t RENAME COLUMN v TO w", "(200, 'new')", ['RENAME COLUMN "v" TO "w"']),
    "retyped": (
        "ALTER TABLE t ALTER v TYPE bigint USING v::bigint",
        "(200, 2)",
        ['ALTER COLUMN "v" TYPE bigint USING "v"::bigint'],
    ),
}


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


def stopped(pair: Pair) -> Drift:
    with pytest.raises(SchemaChanged) as caught:
        pair.catch_up()
    assert caught.value.drift is not None
    assert (caught.value.code, caught.value.drift.database) == ("SRC-DDL", pair.source_db)
    return caught.value.drift


def leave(drift: Drift, number: int = 1) -> Leave:
    return Leave(number=number, schema=drift.schema, name=drift.name, digest=drift.digest, lsn=drift.lsn)


def allow(pair: Pair, drift: Drift) -> None:
    pair.store.may_change.setdefault(pair.source_db, []).append(leave(drift))


def columns(pair: Pair, table: str = "t") -> str:
    """What the target's table looks like, and which of its rows are there."""
    return str(
        pair.value(
            "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)"
            f" FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped",
            "target",
        )
    )


@pytest.mark.parametrize("path", ["rows", "batches"])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_table_is_told_old_and_new_and_goes_on_when_the_statement_is_allowed(
    kind: str, path: str, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    force_path(monkeypatch, path)
    ddl, row, statements = CHANGES[kind]
    pair.build(TABLE, ROWS)
    pair.at_source("INSERT INTO t VALUES (101, '101')", "INSERT INTO other VALUES (1)", ddl)
    pair.at_source(f"INSERT INTO t VALUES {row}", "INSERT INTO other VALUES (2)", "DELETE FROM t WHERE id = 3")
    before = columns(pair)
    drift = stopped(pair)
    assert drift.statements == tuple(START + statement for statement in statements)
    assert drift.lsn > 0
    assert columns(pair) == before
    assert pair.value("SELECT count(*) FROM t WHERE id = 200", "target") == 0
    allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()
    assert pair.store.may_change[pair.source_db] == []
    assert [code for _, code, _ in pair.store.events] == ["DDL-APPLIED"]
    pair.at_source("UPDATE t SET id = id + 1000")
    pair.catch_up()
    pair.assert_equal()


def test_without_leave_the_sync_stops_at_the_same_place_again_and_again(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "INSERT INTO t VALUES (1, 'x', 2)")
    first = stopped(pair)
    assert stopped(pair) == first
    assert first.changes == (Change(kind=ChangeKind.ADDED, name="c", new="integer"),)


def test_leave_for_another_change_does_not_do(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "INSERT INTO t VALUES (1, 'x', 2)")
    drift = stopped(pair)
    allow(pair, replace(drift, digest="of another one"))
    assert stopped(pair) == drift
    assert columns(pair) == "id integer, v text"


@pytest.mark.parametrize(
    ("ddl", "doubt"),
    [
        ("ALTER TABLE t ADD COLUMN c float DEFAULT random()", Doubt.VALUES),
        ("ALTER TABLE t ADD COLUMN c serial", Doubt.VALUES),
        ("ALTER TABLE t ADD COLUMN c int GENERATED ALWAYS AS IDENTITY", Doubt.VALUES),
        ("ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN c text", Doubt.UNCLEAR),
        ("ALTER TABLE t RENAME TO u", Doubt.OTHER_NAME),
    ],
)
def test_where_no_statement_is_certain_to_be_right_none_is_offered(pair: Pair, ddl: str, doubt: Doubt) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source(ddl, "INSERT INTO t (id) VALUES (200)" if "RENAME" not in ddl else "INSERT INTO u VALUES (200)")
    drift = stopped(pair)
    assert (drift.doubt, drift.statements) == (doubt, ())
    allow(pair, drift)
    assert stopped(pair) == drift


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_table_that_changes_within_a_transaction_changes_between_the_same_rows(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    pair.build(TABLE, ROWS)
    pair.at_source(
        "BEGIN; INSERT INTO t VALUES (201, 'old'); INSERT INTO other VALUES (1); ALTER TABLE t DROP COLUMN v;"
        " INSERT INTO t VALUES (202); INSERT INTO other VALUES (2); COMMIT"
    )
    allow(pair, stopped(pair))
    assert pair.value("SELECT count(*) FROM other", "target") == 0, "the whole transaction waits"
    pair.catch_up()
    pair.assert_equal()


def test_two_changes_are_told_and_applied_one_after_the_other(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("ALTER TABLE t ADD COLUMN a int", "INSERT INTO t VALUES (201, 'x', 1)")
    pair.at_source("ALTER TABLE t ADD COLUMN b int", "INSERT INTO t VALUES (202, 'x', 1, 2)")
    for name in ("a", "b"):
        drift = stopped(pair)
        assert drift.statements == (START + f'ADD COLUMN "{name}" integer',)
        allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_partitioned_table_is_changed_as_a_whole(pair: Pair, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    force_path(monkeypatch, path)
    pair.build(
        "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
        " CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (100);"
        " CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (100) TO (200)"
    )
    pair.at_source(
        "INSERT INTO m VALUES (1, 'x'), (101, 'x')", "INSERT INTO m SELECT g FROM generate_series(110, 170) g"
    )
    pair.at_source("ALTER TABLE m DROP COLUMN v", "INSERT INTO m VALUES (2), (102)")
    drift = stopped(pair)
    assert (drift.name, drift.statements) == ("m1", ('ALTER TABLE "public"."m" DROP COLUMN "v"',))
    allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()


def test_emptying_a_changed_table_goes_by_its_new_shape_too(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "TRUNCATE t", "INSERT INTO t VALUES (1, 'x', 2)")
    allow(pair, stopped(pair))
    pair.catch_up()
    pair.assert_equal()


def test_a_table_in_a_renamed_schema_is_changed_under_its_name_on_the_target(pair: Pair) -> None:
    pair.selection = replace(pair.selection, schema_targets={(pair.source_db, "s"): "z"})
    text = "CREATE SCHEMA {0}; CREATE TYPE {0}.kind AS ENUM ('x'); CREATE TABLE {0}.t (id int PRIMARY KEY)"
    pair.build(text.format("s"), target=text.format("z"))
    pair.at_source("ALTER TABLE s.t ADD COLUMN k s.kind DEFAULT 'x'", "INSERT INTO s.t VALUES (1)")
    drift = stopped(pair)
    assert drift.statements[0] == """ALTER TABLE "z"."t" ADD COLUMN "k" z.kind DEFAULT 'x'::z.kind"""
    allow(pair, drift)
    pair.catch_up()
    assert pair.value("SELECT k::text FROM z.t", "target") == "x"


def test_what_the_target_refuses_is_told_in_its_words_and_nothing_is_changed(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_target("CREATE VIEW seen AS SELECT v FROM t")
    pair.at_source("INSERT INTO other VALUES (1)", "ALTER TABLE t DROP COLUMN v", "INSERT INTO t VALUES (200)")
    drift = stopped(pair)
    allow(pair, drift)
    with pytest.raises(SchemaChanged) as caught:
        pair.catch_up()
    assert "other objects depend on it" in caught.value.message
    assert caught.value.drift == drift
    assert columns(pair) == "id integer, v text"
    pair.at_target("DROP VIEW seen")
    pair.catch_up()
    pair.assert_equal()


def test_a_table_that_somebody_holds_on_the_target_is_tried_again_later(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reshaping, "_LOCK_TIMEOUT", b"SET LOCAL lock_timeout = '100ms'")
    pair.build(TABLE)
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "INSERT INTO t VALUES (1, 'x', 2)")
    allow(pair, stopped(pair))
    with pair.target.connect(pair.target_db) as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM t")
        with pytest.raises(ConnectionLost, match=r"changing the columns of public\.t"):
            pair.catch_up()
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("moment", ["changing", "changed"])
def test_a_kill_around_the_statement_loses_and_doubles_nothing(pair: Pair, moment: str) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 7", "INSERT INTO t VALUES (200, 'x', 2)")
    drift = stopped(pair)
    allow(pair, drift)
    pair.epoch += 1
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.postgres.sync_worker", moment],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    pickle.dump((pair.plan(), pair.store.databases, pair.store.table_rows, {}, pair.store.may_change), process.stdin)
    process.stdin.close()
    assert [process.stdout.readline() for _ in range(2)] == [b"syncing\n", f"{moment}\n".encode()]
    process.kill()
    process.wait()
    process.stdout.close()
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'towpath%'"
    wait_until(lambda: pair.value(ours, "target") == 0, what="the end of the killed worker's sessions")
    arrived = moment == "changed"
    assert (columns(pair) == "id integer, v text, c integer") == arrived
    assert (pair.value("SELECT count(*) FROM t WHERE id = 200", "target") == 1) == arrived
    pair.catch_up()
    pair.assert_equal()
    assert pair.store.may_change[pair.source_db] == []


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


# Each choice, with all steps around


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(f"{TABLE}; {ROOT}; {ROWS}".encode())
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=True, work_dir=tmp_path
    )


@pytest.fixture
def ports(plan: Plan) -> Iterator[Ports]:
    ports = fake_ports()
    with Executor(plan, ports) as executor:
        for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
            assert executor.run(step).done
    cast(FakeControl, ports.control).complete = True
    yield ports
    with running(replace(plan, epoch=99), Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)) as run:
        clean_up(run, keep_target_objects=True)


def stop(plan: Plan, ports: Ports, source: Cluster, *statements: str) -> Drift:
    with source.connect(plan.databases[0].source_name) as connection:
        for statement in statements:
            connection.execute(statement.encode())
    with Executor(plan, ports) as executor, pytest.raises(SchemaChanged) as caught:
        executor.run(StepName.COMPLETE)
    assert caught.value.drift is not None
    return caught.value.drift


def complete(plan: Plan, ports: Ports) -> FakeStore:
    store = cast(FakeStore, ports.store)
    with Executor(replace(plan, epoch=plan.epoch + 1), ports) as executor:
        if store.recopies(plan.databases[0].source_name):
            assert executor.recopy().done
        for step in (StepName.COMPLETE, StepName.CLEANUP):
            assert executor.run(step).done
    assert ports.ledger.items() == []
    return store


def test_a_statement_that_is_applied_leads_to_an_equal_comparison(
    plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    drift = stop(
        plan, ports, source_cluster, "ALTER TABLE t ADD COLUMN c int DEFAULT 3", "INSERT INTO t VALUES (200, 'x', 4)"
    )
    cast(FakeStore, ports.store).may_change[plan.databases[0].source_name] = [leave(drift)]
    store = complete(plan, ports)
    assert {comparison.equal for comparison in store.comparisons} == {True}


@pytest.mark.parametrize(
    "ddl",
    [
        "ALTER TABLE t ADD COLUMN c float NOT NULL DEFAULT random()",
        "ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN c text DEFAULT 'x'",
        "ALTER TABLE t ALTER v TYPE date USING date '2026-01-01' + v::int",
        "ALTER TABLE t ADD COLUMN c int GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE t ADD COLUMN c serial",
    ],
)
def test_a_table_that_is_copied_again_gets_the_new_shape_and_is_equal_in_the_end(
    ddl: str, plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    stop(plan, ports, source_cluster, "INSERT INTO other VALUES (1)", ddl, "UPDATE t SET id = id + 500 WHERE id < 9")
    store = cast(FakeStore, ports.store)
    store.asked_again[plan.databases[0].source_name] = [("public", "t")]
    complete(plan, ports)
    assert {comparison.equal for comparison in store.comparisons} == {True}
    assert "DDL-APPLIED" in [code for _, code, _ in store.events]


def test_a_changed_table_that_is_dropped_from_the_task_lets_the_others_go_on(
    plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    stop(plan, ports, source_cluster, "ALTER TABLE t RENAME TO u", "INSERT INTO u VALUES (200)")
    store = cast(FakeStore, ports.store)
    (state,) = [state for state in store.tables(plan.databases[0].source_name) if state.name == "t"]
    store.save_tables(replace(state, status=TableStatus.DROPPED, watermark=NEVER))
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute("INSERT INTO other VALUES (7)")
    complete(plan, ports)
    verdicts = {item.name: item.verdict for comparison in store.comparisons for item in comparison.tables}
    assert verdicts["other"] == "equal"


def test_an_attached_partition_is_made_and_copied_when_that_is_asked_for(
    source_cluster: Cluster, target_cluster: Cluster, plan: Plan, ports: Ports
) -> None:
    drift = stop(
        plan,
        ports,
        source_cluster,
        "CREATE TABLE p2 (id int PRIMARY KEY); INSERT INTO p2 SELECT generate_series(100, 150)",
        "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (200); INSERT INTO p VALUES (160)",
    )
    name, store = plan.databases[0].source_name, cast(FakeStore, ports.store)
    state = TableState(
        database=name,
        schema="public",
        name="p2",
        oid=drift.oid,
        status=TableStatus.QUARANTINED,
        watermark=NEVER,
    )
    store.save_tables(state)  # what the operator's choice does
    store.asked_again[name] = [("public", "p2")]
    complete(plan, ports)
    assert {comparison.equal for comparison in store.comparisons} == {True}
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        assert connection.execute("SELECT count(*) FROM ONLY p2").fetchone() == (52,)


# The look beside the stream


def looked(pair: Pair) -> list[str]:
    """Sync a slice that looks at the source once, and return the warnings."""
    polling._looked.clear()
    before = len(pair.store.events)
    pair.control.yields = True
    with pair.running(slice_seconds=1.5) as run:
        sync.run(run)
    return [message for level, code, message in pair.store.events[before:] if (level, code) == ("warning", "SRC-DDL")]


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
