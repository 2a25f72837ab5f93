"""What every address is asked: works, other method, anonymous, forged, wrong state, again, plain, htmx."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.core import serializers
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains, assertNotContains, assertRedirects

from migrations_app.models import ConnectionTest, Event, MigrationTask
from migrations_app.queue import waiting_messages
from tests import factories

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
PUBLIC = {"login", "logout", "health", "ready"}
# name of the address: (further arguments, what a POST carries, or None where only GET is allowed)
ADDRESSES: dict[str, tuple[list[Any], dict[str, str] | None]] = {
    "list": ([], None),
    "live": ([], None),
    "create": ([], {}),
    "detail": (["task"], None),
    "progress": (["task"], None),
    "settings": (["task"], {}),
    "test": (["task", "source"], {}),
    "test-result": (["test"], None),
    "objects": (["task"], None),
    "tree": (["task"], None),
    "toggle": (["task"], {"pick": '{"path": ["shop"], "selected": false}'}),
    "parents": (["task"], {}),
    "read": (["task"], {}),
    "check": (["task"], None),
    "check-items": (["task"], None),
    "check-run": (["task"], {}),
    "check-without-sync": (["task"], {}),
    "action": (["task", "start"], {}),
    "confirm": (["task", "start"], None),
}
POSTED = [name for name, (_, data) in ADDRESSES.items() if data is not None]
READ_ONLY = [name for name, (_, data) in ADDRESSES.items() if data is None]
POST_ONLY = [name for name in POSTED if name not in ("create", "settings")]


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def url_of(name: str, task: MigrationTask) -> str:
    arguments = ADDRESSES[name][0]
    values = {"task": task.id, "test": None}
    if "test" in arguments:
        values["test"] = factories.connection_test(task).id
    return reverse(f"tasks:{name}", args=[values.get(argument, argument) for argument in arguments])


def _snapshot() -> str:
    models = [MigrationTask, Event, ConnectionTest]
    return "".join(serializers.serialize("json", model.objects.order_by("pk")) for model in models)


@pytest.mark.parametrize("name", ADDRESSES)
def test_nobody_reaches_an_address_without_signing_in(name: str, client: Client) -> None:
    url = url_of(name, factories.checked_task())
    before = _snapshot()
    for answer in (client.get(url), client.post(url, ADDRESSES[name][1] or {})):
        assertRedirects(answer, f"{reverse('login')}?next={url}", fetch_redirect_response=False)
    assert _snapshot() == before


@pytest.mark.parametrize("name", POSTED)
def test_a_forged_post_is_refused(name: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(factories.user())
    url = url_of(name, factories.checked_task())
    before = _snapshot()
    answer = strict.post(url, ADDRESSES[name][1])
    assert answer.status_code == 403
    assert _snapshot() == before


@pytest.mark.parametrize("name", [name for name in ADDRESSES if name not in POST_ONLY])
def test_looking_changes_nothing(name: str, anna: Client) -> None:
    url = url_of(name, factories.checked_task())
    before, messages = _snapshot(), waiting_messages()
    for headers in ({}, HTMX):
        assert anna.get(url, **headers).status_code in (200, 204)
    assert (_snapshot(), waiting_messages()) == (before, messages)


@pytest.mark.parametrize("name", POST_ONLY)
def test_an_act_is_never_done_by_get(name: str, anna: Client) -> None:
    assert anna.get(url_of(name, factories.checked_task())).status_code == 405


@pytest.mark.parametrize("name", READ_ONLY)
def test_a_page_takes_no_post(name: str, anna: Client) -> None:
    assert anna.post(url_of(name, factories.checked_task())).status_code == 405


@pytest.mark.parametrize("name", [name for name, (arguments, _) in ADDRESSES.items() if "task" in arguments])
def test_a_task_that_does_not_exist_is_not_found(name: str, anna: Client) -> None:
    url = url_of(name, MigrationTask(id=uuid.uuid4()))
    answer = anna.post(url, ADDRESSES[name][1]) if name in POSTED else anna.get(url)
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "name", ["settings", "test", "toggle", "parents", "read", "check-run", "check-without-sync", "action"]
)
def test_a_started_task_refuses_in_words(name: str, anna: Client) -> None:
    from tests.integration.test_forms import settings_data

    task = factories.running_task()
    url, data = url_of(name, task), settings_data() if name == "settings" else ADDRESSES[name][1]
    before = _snapshot()
    plain = anna.post(url, data, follow=True)
    assert plain.redirect_chain
    assertContains(plain, "is not possible: the task&#x27;s status is “running”", count=1)
    fragment = anna.post(url, data, **HTMX)
    assertContains(fragment, "is not possible: the task&#x27;s status is “running”", status_code=409)
    assert fragment["HX-Retarget"] == "#dialog-body"
    assert _snapshot() == before


@pytest.mark.parametrize(
    ("action", "status", "after"),
    [
        ("start", "check_passed", "queued"),
        ("start_now", "scheduled", "queued"),
        ("unschedule", "scheduled", "check_passed"),
        ("pause", "running", "paused"),
        ("resume", "paused", "queued"),
        ("retry", "failed", "queued"),
        ("compare", "ready", "ready"),
        ("complete", "ready", "completing"),
        ("keep_syncing", "completing", "ready"),
        ("cancel", "running", "cancelling"),
        ("start_again", "cancelled", "checking"),
    ],
)
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_an_action_does_its_work_once(
    action: str, status: str, after: str, headers: dict[str, str], anna: Client
) -> None:
    task = factories.checked_task() if action == "start" else factories.running_task(status=status)
    url = reverse("tasks:action", args=[task.id, action])
    answer = anna.post(url, **headers)
    task.refresh_from_db()
    assert task.status == after
    assert "HX-Redirect" in answer if headers else answer.status_code == 302
    events = Event.objects.filter(task=task).count()
    again = anna.post(url, **HTMX)
    assert again.status_code == 409
    task.refresh_from_db()
    assert (task.status, Event.objects.filter(task=task).count()) == (after, events)
    assert Event.objects.filter(task=task, actor="anna").exists()


def test_delete_ends_on_the_list(anna: Client) -> None:
    task = factories.task()
    answer = anna.post(reverse("tasks:action", args=[task.id, "delete"]), {"typed": task.name})
    assertRedirects(answer, reverse("tasks:list"))
    assert not MigrationTask.objects.exists()


def test_an_unknown_action_is_not_found(anna: Client) -> None:
    task = factories.task()
    for verb in (
        anna.get(reverse("tasks:confirm", args=[task.id, "explode"])),
        anna.post(reverse("tasks:action", args=[task.id, "explode"])),
    ):
        assert verb.status_code == 404


def test_start_again_clears_the_target_only_when_asked(anna: Client) -> None:
    for wanted, data in ((False, {}), (True, {"clear_target": "1", "typed": "shop to 18"})):
        task = factories.task(status="cancelled", name="shop to 18")
        anna.post(reverse("tasks:action", args=[task.id, "start_again"]), data)
        task.refresh_from_db()
        assert task.clear_target is wanted


def test_the_way_back_is_one_of_our_own_pages(anna: Client) -> None:
    task = factories.running_task(status="paused")
    answer = anna.post(reverse("tasks:action", args=[task.id, "cancel"]), {"from": "https://evil.example/"})
    assertRedirects(answer, reverse("tasks:detail", args=[task.id]), fetch_redirect_response=False)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("cancel", "Tables that were made on the target stay there and are listed."),
        ("complete", "Make sure that nobody has written into the target"),
        ("complete", "are still open on the source, prepared ones too, are waited for, and named"),
        ("compare", "the sync goes on"),
        ("pause", "disk space"),
    ],
)
def test_a_confirmation_says_what_happens(action: str, words: str, anna: Client) -> None:
    task = factories.running_task("sync", status="ready")
    url = reverse("tasks:confirm", args=[task.id, action])
    assertContains(anna.get(url), words)
    fragment = anna.get(url, **HTMX)
    assertContains(fragment, words)
    assert "<html" not in fragment.text


@pytest.mark.parametrize(
    ("step", "status", "action", "words"),
    [
        ("schema", "running", "pause", "copies every table again from the beginning"),
        ("copy", "running", "pause", "copies every table again from the beginning"),
        ("copy", "paused", "resume", "Every table is copied from the beginning"),
        ("copy", "failed", "retry", "every table is copied from the beginning"),
        ("index", "running", "pause", "All rows are on the target already."),
    ],
)
def test_a_confirmation_says_whether_a_copy_without_sync_goes_on(
    step: str, status: str, action: str, words: str, anna: Client
) -> None:
    task = factories.running_task(step, status=status, incremental=False)
    page = anna.get(reverse("tasks:confirm", args=[task.id, action]))
    assertContains(page, words)
    assertNotContains(page, "keeps the changes")
    assertNotContains(page, "where the task")


@pytest.mark.parametrize(
    ("step", "words"), [("copy", "Resume copies every table again"), ("index", "All rows are on the target")]
)
def test_the_pause_of_a_task_without_sync_says_what_it_costs(step: str, words: str, anna: Client) -> None:
    task = factories.running_task(step, incremental=False)
    anna.post(reverse("tasks:action", args=[task.id, "pause"]))
    said = task.events.get(code="TASK-PAUSED").message
    assert words in said
    assert "keeps the changes" not in said


def test_a_confirmation_of_what_is_not_allowed_says_so(anna: Client) -> None:
    task = factories.task()
    answer = anna.get(reverse("tasks:confirm", args=[task.id, "complete"]))
    assertContains(answer, "Nothing was changed.", status_code=409)


def test_only_allowed_operations_are_offered(anna: Client) -> None:
    factories.running_task("sync", status="ready", name="ready one")
    page = anna.get(reverse("tasks:list")).text
    assert "/complete/confirm/" in page
    assert "/cancel/confirm/" in page
    assert "/start/confirm/" not in page


@pytest.mark.parametrize("name", [*sorted(ADDRESSES), "missing", "login"])
def test_every_answer_carries_the_headers_that_protect_it(name: str, anna: Client) -> None:
    task = factories.checked_task()
    url = {"missing": "/nothing/", "login": reverse("login")}.get(name) or url_of(name, task)
    answer = anna.post(url, ADDRESSES[name][1]) if name in POST_ONLY else anna.get(url)
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert "no-store" in answer["Cache-Control"]


@pytest.mark.parametrize("name", [name for name in ADDRESSES if name not in POST_ONLY])
def test_no_page_holds_inline_code_or_a_password(name: str, anna: Client) -> None:
    task = factories.checked_task()
    page = anna.get(url_of(name, task)).text
    assert factories.CANARY not in page
    assert " style=" not in page
    assert "<style" not in page
    assert " on" + "click=" not in page
    assert "javascript:" not in page


@pytest.mark.parametrize("name", ["list", "detail", "check", "objects"])
def test_a_crash_shows_an_id_and_nothing_else(
    name: str, anna: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("SELECT secret FROM /work/path")

    url = url_of(name, factories.task())
    for selector in ("task_row", "task_page"):
        monkeypatch.setattr(f"migrations_app.selectors.{selector}", crash)
    anna.raise_request_exception = False
    answer = anna.get(url)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    incident = answer.text.split("<code>")[1].split("</code>")[0]
    assert incident in caplog.text
