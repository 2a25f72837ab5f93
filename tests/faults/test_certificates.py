"""The certificate of a server replaced while the sync runs: told, and nothing ever goes in clear text."""

from __future__ import annotations

import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.engine.errors import EngineError
from migrations_app.engine.plan import Plan, TlsMode
from migrations_app.engine.states import StepName
from tests import impostors
from tests.certificates import Authority
from tests.fakes import wait_until
from tests.faults.conftest import SEED, Record
from tests.faults.engine_kit import Driver, Scene
from tests.faults.proxy import FaultProxy, When, fault_proxy

_AGAIN_SECONDS = 10.0


def guarded(plan: Plan, side: str, port: int, ca: Path) -> Plan:
    server = replace(getattr(plan, side), port=port, tls=TlsMode.VERIFY_FULL, ca_file=str(ca))
    return replace(plan, source=server) if side == "source" else replace(plan, target=server)


def _cut_off(proxy: FaultProxy, driver: Driver) -> EngineError:
    """Cut all sessions until the task has ended: one whose handshake was under way still has the old certificate."""
    cut_at = -_AGAIN_SECONDS

    def ended() -> bool:
        nonlocal cut_at
        if driver.fatal is None and time.monotonic() - cut_at >= _AGAIN_SECONDS:
            cut_at = time.monotonic()
            proxy.cut()
        return driver.fatal is not None

    wait_until(ended, 60, "the failure")
    return driver.until_failure()


@pytest.mark.fault("B10", "the certificate replaced by another authority's in the sync, then by a good one")
@pytest.mark.parametrize("side", ["source", "target"])
def test_a_replaced_certificate_is_told_and_nothing_goes_in_clear_text(
    scene: Scene, side: str, tmp_path: Path, record_property: Record
) -> None:
    ours, others = Authority(tmp_path), Authority(tmp_path, "others")
    good, bad = ours.issue("good", host="127.0.0.1"), others.issue("bad", host="127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(good.cert, good.key)
    server = getattr(scene, side)
    with impostors.listening(impostors.tls_with(context, server.port)) as door, fault_proxy(door, SEED) as proxy:
        clear = [
            proxy.trigger(word=word, when=When.AFTER)
            for word in (b"towpath:", b"SCRAM-SHA-256", b"postgres", b"INSERT", b"ledger", b"application_name")
        ]
        with Driver(guarded(scene.plan(), side, proxy.port, ours.file)) as driver:
            driver.until_in_sync()
            context.load_cert_chain(bad.cert, bad.key)
            failure = _cut_off(proxy, driver)
        record_property("seen", f"{failure.code}: {failure.message}")
        assert failure.code.startswith("TLS-")
        assert not failure.retryable
        assert failure.hint
        context.load_cert_chain(good.cert, good.key)
        again = guarded(scene.plan(epoch=99), side, proxy.port, ours.file)
        with Driver(again, driver.ports, StepName.SYNC) as resumed:
            scene.at("source", "INSERT INTO ledger VALUES (-1, 0, 'after')")
            scene.drained(resumed)
        assert not any(word.pulled for word in clear)
    scene.assert_whole()
