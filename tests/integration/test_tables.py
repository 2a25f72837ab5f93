"""The tables of a task: a state each, filtered, sorted and paged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app.models import Event, MigrationTask, TableCopy
from migrations_app.selectors import TableFilter, TableView
from tests import factories

pytestmark = pytest.mark.django_db
DIFFERENCE = {"schema": "public", "name": "wrong", "verdict": "differs", "source_rows": 1, "target_rows": 2}


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _syncing(*, in_sync: bool, **fields: object) -> MigrationTask:
    task = factories.running_task("sync", **fields)
    task.databases.update(in_sync=in_sync)
    for name in ("fine", "wrong"):
        factories.table_copy(task, name, status="done")
    factories.comparison(task, equal=False, differences=[DIFFERENCE])
    return task


def _states(task: MigrationTask) -> dict[str, str]:
    return {line.name: line.state for line in TableView(task).page(TableFilter())}


def test_states_follow_copy_sync_and_comparison() -> None:
    assert _states(_syncing(in_sync=True)) == {"fine": "synced", "wrong": "mismatch"}
    assert _states(_syncing(in_sync=False)) == {"fine": "catching_up", "wrong": "mismatch"}
    assert _states(_syncing(in_sync=True, incremental=False)) == {"fine": "done", "wrong": "mismatch"}


def test_after_the_end_no_table_is_called_in_sync_because_nothing_follows_the_source_any_more() -> None:
    task = _syncing(in_sync=False, status="completed")
    assert _states(task) == {"fine": "done", "wrong": "mismatch"}
    assert TableView(task).counts().states == {"done": 1, "mismatch": 1}


@pytest.mark.parametrize("status", ["paused", "failed", "cancelling", "cancelled"])
def test_a_sync_that_stands_leaves_no_table_synced(status: str) -> None:
    assert _states(_syncing(in_sync=True, status=status)) == {"fine": "stopped", "wrong": "mismatch"}
    assert _states(_syncing(in_sync=False, status=status)) == {"fine": "stopped", "wrong": "mismatch"}


def test_a_table_that_is_copied_has_a_full_bar_wherever_the_task_stands(anna: Client) -> None:
    task = factories.running_task("sync", status="cancelled")
    for name, status in (("there", "done"), ("half", "copying")):
        factories.table_copy(task, name, status=status, bytes_total=100, bytes_done=60)
    page = anna.get(reverse("tasks:detail", args=[task.id])).text
    assert re.findall(r'<progress[^>]* value="(\d+)" max="100" aria-label="Copied"', page) == ["60", "100"]


def test_what_was_copied_before_the_sync_stays_done_where_the_task_stands() -> None:
    task = factories.running_task("copy", status="paused")
    factories.table_copy(task, "there", status="done")
    assert _states(task) == {"there": "done"}


def test_an_outage_that_lasts_stops_the_tables() -> None:
    ago = timezone.now() - timedelta(seconds=5)
    assert _states(_syncing(in_sync=False, failing_since=ago))["fine"] == "catching_up"
    assert _states(_syncing(in_sync=False, failing_since=ago - timedelta(minutes=1)))["fine"] == "stopped"


@pytest.mark.parametrize(("stop", "state"), [(factories.conflict, "conflict"), (factories.drift, "changed")])
def test_the_table_at_which_the_sync_stopped_says_so(stop: Callable[[MigrationTask], Any], state: str) -> None:
    task = _syncing(in_sync=True)
    stop(task)
    view = TableView(task)
    assert _states(task) == {"fine": "stopped", "wrong": "mismatch", "orders": state}
    (line,) = view.page(TableFilter(state=state))
    assert (line.name, line.tone) == ("orders", "bad")
    assert line.reason
    assert view.lines(1)[0].name in ("orders", "wrong")
    task.tables.filter(name="orders").update(status="quarantined")
    assert _states(task)["orders"] == "quarantined"


def test_a_conflict_counts_more_than_a_comparison_before_it() -> None:
    task = _syncing(in_sync=True)
    factories.conflict(task, name="wrong")
    assert _states(task)["wrong"] == "conflict"
    assert TableView(task).counts().states == {"conflict": 1, "stopped": 2}


@pytest.mark.parametrize(
    "fields",
    [
        {"in_sync": True},
        {"in_sync": False},
        {"in_sync": False, "status": "completed"},
        {"in_sync": True, "incremental": False},
        {"in_sync": True, "status": "paused"},
        {"in_sync": False, "status": "failed"},
        {"in_sync": True, "status": "cancelled", "incremental": False},
    ],
)
@pytest.mark.parametrize("stop", [None, factories.conflict, factories.drift])
def test_the_numbers_by_state_are_those_of_the_tables_one_by_one(
    fields: dict[str, Any], stop: Callable[[MigrationTask], Any] | None
) -> None:
    task = _syncing(**fields)
    if stop:
        stop(task)
    task.databases.create(source_name="behind", target_name="behind", in_sync=False)
    for database in ("shop", "behind"):
        for name in ("waiting", "copying", "copied", "indexing", "done", "quarantined", "dropped"):
            factories.table_copy(task, f"more_{name}", status=name, database=database)
    differing = [DIFFERENCE | {"name": name} for name in ("more_done", "more_copied", "gone")]
    factories.comparison(task, equal=False, database="behind", differences=differing)
    view = TableView(task)
    states = Counter(line.state for line in view.lines(100))
    assert view.counts().states == states
    for state, number in states.items():
        assert view.page(TableFilter(state=state), counts=view.counts()).paginator.count == number


def test_a_later_equal_comparison_ends_a_mismatch() -> None:
    task = _syncing(in_sync=True)
    factories.comparison(task)
    assert _states(task)["wrong"] == "synced"


def test_before_the_sync_a_table_that_is_there_is_done() -> None:
    task = factories.running_task("copy")
    for name in ("waiting", "copying", "copied", "indexing", "done"):
        factories.table_copy(task, name, status=name)
    assert _states(task) == {name: name for name in ("waiting", "copying", "copied", "indexing", "done")}


def test_a_failed_task_moves_no_table() -> None:
    task = factories.running_task("copy", status="failed")
    factories.table_copy(task, "half", status="copying")
    factories.table_copy(task, "later")
    assert _states(task) == {"half": "stopped", "later": "waiting"}


@pytest.mark.parametrize(("rows", "shown"), [(0, "–"), (70, "70")])
def test_rows_that_nobody_has_counted_when_a_copy_stopped_are_a_dash(anna: Client, rows: int, shown: str) -> None:
    task = factories.running_task("copy", status="paused")
    factories.table_copy(task, "half", status="copying", bytes_total=1000, bytes_done=500, rows_done=rows)
    line = anna.get(reverse("tasks:detail", args=[task.id])).text.partition("public.half")[2]
    assert f'data-label="Rows">{shown}<' in line


@pytest.mark.parametrize("in_sync", [True, False])
def test_counts_and_filter_agree_with_the_lines(in_sync: bool) -> None:
    view = TableView(_syncing(in_sync=in_sync))
    states = view.counts().states
    assert sum(states.values()) == 2
    for state, number in states.items():
        found = [line.state for line in view.page(TableFilter(state=state))]
        assert found == [state] * number


def test_tables_that_are_left_out_are_listed_as_excluded(anna: Client) -> None:
    task = factories.running_task("copy")
    factories.inventory(task, tables=3)
    factories.table_copy(task, "table_001")
    view = TableView(task)
    assert [line.name for line in view.page(TableFilter(state="excluded"))] == ["table_000", "table_002"]
    page = anna.get(reverse("tasks:detail", args=[task.id]), {"state": "excluded", "q": "table_002"})
    assertContains(page, "Excluded")
    assertNotContains(page, "public.table_000")


@pytest.mark.parametrize(("step", "status"), [("", "queued"), ("schema", "running"), ("schema", "failed")])
def test_nothing_is_called_excluded_before_the_schema_step_has_listed_the_tables(step: str, status: str) -> None:
    task = factories.running_task("schema", status=status)
    MigrationTask.objects.filter(pk=task.pk).update(current_step=step)
    task.refresh_from_db()
    factories.inventory(task, tables=3)
    factories.table_copy(task, "table_001", status="waiting")
    view = TableView(task)
    assert "excluded" not in view.pills(view.counts())
    assert not list(view.page(TableFilter(state="excluded")))


def test_excluded_tables_have_a_pill_as_every_other_state(anna: Client) -> None:
    task = factories.running_task("copy", status="failed")
    factories.inventory(task, tables=3)
    factories.table_copy(task, "table_001", status="copying")
    pills = (
        anna.get(reverse("tasks:detail", args=[task.id])).text.partition('class="state-line"')[2].partition("</p>")[0]
    )
    shown = re.findall(r'state=(\w+)#h-tables">[\w ]+ <span class="num">(\d+)<', pills)
    assert shown == [("stopped", "1"), ("excluded", "2")]


def test_rate_and_time_left_come_from_the_copy_so_far() -> None:
    task = factories.running_task("copy")
    begun = timezone.now() - timedelta(seconds=10)
    factories.table_copy(task, "big", status="copying", bytes_total=1000, bytes_done=500, started_at=begun)
    (line,) = TableView(task).page(TableFilter())
    assert line.rate == pytest.approx(50, rel=0.2)
    assert line.eta_at is not None
    assert (line.eta_at - timezone.now()).total_seconds() == pytest.approx(10, abs=3)


@pytest.mark.parametrize(
    ("sort", "first"), [("name", "a"), ("-name", "c"), ("size", "b"), ("-size", "c"), ("-rows", "a"), ("-took", "b")]
)
def test_every_column_sorts(sort: str, first: str) -> None:
    task, now = factories.running_task("copy"), timezone.now()
    for name, size, rows, took in (("a", 2, 9, 1), ("b", 1, 8, 3), ("c", 3, 7, 2)):
        begun = now - timedelta(seconds=took)
        factories.table_copy(
            task, name, status="done", bytes_total=size, rows_done=rows, started_at=begun, finished_at=now
        )
    assert TableView(task).page(TableFilter(sort=sort)).object_list[0].name == first


@pytest.mark.parametrize(
    ("sort", "names"),
    [
        ("progress", "waits slow quick done"),
        ("-progress", "done quick slow waits"),
        ("rate", "slow done quick waits"),
        ("-rate", "quick done slow waits"),
        ("eta", "quick slow done waits"),
        ("-eta", "slow quick done waits"),
        ("took", "done slow quick waits"),
    ],
)
def test_what_is_computed_of_a_table_sorts_too_and_what_shows_nothing_comes_last(sort: str, names: str) -> None:
    task = _moving()
    assert [line.name for line in TableView(task).page(TableFilter(sort=sort))] == names.split()


@pytest.mark.parametrize(
    ("sort", "names"),
    [("-rate", "done slow quick waits"), ("eta", "slow quick done waits"), ("-progress", "done quick slow waits")],
)
def test_a_stopped_task_sorts_by_what_it_still_shows(sort: str, names: str) -> None:
    task = _moving()
    MigrationTask.objects.filter(pk=task.pk).update(status="failed")
    task.refresh_from_db()
    assert [line.name for line in TableView(task).page(TableFilter(sort=sort))] == names.split()


def _moving() -> MigrationTask:
    task, now = factories.running_task("copy"), timezone.now()
    begun = now - timedelta(seconds=10)
    factories.table_copy(task, "slow", status="copying", bytes_total=9_000, bytes_done=500, started_at=begun)
    factories.table_copy(task, "quick", status="copying", bytes_total=9_000, bytes_done=8_000, started_at=begun)
    factories.table_copy(
        task,
        "done",
        status="done",
        bytes_total=700,
        bytes_done=700,
        started_at=begun,
        finished_at=now - timedelta(seconds=3),
    )
    factories.table_copy(task, "waits", bytes_total=10)
    return task


def test_the_time_left_of_a_table_stands_under_its_own_head(anna: Client) -> None:
    page = anna.get(reverse("tasks:detail", args=[_moving().id])).text
    heads = re.findall(r'<th scope="col"[^>]*aria-sort[^>]*><a class="sort"[^>]*>([^<]+)', page)
    assert heads == ["Table", "State", "Progress", "Rows", "Size", "Speed", "ETA", "Took"]
    cells = re.findall(r'data-label="(ETA|Took)">([^<]+)', page[page.index(".slow<") :])
    assert cells[0][1].endswith("left")
    assert cells[1] == ("Took", "–")


def test_search_takes_schema_and_name_together() -> None:
    task = factories.running_task("copy")
    for schema, name in (("app", "orders"), ("app", "lines"), ("other", "orders")):
        factories.table_copy(task, name, schema=schema)
    assert [line.schema for line in TableView(task).page(TableFilter(search="app.ord"))] == ["app"]


def test_a_page_of_fifty_thousand_tables_costs_few_queries(
    anna: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    task = _syncing(in_sync=True)
    TableCopy.objects.bulk_create(
        TableCopy(task=task, database="shop", schema="public", name=f"t{number}", oid=number) for number in range(3000)
    )
    with django_assert_max_num_queries(26):
        page = anna.get(reverse("tasks:detail", args=[task.id]), {"page": "50", "sort": "-size"})
    assertContains(page, "1,226–1,250 of 3,002")


@pytest.mark.parametrize("query", ["page=99999999999", "page=-1", "page=x", "state=nonsense", "sort=;drop", "q=%00"])
def test_nonsense_in_the_address_is_no_error(query: str, anna: Client) -> None:
    task = _syncing(in_sync=True)
    assert anna.get(f"{reverse('tasks:detail', args=[task.id])}?{query}").status_code == 200
    assert anna.get(f"{reverse('tasks:list')}?{query}").status_code == 200


@pytest.mark.parametrize(("level", "tone", "word"), [("warning", "warn", "Warning"), ("error", "bad", "Error")])
def test_an_event_says_how_bad_it_is_in_a_word(anna: Client, level: str, tone: str, word: str) -> None:
    task = factories.running_task()
    factories.event(task, "lost the line", level=level)
    factories.event(task, "pressed")
    page = anna.get(reverse("tasks:detail", args=[task.id]))
    assertContains(page, f'<p><span class="state {tone}">{word}</span> lost the line</p>')
    assertContains(page, "<p>pressed</p>")


def test_events_are_filtered_and_paged(anna: Client) -> None:
    task = factories.running_task()
    Event.objects.bulk_create(Event(task=task, message=f"event {number}") for number in range(60))
    factories.event(task, "lost the line", level="warning", code="RUN-RETRY", detail={"cause": "<b>"})
    factories.event(task, "pressed", actor="bob")
    url = reverse("tasks:detail", args=[task.id])
    assertContains(anna.get(url), "1–25 of 62")
    page = anna.get(url, {"level": "warning"})
    assertContains(page, "lost the line")
    assertContains(page, "&lt;b&gt;")
    assertNotContains(page, "event 59")
    assertContains(anna.get(url, {"level": "people"}), "pressed")
    assertContains(anna.get(url, {"events": "run-retry"}), "lost the line")
    assertContains(anna.get(url, {"events": "nothing like it"}), "No event matches.")
    assertContains(anna.get(url, {"epage": "3"}), "51–62 of 62")


def test_the_newest_events_are_shown_and_the_others_of_the_page_folded(anna: Client) -> None:
    task, fold = factories.running_task(), '<details class="group" id="events-earlier">'
    url = reverse("tasks:detail", args=[task.id])
    Event.objects.bulk_create(Event(task=task, message=f"event {number:02}") for number in range(1, 9))
    assertNotContains(anna.get(url), fold)
    Event.objects.bulk_create(Event(task=task, message=f"event {number:02}") for number in range(9, 41))
    shown, _, folded = anna.get(url).content.decode().partition(fold)
    assert re.findall(r"event (\d\d)", shown) == [f"{number:02}" for number in range(40, 32, -1)]
    assert re.findall(r"event (\d\d)", folded) == [f"{number:02}" for number in range(32, 15, -1)]
    assert "17 earlier events" in folded
    for asked in ({"epage": "2"}, {"events": "event"}):  # whoever turns the page or searches wants to see them
        assertNotContains(anna.get(url, asked), fold)
