"""Sequences stand on the target where the source's stand, also below their start; what was used is never taken back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName, steps_for
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, server

SEQUENCES = """
CREATE SEQUENCE below START 1000;
SELECT setval('below', 5);
CREATE SEQUENCE restarted START 100;
ALTER SEQUENCE restarted RESTART WITH 1;
CREATE SEQUENCE down INCREMENT -2 MINVALUE -1000 MAXVALUE 1000 START -500;
SELECT setval('down', 300, false);
CREATE SEQUENCE cycling MINVALUE 1 MAXVALUE 9 START 7 CYCLE;
SELECT setval('cycling', 2);
CREATE SEQUENCE fresh START 10;
CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY (START 1000) PRIMARY KEY, n serial);
ALTER TABLE numbered ALTER id RESTART WITH 1;
SELECT setval('numbered_n_seq', 44);
"""
BEFORE = tuple(step for step in steps_for(incremental=False) if step not in (StepName.CHECK, StepName.COMPLETE))


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SEQUENCES.encode())
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


def migrate(plan: Plan, ports: Ports, *steps: StepName) -> FakeStore:
    store = cast(FakeStore, ports.store)
    cast(FakeControl, ports.control).complete = True
    store.targets.update({one.source_name: one.target_name for one in plan.databases})
    with Executor(plan, ports) as executor:
        for step in steps:
            assert executor.run(step).done
    return store


def whole(plan: Plan) -> list[StepName]:
    return [step for step in steps_for(incremental=plan.incremental) if step is not StepName.CHECK]


def state(connection: psycopg.Connection[Any], name: str) -> Any:
    return connection.execute(f"SELECT last_value, is_called FROM {name}".encode()).fetchone()


@pytest.mark.parametrize("incremental", [False, True])
def test_every_sequence_stands_exactly_where_the_sources_does(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    plan = replace(plan, incremental=incremental)
    ports = fake_ports()
    migrate(plan, ports, *whole(plan))
    (database,) = plan.databases
    with (
        source_cluster.connect(database.source_name) as source,
        target_cluster.connect(database.target_name) as target,
    ):
        assert state(target, "below") == (5, True)
        assert state(target, "numbered_id_seq") == (1, False)
        assert differences(source, target) == []
    assert ports.ledger.items() == []


def test_a_sequence_that_the_source_takes_back_before_complete_is_taken_back(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    ports = fake_ports()
    migrate(plan, ports, *BEFORE[:-1])
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as source:
        source.execute("SELECT setval('below', 3), setval('down', 310), setval('numbered_n_seq', 7)")
    migrate(plan, ports, StepName.COMPLETE)
    with target_cluster.connect(database.target_name) as target:
        assert [state(target, name) for name in ("below", "down", "numbered_n_seq")] == [
            (3, True),
            (310, True),
            (7, True),
        ]


@pytest.fixture
def small(plan: Plan, source_cluster: Cluster, target_cluster: Cluster) -> Iterator[Plan]:
    """One schema of a database moves; neither account has a right on what others have on its side."""
    (database,), role = plan.databases, f"small_{secrets.token_hex(4)}"
    far = f"far_{secrets.token_hex(4)}"
    with source_cluster.connect(database.source_name) as source:
        source.execute(
            f"CREATE ROLE {role} LOGIN PASSWORD 'small'; CREATE SCHEMA hr; CREATE SEQUENCE hr.badges;"
            "CREATE TABLE hr.t (id serial PRIMARY KEY); GRANT SELECT ON hr.t TO PUBLIC;"
            f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role};"
            f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}".encode()
        )
    with target_cluster.connect(database.target_name) as target:
        target.execute(
            f"CREATE ROLE {far} LOGIN PASSWORD 'far'; CREATE SCHEMA theirs; CREATE SEQUENCE theirs.others;"
            f'GRANT CREATE ON DATABASE "{database.target_name}" TO {far};'
            f"GRANT CREATE ON SCHEMA public TO {far}".encode()
        )
    selection = replace(plan.selection, rules={(database.source_name, "public"): True})
    servers = {
        "source": replace(plan.source, user=role, password="small"),
        "target": replace(plan.target, user=far, password="far"),
    }
    yield replace(plan, selection=selection, **servers)  # type: ignore[arg-type]
    for cluster, name, account in (
        (source_cluster, database.source_name, role),
        (target_cluster, database.target_name, far),
    ):
        with cluster.connect(name) as connection:
            connection.execute(f"DROP OWNED BY {account} CASCADE; DROP ROLE {account}".encode())


def test_sequences_of_others_do_not_keep_ours_from_being_set(
    small: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = small.databases
    store = migrate(small, fake_ports(), *whole(small))
    with (
        source_cluster.connect(database.source_name) as source,
        target_cluster.connect(database.target_name) as target,
    ):
        for name in ("below", "restarted", "down", "cycling", "fresh", "numbered_id_seq", "numbered_n_seq"):
            assert state(target, name) == state(source, name)
    assert all(comparison.equal for comparison in store.comparisons)
    [told] = [text for _, code, text in store.events if code == "SEQUENCES-UNREAD"]
    assert told == "Sequences of the source cannot be read: hr.badges"


def test_a_sequence_that_was_used_on_the_target_is_told_and_stays(plan: Plan, target_cluster: Cluster) -> None:
    plan, ports = replace(plan, incremental=True), fake_ports()
    migrate(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)
    with target_cluster.connect(plan.databases[0].target_name) as target:
        target.execute("SELECT nextval('below'), setval('cycling', 3)")
        store = migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
        assert state(target, "below") == (6, True)
    comparison = store.comparisons[-1]
    assert comparison.equal
    found = [item for item in comparison.other if item.verdict != "equal"]
    assert [(item.name, item.verdict, item.reason) for item in found] == [
        ("sequence below", "ahead", "source is at 5, target at 6")
    ]
    [text] = [text for _, code, text in store.events if code == "SEQUENCES-AHEAD"]
    assert "sequence below (source is at 5, target at 6)" in text


def test_a_sequence_that_was_on_the_target_before_is_not_taken_back(plan: Plan, target_cluster: Cluster) -> None:
    plan = replace(plan, selection=replace(plan.selection, existing="keep"))
    with target_cluster.connect(plan.databases[0].target_name) as target:
        target.execute("CREATE SEQUENCE below START 1000; CREATE SEQUENCE fresh START 2")
        store = migrate(plan, fake_ports(), *whole(plan))
        assert state(target, "below") == (1000, False)
        assert state(target, "fresh") == (10, False)
    [text] = [text for _, code, text in store.events if code == "SEQUENCES-AHEAD"]
    assert "sequence below (source is at 5, target at 1000 (not yet used))" in text
