"""A full copy that lost its snapshot: its tables are emptied, filled and indexed anew, as they were the first time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from migrations_app.engine import copying, indexes, unindexing
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.ports import Kind, LedgerItem, Ports, TableStatus
from migrations_app.engine.steps import copy, schema
from migrations_app.engine.table_work import TableWork
from tests.fakes import fake_ports
from tests.postgres import schema_kit
from tests.postgres.engine_runs import fakes, running
from tests.postgres.schema_kit import Crash, column, compare, crash_after

MORE = """
CREATE TABLE book (id int NOT NULL, isbn text NOT NULL, title text, shelf int, span int4range,
  CONSTRAINT "the key" PRIMARY KEY (id) INCLUDE (title), CONSTRAINT once UNIQUE (isbn) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT apart EXCLUDE USING gist (span WITH &&));
CREATE UNIQUE INDEX "told by %" ON book (isbn, shelf) WHERE shelf > 0; CREATE INDEX ON book (lower(title) DESC);
ALTER INDEX book_lower_idx ALTER COLUMN 1 SET STATISTICS 77;
ALTER TABLE book REPLICA IDENTITY USING INDEX "the key"; ALTER TABLE book CLUSTER ON "the key";
INSERT INTO book SELECT n, 'i' || n, 't' || n, n % 7, int4range(n, n + 1) FROM generate_series(1, 3000) n;
COMMENT ON INDEX "told by %" IS 'by whom';
"""
STANDING = """
SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class c ON c.oid = i.indrelid
 WHERE c.relname IN ('book', 'ident') ORDER BY 1
