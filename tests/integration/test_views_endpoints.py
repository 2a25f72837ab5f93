"""Step 1 with the five types, saved endpoints, and an SSH host key that the operator confirms."""

from __future__ import annotations

import base64
import hashlib
import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from migrations_app import services
from migrations_app.demo.inventory import inventory_text
from migrations_app.draft_facts import draft_hash
from migrations_app.models import AuditEntry, ConnectionTest, Endpoint, MigrationTask, Resource, SourceObject
from migrations_app.selectors import directory
from tests import factories
from tests.integration.test_forms import settings_data

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
CVM = {
    "source__kind": "cvm",
    "source__region": "demo-east",
    "source__network": "vpc",
    "source__vpc_id": "vpc-shop",
    "source__subnet_id": "subnet-data",
    "source__instance_id": "ins-shop",
    "source__port": "5431",
}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


@pytest.fixture
def inventory() -> None:
    services.import_inventory(actor=None, text=inventory_text(source_port=5431, target_port=5433), apply=True)


def _settings(task: MigrationTask) -> str:
    return reverse("tasks:settings", args=[task.id])


def _fields(anna: Client, side: str = "source", **query: str) -> Any:
    return anna.get(reverse("endpoints:fields", args=[side]), query, **HTMX)


def test_a_fragment_shows_the_fields_of_the_type_with_what_was_typed(anna: Client, inventory: None) -> None:
    answer = _fields(anna, **{"source-kind": "vpn", "source-region": "demo-east", "source-host": "10.1.1.1"})
    for words in ("VPN type", 'value="10.1.1.1"', "office (vpc-office)"):
        assertContains(answer, words)
    assertNotContains(answer, "Subnet")


def test_a_fragment_carries_what_the_type_has_no_field_for(anna: Client, inventory: None) -> None:
    answer = _fields(anna, **{"source-kind": "tencentdb", "source-host": "<db1>", "source-port": "5499"})
    assertContains(answer, '<input type="hidden" name="source-host" value="&lt;db1&gt;">', html=True)
    assertContains(answer, '<input type="hidden" name="source-port" value="5499">', html=True)


@pytest.mark.parametrize(
    "query", [{}, {"source-kind": "floppy"}, {"source-kind": "cvm", "source-region": "x" * 5000}, {"use": "1"}]
)
def test_a_fragment_of_nonsense_is_still_a_fragment(query: dict[str, str], anna: Client) -> None:
    assertContains(_fields(anna, **query), "Source database type")


def test_a_fragment_of_a_side_that_does_not_exist_is_not_found(anna: Client) -> None:
    assert _fields(anna, "middle").status_code == 404


def test_a_targets_region_brings_the_advice_for_the_source(anna: Client, inventory: None) -> None:
    chosen = {"source-kind": "cvm", "source-region": "demo-west"}
    chosen |= {"target-kind": "tencentdb", "target-region": "demo-east"}
    answer = _fields(anna, "target", **chosen)
    assertContains(answer, "Use public IP instead")
    assertContains(answer, 'hx-swap-oob="true"')


def test_the_advice_stands_once_under_the_region(anna: Client, inventory: None) -> None:
    west = {"source__region": "demo-west", "source__vpc_id": "vpc-west", "source__subnet_id": "subnet-west"}
    east = {"target__kind": "tencentdb", "target__region": "demo-east", "target__instance_id": "postgres-target"}
    page = anna.post(
        reverse("tasks:create"), settings_data(**(CVM | west | east | {"source__instance_id": "ins-west"}))
    )
    for words in ("can be migrated to a TencentDB instance only in the same region", "Use public IP instead"):
        assertContains(page, words, count=1, status_code=422)
    under, after = page.text.split("Use public IP instead")
    assert 'name="source-region"' in under
    assert 'name="source-network"' in after


def test_a_machine_is_saved_with_its_address(anna: Client, inventory: None) -> None:
    anna.post(reverse("tasks:create"), settings_data(**CVM))
    source = MigrationTask.objects.get().source
    assert (source.kind, source.host, source.port, source.instance_id) == ("cvm", "127.0.0.1", 5431, "ins-shop")


def test_a_machine_of_another_network_is_refused_at_its_field(anna: Client, inventory: None) -> None:
    answer = anna.post(reverse("tasks:create"), settings_data(**(CVM | {"source__instance_id": "ins-west"})))
    assertContains(answer, "ins-west is not among what was chosen above", status_code=422)
    assert not MigrationTask.objects.exists()


