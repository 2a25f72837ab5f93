"""What a cancelled task has left on its servers: it is tried again, by hand and by itself, and then let go by name."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from pytest_django.asserts import assertContains, assertNotContains

from console.middleware import AuditMiddleware
from migrations_app import selectors, services
from migrations_app.audit_seal import verify
from migrations_app.engine.errors import EngineError
from migrations_app.engine.states import Status, StepName
from migrations_app.engine.wording import say
from migrations_app.models import AuditAsked, AuditEntry, LedgerEntry, MigrationTask
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db
DROP = "SELECT pg_drop_replication_slot('towpath_ab12cd34_16400')"


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


@pytest.fixture
def left() -> MigrationTask:
    """A cancelled task whose slot is still there, and a table that it made for the user."""
    task = factories.task(status="cancelled", finished_at=timezone.now(), started_at=timezone.now())
    factories.ledger_entry(task)
    factories.ledger_entry(task, side="target", kind="table", schema="public", name="orders")
    return task


def _act(task: MigrationTask, action: str = "delete") -> str:
    return reverse("tasks:action", args=[task.pk, action])


def _now(task: MigrationTask) -> MigrationTask:
    return MigrationTask.objects.get(pk=task.pk)


def _claim(task: MigrationTask) -> work.Claim:
    claim = work.claim_sync(str(task.pk), "here:1:sync")
    assert claim is not None
    return claim


def test_a_press_has_a_worker_clean_up_again_and_delete_is_possible_then(anna: Client, left: MigrationTask) -> None:
    ended = left.finished_at
    assertContains(anna.get(reverse("tasks:confirm", args=[left.pk, "clean_up"])), "Try clean-up")
    assert anna.post(_act(left, "clean_up")).status_code == 302
    assert _now(left).status == Status.CANCELLING
    claim = _claim(left)
    LedgerEntry.objects.filter(task=left, kind="slot").update(removed_at=timezone.now())
    work.cancelled(claim, 0)
    task = _now(left)
    assert (task.status, task.finished_at, task.not_before) == (Status.CANCELLED, ended, None)
    assert anna.post(_act(left), {"typed": left.name}).status_code == 302
    assert not MigrationTask.objects.exists()


@pytest.mark.parametrize("kind", ["bookmark", "trigger_state", "identity_state"])
def test_what_is_left_on_the_target_can_be_cleaned_up_too(kind: str) -> None:
    task = factories.task(status="cancelled")
    factories.ledger_entry(task, side="target", kind=kind, schema="towpath", name="x")
    assert services.clean_up_task(task_id=task.pk, actor=None).status == Status.CANCELLING


def test_there_is_nothing_to_clean_up_where_only_the_users_tables_stand() -> None:
    task = factories.task(status="cancelled")
    factories.ledger_entry(task, side="target", kind="table", schema="public", name="orders")
    assert "clean_up" not in {button.name for button in selectors.task_row(task).actions}
    with pytest.raises(services.Refused, match="Nothing of this task that a clean-up removes"):
        services.clean_up_task(task_id=task.pk, actor=None)


def test_what_is_left_is_tried_again_by_itself_ever_later(left: MigrationTask) -> None:
    services.clean_up_task(task_id=left.pk, actor=None)
    work.cancelled(_claim(left), 1)
    task = _now(left)
    assert task.not_before is not None
    assert timedelta(seconds=50) < task.not_before - timezone.now() < timedelta(seconds=70)
    work.dispatch(timezone.now() + timedelta(seconds=30))
    assert _now(left).status == Status.CANCELLED
    work.dispatch(timezone.now() + timedelta(seconds=90))
    assert _now(left).status == Status.CANCELLING
    MigrationTask.objects.filter(pk=left.pk).update(finished_at=timezone.now() - timedelta(hours=5))
    work.cancelled(_claim(left), 1)
    task = _now(left)
    assert task.not_before is not None
    assert timedelta(hours=4) < task.not_before - timezone.now() < timedelta(hours=6)


def test_a_task_that_left_nothing_is_left_alone(left: MigrationTask) -> None:
    LedgerEntry.objects.filter(task=left, kind="slot").update(removed_at=timezone.now())
    MigrationTask.objects.filter(pk=left.pk).update(not_before=timezone.now())
    work.dispatch(timezone.now() + timedelta(hours=1))
    assert _now(left).status == Status.CANCELLED


def test_a_start_again_does_not_wait_for_the_next_clean_up(left: MigrationTask) -> None:
    MigrationTask.objects.filter(pk=left.pk).update(not_before=timezone.now() + timedelta(seconds=60))
    services.start_again(task_id=left.pk, actor=None, clear_target=False)
    assert work.claim_check(str(left.pk), "here:1:console") is not None


def test_delete_names_what_stays_with_the_statements(anna: Client, left: MigrationTask) -> None:
    asked = anna.get(reverse("tasks:confirm", args=[left.pk, "delete"]))
    assertContains(asked, "This stays on the servers")
    assertContains(asked, DROP.replace("'", "&#x27;"))
    assertNotContains(asked, "DROP TABLE")
    refused = anna.post(_act(left), {"typed": left.name}, follow=True)
    assertContains(refused, "Something of this task is still on its servers")
    assert MigrationTask.objects.exists()


def test_delete_with_leftovers_takes_the_list_as_it_is_now_and_is_told(anna: Client, left: MigrationTask) -> None:
    staying = selectors.staying(left)
    assert staying is not None
    sent = {"typed": left.name, "leaving": staying.seen}
    factories.ledger_entry(left, kind="publication", name="towpath_ab12cd34_1")
    assertContains(anna.post(_act(left), sent, follow=True), "What is left has changed meanwhile")
    staying = selectors.staying(left)
    assert staying is not None
    assert anna.post(_act(left), sent | {"leaving": staying.seen}).status_code == 302
    assert not MigrationTask.objects.exists()
    told = AuditEntry.objects.get(action="tasks:action-delete").message
    assert DROP in told
    assert "DROP PUBLICATION" in told


def test_the_trail_is_held_only_once_all_the_rest_is_deleted(left: MigrationTask) -> None:
    staying = selectors.staying(left)
    assert staying is not None
    with CaptureQueriesContext(connection) as asked:
        services.delete_task(task_id=left.pk, actor=None, typed=None, leaving=staying.seen)
    said = [query["sql"] for query in asked.captured_queries]
    deleted = [number for number, sql in enumerate(said) if sql.startswith("DELETE") and "endpoint" in sql]
    held = [number for number, sql in enumerate(said) if "audithead" in sql]
    assert deleted
    assert held
    assert deleted[-1] < held[0]


def test_the_trail_keeps_every_thing_that_stays_with_its_whole_statement(anna: Client, left: MigrationTask) -> None:
    schema, table = "s" * 63, "t" * 63
    for number in range(60):
        facts = {"what": "trigger", "table": table, "name": f"trigger {number:060}", "was": "O"}
        name = f"{table}.{facts['name']}"
        factories.ledger_entry(left, side="target", kind="trigger_state", schema=schema, name=name, detail=facts)
    staying = selectors.staying(left)
    assert staying is not None
    assert anna.post(_act(left), {"typed": left.name, "leaving": staying.seen}).status_code == 302
    entries = AuditEntry.objects.filter(action="tasks:action-delete", actor="anna", subject=left.name)
    told = " ".join(entry.message for entry in entries)
    assert DROP in told
    start = f'ALTER TABLE "{schema}"."{table}" ENABLE TRIGGER'
    assert [number for number in range(60) if f'{start} "trigger {number:060}"' not in told] == []
    assert all(entry.message.startswith("Deleted while something") for entry in entries)
    assert entries.count() > 5, "each is of a length that can be read"
    assert verify().broken == ""


def test_a_process_that_is_killed_once_it_has_deleted_a_task_has_told_what_stays(
    anna: Client, left: MigrationTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    staying = selectors.staying(left)
    assert staying is not None
    monkeypatch.setattr(AuditMiddleware, "_write", lambda *_: sys.exit())
    with pytest.raises(SystemExit):
        anna.post(_act(left), {"typed": left.name, "leaving": staying.seen})
    assert not MigrationTask.objects.exists()
    assert DROP in AuditEntry.objects.get(action="tasks:action-delete", actor="anna").message
    assert not AuditAsked.objects.exists()


@pytest.mark.parametrize("leaving", [None, "", "x"])
def test_delete_from_elsewhere_is_refused_while_something_is_left(left: MigrationTask, leaving: Any) -> None:
    with pytest.raises(services.Refused):
        services.delete_task(task_id=left.pk, actor=None, typed=None, leaving=leaving)
    assert MigrationTask.objects.exists()


def _data(task: MigrationTask, side: str, **changes: Any) -> dict[str, Any]:
    ends = {
        name: services.EndpointData(host=one.host, port=one.port, account=one.account)
        for name, one in (("source", task.source), ("target", task.target))
        if one is not None
    }
    ends[side] = replace(ends[side], **changes)
    return {"name": task.name, "scheduled_at": None, "incremental": True, **ends}


@pytest.mark.parametrize(
    ("side", "changes", "refused"),
    [
        ("target", {"host": "elsewhere.internal"}, True),
        ("target", {"port": 5433}, True),
        ("target", {"ssh_host": "jump.internal", "ssh_user": "u", "ssh_password": "x"}, True),
        ("source", {"host": "elsewhere.internal"}, True),
        ("target", {"account": "another", "password": "x"}, False),
        ("source", {"tls_mode": "verify-full"}, False),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else str(value),
)
def test_what_an_earlier_run_made_is_never_looked_for_on_another_server(
    side: str, changes: dict[str, Any], refused: bool, left: MigrationTask
) -> None:
    services.start_again(task_id=left.pk, actor=None, clear_target=True, typed=None)
    work.finish_check(str(left.pk), hash_checked="")
    before = list(MigrationTask.objects.values_list("source__host", "target__host", "target__port"))
    if refused:
        with pytest.raises(services.Refused, match="Clone the task"):
            services.save_settings(task_id=left.pk, actor=None, **_data(left, side, **changes))
        assert list(MigrationTask.objects.values_list("source__host", "target__host", "target__port")) == before
    else:
        services.save_settings(task_id=left.pk, actor=None, **_data(left, side, **changes))


def test_a_task_that_made_nothing_may_move_to_another_server(left: MigrationTask) -> None:
    LedgerEntry.objects.filter(task=left).update(removed_at=timezone.now())
    services.start_again(task_id=left.pk, actor=None, clear_target=False)
    work.finish_check(str(left.pk), hash_checked="")
    services.save_settings(task_id=left.pk, actor=None, **_data(left, "target", host="elsewhere.internal"))
    task = _now(left)
    assert task.target is not None
    assert task.target.host == "elsewhere.internal"


def test_a_clean_up_that_breaks_counts_what_is_left_on_both_servers() -> None:
    task = factories.running_task("sync")
    factories.ledger_entry(task, side="target", kind="trigger_state", schema="public", name="orders")
    factories.ledger_entry(task, side="target", kind="table", schema="public", name="orders")
    services.cancel_task(task_id=task.pk, actor=None)
    for _ in range(3):
        MigrationTask.objects.filter(pk=task.pk).update(not_before=None)
        work.fail(_claim(task), StepName.SYNC, EngineError(say("It broke.")))
    task.refresh_from_db()
    assert task.status == Status.CANCELLED
    assert "Not removed: 1 thing;" in task.events.get(code="CANCEL-LEFT").message
    assert task.not_before is not None, "it is tried again by itself"


def test_a_task_that_completed_says_what_it_could_not_remove(anna: Client) -> None:
    task = factories.running_task("cleanup", status="completing")
    factories.ledger_entry(task, kind="replica_identity", schema="public", name="orders")
    work.finish_step(_claim(task), StepName.CLEANUP)
    task.refresh_from_db()
    assert task.status == Status.COMPLETED
    told = task.events.get(code="TASK-COMPLETED")
    assert told.level == "warning"
    assert "Not removed: 1 thing;" in told.message
    assert "Nothing of ours" not in told.message
    page = anna.get(reverse("tasks:detail", args=[task.pk]))
    assertContains(page, "Not everything of Towpath")
    assertNotContains(page, "has left nothing of its own")
    LedgerEntry.objects.filter(task=task).update(removed_at=timezone.now())
    assertContains(anna.get(reverse("tasks:detail", args=[task.pk])), "has left nothing of its own")


def test_what_was_paused_for_a_task_goes_on_when_that_is_deleted() -> None:
    gone = factories.task(status="cancelled")
    paused = factories.running_task("sync", status="paused", paused_for=gone)
    services.delete_task(task_id=gone.pk, actor=None, typed=None)
    paused.refresh_from_db()
    assert paused.status == Status.RUNNING
    assert paused.events.filter(code="WAL-RESUMED").exists()


def test_a_role_that_a_completed_task_could_not_leave_is_told_and_stays_named_at_its_deletion(anna: Client) -> None:
    task = factories.running_task("cleanup", status="completing")
    revoke = 'REVOKE "owner" FROM "mover"'
    factories.ledger_entry(task, side="target", kind="membership", schema="", name="owner", detail={"drop": revoke})
    work.finish_step(_claim(task), StepName.CLEANUP)
    assert "Not removed: 1 thing;" in task.events.get(code="TASK-COMPLETED").message
    assertContains(anna.get(reverse("tasks:confirm", args=[task.pk, "delete"])), escape(revoke))
