"""Restart with new copy: where it is offered, and that it is refused wherever it is not."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django.asserts import assertContains

from migrations_app import services
from migrations_app.engine.ports import OPENING
from migrations_app.models import LedgerEntry
from migrations_app.services import Refused
from tests import factories

from .test_wal_governor import holding

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("code", "step", "incremental", "helps"),
    [
        ("SRC-SLOTLOST", "sync", True, True),
        ("SRC-SLOTGONE", "copy", True, True),
        ("SRC-FAILOVER", "sync", True, True),
        ("SRC-SETBACK", "sync", True, True),
        ("SPOOL-GONE", "sync", True, True),
        ("DST-BOOKMARK", "complete", True, True),
        ("DST-BOOKMARKSET", "sync", True, True),
        ("SRC-DECODING", "sync", True, True),
        ("DST-FAILOVER", "copy", True, True),
        ("SRC-TOOBIG", "sync", True, True),
        ("ROW-TOOBIG", "sync", True, False),
        ("ROW-TOOBIG", "copy", True, False),
        ("SRC-CHANGED", "sync", True, False),
        ("DST-ERROR", "sync", True, False),
        ("", "sync", True, False),
        ("SRC-SLOTLOST", "copy", False, False),
    ],
)
def test_a_new_copy_is_offered_and_done_where_only_that_gets_on_and_refused_elsewhere(
    code: str, step: str, incremental: bool, helps: bool, client: Client
) -> None:
    client.force_login(factories.user())
    task = holding(step, status="failed", error_code=code, error_message="x", incremental=incremental)
    page = client.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    asks = reverse("tasks:confirm", args=[task.pk, "new_copy"])
    assert (asks in page) is helps
    if helps:
        assert services.restart_with_new_copy(task_id=task.pk, actor=None).new_copy
        return
    assertContains(client.get(asks), "Nothing that the task needs for its sync is lost", status_code=409)
    with pytest.raises(Refused, match="Nothing that the task needs for its sync is lost"):
        services.restart_with_new_copy(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert (task.status, task.new_copy) == ("failed", False)


def test_no_new_copy_is_offered_or_begun_once_complete_has_begun_to_open_the_target(client: Client) -> None:
    client.force_login(factories.user())
    task = holding(status="failed", error_code="DST-BOOKMARK", error_message="x")
    LedgerEntry.objects.create(
        task=task,
        side="target",
        kind="bookmark",
        database="shop",
        schema="towpath",
        name="bookmark",
        detail={OPENING: 1},
    )
    page = client.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert reverse("tasks:confirm", args=[task.pk, "new_copy"]) not in page
    with pytest.raises(Refused, match="begun to open the target"):
        services.restart_with_new_copy(task_id=task.pk, actor=None)


def test_restart_with_new_copy_removes_what_is_ours_first() -> None:
    task = holding(status="failed", error_code="SRC-SLOTLOST")
    services.restart_with_new_copy(task_id=task.pk, actor=None)
    task.refresh_from_db()
    assert (task.status, task.new_copy) == ("cancelling", True)