@pytest.mark.parametrize("press", ["fields", "refresh", "public", "use-source", "use-target"])
def test_buttons_for_browsers_without_scripts_show_and_save_nothing(press: str, anna: Client, inventory: None) -> None:
    answer = anna.post(reverse("tasks:create"), settings_data(**CVM, press=press, name="kept"))
    assertContains(answer, 'value="kept"')
    assertNotContains(answer, factories.CANARY)
    assert not MigrationTask.objects.exists()


def test_the_public_address_takes_the_place_of_the_instance(anna: Client, inventory: None) -> None:
    west = {"source__region": "demo-west", "source__vpc_id": "vpc-west", "source__subnet_id": "subnet-west"}
    data = settings_data(**(CVM | west | {"source__instance_id": "ins-west"}), press="public")
    answer = anna.post(reverse("tasks:create"), data)
    for words in ('value="localhost"', 'value="5431"'):
        assertContains(answer, words)


def test_a_saved_endpoint_is_copied_with_its_secrets(anna: Client) -> None:
    saved = factories.endpoint(
        saved_name="shop server", host="db7.internal", ssh_host="jump", ssh_user="u", ssh_password="deep"
    )
    page = anna.post(reverse("tasks:create"), settings_data(press="use-source", **{"source-use": str(saved.pk)}))
    assertContains(page, 'value="db7.internal"')
    data = settings_data(source__host="db7.internal", source__password="", source__saved=str(saved.pk))
    anna.post(reverse("tasks:create"), data | {"source-ssh_host": "jump", "source-ssh_user": "u"})
    source = MigrationTask.objects.get().source
    assert (str(source.password), str(source.ssh_password)) == (factories.CANARY, "deep")
    assert (source.saved_from, source.saved_name) == (saved, None)
    saved.refresh_from_db()
    assert saved.pk != source.pk


def test_a_saved_endpoint_of_a_type_that_the_side_lacks_is_refused(inventory: None) -> None:
    saved = factories.endpoint(saved_name="office", kind="vpn")
    data = services.EndpointData(host="x", port=1, account="a", saved_id=saved.pk)
    with pytest.raises(services.Refused, match="cannot be a target"):
        services.create_draft(
            actor=None,
            name="x",
            scheduled_at=None,
            incremental=True,
            source=services.EndpointData(host="x", port=1, account="a"),
            target=data,
        )


def test_only_fitting_saved_endpoints_are_offered(anna: Client) -> None:
    factories.endpoint(saved_name="office line", kind="vpn")
    page = anna.get(reverse("tasks:create")).text
    assert page.count("office line") == 1


def test_an_endpoint_is_saved_on_the_way(anna: Client) -> None:
    anna.post(reverse("tasks:create"), settings_data(source__save_as="shop server"))
    saved, task = Endpoint.objects.get(saved_name="shop server"), MigrationTask.objects.get()
    assert (saved.host, str(saved.password)) == ("db1.internal", factories.CANARY)
    assert task.source.saved_from == saved
    assert task.source.pk != saved.pk


def test_a_list_that_is_too_long_says_so_and_keeps_what_was_chosen(
    anna: Client, inventory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        Resource.objects.create(
            provider="local", kind="vpc", external_id=f"vpc-{number}", name=f"a{number}", region="demo-east"
        )
    chosen = {"source-kind": "cvm", "source-region": "demo-east", "source-network": "vpc", "source-vpc_id": "vpc-shop"}
    assertContains(_fields(anna, **chosen), '<option value="vpc-shop" selected>')
    monkeypatch.setattr(directory, "MOST_OPTIONS", 2)
    answer = _fields(anna, **chosen)
    total = Resource.objects.filter(kind="vpc", region="demo-east").count()
    assertContains(answer, f"3 of {total} are suggested.")
    assertContains(answer, '<datalist id="source-vpc_id-suggestions">')
    assertContains(answer, 'value="vpc-shop"')
    assertContains(_fields(anna, **{**chosen, "source-vpc_id": "vpc-none"}), f"2 of {total} are suggested.")
    task = factories.task(source=factories.endpoint(kind="cvm", region="demo-east", network="vpc", vpc_id="vpc-shop"))
    page = anna.get(_settings(task)).text
    assert 'value="vpc-shop"' in page.partition('name="source-vpc_id"')[2].partition(">")[0]


def _saved_data(**changes: str) -> dict[str, str]:
    data = {name: value for name, value in settings_data().items() if name.startswith("source-")}
    return data | {"source-saved_name": "shop server"} | {f"source-{name}": value for name, value in changes.items()}


def test_saved_endpoints_are_made_changed_and_deleted(anna: Client) -> None:
    url = reverse("endpoints:list")
    assertContains(anna.get(url), "No saved endpoints yet")
    assertRedirects(anna.post(reverse("endpoints:create"), _saved_data()), url)
    saved = Endpoint.objects.get()
    assertContains(anna.get(url), "shop server")
    edit = reverse("endpoints:edit", args=[saved.pk])
    assertContains(anna.post(edit, _saved_data(host="db2.internal", password="")), "again", status_code=422)
    assertRedirects(anna.post(edit, _saved_data(host="db2.internal", password="new")), url)
    saved.refresh_from_db()
    assert (saved.host, str(saved.password)) == ("db2.internal", "new")
    anna.post(reverse("endpoints:delete", args=[saved.pk]))
    assert not Endpoint.objects.exists()
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"endpoint-saved", "endpoint-changed", "endpoint-deleted"} <= actions


