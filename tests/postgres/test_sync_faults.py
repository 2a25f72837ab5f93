"""What goes wrong around a sync ends in a message that says what and where, and never in lost or doubled rows."""

from __future__ import annotations

import time
from dataclasses import replace

import psycopg
import pytest

from migrations_app.engine.errors import (
    ConflictError,
    SchemaChanged,
    SlotLost,
    SourceError,
    TargetError,
)
from migrations_app.engine.replication import lag
from migrations_app.engine.replication.session import SyncSession
from tests.postgres import sync_faults_kit
from tests.postgres.sync_faults_kit import TABLE, count, failure
from tests.postgres.sync_kit import Pair

# Fixtures that stand in the kit.
pair = sync_faults_kit.pair


def test_a_duplicate_key_names_table_and_key_and_keeps_the_position(pair: Pair) -> None:
    pair.build(TABLE)
    position = pair.catch_up()
    pair.at_target("INSERT INTO t VALUES (5, 'foreign')")
    pair.at_source("INSERT INTO t SELECT g, 'secret' FROM generate_series(1, 9) g")
    error = failure(pair, ConflictError)
    assert "insert of public.t (id=5)" in error.message
    assert "secret" not in error.message + error.hint
    assert count(pair) == 1
    pair.at_target("DELETE FROM t")
    assert pair.catch_up() > position
    pair.assert_equal()


@pytest.mark.parametrize("change", ["UPDATE t SET v = 'x' WHERE id = 3", "DELETE FROM t WHERE id = 3"])
def test_a_missing_row_stops_the_sync(pair: Pair, change: str) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t SELECT generate_series(1, 9)")
    pair.catch_up()
    pair.at_target("DELETE FROM t WHERE id = 3")
    pair.at_source(change)
    error = failure(pair, ConflictError)
    assert error.code == "DST-CONFLICT"
    assert "public.t (id=3) found no row" in error.message
    pair.at_target("INSERT INTO t VALUES (3)")
    pair.catch_up()
    pair.assert_equal()


def test_a_label_that_an_enum_got_on_the_source_is_told_and_the_sync_goes_on_once_the_target_has_it(pair: Pair) -> None:
    pair.build("CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE TABLE moody (id int PRIMARY KEY, m mood)")
    pair.catch_up()
    pair.at_source("ALTER TYPE mood ADD VALUE 'glad' BEFORE 'sad'", "INSERT INTO moody VALUES (1, 'glad')")
    error = failure(pair, TargetError)
    assert "public.moody (id=1)" in error.message
    assert "ALTER TYPE" in error.hint
    pair.at_target("ALTER TYPE mood ADD VALUE 'glad' BEFORE 'sad'")
    pair.catch_up()
    pair.assert_equal()


def test_a_label_that_got_another_name_on_the_source_is_told_and_the_sync_goes_on_once_the_target_has_it(
    pair: Pair,
) -> None:
    pair.build("CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE TABLE moody (id int PRIMARY KEY, m mood)")
    pair.at_source("INSERT INTO moody VALUES (1, 'ok')")
    pair.catch_up()
    pair.at_source("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'", "INSERT INTO moody VALUES (2, 'fine')")
    assert "RENAME VALUE" in failure(pair, TargetError).hint
    pair.at_target("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'")
    pair.catch_up()
    pair.assert_equal()


def test_a_publication_of_the_target_that_wants_an_identity_is_told(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE k (v int); INSERT INTO k VALUES (1); ALTER TABLE k REPLICA IDENTITY FULL",
        target="CREATE TABLE k (v int); INSERT INTO k VALUES (1); CREATE PUBLICATION everything FOR ALL TABLES",
    )
    pair.at_source("UPDATE k SET v = 2")
    error = failure(pair, TargetError)
    assert "REPLICA IDENTITY FULL" in error.hint
    pair.at_target("ALTER TABLE k REPLICA IDENTITY FULL")
    pair.catch_up()
    pair.assert_equal()


def test_a_check_that_only_the_target_has_is_a_conflict(pair: Pair) -> None:
    pair.build(TABLE, target=TABLE + "; ALTER TABLE t ADD CONSTRAINT short CHECK (length(v) < 3)")
    pair.at_source("INSERT INTO t VALUES (1, 'long one')")
    assert "short" in failure(pair, ConflictError).message


