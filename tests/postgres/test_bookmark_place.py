"""The bookmark's row is looked for where it was last put, and still nobody but the one whose turn it is may move it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.lsn import format_lsn
from migrations_app.engine.replication import bookmark, transaction
from migrations_app.engine.replication.pipeline import Pipeline
from migrations_app.engine.replication.transaction import Transaction
from tests.fakes import wait_until
from tests.postgres.test_bookmark import claim, move

BEGUN = "0/4D"
WAITING = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"


@pytest.fixture
def at(target_cluster: Cluster, target_db: str) -> Iterator[psycopg.Connection[Any]]:
    """A session of a target whose bookmark stands at BEGUN, in epoch 5."""
    with target_cluster.connect(target_db) as connection:
        bookmark.create(connection)
        bookmark.reset(connection, "bb", 0x1, 1)
        bookmark.reset(connection, "aa", 0x4D, 5)
        yield connection


def place_of(connection: psycopg.Connection[Any], task: str = "aa") -> str:
    row = connection.execute("SELECT ctid::text FROM towpath.bookmark WHERE task = %s", (task,)).fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize("sql", [bookmark.CLAIM_SQL, bookmark.SURE_CLAIM_SQL], ids=["read", "sure"])
def test_the_right_place_does_not_make_up_for_another_epoch_or_position(
    at: psycopg.Connection[Any], sql: bytes
) -> None:
    for lsn, epoch in (("0/4D", 4), ("0/4D", 6), ("0/4E", 5), ("0/4C", 5)):
        with pytest.raises(psycopg.errors.DivisionByZero):
            claim(at, lsn, epoch, place=place_of(at), sql=sql)
    claim(at, BEGUN, 5, place=place_of(at), sql=sql)


@pytest.mark.parametrize("sql", [bookmark.CLAIM_SQL, bookmark.SURE_CLAIM_SQL], ids=["read", "sure"])
def test_a_place_that_is_out_of_date_or_anothers_is_made_up_for_by_the_key(
    at: psycopg.Connection[Any], sql: bytes
) -> None:
    first = place_of(at)
    for place in (None, place_of(at, "bb"), "(0,200)", "(77777,1)", "(4294967295,0)"):
        claim(at, BEGUN, 5, place=place, sql=sql)
    assert move(at, "0/50", "(77777,1)") == place_of(at) != first
    with pytest.raises(psycopg.errors.DivisionByZero):
        claim(at, BEGUN, 5, place=first, sql=sql)
    claim(at, "0/50", 5, place=first, sql=sql)
    moved = move(at, "0/51", first)
    at.execute("VACUUM FULL towpath.bookmark")
    claim(at, "0/51", 5, place=moved, sql=sql)
    assert move(at, "0/52", moved) == place_of(at)
    assert bookmark.read(at, "aa") == (0x52, 5, 3)
    assert bookmark.read(at, "bb") == (0x1, 1, 0)


def test_a_row_that_is_gone_is_nobodys(at: psycopg.Connection[Any]) -> None:
    place = place_of(at)
    bookmark.forget(at, "aa")
    with pytest.raises(AssertionError):
        claim(at, BEGUN, 5, place=place)
    with pytest.raises(psycopg.errors.DivisionByZero):
        claim(at, BEGUN, 5, place=place, sql=bookmark.SURE_CLAIM_SQL)
    with pytest.raises(AssertionError):
        move(at, "0/50", place)


TAKEN = "UPDATE towpath.bookmark SET epoch = 6 WHERE task = 'aa'"
MOVED = "UPDATE towpath.bookmark SET lsn = '0/4E', n = n + 1 WHERE task = 'aa'"


@pytest.mark.parametrize("sql", [bookmark.CLAIM_SQL, bookmark.SURE_CLAIM_SQL], ids=["read", "sure"])
@pytest.mark.parametrize("placed", [True, False], ids=["by place", "by key"])
@pytest.mark.parametrize(
    ("other", "commits", "passes"),
    [(TAKEN, True, False), (MOVED, True, False), (TAKEN, False, True), (MOVED, False, True)],
    ids=["taken", "moved", "not taken", "not moved"],
)
def test_a_claim_waits_for_another_worker_and_fails_when_that_one_commits(
    at: psycopg.Connection[Any],
    target_cluster: Cluster,
    target_db: str,
    sql: bytes,
    placed: bool,
    other: str,
    commits: bool,
    passes: bool,
) -> None:
    place, said = place_of(at) if placed else None, []

    def try_it() -> None:
        with target_cluster.connect(target_db) as connection:
            try:
                claim(connection, BEGUN, 5, place=place, sql=sql)
                said.append(True)
            except (psycopg.errors.DivisionByZero, AssertionError):
                said.append(False)

    with target_cluster.connect(target_db, autocommit=False) as rival:
        rival.execute(other)
        thread = threading.Thread(target=try_it)
        thread.start()
        try:
            wait_until(lambda: at.execute(WAITING).fetchone() == (True,), 20, "the claim waiting for the row")
        finally:
            rival.commit() if commits else rival.rollback()
            thread.join(20)
    assert said == [passes]


def test_who_takes_the_bookmark_over_waits_for_the_batch_that_has_claimed_it(
    at: psycopg.Connection[Any], target_cluster: Cluster, target_db: str
) -> None:
    found: list[int] = []

    def take_over() -> None:
        with target_cluster.connect(target_db) as connection:
            found.append(bookmark.claim(connection, "aa", 6))

    with target_cluster.connect(target_db, autocommit=False) as batch:
        claim(batch, BEGUN, 5, place=place_of(at))
        thread = threading.Thread(target=take_over)
        thread.start()
        try:
            wait_until(lambda: at.execute(WAITING).fetchone() == (True,), 20, "the new worker waiting for the row")
            move(batch, "0/50", place_of(at))
        finally:
            batch.commit()
            thread.join(20)
    assert found == [0x50]
    assert bookmark.read(at, "aa") == (0x50, 6, 1)


def test_a_snapshot_that_is_held_on_the_target_does_not_make_each_transaction_dearer(
    at: psycopg.Connection[Any], target_cluster: Cluster, target_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "_PLANNED_ANEW", 200)
    at.execute("ALTER TABLE towpath.bookmark SET (autovacuum_enabled = off)")
    at.execute("VACUUM ANALYZE towpath.bookmark")  # one page: to read all of it seems best
    with target_cluster.connect(target_db, autocommit=False) as report:
        report.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        pipeline = Pipeline(at, lambda: None)
        work = Transaction(
            pipeline, task="aa", epoch=5, position=0x4D, defer_constraints=False, on_durable=lambda _: None
        )
        blocks = [0]
        for end in range(0x4E, 0x4E + 1200):
            work.begin(sure=end % 2 == 0)
            work.close(end, 1, durable=False)
            pipeline.drain()
            if (end - 0x4D) % 300 == 0:
                blocks.append(_blocks(pipeline))
    touched = [(after - before) / 300 for before, after in itertools.pairwise(blocks)]
    assert touched[-1] < 10, touched
    with target_cluster.connect(target_db) as connection:
        found = bookmark.read(connection, "aa")
    assert found is not None
    assert format_lsn(found.lsn) == format_lsn(0x4D + 1200)


def _blocks(pipeline: Pipeline) -> int:
    pipeline.query(b"SELECT pg_stat_force_next_flush()")
    found = pipeline.query(
        b"SELECT heap_blks_hit + heap_blks_read FROM pg_statio_all_tables WHERE relid = 'towpath.bookmark'::regclass"
    )
    return int(found.get_value(0, 0) or b"0")
