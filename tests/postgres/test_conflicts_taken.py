"""Taking the source's row at a conflict: once, for one change of one transaction, whatever dies meanwhile."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from migrations_app.engine.conflicts import ConflictKind, Obstacle, Use
from migrations_app.engine.errors import ConflictError
from tests.fakes import wait_until
from tests.postgres import conflicts_kit
from tests.postgres.conflicts_kit import TABLE, allow, permission, stopped
from tests.postgres.sync_kit import APPLY, Pair, force_path

# A fixture that stands in the kit.
pair = conflicts_kit.pair


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_row_is_taken_late_in_a_large_transaction(pair: Pair, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    force_path(monkeypatch, path)
    monkeypatch.setattr(f"{APPLY}._MOST_CHANGES", 60)
    monkeypatch.setattr(f"{APPLY}._WORTH_CHANGES", 20)
    pair.build(TABLE)
    pair.at_target("INSERT INTO t VALUES (700, 'foreign')")
    pair.at_source("INSERT INTO t SELECT g, 'ours' FROM generate_series(1, 900) g")
    conflict = stopped(pair)
    assert conflict.key == "id=700"
    allow(pair.store, permission(conflict), database=pair.source_db)
    pair.catch_up()
    pair.assert_equal()
    assert [use for _, use in pair.store.used] == [Use.TAKEN]


def test_the_next_conflict_of_the_same_transaction_stops_again(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_target("INSERT INTO t VALUES (1, 'foreign'), (2, 'foreign')")
    pair.at_source("INSERT INTO t VALUES (1, 'ours'), (2, 'ours')")
    first = stopped(pair)
    allow(pair.store, permission(first), database=pair.source_db)
    second = stopped(pair)
    assert (first.key, second.key, first.lsn) == ("id=1", "id=2", second.lsn)
    assert pair.store.used == [], "nothing was committed"
    assert pair.value("SELECT count(*) FROM t WHERE v = 'foreign'", "target") == 2
    allow(pair.store, permission(second, 2), database=pair.source_db)
    pair.catch_up()
    pair.assert_equal()
    assert [(one.number, use) for one, use in pair.store.used] == [(1, Use.TAKEN), (2, Use.TAKEN)]


@pytest.mark.parametrize("other", [{"lsn": 1 << 62}, {"name": "u"}, {"digest": "0" * 32}])
def test_a_permission_for_another_change_is_not_used(pair: Pair, other: dict[str, Any]) -> None:
    pair.build(TABLE)
    pair.at_target("INSERT INTO t VALUES (1, 'foreign')")
    pair.at_source("INSERT INTO t VALUES (1, 'ours')")
    allow(pair.store, permission(stopped(pair), **other), database=pair.source_db)
    stopped(pair)
    assert pair.store.used == []


def test_a_permission_that_was_not_needed_is_used_up_all_the_same(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_target("INSERT INTO t VALUES (1, 'foreign')")
    pair.at_source("INSERT INTO t VALUES (1, 'ours')")
    allow(pair.store, permission(stopped(pair)), database=pair.source_db)
    pair.at_target("DELETE FROM t")
    pair.catch_up()
    pair.assert_equal()
    assert [use for _, use in pair.store.used] == [Use.NOT_NEEDED]


def test_a_row_without_a_key_that_is_missing_is_taken_as_deleted(pair: Pair) -> None:
    pair.build("CREATE TABLE t (v text); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t VALUES ('a'), ('b')")
    pair.at_target("DELETE FROM t WHERE v = 'a'")
    pair.at_source("DELETE FROM t WHERE v = 'a'")
    conflict = stopped(pair)
    assert (conflict.kind, conflict.key) == (ConflictKind.ROW_MISSING, "no key")
    allow(pair.store, permission(conflict), database=pair.source_db)
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("path", ["rows", "batches"])
@pytest.mark.parametrize("change", ["DELETE FROM t WHERE v = 'a'", "UPDATE t SET v = 'c' WHERE v = 'a'"])
def test_equal_changes_of_rows_without_a_key_leave_what_the_source_has(
    pair: Pair, change: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    force_path(monkeypatch, path)
    pair.build(
        "CREATE TABLE t (v text, n int); ALTER TABLE t REPLICA IDENTITY FULL;"
        " INSERT INTO t (v) VALUES ('a'), ('a'), ('a'), ('b')"
    )
    pair.at_target("DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE v = 'a')")
    pair.at_source(change)
    conflict = stopped(pair)
    assert (conflict.kind, conflict.obstacle) == (ConflictKind.ROW_MISSING, Obstacle.NONE)
    allow(pair.store, permission(conflict), database=pair.source_db)
    pair.catch_up()
    pair.assert_equal()
    assert [use for _, use in pair.store.used] == [Use.TAKEN]


def test_a_row_whose_large_value_did_not_travel_cannot_be_taken(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, n int, v text); ALTER TABLE t ALTER v SET STORAGE EXTERNAL")
    pair.at_source("INSERT INTO t SELECT 1, 0, repeat('x', 20000)")
    pair.catch_up()
    pair.at_target("DELETE FROM t")
    pair.at_source("UPDATE t SET n = 1")
    conflict = stopped(pair)
    assert conflict.obstacle is Obstacle.NOT_WHOLE
    allow(pair.store, permission(conflict), database=pair.source_db)
    with pytest.raises(ConflictError) as caught:
        pair.catch_up()
    assert "Copy the table again" in caught.value.hint
    assert pair.value("SELECT count(*) FROM t", "target") == 0


def test_a_whole_old_row_tells_the_large_value_that_did_not_change(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (id int PRIMARY KEY, n int, v text); ALTER TABLE t ALTER v SET STORAGE EXTERNAL;"
        " ALTER TABLE t REPLICA IDENTITY FULL"
    )
    pair.at_source("INSERT INTO t SELECT 1, 0, repeat('x', 20000)")
    pair.catch_up()
    pair.at_target("DELETE FROM t")
    pair.at_source("UPDATE t SET n = 1")
    allow(pair.store, permission(stopped(pair)), database=pair.source_db)
    pair.catch_up()
    pair.assert_equal()


def test_a_row_in_the_way_of_another_unique_constraint_is_never_removed(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE)")
    pair.at_target("INSERT INTO t VALUES (99, 'a@example.org')")
    pair.at_source("INSERT INTO t VALUES (5, 'a@example.org')")
    conflict = stopped(pair)
    assert (conflict.kind, conflict.obstacle) == (ConflictKind.DUPLICATE_KEY, Obstacle.OTHER_KEY)
    allow(pair.store, permission(conflict), database=pair.source_db)
    with pytest.raises(ConflictError) as caught:
        pair.catch_up()
    assert "Copy the table again" in caught.value.hint
    assert pair.value("SELECT id FROM t", "target") == 99


def test_a_row_that_is_taken_may_still_meet_another_unique_constraint(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, email text UNIQUE)")
    pair.at_target("INSERT INTO t VALUES (5, 'b@example.org'), (99, 'a@example.org')")
    pair.at_source("INSERT INTO t VALUES (5, 'a@example.org')")
    first = stopped(pair)
    allow(pair.store, permission(first), database=pair.source_db)
    second = stopped(pair)
    assert {first.obstacle, second.obstacle} <= {Obstacle.NONE, Obstacle.OTHER_KEY}
    assert second.obstacle is Obstacle.OTHER_KEY
    assert pair.value("SELECT count(*) FROM t", "target") == 2, "the first row stands as long as nothing is committed"


# A worker that dies


def worker(pair: Pair) -> subprocess.Popen[bytes]:
    pair.epoch += 1
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.postgres.sync_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    pickle.dump((pair.plan(), pair.store.databases, pair.store.table_rows, pair.store.allowed), process.stdin)
    process.stdin.close()
    return process


def test_a_kill_while_a_row_is_taken_takes_it_once_all_the_same(pair: Pair) -> None:
    pair.build(TABLE + "; CREATE TABLE counted (id serial PRIMARY KEY)")
    pair.at_target("INSERT INTO t VALUES (1, 'foreign')")
    pair.at_source("INSERT INTO counted DEFAULT VALUES; INSERT INTO t VALUES (1, 'ours')")
    allow(pair.store, permission(stopped(pair)), database=pair.source_db)
    with pair.target.connect(pair.target_db) as holder:
        holder.execute("BEGIN; SELECT FROM t FOR UPDATE")
        process = worker(pair)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE FROM%'"
        wait_until(lambda: pair.value(waiting, "target") == 1, what="the worker that removes the row")
        process.kill()
        process.wait()
        holder.execute("ROLLBACK")
    assert pair.value("SELECT v FROM t", "target") == "foreign", "nothing of it was committed"
    process = worker(pair)
    wait_until(lambda: pair.value("SELECT v FROM t", "target") == "ours", what="the source's row")
    process.kill()  # after the commit; what it noted died with it
    process.wait()
    pair.catch_up()
    pair.assert_equal()
    assert [use for _, use in pair.store.used] == [Use.UNKNOWN]
    assert pair.store.allowed == {pair.source_db: []}
