"""What tests of tables that move on under their copy share."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan
from migrations_app.engine.ports import TableStatus
from migrations_app.engine.replication.session import SyncSession
from migrations_app.engine.steps import copy
from migrations_app.engine.table_work import copy_statements
from tests.postgres import copy_kit
from tests.postgres.engine_runs import fakes, make_plan, register_tables, running

SCHEMA = """
CREATE TABLE big (id int PRIMARY KEY, note text);
CREATE TABLE small (id int PRIMARY KEY, note text);
CREATE TABLE other (id int PRIMARY KEY);
"""
ROWS = """
INSERT INTO big SELECT n, 'note ' || n FROM generate_series(1, 3000) n;
INSERT INTO small SELECT n, 'note ' || n FROM generate_series(1, 300) n;
INSERT INTO other SELECT generate_series(1, 30);
"""
PATIENCE_SECONDS = 2.5


@pytest.fixture
def simple(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for the builder of indexes, which needs an archive: here the target has them from the beginning."""

    def build(run: Run, database: DatabasePlan, table: Any, session: Any) -> None:
        session.execute("SELECT 1")

    copy_kit.stand_in(monkeypatch, build)


@pytest.fixture
def run(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path, simple: None
) -> Iterator[Run]:
    execute(source_cluster, source_db, SCHEMA)
    execute(target_cluster, target_db, SCHEMA)
    execute(source_cluster, source_db, ROWS)
    with running(make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)) as made:
        register_tables(made, source_cluster)
        yield made


@pytest.fixture
def at_source(source_cluster: Cluster, source_db: str) -> Callable[..., float]:
    """Run statements on the source, each in a transaction of its own; returns how long the slowest took."""

    def act(*statements: str) -> float:
        slowest = 0.0
        with source_cluster.connect(source_db) as connection:
            for statement in statements:
                began = time.monotonic()
                connection.execute(statement.encode())
                slowest = max(slowest, time.monotonic() - began)
        return slowest

    return act


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rows of `big` come one per two milliseconds."""

    def statements(work: Any, part: Any, encodings: Any, *, freeze: bool) -> tuple[str, str]:
        copy_out, copy_in = copy_statements(work, part, encodings, freeze=freeze)
        if work.table.name == "big" and not part.where:
            slept = "(SELECT id, note FROM public.big, LATERAL (SELECT pg_sleep(0.002 + 0 * id)) s) TO"
            copy_out = copy_out.replace('"public"."big" ("id", "note") TO', slept)
        return copy_out, copy_in

    monkeypatch.setattr("migrations_app.engine.copying.copy_statements", statements)


def execute(cluster: Cluster, database: str, text: str) -> None:
    with cluster.connect(database) as connection:
        connection.execute(text.encode())


@contextlib.contextmanager
def copying(run: Run) -> Iterator[None]:
    """Run the copy in a thread for the time of the block, and wait for its good end."""
    failures: list[BaseException] = []

    def body() -> None:
        try:
            copy.run(run)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    try:
        yield
    finally:
        thread.join(120)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def catch_up(run: Run, source: Cluster) -> None:
    (database,) = run.plan.databases
    with source.connect(database.source_name) as connection:
        row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        connection.execute("SELECT pg_logical_emit_message(true, 'test', 'behind')")
    assert row
    with SyncSession(run, database) as session:
        session.advance(until=parse_lsn(str(row[0])))


def rows(cluster: Cluster, database: str) -> dict[str, list[Any]]:
    with cluster.connect(database) as connection:
        names = ("big", "small", "other")
        return {name: connection.execute(f"SELECT * FROM {name} ORDER BY id".encode()).fetchall() for name in names}


def assert_equal_after_sync(run: Run, source: Cluster, target: Cluster) -> None:
    catch_up(run, source)
    (database,) = run.plan.databases
    assert rows(target, database.target_name) == rows(source, database.source_name)


def events(run: Run) -> dict[str, str]:
    return {code: text for _, code, text in fakes(run.ports)[1].events}


def marks(run: Run) -> dict[str, int]:
    states = run.ports.store.tables(run.plan.databases[0].source_name)
    assert {state.status for state in states} == {TableStatus.DONE}
    return {state.name: state.watermark or 0 for state in states}


def is_copying(source: Cluster, table: str) -> Callable[[], bool]:
    def ask() -> bool:
        with source.connect() as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE %s", (f"COPY%{table}%",)
            ).fetchone()
        return bool(row and row[0])

    return ask