@pytest.mark.parametrize(
    ("ddl", "words"),
    [
        ("ALTER TABLE t ADD COLUMN c int", "column c exists only on the source"),
        ("ALTER TABLE t DROP COLUMN v", "column v exists only on the target"),
        (
            "ALTER TABLE t RENAME COLUMN v TO w",
            "column w exists only on the source; column v exists only on the target",
        ),
        ("ALTER TABLE t ALTER v TYPE varchar(10)", "column v is character varying(10) on the source and text"),
        ("ALTER TABLE t RENAME TO u", "now called public.u"),
        ("CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s", "now called s.t"),
    ],
)
def test_a_changed_table_stops_the_sync_just_before_the_change(pair: Pair, ddl: str, words: str) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1, 'a')")
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        pair.at_source(ddl)
        name = "t" if "called" not in words else words.split()[-1].removeprefix("public.")
        pair.at_source(f"INSERT INTO {name} VALUES (2)")
        with pytest.raises(SchemaChanged) as caught:
            session.advance(until=pair.insert_lsn())
    assert caught.value.code == "SRC-DDL"
    assert words in caught.value.message
    assert count(pair) == 1


def test_a_retyped_user_type_is_seen(pair: Pair) -> None:
    pair.build("CREATE TYPE a AS ENUM ('x'); CREATE TYPE b AS ENUM ('x'); CREATE TABLE t (id int PRIMARY KEY, m a)")
    pair.at_source(
        "INSERT INTO t VALUES (1, 'x')", "ALTER TABLE t ALTER m TYPE b USING 'x'", "INSERT INTO t VALUES (2, 'x')"
    )
    assert "column m is public.b on the source and public.a" in failure(pair, SchemaChanged).message


def test_a_changed_table_goes_on_once_the_target_was_changed_too(pair: Pair) -> None:
    pair.build(TABLE)
    pair.catch_up()
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "INSERT INTO t VALUES (2, 'x', 3)")
    failure(pair, SchemaChanged)
    pair.at_target("ALTER TABLE t ADD COLUMN c int")
    pair.catch_up()
    pair.assert_equal()


def test_a_new_partition_of_a_selected_table_stops_the_sync(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE m (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)"
    )
    pair.at_source("CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)", "INSERT INTO m VALUES (2)")
    # Before the stream even starts nothing is missing; the new table is met in the stream.
    assert "public.m2" in failure(pair, SchemaChanged).message


def test_a_new_partition_of_a_table_selected_by_name_is_noticed_too(pair: Pair) -> None:
    pair.selection = type(pair.selection)(rules={(pair.source_db, "public", "m"): True})
    pair.build(
        "CREATE TABLE m (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)"
    )
    pair.at_source("CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)", "INSERT INTO m VALUES (2)")
    assert "new partition" in failure(pair, SchemaChanged).message


