"""Networks that cut, freeze, crawl and flap: the engine goes on by itself, and no row is lost or doubled."""

from __future__ import annotations

import random
import socket
import time
from dataclasses import replace

import psycopg
import pytest

from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.policy import AddressPolicy
from migrations_app.engine.replication.stream import open_stream
from migrations_app.engine.states import StepName
from tests.fakes import wait_until
from tests.faults.conftest import SEED, Record
from tests.faults.engine_kit import Driver, Scene, writing
from tests.faults.proxy import Cut, FaultProxy, Way, fault_proxy

Proxies = dict[str, FaultProxy]
SIDES = ("source", "target", "both")


def chosen(proxies: Proxies, side: str) -> list[FaultProxy]:
    return list(proxies.values()) if side == "both" else [proxies[side]]


def through(scene: Scene, proxies: Proxies) -> Driver:
    return Driver(scene.plan(source_port=proxies["source"].port, target_port=proxies["target"].port))


@pytest.mark.long
@pytest.mark.quick
@pytest.mark.sample(1)
@pytest.mark.fault("N2", "both directions held in the sync, patience shortened")
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.usefixtures("form")
def test_a_frozen_line_in_the_sync_is_given_up(
    scene: Scene, proxies: Proxies, side: str, short_patience: float, record_property: Record
) -> None:
    with writing(scene) as writers, through(scene, proxies) as driver:
        driver.until_in_sync()
        held = chosen(proxies, side)
        for proxy in held:
            proxy.hold()
        began = time.monotonic()
        driver.until(lambda: driver.failures, "the frozen line being noticed", 30)
        record_property("seen", f"noticed after {time.monotonic() - began:.1f} s")
        for proxy in held:
            proxy.release()
        driver.until_in_sync()
        writers.stop()
        scene.drained(driver)
    scene.assert_whole(writers)
    assert all(failure.retryable for failure in driver.failures)


@pytest.mark.fault("N2", "both directions held in the sync for over a minute, unshortened")
@pytest.mark.parametrize("side", SIDES)
def test_a_half_open_line_is_noticed_within_a_minute(
    scene: Scene, proxies: Proxies, side: str, record_property: Record
) -> None:
    with writing(scene) as writers, through(scene, proxies) as driver:
        driver.until_in_sync()
        for proxy in chosen(proxies, side):
            proxy.hold()
        began = time.monotonic()
        driver.until(lambda: driver.failures, "the frozen line being noticed", 90)
        noticed = time.monotonic() - began
        record_property("seen", f"noticed after {noticed:.0f} s")
        for proxy in chosen(proxies, side):
            proxy.release()
        driver.until_in_sync()
        writers.stop()
        scene.drained(driver)
    assert noticed < 60
    scene.assert_whole(writers)


@pytest.mark.fault("N2", "open connections lost for good in the sync, new ones pass: the old sessions do not block")
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.usefixtures("short_patience")
def test_sessions_that_a_lost_line_leaves_behind_are_ended(
    scene: Scene, proxies: Proxies, side: str, record_property: Record
) -> None:
    sides = [one for one in proxies if side in (one, "both")]
    with writing(scene) as writers, through(scene, proxies) as driver:
        driver.until_in_sync()
        old = {one: set(scene.our_pids(one)) for one in sides}
        for one in sides:
            proxies[one].lose()
        driver.until(lambda: driver.failures, "the lost line being noticed", 60)
        driver.until_in_sync()
        writers.stop()
        scene.drained(driver)
        left = [pid for one in sides for pid in old[one] & set(scene.our_pids(one))]
    record_property("seen", f"{sum(map(len, old.values()))} sessions left behind, all of them ended")
    assert left == []
    assert all(failure.retryable for failure in driver.failures), driver.story()
    scene.assert_whole(writers)


