"""Since when a worker holds a snapshot of the source: kept on rows, shown on the page and on the command line."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from console import env
from migrations_app import selectors
from migrations_app.management.cli.output import progress_line
from migrations_app.models import MigrationTask, TaskDatabase
from migrations_app.runner.planning import build_plan
from migrations_app.runner.ports import OrmStore
from migrations_app.runner.recorder import Recorder
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db


def holding(minutes: float, step: str = "copy", **fields: Any) -> MigrationTask:
    """A task whose worker has held a snapshot for so long."""
    now = timezone.now()
    made = factories.running_task(step, **({"lease_until": now + timedelta(seconds=60)} | fields))
    TaskDatabase.objects.filter(task=made).update(snapshot_since=now - timedelta(minutes=minutes))
    return made


def page_of(client: Client, task: MigrationTask, **headers: str) -> str:
    client.force_login(factories.user())
    return client.get(reverse("tasks:progress", args=[task.pk]), headers=headers).content.decode()


def shown(task: MigrationTask, *options: str) -> str:
    out = StringIO()
    call_command("task", "show", str(task.pk), *options, stdout=out)
    return out.getvalue()


def test_the_page_tells_since_when_the_snapshot_is_held(client: Client) -> None:
    page = page_of(client, holding(12))
    assert 'id="snapshot-held"' in page
    assert ": 12 min by now." in page
    assert "xmin" not in page


def test_a_snapshot_past_its_limit_is_a_warning_that_says_what_the_source_pays(client: Client) -> None:
    page = page_of(client, holding(130))
    assert '<div class="note warn" id="snapshot-held">' in page
    assert "2 h 10 min by now." in page
    assert "That is longer than 2 h: until it is closed" in page
    assert "the others wait for a newer one" in page


@pytest.mark.parametrize(("step", "incremental"), [("copy", False), ("compare", True)])
def test_a_snapshot_that_is_not_followed_by_another_does_not_say_so(
    client: Client, step: str, incremental: bool
) -> None:
    page = page_of(client, holding(130, step, incremental=incremental))
    assert 'id="snapshot-held"' in page
    assert "newer one" not in page


def test_the_page_tells_it_in_chinese(client: Client) -> None:
    page = page_of(client, holding(130), **{"accept-language": "zh-hans"})
    assert "源库的快照自" in page
    assert "（xmin 被阻留）" in page


@pytest.mark.parametrize("lease", [None, timedelta(seconds=-1)])
def test_nothing_is_held_when_nobody_works_on_the_task(client: Client, lease: timedelta | None) -> None:
    task = holding(12, lease_until=None if lease is None else timezone.now() + lease)
    assert "snapshot-held" not in page_of(client, task)
    assert json.loads(shown(task, "--json"))["snapshot"] is None


def test_the_command_line_tells_it() -> None:
    task = holding(12)
    found = json.loads(shown(task, "--json"))["snapshot"]
    assert found["since"] == TaskDatabase.objects.get(task=task).snapshot_since.isoformat()  # type: ignore[union-attr]
    assert found["seconds"] >= 720
    assert (found["limit_seconds"], found["level"]) == (7200.0, "normal")
    assert "12 min by now\n" in shown(task)
    assert "snapshot" not in progress_line(task)


def test_the_command_line_warns_past_the_limit() -> None:
    task = holding(130)
    assert json.loads(shown(task, "--json"))["snapshot"]["level"] == "warning"
    assert "WARNING: longer than 2 h 0 min" in shown(task)
    assert "snapshot held 2 h 10 min" in progress_line(task)


def test_the_oldest_of_several_databases_counts() -> None:
    task = holding(12)
    now = timezone.now()
    TaskDatabase.objects.create(task=task, source_name="b", target_name="b", snapshot_since=now - timedelta(minutes=50))
    TaskDatabase.objects.create(task=task, source_name="c", target_name="c")
    view = selectors.held(task)
    assert view is not None
    assert view.since == TaskDatabase.objects.get(task=task, source_name="b").snapshot_since


def test_a_new_claim_forgets_what_a_killed_worker_held() -> None:
    task = holding(12, lease_until=timezone.now() - timedelta(seconds=1))
    assert work.claim_foreground(str(task.pk), "w:1:task") is not None
    assert TaskDatabase.objects.get(task=task).snapshot_since is None


@pytest.mark.django_db(transaction=True)
def test_the_store_keeps_it_and_a_worker_that_lost_the_task_changes_nothing() -> None:
    task = factories.running_task("copy")
    claim = work.claim_foreground(str(task.pk), "w:1:task")
    assert claim is not None
    first, second = timezone.now(), timezone.now() + timedelta(seconds=1)

    def tell(*times: Any) -> Any:
        with Recorder() as recorder:
            for since in times:
                OrmStore(claim, recorder, {}).snapshot_held("shop", since)
        return TaskDatabase.objects.get(task=task).snapshot_since

    assert tell(first) == first
    assert tell(None, second) == second
    MigrationTask.objects.filter(pk=task.pk).update(epoch=99)
    assert tell(None) == second


def test_the_limit_is_given_in_hours(settings: Settings) -> None:
    settings.SNAPSHOT_HOURS = 0.5
    assert build_plan(factories.running_task("copy")).snapshot_seconds == 1800.0


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "two", ""])
def test_a_limit_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TOWPATH_SNAPSHOT_HOURS", value)
    with pytest.raises(ImproperlyConfigured, match="TOWPATH_SNAPSHOT_HOURS"):
        env.number("TOWPATH_SNAPSHOT_HOURS", 2.0, above=0.0)
