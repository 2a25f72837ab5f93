"""Tables of the task take each other's names on the source: told as one change, and done alike on the target."""

from __future__ import annotations

import pytest

from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.drift import Doubt
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.ports import NEVER, Kind
from migrations_app.engine.postdata import _restore_identities
from migrations_app.engine.replication.names_followed import TableRenamed
from migrations_app.engine.source_items import follow_names
from migrations_app.engine.source_setup import fix_identities
from tests.postgres import drift_kit
from tests.postgres.drift_kit import allow, stopped
from tests.postgres.sync_kit import Pair

pair = drift_kit.pair

TABLES = "CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text)"
ROWS = "INSERT INTO a VALUES (1, 'a'), (2, 'a'); INSERT INTO b VALUES (1, 'b'), (2, 'b')"
SWAP = "ALTER TABLE a RENAME TO aside; ALTER TABLE b RENAME TO a; ALTER TABLE aside RENAME TO b"


def followed(pair: Pair) -> None:
    """Sync until no table has to be given another name, then to the end of the stream."""
    for _ in range(10):
        try:
            pair.catch_up()
            break
        except TableRenamed:
            continue
    else:
        raise AssertionError("never done")
    pair.assert_equal()


def oid(pair: Pair, name: str) -> int:
    return int(pair.value(f"SELECT '{name}'::regclass::oid::bigint"))


@pytest.mark.parametrize("first", ["a", "b"])
def test_two_tables_that_swapped_names_are_asked_about_once_and_swapped_on_the_target(pair: Pair, first: str) -> None:
    pair.build(TABLES, ROWS)
    temporary = f"towpath_{oid(pair, 'a')}"
    second = "b" if first == "a" else "a"
    pair.at_source("INSERT INTO a VALUES (3, 'a before')", SWAP, f"UPDATE {first} SET v = v || ' after' WHERE id = 1")
    pair.at_source(f"DELETE FROM {second} WHERE id = 2")
    drift = stopped(pair)
    assert [(change.old, change.new) for change in drift.changes] == [
        ("public.a", "public.b"),
        ("public.b", "public.a"),
    ]
    assert (drift.lsn, drift.doubt) == (NEVER, Doubt.NONE)
    assert drift.statements == (
        f'ALTER TABLE "public"."a" RENAME TO "{temporary}"',
        'ALTER TABLE "public"."b" RENAME TO "a"',
        f'ALTER TABLE "public"."{temporary}" RENAME TO "b"',
    )
    allow(pair, drift)
    followed(pair)
    assert {state.name for state in pair.store.tables(pair.source_db)} == {"a", "b"}
    assert [code for _, code, _ in pair.store.events] == ["DDL-APPLIED", "DDL-APPLIED"]


def test_nobody_is_told_to_swap_names_by_hand(pair: Pair) -> None:
    pair.build(TABLES, ROWS)
    pair.at_source(SWAP, "INSERT INTO a VALUES (3)")
    with pytest.raises(SchemaChanged) as caught:
        pair.catch_up()
    assert "exchanged their names" in caught.value.message
    assert "Leave the tables of the target as they are" in caught.value.hint
    assert "rename it there yourself" not in caught.value.hint


@pytest.mark.long
@pytest.mark.parametrize("dies_at", [1, 2, 3])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_dies_within_a_swap_is_followed_by_one_that_ends_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, dies_at: int, when: str
) -> None:
    pair.build(TABLES, ROWS)
    pair.at_source(SWAP, "INSERT INTO b VALUES (3, 'after')", "INSERT INTO a VALUES (3, 'after')")
    allow(pair, stopped(pair))
    calls, write = [0], pair.store.renamed

    def dying(*values: object) -> None:
        calls[0] += 1
        if calls[0] == dies_at and when == "before":
            raise KeyboardInterrupt
        write(*values)  # type: ignore[arg-type]
        if calls[0] == dies_at and when == "after":
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pair.store, "renamed", dying)
        with pytest.raises(KeyboardInterrupt):
            followed(pair)
    followed(pair)


def test_three_tables_in_a_ring_are_followed(pair: Pair) -> None:
    pair.build(TABLES + "; CREATE TABLE c (id int PRIMARY KEY, v text)", ROWS + "; INSERT INTO c VALUES (1, 'c')")
    pair.at_source(
        "ALTER TABLE a RENAME TO aside; ALTER TABLE c RENAME TO a; ALTER TABLE b RENAME TO c;"
        " ALTER TABLE aside RENAME TO b",
        "INSERT INTO a VALUES (9, 'was c')",
        "INSERT INTO b VALUES (9, 'was a')",
        "INSERT INTO c VALUES (9, 'was b')",
    )
    allow(pair, stopped(pair))
    followed(pair)


def test_a_table_whose_new_name_another_one_has_left_waits_for_that_one(pair: Pair) -> None:
    pair.build(TABLES, ROWS)
    pair.at_source("ALTER TABLE b RENAME TO c; ALTER TABLE a RENAME TO b", "INSERT INTO b VALUES (9, 'was a')")
    first = stopped(pair)
    assert (first.name, first.statements) == ("b", ('ALTER TABLE "public"."b" RENAME TO "c"',))
    allow(pair, first)
    with pytest.raises(TableRenamed):
        pair.catch_up()
    second = stopped(pair)
    assert (second.name, second.statements) == ("a", ('ALTER TABLE "public"."a" RENAME TO "b"',))
    allow(pair, second)
    followed(pair)