@pytest.mark.fault("N2", "one direction held in the sync, patience shortened")
@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("way", list(Way), ids=["to-server", "to-client"])
@pytest.mark.usefixtures("short_patience")
def test_a_line_that_is_frozen_in_one_direction_is_given_up(
    scene: Scene, proxies: Proxies, side: str, way: Way, record_property: Record
) -> None:
    with writing(scene) as writers, through(scene, proxies) as driver:
        driver.until_in_sync()
        proxies[side].hold(way)
        began = time.monotonic()
        driver.until(lambda: driver.failures, "the frozen line being noticed", 60)
        record_property("seen", f"noticed after {time.monotonic() - began:.1f} s")
        proxies[side].release()
        driver.until_in_sync()
        writers.stop()
        scene.drained(driver)
    scene.assert_whole(writers)


@pytest.mark.fault("N2", "both directions held in the copy, patience shortened")
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.usefixtures("short_patience")
def test_a_frozen_line_in_the_copy_is_given_up(
    scene: Scene, proxies: Proxies, side: str, record_property: Record
) -> None:
    for proxy in proxies.values():
        proxy.rate = 400_000
    with writing(scene) as writers, through(scene, proxies) as driver:
        driver.until_step(StepName.COPY)
        driver.until(lambda: proxies["target"].passed[Way.TO_SERVER] > 300_000, "rows on their way")
        for proxy in chosen(proxies, side):
            proxy.hold()
        began = time.monotonic()
        driver.until(lambda: driver.failures or "RUN-RETRY" in driver.events, "the frozen line being noticed", 60)
        record_property("seen", f"noticed after {time.monotonic() - began:.1f} s")
        for proxy in proxies.values():
            proxy.release()
            proxy.rate = 0
        driver.until_in_sync(120)
        writers.stop()
        scene.drained(driver)
    scene.assert_whole(writers)


@pytest.mark.quick
@pytest.mark.fault("O3", "stopped by the operator while the source is frozen, in the sync")
def test_a_run_behind_a_frozen_line_can_be_stopped(scene: Scene, proxies: Proxies, record_property: Record) -> None:
    with through(scene, proxies) as driver:
        driver.until_in_sync()
        for proxy in proxies.values():
            proxy.hold()
        seconds = driver.stop(30)
    record_property("seen", f"ended after {seconds:.1f} s")
    assert seconds < 30


@pytest.mark.fault("O3", "stopped by the operator while both lines are frozen, in each step")
@pytest.mark.parametrize("step", [StepName.SCHEMA, StepName.COPY, StepName.INDEX])
def test_a_run_behind_a_frozen_line_can_be_stopped_in_each_step(
    scene: Scene, proxies: Proxies, step: StepName, record_property: Record
) -> None:
    for proxy in proxies.values():
        proxy.delay, proxy.rate = 0.05, 1_000_000
    with through(scene, proxies) as driver:
        driver.until_step(step)
        for proxy in proxies.values():
            proxy.hold()
        seconds = driver.stop(40)
    record_property("seen", f"ended after {seconds:.1f} s")
    assert seconds < 30


@pytest.mark.sample(1)
@pytest.mark.quick
@pytest.mark.fault("N1", "cut by RST in the sync, many times, at random moments")
@pytest.mark.usefixtures("form")
def test_lines_that_are_cut_in_the_sync_lose_nothing(scene: Scene, proxies: Proxies, record_property: Record) -> None:
    with writing(scene) as writers, through(scene, proxies) as driver:
        driver.until_in_sync()
        for proxy in (*proxies.values(), *proxies.values()):
            failures = len(driver.failures)
            assert proxy.cut(Cut.RST)
            driver.until(lambda known=failures: len(driver.failures) > known, "the cut being noticed", 20)
            driver.until_in_sync()
        writers.stop()
        scene.drained(driver)
    record_property("seen", f"{len(driver.failures)} cuts, {len(writers.sure)} numbers")
    scene.assert_whole(writers)


