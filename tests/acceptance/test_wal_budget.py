"""A paused task whose WAL grows past its budget, under each policy, with real workers and servers, and with kills."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.acceptance.kit import Migration, World, ends_well, kill
from tests.acceptance.places import Place, database_pair, nothing_of_ours
from tests.fakes import wait_until
from tests.installation import descendants

_BUDGET = 2_000_000
_SHOP = """
CREATE TABLE public.notes (id int PRIMARY KEY, note text);
INSERT INTO public.notes SELECT g, 'n' FROM generate_series(1, 200) g;
"""
_GROW = "INSERT INTO public.notes SELECT g, repeat('x', 400) FROM generate_series(1000, 13000) g"
_SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"


@pytest.fixture
def pair(world: World) -> Iterator[tuple[Place, Place]]:
    with database_pair(world, _SHOP, make_target=True) as places:
        yield places


@pytest.fixture
def migration(world: World, pair: tuple[Place, Place]) -> Iterator[Migration]:
    made = Migration(world, *pair)
    yield made
    made.close()


def codes(migration: Migration) -> list[str]:
    return [code for code, _ in migration.events()]


def paused(migration: Migration) -> None:
    """Bring a task into its sync and pause it."""
    migration.start()
    migration.until("ready")
    migration.press("pause_task")
    wait_until(lambda: not migration.column("worker"), 60, "the worker letting go")


def grow_past_the_budget(migration: Migration, policy: str) -> None:
    """Let the source write more than the budget, and set it: that is looked at within seconds."""
    migration.source.run(_GROW)
    migration.press("set_wal_budget", budget_bytes=_BUDGET, policy=policy, disk_bytes=None)


@pytest.mark.long
def test_the_alarm_is_told_while_the_task_is_paused_and_ends_when_it_has_caught_up(migration: Migration) -> None:
    paused(migration)
    grow_past_the_budget(migration, "alarm")
    wait_until(lambda: "WAL-REACHED" in codes(migration), 60, "the alarm")
    assert migration.status == "paused"
    assert migration.source.value(_SLOTS) == 1
    migration.press("resume_task")
    wait_until(lambda: migration.target.value("SELECT count(*) FROM public.notes") == 12201, 60, "the rows")

    def fallen() -> bool:
        migration.source.run("SELECT pg_catalog.pg_logical_emit_message(true, 'test', 'on')")
        migration.press("set_wal_budget", budget_bytes=_BUDGET, policy="alarm", disk_bytes=None)
        return "WAL-NORMAL" in codes(migration)

    wait_until(fallen, 120, "the end of the alarm")
    migration.complete()
    ends_well(migration)


@pytest.mark.long
def test_drop_leaves_nothing_on_the_source_and_says_so(migration: Migration) -> None:
    paused(migration)
    grow_past_the_budget(migration, "drop")
    migration.until("cancelled", seconds=90)
    assert "WAL-GIVENUP" in codes(migration)
    assert "The slot is given up" in migration.column("error_message")
    nothing_of_ours(migration.source, migration.target)


@pytest.mark.long
def test_a_new_copy_begins_and_ends_by_itself(migration: Migration) -> None:
    paused(migration)
    grow_past_the_budget(migration, "new_copy")
    wait_until(lambda: "WAL-GIVENUP" in codes(migration), 60, "the slot being given up")
    wait_until(lambda: codes(migration).count("TASK-READY") == 2, 120, "the second copy")
    assert migration.target.value("SELECT count(*) FROM public.notes") == 12201
    migration.complete()
    ends_well(migration)


@pytest.mark.long
def test_workers_killed_between_the_record_and_the_drop_leave_nothing(world: World, migration: Migration) -> None:
    paused(migration)
    main = world.clusters()["sync"]
    family = [main, *descendants(main)]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    try:
        grow_past_the_budget(migration, "drop")
        wait_until(lambda: migration.status == "cancelling", 60, "the record")
        assert migration.source.value(_SLOTS) == 1
    finally:
        for pid in reversed(family):
            with contextlib.suppress(ProcessLookupError):  # it ended with its parent
                kill(pid)
    migration.until("cancelled", seconds=120)
    nothing_of_ours(migration.source, migration.target)
    assert migration.ledger("source") == []
