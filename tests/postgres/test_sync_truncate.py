"""TRUNCATE empties on the target what it emptied on the source, and nothing else."""

from __future__ import annotations

import pytest

from migrations_app.demo.clusters import Cluster
from tests.postgres.sync_kit import Pair, force_path


@pytest.fixture(autouse=True, params=["rows", "batches"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both paths bring the same."""
    force_path(monkeypatch, request.param)


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


def test_truncate_empties_the_same_tables(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (id int REFERENCES a);"
        " CREATE TABLE c (id int PRIMARY KEY)"
    )
    pair.at_source(
        "INSERT INTO a DEFAULT VALUES; INSERT INTO b VALUES (1); INSERT INTO c VALUES (1)",
        "TRUNCATE a RESTART IDENTITY CASCADE",
        "INSERT INTO a DEFAULT VALUES; INSERT INTO b VALUES (1)",
    )
    pair.catch_up()
    pair.assert_equal()


REFERRING = (
    "CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (id int, up int REFERENCES a, PRIMARY KEY (id))"
    " PARTITION BY RANGE (id); CREATE TABLE b1 PARTITION OF b FOR VALUES FROM (0) TO (10);"
    " CREATE TABLE b2 PARTITION OF b DEFAULT"
)


@pytest.mark.parametrize("statement", ["TRUNCATE a, b", "TRUNCATE a RESTART IDENTITY CASCADE"])
def test_truncate_empties_tables_that_a_partitioned_one_refers_to(pair: Pair, statement: str) -> None:
    pair.build(REFERRING)
    rows = "INSERT INTO a VALUES (1), (2); INSERT INTO b VALUES (1, 1), (20, 2)"
    pair.at_source(rows, statement, rows)
    pair.catch_up()
    pair.assert_equal()
    pair.at_source(statement)
    pair.catch_up()
    pair.assert_equal()


def test_truncate_empties_a_partitioned_table_that_refers_to_itself(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE c (id int PRIMARY KEY, up int REFERENCES c) PARTITION BY RANGE (id);"
        "CREATE TABLE c1 PARTITION OF c FOR VALUES FROM (0) TO (10); CREATE TABLE c2 PARTITION OF c DEFAULT"
    )
    pair.at_source("INSERT INTO c VALUES (1, 1), (20, 1)", "TRUNCATE c", "INSERT INTO c VALUES (5, 5)")
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("statement", ["TRUNCATE parent, child", "TRUNCATE parent CASCADE"])
def test_a_table_left_out_keeps_its_rows_when_the_one_that_it_refers_to_is_emptied(pair: Pair, statement: str) -> None:
    pair.selection = pair.selection.toggle((pair.source_db, "public", "child"), False)
    pair.build("CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY REFERENCES parent)")
    pair.at_source("INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1)")
    pair.catch_up()
    pair.at_target("INSERT INTO child VALUES (2)")
    pair.at_source(statement, "INSERT INTO parent VALUES (3)")
    pair.catch_up()
    pair.assert_equal()
    assert pair.value("SELECT array_agg(id) FROM child", "target") == [2]


LOOSE = "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE keyed (id int REFERENCES a); CREATE TABLE loose (id int)"
LOOSE_TREE = (
    "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE keyed (id int REFERENCES a);"
    ' CREATE TABLE loose (id int) PARTITION BY RANGE (id); CREATE TABLE "l; 1" PARTITION OF loose DEFAULT'
)


@pytest.mark.parametrize("tables", [LOOSE, LOOSE_TREE])
def test_truncate_empties_tables_that_a_key_which_is_not_enforced_leads_to(pair: Pair, tables: str) -> None:
    pair.build(tables)
    pair.at_target("ALTER TABLE loose ADD FOREIGN KEY (id) REFERENCES a NOT ENFORCED")
    rows = "INSERT INTO a VALUES (1), (2); INSERT INTO keyed VALUES (1); INSERT INTO loose VALUES (2)"
    pair.at_source(rows, "TRUNCATE a, keyed, loose", rows)
    pair.catch_up()
    pair.assert_equal()
    pair.at_source("TRUNCATE a, keyed, loose")
    pair.catch_up()
    pair.assert_equal()