"""
OF_IDENT = "ident_pkey"
UNFILLED = (TableStatus.WAITING, TableStatus.COPYING)
OF_BOOK = ["apart", "book_lower_idx", "once", "the key", "told by %"]


@pytest.fixture
def plan(source_cluster: Any, awkward_plan: Plan) -> Plan:
    with source_cluster.connect(awkward_plan.databases[0].source_name) as connection:
        connection.execute(MORE)
    return awkward_plan


@pytest.fixture
def ports(plan: Plan) -> Ports:
    """What is left of a run that copied and indexed every table, and died before the last one was noted."""
    ports = fake_ports()
    with running(plan, ports) as run:
        schema.run(run)
        copy.run(run)
    store = fakes(ports)[1]
    (torn,) = (state for state in store.table_rows.values() if state.name == "nokey")
    store.save_tables(replace(torn, status=TableStatus.COPYING))
    return ports


def target(target_cluster: Any, plan: Plan) -> Any:
    return target_cluster.connect(plan.databases[0].target_name)


def watch(monkeypatch: pytest.MonkeyPatch, target_cluster: Any, plan: Plan) -> list[list[str]]:
    """Note which indexes of `book` stand at each moment when its rows begin to pass; `ident` may be ready by then."""
    seen: list[list[str]] = []
    real = copying.Lane._enter

    def noted(lane: copying.Lane, works: Sequence[TableWork]) -> None:
        if any(work.table.name == "book" for work in works):
            with target(target_cluster, plan) as connection:
                connection.execute("SET lock_timeout = '5s'")
                seen.append([name for name in column(connection, STANDING) if name != OF_IDENT])
        real(lane, works)

    monkeypatch.setattr(copying.Lane, "_enter", noted)
    return seen


def finish(plan: Plan, ports: Ports) -> None:
    with running(replace(plan, epoch=plan.epoch + 1), ports) as run:
        copy.run(run)
        schema_kit.finish(run)


def test_rows_go_into_bare_tables_and_every_index_comes_back_as_it_was(
    source_cluster: Any, target_cluster: Any, plan: Plan, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    with target(target_cluster, plan) as connection:
        assert column(connection, STANDING) == [*OF_BOOK[:2], OF_IDENT, *OF_BOOK[2:]]
    seen = watch(monkeypatch, target_cluster, plan)
    finish(plan, ports)
    assert seen == [[]]
    assert "COPY-AGAIN" in [code for _, code, _ in fakes(ports)[1].events]
    assert compare(source_cluster, target_cluster, plan) == []


def test_an_index_that_somebody_else_made_stays(
    source_cluster: Any, target_cluster: Any, plan: Plan, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    with target(target_cluster, plan) as connection:
        connection.execute("CREATE INDEX theirs ON book (shelf)")
    seen = watch(monkeypatch, target_cluster, plan)
    finish(plan, ports)
    assert seen == [["theirs"]]
    with target(target_cluster, plan) as connection:
        connection.execute("DROP INDEX theirs")
    assert compare(source_cluster, target_cluster, plan) == []


def test_a_key_that_somebody_refers_to_stays_and_the_rows_are_replaced(
    source_cluster: Any, target_cluster: Any, plan: Plan, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute("UPDATE book SET title = 'newer' WHERE id = 1")
    with target(target_cluster, plan) as connection:
        connection.execute("CREATE TABLE theirs (book int REFERENCES book); INSERT INTO theirs VALUES (1), (3000)")
    seen = watch(monkeypatch, target_cluster, plan)
    finish(plan, ports)
    assert seen == [["the key"]]
    with target(target_cluster, plan) as connection:
        assert column(connection, "SELECT title FROM theirs JOIN book ON book = id ORDER BY id") == ["newer", "t3000"]
        connection.execute("DROP TABLE theirs")
    assert compare(source_cluster, target_cluster, plan) == []


def test_a_table_that_was_there_before_keeps_its_indexes(
    source_cluster: Any, target_cluster: Any, plan: Plan, ports: Ports, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = plan.databases[0].target_name
    ports.ledger.intend(
        LedgerItem(side=Side.TARGET, database=database, kind=Kind.ADOPTED, schema="public", name="book")
    )
    seen = watch(monkeypatch, target_cluster, plan)
    finish(plan, ports)
    assert seen == [OF_BOOK]
    assert compare(source_cluster, target_cluster, plan) == []


def after_one(ports: Ports, real: Any) -> Any:
    """Crash at the second call."""
    return crash_after(1, real)


def once_all_are_filled(ports: Ports, real: Any) -> Any:
    """Crash at the second call at the earliest, and when every table has its rows: builds begin before that."""
    lock, begun = threading.Lock(), 0

    def wrapped(*args: Any, **more: Any) -> Any:
        nonlocal begun
        with lock:
            begun += 1
            left = {state.status for state in fakes(ports)[1].table_rows.values()} & {*UNFILLED}
            if begun > 1 and not left:
                raise Crash
        return real(*args, **more)

    return wrapped


@pytest.mark.parametrize(
    ("place", "name", "crashing", "again"),
    [
        pytest.param(unindexing, "_done", after_one, True, id="between two tables that lose theirs"),
        pytest.param(copying.Lane, "copy_whole", after_one, True, id="between two tables that are filled"),
        pytest.param(indexes, "build_settings", once_all_are_filled, False, id="between two that get theirs back"),
    ],
)
def test_a_worker_that_dies_in_between_is_followed_by_one_that_finishes(
    source_cluster: Any,
    target_cluster: Any,
    plan: Plan,
    ports: Ports,
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    name: str,
    crashing: Callable[[Ports, Any], Any],
    again: bool,
) -> None:
    with monkeypatch.context() as patched, running(replace(plan, epoch=2), ports) as run:
        patched.setattr(place, name, crashing(ports, getattr(place, name)))
        with pytest.raises(Crash):
            copy.run(run)
    seen = watch(monkeypatch, target_cluster, plan)
    finish(replace(plan, epoch=2), ports)
    assert bool(seen) == again, "tables that were whole stay as they are, others are filled anew"
    assert not any(seen), "rows went into indexed tables"
    assert compare(source_cluster, target_cluster, plan) == []
