"""The task page, sign-in, health."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app.engine.errors import ConflictError
from migrations_app.engine.states import StepName
from migrations_app.models import TableCopy, WorkerBeat
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def test_the_task_page_shows_all_there_is(anna: Client) -> None:
    task = factories.running_task("sync", status="ready", lag_bytes=4100, lag_seconds=0.2)
    task.databases.update(lag_bytes=4100, lag_seconds=0.2, bookmark=0x1_2A3B4C5D)
    factories.table_copy(task, "orders")
    factories.event(task, "In sync.", actor="bob")
    factories.ledger_entry(task)
    difference = {"schema": "public", "name": "prices", "verdict": "differs", "source_rows": 5, "target_rows": 4}
    factories.comparison(task, equal=False, differences=[difference | {"sample_keys": ["id=9"], "reason": ""}])
    page = anna.get(reverse("tasks:detail", args=[task.id]))
    for words in (
        "done in 3 min",
        "orders",
        "4.1 kB",
        "0.2 s",
        "1/2A3B4C5D",
        "In sync.",
        "bob",
        "1 difference",
        "public.prices",
        "id=9",
        "pg_drop_replication_slot",
        "Complete",
    ):
        assertContains(page, words)


def test_the_stepper_tells_the_remaining_steps_at_the_mark_of_the_current_one(anna: Client) -> None:
    task = factories.running_task("copy")
    stepper = (
        anna.get(reverse("tasks:detail", args=[task.id])).text.partition('id="steps"')[2].partition("</section>")[0]
    )
    assert stepper.count('class="mark"') == 1
    current = stepper.partition('aria-current="step"')[2].partition("</ol></div></div>")[0]
    assert f'aria-describedby="tip-{task.id}"' in current
    assert "until you press Complete" in current
    assert "structure" not in current.lower()


@pytest.mark.parametrize("status", ["completed", "cancelled"])
def test_the_stepper_of_a_task_that_ended_has_no_remaining_steps(anna: Client, status: str) -> None:
    task = factories.running_task("cleanup", status=status)
    task.steps.update(state="done" if status == "completed" else "pending")
    page = anna.get(reverse("tasks:detail", args=[task.id])).text
    assert 'class="mark"' not in page.partition('id="steps"')[2].partition("</section>")[0]


def test_tables_are_searched_and_paged(anna: Client) -> None:
    task = factories.running_task()
    for number in range(60):
        factories.table_copy(task, f"table_{number:02}", bytes_total=number)
    url = reverse("tasks:detail", args=[task.id])
    assertContains(anna.get(url), "1–25 of 60")
    found = anna.get(url, {"q": "table_07"})
    assertContains(found, "public.table_07")
    assertNotContains(found, "public.table_08")


def test_the_page_costs_few_queries_whatever_it_shows(
    anna: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    task = factories.running_task()
    for number in range(40):
        factories.table_copy(task, f"table_{number}")
        factories.event(task)
    with django_assert_max_num_queries(24):
        anna.get(reverse("tasks:detail", args=[task.id]))


def test_its_poll_is_empty_while_nothing_changes(anna: Client) -> None:
    task = factories.running_task()
    table = factories.table_copy(task)
    url = reverse("tasks:progress", args=[task.id])
    seen = anna.get(url).text.split("?seen=")[1].split('"')[0]
    assert anna.get(url, {"seen": seen}).status_code == 204
    TableCopy.objects.filter(pk=table.pk).update(rows_done=7)
    assert anna.get(url, {"seen": seen}).status_code == 200


@pytest.mark.parametrize(
    ("status", "seconds"),
    [("running", 2), ("paused", 2), ("failed", 10), ("check_passed", 10), ("cancelled", 10), ("draft", 10)],
)
def test_it_polls_quickly_while_workers_change_it_and_slowly_while_only_operators_can(
    status: str, seconds: int, anna: Client
) -> None:
    task = factories.task(status=status)
    assertContains(anna.get(reverse("tasks:detail", args=[task.id])), f'hx-trigger="every {seconds}s, back"')


def test_a_completed_task_is_not_asked_for_again(anna: Client) -> None:
    task = factories.task(status="completed", finished_at=timezone.now())
    assertNotContains(anna.get(reverse("tasks:detail", args=[task.id])), "data-poll")


def test_a_cancelled_task_lists_what_is_left_with_the_statement(anna: Client) -> None:
    task = factories.task(status="cancelled", finished_at=timezone.now())
    factories.ledger_entry(task, side="target", kind="table", schema="public", name="orders")
    page = anna.get(reverse("tasks:detail", args=[task.id]))
    assertContains(page, "DROP TABLE")
    again = anna.get(reverse("tasks:confirm", args=[task.id, "start_again"]))
    assertContains(again, "Clear the 1 object made on the target first")


def test_signing_in_works_and_a_wrong_password_says_so(client: Client) -> None:
    factories.user("anna")
    url = reverse("login")
    wrong = client.post(url, {"username": "anna", "password": "x"})
    assertContains(wrong, "This account and password do not match.", status_code=422)
    unknown = client.post(url, {"username": "nobody", "password": "x"})
    assertContains(unknown, "This account and password do not match.", status_code=422)
    right = client.post(url, {"username": "anna", "password": factories.PASSWORD})
    assert right["Location"] == "/"


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_sign_in_never_leads_elsewhere(target: str, client: Client) -> None:
    factories.user("anna")
    data = {"username": "anna", "password": factories.PASSWORD, "next": target}
    assert client.post(reverse("login"), data)["Location"] == "/"


def test_signing_in_gives_the_session_a_new_key(client: Client) -> None:
    factories.user("anna")
    client.session.save()
    before = client.session.session_key
    client.post(reverse("login"), {"username": "anna", "password": factories.PASSWORD})
    assert client.session.session_key != before


def test_signing_out_takes_a_post(anna: Client) -> None:
    assert anna.get(reverse("logout")).status_code == 405
    assert anna.post(reverse("logout"))["Location"] == reverse("login")
    assert anna.get("/").status_code == 302


def test_health_needs_no_sign_in_and_tells_whether_work_is_done(client: Client) -> None:
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").status_code == 503
    factories.workers()
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["workers"]) == (200, 3)


def test_without_a_dispatcher_nothing_is_ready(client: Client) -> None:
    factories.workers()
    WorkerBeat.objects.filter(cluster="dispatcher").delete()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "dispatcher" in answer.json()["problem"]


def test_with_another_key_nothing_is_ready(client: Client, settings: Settings) -> None:
    factories.workers()
    factories.task(status="draft")
    assert client.get("/readyz").status_code == 200
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "cannot be opened" in answer.json()["problem"]


def test_a_page_says_when_no_worker_runs(anna: Client) -> None:
    assertContains(anna.get("/"), "No worker answers")
    factories.workers()
    assertNotContains(anna.get("/"), "No worker answers")


@pytest.mark.parametrize(("silent", "named"), [(["sync"], "sync"), (["migrate", "sync"], "migrate, sync")])
def test_the_sentence_about_silent_workers_fits_one_and_many(silent: list[str], named: str, anna: Client) -> None:
    factories.workers()
    WorkerBeat.objects.filter(cluster__in=silent).delete()
    said = f"No worker answers for {named}: tasks that need one wait. Start all workers with manage.py up."
    assertContains(anna.get("/"), said)


@pytest.mark.parametrize(("code", "level", "shown"), [("CANCEL-LEFT", "warning", True), ("CMP-EQUAL", "info", False)])
def test_an_event_that_tells_of_trouble_says_what_to_do_next(code: str, level: str, shown: bool, anna: Client) -> None:
    task = factories.running_task("sync")
    factories.event(task, "Something happened.", code=code, level=level)
    page = anna.get(reverse("tasks:detail", args=[task.id]))
    assertContains(page, "Something happened.")
    assert ("run on the server what the task page says" in page.text) is shown


def test_a_foreign_host_header_is_refused(client: Client) -> None:
    assert client.get("/login/", HTTP_HOST="evil.example").status_code == 400


def test_the_key_of_a_row_that_stopped_the_sync_is_told_to_operators_only(anna: Client) -> None:
    task = factories.running_task("sync", worker="w")
    error = ConflictError("The update of public.people (email=canary@example.com) found no row on the target.")
    error.detail["key"] = "email=canary@example.com"
    assert not work.fail(work.Claim(task_id=str(task.pk), epoch=task.epoch, worker="w"), StepName.SYNC, error)
    assertContains(anna.get(reverse("tasks:detail", args=[task.id])), "canary@example.com")
    anna.force_login(factories.user("vera", role="viewer"))
    for name in ("tasks:detail", "tasks:report", "tasks:report-json", "tasks:list"):
        page = anna.get(reverse(name, args=[task.id] if name != "tasks:list" else []))
        assertContains(page, "public.people found no row")
        assertNotContains(page, "canary@example.com")
