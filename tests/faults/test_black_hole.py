"""A line to the target that dies without a word in the copy: what is left on the server there does nothing any more."""

from __future__ import annotations

import time
from typing import Any

import pytest
from psycopg.pq import TransactionStatus

from migrations_app.engine.connect import Connection
from migrations_app.engine.index_lanes import Indexer
from migrations_app.engine.plan import DatabasePlan
from migrations_app.engine.ports import TableStatus
from migrations_app.engine.states import StepName
from tests.faults.conftest import Record
from tests.faults.engine_kit import Driver, Scene, make_schema
from tests.faults.proxy import Cut, FaultProxy, Way, When

COPY = StepName.COPY
KEYLESS = """
CREATE TABLE bare (n int, v text); INSERT INTO bare SELECT g, md5(g::text) FROM generate_series(1, 500) g;
CREATE TABLE plain (n int); INSERT INTO plain SELECT generate_series(1, 500);
"""
INDEXED = """
CREATE TABLE slow (id int PRIMARY KEY, v text);
INSERT INTO slow SELECT g, md5(g::text) FROM generate_series(1, 5000) g;
CREATE INDEX slow_one ON slow (v);
"""

pytestmark = [pytest.mark.usefixtures("short_patience")]


def begun(scene: Scene, proxies: dict[str, FaultProxy], **more: int) -> Driver:
    """Make the schema past the proxies; return the worker that goes on with the rows, through them."""
    ports = make_schema(scene.plan(copy_jobs=1, **more))
    return Driver(scene.plan(target_port=proxies["target"].port, copy_jobs=1, epoch=2, **more), ports, COPY)


def ended(scene: Scene, lost: list[int]) -> bool:
    return not set(lost) & set(scene.our_pids("target"))


@pytest.mark.long
@pytest.mark.quick
@pytest.mark.fault("N2", "the line to the target dead without a word in a COPY, patience shortened")
def test_a_copy_whose_line_has_died_is_made_again_once(
    scene: Scene, proxies: dict[str, FaultProxy], record_property: Record
) -> None:
    scene.at("source", KEYLESS)
    proxy = proxies["target"]
    proxy.rate = 400_000
    with begun(scene, proxies) as driver:
        driver.until(lambda: proxy.passed[Way.TO_SERVER] > 300_000, "rows on their way")
        lost = scene.our_pids("target")
        assert proxy.lose()
        proxy.rate = 0
        began = time.monotonic()
        driver.until_in_sync(60)
        record_property("seen", f"in sync {time.monotonic() - began:.0f} s later, {driver.told('RUN-RETRY')}")
        assert ended(scene, lost)
    assert driver.failures == []
    scene.assert_whole()


@pytest.mark.quick
@pytest.mark.fault("C1", "the line to the target dead exactly at the commit of a copy, patience shortened")
@pytest.mark.parametrize(
    ("arrives", "parts"),
    [
        pytest.param("late", False, id="late-whole"),
        *(
            pytest.param(arrives, parts, id=f"{arrives}-{'in-parts' if parts else 'whole'}", marks=pytest.mark.long)
            for arrives, parts in (
                ("late", True),
                ("never", False),
                ("never", True),
                ("at-once", False),
                ("at-once", True),
            )
        ),
    ],
)
def test_a_copy_whose_line_has_died_at_its_commit_is_there_once(
    scene: Scene,
    proxies: dict[str, FaultProxy],
    parts: bool,
    arrives: str,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Record,
) -> None:
    scene.at("source", KEYLESS)
    if parts:
        monkeypatch.setattr("migrations_app.engine.copy_plan._SMALL_TABLE_BYTES", 0)
        monkeypatch.setattr("migrations_app.engine.copy_plan.part_size", lambda *_: 16 << 10)
    proxy = proxies["target"]
    trigger = proxy.trigger(word=b"COMMIT", when=When.AFTER if arrives == "at-once" else When.BEFORE, how=Cut.VOID)
    with begun(scene, proxies) as driver:
        driver.until(lambda: trigger.pulled, "the commit", 30)
        lost = scene.our_pids("target")
        name = scene.source_db
        copied = {TableStatus.COPIED, TableStatus.INDEXING, TableStatus.DONE}
        driver.until(lambda: all(one.status in copied for one in driver.store.tables(name)), "the copy", 60)
        if arrives == "late":
            assert proxy.deliver()
        driver.until_in_sync(60)
        record_property("seen", driver.told("RUN-RETRY"))
        driver.until(lambda: ended(scene, lost), "the end of the lost sessions", 5)
    assert driver.failures == []
    scene.assert_whole()


@pytest.mark.long
@pytest.mark.quick
@pytest.mark.fault("A4", "no byte passes to the target in CREATE INDEX, for longer than the shortened patience")
def test_an_index_whose_line_has_died_is_built_by_one_session(
    scene: Scene, proxies: dict[str, FaultProxy], monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    scene.at("source", INDEXED)
    proxy, opened, honest, honest_session = proxies["target"], [0], Indexer._do, Indexer._session
    with scene.target.connect(scene.target_db) as stranger:

        def hindered(self: Indexer, *more: Any) -> None:
            if stranger.info.transaction_status == TransactionStatus.IDLE and opened == [1]:
                stranger.execute("BEGIN; LOCK TABLE slow IN ROW EXCLUSIVE MODE")
            honest(self, *more)

        def counted(self: Indexer, database: DatabasePlan) -> Connection:
            opened[0] += 1
            return honest_session(self, database)

        monkeypatch.setattr(Indexer, "_do", hindered)
        monkeypatch.setattr(Indexer, "_session", counted)
        waiting = "query LIKE '%slow_one%' AND wait_event_type = 'Lock'"
        with begun(scene, proxies, index_jobs=1) as driver:
            (first,) = driver.until(lambda: scene.our_pids("target", waiting), "the build", 30)
            proxy.hold()
            proxy.lose()
            driver.until(lambda: opened == [2], "the line being given up", 60)
            proxy.release()
            found = driver.until(
                lambda: (found := scene.our_pids("target", waiting)) and found != [first] and found,
                "the second build",
                40,
            )
            stranger.execute("COMMIT")
            driver.until_in_sync(60)
    record_property("seen", f"{first} gave way to {found}")
    assert first not in found, "two sessions of ours build the same index"
    assert driver.failures == []
    scene.assert_whole()


@pytest.mark.long
@pytest.mark.quick
@pytest.mark.fault("N2", "one line to the source dead without a word in a COPY, patience shortened")
def test_a_source_keeps_no_session_whose_line_has_died(
    scene: Scene, proxies: dict[str, FaultProxy], record_property: Record
) -> None:
    proxy = proxies["source"]
    ports = make_schema(scene.plan(copy_jobs=1, incremental=False))
    trigger = proxy.trigger(way=Way.TO_CLIENT, after_bytes=500_000, how=Cut.VOID)
    plan = scene.plan(source_port=proxy.port, copy_jobs=1, incremental=False, epoch=2)
    with Driver(plan, ports, COPY) as driver:
        driver.until(lambda: trigger.pulled, "rows on their way", 30)
        lost = scene.our_pids("source", "query LIKE 'COPY %'")
        assert lost
        driver.until_finished(60)
        record_property("seen", driver.told("RUN-RETRY"))
        assert not set(lost) & set(scene.our_pids("source"))
    assert "COPY-AGAIN" not in driver.events[driver.events.index("RUN-RETRY") :]
    assert driver.failures == []
    scene.assert_whole()
