"""The check page counts items, not results, and folds what one cause kept from being looked at."""

from __future__ import annotations

import pytest
from django.test import Client

from migrations_app import selectors
from migrations_app.check_counts import count_items
from migrations_app.engine.wording import say
from migrations_app.models import MigrationTask
from migrations_app.services import work
from migrations_app.services.work import checks
from tests import factories
from tests.integration.check_kit import result, url

pytestmark = pytest.mark.django_db
SILENT = say("The {side} does not answer.", side=say("source"))


def unseen(code: str, database: str = "") -> object:
    found = say("This could not be looked at because: {message}", message=SILENT)
    return result(code, "failed", database=database, found=found, because=SILENT)


@pytest.fixture
def task() -> MigrationTask:
    made = factories.task(status="check_failed")
    rows = [
        result("source-reachable", "failed", database="", found=SILENT),
        unseen("wal-level"),
        unseen("table-keys", "shop"),
        unseen("table-keys", "crm"),
        result("encoding", "passed", database="shop"),
        result("encoding", "warning", database="crm"),
    ]
    work.store_results(made, [(number, row) for number, row in enumerate(rows)])  # type: ignore[misc]
    return made


def test_an_item_counts_once_with_its_worst_result(task: MigrationTask) -> None:
    view = selectors.check_view(task)
    assert (view.items, view.results, view.databases) == (4, 6, 2)
    assert (view.failed, view.unseen, view.warnings, view.passed) == (1, 2, 1, 0)
    assert checks.item_counts(task) == {"failed": 3, "warning": 1, "passed": 0, "waiting": 0}


def test_what_one_cause_kept_from_being_looked_at_is_one_line(task: MigrationTask, client: Client) -> None:
    client.force_login(factories.user())
    page = client.get(url("check", task)).content.decode()
    assert "2 items could not be looked at, because: The source does not answer." in page
    assert "6 results in 2 databases" in page
    (group,) = selectors.check_view(task).groups
    assert [entry.code for entry in group.problems] == ["source-reachable", "encoding"]


def test_an_item_that_still_waits_in_one_database_waits() -> None:
    results = [("a", "warning"), ("a", "waiting"), ("b", "failed"), ("b", "waiting"), ("c", "passed")]
    assert count_items(results) == {"failed": 1, "warning": 0, "passed": 1, "waiting": 1}
