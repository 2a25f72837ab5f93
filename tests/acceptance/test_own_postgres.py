"""A console that keeps its rows in PostgreSQL, with one worker for the sync: killed, stopped, shared, cancelled."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.shop import table_counts
from migrations_app.demo.writer import Writer
from tests.acceptance.kit import Migration, World, finish, kill_at, open_world
from tests.acceptance.places import Place, database_pair, nothing_of_ours
from tests.acceptance.test_kills import RECOVERY_SECONDS, _fill
from tests.comparator import differences
from tests.fakes import wait_until
from tests.folders import public_folder

GRACE_SECONDS = 20
CANCEL_SECONDS = 30
_SMALL = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (0)"


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    """The server of the console's own rows; the product refuses to migrate to or from it."""
    with public_folder("own") as folder:
        cluster = Cluster(folder=folder / "server", major=18)
        cluster.create()
        cluster.start()
        yield cluster
        cluster.stop()


@pytest.fixture(scope="module")
def world(
    own: Cluster, source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """An installation whose own database is PostgreSQL."""
    settings = {"DATABASE_URL": own.uri(), "TOWPATH_SYNC_WORKERS": "1", "TOWPATH_COPY_JOBS": "1"}
    with open_world(source_cluster, target_cluster, tmp_path_factory.mktemp("own"), **settings) as opened:
        yield opened


@pytest.fixture
def pair(world: World) -> Iterator[tuple[Place, Place]]:
    with database_pair(world, _fill, make_target=True) as places:
        yield places


@pytest.fixture
def migration(world: World, pair: tuple[Place, Place]) -> Iterator[Migration]:
    made = Migration(world, *pair)
    yield made
    made.close()


@pytest.fixture
def writer(pair: tuple[Place, Place]) -> Iterator[Writer]:
    source, _ = pair
    with Writer(source.cluster.arguments(source.name), seed=6, rate=40) as started:
        yield started


def stopped(world: World, migration: Migration, how: signal.Signals) -> None:
    """Stop everything cleanly and assert that the task was given back at once, at a safe point."""
    began = time.monotonic()
    world.up.send_signal(how)
    assert world.up.wait(GRACE_SECONDS + 10) == 0, world.installation.logs()[-4000:]
    assert time.monotonic() - began < GRACE_SECONDS
    assert (migration.column("worker"), migration.column("lease_until")) == ("", None), migration.story()


def until_applied(migration: Migration) -> None:
    """Wait until the target has everything that is committed on the source now."""
    now = migration.source.value("SELECT pg_current_wal_insert_lsn()::text")
    reached = f"SELECT bool_and(lsn >= '{now}') FROM towpath.bookmark"
    wait_until(lambda: migration.target.value(reached), 60, f"what was committed before {now}")


def more_of(writer: Writer, number: int) -> None:
    """Wait until the application has committed so many more transactions."""
    enough = writer.stats().committed + number
    wait_until(lambda: writer.stats().committed > enough, 30, "more transactions")


def _unequal_rows(source: Place, target: Place) -> list[str]:
    with source.connect() as one, target.connect() as other:
        return differences(one, other, tables=table_counts(one))


@pytest.mark.long
@pytest.mark.parametrize(
    ("in_copy", "in_sync"),
    [
        (signal.SIGTERM, signal.SIGINT),
        pytest.param(signal.SIGINT, signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_clean_stop_gives_the_task_back_and_a_later_start_takes_it_to_the_end(
    world: World, migration: Migration, writer: Writer, in_copy: signal.Signals, in_sync: signal.Signals
) -> None:
    migration.start()
    migration.until_step("copy")
    copying = "SELECT 1 FROM migrations_app_tablecopy WHERE task_id = ? AND schema = 'slow' AND status = 'copying'"
    wait_until(lambda: world.installation.query(copying, migration.id), 20, "a slow table being copied")
    stopped(world, migration, in_copy)
    assert (migration.status, migration.step) == ("running", "copy")
    world.start()
    migration.until("ready")
    stopped(world, migration, in_sync)
    assert (migration.status, migration.step) == ("ready", "sync")
    world.start()
    finish(migration, writer)


@pytest.mark.long
def test_a_sync_that_is_killed_goes_on_and_cancel_leaves_nothing(
    migration: Migration, writer: Writer, pair: tuple[Place, Place]
) -> None:
    migration.start()
    migration.until("ready")
    assert kill_at(migration, "sync", 0.2) < RECOVERY_SECONDS
    migration.until("ready")
    known = writer.stats().committed
    wait_until(lambda: writer.stats().committed > known, 20, "more transactions")
    assert writer.stop().errors == ()
    wait_until(lambda: not _unequal_rows(*pair), 30, "every row on the target")
    began = time.monotonic()
    migration.press("cancel_task")
    migration.until("cancelled", seconds=CANCEL_SECONDS)
    nothing_of_ours(*pair)
    assert time.monotonic() - began < CANCEL_SECONDS


@pytest.mark.slow
def test_three_syncs_that_share_one_worker_all_go_on(world: World) -> None:
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(3):
            pair = stack.enter_context(database_pair(world, _SMALL, make_target=True))
            made.append(stack.enter_context(contextlib.closing(Migration(world, *pair))))
        for migration in made:
            migration.check()
        for migration in made:
            migration.press("start_task")
        for migration in made:
            migration.until("ready")
        for number in (1, 2):
            for migration in made:
                migration.source.run(f"INSERT INTO t VALUES ({number})")
            for migration in made:
                arrived = f"SELECT count(*) FROM t WHERE id = {number}"
                wait_until(lambda one=migration, sql=arrived: one.target.value(sql) == 1, 30, "a row of each task")
        assert {migration.status for migration in made} == {"ready"}


@pytest.mark.long
def test_a_restart_of_the_consoles_own_server_ends_no_sync(own: Cluster, migration: Migration, writer: Writer) -> None:
    migration.start()
    migration.until("ready")
    epoch = migration.epoch  # of the one worker that goes on all the time
    for _ in range(3):
        own.stop()
        more_of(writer, 80)  # two seconds, in which the sync has something to record
        own.start()
        migration.look_again()
        until_applied(migration)
        assert migration.status in ("ready", "running"), migration.story()
        assert migration.epoch == epoch, migration.story()
    migration.until("ready")
    finish(migration, writer)
