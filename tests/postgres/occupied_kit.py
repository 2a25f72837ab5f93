"""What tests of targets that are not empty share: the choice, and a run from its check to its end."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from migrations_app.engine.plan import Plan
from tests.fakes import FakeStore, fake_ports
from tests.postgres.compare_kit import run_steps


def choose(plan: Plan, policy: str) -> Plan:
    return replace(plan, selection=replace(plan.selection, existing=policy))


def migrate(plan: Plan) -> FakeStore:
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    store.targets.update({one.source_name: one.target_name for one in plan.databases})
    run_steps(plan, ports)
    assert all(comparison.equal for comparison in store.comparisons)
    assert ports.ledger.items() == []
    return store
