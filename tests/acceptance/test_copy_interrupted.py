"""A copy that is paused or killed in its midst: with sync it goes on, without it it begins again and says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.kit import Migration, World, ends_well, kill_at
from tests.acceptance.places import Place, database_pair
from tests.fakes import wait_until

FILL = (
    """
    CREATE FUNCTION down(value int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
  DECLARE slept text; BEGIN
      IF current_setting('server_version_num')::int >= 180000 THEN slept := pg_sleep(0.005)::text; END IF;
  RETURN true; END $$;
    """
    + "".join(
        f"CREATE TABLE quick_{n} (id int PRIMARY KEY, v text); INSERT INTO quick_{n} SELECT g, 'v' FROM"
        f" generate_series(1, 20) g;"
        for n in range(20)
    )
    + "".join(
        f"CREATE TABLE slow_{n} (id int PRIMARY KEY, v text, CHECK (down(id))); INSERT INTO slow_{n} SELECT g, 'v' FROM"
        f" generate_series(1, 500) g;"
        for n in range(4)
    )
)
Begin = Callable[[bool], Migration]


@pytest.fixture
def begin(world: World) -> Iterator[Begin]:
    """Start a task, with sync or without, and wait until some of its tables are copied and others are not."""
    made: list[Migration] = []

    with database_pair(world, FILL, make_target=True) as (source, target):

        def start(incremental: bool) -> Migration:
            migration = Migration(world, source, target, incremental=incremental)
            made.append(migration)
            migration.start()
            migration.until_step("copy")
            wait_until(lambda: migration.copied(), 30, "the first tables")
            assert migration.step == "copy"
            return migration

        yield start
        for migration in made:
            migration.close()


def files(target: Place, names: dict[str, int | None]) -> set[tuple[str, int]]:
    """Return the files in which these tables stand: emptying a table gives it another."""
    with target.connect() as connection:
        rows = connection.execute("SELECT relname, relfilenode FROM pg_class WHERE relname = ANY(%s)", (list(names),))
        return {(str(name), int(node)) for name, node in rows.fetchall()}


def paused(migration: Migration) -> dict[str, int | None]:
    """Press Pause in the copy and wait until the worker has let go; returns what is copied."""
    migration.press("pause_task")
    wait_until(lambda: not migration.column("worker"), 30, "the worker letting go")
    assert (migration.status, migration.step) == ("paused", "copy")
    known = migration.copied()
    assert known
    assert len(known) < 24
    return known


@pytest.mark.long
def test_a_copy_with_sync_goes_on_after_a_pause(begin: Begin) -> None:
    migration = begin(True)
    kept = paused(migration)
    before = files(migration.target, kept)
    migration.source.run("UPDATE quick_0 SET v = 'later'", "DELETE FROM slow_3 WHERE id > 400")
    migration.press("resume_task")
    migration.until("ready")
    after = migration.copied()
    assert {name: after[name] for name in kept} == kept
    assert set(after.values()) - set(kept.values()), "the rest was copied under the old snapshot"
    assert files(migration.target, kept) == before
    migration.complete()
    ends_well(migration)


@pytest.mark.long
def test_a_copy_without_sync_begins_again_after_a_pause_and_says_so(begin: Begin) -> None:
    migration = begin(False)
    kept = paused(migration)
    before = files(migration.target, kept)
    migration.source.run("UPDATE quick_0 SET v = 'later'", "DELETE FROM slow_3 WHERE id > 400")
    migration.press("resume_task")
    migration.until("completed")
    events = migration.events()
    assert "Resume copies every table again" in dict(events)["TASK-PAUSED"]
    assert [code for code, _ in events].count("COPY-AGAIN") == 1
    assert not files(migration.target, kept) & before
    ends_well(migration)


@pytest.mark.long
def test_a_worker_killed_in_a_copy_without_sync_is_replaced(begin: Begin) -> None:
    migration = begin(False)
    kept = migration.copied()
    before = files(migration.target, kept)
    assert kill_at(migration, "copy", 0) < 30
    migration.until("completed")
    assert [code for code, _ in migration.events()].count("COPY-AGAIN") == 1
    assert not files(migration.target, kept) & before
    ends_well(migration)
