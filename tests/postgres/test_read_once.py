"""A full copy reads what the source has once, under its snapshot, and compares the structure once, at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import catalog, snapshot
from migrations_app.engine.errors import CompareDiffers
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.postgres import mapping_kit
from tests.postgres.compare_kit import running
from tests.postgres.mapping_kit import FULL, execute, migrate, plan_of, store_of, told

# Fixtures that stand in the kit.
ports = mapping_kit.ports
app = mapping_kit.app
plans = mapping_kit.plans
target = mapping_kit.target

COPIED = (StepName.SCHEMA, StepName.COPY, StepName.INDEX)


@pytest.fixture
def plan(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    app: psycopg.Connection[Any],
) -> Plan:
    return plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each of the catalog's queries was run, on either server."""
    asked: Counter[str] = Counter()
    original = catalog.query

    def query(name: str, version: int = 0) -> Any:
        asked[name] += 1
        return original(name, version)

    monkeypatch.setattr(catalog, "query", query)
    return asked


def structure_events(ports: Ports) -> list[str]:
    return [code for _, code, _ in store_of(ports).events if code.startswith("STRUCTURE-")]


def test_a_full_copy_reads_the_tables_of_each_server_once(plan: Plan, ports: Ports, reads: Counter[str]) -> None:
    migrate(plan, ports, *FULL)
    assert reads["tables"] == reads["columns"] == 2  # the source under the snapshot, the target when it has them
    assert store_of(ports).comparisons[-1].equal


def test_the_snapshot_shows_what_it_was_opened_with_whatever_is_altered_since(
    plan: Plan, app: psycopg.Connection[Any]
) -> None:
    with running(plan) as run:
        opened = snapshot.open_first(run, plan.databases[0])
        execute(app, "ALTER TABLE loose ADD COLUMN later int; DROP TABLE cache; CREATE TABLE newer (a int)")
        again = catalog.read_tables(opened.holder)
        opened.close()
    sizes = {"bytes": 0, "outside_bytes": 0}  # those of a table that is dropped are not known any more
    assert [replace(one, **sizes) for one in again if one.name != "cache"] == [
        replace(one, **sizes) for one in opened.everything if one.name != "cache"
    ]
    assert "newer" not in {one.name for one in again}


def test_a_comparison_without_the_snapshot_of_the_copy_reads_the_tables_anew(
    plan: Plan, ports: Ports, app: psycopg.Connection[Any]
) -> None:
    migrate(plan, ports, *COPIED)
    execute(app, "ALTER TABLE loose ADD COLUMN later int")
    with Executor(plan, ports) as executor, pytest.raises(CompareDiffers, match="later"):
        executor.run(StepName.COMPARE)


def test_the_structure_of_a_full_copy_is_compared_once_when_everything_is_made(plan: Plan, ports: Ports) -> None:
    migrate(plan, ports, *COPIED, StepName.COMPARE)
    assert structure_events(ports) == []
    migrate(plan, ports, StepName.COMPLETE)
    assert structure_events(ports) == ["STRUCTURE-EQUAL"]


def test_the_structure_of_a_full_copy_is_told_when_its_rows_differ(
    plan: Plan, ports: Ports, target: psycopg.Connection[Any]
) -> None:
    migrate(plan, ports, *COPIED)
    execute(target, "DELETE FROM loose; INSERT INTO loose VALUES (7, 'ok'); DROP TRIGGER touched ON orders")
    with Executor(plan, ports) as executor, pytest.raises(CompareDiffers):
        executor.run(StepName.COMPARE)
    assert structure_events(ports) == ["STRUCTURE-NOTES"]


def test_the_structure_of_a_full_copy_is_told_when_its_end_differs(
    plan: Plan, ports: Ports, target: psycopg.Connection[Any]
) -> None:
    migrate(plan, ports, *COPIED, StepName.COMPARE)
    execute(target, "DROP TABLE orders CASCADE")
    with Executor(plan, ports) as executor, pytest.raises(CompareDiffers, match="orders_id_seq"):
        executor.run(StepName.COMPLETE)
    assert structure_events(ports) == ["STRUCTURE-NOTES"]
    assert "table public.orders" in told(ports)["STRUCTURE-NOTES"]
