"""What tests of new tables share: a task in its sync, a look at the source, a decision, and the proof at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.drift import NewTable
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.replication import polling
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import sync
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import running


@pytest.fixture
def ports(plan: Plan) -> Iterator[Ports]:
    ports = fake_ports()
    yield ports
    with running(replace(plan, epoch=99), Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)) as run:
        clean_up(run, keep_target_objects=True)


def begin(plan: Plan, ports: Ports) -> FakeStore:
    with Executor(plan, ports) as executor:
        for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
            assert executor.run(step).done
    return cast(FakeStore, ports.store)


def at(cluster: Cluster, database: str, *statements: str) -> None:
    with cluster.connect(database) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def look(plan: Plan, ports: Ports) -> dict[tuple[str, str], NewTable]:
    """Sync a slice that looks at the source once; return the new tables that are known then."""
    polling._looked.clear()
    control = cast(FakeControl, ports.control)
    control.yields = True
    with running(replace(plan, slice_seconds=1.5), ports) as run:
        sync.run(run)
    control.yields = False
    return cast(FakeStore, ports.store).newcomers.get(plan.databases[0].source_name, {})


def add(plan: Plan, ports: Ports, *names: str) -> FakeStore:
    """Decide to add new tables that a look has found, all of them or those of these names."""
    store, database = cast(FakeStore, ports.store), plan.databases[0].source_name
    found = [table for table in store.newcomers[database].values() if not names or table.name in names]
    store.to_add[database] = found
    return store


def complete(plan: Plan, ports: Ports, source: Cluster, target: Cluster) -> None:
    """Complete, and have the rows and definitions of both sides compared by what shares no code with us."""
    with Executor(plan, ports) as executor:
        for step in (StepName.COMPLETE, StepName.CLEANUP):
            assert executor.run(step).done
    assert all(comparison.equal for comparison in cast(FakeStore, ports.store).comparisons)
    assert ports.ledger.items() == []
    (database,) = plan.databases
    with source.connect(database.source_name) as one, target.connect(database.target_name) as other:
        assert differences(one, other) == []
