"""The copy beside an application that empties, rewrites, locks and alters tables as if nobody was there."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.shop import load_shop
from migrations_app.demo.writer import Writer
from migrations_app.engine import copy_plan, foreign_keys, index_lanes, postdata, snapshot
from migrations_app.engine.copying import Lane
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan
from migrations_app.engine.ports import TableStatus
from migrations_app.engine.replication.session import SyncSession
from migrations_app.engine.steps import copy, index, schema
from migrations_app.engine.table_work import copy_statements
from tests.comparator import differences
from tests.fakes import wait_until
from tests.postgres.engine_runs import fakes, make_plan, register_tables, running

SCHEMA = """
CREATE TABLE big (id int PRIMARY KEY, note text);
CREATE TABLE small (id int PRIMARY KEY, note text);
CREATE TABLE other (id int PRIMARY KEY);
"""
ROWS = """
INSERT INTO big SELECT n, 'note ' || n FROM generate_series(1, 3000) n;
INSERT INTO small SELECT n, 'note ' || n FROM generate_series(1, 300) n;
INSERT INTO other SELECT generate_series(1, 30);
"""
PATIENCE_SECONDS = 2.5


@pytest.fixture
def simple(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the builder of indexes, which needs an archive: here the target has them from the beginning."""

    def build(run: Run, database: DatabasePlan, table: Any, session: Any) -> None:
        session.execute("SELECT 1")

    monkeypatch.setattr(index_lanes, "build_table", build)


@pytest.fixture
def run(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path, simple: None
) -> Iterator[Run]:
    execute(source_cluster, source_db, SCHEMA)
    execute(target_cluster, target_db, SCHEMA)
    execute(source_cluster, source_db, ROWS)
    with running(make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)) as made:
        register_tables(made, source_cluster)
        yield made


