"""The comparison on the way to Complete, and the one that is asked for, while somebody else holds it up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import slots
from migrations_app.engine.errors import CompleteStopped, DrainLate
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore, wait_until
from tests.postgres import complete_kit
from tests.postgres.compare_kit import running
from tests.postgres.complete_kit import begin, migrate

plan = complete_kit.plan
ports = complete_kit.ports
source = complete_kit.source
target = complete_kit.target
Session = psycopg.Connection[Any]


@contextmanager
def _beside(work: Callable[[], object]) -> Iterator[list[BaseException]]:
    """Do `work` in a thread while the block runs, and wait for its end; yield what it raised."""
    raised: list[BaseException] = []

    def caught() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=caught)
    thread.start()
    try:
        yield raised
    finally:
        thread.join(60)
        assert not thread.is_alive()


def test_the_sync_goes_on_and_leads_back_while_the_comparison_waits_for_a_transaction_of_others(
    plan: Plan, ports: Ports, source: Session, target: Session, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_TRY_SECONDS", 1)
    begin(plan, ports)
    store, control = cast(FakeStore, ports.store), cast(FakeControl, ports.control)
    with source_cluster.connect("postgres") as other:
        other.autocommit = False
        other.execute("CREATE TABLE of_others_for_a_while (a int)")
        with _beside(lambda: migrate(plan, ports, StepName.COMPLETE)) as raised:
            wait_until(lambda: any(event[1] == "SRC-OLDTX" for event in store.events), what="the wait being told")
            source.execute("INSERT INTO audit VALUES (77, 'behind')")
            seen = "SELECT count(*) FROM audit WHERE id = 77"
            wait_until(lambda: target.execute(seen).fetchone() == (1,), what="the row, though the transaction is open")
            control.back = True
            wait_until(lambda: raised, what="the way back to the sync")
        other.rollback()
    assert isinstance(raised[0], CompleteStopped)


def test_a_lock_on_the_target_that_keeps_the_sync_from_pausing_ends_complete_in_time(
    plan: Plan, ports: Ports, source: Session, target: Session, source_cluster: Cluster, source_db: str
) -> None:
    begin(plan, ports)
    store = cast(FakeStore, ports.store)
    with source_cluster.connect(source_db) as other:
        other.autocommit = False
        other.execute("INSERT INTO events (what) VALUES ('open')")
        with _beside(lambda: migrate(replace(plan, drain_seconds=4.0), ports, StepName.COMPLETE)) as raised:
            wait_until(lambda: any("still open" in note for _, _, note in store.steps), what="the wait for the writer")
            target.autocommit = False
            target.execute("LOCK TABLE audit")
            source.execute("INSERT INTO audit VALUES (9, 'stuck')")
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'audit'::regclass"
            wait_until(lambda: target.execute(waits).fetchone() == (1,), what="the sync waiting for the lock")
            other.commit()
            wait_until(lambda: raised, what="the end of Complete")
            target.rollback()
    assert isinstance(raised[0], DrainLate)


@pytest.mark.long
def test_a_slot_is_made_under_transactions_that_overlap_all_the_time(
    plan: Plan, ports: Ports, source: Session, source_cluster: Cluster, source_db: str
) -> None:
    source.execute("CREATE TABLE busy (a int)")
    over = threading.Event()

    def write(after: float) -> None:
        over.wait(after)
        with source_cluster.connect(source_db) as connection:
            while not over.is_set():
                with connection.transaction():
                    connection.execute("INSERT INTO busy VALUES (1)")
                    over.wait(6)

    writers = [threading.Thread(target=write, args=(after,)) for after in (0, 2, 4)]
    for writer in writers:
        writer.start()
    try:
        with running(plan, ports) as run:
            wait_until(
                lambda: source.execute("SELECT count(*) FROM busy").fetchone() != (0,), what="overlapping writers"
            )
            opened = slots.create(run, plan.databases[0], "towpath_overlapping_1", temporary=True)
            opened.release()
    finally:
        over.set()
        for writer in writers:
            writer.join()
