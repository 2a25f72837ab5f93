"""Check items about rows that are too large: to be sent at all, or to pass quickly."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import row_sizes
from migrations_app.engine.checks import sendable
from migrations_app.engine.plan import Plan
from tests.postgres import shape_kit
from tests.postgres.checks_kit import check, login, plan
from tests.postgres.shape_kit import Connection

# Fixtures that stand in the kit.
task = shape_kit.task
shop = shape_kit.shop
there = shape_kit.there


def test_very_large_rows_are_a_warning(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE t (b bytea); ALTER TABLE t ALTER b SET STORAGE EXTERNAL")
    shop.execute("INSERT INTO t SELECT decode(repeat('ab', 100000), 'hex')")
    assert check(task, "large-values").status == "passed"
    shop.execute("TRUNCATE t; INSERT INTO t VALUES (convert_to(repeat('x', 110 << 20), 'UTF8'))")
    result = check(task, "large-values")
    assert result.status == "warning"
    assert "public.t" in result.found
    shop.execute("INSERT INTO t SELECT '' FROM generate_series(1, 9); ANALYZE t")
    assert check(task, "large-values").status == "passed"


def test_a_row_that_cannot_be_sent_is_named_with_its_key(
    shop: Connection, task: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_sizes, "MOST_BYTES", 1_000_000)
    shop.execute('CREATE TABLE "fi les" (id int PRIMARY KEY, size text, doc bytea)')
    shop.execute(
        "INSERT INTO \"fi les\" SELECT i, repeat('x', 300000), decode(repeat('ab', 300000), 'hex')"
        " FROM generate_series(1, 3) i"
    )
    assert check(task, "large-values").status == "passed"
    shop.execute("UPDATE \"fi les\" SET size = repeat('x', 800000) WHERE id = 2")  # a few kB, compressed
    result = check(task, "large-values")
    assert result.status == "failed"
    assert "ROW-TOOBIG: row (2) of public.fi les has 1.1 MB" in result.found


def test_arrays_of_texts_count_with_what_is_stored_of_them(
    shop: Connection, task: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_sizes, "MOST_BYTES", 1_000_000)
    shop.execute("CREATE TABLE lists (id int PRIMARY KEY, a varchar(20)[], b char(9)[], c varchar(9)[][], d bytea[])")
    shop.execute("INSERT INTO lists (id, a) SELECT i, array_fill('x'::varchar, ARRAY[i]) FROM generate_series(1, 3) i")
    assert check(task, "large-values").status == "passed"
    shop.execute("ALTER TABLE lists ALTER a SET STORAGE EXTERNAL")
    shop.execute("UPDATE lists SET a = array_fill(repeat('x', 20)::varchar, ARRAY[50000]) WHERE id = 2")
    assert "ROW-TOOBIG: row (2) of public.lists" in check(task, "large-values").found


def test_a_bytea_that_travels_as_text_counts_twice(
    shop: Connection, task: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_sizes, "MOST_BYTES", 1_000_000)
    shop.execute("CREATE TABLE files (doc bytea, words tsvector)")
    shop.execute("INSERT INTO files VALUES (decode(repeat('ab', 600000), 'hex'))")
    assert "ROW-TOOBIG" in check(task, "large-values").found
    shop.execute("ALTER TABLE files DROP words")
    assert check(task, "large-values").status == "passed"


def test_a_bytea_of_a_database_that_is_not_unicode_counts_twice(
    source_cluster: Cluster, target_cluster: Cluster, target_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_sizes, "MOST_BYTES", 1_000_000)
    made = "CREATE DATABASE {} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0"
    with source_cluster.connect() as connection, target_cluster.connect() as there:
        for one in (connection, there):
            one.execute(made.format("latin_rows").encode())
        try:
            with source_cluster.connect("latin_rows") as rows:
                rows.execute("CREATE TABLE files (doc bytea)")
                rows.execute("INSERT INTO files VALUES (decode(repeat('ab', 600000), 'hex'))")
            for name in ("latin_rows", target_db, "missing_there"):
                task = plan(login(source_cluster), login(target_cluster), [("latin_rows", name)])
                assert "ROW-TOOBIG" in check(task, "large-values").found, name
        finally:
            for one in (connection, there):
                one.execute("DROP DATABASE latin_rows WITH (FORCE)")


def test_a_bytea_for_a_target_that_is_not_unicode_counts_twice(
    shop: Connection, there: Connection, task: Plan, source_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_sizes, "MOST_BYTES", 1_000_000)
    shop.execute("CREATE TABLE files (doc bytea)")
    shop.execute("INSERT INTO files VALUES (decode(repeat('ab', 600000), 'hex'))")
    assert check(task, "large-values").status == "passed"
    there.execute("CREATE DATABASE latin_there ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        other = replace(task, databases=(replace(task.databases[0], target_name="latin_there"),))
        assert "ROW-TOOBIG" in check(other, "large-values").found
    finally:
        there.execute("DROP DATABASE latin_there WITH (FORCE)")


def test_a_table_that_could_not_be_read_in_the_time_is_a_warning_that_says_so(
    shop: Connection, task: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_sizes, "MOST_BYTES", 1_000_000)
    shop.execute("CREATE TABLE files (doc bytea); ALTER TABLE files ALTER doc SET STORAGE EXTERNAL")
    shop.execute("INSERT INTO files VALUES (decode(repeat('ab', 100000), 'hex'))")
    assert check(task, "large-values").status == "passed"
    monkeypatch.setattr(sendable, "LOOK_SECONDS", 0)
    result = check(task, "large-values")
    assert result.status == "warning"
    assert "Not read within 0 s" in result.found
    assert "public.files" in result.found
