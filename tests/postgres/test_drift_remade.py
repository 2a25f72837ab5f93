"""A column is replaced by another of the same name and type: nothing but its number in the catalog tells that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrations_app.engine.drift import ChangeKind, Doubt
from migrations_app.engine.errors import EngineError, SchemaChanged
from migrations_app.engine.replication.polling import Poll
from migrations_app.engine.replication.session import SyncSession
from tests.postgres import drift_kit
from tests.postgres.drift_kit import ROWS, TABLE, allow, stopped
from tests.postgres.sync_kit import Pair, force_path

# A fixture that stands in the kit.
pair = drift_kit.pair

WIDE = "CREATE TABLE t (id int PRIMARY KEY, a text, b text, c text); CREATE TABLE other (id int PRIMARY KEY)"
WIDE_ROWS = "INSERT INTO t SELECT g, 'a' || g, 'b' || g, 'c' || g FROM generate_series(1, 100) g"
SWAP = "ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME x TO b"
CHANGES = {
    "the last": ("ALTER TABLE t DROP COLUMN c; ALTER TABLE t ADD COLUMN c text DEFAULT 'new'", ["c"]),
    "one in between": ("ALTER TABLE t DROP COLUMN b; ALTER TABLE t ADD COLUMN b text", ["b"]),
    "swapped names": (SWAP, ["a", "b"]),
    "another's name": (
        "ALTER TABLE t DROP COLUMN c; ALTER TABLE t RENAME b TO c; ALTER TABLE t ADD b text",
        ["b", "c"],
    ),
}


def warned(pair: Pair) -> list[str]:
    """Sync a slice that looks at the source once, and return what it says about changed tables."""
    return [message for _, code, message in pair.look() if code == "SRC-DDL"]


@pytest.mark.sample(3)
@pytest.mark.parametrize("path", ["rows", "batches"])
@pytest.mark.parametrize("kind", CHANGES)
def test_the_sync_stops_before_the_first_row_that_has_another_column_by_the_same_name(
    kind: str, path: str, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    force_path(monkeypatch, path)
    ddl, names = CHANGES[kind]
    pair.build(WIDE, WIDE_ROWS)
    pair.at_source("INSERT INTO other VALUES (1)", ddl, "UPDATE t SET a = 'after' WHERE id = 7")
    drift = stopped(pair)
    assert (drift.doubt, drift.statements) == (Doubt.REMADE, ())
    assert [(change.kind, change.name) for change in drift.changes] == [(ChangeKind.REMADE, name) for name in names]
    assert pair.value("SELECT a FROM t WHERE id = 7", "target") == "a7"
    assert stopped(pair) == drift


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", CHANGES)
def test_a_session_that_knows_the_table_already_stops_there_as_well(kind: str, pair: Pair) -> None:
    pair.build(WIDE, WIDE_ROWS)
    pair.at_source("UPDATE t SET a = 'before' WHERE id = 7")
    with pair.running() as run, SyncSession(run, pair.database) as session:
        session.advance(until=pair.insert_lsn())
        assert pair.value("SELECT a FROM t WHERE id = 7", "target") == "before"
        pair.at_source(CHANGES[kind][0], "UPDATE t SET a = 'after' WHERE id = 7")
        with pytest.raises(SchemaChanged) as caught:
            session.advance(until=pair.insert_lsn())
    assert caught.value.drift is not None
    assert caught.value.drift.doubt is Doubt.REMADE
    assert pair.value("SELECT a FROM t WHERE id = 7", "target") == "before"


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", CHANGES)
def test_the_look_at_the_catalog_warns_once_of_such_a_column(kind: str, pair: Pair) -> None:
    ddl, names = CHANGES[kind]
    pair.build(WIDE, WIDE_ROWS)
    assert warned(pair) == []
    pair.at_source(ddl)
    (said,) = warned(pair)
    assert all(f"column {name} is another one on the source than the one that was copied" in said for name in names)
    assert warned(pair) == []


def test_what_nobody_knew_at_the_copy_is_known_from_the_first_look_on(pair: Pair) -> None:
    pair.build(WIDE, WIDE_ROWS)
    pair.store.save_tables(*(replace(one, numbers=()) for one in pair.store.tables(pair.source_db)))
    assert warned(pair) == []
    pair.at_source(SWAP)
    assert len(warned(pair)) == 1


@pytest.mark.long
def test_all_partitions_of_such_a_table_are_one_warning(pair: Pair) -> None:
    parts = [f"CREATE TABLE p{n} PARTITION OF p FOR VALUES FROM ({n}0) TO ({n + 1}0)" for n in range(1, 4)]
    pair.build("CREATE TABLE p (id int PRIMARY KEY, a text, b text) PARTITION BY RANGE (id)", *parts)
    assert warned(pair) == []
    pair.at_source(SWAP.replace(" t ", " p "))
    assert len(warned(pair)) == 1


@pytest.mark.parametrize(
    "ddl",
    [
        "ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME x TO a",
        "ALTER TABLE t ADD d int; ALTER TABLE t DROP d",
        "ANALYZE t",
    ],
)
def test_columns_that_are_what_they_were_stop_nothing(pair: Pair, ddl: str) -> None:
    pair.build(WIDE, WIDE_ROWS)
    pair.at_source("UPDATE t SET a = 'before' WHERE id = 7")
    with pair.running() as run, SyncSession(run, pair.database) as session:
        session.advance(until=pair.insert_lsn())
        pair.at_source(ddl, "UPDATE t SET a = 'after' WHERE id = 7")
        session.advance(until=pair.insert_lsn())
    pair.assert_equal()
    assert warned(pair) == []


def test_a_column_that_went_and_came_again_between_rows_is_followed_as_the_stream_tells_it(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("ALTER TABLE t DROP COLUMN v", "INSERT INTO t VALUES (200)")
    pair.at_source("ALTER TABLE t ADD COLUMN v text", "INSERT INTO t VALUES (201, 'new')")
    for _ in range(2):
        drift = stopped(pair)
        assert drift.doubt is not Doubt.REMADE
        allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()
    pair.at_source("INSERT INTO t VALUES (202, 'new')")
    assert warned(pair) == []
    pair.assert_equal()


@pytest.mark.long
def test_partitions_follow_such_a_column_one_after_the_other(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE p (id int PRIMARY KEY, a text, b text) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)",
    )
    pair.at_source("ALTER TABLE p DROP COLUMN b", "INSERT INTO p VALUES (1, 'a')", "ALTER TABLE p ADD COLUMN b text")
    pair.at_source("INSERT INTO p VALUES (2, 'a', 'b'), (11, 'a', 'b')")
    for _ in range(2):
        allow(pair, stopped(pair))
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("how", ["by itself", "when it is allowed", "by hand"])
def test_a_column_that_was_added_just_now_is_told_from_one_that_takes_its_place(pair: Pair, how: str) -> None:
    pair.selection = replace(pair.selection, follow="additions" if how == "by itself" else "ask")
    pair.build(TABLE, ROWS)
    warned(pair)
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "INSERT INTO t VALUES (200, 'x', 7)")
    if how == "when it is allowed":
        allow(pair, stopped(pair))
    elif how == "by hand":
        stopped(pair)
        pair.at_target("ALTER TABLE t ADD COLUMN c int")
    pair.catch_up()
    pair.at_source("ALTER TABLE t DROP COLUMN c; ALTER TABLE t ADD COLUMN c int", "UPDATE t SET v = 'y' WHERE id = 1")
    drift = stopped(pair)
    assert (drift.doubt, [change.name for change in drift.changes]) == (Doubt.REMADE, ["c"])
    assert pair.value("SELECT v FROM t WHERE id = 1", "target") == "1"


@pytest.mark.parametrize("how", ["by itself", "by hand", "by hand, and seen"])
def test_a_column_that_another_one_replaced_before_the_stream_came_to_it_is_not_taken_for_that(
    pair: Pair, how: str
) -> None:
    pair.selection = replace(pair.selection, follow="additions" if how == "by itself" else "ask")
    pair.build(TABLE, ROWS)
    warned(pair)
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "INSERT INTO t VALUES (200, 'x', 7)")
    if how != "by itself":
        stopped(pair)
        pair.at_target("ALTER TABLE t ADD COLUMN c int")
    pair.at_source("ALTER TABLE t DROP COLUMN c; ALTER TABLE t ADD COLUMN c int", "UPDATE t SET v = 'y' WHERE id = 1")
    if how == "by hand, and seen":
        with pair.running() as run, SyncSession(run, pair.database) as session:
            Poll(run, pair.database, session.watch).look(pair.state, now=True)
    for _ in range(2):
        drift = stopped(pair)
        doubt = Doubt.VALUES if how == "by itself" else Doubt.REMADE
        assert (drift.doubt, [change.name for change in drift.changes]) == (doubt, ["c"])
    assert pair.value("SELECT count(*) FROM t WHERE id = 200", "target") == 0


def test_a_column_that_the_target_did_not_keep_is_not_known(pair: Pair) -> None:
    pair.selection = replace(pair.selection, follow="additions")
    pair.build(TABLE, ROWS)
    warned(pair)
    pair.at_target("INSERT INTO t VALUES (200, 'in the way')")
    pair.at_source("ALTER TABLE t ADD COLUMN c int; INSERT INTO t VALUES (200, 'x', 7)")
    with pytest.raises(EngineError):
        pair.catch_up()
    assert not any("c" in dict(one.numbers) for one in pair.store.tables(pair.source_db))
    pair.at_target("DELETE FROM t WHERE id = 200")
    pair.catch_up()
    pair.assert_equal()
    assert any("c" in dict(one.numbers) for one in pair.store.tables(pair.source_db))


def test_columns_that_come_one_after_the_other_are_no_others(pair: Pair) -> None:
    pair.selection = replace(pair.selection, follow="additions")
    pair.build(TABLE, ROWS)
    warned(pair)
    pair.at_source("ALTER TABLE t ADD COLUMN c int, ADD COLUMN d int", "INSERT INTO t VALUES (200, 'x', 7, 8)")
    pair.catch_up()
    pair.at_source("ALTER TABLE t DROP COLUMN d", "INSERT INTO t VALUES (201, 'x', 7)")
    allow(pair, stopped(pair))
    pair.catch_up()
    pair.at_source("ALTER TABLE t ADD COLUMN e int", "INSERT INTO t VALUES (202, 'x', 7, 9)")
    pair.catch_up()
    pair.assert_equal()


REPLACED = "DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, v text)"


def test_rows_of_a_table_that_was_dropped_and_made_again_do_not_go_to_the_former_one(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        pair.at_source("UPDATE t SET v = 'last' WHERE id = 1", REPLACED, "INSERT INTO t VALUES (200, 'of the new one')")
        pair.at_source("INSERT INTO other VALUES (1)")
        session.advance(until=pair.insert_lsn())
    assert pair.value("SELECT count(*) || min(v) FILTER (WHERE id = 1) FROM t", "target") == "100last"
    assert pair.value("SELECT count(*) FROM other", "target") == 1
    with pytest.raises(SchemaChanged, match="was dropped on the source and made again") as caught:
        pair.catch_up()
    assert caught.value.drift is not None
    assert (caught.value.drift.doubt, caught.value.drift.name) == (Doubt.GONE, "t")
    assert "Press Drop from task" in caught.value.hint
    pair.store.save_tables(*drift_kit.dropped(pair, "t"))
    pair.at_source("INSERT INTO t VALUES (201)", "INSERT INTO other VALUES (2)")
    pair.catch_up()
    assert pair.value("SELECT count(*) FROM t", "target") == 100
    assert pair.value("SELECT count(*) FROM other", "target") == 2


def test_a_new_table_that_somebody_publishes_in_place_of_the_former_one_stops_the_sync(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    with pair.syncing() as session:
        session.advance(until=pair.insert_lsn())
        pair.at_source(REPLACED, f'ALTER PUBLICATION "{pair.state.publication}" ADD TABLE t')
        pair.at_source("INSERT INTO t VALUES (200, 'of the new one')")
        with pytest.raises(SchemaChanged, match="was dropped on the source and made again") as caught:
            session.advance(until=pair.insert_lsn())
    assert caught.value.drift is not None
    assert (caught.value.drift.doubt, caught.value.drift.database) == (Doubt.GONE, pair.source_db)
    pair.store.save_tables(*drift_kit.dropped(pair, "t"))
    pair.catch_up()
    assert pair.value("SELECT count(*) FROM t", "target") == 100


def test_the_look_beside_the_stream_tells_that_a_table_was_made_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations_app.engine.replication.polling._SECONDS", 0.0)
    pair.build(TABLE, ROWS)
    with pair.running() as run, SyncSession(run, pair.database) as session:
        poll = Poll(run, pair.database, session.watch)
        state = poll.look(pair.state)
        pair.at_source("DROP TABLE t")
        state = poll.look(state)
        pair.at_source("CREATE TABLE t (id int PRIMARY KEY, v text)")
        poll.look(state)
    said = [message for _, code, message in pair.store.events if code == "SRC-DDL"]
    assert ["gone from the source" in message for message in said] == [True, False]
    assert "made again: what is called so there now is another table" in said[1]
