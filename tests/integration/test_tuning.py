"""The speed of a task: who may set it, when, and what is written down."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from migrations_app import services
from migrations_app.models import AuditEntry, Event
from migrations_app.runner.planning import knobs_of
from tests import factories

pytestmark = pytest.mark.django_db


def test_an_operator_sets_the_speed_and_it_is_written_down(client: Client) -> None:
    task = factories.running_task("copy")
    client.force_login(factories.user("ann"))
    answer = client.post(reverse("tasks:tune", args=[task.id]), {"jobs": "4", "rate": "20"})
    assert answer.status_code == 302
    task.refresh_from_db()
    knobs = knobs_of(task)
    assert (knobs.copy_jobs, knobs.index_jobs, knobs.bytes_per_second) == (4, 4, 20_000_000)
    assert Event.objects.get(task=task, code="TASK-TUNED").actor == "ann"
    entry = AuditEntry.objects.latest("id")
    assert entry.actor == "ann"
    assert "4 tables at the same time, at most 20 MB/s" in entry.message


def test_empty_fields_take_the_settings_back(client: Client) -> None:
    task = factories.running_task("copy", copy_jobs=4, copy_mb_per_second=20)
    client.force_login(factories.user())
    client.post(reverse("tasks:tune", args=[task.id]), {"jobs": "", "rate": ""})
    task.refresh_from_db()
    assert (task.copy_jobs, task.copy_mb_per_second) == (None, None)


@pytest.mark.parametrize(("jobs", "rate"), [("0", ""), ("65", ""), ("", "0"), ("", "-1"), ("many", ""), ("", "1e9")])
def test_numbers_out_of_range_change_nothing(client: Client, jobs: str, rate: str) -> None:
    task = factories.running_task("copy", copy_jobs=3)
    client.force_login(factories.user())
    client.post(reverse("tasks:tune", args=[task.id]), {"jobs": jobs, "rate": rate})
    task.refresh_from_db()
    assert (task.copy_jobs, task.copy_mb_per_second) == (3, None)


def test_the_page_offers_it_while_rows_are_copied_and_to_operators_only(client: Client) -> None:
    copying, syncing = factories.running_task("copy"), factories.running_task("sync", status="ready")
    shown = {}
    for role in ("operator", "viewer"):
        client.force_login(factories.user(role=role))
        for task in (copying, syncing):
            page = client.get(reverse("tasks:detail", args=[task.id])).content.decode()
            shown[role, task.pk] = reverse("tasks:tune", args=[task.id]) in page
    assert shown == {
        ("operator", copying.pk): True,
        ("operator", syncing.pk): False,
        ("viewer", copying.pk): False,
        ("viewer", syncing.pk): False,
    }


def test_after_the_copy_it_is_refused() -> None:
    task = factories.running_task("sync", status="ready")
    with pytest.raises(services.Refused, match="copied any more"):
        services.tune_task(task_id=task.pk, actor=None, jobs=1, mb_per_second=None)


def test_the_command_line_is_in_the_audit_trail_too() -> None:
    task = factories.running_task("copy")
    services.tune_task(task_id=task.pk, actor=None, jobs=None, mb_per_second=5)
    assert AuditEntry.objects.latest("id").actor == "command line"


def test_a_task_that_leaves_the_comparison_out_never_says_equal(client: Client) -> None:
    task = factories.task(incremental=False, skip_compare=True, status="completed", current_step="cleanup")
    client.force_login(factories.user())
    page = client.get(reverse("tasks:detail", args=[task.id])).content.decode()
    assert "Not compared: the comparison was left out" in page
    assert ">Equal<" not in page
