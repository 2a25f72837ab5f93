"""Several tasks on one source: the WAL of one passes its budget, and the others stand back until it has caught up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.acceptance.kit import Migration, World, ends_well
from tests.acceptance.places import Place, database_pair
from tests.fakes import wait_until

_BUDGET = 2_000_000
_NOTES = """
CREATE TABLE public.notes (id int PRIMARY KEY, note text);
INSERT INTO public.notes SELECT g, 'n' FROM generate_series(1, 200) g;
"""
_LARGE = _NOTES + (
    "INSERT INTO public.notes SELECT g, repeat(md5(g::text), 60) FROM generate_series(1000, 21000) g;"
    " ALTER TABLE public.notes ALTER note SET STORAGE EXTERNAL;"
)
_GROW = "INSERT INTO public.notes SELECT g, repeat('x', 400) FROM generate_series(30000, 42000) g"


@pytest.fixture
def migrations(world: World) -> Iterator[list[Migration]]:
    """The task with the budget, one that syncs beside it, and one with much to copy."""
    with contextlib.ExitStack() as stack:
        made = []
        for tables in (_NOTES, _NOTES, _LARGE):
            source, target = stack.enter_context(database_pair(world, tables, make_target=True))
            made.append(Migration(world, source, target))
            stack.callback(made[-1].close)
        yield made


@contextlib.contextmanager
def locked(target: Place) -> Iterator[None]:
    """Keep the table of a target from everybody, so that its sync stands still while it is at work."""
    with target.connect() as connection:
        connection.execute("BEGIN; LOCK TABLE public.notes")
        yield
        connection.execute("COMMIT")


def codes(migration: Migration) -> list[str]:
    return [code for code, _ in migration.events()]


def look(migration: Migration) -> None:
    """Have the source looked at within seconds."""
    migration.press("set_wal_budget", budget_bytes=_BUDGET, policy="pause_others", disk_bytes=None)


@pytest.mark.long
def test_full_migrations_stand_back_first_then_syncs_and_all_go_on_by_themselves(
    world: World, migrations: list[Migration]
) -> None:
    urgent, syncing, copying = migrations
    for migration in (urgent, syncing):
        migration.start()
        migration.until("ready")
    copying.press("tune_task", jobs=1, mb_per_second=1)
    copying.start()
    copying.until_step("copy")
    with locked(urgent.target):
        urgent.source.run(_GROW)
        look(urgent)
        copying.until("paused")
        assert "WAL-PAUSED" not in codes(syncing)
        syncing.until("paused", seconds=90)
        assert urgent.status in ("ready", "running")
        wait_until(lambda: not copying.column("worker") and not syncing.column("worker"), 30, "the workers letting go")

    def fallen() -> bool:
        urgent.source.run("SELECT pg_catalog.pg_log_standby_snapshot()")
        look(urgent)
        return "WAL-RESUMED" in codes(copying) and "WAL-RESUMED" in codes(syncing)

    wait_until(fallen, 120, "the others going on")
    syncing.source.run("UPDATE public.notes SET note = 'later' WHERE id < 50")
    copying.press("tune_task", jobs=None, mb_per_second=None)
    for migration in migrations:
        migration.complete(seconds=120)
    for migration in migrations:
        ends_well(migration)
