"""Batches bring what the row path brings, and say what it says when something does not fit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migrations_app.engine.errors import ConflictError, ConnectionLost, EngineError
from tests.postgres import batches_kit
from tests.postgres.sync_kit import APPLY, Pair, force_path

# Fixtures that stand in the kit.
pair = batches_kit.pair
batches = batches_kit.batches
by_rows = batches_kit.by_rows
small = batches_kit.small


ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, what text, n int)"


def test_many_changes_take_few_statements(pair: Pair, by_rows: list[object]) -> None:
    pair.build(ORDERS + "; CREATE TABLE log (n int)")
    pair.at_source(
        "INSERT INTO orders SELECT g, 'x', 0 FROM generate_series(1, 500) g",
        "INSERT INTO log SELECT generate_series(1, 9)",
        "UPDATE orders SET n = n + 1",
        "DELETE FROM orders WHERE id % 2 = 0",
    )
    pair.catch_up()
    pair.assert_equal()
    assert by_rows == []


def test_a_transaction_larger_than_a_batch_is_committed_as_one(pair: Pair, small: None, by_rows: list[object]) -> None:
    pair.build(ORDERS)
    pair.at_source("INSERT INTO orders SELECT g, 'x', 0 FROM generate_series(1, 2000) g", "UPDATE orders SET n = 1")
    pair.catch_up()
    pair.assert_equal()
    commits = "SELECT count(DISTINCT xmin::text) FROM orders"
    assert int(pair.value(commits, "target")) > 1  # savepoints: several batches
    assert pair.value("SELECT n FROM towpath.bookmark", "target") <= 3
    assert by_rows == []


def test_a_batch_does_not_lock_more_tables_than_a_server_has_room_for(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{APPLY}._MOST_TABLES", 5)
    pair.build("; ".join(f"CREATE TABLE m{number} (id int PRIMARY KEY)" for number in range(23)))
    pair.at_source(*(f"INSERT INTO m{number} VALUES (1)" for number in range(23)))
    pair.catch_up()
    pair.assert_equal()
    assert pair.value("SELECT n FROM towpath.bookmark", "target") >= 4


def test_only_the_tables_that_need_it_go_row_by_row(pair: Pair, by_rows: list[object]) -> None:
    pair.build(ORDERS + "; CREATE TABLE bag (n int); ALTER TABLE bag REPLICA IDENTITY FULL")
    pair.at_source("INSERT INTO bag VALUES (1), (1), (2); INSERT INTO orders VALUES (1)", "DELETE FROM bag WHERE n = 2")
    pair.catch_up()
    pair.assert_equal()
    oid = pair.value("SELECT 'bag'::regclass::oid::bigint")
    assert by_rows == [{oid}]


@pytest.mark.parametrize("change", ["UPDATE orders SET n = 1", "DELETE FROM orders", "INSERT INTO orders VALUES (9)"])
def test_few_changes_that_are_committed_at_once_commit_nothing_when_one_does_not_fit(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    force_path(monkeypatch, "rows")
    pair.build(ORDERS + "; CREATE TABLE other (id int PRIMARY KEY)")
    pair.at_source("INSERT INTO orders VALUES (1)")
    pair.catch_up()
    pair.at_target("DELETE FROM orders; INSERT INTO orders VALUES (9)")
    before = pair.value("SELECT lsn::text FROM towpath.bookmark", "target")
    pair.at_source(f"BEGIN; INSERT INTO other VALUES (1); {change}; COMMIT")
    with pytest.raises(ConflictError):
        pair.catch_up()
    assert pair.value("SELECT count(*) FROM other", "target") == 0
    assert pair.value("SELECT lsn::text FROM towpath.bookmark", "target") == before


def test_a_few_swallowed_inserts_are_seen_when_committed_at_once(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    force_path(monkeypatch, "rows")
    pair.build(ORDERS)
    with pair.syncing() as session:
        pair.at_target(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER no BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION no();"
            "ALTER TABLE orders ENABLE ALWAYS TRIGGER no"
        )
        pair.at_source("INSERT INTO orders VALUES (1), (2)")
        with pytest.raises(ConflictError, match=r"\(id=1\) stored no row"):
            session.advance()


def test_unique_values_that_change_hands_arrive(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, slug text UNIQUE)")
    pair.at_source("INSERT INTO t SELECT g, 's' || g FROM generate_series(1, 50) g")
    pair.catch_up()
    pair.at_source(
        "BEGIN; UPDATE t SET slug = 'tmp' WHERE id = 1;"
        " DO $$ BEGIN FOR i IN 2..50 LOOP UPDATE t SET slug = 's' || i - 1 WHERE id = i; END LOOP; END $$;"
        " UPDATE t SET slug = 's50' WHERE id = 1; COMMIT",
        "DELETE FROM t WHERE slug = 's7'; INSERT INTO t VALUES (60, 's7')",
    )
    pair.catch_up()
    pair.assert_equal()


def scenarios() -> Iterator[tuple[str, str, str]]:
    """What is on the target only, what changes on the source, and words of the message."""
    yield "INSERT INTO orders VALUES (7, 'foreign')", "INSERT INTO orders SELECT generate_series(1, 9)", "id=7"
    yield "DELETE FROM orders WHERE id = 103", "UPDATE orders SET n = 5", "(id=103) found no row"
    yield "DELETE FROM orders WHERE id = 103", "DELETE FROM orders", "(id=103) found no row"
    yield "DELETE FROM orders WHERE id = 103", "UPDATE orders SET id = id + 1000", "(id=103) found no row"
    yield "INSERT INTO orders VALUES (1105)", "UPDATE orders SET id = id + 1000", "update of public.orders (id=105)"
    yield (
        "INSERT INTO orders VALUES (5)",
        "INSERT INTO orders VALUES (5); DELETE FROM orders WHERE id = 5",
        "insert of public.orders (id=5)",
    )
    yield "ALTER TABLE orders ADD CHECK (n < 3)", "UPDATE orders SET n = id - 100", "check_check"


@pytest.mark.parametrize(("there", "change", "words"), scenarios())
def test_a_conflict_is_told_as_the_row_path_tells_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, there: str, change: str, words: str
) -> None:
    pair.build(ORDERS)
    pair.at_source("INSERT INTO orders SELECT g, 'x', 0 FROM generate_series(101, 109) g")
    pair.catch_up()
    position = pair.value("SELECT lsn::text FROM towpath.bookmark", "target")
    pair.at_target(there.replace("ADD CHECK", "ADD CONSTRAINT check_check CHECK"))
    pair.at_source(change)
    told = []
    for path in ("batches", "rows"):
        force_path(monkeypatch, path)
        with pytest.raises(ConflictError) as caught:
            pair.catch_up()
        told.append((caught.value.message, caught.value.hint, caught.value.code, caught.value.detail))
    assert told[0] == told[1]
    assert words in told[0][0]
    assert pair.value("SELECT lsn::text FROM towpath.bookmark", "target") == position


def test_a_conflict_late_in_a_large_transaction_takes_all_of_it_back(pair: Pair, small: None) -> None:
    pair.build(ORDERS)
    pair.catch_up()
    pair.at_target("INSERT INTO orders VALUES (1900, 'foreign')")
    pair.at_source("INSERT INTO orders SELECT g, 'x', 0 FROM generate_series(1, 2000) g")
    with pytest.raises(ConflictError, match="id=1900"):
        pair.catch_up()
    assert pair.value("SELECT count(*) FROM orders", "target") == 1
    pair.at_target("DELETE FROM orders")
    pair.catch_up()
    pair.assert_equal()


def test_a_table_whose_batch_failed_goes_row_by_row_for_a_while(pair: Pair, by_rows: list[object]) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, slug int UNIQUE)")
    pair.at_source("INSERT INTO t VALUES (1, 1), (2, 2)")
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        for _ in range(2):
            pair.at_source(
                "BEGIN; UPDATE t SET slug = 9 WHERE id = 1; UPDATE t SET slug = 1 WHERE id = 2;"
                " UPDATE t SET slug = 2 WHERE id = 1; COMMIT",
                "BEGIN; UPDATE t SET slug = 9 WHERE id = 1; UPDATE t SET slug = 2 WHERE id = 2;"
                " UPDATE t SET slug = 1 WHERE id = 1; COMMIT",
                "UPDATE t SET slug = slug + 100",
                "UPDATE t SET slug = slug - 100",
            )
            session.advance(until=pair.insert_lsn())
    pair.assert_equal()


def test_a_type_that_does_not_travel_in_binary_form_comes_as_text(pair: Pair) -> None:
    pair.build("CREATE TYPE spot AS (x int, y text); CREATE TABLE t (id int PRIMARY KEY, s spot, c regclass)")
    pair.at_source("INSERT INTO t VALUES (1, '(1,a)', 't'), (2, NULL, NULL)", "UPDATE t SET s = '(2,\"b c\")'")
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
    pair.assert_equal()


def test_a_stream_in_binary_form_is_opened_anew_when_such_a_type_comes_up(pair: Pair) -> None:
    pair.build("CREATE TYPE spot AS (x int, y text); CREATE TABLE t (id int PRIMARY KEY)")
    ddl = "ALTER TABLE t ADD COLUMN s spot"
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        pair.at_source(ddl, "INSERT INTO t VALUES (1, '(1,a)')")
        pair.at_target(ddl)
        with pytest.raises(ConnectionLost) as caught:
            session.advance(until=pair.insert_lsn())
    assert caught.value.retryable
    pair.catch_up()
    pair.assert_equal()


def test_a_key_in_binary_form_is_told_as_text(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id uuid, day date, PRIMARY KEY (id, day))")
    pair.at_source("INSERT INTO t VALUES ('0000000a-0000-0000-0000-000000000001', '2024-02-29')")
    pair.catch_up()
    pair.at_target("DELETE FROM t")
    pair.at_source("DELETE FROM t")
    with pytest.raises(EngineError, match=r"\(id=0000000a-0000-0000-0000-000000000001, day=2024-02-29\) found no row"):
        pair.catch_up()
