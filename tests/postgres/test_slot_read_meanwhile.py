"""What somebody takes out of the task's slot while rows are copied is told before the copy is over."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import lookout, snapshot
from migrations_app.engine.errors import SlotLost
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan
from migrations_app.engine.ports import SpoolState
from migrations_app.engine.steps import copy
from tests.postgres import copy_kit
from tests.postgres.copy_kit import execute

built = copy_kit.built
run = copy_kit.run

ADVANCED = "SELECT pg_replication_slot_advance('{}', pg_current_wal_lsn())"
READ = "SELECT count(*) FROM pg_logical_slot_get_binary_changes('{}', NULL, NULL, {})"
OPTIONS = "'proto_version', '1', 'publication_names', '{}'"


def _take(run: Run, source: Cluster, statement: str) -> None:
    """Let somebody take a change out of the slot."""
    [database] = run.plan.databases
    state = run.ports.store.database(database.source_name)
    options = OPTIONS.format(state.publication)
    execute(source, database.source_name, "CREATE TABLE meanwhile (id int)")
    execute(source, database.source_name, statement.format(state.slot, options))


@pytest.mark.parametrize("statement", [ADVANCED, READ], ids=["advanced", "read"])
def test_a_slot_that_somebody_reads_during_the_copy_ends_the_copy(
    run: Run, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    monkeypatch.setattr(lookout, "_MEASURE_SECONDS", 0.1)
    first, over = threading.Lock(), threading.Event()

    def build(run: Run, database: DatabasePlan, table: Any, session: Any) -> None:
        if first.acquire(blocking=False):
            _take(run, source_cluster, statement)
        over.wait(20)

    copy_kit.stand_in(monkeypatch, build)
    snapshot.open_first(run, run.plan.databases[0])
    real = copy.Board.fail
    monkeypatch.setattr(copy.Board, "fail", lambda board, error: (over.set(), real(board, error)))
    with pytest.raises(SlotLost, match="somebody else reads the slot") as caught:
        copy.run(run)
    assert caught.value.code == "SRC-SLOTLOST"
    assert "Restart with new copy" in caught.value.hint


@pytest.mark.parametrize("statement", [ADVANCED, READ], ids=["advanced", "read"])
def test_no_snapshot_is_opened_behind_a_slot_that_somebody_has_read(
    run: Run, source_cluster: Cluster, statement: str
) -> None:
    [database] = run.plan.databases
    snapshot.open_first(run, database)
    _take(run, source_cluster, statement)
    with pytest.raises(SlotLost, match="somebody else reads the slot"):
        snapshot.open_again(run, database)


def test_a_slot_that_fills_a_spool_during_the_copy_moves_on_without_a_word(run: Run, source_cluster: Cluster) -> None:
    [database] = run.plan.databases
    snapshot.open_first(run, database)
    state = run.ports.store.database(database.source_name)
    run.ports.store.save_spool(database.source_name, SpoolState(ends=state.consistent_point or 0, size=0))
    _take(run, source_cluster, ADVANCED)
    assert snapshot.open_again(run, database).alive()