def test_a_name_is_needed_once_and_only_once(anna: Client) -> None:
    factories.endpoint(saved_name="taken")
    url = reverse("endpoints:create")
    assertContains(anna.post(url, _saved_data(saved_name="taken")), "already", status_code=422)
    assertContains(anna.post(url, _saved_data(saved_name="")), "Give the endpoint a name.", status_code=422)
    assertContains(anna.post(url, _saved_data(press="fields") | {"press": "fields"}), "Database type")


def test_deleting_a_saved_endpoint_leaves_the_tasks_their_copy(anna: Client) -> None:
    saved = factories.endpoint(saved_name="shop server")
    task = factories.task(source=factories.endpoint(saved_from=saved))
    anna.post(reverse("endpoints:delete", args=[saved.pk]))
    task.refresh_from_db()
    assert str(task.source.password) == factories.CANARY


def test_the_endpoint_of_a_task_cannot_be_edited_or_deleted_as_a_saved_one(anna: Client) -> None:
    own = factories.task().source
    assert anna.get(reverse("endpoints:edit", args=[own.pk])).status_code == 404
    anna.post(reverse("endpoints:delete", args=[own.pk]))
    assert Endpoint.objects.filter(pk=own.pk).exists()
    assert anna.get(reverse("endpoints:edit", args=[uuid.uuid4()])).status_code == 404


def test_a_viewer_sees_the_list_and_no_buttons(client: Client) -> None:
    client.force_login(factories.user("vera", role="viewer"))
    factories.endpoint(saved_name="shop server")
    page = client.get(reverse("endpoints:list"))
    assertContains(page, "shop server")
    assertNotContains(page, "Edit")
    assert client.get(reverse("endpoints:create")).status_code == 403


# The SSH host key.

KEY = "ssh-ed25519 " + base64.b64encode(b"a host key").decode()
PRINT = "SHA256:" + base64.b64encode(hashlib.sha256(b"a host key").digest()).decode().rstrip("=")
SSH = {"source-ssh_host": "jump", "source-ssh_user": "u"}


def _behind_ssh(**fields: Any) -> MigrationTask:
    return factories.task(source=factories.endpoint(ssh_host="jump", ssh_user="u", ssh_password="x", **fields))


def _unknown(task: MigrationTask, **detail: str) -> ConnectionTest:
    return factories.connection_test(
        task,
        state="failed",
        code="SSH-HOST-KEY-UNKNOWN",
        message="Not known.",
        detail={"host_key": KEY, "fingerprint": PRINT} | detail,
    )


def test_an_unknown_host_key_shows_its_fingerprint_to_confirm(anna: Client) -> None:
    task = _behind_ssh()
    page = anna.get(_settings(task), {"source": str(_unknown(task).id)})
    assertContains(page, PRINT)
    assertContains(page, "Confirm this fingerprint")


def test_confirming_stores_the_key_and_tests_again(anna: Client) -> None:
    task = _behind_ssh()
    test = _unknown(task)
    data = settings_data(source__password="", press="confirm-source", test_source=str(test.id)) | SSH
    answer = anna.post(_settings(task), data)
    task.refresh_from_db()
    assert task.source.ssh_host_key == KEY
    assert answer.status_code == 302
    assert ConnectionTest.objects.filter(task=task, state="waiting").count() == 1
    assert task.events.filter(code="SSH-HOST-KEY-CONFIRMED", message__contains=PRINT).exists()


