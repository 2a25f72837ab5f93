"""The application's own DDL on the source is never kept waiting by the migration: it gives way within two seconds."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest

from migrations_app.engine.states import StepName
from tests.faults.conftest import Record
from tests.faults.engine_kit import Scene, writing
from tests.faults.server_kit import slowed

PAUSE_SECONDS = 0.4


@contextlib.contextmanager
def altering(scene: Scene) -> Iterator[Counter[str]]:
    """Change a table again and again in a way that needs it alone, with two seconds of patience each time.

    Yields how often that was done, and how often it had to give up.
    """
    over, seen = threading.Event(), Counter[str]()

    def alter() -> None:
        with scene.source.connect(scene.source_db) as connection:
            connection.execute("SET lock_timeout = '2s'")
            while not over.wait(PAUSE_SECONDS):
                try:
                    connection.execute("ALTER TABLE big ALTER COLUMN note SET STATISTICS -1, ALTER id SET NOT NULL")
                    seen["done"] += 1
                except psycopg.errors.LockNotAvailable:
                    seen["kept waiting"] += 1

    thread = threading.Thread(target=alter)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@pytest.mark.fault(
    "B21", "ALTER TABLE with two seconds of patience, again and again, from the dump of a small schema to the sync"
)
def test_an_alter_table_of_the_application_never_waits_for_long(scene: Scene, record_property: Record) -> None:
    with writing(scene) as writers, altering(scene) as seen, slowed(scene, 0) as (driver, proxies):
        driver.until_step(StepName.COPY)
        for proxy in proxies.values():
            proxy.rate = 400_000
        done = seen["done"]
        driver.until(lambda: seen["done"] > done + 3, "changes beside the copy", 60)
        for proxy in proxies.values():
            proxy.rate = 0
        driver.until_in_sync(120)
        writers.stop()
        scene.drained(driver)
    record_property("seen", f"{seen['done']} times, kept waiting {seen['kept waiting']} times")
    assert seen["kept waiting"] == 0
    scene.assert_whole(writers)


@pytest.mark.fault("B21", "ALTER TABLE while the schema of many tables is read over a slow line")
def test_an_alter_table_does_not_wait_for_the_schema_to_be_read_over_a_slow_line(
    scene: Scene, record_property: Record
) -> None:
    scene.at("source", "; ".join(f"CREATE TABLE more{n} (id int PRIMARY KEY, v text)" for n in range(300)))
    waits: list[float] = []
    with slowed(scene, 60_000) as (driver, proxies):
        for _ in range(2):
            driver.until(lambda: locked(scene, "big"), "pg_dump's lock", 60)
            began = time.monotonic()
            scene.at("source", "SET lock_timeout = '2s'; ALTER TABLE big ALTER id SET NOT NULL")
            waits.append(time.monotonic() - began)
            assert driver.step is StepName.SCHEMA
        for proxy in proxies.values():
            proxy.rate = 0
        driver.until_in_sync(120)
    record_property("seen", ", ".join(f"waited {seconds:.1f} s" for seconds in waits))
    assert "big" in driver.told("COPY-GAVEWAY")
    scene.assert_whole()


def locked(scene: Scene, table: str) -> bool:
    """Say whether a session of ours holds a lock on a table of the source."""
    rows = scene.at(
        "source",
        "SELECT a.pid FROM pg_locks JOIN pg_stat_activity a USING (pid) WHERE a.application_name LIKE 'towpath:%'"
        f" AND locktype = 'relation' AND granted AND relation = '{table}'::regclass AND a.state <> 'active'",
    )
    return bool(rows)
