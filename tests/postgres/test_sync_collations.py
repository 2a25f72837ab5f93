"""Texts that a collation takes for equal: the sync finds the very row that the source changed, by any path."""

from __future__ import annotations

import platform
from collections.abc import Iterator

import pytest

from tests.postgres.sync_kit import Pair, force_path
from tests.servers import Server, started

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="npm's PostgreSQL 18 with ICU is for x86-64 only"
)

COLLATION = "CREATE COLLATION same (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
NAMES = "('abc', 1), ('ABC', 2), ('Abc', 3), ('abC', 4), ('other', 5)"


@pytest.fixture(scope="module")
def with_icu() -> Iterator[Server]:
    with started("icu", "18", {"wal_level": "logical"}) as one:
        yield one


@pytest.fixture
def pair(with_icu: Server) -> Iterator[Pair]:
    made = Pair(with_icu, with_icu, "here", "there")
    with with_icu.connect() as admin:
        for name in ("here", "there"):
            admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'".encode())
    try:
        yield made
    finally:
        with with_icu.connect() as admin:
            slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = 'here'"
            admin.execute(slots.encode())
            for name in ("here", "there"):
                admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(params=["rows", "batches"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    force_path(monkeypatch, request.param)
    return str(request.param)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", ["text", "varchar(20)", "char(20)", "text[]"])
def test_of_rows_without_a_key_the_one_with_the_same_characters_is_changed(kind: str, pair: Pair) -> None:
    pair.build(
        COLLATION,
        f"CREATE TABLE t (v {kind} COLLATE same, n int); ALTER TABLE t REPLICA IDENTITY FULL",
        f"INSERT INTO t SELECT {'ARRAY[v]' if kind == 'text[]' else 'v'}, 0 FROM (VALUES {NAMES}) x(v, n)",
    )
    written = "v[1]" if kind == "text[]" else "v"
    changed = "ARRAY['ABc']" if kind == "text[]" else "'ABc'"
    pair.at_source(
        f"DELETE FROM t WHERE {written} = 'ABC' COLLATE \"C\"",
        f"UPDATE t SET v = {changed} WHERE {written} = 'Abc' COLLATE \"C\"",
        f"UPDATE t SET n = 7 WHERE {written} = 'abC' COLLATE \"C\"",
    )
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.usefixtures("path")
def test_a_key_that_changes_to_one_that_counts_as_equal_arrives(pair: Pair) -> None:
    pair.build(
        COLLATION,
        "CREATE TABLE t (v text COLLATE same PRIMARY KEY, n int)",
        "INSERT INTO t VALUES ('abc', 1), ('other', 2), ('gone', 3)",
    )
    pair.at_source(
        "UPDATE t SET v = 'ABC' WHERE v = 'abc'",
        "UPDATE t SET n = 8 WHERE v = 'abc'",
        "BEGIN; DELETE FROM t WHERE v = 'gone'; INSERT INTO t VALUES ('GONE', 4); COMMIT",
        "BEGIN; INSERT INTO t VALUES ('new', 5); UPDATE t SET v = 'NEW' WHERE v = 'new'; DELETE FROM t WHERE v = 'new';"
        " INSERT INTO t VALUES ('New', 6); COMMIT",
    )
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.usefixtures("path")
def test_a_full_identity_finds_rows_by_a_key_that_counts_texts_as_equal(pair: Pair) -> None:
    pair.build(
        COLLATION,
        "CREATE TABLE t (v text COLLATE same PRIMARY KEY, n int); ALTER TABLE t REPLICA IDENTITY FULL",
        "INSERT INTO t VALUES ('abc', 1), ('other', 2), ('gone', 3)",
    )
    pair.at_source(
        "UPDATE t SET v = 'ABC', n = 9 WHERE v = 'abc'", "DELETE FROM t WHERE v = 'GONE'", "UPDATE t SET n = n + 1"
    )
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("kind", ["text", "varchar(20)", "char(20)", "text[]"])
@pytest.mark.parametrize("identity", ["USING INDEX by_characters", "FULL"])
def test_rows_whose_keys_differ_only_to_their_index_are_not_taken_for_each_other(
    kind: str, identity: str, pair: Pair
) -> None:
    key = "ARRAY[v]" if kind == "text[]" else "v"
    pair.build(
        COLLATION,
        f"CREATE TABLE t (v {kind} COLLATE same NOT NULL, n int, large text);"
        ' CREATE UNIQUE INDEX by_characters ON t (v COLLATE "C");'
        f" ALTER TABLE t REPLICA IDENTITY {identity}; ALTER TABLE t ALTER COLUMN large SET STORAGE EXTERNAL",
        f"INSERT INTO t SELECT {key}, n, repeat(n::text, 9000) FROM (VALUES {NAMES}) x(v, n)",
    )
    at = "v[1]" if kind == "text[]" else "v"
    pair.at_source(
        "UPDATE t SET n = n + 10",
        "UPDATE t SET large = 'l' || n",
        f"DELETE FROM t WHERE {at} COLLATE \"C\" IN ('ABC', 'abC')",
        f"UPDATE t SET n = 7 WHERE {at} = 'Abc' COLLATE \"C\"",
        f"UPDATE t SET v = {'ARRAY[' if kind == 'text[]' else ''}'aBc'{']' if kind == 'text[]' else ''}"
        f" WHERE {at} = 'abc' COLLATE \"C\"",
    )
    pair.catch_up()
    pair.assert_equal()
