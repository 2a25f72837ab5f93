"""Servers that went back in time, and a place that others changed by hand: a gap is told, never passed over."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster, source_settings
from migrations_app.engine import snapshot
from migrations_app.engine.errors import EngineError, SlotLost
from migrations_app.engine.mapping import renaming_of
from migrations_app.engine.native import open_source
from migrations_app.engine.ports import TableState
from migrations_app.engine.replication import session
from migrations_app.engine.replication.stream import Stream
from migrations_app.engine.shapes import read_lineage
from tests.postgres.sync_kit import Pair
from tests.postgres.test_sync_positions import TABLE, count
from tests.servers import started

_SETTINGS = {**source_settings(), "scram_iterations": "1"}


@pytest.fixture(scope="module")
def source_that_goes_back() -> Iterator[Cluster]:
    with started("restorable", "16", _SETTINGS, package=False) as made:
        yield made


@pytest.fixture(scope="module")
def target_that_goes_back() -> Iterator[Cluster]:
    with started("restorable", "18", _SETTINGS, package=False) as made:
        yield made


def _backup(cluster: Cluster, name: str) -> Path:
    """Copy the files of a server as a snapshot of its disk does, slots included."""
    cluster.stop()
    backup = cluster.folder / name
    subprocess.run(["cp", "-a", str(cluster.data), str(backup)], check=True)
    cluster.start()
    return backup


def _restore(cluster: Cluster, backup: Path) -> None:
    cluster.stop()
    shutil.rmtree(cluster.data)
    backup.rename(cluster.data)
    cluster.start()


@pytest.fixture
def pair(source_that_goes_back: Cluster, target_cluster: Cluster, target_db: str) -> Iterator[Pair]:
    name = target_db
    with source_that_goes_back.connect() as boss:
        boss.execute(f"CREATE DATABASE {name}".encode())
    made = Pair(source_that_goes_back, target_cluster, name, target_db)
    yield made
    with source_that_goes_back.connect() as boss:
        boss.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", (name,)
        )
        boss.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _refused(pair: Pair) -> EngineError:
    before = count(pair)
    with pytest.raises(EngineError) as caught:
        pair.catch_up()
    assert not caught.value.retryable
    assert count(pair) == before
    return caught.value


@pytest.mark.long
def test_a_source_restored_from_an_older_backup_is_never_followed(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.catch_up()
    backup = _backup(pair.source, "older")
    pair.at_source("INSERT INTO t SELECT generate_series(100, 3000)")
    pair.catch_up()
    _restore(pair.source, backup)
    pair.at_source("INSERT INTO t VALUES (2, 'of another history')")
    error = _refused(pair)
    assert error.code == "SRC-SETBACK"
    assert "Restart with new copy" in error.hint


@pytest.mark.long
def test_a_copy_does_not_go_on_from_a_source_restored_from_an_older_backup(pair: Pair) -> None:
    pair.at_source(TABLE)
    pair.at_target(TABLE)
    with pair.running() as run:
        snapshot.open_first(run, pair.database).close()
        backup = _backup(pair.source, "while copying")
        pair.at_source("INSERT INTO t SELECT generate_series(1, 3000)")
    with pair.running() as run:
        later = snapshot.open_again(run, pair.database)
        [table] = [one for one in later.tables if one.name == "t"]
        later.close()
        pair.store.save_tables(
            TableState(database=pair.source_db, schema="public", name="t", oid=table.oid, watermark=later.lsn)
        )
    _restore(pair.source, backup)
    with pair.running() as run, pytest.raises(SlotLost) as caught:
        snapshot.open_again(run, pair.database)
    assert caught.value.code == "SRC-SETBACK"


def _slot_sql(pair: Pair, what: str) -> str:
    return what.format(slot=pair.state.slot)


def test_a_slot_made_anew_under_its_name_is_not_taken_for_the_old_one(pair: Pair) -> None:
    pair.build(TABLE)
    pair.catch_up()
    pair.at_source(
        _slot_sql(pair, "SELECT pg_drop_replication_slot('{slot}')"),
        "INSERT INTO t VALUES (1)",
        _slot_sql(pair, "SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')"),
    )
    pair.at_source("INSERT INTO t VALUES (2)")
    error = _refused(pair)
    assert error.code == "SRC-SLOTLOST"
    assert "Restart with new copy" in error.hint


def test_what_another_reader_takes_while_the_sync_waits_for_the_slot_is_told(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.build(TABLE)
    pair.catch_up()
    pair.at_source("INSERT INTO t VALUES (1)")
    real = session.open_stream

    def late(*args: Any, **more: Any) -> Any:
        pair.at_source(_slot_sql(pair, "SELECT pg_replication_slot_advance('{slot}', pg_current_wal_lsn())"))
        return real(*args, **more)

    monkeypatch.setattr(session, "open_stream", late)
    error = _refused(pair)
    assert error.code == "SRC-SLOTLOST"
    assert "somebody else reads the slot" in error.message


@pytest.mark.parametrize("place", ["pg_current_wal_lsn()", "'0/1'"], ids=["forward", "back"])
def test_a_bookmark_that_was_changed_by_hand_is_told_with_the_way_back(
    source_cluster: Cluster, source_db: str, target_cluster: Cluster, target_db: str, place: str
) -> None:
    pair = Pair(source_cluster, target_cluster, source_db, target_db)
    pair.build("CREATE TABLE t (id int, v text)")
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.catch_up()
    pair.at_source("INSERT INTO t VALUES (2)")
    place = str(pair.value(f"SELECT {place}::text"))
    pair.at_target(f"UPDATE towpath.bookmark SET lsn = '{place}'")
    error = _refused(pair)
    assert error.code == "DST-BOOKMARKSET"
    assert f"it says {place}" in error.message
    assert "Restart with new copy" in error.hint
    pair.at_target(error.hint.partition("Run on the target: ")[2].partition(". Then")[0])
    pair.catch_up()
    pair.assert_equal()


def test_a_bookmark_made_by_an_older_version_is_taken_up_and_may_be_moved_by_it_again(
    source_cluster: Cluster, source_db: str, target_cluster: Cluster, target_db: str
) -> None:
    pair = Pair(source_cluster, target_cluster, source_db, target_db)
    pair.build(TABLE)
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.catch_up()
    pair.at_target("ALTER TABLE towpath.bookmark DROP COLUMN moved, DROP COLUMN moved_n")
    pair.at_source("INSERT INTO t VALUES (2)")
    pair.catch_up()
    pair.at_source("INSERT INTO t VALUES (3)")
    end = pair.value("SELECT pg_current_wal_lsn()::text")
    pair.at_target(f"INSERT INTO t VALUES (3); UPDATE towpath.bookmark SET lsn = '{end}', n = n + 1")
    pair.at_source("INSERT INTO t VALUES (4)")
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.long
@pytest.mark.parametrize("kept", [True, False], ids=["kept by the slot", "given up by the slot"])
def test_a_target_restored_from_an_older_backup_goes_on_exactly_or_says_what_is_lost(
    source_cluster: Cluster,
    source_db: str,
    target_that_goes_back: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    kept: bool,
) -> None:
    with target_that_goes_back.connect() as boss:
        boss.execute(f"CREATE DATABASE {source_db}".encode())
    pair = Pair(source_cluster, target_that_goes_back, source_db, source_db)
    pair.build("CREATE TABLE t (id int, v text)")
    pair.at_source("INSERT INTO t VALUES (1), (2)")
    pair.catch_up()
    backup = _backup(pair.target, source_db)
    if kept:
        monkeypatch.setattr(Stream, "acknowledge", lambda *_: None)
    pair.at_source("INSERT INTO t VALUES (3), (3)", "INSERT INTO t VALUES (4)")
    pair.catch_up()
    _restore(pair.target, backup)
    pair.at_source("INSERT INTO t VALUES (5)")
    if kept:
        pair.catch_up()
        pair.assert_equal()
        return
    error = _refused(pair)
    assert error.code == "SRC-SLOTLOST"
    assert "the target was set back" in error.message
    assert "Restart with new copy" in error.hint


PARTED = (
    "CREATE TABLE parted (id int, {v}) PARTITION BY LIST (id)",
    "CREATE TABLE one PARTITION OF parted FOR VALUES IN (1)",
)
GRANTED = "GRANT SELECT ON attached TO public"


def _crash(pair: Pair) -> None:
    pair.source.stop(signal.SIGQUIT)
    pair.source.start()


def _was_made(pair: Pair) -> bool:
    oid = int(pair.value("SELECT 'attached'::regclass::oid::bigint"))
    with pair.running() as run, open_source(run, pair.database) as connection:
        [found] = read_lineage(connection, oid, renaming_of(run, pair.database))
    return found.born


@pytest.mark.long
@pytest.mark.parametrize(
    ("value", "later"),
    [("v text", "SELECT"), ("v text", GRANTED), ("v int", GRANTED)],
    ids=["as-it-was", "changed-later", "changed-later-without-toast"],
)
def test_a_partition_that_was_attached_with_rows_before_a_crash_is_not_taken_for_one_made_empty(
    pair: Pair, value: str, later: str
) -> None:
    pair.at_source(*[text.format(v=value) for text in PARTED])
    with pair.running() as run:
        open_source(run, pair.database).close()
    with pair.source.connect() as boss:
        boss.execute("CHECKPOINT")  # recovery writes the entries of columns again, and forgets by which command
    pair.at_source(
        f"BEGIN; CREATE TABLE attached (id int, {value}); INSERT INTO attached VALUES (5);"
        " ALTER TABLE parted ATTACH PARTITION attached FOR VALUES IN (5); COMMIT",
        later,
    )
    _crash(pair)
    assert not _was_made(pair)


@pytest.mark.long
@pytest.mark.parametrize("value", ["v text", "v int"])
def test_a_partition_that_was_seen_to_be_made_empty_is_followed_also_after_a_crash(pair: Pair, value: str) -> None:
    pair.at_source(*[text.format(v=value) for text in PARTED])
    with pair.source.connect() as boss:
        boss.execute("CHECKPOINT")
    pair.at_source("CREATE TABLE attached PARTITION OF parted FOR VALUES IN (5)")
    assert _was_made(pair)
    _crash(pair)
    assert _was_made(pair)


@pytest.mark.long
def test_a_partition_that_was_attached_again_is_judged_anew(pair: Pair) -> None:
    pair.at_source(*[text.format(v="v int") for text in PARTED])
    pair.at_source("CREATE TABLE attached PARTITION OF parted FOR VALUES IN (5)")
    assert _was_made(pair)
    pair.at_source(
        "ALTER TABLE parted DETACH PARTITION attached",
        "ALTER TABLE parted ATTACH PARTITION attached FOR VALUES IN (5)",
    )
    assert not _was_made(pair)
