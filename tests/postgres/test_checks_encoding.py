"""Check items in databases whose encoding is not UTF8: names there may be no text elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from migrations_app.demo.clusters import Cluster
from tests.postgres.checks_kit import check, login, plan


@pytest.fixture
def without_utf8(source_cluster: Cluster) -> Iterator[Callable[[str], str]]:
    """Makes a database of another encoding on the source; it is gone afterwards."""
    made = []

    def make(encoding: str) -> str:
        made.append(f"enc_{encoding}".lower())
        with source_cluster.connect() as connection:
            connection.execute(
                f"CREATE DATABASE {made[0]} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0".encode()
            )
        return made[0]

    yield make
    with source_cluster.connect() as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_a_role_whose_name_the_encoding_of_the_database_lacks_fails(
    without_utf8: Callable[[str], str], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    name = without_utf8("EUC_JP")
    task = plan(login(source_cluster), login(target_cluster), [(name, name)])
    assert check(task, "encoding").status == "passed"
    with source_cluster.connect() as connection:
        connection.execute('CREATE ROLE "🐘"')
        try:
            found = check(task, "encoding")
        finally:
            connection.execute('DROP ROLE "🐘"')
    assert found.status == "failed"
    assert "EUC_JP" in found.found
    assert "rename the roles" in found.hint


def test_a_name_that_is_no_utf8_is_not_taken_for_a_missing_right(
    without_utf8: Callable[[str], str], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    name = without_utf8("SQL_ASCII")
    with source_cluster.connect(name) as connection:
        connection.execute("SET client_encoding = 'SQL_ASCII'")
        connection.execute(b'CREATE TABLE "caf\xe9" (id int PRIMARY KEY)')
    found = check(plan(login(source_cluster), login(target_cluster), [(name, name)]), "source-readable")
    assert found.status == "failed"
    assert "UTF-8" in found.hint


def test_partitions_that_are_ranges_of_text_are_named_where_the_target_orders_it_otherwise(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE TABLE by_text (k text) PARTITION BY RANGE (k)")
        connection.execute('CREATE TABLE exact (k text COLLATE "C") PARTITION BY RANGE (k)')
        connection.execute("CREATE TABLE listed (k text) PARTITION BY LIST (k)")
    with target_cluster.connect() as there:
        there.execute("CREATE DATABASE plain_order LOCALE 'C' TEMPLATE template0")
    try:
        found = check(plan(login(source_cluster), login(target_cluster), [(source_db, "plain_order")]), "locale")
    finally:
        with target_cluster.connect() as there:
            there.execute("DROP DATABASE plain_order WITH (FORCE)")
    assert found.status == "warning"
    assert "public.by_text" in found.found
    assert "exact" not in found.found
    assert "listed" not in found.found


_NOT_UTF8 = {
    "table public.caf\\xe9": b'CREATE TABLE "caf\xe9" (id int PRIMARY KEY)',
    "column public.t.caf\\xe9": b'CREATE TABLE t (id int PRIMARY KEY, "caf\xe9" int)',
    "index public.i\\xe9": b'CREATE TABLE u (id int PRIMARY KEY); CREATE INDEX "i\xe9" ON u (id)',
    "view public.v\\xe9": b'CREATE VIEW "v\xe9" AS SELECT 1 AS x',
    "sequence public.s\\xe9": b'CREATE SEQUENCE "s\xe9"',
    "schema n\\xe9": b'CREATE SCHEMA "n\xe9"',
    "comment on table public.w": b"CREATE TABLE w (id int PRIMARY KEY); COMMENT ON TABLE w IS 'caf\xe9'",
    "function public.f": b"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''caf\xe9''::text'",
    "default public.d.v": b"CREATE TABLE d (id int PRIMARY KEY, v text DEFAULT 'caf\xe9')",
    "label of type public.e.caf\\xe9": b"CREATE TYPE e AS ENUM ('caf\xe9')",
    "query public.q": b"CREATE VIEW q AS SELECT 'caf\xe9'::text AS x",
    "constraint public.c": b"CREATE TABLE x (v text CONSTRAINT c CHECK (v <> 'caf\xe9'))",
    "expressions public.part": b"CREATE TABLE y (v text); CREATE INDEX part ON y (v) WHERE v <> 'caf\xe9'",
}


def test_what_is_no_utf8_in_a_database_without_an_encoding_is_named(
    without_utf8: Callable[[str], str], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    name = without_utf8("SQL_ASCII")
    task = plan(login(source_cluster), login(target_cluster), [(name, name)])
    with source_cluster.connect(name) as connection:
        connection.execute("SET client_encoding = 'SQL_ASCII'")
        connection.execute('CREATE TABLE "café" (id int PRIMARY KEY, v text)'.encode())
        connection.execute(b"INSERT INTO \"caf\xc3\xa9\" VALUES (1, 'caf\xe9')")
        assert check(task, "encoding").status == "passed"
        for statement in _NOT_UTF8.values():
            connection.execute(statement)
    found = check(task, "encoding")
    assert found.status == "failed"
    assert name in found.found
    by_hand = {line[3:] for line in found.sql.split("\n") if line.startswith("--")}
    renamed = set(_NOT_UTF8) - by_hand
    assert by_hand | renamed == set(_NOT_UTF8)
    assert {label.split()[0] for label in renamed} == {"table", "column", "index", "view", "sequence", "schema"}
    assert found.sql.count("RENAME") == len(renamed) + 1  # the index of the key


def test_the_statements_give_names_that_are_utf8(
    without_utf8: Callable[[str], str], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    name = without_utf8("SQL_ASCII")
    task = plan(login(source_cluster), login(target_cluster), [(name, name)])
    renamed = [statement for label, statement in _NOT_UTF8.items() if label.endswith("\\xe9") and "type" not in label]
    with source_cluster.connect(name) as connection:
        connection.execute("SET client_encoding = 'SQL_ASCII'")
        for statement in renamed:
            connection.execute(statement)
        connection.execute("SET client_encoding = 'UTF8'")
        statements = check(task, "encoding").sql
        assert len(statements.split("\n")) == len(renamed) + 1  # the index of the key
        connection.execute(statements.encode())
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relname = 'café'".encode()).fetchone() == (1,)
    assert check(task, "encoding").status == "passed"
