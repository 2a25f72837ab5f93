"""A source that has no room to lock all its tables at once: it is dumped, published and cleaned in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import pgtools
from migrations_app.engine.errors import SourceError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.sequences import list_sequences, used_sequences
from migrations_app.engine.states import StepName, steps_for
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.folders import public_folder
from tests.postgres.compare_kit import plan_for, running, server

pytestmark = pytest.mark.slow
TABLES, AT_ONCE = 3000, 100
ACROSS = """
CREATE TABLE many.root (at int, v int, PRIMARY KEY (at)) PARTITION BY RANGE (at);
CREATE TABLE a.part_1 PARTITION OF many.root FOR VALUES FROM (0) TO (100);
CREATE TABLE z.part_2 PARTITION OF many.root FOR VALUES FROM (100) TO (200);
INSERT INTO many.root SELECT n, n FROM generate_series(0, 199) n;
CREATE INDEX ON many.root (v);
CREATE TABLE z.parent (id int); CREATE TABLE a.child (more text) INHERITS (z.parent);
INSERT INTO a.child VALUES (1, 'x');
CREATE VIEW a.seen AS SELECT t.id, u.other FROM many.t_0001 t JOIN many.t_2999 u USING (id);
CREATE MATERIALIZED VIEW a.kept AS SELECT count(*) FROM a.seen;
CREATE FUNCTION a.twice(it many.t_2999) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT (it).other * 2';
CREATE TABLE a.uses (id int DEFAULT nextval('many.t_2998_id_seq'), whole many.t_2999, at_same many.t_0002[]);
ALTER TABLE a.uses ADD CHECK (a.twice(whole) < 1000000);
CREATE POLICY seen ON a.uses USING (id IN (SELECT id FROM many.t_2997)); ALTER TABLE a.uses ENABLE ROW LEVEL SECURITY;
INSERT INTO a.uses VALUES (1, ROW(1, 2), NULL);
CREATE STATISTICS z.together ON at, v FROM many.root;
COMMENT ON TABLE many.t_1500 IS 'in the middle'; GRANT SELECT ON many.t_1501 TO PUBLIC;
"""


@pytest.fixture(scope="module")
def narrow() -> Iterator[Cluster]:
    """A server that has room for about a thousand locks, and three times as many tables."""
    settings = {"wal_level": "logical", "max_locks_per_transaction": "20", "max_connections": "50", "fsync": "off"}
    with public_folder("narrow") as folder:
        cluster = Cluster(folder=folder / "server", major=16, settings=settings)
        cluster.create()
        cluster.start()
        with cluster.connect() as connection:
            connection.execute("CREATE DATABASE many")
        with cluster.connect("many") as connection:
            connection.execute("CREATE SCHEMA a; CREATE SCHEMA many; CREATE SCHEMA z")
            for start in range(0, TABLES, AT_ONCE):
                connection.execute("; ".join(one_table(n) for n in range(start, start + AT_ONCE)).encode())
            for text in ACROSS.split(";\n"):
                connection.execute(text.encode())
        yield cluster
        cluster.stop()


def one_table(number: int) -> str:
    name = f"many.t_{number:04}"
    refers = f" REFERENCES many.t_{number - 1:04}" if number else ""
    return (
        f"CREATE TABLE {name} (id serial PRIMARY KEY{refers}, other int);"
        f" INSERT INTO {name} VALUES (1, {number}), (2, {number})"
    )


@pytest.fixture
def plan(narrow: Cluster, target_cluster: Cluster, target_db: str, tmp_path: Path) -> Plan:
    return plan_for(server(narrow), server(target_cluster), "many", target_db, incremental=True, work_dir=tmp_path)


def test_one_dump_of_all_of_them_fails(plan: Plan, tmp_path: Path) -> None:
    with running(plan) as run, pytest.raises(SourceError, match="out of shared memory"):
        pgtools.dump_schema(run, "many", "", tmp_path / "whole.dump")


def test_the_sequences_of_all_of_them_are_asked_without_a_lock_on_all(narrow: Cluster) -> None:
    with narrow.connect("many") as connection:
        assert used_sequences(connection) == ({}, [])
        connection.execute("SELECT nextval('many.t_0007_id_seq'), nextval('many.t_2999_id_seq')")
        used, refused = used_sequences(connection)
        assert sorted((item.name, item.last_value) for item in used.values()) == [
            ("t_0007_id_seq", 1),
            ("t_2999_id_seq", 1),
        ]
        assert refused == []
        assert len(list_sequences(connection)) == 3000


def test_three_thousand_tables_arrive_although_a_third_of_them_can_be_locked(
    plan: Plan, narrow: Cluster, target_cluster: Cluster
) -> None:
    ports = fake_ports()
    cast(FakeControl, ports.control).complete = True
    store = cast(FakeStore, ports.store)
    with Executor(plan, ports) as executor:
        for step in steps_for(incremental=True):
            if step is not StepName.CHECK:
                assert executor.run(step).done
    assert ports.ledger.items() == []
    assert "SRC-PIECES" in [code for _, code, _ in store.events]
    assert [(note.title, note.what) for notes in store.notes.values() for note in notes] == []
    assert [text for level, _, text in store.events if level == "warning"] == []
    with narrow.connect("many") as source, target_cluster.connect(plan.databases[0].target_name) as target:
        assert differences(source, target) == []
        assert source.execute("SELECT count(*) FROM pg_publication").fetchone() == (0,)
        assert source.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (0,)
