"""From an endpoint's row to what the engine is told, and what a connection test answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from migrations_app import services
from migrations_app.demo.clusters import Cluster, free_port
from migrations_app.engine import bastions
from migrations_app.engine.policy import AddressPolicy
from migrations_app.models import AuditEntry, ConnectionTest, Endpoint, MigrationTask
from migrations_app.runner import planning
from migrations_app.runner.asking import run_connection_test
from tests import factories
from tests.bastions import PASSWORD, USER, ssh_host

pytestmark = pytest.mark.django_db


def _endpoint(cluster: Cluster, **more: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": cluster.port,
        "account": "postgres",
        "password": cluster.password,
        "tls_mode": "disable",
        **more,
    }


def _tested(values: dict[str, Any]) -> ConnectionTest:
    source = Endpoint.objects.create(**values)
    task = MigrationTask.objects.create(name="t", source=source, target=source)
    test = ConnectionTest.objects.create(task=task, side="source", kind="test", state="waiting")
    run_connection_test(str(test.pk))
    test.refresh_from_db()
    return test


def test_a_passed_test_tells_version_latency_and_tls(source_cluster: Cluster) -> None:
    test = _tested(_endpoint(source_cluster))
    assert (test.state, test.detail["version"].partition(".")[0], test.detail["tls"]) == ("passed", "16", "none")
    assert test.detail["latency_ms"] >= 0


def test_an_unconfirmed_host_key_is_handed_to_the_page_and_then_used(source_cluster: Cluster) -> None:
    with ssh_host(("127.0.0.1", source_cluster.port)) as host:
        values = _endpoint(
            source_cluster, ssh_host="127.0.0.1", ssh_port=host.port, ssh_user=USER, ssh_password=PASSWORD
        )
        first = _tested(values)
        assert (first.state, first.code) == ("failed", "SSH-HOST-KEY-UNKNOWN")
        assert first.detail == {"host_key": host.host_key, "fingerprint": host.key.get_fingerprint()}
        assert _tested(values | {"ssh_host_key": first.detail["host_key"]}).state == "passed"
        changed = _tested(values | {"ssh_host_key": host.user_key.export_public_key().decode()})
        assert changed.code == "SSH-HOST-KEY-CHANGED"
        assert "host_key" not in changed.detail
        bastions.close_shared()


def test_a_denied_address_fails_without_being_dialled(source_cluster: Cluster, settings: Any) -> None:
    settings.DENY_ADDRESSES = ["127.0.0.0/8"]
    test = _tested(_endpoint(source_cluster))
    closed = _tested(_endpoint(source_cluster, port=free_port()))
    assert (test.state, test.code, closed.code) == ("failed", "POLICY-DENIED", "POLICY-DENIED")
    assert test.message == closed.message


@pytest.mark.parametrize(
    ("listen", "allowed"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],  # noqa: S104 - only compared
)
def test_loopback_is_open_while_the_console_listens_on_loopback_only(
    settings: Any, monkeypatch: pytest.MonkeyPatch, listen: str, allowed: bool
) -> None:
    monkeypatch.setattr(planning, "_command_line", False)
    settings.LISTEN_ADDRESS, settings.BEHIND_PROXY = listen, False
    assert planning.address_policy().allows("127.0.0.1", free_port()) is allowed
    settings.BEHIND_PROXY = True  # others come in through the proxy
    assert not planning.address_policy().allows("127.0.0.1", free_port())


def test_workers_that_were_not_told_open_loopback_only_with_an_embedded_database(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "_command_line", False)
    settings.LISTEN_ADDRESS, settings.BEHIND_PROXY = "", False
    embedded = planning.connections["default"].vendor == "sqlite"
    assert planning.address_policy().allows("127.0.0.1", free_port()) is embedded


def test_the_consoles_own_database_is_never_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own:
        vendor = "postgresql"
        settings_dict = {"HOST": "localhost", "PORT": "6543"}  # noqa: RUF012 - a stand-in

    planning._own_database.cache_clear()
    monkeypatch.setattr(planning, "connections", {"default": Own})
    policy = planning.address_policy()
    planning._own_database.cache_clear()
    assert isinstance(policy, AddressPolicy)
    assert policy.allows("127.0.0.1", 6544)
    assert not policy.allows("127.0.0.1", 6543)


def test_certificates_are_written_for_this_process_only_and_once(settings: Any, tmp_path: Path) -> None:
    settings.WORK_DIR = tmp_path / "work"
    dead = settings.WORK_DIR / "certificates-999999999"
    dead.mkdir(parents=True)
    planning._scratch.cache_clear()
    endpoint = Endpoint(
        host="db.example",
        account="mover",
        tls_mode="verify-full",
        ca_pem="the authority",
        client_cert_pem="the certificate",
        client_key_pem="the key",
    )
    first, second = planning.server_of(endpoint), planning.server_of(endpoint)
    files = [Path(name) for name in (first.ca_file, first.cert_file, first.key_file)]
    planning._scratch.cache_clear()
    assert first == second
    assert [file.read_text() for file in files] == ["the authority\n", "the certificate\n", "the key\n"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert {file.parent for file in files} == {settings.WORK_DIR / f"certificates-{os.getpid()}"}
    assert files[0].parent.stat().st_mode & 0o777 == 0o700
    assert not dead.exists()


@pytest.mark.parametrize(
    ("chosen", "told"),
    [("scram-sha-256", "scram-sha-256"), ("password", "password,md5,scram-sha-256"), ("any", "")],
)
def test_the_choice_of_signing_in_is_told_in_libpqs_words(chosen: str, told: str) -> None:
    assert planning.server_of(Endpoint(host="h", account="a", require_auth=chosen)).require_auth == told


def test_the_eleventh_connection_test_in_a_minute_is_refused() -> None:
    user, other = factories.user("busy"), factories.user("calm")
    task = factories.task(owner=user)
    for _ in range(10):
        services.request_test(task_id=task.pk, actor=user, side="source")
    with pytest.raises(services.Refused, match="10 connection tests"):
        services.request_test(task_id=task.pk, actor=user, side="target")
    assert task.tests.count() == 10
    assert AuditEntry.objects.filter(actor="busy", action="connection-test").count() == 10
    services.request_test(task_id=task.pk, actor=other, side="source")
    services.request_test(task_id=task.pk, actor=None, side="source")