@pytest.mark.fault("N1", "cut at a random byte, from the first byte of the schema to the sync, by RST and FIN")
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("how", [Cut.RST, Cut.FIN], ids=["rst", "fin"])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.usefixtures("form")
def test_a_line_cut_at_any_byte_loses_nothing(
    scene: Scene, proxies: Proxies, side: str, how: Cut, seed: int, record_property: Record
) -> None:
    chance = random.Random(f"{SEED} {seed} {side} {how.value}")  # noqa: S311 - a place, no secret
    laid = []
    for proxy in chosen(proxies, side):
        for way in Way:
            # Rows go one way only; the other one carries little.
            much = way is (Way.TO_CLIENT if proxy is proxies["source"] else Way.TO_SERVER)
            most = 2_500_000 if much else 40_000
            laid += [proxy.trigger(way=way, after_bytes=chance.randrange(1, most), how=how) for _ in range(3)]
    with writing(scene) as writers, through(scene, proxies) as driver:
        driver.until_in_sync(180)
        writers.stop()
        scene.drained(driver)
    record_property("seen", f"{sum(one.pulled for one in laid)} cuts, {len(driver.failures)} failed slices")
    assert sum(one.pulled for one in laid), "nothing was cut, so this shows nothing"
    scene.assert_whole(writers)
    assert all(failure.retryable for failure in driver.failures), driver.story()


@pytest.mark.fault("N4", "50 kB/s and 300 ms with jitter, patience shortened: no false alarm")
@pytest.mark.usefixtures("short_patience", "form")
def test_a_crawling_line_is_not_given_up(scene: Scene, proxies: Proxies, record_property: Record) -> None:
    for proxy in proxies.values():
        proxy.rate, proxy.delay, proxy.jitter = 50_000, 0.02, 0.02
    with writing(scene, rate=5) as writers, through(scene, proxies) as driver:
        driver.until_step(StepName.COPY, 120)
        for proxy in proxies.values():
            proxy.delay, proxy.jitter = 0.3, 0.1
        driver.until(lambda: proxies["target"].passed[Way.TO_SERVER] > 700_000, "rows", 120)
        for proxy in proxies.values():
            proxy.rate, proxy.delay, proxy.jitter = 0, 0.05, 0.02
        driver.until_in_sync(180)
        writers.stop()
        scene.drained(driver)
    record_property("seen", f"{len(driver.failures)} failures")
    assert driver.failures == []
    scene.assert_whole(writers)


@pytest.mark.fault("N5", "reset with 3 % chance per connection and second")
@pytest.mark.usefixtures("form")
def test_lines_that_break_all_the_time_still_finish(scene: Scene, proxies: Proxies, record_property: Record) -> None:
    for proxy in proxies.values():
        proxy.reset_chance, proxy.rate = 0.03, 300_000
    with writing(scene) as writers, through(scene, proxies) as driver:
        driver.until_in_sync(300)
        time_over = time.monotonic() + 60
        driver.until(lambda: time.monotonic() > time_over, "a minute of sync", 90)
        for proxy in proxies.values():
            proxy.reset_chance = 0
        writers.stop()
        scene.drained(driver)
    record_property("seen", f"{len(driver.failures)} failed slices, {driver.events.count('RUN-RETRY')} repeated units")
    scene.assert_whole(writers)
    assert all(failure.retryable for failure in driver.failures), driver.story()


@pytest.mark.fault("N6", "the port refuses for 30 s, three times, in copy and sync")
@pytest.mark.parametrize("side", SIDES)
def test_a_line_that_flaps_is_not_stormed(scene: Scene, proxies: Proxies, side: str, record_property: Record) -> None:
    flapping = chosen(proxies, side)
    proxies["target"].rate = 500_000
    busiest = 0.0
    with writing(scene) as writers, through(scene, proxies) as driver:
        driver.until_step(StepName.COPY)
        for pause in (2.0, 10.0, 5.0):
            up = time.monotonic() + pause
            driver.until(lambda end=up: time.monotonic() > end, "a while", 30)
            for proxy in flapping:
                proxy.refuse()
            known, began = [len(proxy.opened) for proxy in flapping], time.monotonic()
            driver.until(lambda end=began + 30: time.monotonic() > end, "the outage", 60)
            busiest = max(busiest, *((len(one.opened) - n) / 30 for one, n in zip(flapping, known, strict=True)))
            for proxy in flapping:
                proxy.refuse(False)
        proxies["target"].rate = 0
        driver.until_in_sync(180)
        writers.stop()
        scene.drained(driver)
    record_property("seen", f"at most {busiest:.2f} connections a second")
    scene.assert_whole(writers)
    # A failed try is looked into by a second login, so that its reason can be told: these count too.
    assert busiest <= 1, f"{busiest:.2f} connections a second"


