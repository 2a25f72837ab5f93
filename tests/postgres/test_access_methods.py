"""A partitioned table keeps the access method that its partitions are to have (since 17)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import pieces
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import StepName
from tests.fakes import fake_ports
from tests.postgres.compare_kit import on_one_server, run_steps, structure_now
from tests.postgres.test_torture import by_pg_dump, told

TREES = """
CREATE ACCESS METHOD "own heap" TYPE TABLE HANDLER heap_tableam_handler; CREATE SCHEMA "a ""b";
CREATE TABLE "a ""b"."t's" (id int, v text DEFAULT 'PARTITION BY') PARTITION BY LIST (id) USING "own heap";
CREATE TABLE below PARTITION OF "a ""b"."t's" FOR VALUES IN (1); INSERT INTO below VALUES (1);
CREATE TABLE elsewhere PARTITION OF "a ""b"."t's" FOR VALUES IN (2) PARTITION BY LIST (v) USING heap;
CREATE TABLE without (id int) PARTITION BY LIST (id); CREATE TABLE plain (id int) USING "own heap";
CREATE MATERIALIZED VIEW seen USING "own heap" AS SELECT 1 AS n;
"""
ASKED = (
    "SELECT c.relname::text, m.amname::text FROM pg_class c LEFT JOIN pg_am m ON m.oid = c.relam"
    " WHERE c.relkind IN ('r', 'p', 'm') AND c.oid >= 16384 ORDER BY 1"
)


@pytest.fixture
def plan(target_cluster: Cluster, target_db: str, tmp_path: Path) -> Iterator[Plan]:
    """From 18 to 18, one server."""
    with on_one_server(target_cluster, target_db, TREES, tmp_path) as made:
        yield made


@pytest.mark.parametrize("in_pieces", [False, True])
def test_it_arrives_with_whole_and_divided_dumps(
    plan: Plan, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, in_pieces: bool
) -> None:
    if in_pieces:
        monkeypatch.setattr(pieces, "pieces_of", lambda weight, room: 3)
    store = run_steps(plan, fake_ports())
    assert told(store) == []
    assert by_pg_dump(target_cluster, target_cluster, plan) == []
    with target_cluster.connect(plan.databases[0].target_name) as there:
        assert there.execute(ASKED.encode()).fetchall() == [
            ("below", "own heap"),
            ("elsewhere", "heap"),
            ("plain", "own heap"),
            ("seen", "own heap"),
            ("t's", "own heap"),
            ("without", None),
        ]


def test_another_one_on_the_target_is_told(plan: Plan, target_cluster: Cluster) -> None:
    ports = fake_ports()
    run_steps(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)
    with target_cluster.connect(plan.databases[0].target_name) as there:
        there.execute("ALTER TABLE without SET ACCESS METHOD heap")
    assert [(note.title, note.what) for note in structure_now(plan, ports, final=True)] == [
        ("table public.without", "access method: none on the source, heap on the target")
    ]
