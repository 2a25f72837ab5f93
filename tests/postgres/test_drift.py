"""A table changes on the source while the sync runs: told old and new, and applied at its place."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.engine.drift import Change, ChangeKind, Doubt
from migrations_app.engine.errors import ConnectionLost, SchemaChanged
from migrations_app.engine.replication import reshaping
from tests.fakes import wait_until
from tests.postgres import drift_kit
from tests.postgres.drift_kit import ROWS, START, TABLE, allow, columns, stopped
from tests.postgres.sync_kit import Pair, force_path

# A fixture that stands in the kit.
pair = drift_kit.pair

# What happens on the source, the first row after it, and what the target is to run.
CHANGES = {
    "column": ("ALTER TABLE t ADD COLUMN c int", "(200, 'new', 5)", ['ADD COLUMN "c" integer']),
    "default": (
        "ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 7",
        "(200, 'new')",
        ["ADD COLUMN \"c\" integer DEFAULT '7'::integer NOT NULL", 'ALTER COLUMN "c" SET DEFAULT 7'],
    ),
    "default for a moment": (
        "ALTER TABLE t ADD COLUMN c text[] DEFAULT '{a,\"b c\"}'; ALTER TABLE t ALTER c DROP DEFAULT",
        "(200, 'new', NULL)",
        ['ADD COLUMN "c" text[] DEFAULT \'{a,"b c"}\'::text[]', 'ALTER COLUMN "c" DROP DEFAULT'],
    ),
    "dropped": ("ALTER TABLE t DROP COLUMN v", "(200)", ['DROP COLUMN "v"']),
    "renamed": ("ALTER TABLE t RENAME COLUMN v TO w", "(200, 'new')", ['RENAME COLUMN "v" TO "w"']),
    "retyped": (
        "ALTER TABLE t ALTER id TYPE bigint",
        "(200, 'new')",
        ['ALTER COLUMN "id" TYPE bigint USING "id"::bigint'],
    ),
}


@pytest.mark.sample(8)
@pytest.mark.parametrize("path", ["rows", "batches"])
@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_table_is_told_old_and_new_and_goes_on_when_the_statement_is_allowed(
    kind: str, path: str, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    force_path(monkeypatch, path)
    ddl, row, statements = CHANGES[kind]
    pair.build(TABLE, ROWS)
    pair.at_source("INSERT INTO t VALUES (101, '101')", "INSERT INTO other VALUES (1)", ddl)
    pair.at_source(f"INSERT INTO t VALUES {row}", "INSERT INTO other VALUES (2)", "DELETE FROM t WHERE id = 3")
    before = columns(pair)
    drift = stopped(pair)
    assert drift.statements == tuple(START + statement for statement in statements)
    assert drift.lsn > 0
    assert columns(pair) == before
    assert pair.value("SELECT count(*) FROM t WHERE id = 200", "target") == 0
    allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()
    assert pair.store.may_change[pair.source_db] == []
    assert [code for _, code, _ in pair.store.events] == ["DDL-APPLIED"]
    pair.at_source("UPDATE t SET id = id + 1000")
    pair.catch_up()
    pair.assert_equal()


def test_without_leave_the_sync_stops_at_the_same_place_again_and_again(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "INSERT INTO t VALUES (1, 'x', 2)")
    first = stopped(pair)
    assert stopped(pair) == first
    assert first.changes == (Change(kind=ChangeKind.ADDED, name="c", new="integer"),)


def test_leave_for_another_change_does_not_do(pair: Pair) -> None:
    pair.build(TABLE)
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "INSERT INTO t VALUES (1, 'x', 2)")
    drift = stopped(pair)
    allow(pair, replace(drift, digest="of another one"))
    assert stopped(pair) == drift
    assert columns(pair) == "id integer, v text"


@pytest.mark.parametrize(
    ("ddl", "doubt"),
    [
        ("ALTER TABLE t ADD COLUMN c float DEFAULT random()", Doubt.VALUES),
        ("ALTER TABLE t ADD COLUMN c serial", Doubt.VALUES),
        ("ALTER TABLE t ALTER v TYPE bigint USING v::bigint * 100", Doubt.VALUES),
        ("ALTER TABLE t ADD COLUMN c int GENERATED ALWAYS AS IDENTITY", Doubt.VALUES),
        ("ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN c text", Doubt.UNCLEAR),
    ],
)
def test_where_no_statement_is_certain_to_be_right_none_is_offered(pair: Pair, ddl: str, doubt: Doubt) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source(ddl, "INSERT INTO t (id) VALUES (200)")
    drift = stopped(pair)
    assert (drift.doubt, drift.statements) == (doubt, ())
    allow(pair, drift)
    assert stopped(pair) == drift


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_table_that_changes_within_a_transaction_changes_between_the_same_rows(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    pair.build(TABLE, ROWS)
    pair.at_source(
        "BEGIN; INSERT INTO t VALUES (201, 'old'); INSERT INTO other VALUES (1); ALTER TABLE t DROP COLUMN v;"
        " INSERT INTO t VALUES (202); INSERT INTO other VALUES (2); COMMIT"
    )
    allow(pair, stopped(pair))
    assert pair.value("SELECT count(*) FROM other", "target") == 0, "the whole transaction waits"
    pair.catch_up()
    pair.assert_equal()


def test_two_changes_are_told_and_applied_one_after_the_other(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("ALTER TABLE t ADD COLUMN a int", "INSERT INTO t VALUES (201, 'x', 1)")
    pair.at_source("ALTER TABLE t ADD COLUMN b int", "INSERT INTO t VALUES (202, 'x', 1, 2)")
    for name in ("a", "b"):
        drift = stopped(pair)
        assert drift.statements == (START + f'ADD COLUMN "{name}" integer',)
        allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_partitioned_table_is_changed_as_a_whole(pair: Pair, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    force_path(monkeypatch, path)
    pair.build(
        "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
        " CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (100);"
        " CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (100) TO (200)"
    )
    pair.at_source(
        "INSERT INTO m VALUES (1, 'x'), (101, 'x')", "INSERT INTO m SELECT g FROM generate_series(110, 170) g"
    )
    pair.at_source("ALTER TABLE m DROP COLUMN v", "INSERT INTO m VALUES (2), (102)")
    drift = stopped(pair)
    assert (drift.name, drift.statements) == ("m1", ('ALTER TABLE "public"."m" DROP COLUMN "v"',))
    allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()


def test_emptying_a_changed_table_goes_by_its_new_shape_too(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "TRUNCATE t", "INSERT INTO t VALUES (1, 'x', 2)")
    allow(pair, stopped(pair))
    pair.catch_up()
    pair.assert_equal()


def test_a_table_in_a_renamed_schema_is_changed_under_its_name_on_the_target(pair: Pair) -> None:
    pair.selection = replace(pair.selection, schema_targets={(pair.source_db, "s"): "z"})
    text = "CREATE SCHEMA {0}; CREATE TYPE {0}.kind AS ENUM ('x'); CREATE TABLE {0}.t (id int PRIMARY KEY)"
    pair.build(text.format("s"), target=text.format("z"))
    pair.at_source("ALTER TABLE s.t ADD COLUMN k s.kind DEFAULT 'x'", "INSERT INTO s.t VALUES (1)")
    drift = stopped(pair)
    assert drift.statements[0] == """ALTER TABLE "z"."t" ADD COLUMN "k" z.kind DEFAULT 'x'::z.kind"""
    allow(pair, drift)
    pair.catch_up()
    assert pair.value("SELECT k::text FROM z.t", "target") == "x"


def test_what_the_target_refuses_is_told_in_its_words_and_nothing_is_changed(pair: Pair) -> None:
    pair.build(TABLE, ROWS)
    pair.at_target("CREATE VIEW seen AS SELECT v FROM t")
    pair.at_source("INSERT INTO other VALUES (1)", "ALTER TABLE t DROP COLUMN v", "INSERT INTO t VALUES (200)")
    drift = stopped(pair)
    allow(pair, drift)
    with pytest.raises(SchemaChanged) as caught:
        pair.catch_up()
    assert "other objects depend on it" in caught.value.message
    assert caught.value.drift == drift
    assert columns(pair) == "id integer, v text"
    pair.at_target("DROP VIEW seen")
    pair.catch_up()
    pair.assert_equal()


def test_a_table_that_somebody_holds_on_the_target_is_tried_again_later(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reshaping, "_LOCK_TIMEOUT", b"SET LOCAL lock_timeout = '100ms'")
    pair.build(TABLE)
    pair.at_source("ALTER TABLE t ADD COLUMN c int", "INSERT INTO t VALUES (1, 'x', 2)")
    allow(pair, stopped(pair))
    with pair.target.connect(pair.target_db) as reader, reader.transaction():
        reader.execute("SELECT count(*) FROM t")
        with pytest.raises(ConnectionLost, match=r"changing the columns of public\.t"):
            pair.catch_up()
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("moment", ["changing", "changed"])
def test_a_kill_around_the_statement_loses_and_doubles_nothing(pair: Pair, moment: str) -> None:
    pair.build(TABLE, ROWS)
    pair.at_source("ALTER TABLE t ADD COLUMN c int NOT NULL DEFAULT 7", "INSERT INTO t VALUES (200, 'x', 2)")
    drift = stopped(pair)
    allow(pair, drift)
    pair.epoch += 1
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.postgres.sync_worker", moment],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    pickle.dump((pair.plan(), pair.store.databases, pair.store.table_rows, {}, pair.store.may_change), process.stdin)
    process.stdin.close()
    assert [process.stdout.readline() for _ in range(2)] == [b"syncing\n", f"{moment}\n".encode()]
    process.kill()
    process.wait()
    process.stdout.close()
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'towpath%'"
    wait_until(lambda: pair.value(ours, "target") == 0, what="the end of the killed worker's sessions")
    arrived = moment == "changed"
    assert (columns(pair) == "id integer, v text, c integer") == arrived
    assert (pair.value("SELECT count(*) FROM t WHERE id = 200", "target") == 1) == arrived
    pair.catch_up()
    pair.assert_equal()
    assert pair.store.may_change[pair.source_db] == []


INHERITED = {
    "dropped": ("ALTER TABLE base DROP COLUMN v", "(200)", 'ALTER TABLE "public"."base" DROP COLUMN "v"'),
    "renamed": (
        "ALTER TABLE base RENAME COLUMN v TO w",
        "(200, 'new')",
        'ALTER TABLE "public"."base" RENAME COLUMN "v" TO "w"',
    ),
    "retyped": (
        "ALTER TABLE base ALTER n TYPE bigint",
        "(200, 'new')",
        'ALTER TABLE "public"."base" ALTER COLUMN "n" TYPE bigint USING "n"::bigint',
    ),
    "own": ("ALTER TABLE heir DROP COLUMN o", "(200, 'new')", 'ALTER TABLE "public"."heir" DROP COLUMN "o"'),
}


@pytest.mark.parametrize("first", ["heir", "base"])
@pytest.mark.parametrize("kind", INHERITED)
def test_an_inherited_column_changes_with_the_table_that_it_comes_from(kind: str, first: str, pair: Pair) -> None:
    ddl, row, statement = INHERITED[kind]
    pair.build(
        "CREATE TABLE base (id int PRIMARY KEY, v text, n int)",
        "CREATE TABLE heir (PRIMARY KEY (id), o int) INHERITS (base)",
        "INSERT INTO base SELECT g, 'b' || g FROM generate_series(1, 9) g",
        "INSERT INTO heir SELECT g, 'h' || g, g, g FROM generate_series(11, 19) g",
    )
    second = "base" if first == "heir" else "heir"
    pair.at_source(ddl, f"INSERT INTO {first} VALUES {row}", f"INSERT INTO {second} VALUES {row.replace('200', '300')}")
    drift = stopped(pair)
    assert drift.statements == (statement,)
    allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()


def test_a_default_with_a_name_that_is_a_word_of_the_target_is_applied(pair: Pair) -> None:
    function = """CREATE FUNCTION f("json_value" int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'"""
    pair.build(f"{TABLE}; {function}", ROWS)
    pair.at_source("ALTER TABLE t ADD COLUMN n int DEFAULT f(json_value => 7)", "INSERT INTO t (id) VALUES (200)")
    drift = stopped(pair)
    assert drift.statements[-1] == START + 'ALTER COLUMN "n" SET DEFAULT public.f("json_value" => 7)'
    allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()


COMPUTED = (
    "CREATE TABLE t (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id * 2) STORED, v text);"
    " CREATE TABLE other (id int PRIMARY KEY)"
)


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_column_whose_expression_was_dropped_keeps_its_values_on_the_target(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    pair.build(COMPUTED, "INSERT INTO t (id) VALUES (1), (2)")
    pair.at_source("ALTER TABLE t ALTER g DROP EXPRESSION", "INSERT INTO t VALUES (3, 7, 'x')", "UPDATE t SET g = id")
    drift = stopped(pair)
    assert drift.statements == (START + 'ALTER COLUMN "g" DROP EXPRESSION',)
    allow(pair, drift)
    pair.catch_up()
    pair.assert_equal()


def test_a_computed_column_that_was_made_anew_as_a_stored_one_leaves_only_a_new_copy(pair: Pair) -> None:
    pair.build(COMPUTED, "INSERT INTO t (id) VALUES (1), (2)")
    pair.at_source("ALTER TABLE t DROP g, ADD g int", "INSERT INTO t (id, g) VALUES (3, 7)")
    drift = stopped(pair)
    assert (drift.doubt, drift.statements) == (Doubt.VALUES, ())
