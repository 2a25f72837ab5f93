"""Every corruption of a row is found, and equal databases never raise an alarm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.ports import Comparison
from tests.postgres.compare_kit import compare_now, plan_for, server

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'great "x"');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE "Odd ""table"" %s" (
  id bigint PRIMARY KEY, "col %s" smallint, i int, n numeric, n2 numeric(20,5), r real, d double precision, m money,
  t text, v varchar(20), c char(12), nm name, q "char", b bytea, ts timestamp, tz timestamptz, dt date, tm time,
  tmz timetz, iv interval, bo boolean, e mood, pt point, ln line, ls lseg, bx box, pa path, po polygon, ci circle,
  ci4 cidr,
  ine inet, mac macaddr, mac8 macaddr8, bi bit(5), vb varbit, tv tsvector, tq tsquery, u uuid, x oidvector, j json,
  jb jsonb, jp jsonpath, ia int[], ta text[], pr pair, pra pair[], dom positive, ir int4range, nr numrange,
  tr tstzrange, im int4multirange,
  lsn pg_lsn, rc regclass, o oid, x8 xid8, gen int GENERATED ALWAYS AS (i * 2) STORED
);
INSERT INTO "Odd ""table"" %s" VALUES
 (1, 1, 2, 'NaN', 1.50000, 'NaN', '-0', 12.34, 'text', 'v', 'pad', 'name', 'x', '\\x0001ff', '4713-01-01 BC',
  'infinity', '0044-03-15 BC', '24:00:00', '12:00:00+05:30', '-1 mon +2 days -03:00', true, 'great "x"', '(1.1,-0)',
  '{1,2,3}',
  '[(0,0),(1,1)]', '((0,0),(1,1))', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', '<(0,0),1>', '10.0.0.0/8', '10.0.0.1/32',
  '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', B'10101', B'1', 'a:1 b:2', 'a & b',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  '1 2 3',
  '{"b": 1,  "a": 1e400, "b": 2}', '{"b": 1, "a": 2}', '$.a[*]', '[2:3]={1,NULL}', '{"NULL",NULL,"","{}","\\""}',
  ROW(NULL, ''), ARRAY[ROW(1,'a b')::pair, NULL], 5, '[1,5)', 'empty', '(,2020-01-01]', '{[1,2),[5,9)}', '16/B374D848',
  'pg_catalog.pg_class', 42, '99');
INSERT INTO "Odd ""table"" %s" (id, i, d, r, t, n) SELECT g, g, g / 7.0::float8, 1e-45, repeat('ä', g % 50), g / 3.0
  FROM generate_series(2, 3000) g;
CREATE TABLE keyless (a int, b text);
INSERT INTO keyless SELECT g % 10, NULL FROM generate_series(1, 500) g;
CREATE TABLE empty_columns ();
INSERT INTO empty_columns DEFAULT VALUES;
CREATE TABLE measured (at date NOT NULL, v int, PRIMARY KEY (at, v)) PARTITION BY RANGE (at);
CREATE TABLE measured_1 PARTITION OF measured FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE measured_rest PARTITION OF measured DEFAULT;
INSERT INTO measured SELECT '2020-06-01'::date + g, g FROM generate_series(1, 500) g;
"""

SMALL = """
CREATE TABLE t (id int PRIMARY KEY, d double precision, txt text, c char(6), j json, a int[], b bytea, n numeric);
INSERT INTO t SELECT g, 0, 'x' || g, 'ab', '{"a":1}', '{1,2}', '\\x00ff00', 1.5 FROM generate_series(1, 2000) g;
CREATE TABLE keyless (a int, b text);
INSERT INTO keyless SELECT g % 10, NULL FROM generate_series(1, 500) g;
"""

CORRUPTIONS = {
    "one bit of a bytea": "UPDATE t SET b = set_bit(b, 5, 1) WHERE id = 7",
    "a lost row": "DELETE FROM t WHERE id = 7",
    "a row too many": "INSERT INTO t VALUES (70007)",
    "the sign of zero": "UPDATE t SET d = '-0' WHERE id = 7",
    "NULL for the empty string": "UPDATE t SET txt = NULL WHERE id = 7",
    "a trailing blank in text": "UPDATE t SET txt = txt || ' ' WHERE id = 7",
    "blanks in a json value": "UPDATE t SET j = '{\"a\": 1}' WHERE id = 7",
    "other bounds of an array": "UPDATE t SET a = '[0:1]={1,2}' WHERE id = 7",
    "another scale of a numeric": "UPDATE t SET n = 1.50 WHERE id = 7",
    "two rows that swapped a value": "UPDATE t SET txt = CASE id WHEN 7 THEN 'x8' ELSE 'x7' END WHERE id IN (7, 8)",
}


def build(cluster: Cluster, database: str, script: str) -> None:
    with cluster.connect(database) as connection:
        connection.execute(script.encode())