@pytest.mark.fault("N8", "wal_sender_timeout = 5 s on the stream itself, and nobody takes what has arrived")
def test_a_stream_that_waits_for_the_target_answers_the_source(scene: Scene) -> None:
    scene.at("source", "CREATE PUBLICATION towpath_test FOR TABLE big")
    (row,) = scene.at("source", "SELECT lsn::text FROM pg_create_logical_replication_slot('towpath_n8', 'pgoutput')")
    connection = psycopg.connect(
        **scene.source.arguments(scene.source_db),
        autocommit=True,
        replication="database",
        options="-c wal_sender_timeout=5s",
    )
    for number in range(12):
        scene.at("source", f"UPDATE big SET note = repeat('{number % 10}', 2000)")
    stream = open_stream(connection, "towpath_n8", "towpath_test", parse_lsn(str(row[0])))
    try:
        waited = time.monotonic() + 12
        wait_until(lambda: time.monotonic() > waited, 20, "more than the source's patience")
        size = 0
        while size < 12 * scene.rows * 2000:
            data = stream.take(20)
            assert data, f"only {size} bytes"
            size += len(data)
    finally:
        stream.close()


class Resolver:
    """Answers for one name as the test says, and for everything else as usual."""

    NAME = "db.faults.test"

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.address = "127.0.0.1"
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: object, port: object, *arguments: object, **more: object) -> object:
        if host != self.NAME:
            return self._real(host, port, *arguments, **more)  # type: ignore[arg-type]
        if not self.address:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.address, port))]


def named(scene: Scene, side: str, port: int) -> Driver:
    """Return a driver that knows one server by a name, through a proxy at this port."""
    plan = scene.plan(**{f"{side}_port": port})
    server = replace(getattr(plan, side), host=Resolver.NAME, policy=AddressPolicy(loopback=True))
    return Driver(replace(plan, **{side: server}))


def port_of(scene: Scene, side: str) -> int:
    return (scene.source if side == "source" else scene.target).port


@pytest.mark.long
@pytest.mark.quick
@pytest.mark.fault("N7", "a server's name not resolved for a while, in the sync")
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_name_that_comes_back_is_waited_for(
    scene: Scene, side: str, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    resolver = Resolver(monkeypatch)
    with fault_proxy(port_of(scene, side), SEED) as proxy, named(scene, side, proxy.port) as driver:
        driver.until_in_sync()
        resolver.address = ""
        proxy.cut()
        driver.until(lambda: any(one.code == "CONNECT-DNS" for one in driver.failures), "the failing name", 30)
        resolver.address = "127.0.0.1"
        scene.at("source", "INSERT INTO ledger VALUES (-1, 0, 'after')")
        scene.drained(driver)
    record_property("seen", next(one.message for one in driver.failures if one.code == "CONNECT-DNS"))
    scene.assert_whole()


@pytest.mark.fault("N7", "a server's name leads to a forbidden address at the next connect")
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_name_that_leads_elsewhere_is_judged_again(
    scene: Scene, side: str, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    resolver = Resolver(monkeypatch)
    with fault_proxy(port_of(scene, side), SEED) as proxy, named(scene, side, proxy.port) as driver:
        driver.until_in_sync()
        resolver.address = "169.254.169.254"
        opened = len(proxy.opened)
        proxy.cut()
        failure = driver.until_failure(30)
        assert len(proxy.opened) == opened
    record_property("seen", f"{failure.code}: {failure.message}")
    assert failure.code == "POLICY-DENIED"
