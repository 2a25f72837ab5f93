"""Text that the target's encoding does not have: the row, its column and the byte are named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import row_texts
from migrations_app.engine.catalog import read_tables
from migrations_app.engine.errors import EngineError
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Side
from migrations_app.engine.steps import copy
from tests.postgres.copy_kit import execute
from tests.postgres.engine_runs import make_plan, register_tables, running

NAME = "odd_texts"


@pytest.fixture
def run(source_cluster: Cluster, target_cluster: Cluster, target_db: str, tmp_path: Path) -> Iterator[Run]:
    with source_cluster.connect() as source:
        source.execute(f"CREATE DATABASE {NAME} ENCODING 'WIN1252' LOCALE 'C' TEMPLATE template0".encode())
        try:
            with running(make_plan(source_cluster, target_cluster, [(NAME, target_db)], tmp_path)) as made:
                yield made
        finally:
            drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"
            source.execute(drop, (NAME,))
            source.execute(f"DROP DATABASE {NAME} WITH (FORCE)".encode())


def _make(run: Run, source: Cluster, target: Cluster, schema: str, rows: str) -> None:
    execute(source, NAME, schema)
    execute(target, run.plan.databases[0].target_name, schema)
    execute(source, NAME, rows)
    register_tables(run, source)


@pytest.mark.parametrize(("key", "shown"), [("PRIMARY KEY", "(417)"), ("", "(")], ids=["with a key", "without a key"])
def test_the_row_whose_text_the_target_cannot_have_is_named(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, key: str, shown: str
) -> None:
    rows = (
        "INSERT INTO t SELECT i, 'fine', repeat('x', 500) FROM generate_series(1, 500) i;"
        "UPDATE t SET w = 'caf' || chr(233) || chr(129) WHERE id = 417"
    )
    _make(run, source_cluster, target_cluster, f"CREATE TABLE t (id int {key}, w text, more text)", rows)
    with pytest.raises(EngineError) as caught:
        copy.run(run)
    told = caught.value
    assert told.code == "ROW-ENCODING"
    assert told.message.startswith(f"A row of public.t {shown}")
    assert "encoding UTF8 does not have: column w, byte 5." in told.message
    assert told.public_message.startswith("A row of public.t has text")
    assert "Use a UTF8 target" not in told.hint


def test_a_search_that_takes_too_long_names_no_row(run: Run, source_cluster: Cluster, target_cluster: Cluster) -> None:
    _make(run, source_cluster, target_cluster, "CREATE TABLE t (w text)", "INSERT INTO t VALUES (chr(129))")
    with run.sessions.session(Side.SOURCE, NAME) as session:
        table = read_tables(session)[0]
        assert row_texts.find(session, table, "UTF8", seconds=5) is not None
        session.execute("BEGIN")
        session.execute("LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE")
        with run.sessions.session(Side.SOURCE, NAME) as other:
            assert row_texts.find(other, table, "UTF8", seconds=0.2) is None
        session.execute("ROLLBACK")
