"""What tests of targets that are not empty share: the choice, and a run from its check to its end."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import steps_for
from tests.fakes import FakeControl, FakeStore, fake_ports


def choose(plan: Plan, policy: str) -> Plan:
    return replace(plan, selection=replace(plan.selection, existing=policy))


def migrate(plan: Plan) -> FakeStore:
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    cast(FakeControl, ports.control).complete = True
    store.targets.update({one.source_name: one.target_name for one in plan.databases})
    with Executor(plan, ports) as executor:
        for step in steps_for(incremental=plan.incremental):
            assert executor.run(step).done
    assert all(comparison.equal for comparison in store.comparisons)
    assert ports.ledger.items() == []
    return store
