"""A check that has to read the source's objects first does so beside its items, and asks the cloud beside them too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from migrations_app import runner
from migrations_app.engine.checks import CheckResult
from migrations_app.engine.errors import ConnectFailed
from migrations_app.engine.wording import say
from migrations_app.models import MigrationTask
from migrations_app.runner import checking, standing
from migrations_app.runner.recorder import Recorder
from tests import factories
from tests.integration.check_kit import result

pytestmark = pytest.mark.django_db(transaction=True)
UNREAD = ConnectFailed(say("No answer."), hint=say("Look there."), code="CONNECT-TIMEOUT")


@pytest.fixture
def task() -> MigrationTask:
    return factories.task(status="checking")


def check_with(task: MigrationTask, monkeypatch: pytest.MonkeyPatch, run_checks: Callable[..., Any]) -> None:
    monkeypatch.setattr(checking.checks, "run_checks", run_checks)
    monkeypatch.setattr(checking, "Lease", mock.MagicMock())
    runner.run_check(str(task.pk))
    task.refresh_from_db()


def test_the_items_begin_before_the_objects_are_read(task: MigrationTask, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(_task: MigrationTask) -> int:
        raise UNREAD

    monkeypatch.setattr(checking, "read_objects", unreadable)

    def run_checks(plan: Any, *_: Any, report: Callable[[CheckResult], None], later: Any, **__: Any) -> Any:
        report(result("target-writable", "passed", database=""))
        assert task.check_items.filter(code="target-tls", status="waiting").exists()
        told: list[Any] = []
        thread = threading.Thread(target=lambda: told.append(later()))
        thread.start()
        thread.join()
        assert told[0].unread is UNREAD
        assert told[0].plan.source.host == plan.source.host
        return [result("target-writable", "passed", database="")]

    check_with(task, monkeypatch, run_checks)
    assert task.check_items.get(code="target-writable").status == "passed"


def test_objects_that_are_known_are_not_read_again(task: MigrationTask, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.inventory(task)
    seen: list[Any] = []

    def run_checks(plan: Any, *_: Any, later: Any, **__: Any) -> Any:
        seen.extend([later, [database.source_name for database in plan.databases]])
        return []

    check_with(task, monkeypatch, run_checks)
    assert seen == [None, ["analytics", "shop"]]


@pytest.fixture
def slow_cloud(task: MigrationTask, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Instances of both sides stand in a cloud that answers once the event is set."""
    may_answer = threading.Event()
    assert task.source
    assert task.target
    for endpoint in (task.source, task.target):
        endpoint.kind, endpoint.instance_id, endpoint.provider = "cvm", "ins-1", "tencent"
        endpoint.save()

    def look_up(_endpoint: object) -> None:
        assert may_answer.wait(30)

    monkeypatch.setattr(standing.sources, "look_up", look_up)
    factories.inventory(task)
    yield may_answer
    may_answer.set()


def test_a_slow_cloud_holds_up_no_item(
    task: MigrationTask, slow_cloud: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_checks(*_: Any, report: Callable[[CheckResult], None], **__: Any) -> Any:
        report(result("target-writable", "passed", database=""))
        slow_cloud.set()
        return [result("target-writable", "passed", database="")]

    check_with(task, monkeypatch, run_checks)
    told = dict(task.check_items.filter(code__startswith="instance-").values_list("code", "status"))
    assert told == {"instance-source": "passed", "instance-target": "passed"}


def test_results_that_come_together_are_written_together_and_the_last_ones_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checking, "_GATHER_SECONDS", 600)
    lots: list[list[CheckResult]] = []
    with Recorder() as recorder:
        notes = checking._Notes(recorder, lots.append)
        for number in range(3):
            notes.add(result(f"item-{number}", "passed", database=""))
        notes.write_all()
    assert [[one.code for one in lot] for lot in lots] == [["item-0", "item-1", "item-2"]]