def test_a_key_is_not_confirmed_for_another_ssh_host(anna: Client) -> None:
    task = _behind_ssh()
    test = _unknown(task)
    data = settings_data(press="confirm-source", test_source=str(test.id))
    data |= {"source-ssh_host": "other", "source-ssh_user": "u", "source-ssh_password": "y"}
    answer = anna.post(_settings(task), data, **HTMX)
    assertContains(answer, "no SSH host key to confirm", status_code=409)
    task.refresh_from_db()
    assert (task.source.ssh_host, task.source.ssh_host_key) == ("other", "")


@pytest.mark.parametrize("detail", [{"fingerprint": "SHA256:other"}, {"host_key": "x"}, {"host_key": KEY + "\nmore"}])
def test_a_key_that_is_not_the_one_shown_is_not_confirmed(detail: dict[str, str]) -> None:
    task = _behind_ssh()
    test = _unknown(task, **detail)
    with pytest.raises(services.Refused):
        services.confirm_host_key(task_id=task.pk, actor=None, side="source", test_id=test.pk)


def test_a_test_of_another_task_or_side_confirms_nothing() -> None:
    task, other = _behind_ssh(), _behind_ssh()
    for side, test in (("source", _unknown(other)), ("target", _unknown(task))):
        with pytest.raises(services.Refused):
            services.confirm_host_key(task_id=task.pk, actor=None, side=side, test_id=test.pk)


def test_another_ssh_host_drops_key_secrets_and_what_was_read(anna: Client) -> None:
    task = _behind_ssh(ssh_host_key=KEY)
    factories.inventory(task)
    data = settings_data(press="close") | {
        "source-ssh_host": "other",
        "source-ssh_user": "u",
        "source-ssh_password": "y",
    }
    anna.post(_settings(task), data)
    task.refresh_from_db()
    assert (task.source.ssh_host_key, str(task.source.ssh_password)) == ("", "y")
    assert not SourceObject.objects.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"ca_pem": "x"},
        {"client_cert_pem": "x"},
        {"client_key_pem": "x"},
        {"require_auth": "any"},
        {"ssh_host": "other"},
        {"ssh_port": 2222},
        {"ssh_user": "v"},
        {"ssh_password": "z"},
        {"ssh_private_key": "z"},
        {"ssh_host_key": "z"},
        {"region": "r"},
        {"instance_id": "i"},
        {"gateway_id": "g"},
        {"vpn_type": "cvm"},
        {"password": "z"},
    ],
    ids=str,
)
def test_whatever_decides_the_way_voids_a_check(change: dict[str, Any]) -> None:
    task = _behind_ssh()
    before = draft_hash(task)
    for name, value in change.items():
        setattr(task.source, name, value)
    task.source.save()
    task.refresh_from_db()
    assert draft_hash(task) != before


def test_a_passed_test_shows_version_latency_and_protection(anna: Client) -> None:
    task = factories.task()
    test = factories.connection_test(
        task, state="passed", detail={"version": "16.4", "latency_ms": 3.2, "tls": "TLSv1.3, host name verified"}
    )
    answer = anna.get(reverse("tasks:test-result", args=[test.id]))
    for words in ("PostgreSQL 16.4", "3 ms", "TLSv1.3, host name verified"):
        assertContains(answer, words)


def test_a_name_that_somebody_takes_in_the_same_moment_is_refused(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    factories.endpoint(saved_name="shop")
    monkeypatch.setattr("migrations_app.services.endpoints._refuse_taken", lambda *args: None)
    data = services.EndpointData(host="db9.internal", port=5432, account="mover", password="p")
    with pytest.raises(services.Refused, match="shop already"):
        services.save_endpoint(actor=None, name="shop", data=data)


def test_choosing_a_machine_fills_in_the_port_that_the_directory_knows(anna: Client, inventory: None) -> None:
    chosen = {"source-kind": "cvm", "source-region": "demo-east", "source-network": "basic", "source-port": "5432"}
    asked = chosen | {"source-instance_id": "ins-classic"}
    url = reverse("endpoints:fields", args=["source"])
    named = anna.get(url, asked, **HTMX, HTTP_HX_TRIGGER_NAME="source-instance_id")
    assertContains(named, 'name="source-port" value="5431"')
    assertContains(
        anna.get(url, asked, **HTMX, HTTP_HX_TRIGGER_NAME="source-region"), 'name="source-port" value="5432"'
    )