@pytest.fixture
def at_source(source_cluster: Cluster, source_db: str) -> Callable[..., float]:
    """Run statements on the source, each in a transaction of its own; returns how long the slowest took."""

    def act(*statements: str) -> float:
        slowest = 0.0
        with source_cluster.connect(source_db) as connection:
            for statement in statements:
                began = time.monotonic()
                connection.execute(statement.encode())
                slowest = max(slowest, time.monotonic() - began)
        return slowest

    return act


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rows of `big` come one per two milliseconds."""

    def statements(work: Any, part: Any, encodings: Any, *, freeze: bool) -> tuple[str, str]:
        copy_out, copy_in = copy_statements(work, part, encodings, freeze=freeze)
        if work.table.name == "big" and not part.where:
            slept = "(SELECT id, note FROM public.big, LATERAL (SELECT pg_sleep(0.002 + 0 * id)) s) TO"
            copy_out = copy_out.replace('"public"."big" ("id", "note") TO', slept)
        return copy_out, copy_in

    monkeypatch.setattr("migrations_app.engine.copying.copy_statements", statements)


def execute(cluster: Cluster, database: str, text: str) -> None:
    with cluster.connect(database) as connection:
        connection.execute(text.encode())


@contextlib.contextmanager
def copying(run: Run) -> Iterator[None]:
    """Run the copy in a thread for the time of the block, and wait for its good end."""
    failures: list[BaseException] = []

    def body() -> None:
        try:
            copy.run(run)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    try:
        yield
    finally:
        thread.join(120)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def catch_up(run: Run, source: Cluster) -> None:
    (database,) = run.plan.databases
    with source.connect(database.source_name) as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        connection.execute("SELECT pg_logical_emit_message(true, 'test', 'behind')")
    assert row
    with SyncSession(run, database) as session:
        session.advance(until=parse_lsn(str(row[0])))


def rows(cluster: Cluster, database: str) -> dict[str, list[Any]]:
    with cluster.connect(database) as connection:
        names = ("big", "small", "other")
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY id".encode()).fetchall() for name in names}


def assert_equal_after_sync(run: Run, source: Cluster, target: Cluster) -> None:
    catch_up(run, source)
    (database,) = run.plan.databases
    assert rows(target, database.target_name) == rows(source, database.source_name)


def events(run: Run) -> dict[str, str]:
    return {code: text for _, code, text in fakes(run.ports)[1].events}


def marks(run: Run) -> dict[str, int]:
    states = run.ports.store.tables(run.plan.databases[0].source_name)
    assert {state.status for state in states} == {TableStatus.DONE}
    return {state.name: state.watermark or 0 for state in states}


def is_copying(source: Cluster, table: str) -> Callable[[], bool]:
    def ask() -> bool:
        with source.connect() as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s", (f"COPY%{table}%",)
            ).fetchone()
        return bool(row and row[0])

    return ask


MOVES = {
    "truncate": ["TRUNCATE small", "INSERT INTO small VALUES (1, 'new')"],
    "truncate in the middle": ["DELETE FROM small WHERE id < 9; TRUNCATE small; INSERT INTO small VALUES (7, 'x')"],
    "rewrite": ["ALTER TABLE small ALTER id TYPE bigint", "ALTER TABLE small ALTER id TYPE int", "DELETE FROM small"],
    "vacuum full": ["DELETE FROM small WHERE id > 100", "VACUUM FULL small"],
    "swap": [
        "BEGIN; CREATE TABLE fresh (LIKE small INCLUDING ALL); INSERT INTO fresh VALUES (1, 'fresh');"
        "DROP TABLE small; ALTER TABLE fresh RENAME TO small; COMMIT",
        "INSERT INTO small VALUES (2, 'later')",
    ],
}


@pytest.mark.parametrize("move", MOVES)
def test_a_table_that_moved_on_is_copied_under_a_newer_snapshot(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float], move: str
) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    assert at_source(*MOVES[move]) < PATIENCE_SECONDS
    copy.run(run)
    found = marks(run)
    assert found["big"] == found["other"] == opened.lsn
    assert found["small"] > found["big"]
    assert "public.small" in events(run)["COPY-ASIDE"]
    at_source("UPDATE small SET note = 'after the copy'", "DELETE FROM big WHERE id % 3 = 0")
    assert_equal_after_sync(run, source_cluster, target_cluster)


def test_the_holder_locks_no_table(run: Run, source_cluster: Cluster, source_db: str) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    copy_plan.make_units(run, [copy_plan.plan_database(run, run.plan.databases[0])])
    with source_cluster.connect(source_db) as connection:
        found = connection.execute(
            "SELECT relation::regclass FROM pg_locks WHERE pid = %s AND relation >= 16384",
            (opened.holder.info.backend_pid,),
        ).fetchall()
    assert found == []


@pytest.mark.usefixtures("slow")
def test_finished_tables_are_free_while_a_large_one_is_copied(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float]
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    run.plan = replace(run.plan, copy_jobs=3)
    with copying(run):
        wait_until(is_copying(source_cluster, "big"), what="the COPY of big")
        took = at_source(
            "TRUNCATE small, other", "INSERT INTO small VALUES (1, 'new')", "ALTER TABLE other SET (fillfactor=50)"
        )
        assert is_copying(source_cluster, "big")()
    assert took < PATIENCE_SECONDS
    assert_equal_after_sync(run, source_cluster, target_cluster)


@pytest.mark.usefixtures("slow")
def test_a_copy_gives_way_to_a_truncate_of_its_own_table(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float]
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    with copying(run):
        wait_until(is_copying(source_cluster, "big"), what="the COPY of big")
        took = at_source("TRUNCATE big", "INSERT INTO big VALUES (1, 'new')")
    assert took < PATIENCE_SECONDS
    assert {"COPY-GAVEWAY", "COPY-ASIDE"} <= set(events(run))
    assert_equal_after_sync(run, source_cluster, target_cluster)


@pytest.mark.usefixtures("slow")
def test_a_copy_goes_on_after_a_lock_that_changed_nothing(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float]
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    with copying(run):
        wait_until(is_copying(source_cluster, "big"), what="the COPY of big")
        took = at_source("BEGIN; LOCK TABLE big; INSERT INTO big VALUES (-1, 'locked'); COMMIT")
    assert took < PATIENCE_SECONDS
    assert set(events(run)) == {"COPY-GAVEWAY"}
    assert len(set(marks(run).values())) == 1
    assert_equal_after_sync(run, source_cluster, target_cluster)


def test_a_locked_table_does_not_hold_up_the_others(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    snapshot.open_first(run, run.plan.databases[0])

    def done() -> bool:
        states = {state.name: state.status for state in run.ports.store.tables(source_db)}
        return states["big"] == states["other"] == TableStatus.DONE and states["small"] != TableStatus.DONE

    with source_cluster.connect(source_db) as blocker:
        blocker.execute("BEGIN; LOCK TABLE small")
        with copying(run):
            try:
                wait_until(done, what="the copy of the others")
            finally:
                blocker.execute("COMMIT")
    assert_equal_after_sync(run, source_cluster, target_cluster)


def test_a_table_that_moves_on_every_time_is_locked_at_last(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    at_source: Callable[..., float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = iter(range(100))

    def restless(*arguments: Any) -> Any:
        opened = snapshot.open_again(*arguments)
        at_source("TRUNCATE small", f"INSERT INTO small VALUES ({next(numbers)}, 'again')")
        return opened

    monkeypatch.setattr(copy_plan, "open_again", restless)
    copy.run(run)
    assert next(numbers) == 3
    assert "public.small" in events(run)["COPY-LOCKED"]
    assert run.snapshots == {}
    assert at_source("TRUNCATE big", "TRUNCATE small", "INSERT INTO small VALUES (50, 'free')") < PATIENCE_SECONDS
    assert_equal_after_sync(run, source_cluster, target_cluster)


def test_a_table_that_moved_on_between_its_parts_is_copied_from_its_beginning(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    at_source: Callable[..., float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copy_plan, "_SMALL_TABLE_BYTES", 1000)
    monkeypatch.setattr(copy_plan, "part_size", lambda total, jobs: 50_000)
    original, numbers = Lane.copy_part, iter(range(1000))

    def disturbed(self: Lane, work: Any, part: Any) -> None:
        if next(numbers) == 2:
            at_source("TRUNCATE big", "INSERT INTO big SELECT n, 'second' FROM generate_series(1, 2000) n")
        original(self, work, part)

    monkeypatch.setattr(Lane, "copy_part", disturbed)
    copy.run(run)
    assert next(numbers) > 4
    assert "public.big" in events(run)["COPY-ASIDE"]
    assert_equal_after_sync(run, source_cluster, target_cluster)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE small RENAME COLUMN note TO remark",
        "ALTER TABLE small DROP COLUMN note",
        "ALTER TABLE small ALTER id TYPE bigint",
        "ALTER TABLE small RENAME TO tiny",
        "DROP TABLE small",
    ],
)
def test_a_table_of_another_shape_ends_the_copy_with_its_name(
    run: Run, at_source: Callable[..., float], change: str
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    at_source(change)
    with pytest.raises(SchemaChanged, match=r"public\.small") as caught:
        copy.run(run)
    assert caught.value.hint


def test_a_full_copy_says_which_tables_are_of_a_later_moment(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, at_source: Callable[..., float]
) -> None:
    run.plan = replace(run.plan, incremental=False)
    opened = snapshot.open_first(run, run.plan.databases[0])
    at_source("TRUNCATE small", "INSERT INTO small VALUES (1, 'new')", "DELETE FROM other")
    copy.run(run)
    (database,) = run.plan.databases
    there = rows(target_cluster, database.target_name)
    assert there["small"] == [(1, "new")]
    assert len(there["other"]) == 30
    assert "public.small" in events(run)["COPY-MOVED"]
    assert run.snapshots[database.source_name] is opened
    assert opened.alive()


STREAMED = "SELECT format('%s.%I', relnamespace::regnamespace, relname) FROM pg_class WHERE {} AND oid >= 16384"
STREAMED = STREAMED.format("relkind = 'r' AND relpersistence = 'p'")
UNPROVED = "SELECT conname FROM pg_constraint WHERE contype = 'f' AND NOT convalidated ORDER BY 1"


def names(cluster: Cluster, database: str, query: str) -> list[str]:
    with cluster.connect(database) as connection:
        return [row[0] for row in connection.execute(query.encode()).fetchall()]


def test_an_impatient_shop_never_waits_for_its_migration(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    with source_cluster.connect(source_db) as connection:
        load_shop(connection, 0.2)
    unproved = names(source_cluster, source_db, UNPROVED)
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)
    with running(plan) as run:
        with Writer(source_cluster.arguments(source_db), seed=5, rate=50, patient=True) as writer:
            schema.run(run)
            copy.run(run)
            stats = writer.stop()
        index.run(run)
        catch_up(run, source_cluster)
        foreign_keys.validate_pending(run, plan.databases[0])
    assert stats.errors == ()
    assert stats.slowest_seconds < PATIENCE_SECONDS, stats
    assert names(target_cluster, target_db, UNPROVED) == unproved
    tables = names(source_cluster, source_db, STREAMED)
    with source_cluster.connect(source_db) as one, target_cluster.connect(target_db) as other:
        assert differences(one, other, tables=tables) == []


FAMILY = """
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent_id int CONSTRAINT to_parent REFERENCES parent);
CREATE TABLE parted (id int PRIMARY KEY, parent_id int, CONSTRAINT parted_key FOREIGN KEY (parent_id) REFERENCES parent)
  PARTITION BY RANGE (id);