def test_no_swap_is_offered_where_one_of_the_two_is_not_on_the_target(pair: Pair) -> None:
    pair.build(TABLES, ROWS)
    pair.at_target("DROP TABLE b")
    pair.at_source(SWAP, "INSERT INTO b VALUES (3)")
    drift = stopped(pair)
    assert (drift.doubt, drift.statements) == (Doubt.OTHER_NAME, ())


def test_no_swap_is_offered_with_a_table_that_was_dropped_from_the_task(pair: Pair) -> None:
    pair.build(TABLES, ROWS)
    pair.store.save_tables(*drift_kit.dropped(pair, "b"))
    pair.at_source(SWAP, "INSERT INTO b VALUES (3)")
    drift = stopped(pair)
    assert (drift.doubt, drift.statements) == (Doubt.OTHER_NAME, ())


def test_a_swap_that_was_taken_back_needs_no_answer(pair: Pair) -> None:
    pair.build(TABLES, ROWS)
    pair.at_source(SWAP, "INSERT INTO b VALUES (3, 'a')")
    stopped(pair)
    pair.at_source(SWAP)
    pair.catch_up()
    pair.assert_equal()


def keyless(pair: Pair) -> None:
    """Begin a sync of two tables without a key, whose replica identities have been changed for it."""
    pair.build("CREATE TABLE a (id int, v text); CREATE TABLE b (id int, v text)", ROWS)
    pair.at_source("ALTER TABLE b REPLICA IDENTITY NOTHING")
    with pair.running() as run, pair.source.connect(pair.source_db) as connection:
        assert fix_identities(run, pair.database, connection, pair.tables()) == 2


def identities(pair: Pair) -> dict[str, str]:
    query = "SELECT json_object_agg(relname, relreplident) FROM pg_class WHERE relname IN ('a', 'b', 'c')"
    return dict(pair.value(query))


def cancel(pair: Pair) -> None:
    with pair.running() as run:
        assert clean_up(run, keep_target_objects=True) == []
    assert [item for item in pair.ledger.items() if item.kind is Kind.REPLICA_IDENTITY] == []


@pytest.mark.parametrize("steps", range(3))
def test_who_cancels_within_a_swap_gets_the_replica_identities_of_the_source_back(pair: Pair, steps: int) -> None:
    keyless(pair)
    pair.at_source(SWAP, "INSERT INTO a VALUES (3, 'b')")
    allow(pair, stopped(pair))
    for _ in range(steps):
        with pytest.raises(TableRenamed):
            pair.catch_up()
        assert {item.name for item in pair.ledger.items() if item.kind is Kind.REPLICA_IDENTITY} == {"a", "b"}
    assert identities(pair) == {"a": "f", "b": "f"}
    cancel(pair)
    assert identities(pair) == {"a": "n", "b": "d"}


def test_a_table_that_took_the_name_of_a_dropped_one_keeps_its_replica_identity_when_the_task_is_cancelled(
    pair: Pair,
) -> None:
    keyless(pair)
    pair.at_source("DROP TABLE b", "CREATE TABLE b (id int); ALTER TABLE b REPLICA IDENTITY FULL")
    pair.at_source("ALTER TABLE a RENAME TO c")
    cancel(pair)
    assert identities(pair) == {"b": "f", "c": "d"}


def test_a_table_that_was_renamed_is_not_forgotten_for_a_new_one_of_its_name(pair: Pair) -> None:
    keyless(pair)
    pair.at_source("ALTER TABLE b RENAME TO c", "CREATE TABLE b (id int)")
    oid = pair.value("SELECT 'b'::regclass::oid::bigint")
    with pair.running() as run, pair.source.connect(pair.source_db) as connection:
        new = [table for table in pair.tables() if table.oid == oid]
        assert fix_identities(run, pair.database, connection, new) == 1
    assert identities(pair) == {"a": "f", "b": "f", "c": "f"}
    cancel(pair)
    assert identities(pair) == {"a": "d", "b": "d", "c": "n"}


def test_a_name_that_was_taken_back_leaves_nothing_of_the_task_on_the_target(pair: Pair) -> None:
    keyless(pair)
    pair.at_target("ALTER TABLE a REPLICA IDENTITY FULL")
    pair.at_source("ALTER TABLE a RENAME TO z; ALTER TABLE b RENAME TO c")
    with pair.running() as run, pair.source.connect(pair.source_db) as connection:
        follow_names(run, pair.source_db, connection)
    pair.at_source("ALTER TABLE z RENAME TO a; ALTER TABLE c RENAME TO b")
    with pair.running() as run, pair.target.connect(pair.target_db) as connection:
        _restore_identities(run, pair.database, connection)
    assert pair.value("SELECT relreplident::text FROM pg_class WHERE relname = 'a'", "target") == "d"


def test_a_ledger_that_knows_no_oids_learns_them_before_tables_exchange_their_names(pair: Pair) -> None:
    keyless(pair)
    for item in pair.ledger.items():
        if item.kind is Kind.REPLICA_IDENTITY:
            item.detail.pop("oid")
    pair.at_source(SWAP, "INSERT INTO a VALUES (3, 'b')")
    allow(pair, stopped(pair))
    with pytest.raises(TableRenamed):
        pair.catch_up()
    cancel(pair)
    assert identities(pair) == {"a": "n", "b": "d"}