@pytest.fixture
def compare(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> Callable[..., Comparison]:
    def run(script: str, corruption: str = "") -> Comparison:
        build(source_cluster, source_db, script)
        build(target_cluster, target_db, script + ";" + corruption)
        return compare_now(plan_for(server(source_cluster), server(target_cluster), source_db, target_db))

    return run


def table(comparison: Comparison, name: str) -> tuple[str, str, tuple[str, ...]]:
    [found] = [item for item in comparison.tables if item.name == name]
    return found.verdict, found.reason, found.sample_keys


def test_equal_databases_of_two_versions_are_equal(compare: Callable[..., Comparison]) -> None:
    comparison = compare(TYPES)
    assert [item for item in (*comparison.tables, *comparison.other) if item.verdict != "equal"] == []
    assert comparison.equal
    rows = {item.name: (item.source_rows, item.target_rows) for item in comparison.tables}
    assert rows["keyless"] == (500, 500)
    assert rows["empty_columns"] == (1, 1)
    assert rows["measured_rest"][0] + rows["measured_1"][0] == 500
    assert "measured" not in rows


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_found(compare: Callable[..., Comparison], name: str) -> None:
    comparison = compare(SMALL, CORRUPTIONS[name])
    verdict, reason, keys = table(comparison, "t")
    assert verdict == "differs"
    assert reason
    assert any(key.startswith(("id=7 (", "id=70007 (")) for key in keys), keys
    assert table(comparison, "keyless")[0] == "equal"
    assert not comparison.equal


def test_a_doubled_row_in_a_table_without_key_is_found(compare: Callable[..., Comparison]) -> None:
    doubled = "DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless WHERE a = 1);"
    doubled += "INSERT INTO keyless VALUES (3, NULL)"
    verdict, reason, keys = table(compare(SMALL, doubled), "keyless")
    assert verdict == "differs"
    assert reason == "1 missing on the target, 1 extra on the target"
    assert sorted(key.split(": ")[1] for key in keys) == [
        "50 on the source, 49 on the target",
        "50 on the source, 51 on the target",
    ]


def test_the_kind_of_each_difference_is_told(compare: Callable[..., Comparison]) -> None:
    changes = "DELETE FROM t WHERE id = 5; INSERT INTO t (id) VALUES (-1); UPDATE t SET d = 2 WHERE id = 6"
    verdict, reason, keys = table(compare(SMALL, changes), "t")
    assert verdict == "differs"
    assert reason == "1 missing on the target, 1 extra on the target, 1 different"
    assert sorted(keys) == ["id=-1 (extra on the target)", "id=5 (missing on the target)", "id=6 (different)"]


def test_an_empty_target_table_gives_twenty_samples_and_a_count(compare: Callable[..., Comparison]) -> None:
    verdict, reason, keys = table(compare(SMALL, "TRUNCATE t"), "t")
    assert verdict == "differs"
    assert reason == "2000 missing on the target"
    assert len(keys) == 20


def test_a_key_is_shown_shortened(compare: Callable[..., Comparison]) -> None:
    script = "CREATE TABLE wide (k text, i int, PRIMARY KEY (k, i)); INSERT INTO wide VALUES (repeat('k', 1000), 1)"
    verdict, _, keys = table(compare(script, "DELETE FROM wide"), "wide")
    assert verdict == "differs"
    assert all(len(key) < 240 for key in keys)
    assert keys[0].startswith("k=kkk")


def test_a_table_missing_on_the_target_differs(compare: Callable[..., Comparison]) -> None:
    comparison = compare(SMALL, "DROP TABLE keyless")
    assert table(comparison, "keyless")[:2] == ("differs", "missing on the target")
    assert not comparison.equal


def test_a_column_missing_on_the_target_differs(compare: Callable[..., Comparison]) -> None:
    comparison = compare(SMALL, "ALTER TABLE t DROP COLUMN n")
    assert table(comparison, "t")[:2] == ("differs", "columns missing on the target: n")


def test_the_order_of_columns_does_not_matter(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    build(source_cluster, source_db, "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x')")
    build(target_cluster, target_db, "CREATE TABLE t (b text, a int); INSERT INTO t VALUES ('x', 1)")
    assert compare_now(plan_for(server(source_cluster), server(target_cluster), source_db, target_db)).equal


def test_rows_in_the_wrong_partition_are_found(compare: Callable[..., Comparison]) -> None:
    script = "CREATE TABLE p (a int PRIMARY KEY); CREATE TABLE c () INHERITS (p); INSERT INTO p VALUES (1)"
    comparison = compare(script, "DELETE FROM p; INSERT INTO c VALUES (1)")
    assert {item.name: item.verdict for item in comparison.tables} == {"p": "differs", "c": "differs"}


def test_a_table_that_may_not_be_read_is_not_compared_and_not_equal(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    build(source_cluster, source_db, SMALL)
    build(target_cluster, target_db, SMALL)
    role = f"r_{source_db}"
    with source_cluster.connect(source_db) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'; GRANT SELECT ON t TO {role}".encode())
    reader = replace(server(source_cluster), user=role, password="pw")
    try:
        comparison = compare_now(plan_for(reader, server(target_cluster), source_db, target_db))
    finally:
        with source_cluster.connect(source_db) as connection:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())
    assert table(comparison, "keyless") == ("not_compared", "the source account may not read it", ())
    assert table(comparison, "t")[0] == "equal"
    assert not comparison.equal
