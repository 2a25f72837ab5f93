"""Sequences move on the target while the sync runs, never backwards, and Complete still sets them exactly."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import sequences
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.ports import Ports
from migrations_app.engine.replication import followed_sequences, polling
from migrations_app.engine.replication.followed_sequences import FollowedSequences
from migrations_app.engine.replication.lag import SourceWatch
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import sync
from tests.fakes import fake_ports, wait_until
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.sync_kit import Pair
from tests.postgres.test_sequences import migrate, state

TABLES = """
CREATE TABLE t (id bigserial PRIMARY KEY);
CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
CREATE SEQUENCE alone INCREMENT 5;
CREATE SEQUENCE down INCREMENT -2 MINVALUE -1000 START -1;
CREATE SEQUENCE round MAXVALUE 9 CYCLE;
CREATE SEQUENCE idle;
"""
NAMES = ("t_id_seq", "numbered_id_seq", "alone", "down", "round", "idle")


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


def looked(pair: Pair) -> list[str]:
    """Sync a slice that looks at the source once, and return the warnings of sequences."""
    return [message for _, code, message in pair.look(slice_seconds=0.0) if code.startswith("SEQUENCES-")]


def states(pair: Pair, side: str) -> dict[str, Any]:
    text = " UNION ALL ".join(f"SELECT '{name}', last_value, is_called FROM {name}" for name in NAMES)
    cluster, name = (pair.source, pair.source_db) if side == "source" else (pair.target, pair.target_db)
    with cluster.connect(name) as connection:
        return {str(row[0]): tuple(row[1:]) for row in connection.execute(text.encode()).fetchall()}


def test_a_sequence_moves_on_the_target_while_the_sync_runs(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "_SECONDS", 0.2)
    pair.build(TABLES)
    with pair.running() as run:
        slice_ = threading.Thread(target=lambda: sync.run(run))
        slice_.start()
        try:
            wait_until(lambda: pair.state.in_sync, what="being in sync")
            for _ in range(2):
                pair.at_source("INSERT INTO t DEFAULT VALUES", "INSERT INTO numbered DEFAULT VALUES")
                pair.at_source("SELECT nextval('alone'), nextval('down')")
                here = states(pair, "source")
                wait_until(lambda wanted=here: states(pair, "target") == wanted, what="the target's sequences")
        finally:
            pair.control.yields = True
            slice_.join()
    assert here["idle"] == (1, False)


def test_what_somebody_moved_further_on_the_target_stays_so(pair: Pair) -> None:
    pair.build(TABLES)
    pair.at_target("SELECT setval('alone', 500), setval('down', -501), setval('round', 5), setval('idle', 7)")
    pair.at_source("SELECT nextval('alone'), nextval('down'), nextval('round'), nextval('t_id_seq')")
    assert looked(pair) == []
    there = states(pair, "target")
    assert [there[name] for name in ("alone", "down", "round", "idle")] == [
        (500, True),
        (-501, True),
        (5, True),
        (7, True),
    ]
    assert there["t_id_seq"] == (1, True)


def test_what_the_source_takes_back_stays_on_the_target_until_complete(pair: Pair) -> None:
    pair.build(TABLES)
    pair.at_source("SELECT setval('alone', 96)")
    looked(pair)
    pair.at_source("SELECT setval('alone', 11)")
    looked(pair)
    assert states(pair, "target")["alone"] == (96, True)


def test_only_sequences_that_moved_are_looked_at_on_the_target(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.build(TABLES)
    asked: list[list[str]] = []

    def carry(used: Any, *rest: Any) -> Any:
        asked.append(sorted(item.name for item in used))
        return followed(used, *rest)

    followed = followed_sequences.carry_forward
    monkeypatch.setattr(followed_sequences, "carry_forward", carry)
    pair.at_source("SELECT nextval('alone'), nextval('down')")
    for _ in range(2):
        looked(pair)
    pair.at_source("SELECT nextval('down')")
    looked(pair)
    assert asked == [["alone", "down"], ["down"]]


def test_a_sequence_that_the_target_lacks_is_left_alone(pair: Pair) -> None:
    pair.build(TABLES + "CREATE SCHEMA apart; CREATE SEQUENCE apart.other", target=TABLES)
    pair.at_source("SELECT nextval('apart.other'), nextval('alone')")
    assert looked(pair) == []
    assert states(pair, "target")["alone"] == (1, True)


@pytest.fixture
def limited(pair: Pair) -> Iterator[str]:
    """An account that may read all sequences of the source but one, and set all of the target but two."""
    pair.build(TABLES)
    name = f"limited_{secrets.token_hex(4)}"
    make = f"CREATE ROLE {name} LOGIN PASSWORD 'x'; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}"
    pair.at_source(make, f"REVOKE ALL ON SEQUENCE alone FROM {name}")
    pair.at_target(make, f"REVOKE UPDATE ON SEQUENCE down FROM {name}", f"REVOKE ALL ON SEQUENCE round FROM {name}")
    yield name
    for at in (pair.at_source, pair.at_target):
        at(f"DROP OWNED BY {name}; DROP ROLE {name}")


def look_as(pair: Pair, account: str) -> None:
    plan = pair.plan()
    here, there = (replace(server, user=account, password="x") for server in (plan.source, plan.target))
    with pair.running(source=here, target=there) as run:
        watch = SourceWatch(run.sessions.open(Side.SOURCE, pair.source_db), pair.state.slot, pair.store, lambda: None)
        state = FollowedSequences(run, pair.database, watch).look(pair.state)
        watch.close()
    pair.store.save_database(state)


def test_what_may_not_be_read_or_set_is_told_once_and_keeps_nothing_else_back(pair: Pair, limited: str) -> None:
    pair.at_source("SELECT nextval('alone'), nextval('down'), nextval('round'), nextval('t_id_seq')")
    for _ in range(3):
        look_as(pair, limited)
        pair.at_source("SELECT nextval('down'), nextval('round')")
    assert states(pair, "target")["t_id_seq"] == (1, True)
    [(level, code, said)] = pair.store.events
    assert (level, code) == ("warning", "SEQUENCES-REFUSED")
    assert f"3 sequences of {pair.source_db}" in said
    assert "public.alone, public.down, public.round" in said
    pair.at_source(f"GRANT SELECT ON SEQUENCE alone TO {limited}")
    look_as(pair, limited)
    assert states(pair, "target")["alone"] == (1, True)


def test_a_value_beyond_the_limits_of_the_targets_sequence_is_told_once_and_follows_when_those_have_moved(
    pair: Pair,
) -> None:
    pair.build(TABLES + "CREATE SEQUENCE narrow MAXVALUE 9")
    pair.at_source("ALTER SEQUENCE narrow MAXVALUE 1000; SELECT setval('narrow', 500), nextval('alone')")
    [said] = looked(pair)
    assert looked(pair) == []
    assert 'public.narrow (setval: value 500 is out of bounds for sequence "narrow" (1..9))' in said
    assert states(pair, "target")["alone"] == (1, True)
    pair.at_target("ALTER SEQUENCE narrow MAXVALUE 1000")
    assert looked(pair) == []
    assert pair.value("SELECT last_value FROM narrow", "target") == 500


def test_what_else_the_source_refuses_is_told_once_with_its_words_and_the_sync_goes_on(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.build(TABLES)
    with monkeypatch.context() as patched:
        patched.setattr(sequences, "query", lambda *_: "SELECT 1 / 0")
        [said] = looked(pair)
        assert "division by zero" in said
        assert looked(pair) == []
    pair.at_source("SELECT nextval('alone')")
    assert looked(pair) == []
    assert states(pair, "target")["alone"] == (1, True)


def test_a_sequence_that_goes_away_during_a_look_changes_nothing_of_what_was_told(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, limited: str
) -> None:
    look_as(pair, limited)
    told = pair.state.told_drift
    with monkeypatch.context() as patched:
        patched.setattr(sequences, "query", lambda *_: "SELECT * FROM gone")
        look_as(pair, limited)
    assert pair.state.told_drift == told != ()
    look_as(pair, limited)
    assert [code for _, code, _ in pair.store.events] == ["SEQUENCES-REFUSED"]


def test_a_sequence_that_somebody_locks_on_the_target_is_carried_over_later(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed_sequences, "_LOCK_TIMEOUT", "100ms")
    pair.build(TABLES)
    pair.at_source("SELECT nextval('alone')")
    with pair.target.connect(pair.target_db) as holder:
        holder.execute("BEGIN; ALTER SEQUENCE alone CACHE 1")
        assert looked(pair) == []
        holder.execute("ROLLBACK")
    assert states(pair, "target")["alone"] == (1, False)
    looked(pair)
    assert states(pair, "target")["alone"] == (1, True)


# From the copy to Complete


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(TABLES.encode())
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path, incremental=True
    )


def look(plan: Plan, ports: Ports) -> None:
    polling._looked.clear()
    with Executor(plan, ports) as executor:
        executor.run(StepName.SYNC)


def at(connection: psycopg.Connection[Any], *names: str) -> list[Any]:
    return [state(connection, name) for name in names]


def test_complete_sets_exactly_what_was_carried_on_in_between_and_what_is_ahead_stays(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    ports = fake_ports()
    migrate(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)
    (database,) = plan.databases
    with (
        source_cluster.connect(database.source_name) as source,
        target_cluster.connect(database.target_name) as target,
    ):
        source.execute("SELECT setval('alone', 96), setval('t_id_seq', 40), setval('numbered_id_seq', 50)")
        source.execute("SELECT setval('round', 8)")
        look(plan, ports)
        assert at(target, "alone", "t_id_seq", "numbered_id_seq") == [(96, True), (40, True), (50, True)]
        source.execute("SELECT setval('round', 2)")
        look(plan, ports)
        assert at(target, "round") == [(2, True)]
        source.execute("SELECT setval('alone', 11), setval('t_id_seq', 30), setval('numbered_id_seq', 45)")
        target.execute("SELECT nextval('t_id_seq')")
        look(plan, ports)
        assert at(target, "alone", "t_id_seq", "numbered_id_seq") == [(96, True), (41, True), (50, True)]
        store = migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
        assert at(target, "alone", "t_id_seq", "numbered_id_seq") == [(11, True), (41, True), (45, True)]
    found = [item for item in store.comparisons[-1].other if item.verdict != "equal"]
    assert [(item.name, item.verdict) for item in found] == [("sequence t_id_seq", "ahead")]
