"""A publication that somebody edits while the sync runs: noticed from beside it, told with what mends it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.errors import CompareDiffers, ConflictError, EngineError, SourceError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import NEVER, Kind, LedgerItem, TableState, TableStatus
from migrations_app.engine.publishing import Brought
from migrations_app.engine.replication import listed
from migrations_app.engine.replication.lag import SourceWatch
from migrations_app.engine.replication.polling import Poll
from migrations_app.engine.replication.session import SyncSession
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import recopy
from tests.fakes import fake_ports
from tests.postgres import sync_faults_kit
from tests.postgres.compare_kit import plan_for, running, server
from tests.postgres.sync_faults_kit import TABLE
from tests.postgres.sync_kit import Pair

pair = sync_faults_kit.pair

PUT_BACK = ("ALTER PUBLICATION $p DROP TABLE t", "ALTER PUBLICATION $p ADD TABLE t")
WHOLE = ("ALTER PUBLICATION $p SET TABLE t", "INSERT INTO t VALUES (1, 'b')")


def told_while_it_syncs(pair: Pair, monkeypatch: pytest.MonkeyPatch, *statements: str) -> EngineError:
    """Run statements on the source while a session is open, and return what the looks from beside it find."""
    monkeypatch.setattr("migrations_app.engine.replication.polling._SECONDS", 0.0)
    statements = tuple(one.replace("$p", f'"{pair.state.publication}"') for one in statements)
    with pair.running() as run, SyncSession(run, pair.database) as session:
        poll = Poll(run, pair.database, session.watch)
        session.advance(until=pair.insert_lsn())
        poll.look(pair.state)
        pair.at_source(*statements)
        deadline = time.monotonic() + 30
        with pytest.raises(SourceError) as caught:
            session.advance(stop=lambda: poll.look(pair.state) is None or time.monotonic() > deadline)
    assert caught.value.code == "SRC-PUBLICATION"
    assert not caught.value.retryable
    return caught.value


@pytest.mark.parametrize(
    ("statements", "words", "run"),
    [
        (("ALTER PUBLICATION $p DROP TABLE t",), "Missing: public.t.", 'ADD TABLE ONLY "public"."t"'),
        (("ALTER PUBLICATION $p SET TABLE t WHERE (id > 5), u",), "Missing: public.t.", 'DROP TABLE ONLY "public"."t"'),
        (("ALTER PUBLICATION $p SET (publish = 'insert')",), "Kept back: update, delete, truncate.", "SET (publish ="),
        (
            ("ALTER PUBLICATION $p DROP TABLE t", "ALTER PUBLICATION $p ADD TABLE t"),
            "put them back: public.t.",
            "Then copy these tables again",
        ),
        (("DROP PUBLICATION $p",), "is gone from the source", "Start the migration again"),
    ],
    ids=["taken-out", "limited", "kinds", "put-back", "dropped"],
)
def test_a_publication_that_is_edited_while_the_sync_runs_stops_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, statements: tuple[str, ...], words: str, run: str
) -> None:
    pair.build(TABLE + "; CREATE TABLE u (id int PRIMARY KEY)")
    error = told_while_it_syncs(pair, monkeypatch, *statements)
    assert words in error.message
    assert run in error.hint


def test_a_publication_mended_as_the_hint_says_lets_the_sync_go_on(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.build(TABLE + "; CREATE TABLE u (id int PRIMARY KEY)")
    error = told_while_it_syncs(
        pair,
        monkeypatch,
        "ALTER PUBLICATION $p SET TABLE t WHERE (id > 5); ALTER PUBLICATION $p SET (publish = 'insert')",
    )
    statements = error.hint.partition("Run on the source: ")[2].partition(". Then")[0]
    pair.at_source(statements, "INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)")
    pair.catch_up()
    assert only_quarantined(pair, "t", "u")
    assert any(code == "SRC-PUBLICATION" and "public.t" in words for _, code, words in pair.store.events)
    copied_again(pair, "t", "u")
    pair.at_source("UPDATE t SET v = 'x'")
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize(
    "statements",
    [
        ("ALTER PUBLICATION $p SET TABLE t (id)", "INSERT INTO t VALUES (2)"),
        ("ALTER PUBLICATION $p SET (publish = 'insert')", "DELETE FROM t", "INSERT INTO t VALUES (1, 'b')"),
        (
            "ALTER PUBLICATION $p SET (publish = 'insert')",
            "DELETE FROM t",
            "ALTER PUBLICATION $p SET (publish = 'insert, update, delete, truncate')",
            "INSERT INTO t VALUES (1, 'b')",
        ),
        ("ALTER PUBLICATION $p DROP TABLE t", "DELETE FROM t", *PUT_BACK[1:], "INSERT INTO t VALUES (1, 'b')"),
        ("ALTER PUBLICATION $p SET TABLE t WHERE (id > 5)", "UPDATE t SET id = 7", *WHOLE),
    ],
    ids=["columns", "kinds", "kinds-whole-again", "put-back", "rows"],
)
def test_what_an_edited_publication_kept_back_is_not_told_as_a_fault_of_the_target(
    pair: Pair, statements: tuple[str, ...]
) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1, 'a')")
    pair.catch_up()
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        edit(pair, *statements)
        with pytest.raises(SourceError, match=f"publication {pair.state.publication}") as caught:
            session.advance(until=pair.insert_lsn())
    assert caught.value.code == "SRC-PUBLICATION"
    assert pair.value("SELECT v FROM t WHERE id = 1", "target") == "a"


def test_what_was_kept_back_is_mended_by_the_statement_and_another_copy(pair: Pair) -> None:
    pair.build(TABLE + "; CREATE TABLE u (id int PRIMARY KEY)")
    pair.at_source("INSERT INTO t VALUES (1, 'a')")
    pair.catch_up()
    with pair.syncing() as session:
        edit(pair, "ALTER PUBLICATION $p SET (publish = 'insert')", "DELETE FROM t", "INSERT INTO t VALUES (1, 'b')")
        with pytest.raises(SourceError) as caught:
            session.advance(until=pair.insert_lsn())
    pair.at_source(caught.value.hint.partition("Run on the source: ")[2].partition(". Then")[0])
    with pytest.raises(ConflictError) as again:
        pair.catch_up()
    assert "the source's publication kept changes back" in again.value.hint
    (t,) = (table for table in pair.store.tables(pair.source_db) if table.name == "t")
    pair.store.save_tables(replace(t, status=TableStatus.QUARANTINED, watermark=NEVER, published_by=()))
    pair.at_source("INSERT INTO u VALUES (1)")
    pair.catch_up()
    copied_again(pair, "t")
    pair.at_source("UPDATE t SET v = 'x'")
    pair.catch_up()
    pair.assert_equal()


def test_a_table_that_is_dropped_while_the_sync_runs_is_not_taken_for_an_edited_publication(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations_app.engine.replication.polling._SECONDS", 0.0)
    pair.build(TABLE + "; CREATE TABLE u (id int PRIMARY KEY)")
    with pair.running() as run, SyncSession(run, pair.database) as session:
        poll = Poll(run, pair.database, session.watch)
        poll.look(pair.state)
        pair.at_source("DROP TABLE u")
        poll.look(pair.state)
    assert any("public.u of" in message and "gone" in message for _, _, message in pair.store.events)


def edit(pair: Pair, *statements: str) -> None:
    pair.at_source(*(one.replace("$p", f'"{pair.state.publication}"') for one in statements))


def edited_between_sessions(pair: Pair, *statements: str) -> None:
    """Sync, and run statements on the source once the session is closed."""
    pair.build(TABLE + "; CREATE TABLE u (id int PRIMARY KEY)")
    pair.catch_up()
    edit(pair, *statements)


def only_quarantined(pair: Pair, *names: str) -> bool:
    aside = {table.name for table in pair.store.tables(pair.source_db) if table.status is TableStatus.QUARANTINED}
    return aside == set(names)


def copied_again(pair: Pair, *names: str) -> None:
    made = [
        LedgerItem(side=Side.TARGET, database=pair.target_db, kind=Kind.TABLE, schema="public", name=name)
        for name in names
    ]
    pair.ledger.intend(*made)
    pair.store.asked_again[pair.source_db] = [("public", name) for name in names]
    with pair.running() as run:
        recopy.run(run)


def test_a_table_put_back_between_two_slices_is_told_once_and_quarantined(pair: Pair) -> None:
    edited_between_sessions(pair, PUT_BACK[0], "INSERT INTO t VALUES (1)", PUT_BACK[1])
    with pytest.raises(SourceError, match=r"put them back: public\.t\.") as caught:
        pair.catch_up()
    assert caught.value.code == "SRC-PUBLICATION"
    pair.at_source("UPDATE t SET v = 'x'", "INSERT INTO u VALUES (1)")
    pair.catch_up()
    assert only_quarantined(pair, "t")
    assert pair.value("SELECT count(*) FROM u", "target") == 1


def test_a_table_put_back_is_whole_again_once_it_is_copied_again(pair: Pair) -> None:
    edited_between_sessions(pair, PUT_BACK[0], "INSERT INTO t VALUES (1)", PUT_BACK[1])
    with pytest.raises(SourceError, match="put them back"):
        pair.catch_up()
    copied_again(pair, "t")
    pair.at_source("UPDATE t SET v = 'x'")
    pair.catch_up()
    pair.assert_equal()
    assert only_quarantined(pair)


def test_a_table_put_back_while_it_is_copied_again_is_told_afterwards(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.build(TABLE)
    pair.catch_up()
    real = recopy.OneTable._meet

    def meanwhile(table: recopy.OneTable, *arguments: Any) -> None:
        edit(pair, PUT_BACK[0], "INSERT INTO t VALUES (1)", PUT_BACK[1])
        real(table, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(recopy.OneTable, "_meet", meanwhile)
        copied_again(pair, "t")
    with pytest.raises(SourceError, match="put them back"):
        pair.catch_up()


def test_a_table_put_back_beside_one_that_is_missing_is_told_after_that_one(pair: Pair) -> None:
    edited_between_sessions(pair, *PUT_BACK, "ALTER PUBLICATION $p DROP TABLE u")
    with pytest.raises(SourceError, match=r"Missing: public\.u\."):
        pair.catch_up()
    edit(pair, "ALTER PUBLICATION $p ADD TABLE u")
    with pytest.raises(SourceError, match=r"put them back: public\.t\."):
        pair.catch_up()
    pair.catch_up()
    assert only_quarantined(pair, "t", "u")


def test_a_table_put_back_before_the_first_look_of_a_slice_is_told_by_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations_app.engine.replication.polling._SECONDS", 0.0)
    pair.build(TABLE)
    with pair.running() as run, SyncSession(run, pair.database) as session:
        edit(pair, *PUT_BACK)
        with pytest.raises(SourceError, match="put them back"):
            Poll(run, pair.database, session.watch).look(pair.state)
    pair.catch_up()


@pytest.fixture
def new_partition(pair: Pair) -> Pair:
    """A partition that came with the stream: only the table above it publishes it."""
    pair.build("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    pair.at_source("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
    pair.at_target("CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
    oid = int(pair.value("SELECT 'p1'::regclass::oid::bigint"))
    point = pair.state.consistent_point
    pair.store.save_tables(TableState(database=pair.source_db, schema="public", name="p1", oid=oid, watermark=point))
    return pair


def test_a_partitioned_table_put_back_is_told_of_a_partition_that_only_it_brings(
    new_partition: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = new_partition
    monkeypatch.setattr(listed, "list_too", lambda *_: False)  # as where our account may not list it by itself
    pair.catch_up()
    edit(pair, "ALTER PUBLICATION $p DROP TABLE p", "INSERT INTO p VALUES (1)", "ALTER PUBLICATION $p ADD TABLE p")
    with pytest.raises(SourceError, match=r"put them back: public\.p1\."):
        pair.catch_up()


def test_a_partition_that_is_detached_right_after_it_was_listed_is_not_taken_for_one_put_back(
    new_partition: Pair,
) -> None:
    pair = new_partition
    pair.catch_up()
    pair.at_source("ALTER TABLE p DETACH PARTITION p1", "INSERT INTO p1 VALUES (1)")
    pair.catch_up()
    assert pair.value("SELECT count(*) FROM p1", "target") == 1
    assert only_quarantined(pair)


def test_what_somebody_decided_while_the_publication_was_looked_at_stays(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    edited_between_sessions(pair, *PUT_BACK)
    look = SourceWatch.brought

    def brought(watch: SourceWatch, name: str, *, waits: bool = True) -> Brought | None:
        (t,) = (table for table in pair.store.tables(pair.source_db) if table.name == "t")
        pair.store.save_tables(replace(t, status=TableStatus.DROPPED, watermark=NEVER))
        return look(watch, name, waits=waits)

    monkeypatch.setattr(SourceWatch, "brought", brought)
    with pytest.raises(SourceError, match="put them back"):
        pair.catch_up()
    assert [table.status for table in pair.store.tables(pair.source_db) if table.name == "t"] == [TableStatus.DROPPED]


def test_a_partition_that_stays_published_by_the_table_above_it_is_not_told(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)"
    )
    pair.catch_up()
    edit(pair, "ALTER PUBLICATION $p DROP TABLE p1", "INSERT INTO p VALUES (1)", "ALTER PUBLICATION $p ADD TABLE p1")
    pair.catch_up()
    pair.assert_equal()


def test_kinds_of_changes_kept_back_between_two_slices_are_told_once(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.catch_up()
    edit(
        pair,
        "ALTER PUBLICATION $p SET (publish = 'insert')",
        "UPDATE t SET v = 'x'",
        "ALTER PUBLICATION $p SET (publish = 'insert, update, delete, truncate')",
    )
    with pytest.raises(SourceError, match="and it is whole again") as caught:
        pair.catch_up()
    assert caught.value.code == "SRC-PUBLICATION"
    pair.catch_up()


def test_a_table_put_back_while_all_tables_are_copied_is_told_by_the_sync(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (id int PRIMARY KEY)")
    plan = plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=True, work_dir=tmp_path
    )
    ports = fake_ports()
    with Executor(plan, ports) as executor:
        assert executor.run(StepName.SCHEMA).done
        assert executor.run(StepName.COPY).done
    publication = ports.store.database(source_db).publication
    with source_cluster.connect(source_db) as connection:
        connection.execute(f'ALTER PUBLICATION "{publication}" DROP TABLE t')
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute(f'ALTER PUBLICATION "{publication}" ADD TABLE t')
    try:
        with Executor(replace(plan, epoch=2), ports) as executor:  # another worker
            assert executor.run(StepName.INDEX).done
            with pytest.raises(SourceError, match=r"put them back: public\.t\."):
                executor.run(StepName.SYNC)
            with pytest.raises(CompareDiffers, match=r"public\.t \(quarantined"):  # Complete was pressed before
                executor.run(StepName.COMPLETE)
    finally:
        with running(replace(plan, epoch=99), ports) as run:
            clean_up(run, keep_target_objects=True)


def test_a_table_that_somebody_keeps_locked_on_the_source_does_not_hold_up_the_sync(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations_app.engine.replication.polling._SECONDS", 0.0)
    pair.build(TABLE, "CREATE TABLE u (i int PRIMARY KEY)")
    with pair.running() as run, SyncSession(run, pair.database) as session:
        poll = Poll(run, pair.database, session.watch)
        with pair.source.connect(pair.source_db) as other, other.transaction():
            other.execute("SET idle_in_transaction_session_timeout = '30s'; LOCK TABLE u")
            poll.look(pair.state)
            pair.at_source("INSERT INTO t VALUES (77, 'meanwhile')")
            session.advance(until=pair.insert_lsn())
            other.execute("SELECT 1")  # nobody has waited for its end
        assert "(77,meanwhile)" in pair.rows("target")["public.t"]
        pair.at_source(f'ALTER PUBLICATION "{pair.state.publication}" DROP TABLE t')
        with pytest.raises(SourceError, match=r"Missing: public\.t"):
            poll.look(pair.state)
