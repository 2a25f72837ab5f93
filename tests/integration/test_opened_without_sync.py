"""Complete without a sync, once it has begun to open the target: what an operator can still do, and what pages say."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from migrations_app import selectors, services
from migrations_app.models import MigrationTask
from migrations_app.refusals import all_leftovers, past_return
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def opened() -> MigrationTask:
    """A failed task without sync that has begun to open its target."""
    task = factories.running_task("complete", status="failed", incremental=False)
    detail = {"alone": True, "opening": True, "stages": ["views"]}
    factories.ledger_entry(task, side="target", kind="bookmark", name="towpath", detail=detail)
    factories.ledger_entry(task, side="target", kind="table", schema="public", name="orders")
    return task


def test_retry_goes_on_with_complete_where_it_stopped(opened: MigrationTask) -> None:
    services.retry_task(task_id=opened.pk, actor=None)
    opened.refresh_from_db()
    assert (opened.status, opened.current_step) == ("queued", "complete")
    assert past_return(opened)
    assert opened.ledger.get(kind="bookmark").detail["stages"] == ["views"]


def test_nothing_leads_to_a_new_copy_or_to_a_table_copied_again(opened: MigrationTask) -> None:
    factories.table_copy(opened, "orders", database="shop", schema="public")
    with pytest.raises(services.Refused, match="nothing is cleared there any more"):
        services.restart_with_new_copy(task_id=opened.pk, actor=None)
    with pytest.raises(services.Refused):
        services.recopy_table(task_id=opened.pk, actor=None, database="shop", schema="public", name="orders")


def test_a_run_that_begins_again_from_the_start_is_not_held_up_by_the_mark(opened: MigrationTask) -> None:
    MigrationTask.objects.filter(pk=opened.pk).update(current_step="copy")
    services.retry_task(task_id=opened.pk, actor=None)
    assert not past_return(opened)


def test_the_mark_is_nothing_that_stands_on_a_server(opened: MigrationTask, client: Client) -> None:
    assert [line.name for line in selectors.left_behind(opened).target] == ["public.orders"]
    assert not all_leftovers().filter(task=opened).exists()
    client.force_login(factories.user())
    page = client.get(reverse("tasks:confirm", args=[opened.pk, "cancel"])).content.decode()
    assert "On the target now: 1 object that this task made." in page
