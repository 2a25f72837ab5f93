"""The check that runs again by itself: before the start and before Complete."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.utils import timezone

from migrations_app import runner, services
from migrations_app.management.cli.foreground import ForegroundRun
from migrations_app.models import Event, LedgerEntry, MigrationTask
from migrations_app.runner import rechecking
from migrations_app.runner.planning import build_plan
from migrations_app.services import work
from tests import factories
from tests.integration.check_kit import result, warned

pytestmark = pytest.mark.django_db


def _started(**fields: Any) -> MigrationTask:
    task = factories.checked_task()
    services.start_task(task_id=task.pk, actor=None)
    claim = work.claim_migration("here:1:migrate")
    assert claim is not None
    MigrationTask.objects.filter(pk=task.pk).update(**fields)
    task.refresh_from_db()
    return task


def test_an_old_check_runs_again_before_the_start_and_a_fresh_one_does_not() -> None:
    task = _started()
    assert not work.wants_check_before_start(task)
    task.checked_at = timezone.now() - timedelta(hours=1)
    assert work.wants_check_before_start(task)
    LedgerEntry.objects.create(task=task, side="source", kind="slot", name="x")
    assert not work.wants_check_before_start(task)


def test_a_start_that_found_something_failed_is_back_at_its_check_as_if_not_started() -> None:
    task = _started(failing_since=timezone.now(), tries=5)
    claim = work.Claim(task_id=str(task.pk), epoch=task.epoch, worker=task.worker)
    results = [result("wal_level", "failed", title="wal_level is logical", database="", found="Found replica.")]
    changed = work.changes(task, results)
    assert [change.words for change in changed] == ["wal_level is logical: Passed, now Failed. Found replica."]
    work.store_again(claim, [], results)
    work.start_refused(claim, changed)
    task.refresh_from_db()
    assert (task.status, task.started_at, task.current_step, task.worker) == ("check_failed", None, "", "")
    assert "now Failed" in task.error_message
    assert (task.failing_since, task.tries) == (None, 0), "a later start has all of its time"
    assert not task.steps.exists()
    services.request_check(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert task.error_message == ""


def test_a_start_whose_check_found_nothing_new_says_so_and_goes_on() -> None:
    task = _started(checked_at=timezone.now() - timedelta(hours=1))
    claim = work.Claim(task_id=str(task.pk), epoch=task.epoch, worker=task.worker)
    work.say_checking(claim)
    assert "checking again" in task.steps.get(name="schema").note
    work.start_goes_on(claim, [])
    task.refresh_from_db()
    assert task.status == "running"
    assert task.steps.get(name="schema").note == ""
    assert not work.wants_check_before_start(task)
    assert "Nothing changed" in Event.objects.get(task=task, code="CHECK-AGAIN").message


def test_an_instance_that_vanished_since_the_check_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    task = _started(checked_at=timezone.now() - timedelta(hours=1))
    assert task.source is not None
    task.source.kind, task.source.instance_id, task.source.provider = "cvm", "ins-gone", "local"
    task.source.save()
    claim = work.Claim(task_id=str(task.pk), epoch=task.epoch, worker=task.worker)
    monkeypatch.setattr(rechecking.checks, "run_checks", lambda *_, **__: [])
    recorder = mock.Mock(call=lambda write: write())
    assert not rechecking.may_start(task, claim, build_plan(task), mock.Mock(), recorder)
    task.refresh_from_db()
    assert task.status == "check_failed"
    assert task.check_items.get(code="instance-source").status == "failed"


def test_results_of_a_worker_that_lost_the_task_are_not_written() -> None:
    task = _started()
    lost = work.Claim(task_id=str(task.pk), epoch=task.epoch - 1, worker=task.worker)
    work.store_again(lost, [], [result()])
    work.start_goes_on(lost, [])
    work.start_refused(lost, [])
    task.refresh_from_db()
    assert task.status == "running"
    assert not task.check_items.filter(code="table-keys").exists()


def test_rows_of_databases_that_are_selected_no_more_go() -> None:
    task, _ = warned()
    work.forget_others(task, [result(database="crm")])
    assert not task.check_items.filter(code="table-keys").exists()


def test_the_foreground_gives_up_when_the_check_refuses_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []
    monkeypatch.setattr(runner, "stop_all", lambda: stopped.append(True))
    run = ForegroundRun(mock.Mock(complete=True), mock.Mock(), mock.Mock())
    task = factories.running_task("sync", status="ready")
    run.task_id = str(task.pk)
    run._press_complete(task)
    task.refresh_from_db()
    assert task.status == "completing"
    assert not stopped
    task.status, task.error_code = "ready", "CHECK-COMPLETE"
    run._press_complete(task)
    assert stopped
