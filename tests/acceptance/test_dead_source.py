"""A source that dies while the task is in sync: what the console tells of it, and what comes when it is back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from migrations_app.demo.shop import load_shop
from migrations_app.demo.writer import Writer
from tests.acceptance.kit import Migration, Refused, World, finish
from tests.acceptance.places import Place, database_pair
from tests.fakes import wait_until
from tests.faults.proxy import FaultProxy, fault_proxy

pytestmark = pytest.mark.long


@pytest.fixture
def pair(world: World) -> Iterator[tuple[Place, Place]]:
    with database_pair(world, lambda connection: load_shop(connection, 0.01), make_target=True) as places:
        yield places


@pytest.fixture
def line(world: World) -> Iterator[FaultProxy]:
    with fault_proxy(world.source.port, 7) as proxy:
        yield proxy


@pytest.fixture
def migration(world: World, pair: tuple[Place, Place], line: FaultProxy) -> Iterator[Migration]:
    """A task that reaches its source through a line that can be broken."""
    made = Migration(world, *pair)
    world.operator.do(f"Endpoint.objects.filter(source_of={made.id!r}).update(port={line.port})")
    yield made
    line.refuse(False)
    made.close()


@pytest.fixture
def writer(pair: tuple[Place, Place]) -> Iterator[Writer]:
    source, _ = pair
    with Writer(source.cluster.arguments(source.name), seed=2, rate=40) as started:
        yield started


def test_a_dead_source_is_not_told_as_in_sync_and_nothing_can_be_completed(
    migration: Migration, writer: Writer, line: FaultProxy
) -> None:
    migration.start()
    migration.until("ready")
    line.refuse()
    wait_until(lambda: migration.column("failing_since"), 20, "the outage being noticed")
    began = time.monotonic()
    assert (migration.column("lag_seconds"), migration.column("rows_per_second")) == (None, None)
    if migration.status == "ready":
        with pytest.raises(Refused, match="interrupted since"):
            migration.press("complete_task")
    wait_until(lambda: migration.status == "running", 40, "the task being no longer ready")
    assert time.monotonic() - began < 33, "half a minute, and the dispatcher's tick"
    assert any("interrupted since" in text for code, text in migration.events() if code == "TASK-BEHIND")
    line.refuse(False)
    migration.until("ready", seconds=120)
    assert migration.column("lag_seconds") is not None
    finish(migration, writer)


def test_a_short_break_of_the_line_leaves_the_task_ready(
    migration: Migration, writer: Writer, line: FaultProxy
) -> None:
    migration.start()
    migration.until("ready")
    epoch = migration.epoch
    line.cut()
    wait_until(lambda: migration.epoch > epoch and not migration.column("failing_since"), 30, "the sync going on")
    assert migration.status == "ready"
    assert "TASK-BEHIND" not in {code for code, _ in migration.events()}
    finish(migration, writer)
