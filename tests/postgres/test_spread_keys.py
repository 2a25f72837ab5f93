"""Keys by exclusion of partitioned tables arrive whole: exclusion constraints from 17, WITHOUT OVERLAPS from 18."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from tests.fakes import fake_ports
from tests.postgres.compare_kit import on_one_server, run_steps
from tests.postgres.test_torture import by_pg_dump, told

TREES = """
CREATE SCHEMA "a ""%b"; SET search_path = "a ""%b";
CREATE TABLE rooms (room int4range, during daterange, PRIMARY KEY (room, during WITHOUT OVERLAPS),
  CONSTRAINT second EXCLUDE USING gist (room WITH =, during WITH -|-)) PARTITION BY LIST (room);
CREATE TABLE rooms_1 PARTITION OF rooms FOR VALUES IN ('[1,2)');
CREATE TABLE "rooms '2\\" (during daterange NOT NULL, gone int, room int4range NOT NULL) PARTITION BY LIST (room);
ALTER TABLE "rooms '2\\" DROP COLUMN gone; CREATE TABLE rooms_22 PARTITION OF "rooms '2\\" DEFAULT;
ALTER TABLE rooms ATTACH PARTITION "rooms '2\\" FOR VALUES IN ('[2,3)');
ALTER TABLE rooms_1 RENAME CONSTRAINT rooms_1_pkey TO swapped;
ALTER TABLE rooms_1 RENAME CONSTRAINT rooms_1_room_during_excl TO rooms_1_pkey;
ALTER TABLE rooms_22 RENAME CONSTRAINT rooms_22_pkey TO "o'd\\d %s";
COMMENT ON CONSTRAINT swapped ON rooms_1 IS 'part'; COMMENT ON CONSTRAINT rooms_pkey ON rooms IS 'whole';
CREATE TABLE stays (id int, room int4range, during daterange, FOREIGN KEY (room, PERIOD during) REFERENCES rooms);
CREATE TABLE halves (room int4range) PARTITION BY LIST (room); CREATE TABLE half PARTITION OF halves DEFAULT;
ALTER TABLE ONLY halves ADD CONSTRAINT never_whole EXCLUDE USING gist (room WITH =);
ALTER TABLE half ADD CONSTRAINT beside EXCLUDE USING gist (room WITH =);
INSERT INTO rooms VALUES ('[1,2)', '[2020-01-01,2020-02-01)'), ('[2,3)', '[2020-01-01,2020-03-01)');
INSERT INTO stays VALUES (1, '[1,2)', '[2020-01-02,2020-01-09)'); INSERT INTO half VALUES ('[5,6)');
"""


@pytest.fixture
def plan(target_cluster: Cluster, target_db: str, tmp_path: Path) -> Iterator[Plan]:
    """From 18 to 18, one server."""
    with on_one_server(target_cluster, target_db, TREES, tmp_path) as made:
        yield made


def test_they_arrive_with_the_names_of_all_parts(plan: Plan, target_cluster: Cluster) -> None:
    store = run_steps(plan, fake_ports())
    assert told(store) == []
    assert by_pg_dump(target_cluster, target_cluster, plan) == []
    assert all(comparison.equal for comparison in store.comparisons)


def test_they_arrive_in_a_schema_of_another_name(plan: Plan, target_cluster: Cluster) -> None:
    (database,) = plan.databases
    moved = replace(plan.selection, schema_targets={(database.source_name, 'a "%b'): "new 'b"})
    store = run_steps(replace(plan, selection=moved), fake_ports())
    assert told(store) == []
    with target_cluster.connect(database.target_name) as there:
        found = there.execute(
            "SELECT c.conname FROM pg_constraint c JOIN pg_constraint p ON p.oid = c.conparentid"
            " WHERE c.contype IN ('p', 'x') ORDER BY 1"
        ).fetchall()
        assert [row[0] for row in found] == [
            "o'd\\d %s",
            "rooms '2\\_pkey",
            "rooms '2\\_room_during_excl",
            "rooms_1_pkey",
            "rooms_22_room_during_excl",
            "swapped",
        ]


def test_a_partition_that_comes_later_gets_them(plan: Plan, target_cluster: Cluster) -> None:
    run_steps(plan, fake_ports())
    with target_cluster.connect(plan.databases[0].target_name) as there:
        there.execute("""SET search_path = "a ""%b"; CREATE TABLE rooms_9 PARTITION OF rooms DEFAULT""")
        there.execute("INSERT INTO rooms VALUES ('[9,10)', '[2020-01-01,2020-02-01)')")
        with pytest.raises(psycopg.errors.ExclusionViolation):
            there.execute("INSERT INTO rooms VALUES ('[9,10)', '[2020-01-05,2020-01-07)')")