CREATE TABLE parted_all PARTITION OF parted DEFAULT;
COMMENT ON CONSTRAINT parted_key ON parted IS 'comes late';
INSERT INTO parent SELECT generate_series(1, 100);
INSERT INTO child SELECT n, n FROM generate_series(1, 100) n;
INSERT INTO parted SELECT n, n FROM generate_series(1, 9) n;
"""


@pytest.mark.parametrize(("not_valid_on_partitioned", "early"), [(180000, True), (990000, True), (990000, False)])
def test_keys_between_tables_of_different_moments_are_proved_after_the_sync(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    not_valid_on_partitioned: int,
    early: bool,
) -> None:
    monkeypatch.setattr(foreign_keys, "_NOT_VALID_ON_PARTITIONED", not_valid_on_partitioned)
    execute(source_cluster, source_db, FAMILY)
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)
    with running(plan) as run:
        schema.run(run)
        execute(
            source_cluster,
            source_db,
            "TRUNCATE child, parted; INSERT INTO parent VALUES (777); INSERT INTO child VALUES (1, 777);"
            "INSERT INTO parted VALUES (1, 777)",
        )
        copy.run(run)
        index.run(run)
        assert "to_parent" in names(target_cluster, target_db, UNPROVED)
        assert set(events(run)) == {"COPY-ASIDE"}
        catch_up(run, source_cluster)
        if early:
            assert foreign_keys.validate_pending(run, plan.databases[0]) >= 2
            assert foreign_keys.validate_pending(run, plan.databases[0]) == 0
        postdata.restore_deferred(run, plan.databases[0])
        assert set(events(run)) == {"COPY-ASIDE"}
    with source_cluster.connect(source_db) as one, target_cluster.connect(target_db) as other:
        assert differences(one, other) == []


def test_a_key_that_the_sync_did_not_mend_is_reported(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    execute(source_cluster, source_db, FAMILY)
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)
    with running(plan) as run:
        schema.run(run)
        execute(source_cluster, source_db, "TRUNCATE child; INSERT INTO child VALUES (1, 5)")
        copy.run(run)
        index.run(run)
        catch_up(run, source_cluster)
        execute(target_cluster, target_db, "SET session_replication_role = replica; DELETE FROM parent WHERE id = 5")
        foreign_keys.validate_pending(run, plan.databases[0])
        assert "to_parent" in events(run)["FK-NOT-VALID"]
    assert names(target_cluster, target_db, UNPROVED) != []
