"""The wizard's forms: what they accept, and that every refusal names its remedy."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from console.access_forms import AccessForm
from console.forms import AccountForm, SettingsForms, SourceForm, TargetForm, TaskForm
from tests import factories

pytestmark = pytest.mark.django_db


def settings_data(**changes: Any) -> dict[str, Any]:
    """A complete POST of step 1."""
    data = {"name": "shop to 18", "when": "now", "scheduled_at": "", "incremental": "on"}
    data |= {"source-kind": "public_ip", "target-kind": "public_ip"}
    for side, host in (("source", "db1.internal"), ("target", "10.0.4.9")):
        data |= {f"{side}-host": host, f"{side}-port": "5432", f"{side}-account": "mover"}
        data |= {f"{side}-password": factories.CANARY, f"{side}-database": "postgres", f"{side}-tls_mode": "require"}
    return data | {name.replace("__", "-"): value for name, value in changes.items()}


def _source(**changes: Any) -> SourceForm:
    return SourceForm(settings_data(**{f"source__{name}": value for name, value in changes.items()}))


def test_a_complete_form_gives_typed_values() -> None:
    forms = SettingsForms(settings_data())
    assert forms.is_valid()
    values = forms.values()
    assert (values["name"], values["scheduled_at"], values["incremental"]) == ("shop to 18", None, True)
    assert (values["source"].host, values["source"].port, values["target"].account) == ("db1.internal", 5432, "mover")


def test_incremental_sync_is_on_until_it_is_taken_off() -> None:
    assert TaskForm()["incremental"].value() is True
    data = settings_data()
    del data["incremental"]
    form = TaskForm(data)
    assert form.is_valid()
    assert form.cleaned_data["incremental"] is False


def test_all_errors_show_at_once() -> None:
    forms = SettingsForms({})
    assert not forms.is_valid()
    assert {"name", "when"} == set(forms.task.errors)
    assert {"kind", "account", "database", "tls_mode"} <= set(forms.source.errors) & set(forms.target.errors)
    forms = SettingsForms({"source-kind": "public_ip", "target-kind": "public_ip"})
    assert {"host", "port"} <= set(forms.source.errors) & set(forms.target.errors)


def test_a_time_is_read_in_the_time_zone_of_the_console() -> None:
    with timezone.override("Europe/Paris"):
        form = TaskForm(settings_data(when="at", scheduled_at="2099-07-01T10:00"))
        assert form.is_valid()
        assert form.cleaned_data["scheduled_at"] == datetime(2099, 7, 1, 10, tzinfo=ZoneInfo("Europe/Paris"))
        assert form.fields["scheduled_at"].help_text == "Times are in Europe/Paris."


def test_a_past_time_is_refused_with_the_time_it_is_now() -> None:
    past = (timezone.localtime() - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M")
    form = TaskForm(settings_data(when="at", scheduled_at=past))
    assert not form.is_valid()
    assert "This time has passed" in form.errors["scheduled_at"][0]
    assert "Choose a later time, or Now." in form.errors["scheduled_at"][0]


@pytest.mark.parametrize("text", ["", "tomorrow", "2099-02-31T10:00"])
def test_a_missing_or_impossible_time_is_refused(text: str) -> None:
    assert "scheduled_at" in TaskForm(settings_data(when="at", scheduled_at=text)).errors


def test_a_time_in_the_hour_that_does_not_exist_is_refused() -> None:
    with timezone.override("Europe/Paris"):
        assert "scheduled_at" in TaskForm(settings_data(when="at", scheduled_at="2099-03-29T02:30")).errors


def test_a_time_that_was_typed_and_not_chosen_is_forgotten() -> None:
    form = TaskForm(settings_data(when="now", scheduled_at="2001-01-01T10:00"))
    assert form.is_valid()
    assert form.cleaned_data["scheduled_at"] is None


@pytest.mark.parametrize(
    "host",
    ["db1.example.com", "192.0.2.14", "2001:db8::1", "[2001:db8::1]", "::1", "localhost", "my_host", "bücher.example"],
)
def test_one_host_name_or_address_is_accepted(host: str) -> None:
    assert "host" not in _source(host=host).errors


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "/var/run/postgresql",
        "a,b",
        "a b",
        "db1/x",
        "user@db1",
        "@abstract",
        "-x",
        "db1;id",
        "a\nb",
        "$(id)",
        "x" * 256,
        "a'b",
        "host=x",
        "db.example.com:5432",
        "127.0.0.1:5432",
        "[::1]:5432",
        "db1:",
        "::g",
        "2001:db8:::1",
        "a..b",
        ".a",
        "1.2.3",
        "999.1.1.1",
        "127.1",
        "2130706433",
        "a.-b",
        f"{'x' * 64}.example.com",
        "[db1",
        "fe80::1%a b",
        "a\u3000b",
        "a\u200bb",
    ],
)
def test_anything_else_is_refused_as_a_host(host: str) -> None:
    assert "host" in _source(host=host).errors


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("db.example.com:5432", "Leave the port out here"),
        ("::g", "no IPv6 address"),
        ("999.1.1.1", "no IPv4 address"),
        ("a..b", "no two in a row"),
        ("db1/x", "Enter one host name or IP address alone"),
    ],
)
def test_what_is_wrong_with_a_host_is_said_with_the_remedy(host: str, said: str) -> None:
    assert said in _source(host=host).errors["host"][0]


@pytest.mark.parametrize(
    ("endpoint", "taken"),
    [
        ("cloud.internal:8443", True),
        ("[::1]:8443", True),
        ("cloud.internal", True),
        ("127.0.0.1:70000", False),
        ("999.1.1.1:443", False),
        ("::1:x", False),
    ],
)
def test_the_endpoint_of_a_cloud_may_have_a_port(endpoint: str, taken: bool) -> None:
    form = AccountForm({"secret_id": "id", "secret_key": "key", "endpoint": endpoint})
    assert ("endpoint" not in form.errors) == taken


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "5432x", "1e3", "99999999999999999999"])
def test_a_port_outside_its_range_is_refused(port: str) -> None:
    assert "5432" in _source(port=port).errors["port"][0]


@pytest.mark.parametrize("field", ["account", "database"])
def test_names_are_measured_in_bytes(field: str) -> None:
    assert field not in _source(**{field: "é" * 31}).errors
    assert "63 bytes" in _source(**{field: "é" * 32}).errors[field][0]


@pytest.mark.parametrize("field", ["account", "database", "password"])
def test_a_null_character_is_refused(field: str) -> None:
    assert field in _source(**{field: "a\x00b"}).errors


def test_blanks_of_names_and_passwords_are_kept() -> None:
    form = _source(account=" mover ", password=" secret ")
    assert form.is_valid()
    assert (form.endpoint().account, form.endpoint().password) == (" mover ", " secret ")


def test_prefer_is_offered_only_to_an_endpoint_that_has_it() -> None:
    assert [mode for mode, _ in SourceForm().fields["tls_mode"].choices] == [
        "disable",
        "require",
        "verify-ca",
        "verify-full",
    ]
    assert "tls_mode" in _source(tls_mode="prefer").errors
    stored = factories.endpoint(tls_mode="prefer")
    kept = SourceForm(settings_data(source__tls_mode="prefer"), stored=stored)
    assert kept.is_valid(), kept.errors
    assert kept.endpoint().tls_mode == "prefer"
    for mode, offered in (("prefer", True), ("require", False)):
        access = AccessForm(None, endpoint=factories.endpoint(tls_mode=mode), movable=True, side="source")
        assert ("prefer" in dict(access.fields["tls_mode"].choices)) is offered


def test_an_unknown_type_or_tls_mode_is_refused() -> None:
    form = _source(kind="floppy", tls_mode="none")
    assert set(form.errors) == {"kind", "tls_mode"}


def test_an_empty_password_keeps_the_stored_one() -> None:
    form = SourceForm(settings_data(**{"source__password": ""}), stored=factories.endpoint())
    assert form.is_valid()
    assert form.endpoint().password is None


@pytest.mark.parametrize(
    "change", [{"host": "evil.example"}, {"port": "5433"}, {"account": "other"}, {"tls_mode": "disable"}]
)
def test_a_stored_password_does_not_follow_to_another_place(change: dict[str, str]) -> None:
    data = settings_data(**{f"source__{name}": value for name, value in ({"password": ""} | change).items()})
    form = SourceForm(data, stored=factories.endpoint(tls_mode="require"))
    assert "Enter the password again" in form.errors["password"][0]


def test_stronger_tls_keeps_the_stored_password() -> None:
    data = settings_data(source__password="", source__tls_mode="verify-full")
    assert SourceForm(data, stored=factories.endpoint(tls_mode="require")).is_valid()


def test_no_rendering_holds_a_password() -> None:
    task = factories.task()
    for forms in (SettingsForms(task=task), SettingsForms(settings_data(), task=task)):
        assert factories.CANARY not in "".join(form.as_p() for form in (forms.task, forms.source, forms.target))
    assert factories.CANARY not in repr(SettingsForms(settings_data()).source.data.get("nothing", ""))


def test_a_draft_comes_back_as_it_was_saved() -> None:
    later = timezone.now() + timedelta(days=1)
    task = factories.task(incremental=False, scheduled_at=later)
    forms = SettingsForms(task=task)
    assert forms.task["when"].value() == "at"
    assert forms.task["incremental"].value() is False
    assert forms.source["host"].value() == "db1.internal"
    assert "stored, leave empty to keep" in str(TargetForm(stored=task.target)["password"])
