"""What pg_dump is told to leave out of a piece takes exactly the other pieces' relations, whatever they are called."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import pgtools, pieces
from migrations_app.engine.names import quote
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.toc import Entry, read_archive
from tests.postgres.compare_kit import plan_for, running, server

SCHEMAS = ("public", "Pu.b", "pub")
NAMES = [f"{start}{rest}" for start in ('a"', "a.", "a*", "a?", "a$", "A", "é", "a\\", "a|(", "a\n") for rest in "xyz"]
_CLASS = 1259


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        for schema in SCHEMAS:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}".encode())
            texts = (_made(f"{quote(schema)}.{quote(name)}", number) for number, name in enumerate(NAMES))
            connection.execute("; ".join(texts).encode())
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


def _made(name: str, number: int) -> str:
    kinds = (
        "TABLE {} (id serial)",
        "TABLE {} (id int GENERATED ALWAYS AS IDENTITY)",
        "VIEW {} AS SELECT 1",
        "SEQUENCE {}",
    )
    return "CREATE " + kinds[number % 4].format(name)


def _relations(entries: list[Entry]) -> Iterator[int]:
    kinds = ("TABLE", "VIEW", "SEQUENCE")
    return (one.oid for one in entries if one.class_oid == _CLASS and one.type in kinds)


def test_a_piece_holds_its_relations_and_no_others(plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pieces, "_ROOM", "SELECT 0")
    monkeypatch.setattr(pieces, "_LEAST_TABLES", 20)
    name = plan.databases[0].source_name
    with running(plan) as run:
        with run.sessions.session(Side.SOURCE, name) as connection:
            parts = pieces.read_pieces(connection)
        assert len(parts) == 4
        for number, without in enumerate(pieces._left_out(parts)):
            assert any(pattern.endswith('"*') for pattern in without)
            path = tmp_path / str(number)
            pgtools.dump_schema(run, name, "", path, exclude=tuple(without))
            assert sorted(_relations(read_archive(path))) == sorted(one.oid for one in parts[number])
