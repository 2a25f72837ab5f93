"""What goes wrong on either server while rows are copied: locks, deadlocks, logins, room."""

from __future__ import annotations

import time

import pytest

from migrations_app.engine.states import StepName
from tests.faults.conftest import Record
from tests.faults.engine_kit import Driver, Scene, make_schema, writing

COPY = StepName.COPY


@pytest.mark.quick
@pytest.mark.fault("C5", "LOCK TABLE ... IN SHARE MODE held on the target in the copy, patience shortened")
@pytest.mark.usefixtures("short_patience")
def test_a_lock_on_the_target_is_told_with_its_holder_in_the_copy(scene: Scene, record_property: Record) -> None:
    ports = make_schema(scene.plan())
    with writing(scene) as writers, scene.target.connect(scene.target_db) as holder:
        holder.execute("BEGIN; LOCK TABLE big IN SHARE MODE")
        pid = holder.info.backend_pid
        with Driver(scene.plan(epoch=2), ports, COPY) as driver:
            driver.until(lambda: driver.told("DST-LOCKED"), "the lock being told", 30)
            text = driver.told("DST-LOCKED")
            later = time.monotonic() + 12
            driver.until(lambda: time.monotonic() > later, "patience", 20)
            scene.at("source", "SET lock_timeout = '5s'; BEGIN; LOCK TABLE big; COMMIT")  # nobody waits for us there
            holder.execute("COMMIT")
            driver.until_in_sync()
            writers.stop()
            scene.drained(driver)
    record_property("seen", text)
    assert f"PID {pid}, user postgres" in text
    assert driver.failures == []
    assert "RUN-RETRY" not in driver.events
    scene.assert_whole(writers)
