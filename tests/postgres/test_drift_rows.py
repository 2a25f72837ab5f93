"""What the look beside the stream tells of keys and of rows that come no more, and what it does not tell twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from migrations_app.engine.ports import TableState
from migrations_app.engine.replication import polling
from migrations_app.engine.replication.session import SyncSession
from migrations_app.engine.replication.told_rows import told_rows
from migrations_app.engine.shapes import read_shapes
from migrations_app.engine.sql import query
from tests.postgres import drift_kit
from tests.postgres.drift_kit import ROOT, ROWS, TABLE, allow, stopped
from tests.postgres.sync_kit import Pair

pair = drift_kit.pair  # a fixture that stands elsewhere


def looked(pair: Pair) -> list[tuple[str, str, str]]:
    """Look now, before anything is applied; return what was told."""
    polling._looked.clear()
    before = len(pair.store.events)
    with pair.running() as run, SyncSession(run, pair.database) as session:
        state = polling.Poll(run, pair.database, session.watch).look(pair.state, now=True)
        pair.store.save_database(state)
    return pair.store.events[before:]


def test_a_change_that_was_answered_is_not_told_once_more_until_it_is_applied(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source(ROWS)
    pair.catch_up()
    pair.at_source("ALTER TABLE t ADD COLUMN w int NOT NULL DEFAULT 7", "INSERT INTO t VALUES (1000, 'x', 9)")
    allow(pair, stopped(pair))
    assert looked(pair) == []
    pair.catch_up()
    pair.assert_equal()
    pair.at_source("ALTER TABLE t ADD COLUMN x int")
    ((_, code, said),) = looked(pair)
    assert code == "SRC-DDL"
    assert "column x exists only on the source" in said


def test_a_change_of_all_partitions_that_was_answered_for_one_is_not_told_for_another(pair: Pair) -> None:
    second = "; CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)"
    pair.build(ROOT + second)
    pair.at_source("ALTER TABLE p ADD COLUMN w int NOT NULL DEFAULT 7", "INSERT INTO p VALUES (150), (2)")
    drift = stopped(pair)
    assert drift.name == "p2"
    allow(pair, drift)
    assert looked(pair) == []
    pair.catch_up()
    pair.assert_equal()


def test_a_table_that_is_to_be_copied_again_is_not_told_once_more(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("ALTER TABLE t DROP COLUMN v, ADD COLUMN v int", "INSERT INTO t VALUES (1000, 9)")
    stopped(pair)
    pair.store.asked_again[pair.source_db] = [("public", "t")]
    assert looked(pair) == []
    pair.store.asked_again.clear()  # as if it had been taken back
    assert len(looked(pair)) == 1
    assert looked(pair) == []


@pytest.mark.parametrize(
    ("ddl", "source", "after"),
    [
        ("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (code)", "(code)", '("code")'),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (code, id)", "(code, id)", '("code", "id")'),
    ],
    ids=["another", "wider"],
)
def test_another_primary_key_is_told_before_a_row_is_refused_for_it(
    pair: Pair, ddl: str, source: str, after: str
) -> None:
    pair.build("CREATE TABLE t (id int PRIMARY KEY, code int NOT NULL)")
    pair.at_source("INSERT INTO t VALUES (1, 10), (2, 20)")
    pair.catch_up()
    assert looked(pair) == []
    pair.at_source(ddl)
    statement = f'ALTER TABLE "public"."t" DROP CONSTRAINT "t_pkey", ADD PRIMARY KEY {after}'
    ((level, code, said),) = looked(pair)
    assert (level, code) == ("warning", "SRC-DDL")
    assert f"is {source} on the source and (id) on the target" in said
    assert f"run on the target: {statement}." in said
    assert looked(pair) == []
    pair.at_target(statement)
    assert looked(pair) == []
    pair.at_source("UPDATE t SET code = code + 1", "INSERT INTO t VALUES (1, 30)")
    pair.catch_up()
    pair.assert_equal()


def test_a_narrower_primary_key_is_not_said_to_refuse_rows_on_the_target(pair: Pair) -> None:
    pair.build("CREATE TABLE t (id int NOT NULL, code int NOT NULL, PRIMARY KEY (id, code))")
    pair.at_source("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (id)")
    ((_, _, said),) = looked(pair)
    assert "is (id) on the source and (id, code) on the target, which takes rows that the source would refuse" in said
    assert 'DROP CONSTRAINT "t_pkey", ADD PRIMARY KEY ("id")' in said


def test_another_primary_key_of_a_partitioned_table_is_told_once_for_all_partitions(pair: Pair) -> None:
    pair.build(ROOT.replace("(id int PRIMARY KEY)", "(id int, n int NOT NULL, PRIMARY KEY (id))"))
    pair.at_source("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)")
    pair.at_target("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200)")
    looked(pair)
    pair.at_source("ALTER TABLE p DROP CONSTRAINT p_pkey, ADD PRIMARY KEY (n, id)")
    ((_, _, said),) = looked(pair)
    assert 'ALTER TABLE "public"."p" DROP CONSTRAINT "p_pkey", ADD PRIMARY KEY ("n", "id")' in said


def test_a_key_whose_column_got_another_name_is_told_as_that_alone(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("ALTER TABLE t RENAME COLUMN id TO number")
    ((_, _, said),) = looked(pair)
    assert "number exists only on the source" in said


def test_a_table_that_is_unlogged_from_now_on_is_told(pair: Pair) -> None:
    """Since 10 the server refuses it for a table that is published; before, nothing is."""
    pair.at_source(TABLE)
    known = [
        TableState(database=pair.source_db, schema=one.schema, name=one.name, oid=one.oid) for one in pair.tables()
    ]
    with pair.source.connect(pair.source_db) as connection:
        before = connection.execute(query("shapes_hash")).fetchone()
        connection.execute("ALTER TABLE t SET UNLOGGED")
        assert connection.execute(query("shapes_hash")).fetchone() != before
        here = read_shapes(cast(Any, connection))
    ((place, statement, *_),) = told_rows(known, here, {}, lambda place: place, lambda _: [], ())
    assert (place, statement) == (("public", "t"), 'ALTER TABLE "public"."t" SET LOGGED')
    assert told_rows([replace(one, unlogged=True) for one in known], here, {}, lambda one: one, lambda _: [], ()) == []
