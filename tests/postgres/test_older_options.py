"""Storage parameters that a source before 11 has in capitals arrive on a server that wants small letters."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import index_lanes, indexes
from migrations_app.engine.steps import copy, index, schema
from tests.postgres.compare_kit import structure_now
from tests.postgres.engine_runs import make_plan, running
from tests.servers import Server, started

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="npm has PostgreSQL 10 for x86-64 only"),
]
CAPITALS = """
CREATE TABLE t (id int PRIMARY KEY WITH ("FillFactor" = 80), v text DEFAULT '"Fillfactor"=''1''', "Fillfactor" text,
                CHECK ("Fillfactor"='70')) WITH ("Fillfactor"=70, toast."Autovacuum_Enabled"=false);
ALTER TABLE t ALTER v SET ("N_Distinct" = -0.5);
CREATE INDEX by_v ON t (v) WITH ("FILLFACTOR"=60) WHERE "Fillfactor"='a';
CREATE INDEX by_words ON t USING gin (to_tsvector('simple', v)) WITH ("FastUpdate"=off);
CREATE VIEW seen WITH ("Security_Barrier"=true) AS SELECT * FROM t WHERE "Fillfactor"='x';
CREATE MATERIALIZED VIEW kept WITH ("Autovacuum_Enabled"=false) AS SELECT id FROM t;
INSERT INTO t SELECT i, i::text, '70' FROM generate_series(1, 100) i
"""
OPTIONS = """
SELECT c.relname, c.reloptions::text FROM pg_class c WHERE c.reloptions IS NOT NULL AND c.relname NOT LIKE 'pg_toast%'
   AND c.oid >= 16384 ORDER BY 1
"""


@pytest.fixture
def older() -> Iterator[Server]:
    with started("older-options", "10") as one:
        yield one


def test_options_in_capitals_arrive_in_small_letters(
    older: Server, target_cluster: Cluster, target_db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((indexes, "SMALL_TABLE_BYTES"), (index_lanes, "SMALL_TABLE_BYTES")):
        monkeypatch.setattr(module, name, -1)
    with older.connect() as connection:
        connection.execute("CREATE DATABASE shop")
    with older.connect("shop") as connection:
        connection.execute(CAPITALS.encode())
    plan = make_plan(older, target_cluster, [("shop", target_db)], tmp_path, incremental=False)
    oids = "SELECT array_agg(oid ORDER BY oid) FROM pg_class WHERE oid >= 16384"
    with target_cluster.connect(target_db) as there:
        with running(plan) as run:
            schema.run(run)
            copy.run(run)
            before = there.execute(oids).fetchall()
            index.run(run)
            assert there.execute(oids).fetchall() == before, "an index that stood was built again"
        assert there.execute(OPTIONS).fetchall() == [
            ("by_v", "{fillfactor=60}"),
            ("by_words", "{fastupdate=off}"),
            ("kept", "{autovacuum_enabled=false}"),
            ("seen", "{security_barrier=true}"),
            ("t", "{fillfactor=70}"),
            ("t_pkey", "{fillfactor=80}"),
        ]
    assert [(note.title, note.what) for note in structure_now(plan)] == []
