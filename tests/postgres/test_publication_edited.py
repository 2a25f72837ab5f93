"""A publication that somebody edits while the sync runs: noticed from beside it, told with what mends it."""

from __future__ import annotations

import time

import pytest

from migrations_app.engine.errors import EngineError, SourceError
from migrations_app.engine.replication.polling import Poll
from migrations_app.engine.replication.session import SyncSession
from tests.postgres import sync_faults_kit
from tests.postgres.sync_faults_kit import TABLE
from tests.postgres.sync_kit import Pair

pair = sync_faults_kit.pair


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
            "copy these tables again",
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
    pair.at_source(statements, "INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)", "UPDATE t SET v = 'x'")
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


PUT_BACK = ("ALTER PUBLICATION $p DROP TABLE t", "ALTER PUBLICATION $p ADD TABLE t")


def edited_between_sessions(pair: Pair, *statements: str) -> None:
    """Sync, and run statements on the source once the session is closed."""
    pair.build(TABLE + "; CREATE TABLE u (id int PRIMARY KEY)")
    pair.catch_up()
    pair.at_source(*(one.replace("$p", f'"{pair.state.publication}"') for one in statements))


def test_a_table_put_back_between_two_slices_is_told_once(pair: Pair) -> None:
    edited_between_sessions(pair, *PUT_BACK)
    with pytest.raises(SourceError, match=r"put them back: public\.t\.") as caught:
        pair.catch_up()
    assert caught.value.code == "SRC-PUBLICATION"
    pair.at_source("INSERT INTO t VALUES (1)", "INSERT INTO u VALUES (1)")
    pair.catch_up()
    pair.assert_equal()


def test_a_table_put_back_beside_one_that_is_missing_is_told_after_that_one(pair: Pair) -> None:
    edited_between_sessions(pair, *PUT_BACK, "ALTER PUBLICATION $p DROP TABLE u")
    with pytest.raises(SourceError, match=r"Missing: public\.u\."):
        pair.catch_up()
    pair.at_source(f'ALTER PUBLICATION "{pair.state.publication}" ADD TABLE u')
    with pytest.raises(SourceError, match=r"put them back: public\.t\."):
        pair.catch_up()
    pair.catch_up()


def test_what_another_process_may_have_told_already_is_not_told_again(pair: Pair) -> None:
    edited_between_sessions(pair, *PUT_BACK)
    pair.epoch += 1
    pair.at_source("INSERT INTO t VALUES (1)")
    pair.catch_up()
    pair.assert_equal()


def test_a_table_put_back_before_the_first_look_of_a_slice_is_told_by_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations_app.engine.replication.polling._SECONDS", 0.0)
    pair.build(TABLE)
    with pair.running() as run, SyncSession(run, pair.database) as session:
        pair.at_source(*(one.replace("$p", f'"{pair.state.publication}"') for one in PUT_BACK))
        with pytest.raises(SourceError, match="put them back"):
            Poll(run, pair.database, session.watch).look(pair.state)
    pair.catch_up()
