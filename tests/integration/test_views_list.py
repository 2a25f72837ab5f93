"""The task list and its poll."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from pytest_django.asserts import assertContains, assertNotContains

from console.views.listing import ROWS_PER_PAGE
from migrations_app import services
from migrations_app.engine.states import Status
from migrations_app.models import MigrationTask, User
from tests import factories

pytestmark = pytest.mark.django_db
LIVE = "/live/"


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _known(task: MigrationTask) -> str:
    return f"{task.id}:{task.version}:{task.status}"


def test_an_empty_list_offers_one_action(anna: Client) -> None:
    page = anna.get("/")
    assertContains(page, "No migrations yet")
    assertContains(page, "Create Task")


def test_search_finds_by_name_and_host(anna: Client) -> None:
    factories.task(name="shop to 18")
    factories.task(name="billing", source=factories.endpoint(host="192.0.2.77"))
    assertNotContains(anna.get("/", {"q": "shop to"}), "billing")
    assertContains(anna.get("/", {"q": "192.0.2.77"}), "billing")
    assertContains(anna.get("/", {"q": "nothing like it"}), "No task matches")


def test_search_finds_by_the_databases_that_move(anna: Client) -> None:
    factories.running_task(name="running").databases.update(source_name="ledger", target_name="ledger_new")
    factories.inventory(factories.task(name="drafted"))
    factories.task(name="other")
    for text, found in (("ledger", ["running"]), ("ledger_NEW", ["running"]), ("analytics", ["drafted"])):
        assert [row.name for row in _found(anna, q=text)] == found
    assert _found(anna, q="template1") == []


def _sortable() -> None:
    """Four tasks whose order is another one by each column; the newest is the last."""
    made = [
        factories.task(name="d", status="draft"),
        factories.running_task("copy", name="b", lag_seconds=90.0),
        factories.running_task("sync", name="c", status="ready", lag_seconds=2.0),
        factories.task(name="a", status="completed"),
    ]
    for number, task in enumerate(made):
        MigrationTask.objects.filter(pk=task.pk).update(created_at=timezone.now() - timedelta(hours=9 - number))


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("", "acbd"),
        ("created", "dbca"),
        ("-created", "acbd"),
        ("name", "abcd"),
        ("-name", "dcba"),
        ("status", "cbda"),
        ("-status", "adbc"),
        ("lag", "cbad"),  # those without a lag come last, either way
        ("-lag", "bcad"),
        ("progress", "bcad"),
        ("-progress", "acbd"),
        ("'; DROP TABLE", "acbd"),
    ],
)
def test_each_column_sorts_the_list_both_ways(anna: Client, sort: str, names: str) -> None:
    _sortable()
    assert "".join(task.name for task in _found(anna, sort=sort)) == names


def test_names_are_sorted_whatever_their_case(anna: Client) -> None:
    for name in ("Demo", "analytics", "billing", "Crm"):
        factories.task(name=name)
    assert [task.name for task in _found(anna, sort="name")] == ["analytics", "billing", "Crm", "Demo"]
    assert [task.name for task in _found(anna, sort="-name")] == ["Demo", "Crm", "billing", "analytics"]


@pytest.mark.parametrize(
    ("status", "names"),
    [("", "acbd"), ("draft", "d"), ("ready", "c"), ("completed", "a"), ("failed", ""), ("nonsense", "")],
)
def test_a_status_narrows_the_list_to_its_tasks(anna: Client, status: str, names: str) -> None:
    _sortable()
    assert "".join(task.name for task in _found(anna, status=status)) == names


def test_each_group_of_the_filter_shows_as_many_tasks_as_it_counts(anna: Client) -> None:
    _sortable()
    groups = anna.get("/").context["groups"]
    assert sum(group.count for group in groups) >= 4
    for group in groups:
        assert len(_found(anna, status=group.name)) == group.count


def _found(anna: Client, **query: str) -> list[MigrationTask]:
    """The tasks of the list, in its order."""
    marks = anna.get("/", query).context["page"].object_list
    return [MigrationTask.objects.get(pk=mark.pk) for mark in marks]


def test_a_search_counts_what_it_finds_on_every_page_and_beyond_the_last(anna: Client) -> None:
    for number in range(ROWS_PER_PAGE + 3):
        factories.task(name=f"shop {number}")
    factories.task(name="billing")
    for asked, shown, rows in (("1", 1, ROWS_PER_PAGE), ("2", 2, 3), ("9", 2, 3), ("x", 1, ROWS_PER_PAGE)):
        page = anna.get("/", {"q": "shop", "page": asked}).context["page"]
        assert (page.number, page.paginator.count, len(page.object_list)) == (shown, ROWS_PER_PAGE + 3, rows)
    assert anna.get("/", {"q": "nothing like it"}).context["page"].paginator.count == 0


def test_the_number_of_queries_does_not_grow_with_the_list(
    anna: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(15):
        factories.running_task(name=f"task {number}")
    with django_assert_max_num_queries(13):
        anna.get("/")


def test_a_list_of_failed_tasks_costs_no_more(
    anna: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(15):
        factories.running_task("sync", name=f"task {number}", status="failed", error_code="DST-ERROR")
    with django_assert_max_num_queries(13):
        anna.get("/")


def test_a_poll_costs_few_queries(anna: Client, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    tasks = [factories.running_task(name=f"task {number}") for number in range(15)]
    with django_assert_max_num_queries(5):
        assert anna.get(LIVE, {"known": [_known(task) for task in tasks]}).status_code == 204
    with django_assert_max_num_queries(8):
        assert anna.get(LIVE, {"known": [f"{task.id}:0:running" for task in tasks]}).status_code == 200


def test_a_poll_without_news_is_empty(anna: Client) -> None:
    task = factories.running_task()
    assert anna.get(LIVE, {"known": _known(task)}).status_code == 204


def test_a_poll_brings_changed_rows_only(anna: Client) -> None:
    first, second = factories.running_task(name="first"), factories.running_task(name="second")
    known = [_known(first), _known(second)]
    MigrationTask.objects.filter(pk=first.pk).update(version=F("version") + 1)
    answer = anna.get(LIVE, {"known": known})
    assertContains(answer, f'id="step-{first.id}"')
    assertNotContains(answer, str(second.id))
    assertNotContains(answer, "announce")


def test_a_poll_brings_a_row_whose_place_in_the_queue_changed(anna: Client) -> None:
    first = factories.task(name="first", status="queued", queued_at=timezone.now() - timedelta(minutes=2))
    second = factories.task(name="second", status="queued", queued_at=timezone.now() - timedelta(minutes=1))
    shown = _shown(anna.get("/").text, second)
    assert anna.get(LIVE, {"known": shown}).status_code == 204
    MigrationTask.objects.filter(pk=first.pk).update(status="running", version=F("version") + 1)
    answer = anna.get(LIVE, {"known": shown})
    assertContains(answer, "1st in the queue")
    assertNotContains(answer, "announce")
    assert anna.get(LIVE, {"known": _shown(answer.text, second)}).status_code == 204


def test_a_poll_brings_a_row_whose_time_until_its_start_changed(anna: Client) -> None:
    task = factories.task(status="scheduled", scheduled_at=timezone.now() + timedelta(hours=9, seconds=30))
    shown = _shown(anna.get("/").text, task)
    assert anna.get(LIVE, {"known": shown}).status_code == 204
    MigrationTask.objects.filter(pk=task.pk).update(scheduled_at=timezone.now() + timedelta(hours=8, seconds=30))
    assertContains(anna.get(LIVE, {"known": shown}), "Starts in 8 h")


def _shown(page: str, task: MigrationTask) -> str:
    """What a page says about a row when it polls."""
    found = re.search(f'value="({task.id}:[^"]*)"', page)
    assert found
    return found[1]


def test_a_poll_announces_a_new_status(anna: Client) -> None:
    task = factories.running_task(name="first")
    known = _known(task)
    MigrationTask.objects.filter(pk=task.pk).update(version=F("version") + 1, status="failed")
    assertContains(anna.get(LIVE, {"known": known}), "first: Failed.")


_ALL = {
    "running": ["checking", "running", "completing", "cancelling"],
    "queued": ["queued", "scheduled"],
    "waiting": ["ready", "check_passed", "paused"],
    "failed": ["failed", "check_failed"],
    "draft": ["draft"],
    "ended": ["completed", "cancelled"],
}


def test_the_summary_tells_the_numbers_of_the_filters(anna: Client) -> None:
    for status in sorted(Status):
        factories.task(status=status, scheduled_at=timezone.now())
    page = anna.get("/")
    assert {group.name: group.count for group in page.context["groups"]} == {
        name: len(statuses) for name, statuses in _ALL.items()
    }
    assertContains(page, "4 running, 2 queued, 3 wait for you, 2 failed, 1 draft</span>")
    MigrationTask.objects.exclude(status__in=_ALL["ended"]).delete()
    assertContains(anna.get("/"), "2 ended</span>")


def test_a_poll_brings_the_filters_when_their_numbers_changed(anna: Client) -> None:
    running, other = factories.running_task(), factories.task(status="check_passed")
    page = anna.get("/", {"q": "a", "status": "running"})
    counts = re.search(r'name="counts" value="(\w+)"', page.text)
    assert counts
    asked = {"known": _known(running), "counts": counts[1]}
    assert anna.get(LIVE, asked).status_code == 204
    MigrationTask.objects.filter(pk=other.pk).update(status="queued")
    answer = anna.get(LIVE, asked, headers={"hx-request": "true", "hx-current-url": "http://x/?q=a&status=running#top"})
    assertContains(answer, '<nav class="filters" id="filters" data-guard="filters" hx-swap-oob="true"')
    assertContains(answer, 'href="?q=a&amp;status=queued">Queued <span class="num">1</span>')
    assertContains(answer, 'href="?q=a&amp;status=running" aria-current="true">')
    assertContains(answer, "1 running, 1 queued")
    assertNotContains(answer, str(running.id))
    fresh = re.search(r'name="counts" value="(\w+)"', answer.text)
    assert fresh
    assert anna.get(LIVE, asked | {"counts": fresh[1]}).status_code == 204


@pytest.mark.parametrize("url", ["", "http://[", "?status=\0", "http://x/?" + "&" * 50, "?sort=x&tag=%00"])
def test_nonsense_as_the_address_of_the_page_is_no_filter(anna: Client, url: str) -> None:
    factories.running_task()
    answer = anna.get(LIVE, {"counts": "old"}, headers={"hx-request": "true", "hx-current-url": url})
    assertContains(answer, 'href="?status=running"')


def test_a_row_that_the_page_does_not_show_is_not_sent(anna: Client) -> None:
    shown = factories.running_task(name="shown")
    factories.running_task(name="elsewhere")
    assert anna.get(LIVE, {"known": _known(shown)}).status_code == 204


def test_the_poller_comes_back_without_trigger_when_nothing_can_change(anna: Client) -> None:
    task = factories.task(status="completed")
    answer = anna.get(LIVE, {"known": _known(task)})
    assertContains(answer, 'id="poller"')
    assertNotContains(answer, "hx-trigger")


@pytest.mark.parametrize("known", ["", "x", "x:y:z", "::", "1:2", "'; --:1:running", f"{'9' * 40}:1:draft"])
def test_nonsense_from_the_page_is_ignored(known: str, anna: Client) -> None:
    assert anna.get(LIVE, {"known": known}).status_code == 200


def test_a_long_list_is_paged_so_that_the_poll_fits_into_a_request_line(anna: Client) -> None:
    endpoint = factories.endpoint
    for number in range(ROWS_PER_PAGE + 1):
        factories.task(name=f"task {number}", source=endpoint(), target=endpoint())
    page = anna.get("/")
    assert page.text.count('name="known"') == ROWS_PER_PAGE
    assertContains(page, f"1–{ROWS_PER_PAGE} of {ROWS_PER_PAGE + 1}")
    assert anna.get("/", {"page": "2"}).text.count('name="known"') == 1
    longest = "/live/?counts=ffffffff&" + "&".join(
        f"known={'0' * 36}%3A{'9' * 7}%3Ascheduled%3A{'9' * 7}" for _ in range(ROWS_PER_PAGE)
    )
    assert len(longest) < 4094


def test_the_poll_is_there_only_while_a_row_can_change(anna: Client) -> None:
    factories.task(name="draft")
    assertNotContains(anna.get("/"), "data-poll")
    factories.running_task()
    assertContains(anna.get("/"), 'hx-trigger="every 2s, back"')


def test_each_kind_of_status_says_what_comes_next(anna: Client) -> None:
    factories.task(status="check_failed")
    factories.task(status="queued")
    factories.task(status="scheduled", scheduled_at=factories.timezone.now() + factories.timedelta(hours=9, minutes=12))
    page = anna.get("/")
    assertContains(page, "See what to fix")
    assertContains(page, "1st in the queue")
    assertContains(page, "Starts in 9 h 12 min")
    assertContains(page, reverse("tasks:create"))


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_from_a_task_whose_check_failed_one_press_leads_to_the_items(role: str) -> None:
    task = factories.task(status="check_failed")
    reader = Client()
    reader.force_login(factories.user("reader", role=role))
    page = reader.get(reverse("tasks:detail", args=[task.pk])).text
    link = re.search(rf'<a [^>]*href="{reverse("tasks:check", args=[task.pk])}"[^>]*>([^<]+)</a>', page)
    assert link
    assert link[1] == "See what to fix"
    # Only the check page itself runs the check: nothing that leads there may be called so.
    assertNotContains(reader.get("/"), "Check again")
    assert "Check again" not in page


def test_a_failed_check_says_how_much_it_found(anna: Client) -> None:
    task = factories.task(status="check_failed")
    for number, status in enumerate(["failed", "failed", "warning", "passed", "passed"]):
        factories.check_item(task, f"item{number}", status)
    assertContains(anna.get("/"), "2 failed, 1 warning of 5 · <a")


def test_the_step_of_a_cancelled_task_says_where_it_ended(anna: Client) -> None:
    factories.task(status="cancelled")
    factories.running_task("copy", status="cancelled")
    page = anna.get("/")
    assertContains(page, "Ended before its first step")
    assertContains(page, "Ended at: Copy data")


def test_a_new_name_on_the_target_shows_before_the_start(anna: Client) -> None:
    rules = {"rules": [[["shop"], True]], "targets": {"shop": "shop_new"}}
    factories.task(status="check_passed", selection=rules)
    assertContains(anna.get("/"), "shop → shop_new")


def test_a_task_that_stopped_at_a_conflict_offers_retry_once(anna: Client) -> None:
    stopped = factories.conflict(factories.running_task("sync"))
    failed = factories.running_task("copy", status="failed")
    page = anna.get("/")
    assertContains(page, f'href="/tasks/{stopped.id}/retry/', count=1)
    assertContains(page, f'id="conflict-retry-{stopped.id}"', count=1)
    assertContains(page, f'id="retry-{failed.id}"', count=1)


def test_what_is_kept_of_the_frame_follows_counts_filter_language_and_role(anna: Client) -> None:
    factories.task()
    assertContains(anna.get("/"), '<form id="many"')
    other = factories.running_task()
    services.add_tag(task_id=other.pk, name="night", actor=None)
    page = anna.get("/")
    assertContains(page, 'All <span class="num">2</span>')
    assertContains(page, "night</a>")
    assertContains(anna.get("/?status=running"), 'href="?status=running" aria-current="true">')
    User.objects.update(language="zh-hans")
    assertContains(anna.get("/"), '全部 <span class="num">2</span>')
    viewer = Client()
    viewer.force_login(factories.user("clara", role="viewer"))
    assertNotContains(viewer.get("/"), '<form id="many"')
