"""To take over many tables that stand on the target costs no reading of what is noted for each of them."""

from __future__ import annotations

from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.occupied import use_as_it_is
from migrations_app.engine.plan import Plan, Side
from tests.entries import entry
from tests.fakes import fake_ports
from tests.postgres.compare_kit import plan_for, running, server
from tests.postgres.occupied_kit import choose

NAMES = [f"t{number}" for number in range(12)]


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Plan:
    with target_cluster.connect(target_db) as connection:
        connection.execute("; ".join(f"CREATE TABLE {name} (id int)" for name in NAMES).encode())
    return choose(plan_for(server(source_cluster), server(target_cluster), source_db, target_db), "keep")


def readings(plan: Plan, names: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Take these tables over, and return how often the ledger was read."""
    asked: list[Any] = []
    ports, (database,) = fake_ports(), plan.databases
    real = ports.ledger.items

    def items(*which: Any, **more: Any) -> Any:
        asked.append(which)
        return real(*which, **more)

    monkeypatch.setattr(ports.ledger, "items", items)
    with running(plan, ports) as run, run.sessions.session(Side.TARGET, database.target_name) as connection:
        use_as_it_is(run, database, connection, [entry(tag=name) for name in names])
    assert len(real()) == len(names)
    return len(asked)


def test_the_ledger_is_read_as_often_for_twelve_tables_as_for_two(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    assert readings(plan, NAMES, monkeypatch) == readings(plan, NAMES[:2], monkeypatch)