def test_a_table_missing_on_the_target_is_named(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.at_target("DROP TABLE t")
    assert "public.t is missing on the target" in failure(pair, TargetError).message


def test_a_table_taken_out_of_the_publication_is_named(pair: Pair) -> None:
    pair.build(TABLE + "; CREATE TABLE u (id int PRIMARY KEY)")
    pair.at_source(f'ALTER PUBLICATION "{pair.state.publication}" DROP TABLE t')
    error = failure(pair, SourceError)
    assert (error.code, "Missing: public.t." in error.message) == ("SRC-PUBLICATION", True)


def test_a_publication_that_is_gone_is_refused(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source(f'DROP PUBLICATION "{pair.state.publication}"')
    error = failure(pair, SourceError)
    assert (error.code, "is gone" in error.message) == ("SRC-PUBLICATION", True)


def test_a_table_renamed_between_two_sessions_is_noticed_at_its_first_change(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("ALTER TABLE t RENAME TO u")
    pair.catch_up()
    pair.at_source("INSERT INTO u VALUES (1)")
    assert "now called public.u" in failure(pair, SchemaChanged).message


def test_a_table_renamed_within_a_transaction_leaves_its_namesake_alone(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source(
        "BEGIN; INSERT INTO t VALUES (1, 'before'); ALTER TABLE t RENAME TO u;"
        " CREATE TABLE t (id int PRIMARY KEY, v text);"
        " INSERT INTO t VALUES (7, 'of the namesake'); INSERT INTO u VALUES (2, 'after'); COMMIT"
    )
    assert "now called public.u" in failure(pair, SchemaChanged).message
    assert count(pair) == 0
    pair.at_source("DROP TABLE t; ALTER TABLE u RENAME TO t")
    pair.catch_up()
    pair.assert_equal()


def test_a_publication_that_keeps_deletes_back_is_refused(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source(f"ALTER PUBLICATION \"{pair.state.publication}\" SET (publish = 'insert, update')")
    assert failure(pair, SourceError).code == "SRC-PUBLICATION"


def test_a_dropped_slot_is_the_end(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
    error = failure(pair, SlotLost)
    assert (error.code, error.retryable) == ("SRC-SLOTGONE", False)


def test_a_slot_that_was_read_by_somebody_else_is_the_end(pair: Pair) -> None:
    pair.build(TABLE)
    pair.catch_up()
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.at_source(f"SELECT pg_replication_slot_advance('{pair.state.slot}', pg_current_wal_lsn())")
    error = failure(pair, SlotLost)
    assert error.code == "SRC-SLOTLOST"


def test_a_target_without_its_bookmark_is_refused(pair: Pair) -> None:
    pair.build(TABLE)
    pair.catch_up()
    pair.at_target("DROP SCHEMA towpath CASCADE")
    assert failure(pair, TargetError).code == "DST-BOOKMARK"


def test_a_bookmark_that_is_dropped_while_the_sync_runs_is_told_as_gone(pair: Pair) -> None:
    pair.build(TABLE)
    with pair.running() as run, SyncSession(run, pair.database) as session:
        pair.at_source("INSERT INTO t VALUES (1)")
        session.advance(until=pair.insert_lsn())
        pair.at_target("DROP SCHEMA towpath CASCADE")
        pair.at_source("INSERT INTO t VALUES (2)")
        with pytest.raises(TargetError) as caught:
            session.advance(until=pair.insert_lsn())
    assert (caught.value.code, caught.value.retryable) == ("DST-BOOKMARK", False)
    assert "new copy" in caught.value.hint
    assert count(pair) == 1


def test_another_server_behind_the_address_is_refused(pair: Pair) -> None:
    pair.build(TABLE)
    pair.store.save_database(replace(pair.state, system_id="42"))
    assert failure(pair, SourceError).code == "SRC-CHANGED"


def test_another_target_behind_the_address_is_refused(pair: Pair) -> None:
    pair.build(TABLE)
    pair.catch_up()
    assert pair.state.target_system_id == pair.value(
        "SELECT system_identifier::text FROM pg_control_system()", "target"
    )
    pair.store.save_database(replace(pair.state, target_system_id="42"))
    error = failure(pair, TargetError)
    assert (error.code, error.retryable) == ("DST-CHANGED", False)
    assert "instead of 42" in error.message
    assert "address of the target" in error.hint


def test_a_target_ahead_of_what_the_task_knows_keeps_its_position(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.catch_up()
    pair.store.save_database(replace(pair.state, bookmark=None))
    pair.at_source("INSERT INTO t VALUES (2)")
    pair.catch_up()
    pair.assert_equal()
    assert [code for _, code, _ in pair.store.events] == ["RUN-EPOCH"]


def test_a_busy_slot_names_the_process_that_reads_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrations_app.engine.replication.session._BUSY_SECONDS", 0.3)
    pair.build(TABLE)
    with psycopg.connect(
        **pair.source.arguments(pair.source_db),
        autocommit=True,
        replication="database",  # type: ignore[arg-type]
    ) as stranger:
        state = pair.state
        stranger.execute(
            f"START_REPLICATION SLOT {state.slot} LOGICAL 0/0"
            f" (proto_version '1', publication_names '{state.publication}')"
        )
        error = failure(pair, SourceError)
        assert f"PID {stranger.info.backend_pid}" in error.message
        assert f"pg_terminate_backend({stranger.info.backend_pid})" in error.hint
        assert (error.code, error.retryable) == ("SRC-SLOTBUSY", False)
        stranger.pgconn.finish()


def test_a_slot_about_to_lose_its_wal_is_announced_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.build(TABLE)
    real = lag.read_slot
    monkeypatch.setattr(lag, "_SECONDS_BETWEEN", 0.05)
    monkeypatch.setattr(lag, "read_slot", lambda *args: real(*args)._replace(wal_status="unreserved", safe_bytes=1000))
    with pair.syncing() as session:
        deadline = time.monotonic() + 0.5
        session.advance(stop=lambda: time.monotonic() > deadline)
    assert [event[:2] for event in pair.store.events] == [("warning", "SRC-WALLIMIT")]


def test_a_row_found_twice_stops_the_sync(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (a int NOT NULL, v text); CREATE UNIQUE INDEX u ON t (a);"
        " ALTER TABLE t REPLICA IDENTITY USING INDEX u",
        target="CREATE TABLE t (a int NOT NULL, v text)",
    )
    pair.at_source("INSERT INTO t VALUES (1, 'x')")
    pair.catch_up()
    pair.at_target("INSERT INTO t VALUES (1, 'y')")
    pair.at_source("UPDATE t SET v = 'z'")
    error = failure(pair, ConflictError)
    assert "public.t (a=1) found 2 rows" in error.message
    assert "public.t found 2 rows" in error.public_message
    assert error.detail == {"key": "a=1"}
    assert pair.value("SELECT count(*) FROM t WHERE v = 'z'", "target") == 0


def test_an_insert_that_the_target_swallows_stops_the_sync(pair: Pair) -> None:
    swallow = (
        "; CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()"
    )
    pair.build(TABLE, target=TABLE)
    with pair.syncing() as session:
        pair.at_target(swallow.strip("; ") + "; ALTER TABLE t ENABLE ALWAYS TRIGGER no")
        pair.at_source("INSERT INTO t VALUES (1)")
        with pytest.raises(ConflictError, match=r"insert of public.t \(id=1\) stored no row"):
            session.advance()
