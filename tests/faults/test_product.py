"""The whole product under faults: what its workers do, what its history tells, what its buttons lead to."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.writer import Writer
from tests.acceptance.kit import Migration, World, ends_well, finish, open_world
from tests.acceptance.places import Place
from tests.fakes import wait_until
from tests.faults.conftest import SEED, Record
from tests.faults.proxy import FaultProxy, fault_proxy


@pytest.fixture
def proxies(world: World) -> Iterator[dict[str, FaultProxy]]:
    with fault_proxy(world.source.port, SEED) as source, fault_proxy(world.target.port, SEED) as target:
        yield {"source": source, "target": target}


@pytest.fixture
def migration(world: World, pair: tuple[Place, Place], proxies: dict[str, FaultProxy]) -> Iterator[Migration]:
    """A task that reaches both servers through proxies."""
    made = Migration(world, *pair)
    for side, proxy in proxies.items():
        _move(world, made, side, proxy.port)
    yield made
    for proxy in proxies.values():
        proxy.release()
        proxy.refuse(False)
    made.close()


def _move(world: World, migration: Migration, side: str, port: int) -> None:
    world.operator.do(f"Endpoint.objects.filter({side}_of={migration.id!r}).update(port={port})")


def told(migration: Migration, code: str) -> list[str]:
    return [text for found, text in migration.events() if found == code]


@pytest.mark.fault("N2", "both lines of a syncing task held for a minute: told, and taken up by itself")
def test_a_frozen_line_is_told_as_a_retry(
    migration: Migration, writer: Writer, proxies: dict[str, FaultProxy], record_property: Record
) -> None:
    migration.start()
    migration.until("ready")
    for proxy in proxies.values():
        proxy.hold()
    began = time.monotonic()
    wait_until(lambda: told(migration, "RUN-RETRY"), 100, "the retry being told")
    record_property("seen", f"after {time.monotonic() - began:.0f} s: {told(migration, 'RUN-RETRY')[0]}")
    for proxy in proxies.values():
        proxy.release()
    wait_until(lambda: not migration.column("error_message"), 120, "the trouble being over")
    finish(migration, writer)


@pytest.mark.fault("O4", "Cancel while the source's line is frozen, the task in sync; cleaned up once it is back")
def test_a_cancel_behind_a_frozen_source_ends_and_lists_what_is_left(
    world: World, migration: Migration, proxies: dict[str, FaultProxy], record_property: Record
) -> None:
    migration.start()
    migration.until("ready")
    proxies["source"].hold()
    began = time.monotonic()
    migration.press("cancel_task")
    migration.until("cancelled", seconds=30)
    record_property("seen", f"cancelled after {time.monotonic() - began:.0f} s; {told(migration, 'CANCEL-LEFT')[-1]}")
    assert any("pg_drop_replication_slot" in text for text in told(migration, "CANCEL-LEFT"))
    assert {kind for kind, _, _ in migration.ledger("source")} >= {"slot", "publication"}
    proxies["source"].release()
    active = "SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name ~ 'towpath'"
    wait_until(lambda: not migration.source.value(active), 30, "the end of the session that was frozen")
    migration.press("clean_up_task")
    migration.until("cancelled", seconds=30)
    assert migration.ledger("source") == []


@pytest.mark.fault("O1", "Start and Complete pressed by 20 threads at once")
def test_many_presses_have_one_winner(
    world: World, migration: Migration, writer: Writer, record_property: Record
) -> None:
    migration.check()
    assert _press_at_once(world, migration, "start_task") == 1
    migration.until("ready")
    assert writer.stop().errors == ()
    assert _press_at_once(world, migration, "complete_task") == 1
    migration.until("completed")
    ends_well(migration)
    codes = [code for code, _ in migration.events()]
    record_property("seen", f"one winner each; {codes.count('TASK-RUNNING')} run")
    assert codes.count("TASK-RUNNING") == 1


def _press_at_once(world: World, migration: Migration, action: str) -> int:
    """Press a button from 20 threads of one process; returns how many were let through."""
    return int(
        world.operator.do(
            "import threading\nfrom django.db import connection\n"
            "barrier, won, odd = threading.Barrier(20), [], []\n"
            "def press():\n"
            "    barrier.wait()\n"
            "    try:\n"
            f"        services.{action}(task_id={migration.id!r}, actor=None)\n"
            "        won.append(1)\n"
            "    except services.Refused:\n"
            "        pass\n"
            "    except Exception as error:\n"
            "        odd.append(repr(error))\n"
            "    finally:\n"
            "        connection.close()\n"
            "threads = [threading.Thread(target=press) for _ in range(20)]\n"
            "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
            "assert not odd, odd\n"
            "print(len(won))"
        )
    )


@pytest.mark.fault("B9", "password of the source changed in the sync; Change access and Retry")
def test_a_changed_password_waits_for_the_operator(
    world: World, migration: Migration, writer: Writer, record_property: Record
) -> None:
    with world.source.connect() as boss:
        boss.execute("CREATE ROLE mover SUPERUSER REPLICATION LOGIN PASSWORD 'first-password'")
    try:
        _sign_in(world, migration, "first-password")
        migration.start()
        migration.until("ready")
        with world.source.connect() as boss:
            boss.execute("ALTER ROLE mover PASSWORD 'second-password'")
            boss.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mover'")
        migration.until("failed")
        record_property("seen", f"{migration.column('error_code')}: {migration.column('error_message')}")
        assert migration.column("error_code") == "AUTH-FAILED"
        assert "password" in str(migration.column("error_hint"))
        _sign_in(world, migration, "second-password")
        migration.press("retry_task")
        finish(migration, writer)
    finally:
        with migration.source.connect() as connection:
            connection.execute("REASSIGN OWNED BY mover TO postgres; DROP ROLE mover")


def _sign_in(world: World, migration: Migration, password: str) -> None:
    world.operator.do(
        f"one = Endpoint.objects.get(source_of={migration.id!r})\n"
        f"one.account, one.password = 'mover', {password!r}\n"
        "one.save()"
    )


@pytest.fixture(scope="module")
def impatient_world(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """An installation that gives a lost server up after a minute, the shortest that can be set."""
    folder = tmp_path_factory.mktemp("impatient")
    with open_world(source_cluster, target_cluster, folder, TOWPATH_RETRY_WINDOW="1") as opened:
        yield opened


@pytest.mark.fault("N9", "a server refuses for longer than the window of one minute; Retry afterwards")
@pytest.mark.parametrize("side", ["source", "target"])
def test_an_outage_longer_than_the_window_fails_and_retry_goes_on(
    impatient_world: World, pair: tuple[Place, Place], writer: Writer, side: str, record_property: Record
) -> None:
    with fault_proxy(getattr(impatient_world, side).port, SEED) as proxy:
        migration = Migration(impatient_world, *pair)
        _move(impatient_world, migration, side, proxy.port)
        try:
            migration.start()
            migration.until("ready")
            proxy.refuse()
            wait_until(lambda: migration.status == "failed", 180, "the window being over")
            record_property("seen", f"{migration.column('error_code')}: {migration.column('error_message')}")
            assert {kind for kind, _, _ in migration.ledger("source")} >= {"slot", "publication"}
            slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name ~ 'towpath'"
            assert migration.source.value(slots) == 1
            assert migration.column("error_hint")
            proxy.refuse(False)
            migration.press("retry_task")
            finish(migration, writer)
        finally:
            migration.close()


@pytest.mark.fault("N5", "cut again and again while the sync is behind: the window begins anew with each step forward")
def test_outages_that_are_over_do_not_add_up(
    impatient_world: World, pair: tuple[Place, Place], writer: Writer, record_property: Record
) -> None:
    with fault_proxy(impatient_world.target.port, SEED) as proxy:
        migration = Migration(impatient_world, *pair)
        _move(impatient_world, migration, "target", proxy.port)
        try:
            migration.start()
            migration.until("ready")
            began, cuts = time.monotonic(), 0
            while time.monotonic() - began < 80:
                proxy.cut()
                cuts += 1
                pause = time.monotonic() + 6
                wait_until(lambda end=pause: time.monotonic() > end, 20, "a pause")
                assert migration.status in ("running", "ready"), migration.story()
            record_property("seen", f"{cuts} cuts in 80 s with a window of 60 s, never given up")
            finish(migration, writer)
        finally:
            migration.close()
