"""Plans and short ways to run single check items on real servers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.checks import CheckResult, run_checks
from migrations_app.engine.plan import DatabasePlan, Plan, Server
from migrations_app.engine.selection import Selection
from tests.fakes import FakeControl


def login(cluster: Cluster, **more: Any) -> Server:
    """Return the address of a cluster, as its superuser unless told otherwise."""
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": cluster.port,
        "user": "postgres",
        "password": cluster.password,
    }
    return Server(**{**values, **more})


def plan(
    source: Server,
    target: Server,
    databases: Iterable[tuple[str, str]],
    *,
    incremental: bool = True,
    selection: Selection | None = None,
) -> Plan:
    """Return a plan that migrates whole databases unless a selection is given."""
    pairs = tuple(DatabasePlan(source_name=a, target_name=b) for a, b in databases)
    return Plan(
        key="0badcafe",
        epoch=1,
        source=source,
        target=target,
        databases=pairs,
        selection=selection or Selection(rules={(pair.source_name,): True for pair in pairs}),
        incremental=incremental,
        work_dir=Path("/nonexistent"),
        connect_timeout_seconds=2,
    )


def check(plan_: Plan, code: str) -> CheckResult:
    """Run one item and return its result; with several databases the first one's."""
    results = run_checks(plan_, FakeControl(), only=frozenset({code}), report=lambda result: None)
    assert results, f"no item {code}"
    assert {result.code for result in results} == {code}
    for result in results:
        assert result.status == "passed" or result.hint, "what is not passed says how to fix it"
    return results[0]


def check_all(plan_: Plan) -> dict[str, CheckResult]:
    """Run every item and return the results by code."""
    return {result.code: result for result in run_checks(plan_, FakeControl(), report=lambda result: None)}
