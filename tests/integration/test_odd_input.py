"""Input that no page of ours sends: every answer is a refusal in words, never an error page."""

from __future__ import annotations

import json

import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from console.access_forms import AccessForm
from console.forms import TaskForm
from migrations_app import selectors
from migrations_app.engine.selection import Selection
from migrations_app.models import Endpoint, MigrationTask, SignInFailure
from tests import factories

DEEP = "[" * 100_000
HALF = "\ud800"  # half of a character: no text, and no database stores it


@pytest.fixture
def client(db: None) -> Client:
    client = Client()
    client.force_login(factories.user(role="admin"))
    return client


@pytest.fixture
def task(db: None) -> MigrationTask:
    made = factories.task()
    factories.inventory(made)
    return made


BUTTONS = {"toggle": "pick", "mode": "mode", "matching": "matching", "forget": "pattern"}


@pytest.mark.parametrize("button", BUTTONS)
@pytest.mark.parametrize(
    "value",
    [DEEP, '{"path":' + DEEP, json.dumps({"path": ["shop", HALF], "selected": True, "mode": "data", "q": "/a/"})],
    ids=["deep", "deep below", "half a character"],
)
def test_a_choice_that_cannot_be_read_is_a_bad_request(
    client: Client, task: MigrationTask, button: str, value: str
) -> None:
    answer = client.post(reverse(f"tasks:{button}", args=[task.id]), {BUTTONS[button]: value})
    assert answer.status_code == 400


@pytest.mark.parametrize("button", ["matching", "forget"])
@pytest.mark.parametrize("text", [f"a{HALF}*", f"/{HALF}/", "a\0*"])
def test_a_pattern_that_is_no_text_is_a_bad_request(
    client: Client, task: MigrationTask, button: str, text: str
) -> None:
    value = json.dumps({"path": ["shop"], "mode": "data", "q": text})
    answer = client.post(reverse(f"tasks:{button}", args=[task.id]), {BUTTONS[button]: value})
    assert answer.status_code == 400


@pytest.mark.parametrize("path", [DEEP, json.dumps([HALF]), json.dumps(["shop", "a\0"])], ids=["deep", "half", "nul"])
def test_names_for_something_unreadable_are_a_bad_request(client: Client, task: MigrationTask, path: str) -> None:
    answer = client.post(reverse("tasks:mapping", args=[task.id]), {"path": path, "target": "x"})
    assert answer.status_code == 400


@pytest.mark.parametrize("name", ["trail", "export"])
@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_the_audit_trail_answers_for_the_first_and_the_last_day_of_all(client: Client, name: str, day: str) -> None:
    url = reverse({"trail": "audit:list", "export": "audit:export"}[name])
    for zone in ("Asia/Shanghai", "America/New_York"):
        with timezone.override(zone):
            assert client.get(url, {"first_day": day}).status_code == 200
            assert client.get(url, {"last_day": day}).status_code == 200


@pytest.mark.parametrize("moment", ["9999-12-31T23:59", "0001-01-01T00:00"])
def test_a_start_at_the_end_of_time_is_refused(moment: str) -> None:
    for zone in ("Asia/Shanghai", "America/New_York"):
        with timezone.override(zone):
            form = TaskForm({"name": "n", "when": "at", "scheduled_at": moment})
            assert list(form.errors) == ["scheduled_at"]


def test_an_account_that_is_no_text_is_refused_and_not_stored(db: None) -> None:
    answer = Client().post(reverse("login"), {"username": "a\0b", "password": "wrong"})
    assert answer.status_code == 422
    assert list(SignInFailure.objects.values_list("account", flat=True)) == ["ab"]


@pytest.mark.parametrize("name", [r"a\uD800", r"a\0"])
def test_a_name_of_the_inventory_that_is_no_text_is_a_problem_of_its_line(client: Client, name: str) -> None:
    text = f'resources:\n  - kind: region\n    id: one\n    name: "{name}"\n'
    answer = client.post(reverse("resources:import"), {"text": text})
    assert answer.status_code == 422
    assert "cannot be stored" in answer.content.decode()


@pytest.mark.parametrize("host", ["a b", "a,b", "/run", "user@host"])
def test_the_new_address_of_a_failed_task_is_one_host(host: str) -> None:
    values = {"source-host": host, "source-port": "5432", "source-account": "a", "source-tls_mode": "require"}
    data = QueryDict(mutable=True)
    data.update(values)
    form = AccessForm(data, endpoint=Endpoint(host="db.internal", account="mover"), movable=True, side="source")
    assert list(form.errors) == ["host"]


def test_a_task_of_nothing_but_a_pattern_names_its_database_in_the_list(client: Client) -> None:
    task = factories.task(selection=Selection().choose_matching(("shop",), "app_*", "data").to_json())
    assert selectors.task_row(task).route_names == "shop"


@pytest.mark.parametrize("name", ["kind", "region", "search"])
def test_resources_are_looked_for_without_what_no_database_stores(client: Client, name: str) -> None:
    page = client.get(reverse("resources:list"), {name: "vp\0c"})
    assert page.status_code == 200
    assert page.context["asked"][name] == "vpc"
