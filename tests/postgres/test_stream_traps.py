"""Traps of following a stream that other tools fell into, one test for each that has no better place.

docs/proofs.md lists all traps with their tests.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import names, slots, snapshot
from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import SourceError
from migrations_app.engine.plan import Side
from migrations_app.engine.replication import pipeline, polling
from migrations_app.engine.replication.pipeline import Pipeline
from migrations_app.engine.replication.session import SyncSession
from migrations_app.engine.steps import sync
from tests.fakes import FakeControl, wait_until
from tests.postgres.drift_kit import allow, stopped
from tests.postgres.sync_kit import Pair, force_path


@pytest.fixture
def alone(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    """A pair that goes whichever path is best."""
    return Pair(source_cluster, target_cluster, source_db, target_db)


@pytest.fixture(params=["rows", "batches"])
def pair(request: pytest.FixtureRequest, alone: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    force_path(monkeypatch, request.param)
    return alone


# Names and shapes that change in the middle of the stream


def test_a_schema_renamed_among_rows_lets_none_of_them_into_its_namesake(pair: Pair) -> None:
    pair.build("CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY)")
    pair.at_source(
        "BEGIN; INSERT INTO s.t VALUES (1); ALTER SCHEMA s RENAME TO away; CREATE SCHEMA s;"
        " CREATE TABLE s.t (id int PRIMARY KEY); INSERT INTO s.t VALUES (2); INSERT INTO away.t VALUES (3); COMMIT"
    )
    assert stopped(pair).renames
    assert pair.value("SELECT count(*) FROM s.t", "target") == 0, "the whole transaction waits"
    pair.at_source("DROP SCHEMA s CASCADE; ALTER SCHEMA away RENAME TO s")
    pair.catch_up()
    assert pair.rows("target") == {"s.t": ["(1)", "(3)"]}


@pytest.mark.parametrize("within", [False, True], ids=["between transactions", "within one"])
def test_a_table_that_has_its_name_again_takes_the_rows_that_were_written_under_the_other(
    pair: Pair, within: bool
) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, v text)")
    changes = [
        "INSERT INTO t VALUES (1, 'before')",
        "ALTER TABLE t RENAME TO u",
        "INSERT INTO u VALUES (2, 'away'); UPDATE u SET v = 'changed'",
        "ALTER TABLE u RENAME TO t",
        "DELETE FROM t WHERE id = 1",
    ]
    pair.at_source(*(["; ".join(changes)] if within else changes))
    pair.catch_up()
    pair.assert_equal()


def test_rows_are_found_after_another_index_has_become_their_identity(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE t (a int NOT NULL CONSTRAINT one UNIQUE, b int NOT NULL CONSTRAINT other UNIQUE, v text);"
        "ALTER TABLE t REPLICA IDENTITY USING INDEX one"
    )
    with pair.syncing() as session:
        pair.at_source(
            "INSERT INTO t SELECT g, -g, 'new' FROM generate_series(1, 9) g; UPDATE t SET b = b - 50 WHERE a < 3"
        )
        session.advance(until=pair.insert_lsn())
        pair.at_source(
            "ALTER TABLE t REPLICA IDENTITY USING INDEX other",
            "UPDATE t SET a = a + 100 WHERE b = -4; DELETE FROM t WHERE b = -5",
            "ALTER TABLE t DROP CONSTRAINT one",
            "BEGIN; UPDATE t SET a = 4, b = 77 WHERE b = -6; ALTER TABLE t REPLICA IDENTITY FULL;"
            " UPDATE t SET v = 'whole' WHERE a = 4; COMMIT",
        )
        session.advance(until=pair.insert_lsn())
    pair.at_target("ALTER TABLE t DROP CONSTRAINT one")
    pair.catch_up()
    pair.assert_equal()


def test_rows_are_found_by_all_columns_after_one_of_them_was_dropped_in_mid_stream(pair: Pair) -> None:
    pair.build("CREATE TABLE t (a int, gone text, b text); ALTER TABLE t REPLICA IDENTITY FULL")
    pair.at_source(
        "INSERT INTO t VALUES (1, 'x', NULL), (1, 'y', NULL), (2, NULL, 'b')",
        "BEGIN; UPDATE t SET b = 'mid' WHERE gone = 'x'; ALTER TABLE t DROP COLUMN gone;"
        " UPDATE t SET a = 3 WHERE b IS NULL; COMMIT",
        "DELETE FROM t WHERE a = 2; UPDATE t SET b = NULL",
    )
    allow(pair, stopped(pair))
    pair.catch_up()
    pair.assert_equal()


def test_rows_that_a_foreign_key_removes_from_a_table_left_out_do_not_concern_the_sync(pair: Pair) -> None:
    parent = "CREATE TABLE parent (id int PRIMARY KEY); "
    child = "CREATE TABLE child (id int PRIMARY KEY, up int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE)"
    pair.selection = pair.selection.toggle((pair.source_db, "public", "child"), False)
    pair.build(parent + child, target=parent)
    pair.at_source("INSERT INTO parent VALUES (1), (2), (3); INSERT INTO child VALUES (10, 1), (20, 2), (30, 3)")
    pair.at_source("DELETE FROM parent WHERE id = 1; UPDATE parent SET id = 5 WHERE id = 2", "TRUNCATE parent CASCADE")
    pair.at_source("INSERT INTO parent VALUES (6)")
    pair.catch_up()
    assert pair.rows("target") == {"public.parent": ["(6)"]}


def test_a_table_left_out_keeps_its_rows_on_the_target_when_those_that_they_refer_to_go(pair: Pair) -> None:
    pair.selection = pair.selection.toggle((pair.source_db, "public", "child"), False)
    pair.build(
        "CREATE TABLE parent (id int PRIMARY KEY);"
        "CREATE TABLE child (id int PRIMARY KEY, up int REFERENCES parent ON DELETE CASCADE)"
    )
    pair.at_source("INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (10, 1)")
    pair.catch_up()
    pair.at_target("INSERT INTO child VALUES (70, 1)")
    pair.at_source("DELETE FROM parent WHERE id = 1")
    pair.catch_up()
    pair.assert_equal()
    assert pair.value("SELECT array_agg(id) FROM child", "target") == [70]


# What comes before what


def test_the_publication_is_there_before_the_slot(alone: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    alone.at_source("CREATE TABLE t (id int PRIMARY KEY)")
    listed = "SELECT array_agg(tablename::text) FROM pg_publication_tables WHERE pubname ~ 'towpath'"
    real, seen = slots.create, []

    def create(*arguments: Any, **more: Any) -> Any:
        seen.append(
            (alone.value(listed), alone.value("SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ 'towpath'"))
        )
        return real(*arguments, **more)

    monkeypatch.setattr(slots, "create", create)
    with alone.running() as run:
        snapshot.open_first(run, alone.database).close()
    assert seen == [(["t"], 0)]


@pytest.mark.parametrize("side", Side)
def test_no_statement_of_a_session_is_prepared_behind_our_back(alone: Pair, side: Side) -> None:
    name = alone.source_db if side is Side.SOURCE else alone.target_db
    with alone.running() as run, run.sessions.session(side, name) as session:
        for number in range(20):
            assert session.execute("SELECT %s::int", (number,)).fetchone() == (number,)
        assert session.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


# A publication that somebody changes while the stream runs


def test_a_publication_that_is_changed_while_the_stream_runs_stops_it(
    alone: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "_SECONDS", 0.0)
    alone.build("CREATE TABLE t (id int PRIMARY KEY)")
    alone.at_source("INSERT INTO t VALUES (1)")

    def change() -> None:
        try:
            wait_until(lambda: alone.value("SELECT count(*) FROM t", "target") == 1, what="the sync")
            alone.at_source(f"ALTER PUBLICATION {names.quote(alone.state.publication)} DROP TABLE t")
        except BaseException:
            alone.control.yields = True
            raise

    changing = threading.Thread(target=change)
    changing.start()
    with pytest.raises(SourceError, match=r"Missing: public\.t") as caught, alone.running(slice_seconds=0.0) as run:
        sync.run(run)
    changing.join()
    assert caught.value.code == "SRC-PUBLICATION"


def test_a_publication_that_the_task_itself_adds_to_goes_on(alone: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_SECONDS", 0.0)
    alone.build("CREATE TABLE t (id int PRIMARY KEY)")
    with alone.running() as run, SyncSession(run, alone.database) as session:
        poll = polling.Poll(run, alone.database, session.watch)
        poll.look(alone.state)
        alone.at_source(
            "CREATE TABLE more (id int PRIMARY KEY); CREATE TABLE gone (id int)",
            f"ALTER PUBLICATION {names.quote(alone.state.publication)} ADD TABLE more, gone",
        )
        poll.look(alone.state)
        alone.at_source("DROP TABLE gone")
        assert poll.look(alone.state).shapes_seen


# A target that keeps the stream waiting


@pytest.fixture
def without_own_timeout(alone: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """A source as before 12: how long it waits for a sign of life is its own setting alone, here one second."""
    real = Sessions.open

    def opened(sessions: Sessions, *arguments: Any, **more: Any) -> Any:
        more.pop("wal_sender_timeout", None)
        return real(sessions, *arguments, **more)

    monkeypatch.setattr(Sessions, "open", opened)
    monkeypatch.setattr("migrations_app.engine.replication.stream._FEEDBACK_SECONDS", 0.2)
    alone.at_source(f"ALTER DATABASE \"{alone.source_db}\" SET wal_sender_timeout = '1s'")
    return alone


def test_a_large_transaction_that_waits_on_the_target_outlasts_the_patience_of_an_old_source(
    without_own_timeout: Pair,
) -> None:
    pair = without_own_timeout
    pair.build("CREATE TABLE t (id int PRIMARY KEY, v text)")
    pair.at_source("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 20000) g")
    reader = "SELECT pid FROM pg_stat_replication WHERE application_name LIKE 'towpath:%'"
    patience = "SELECT reply_time - %s::timestamptz > interval '3 s' FROM pg_stat_replication WHERE pid = %s"
    with pair.syncing() as session, pair.target.connect(pair.target_db) as holder:
        pid = pair.value(reader)
        until = pair.insert_lsn()
        holder.execute("BEGIN; LOCK TABLE t")
        applying = threading.Thread(target=session.advance, kwargs={"until": until}, daemon=True)
        applying.start()
        with pair.source.connect(pair.source_db) as source:
            (began,) = source.execute("SELECT clock_timestamp()::text").fetchone() or ("",)
            wait_until(
                lambda: source.execute(patience.encode(), (began, pid)).fetchone() == (True,),
                what="answers for longer than the source waits",
            )
        holder.execute("COMMIT")
        applying.join(60)
        assert not applying.is_alive()
        assert pair.value(reader) == pid, "the same reader all the time"
    pair.assert_equal()


# Both ends write


@pytest.fixture
def line(alone: Pair) -> Iterator[Pipeline]:
    """A pipeline whose line holds little."""
    with alone.running() as run, contextlib.ExitStack() as stack:
        connection = run.sessions.open(Side.TARGET, alone.target_db)
        stack.callback(connection.close)
        narrow(connection)
        yield Pipeline(connection, FakeControl().check)


def narrow(connection: psycopg.Connection[Any]) -> None:
    with socket.socket(fileno=connection.pgconn.socket) as wire:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            wire.setsockopt(socket.SOL_SOCKET, option, 65536)
        wire.detach()


def most_under_way(line: Pipeline) -> int:
    """Send 12 MB whose answers are as much; return how many bytes were sent and not answered at the worst moment."""
    line.prepare(b"asked", b"SELECT $1::text", "preparing")
    most = 0
    for number in range(800):
        line.send(b"asked", [b"x" * 16384], 1, number, 16384)
        most = max(most, line._bytes)
    line.sync()
    line.drain()
    assert not line._sent
    assert line._bytes == 0
    return most


def test_what_is_under_way_is_bounded_however_narrow_the_line(line: Pipeline) -> None:
    assert 16384 < most_under_way(line) <= pipeline._BYTES_UNDER_WAY + 16384


def test_without_bounds_both_ends_would_pile_up_what_the_other_does_not_read(
    line: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound in ("_BYTES_UNDER_WAY", "_STATEMENTS_UNDER_WAY", "_STATEMENTS_PER_TURN"):
        monkeypatch.setattr(pipeline, bound, 10**9)
    assert most_under_way(line) == 800 * 16384
