"""What expires or changes while a task is under way is given anew: certificates, keys, an SSH host's key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import services
from migrations_app.demo.clusters import Cluster
from migrations_app.engine import bastions
from migrations_app.models import AuditEntry, ConnectionTest, Endpoint, Event, MigrationTask
from migrations_app.runner.asking import run_connection_test
from tests import factories
from tests.bastions import PASSWORD, USER, ssh_host
from tests.certificates import Authority

pytestmark = pytest.mark.django_db
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG8ZPFJoJ0Kc0Wl6gBP2cJtmAb5fDwZ1vNEeVxHcSm9K"
SSH = {"ssh_host": "jump.internal", "ssh_user": "u", "ssh_password": "sshcanary", "ssh_host_key": "ssh-ed25519 AAAA"}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _task(status: str = "failed", **endpoint: Any) -> MigrationTask:
    task = factories.running_task("sync", status=status, source=factories.endpoint(**endpoint))
    factories.ledger_entry(task)
    return task


def _source(task: MigrationTask) -> Endpoint:
    source = MigrationTask.objects.get(pk=task.pk).source
    assert source is not None
    return source


def _change(task: MigrationTask, **changes: Any) -> Endpoint:
    source = _source(task)
    values = {"host": source.host, "port": source.port, "account": source.account, "tls_mode": source.tls_mode}
    services.change_access(task_id=task.pk, actor=None, side="source", access=services.Access(**values | changes))
    return _source(task)


@pytest.mark.parametrize("status", ["failed", "paused"])
def test_a_client_certificate_is_given_anew_with_its_key_sealed(status: str, tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("mover")
    task = _task(status, client_cert_pem="old", client_key_pem="oldkey")
    source = _change(task, client_cert_pem=pair.cert.read_text(), client_key_pem=pair.key.read_text())
    assert (source.client_cert_pem, source.client_key_pem) == (pair.cert.read_text(), pair.key.read_text())
    assert source.password == factories.CANARY
    task.refresh_from_db()
    assert task.status == status
    with connection.cursor() as cursor:
        cursor.execute("SELECT client_key_pem FROM migrations_app_endpoint")
        assert all("PRIVATE KEY" not in row[0] for row in cursor.fetchall())
    told = Event.objects.get(task=task, code="TASK-ACCESS").message
    assert "client certificate, key of the client certificate." in told
    assert "BEGIN" not in told


@pytest.mark.parametrize(
    ("changes", "stored"),
    [
        ({"ca_pem": "another"}, {"tls_mode": "verify-full", "ca_pem": "one"}),
        ({"ssh_host_key": HOST_KEY, "ssh_password": "x"}, SSH),
    ],
)
def test_a_password_never_follows_to_whom_it_was_not_typed_for(changes: dict[str, str], stored: dict[str, str]) -> None:
    task = _task(**stored)
    with pytest.raises(services.Refused, match="Enter the password"):
        _change(task, **changes)
    assert _source(task).ca_pem == stored.get("ca_pem", "")
    source = _change(task, password="typed", **changes)
    assert {name: getattr(source, name) for name in changes} == changes
    assert source.password == "typed"


def test_a_server_without_a_password_gets_another_authority() -> None:
    task = _task(tls_mode="verify-full", ca_pem="one", password="")
    assert _change(task, ca_pem="two").ca_pem == "two"


@pytest.mark.parametrize("changes", [{"ssh_user": "another"}, {"ssh_host_key": HOST_KEY, "password": "typed"}])
def test_an_ssh_password_never_follows(changes: dict[str, str]) -> None:
    task = _task(**SSH)
    with pytest.raises(services.Refused, match="Enter the SSH password"):
        _change(task, **changes)
    assert _source(task).ssh_user == "u"
    assert _change(task, ssh_password="typed", **changes).ssh_password == "typed"


def test_no_ssh_host_is_put_before_a_server() -> None:
    with pytest.raises(services.Refused, match="No SSH host stands before"):
        _change(_task(), ssh_user="u", ssh_password="x")


def _sent(task: MigrationTask, **more: Any) -> dict[str, Any]:
    source = _source(task)
    values = {"host": source.host, "port": source.port, "account": source.account, "tls_mode": source.tls_mode}
    sent = {f"source-{name}": value for name, value in {**values, **more}.items()}
    return {"side": "source", "press": "test", **sent}


def _file(path: Path) -> SimpleUploadedFile:
    return SimpleUploadedFile(path.name, path.read_bytes())


def test_the_page_takes_files_tests_the_way_and_is_audited(anna: Client, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair, task = authority.issue("mover"), _task("paused", **SSH)
    sent = _sent(
        task,
        ssh_user="u",
        ssh_password="newssh",
        ssh_host_key=f"jump.internal {HOST_KEY} admin@jump",
        password="newpassword",
        ca=_file(authority.file),
        client_certificate=_file(pair.cert),
        client_key=_file(pair.key),
    )
    answer = anna.post(reverse("tasks:access", args=[task.pk]), sent, follow=True)
    assertContains(answer, "The connection is being tested")
    assertContains(answer, "Connecting")
    assertNotContains(answer, "newssh")
    source, test = _source(task), ConnectionTest.objects.get(task=task)
    assert (source.ssh_host_key, source.ssh_password, source.password) == (HOST_KEY, "newssh", "newpassword")
    assert "BEGIN CERTIFICATE" in source.ca_pem
    assert source.client_key_pem.startswith("-----BEGIN PRIVATE KEY-----")
    assert (test.side, test.kind, test.state) == ("source", "test", "waiting")
    told = AuditEntry.objects.filter(task=task).values_list("message", flat=True)
    assert any("certificate authority" in message and "key of the SSH host" in message for message in told)
    assert not any("newpassword" in message for message in told)


@pytest.mark.parametrize("part", ["client_certificate", "client_key"])
def test_a_certificate_and_its_key_come_together(part: str, anna: Client, tmp_path: Path) -> None:
    pair, task = Authority(tmp_path).issue("mover"), _task()
    sent = _sent(task, **{part: _file(pair.cert if part == "client_certificate" else pair.key)})
    answer = anna.post(reverse("tasks:access", args=[task.pk]), sent)
    assertContains(answer, "Choose the certificate and its key, both.", status_code=422)


@pytest.mark.parametrize("line", ["ssh-ed25519", "ssh-ed25519 notbase64", "nonsense", "-----BEGIN OPENSSH PRIVATE KEY"])
def test_what_is_no_key_of_a_host_is_refused(line: str, anna: Client) -> None:
    task = _task(**SSH)
    answer = anna.post(reverse("tasks:access", args=[task.pk]), _sent(task, ssh_user="u", ssh_host_key=line))
    assertContains(answer, "This is not the public key of an SSH host", status_code=422)


def _tested(task: MigrationTask, side: str = "source") -> ConnectionTest:
    test = services.request_access_test(task_id=task.pk, actor=None, side=side)
    run_connection_test(str(test.pk))
    test.refresh_from_db()
    return test


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_test_tells_whether_it_is_the_server_that_the_task_began_on(side: str, source_cluster: Cluster) -> None:
    way = {"host": "127.0.0.1", "port": source_cluster.port, "account": "postgres", "tls_mode": "disable"}
    ends = {side: factories.endpoint(**way, password=source_cluster.password)}
    task = factories.running_task("sync", status="failed", **ends)
    with source_cluster.connect() as session:
        (system,) = session.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone() or ("",)
    column = "system_id" if side == "source" else "target_system_id"
    assert _tested(task, side).state == "passed", "nobody knows yet"
    task.databases.update(**{column: system})
    assert _tested(task, side).state == "passed"
    task.databases.update(**{column: "7000000000000000001"})
    refused = _tested(task, side)
    assert (refused.state, refused.code) == ("failed", "ANOTHER-SERVER")
    assert f"This is not the {side} that the migration started with: system {system}" in refused.message


def test_a_task_goes_on_through_an_ssh_host_whose_key_has_changed(source_cluster: Cluster) -> None:
    way = {"host": "127.0.0.1", "port": source_cluster.port, "account": "postgres", "tls_mode": "disable"}
    with ssh_host(("127.0.0.1", source_cluster.port)) as host:
        of_ssh = {"ssh_host": "127.0.0.1", "ssh_port": host.port, "ssh_user": USER, "ssh_password": PASSWORD}
        task = _task(**way, **of_ssh, password=source_cluster.password, ssh_host_key=HOST_KEY)
        assert _tested(task).code == "SSH-HOST-KEY-CHANGED"
        _change(task, password=source_cluster.password, ssh_password=PASSWORD, ssh_host_key=host.host_key)
        assert _tested(task).state == "passed"
        bastions.close_shared()


@pytest.mark.parametrize("status", ["running", "ready", "draft", "completed"])
def test_no_test_of_a_task_whose_access_may_not_change(status: str) -> None:
    with pytest.raises(services.Refused):
        services.request_access_test(task_id=_task(status).pk, actor=None, side="source")
