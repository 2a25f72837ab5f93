"""Test connection of saved endpoints: asked in the list, done by a worker, counted like those of a task."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from migrations_app import services
from migrations_app.demo.clusters import Cluster, free_port
from migrations_app.models import AuditEntry, Endpoint, EndpointTest, User
from migrations_app.runner.asking import run_connection_test
from migrations_app.services import work
from tests import factories
from tests.bastions import PASSWORD, USER, ssh_host

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
LIST = "/endpoints/"


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


@pytest.fixture
def saved() -> Endpoint:
    return factories.endpoint(saved_name="Shop")


def press(client: Client, endpoint: Endpoint, **more: Any) -> Any:
    return client.post(reverse("endpoints:test", args=[endpoint.pk]), **more)


def at(cluster: Cluster, **more: Any) -> Endpoint:
    place = {"host": "127.0.0.1", "port": cluster.port, "account": "postgres", "password": cluster.password}
    return Endpoint.objects.create(saved_name="Shop", tls_mode="disable", **(place | more))


def answer_of(client: Client, endpoint: Endpoint) -> EndpointTest:
    press(client, endpoint)
    test = endpoint.tests.get()
    run_connection_test(str(test.pk))
    test.refresh_from_db()
    return test


def test_a_press_asks_a_worker_and_the_line_polls(anna: Client, saved: Endpoint) -> None:
    answer = press(anna, saved, **HTMX)
    assertContains(answer, "Connecting")
    test = saved.tests.get()
    url = reverse("endpoints:test-result", args=[test.pk])
    assertContains(answer, f'hx-get="{url}"')
    assertContains(anna.get(url), "Connecting")
    EndpointTest.objects.update(state="passed", message="PostgreSQL 16.4, 3 ms, no TLS.", finished_at=timezone.now())
    answer = anna.get(url)
    assertContains(answer, "PostgreSQL 16.4, 3 ms, no TLS.")
    assertNotContains(answer, "hx-get")
    assertContains(anna.get(LIST), "PostgreSQL 16.4, 3 ms, no TLS.")


def test_without_scripts_the_list_comes_back(anna: Client, saved: Endpoint) -> None:
    assertRedirects(press(anna, saved), LIST)
    assertContains(anna.get(LIST), "Connecting")


def test_a_test_that_runs_is_not_asked_for_twice(anna: Client, saved: Endpoint) -> None:
    press(anna, saved)
    press(anna, saved)
    assert EndpointTest.objects.count() == 1
    assert AuditEntry.objects.filter(action="connection-test").count() == 1


def test_each_test_is_in_the_audit_trail_with_the_address(anna: Client, saved: Endpoint) -> None:
    press(anna, saved)
    entry = AuditEntry.objects.get(action="connection-test")
    assert (entry.actor, entry.subject, entry.message) == ("anna", "Shop", "db1.internal:5432")
    assert factories.CANARY not in entry.message


def test_ten_tests_a_minute_are_counted_together_with_those_of_tasks(anna: Client, saved: Endpoint) -> None:
    task = factories.task()
    for _ in range(5):
        services.request_test(task_id=task.pk, actor=User.objects.get(), side="source")
        press(anna, saved)
        EndpointTest.objects.update(state="failed")
    answer = press(anna, saved, follow=True)
    assertContains(answer, "More than 10 connection tests in a minute.")
    assert EndpointTest.objects.filter(state="waiting").count() == 0


def test_a_real_server_is_connected(anna: Client, source_cluster: Cluster) -> None:
    test = answer_of(anna, at(source_cluster))
    assert test.state == "passed"
    assert test.message.startswith("PostgreSQL 16.")
    assert test.detail["tls"] == "none"


def test_a_failure_speaks_of_a_server_and_in_the_language_of_the_reader(anna: Client, source_cluster: Cluster) -> None:
    port = free_port()
    test = answer_of(anna, at(source_cluster, port=port))
    assert (test.state, test.code) == ("failed", "CONNECT-REFUSED")
    assert test.message == f"Nothing accepts connections at the server 127.0.0.1:{port}."
    User.objects.update(language="zh-hans")
    assertContains(anna.get(LIST), f"服务器 127.0.0.1:{port} 上没有程序接受连接。")


def test_an_unknown_ssh_host_key_is_confirmed_and_then_used(anna: Client, source_cluster: Cluster) -> None:
    with ssh_host(("127.0.0.1", source_cluster.port)) as host:
        way = {"ssh_host": "127.0.0.1", "ssh_port": host.port, "ssh_user": USER, "ssh_password": PASSWORD}
        endpoint = at(source_cluster, **way)
        first = answer_of(anna, endpoint)
        assertContains(anna.get(LIST), host.key.get_fingerprint())
        anna.post(reverse("endpoints:confirm-key", args=[endpoint.pk]), {"test": str(first.pk)})
        endpoint.refresh_from_db()
        assert endpoint.ssh_host_key == host.host_key.strip()
        assert answer_of(anna, endpoint).state == "passed"
    assert AuditEntry.objects.filter(action="endpoint-host-key", subject="Shop").count() == 1


@pytest.mark.parametrize("test", ["", "no-uuid", "00000000-0000-0000-0000-000000000000"])
def test_a_key_that_no_test_found_is_not_confirmed(test: str, anna: Client, saved: Endpoint) -> None:
    answer = anna.post(reverse("endpoints:confirm-key", args=[saved.pk]), {"test": test}, follow=True)
    assertContains(answer, "There is no SSH host key to confirm any more.")
    saved.refresh_from_db()
    assert saved.ssh_host_key == ""


def test_another_address_forgets_what_the_former_answered(anna: Client, saved: Endpoint) -> None:
    press(anna, saved)
    data = services.EndpointData(host="db9.internal", port=5432, account="mover", password="p")
    services.save_endpoint(actor=None, name="Shop", data=data, saved_id=saved.pk)
    assert EndpointTest.objects.count() == 0


def test_an_endpoint_of_a_task_is_not_tested_as_a_saved_one(anna: Client) -> None:
    assertContains(press(anna, factories.endpoint(), follow=True), "This endpoint was deleted meanwhile.")
    assert EndpointTest.objects.count() == 0


def test_a_test_whose_worker_is_gone_is_reported(anna: Client, saved: Endpoint) -> None:
    press(anna, saved)
    EndpointTest.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    work.dispatch()
    assert EndpointTest.objects.get().code == "WORKER-GONE"


def test_a_viewer_sees_no_button_and_no_answer(client: Client, saved: Endpoint) -> None:
    EndpointTest.objects.create(endpoint=saved, state="passed", message="PostgreSQL 16.4.", finished_at=timezone.now())
    client.force_login(factories.user("vera", role="viewer"))
    assertNotContains(client.get(LIST), "Test connection")
    assertNotContains(client.get(LIST), "PostgreSQL 16.4.")
