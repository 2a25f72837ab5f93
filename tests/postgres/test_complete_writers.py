"""Transactions of the application that are open when Complete is pressed: nothing is lost without a word."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import DrainLate
from migrations_app.engine.finishing import Finisher
from migrations_app.engine.late_writes import open_writers, tables_written
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports, TableState
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import complete
from tests.fakes import FakeStore, wait_until
from tests.postgres import complete_kit
from tests.postgres.compare_kit import running
from tests.postgres.complete_kit import assert_same, begin, migrate, rows

# Fixtures that stand in the kit.
plan = complete_kit.plan
ports = complete_kit.ports
source = complete_kit.source
target = complete_kit.target

AUDIT = "SELECT id, what FROM audit ORDER BY 1"


@pytest.fixture
def writer(source_cluster: Cluster, source_db: str) -> Iterator[psycopg.Connection[Any]]:
    """The application, in a transaction that stays open."""
    with source_cluster.connect(source_db, autocommit=False) as connection:
        yield connection


def _told(ports: Ports, code: str) -> list[str]:
    return [text for _, known, text in cast(FakeStore, ports.store).events if known == code]


@pytest.mark.long
def test_complete_waits_for_open_transactions_that_have_written_and_carries_them_over(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    writer: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begin(plan, ports)
    prove = complete.prove_equal

    def proved(*args: Any) -> Any:
        found = prove(*args)
        writer.execute("INSERT INTO audit VALUES (1, 'committed after the comparison')")
        return found

    monkeypatch.setattr(complete, "prove_equal", proved)
    thread = threading.Thread(target=migrate, args=(plan, ports, StepName.COMPLETE, StepName.CLEANUP))
    thread.start()
    named = f"still open: PID {writer.info.backend_pid}, user postgres"
    try:
        notes = cast(FakeStore, ports.store).steps
        wait_until(lambda: any(named in note for _, _, note in notes), what="who is waited for")
        source.execute("INSERT INTO audit VALUES (2, 'by somebody else')")
        wait_until(lambda: (2, "by somebody else") in rows(target, AUDIT), what="the sync going on meanwhile")
    finally:
        writer.commit()
        thread.join(60)
    assert not thread.is_alive()
    assert (
        rows(target, AUDIT)
        == rows(source, AUDIT)
        == [
            (1, "committed after the comparison"),
            (2, "by somebody else"),
        ]
    )
    assert_same(source, target)
    assert _told(ports, "SRC-LATE") == []


@pytest.mark.long
def test_a_prepared_transaction_holds_complete_up_and_is_named(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    writer: psycopg.Connection[Any],
) -> None:
    begin(plan, ports)
    writer.execute("SAVEPOINT a; INSERT INTO audit VALUES (1, 'in two phases'); RELEASE a")
    writer.execute("PREPARE TRANSACTION 'kept open'")
    with pytest.raises(DrainLate, match="still open: prepared transaction kept open, user postgres"):
        migrate(replace(plan, drain_seconds=1.0), ports, StepName.COMPLETE)
    source.execute("COMMIT PREPARED 'kept open'")
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    assert rows(target, AUDIT) == [(1, "in two phases")]
    assert_same(source, target)


@pytest.mark.long
def test_a_transaction_that_is_still_open_at_the_end_is_told(
    plan: Plan, ports: Ports, writer: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(plan, ports)
    opening = Finisher.open_target

    def late(finisher: Finisher) -> None:
        opening(finisher)
        writer.execute("INSERT INTO audit VALUES (2, 'late')")

    monkeypatch.setattr(Finisher, "open_target", late)
    migrate(plan, ports, StepName.COMPLETE)
    writer.commit()
    (told,) = _told(ports, "SRC-LATE")
    assert f"still open on the source: PID {writer.info.backend_pid}" in told
    assert "What they commit is not on the target." in told


def test_only_who_has_written_to_tables_of_the_task_is_waited_for(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    writer: psycopg.Connection[Any],
    source_cluster: Cluster,
    source_db: str,
) -> None:
    tables = rows(source, "SELECT oid, relname, relpersistence::text FROM pg_class WHERE relname IN ('audit', 'cache')")
    ports.store.save_tables(
        *(
            TableState(database=source_db, schema="public", name=str(name), oid=int(oid), unlogged=kind == "u")
            for oid, name, kind in tables
        )
    )
    writer.execute("LOCK TABLE audit IN EXCLUSIVE MODE")  # keeps writers out
    with source_cluster.connect(source_db, autocommit=False) as other, running(plan, ports) as run:
        other.execute("SELECT * FROM audit; INSERT INTO customers (name) VALUES ('not of the task')")
        looked = tables_written(run, plan.databases[0])
        assert open_writers(run, plan.databases[0], looked) == {}
        writer.execute("INSERT INTO audit VALUES (1, 'x')")
        other.execute("INSERT INTO cache VALUES ('x', 'not in the stream')")
        pids = {connection.info.backend_pid for connection in (writer, other)}
        told = open_writers(run, plan.databases[0], looked).values()
        assert sorted(text.partition(",")[0] for text in told) == sorted(f"PID {pid}" for pid in pids)
