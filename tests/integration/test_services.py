"""What operators may ask, and what is refused; every move is guarded, recorded and woken in one transaction."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_q.models import OrmQ

from migrations_app import runner, services
from migrations_app.draft_facts import draft_hash
from migrations_app.engine.errors import CompareDiffers, ConnectionLost, TargetError
from migrations_app.engine.states import Status, StepName
from migrations_app.models import CheckItem, Endpoint, Event, MigrationTask, User, WorkerBeat
from migrations_app.services import work
from tests import factories

from .conftest import CANARY, endpoint, pass_check

pytestmark = pytest.mark.django_db


def change(task: MigrationTask, actor: User, **changes: object) -> MigrationTask:
    values = {
        "name": task.name,
        "scheduled_at": None,
        "incremental": True,
        "source": endpoint(password=None),
        "target": endpoint(host="new.example", password=None),
    }
    return services.save_settings(task_id=task.pk, actor=actor, **{**values, **changes})  # type: ignore[arg-type]


def test_start_queues_the_task_and_wakes_a_worker(checked: MigrationTask, alice: User) -> None:
    OrmQ.objects.all().delete()
    task = services.start_task(task_id=checked.pk, actor=alice)
    assert task.status == Status.QUEUED
    assert OrmQ.objects.filter(key="migrate").count() == 1
    names = [step.name for step in task.steps.all()]
    assert names == ["schema", "copy", "index", "sync", "compare", "complete", "cleanup"]


def test_start_records_who_pressed_it(checked: MigrationTask, alice: User) -> None:
    services.start_task(task_id=checked.pk, actor=alice)
    event = Event.objects.filter(task=checked).first()
    assert event is not None
    assert (event.actor, event.from_status, event.to_status) == ("alice", "check_passed", "queued")


def test_a_rolled_back_start_wakes_nobody(checked: MigrationTask, alice: User) -> None:
    before = OrmQ.objects.count()

    def start_and_break() -> None:
        with transaction.atomic():
            services.start_task(task_id=checked.pk, actor=alice)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        start_and_break()
    checked.refresh_from_db()
    assert checked.status == Status.CHECK_PASSED
    assert OrmQ.objects.count() == before


def test_a_second_start_is_refused_and_changes_nothing(checked: MigrationTask, alice: User) -> None:
    services.start_task(task_id=checked.pk, actor=alice)
    events = Event.objects.count()
    with pytest.raises(services.Refused, match="“Start” is not possible: the task's status is “queued”"):
        services.start_task(task_id=checked.pk, actor=alice)
    assert Event.objects.count() == events


def test_start_without_a_check_is_refused(draft: MigrationTask, alice: User) -> None:
    with pytest.raises(services.Refused, match="Run the check first"):
        services.start_task(task_id=draft.pk, actor=alice)


def test_start_after_the_check_expired_is_refused(checked: MigrationTask, alice: User) -> None:
    old = timezone.now() - timedelta(hours=settings.CHECK_VALID_HOURS + 1)
    MigrationTask.objects.filter(pk=checked.pk).update(checked_at=old)
    with pytest.raises(services.Refused, match="older than"):
        services.start_task(task_id=checked.pk, actor=alice)


def test_an_edit_after_the_check_voids_it(checked: MigrationTask, alice: User) -> None:
    task = change(checked, alice, source=endpoint(host="other.example"))
    assert task.status == Status.DRAFT


def test_an_edit_that_changes_nothing_keeps_the_check(checked: MigrationTask, alice: User) -> None:
    assert change(checked, alice).status == Status.CHECK_PASSED


def test_a_changed_selection_voids_the_check(checked: MigrationTask, alice: User) -> None:
    services.set_selected(task_id=checked.pk, actor=alice, path=("shop", "public", "orders"), selected=False)
    checked.refresh_from_db()
    assert checked.status == Status.DRAFT


def test_a_check_of_settings_that_changed_meanwhile_does_not_pass(draft: MigrationTask, alice: User) -> None:
    services.request_check(task_id=draft.pk, actor=alice)
    CheckItem.objects.create(task=draft, code="x", title="x", group="x", status="passed")
    work.finish_check(str(draft.pk), hash_checked="of something else")
    draft.refresh_from_db()
    assert draft.status == Status.CHECK_FAILED


def test_a_check_without_any_result_does_not_pass(draft: MigrationTask, alice: User) -> None:
    services.request_check(task_id=draft.pk, actor=alice)
    work.finish_check(str(draft.pk), hash_checked=draft_hash(draft))
    draft.refresh_from_db()
    assert draft.status == Status.CHECK_FAILED


def test_a_scheduled_task_waits_for_its_time_and_is_then_queued_once(draft: MigrationTask, alice: User) -> None:
    due = timezone.now() + timedelta(hours=1)
    MigrationTask.objects.filter(pk=draft.pk).update(scheduled_at=due)
    draft.refresh_from_db()
    task = services.start_task(task_id=pass_check(draft, alice).pk, actor=alice)
    assert task.status == Status.SCHEDULED
    work.dispatch(due - timedelta(seconds=1))
    task.refresh_from_db()
    assert task.status == Status.SCHEDULED
    work.dispatch(due)
    work.dispatch(due)
    task.refresh_from_db()
    assert task.status == Status.QUEUED
    assert Event.objects.filter(task=task, to_status=Status.QUEUED).count() == 1


def test_a_stored_password_does_not_follow_to_another_host(draft: MigrationTask, alice: User) -> None:
    task = change(draft, alice, source=endpoint(host="rogue.example", password=None))
    assert task.source is not None
    assert not task.source.has_password


def test_a_stored_password_does_not_follow_to_weaker_tls(draft: MigrationTask, alice: User) -> None:
    task = change(draft, alice, source=endpoint(tls_mode="disable", password=None))
    assert task.source is not None
    assert not task.source.has_password


def test_a_password_is_encrypted_in_the_database(draft: MigrationTask) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT password FROM migrations_app_endpoint")
        stored = [row[0] for row in cursor.fetchall()]
    assert stored
    assert not any(CANARY in value for value in stored)
    assert Endpoint.objects.get(pk=draft.source_id).password == CANARY


def test_a_password_never_shows_in_repr(draft: MigrationTask) -> None:
    assert CANARY not in repr(Endpoint.objects.get(pk=draft.source_id).password)
    assert CANARY not in repr(endpoint())


def test_cancel_before_anything_ran_ends_at_once(checked: MigrationTask, alice: User) -> None:
    services.start_task(task_id=checked.pk, actor=alice)
    task = services.cancel_task(task_id=checked.pk, actor=alice)
    assert task.status == Status.CANCELLED


def test_missing_parents_are_added_with_one_call(draft: MigrationTask, alice: User) -> None:
    services.set_selected(task_id=draft.pk, actor=alice, path=(), selected=False)
    services.set_selected(task_id=draft.pk, actor=alice, path=("shop", "public", "orders"), selected=True)
    assert services.include_parents(task_id=draft.pk, actor=alice) == 1
    assert services.include_parents(task_id=draft.pk, actor=alice) == 0


def test_nothing_selected_cannot_start(draft: MigrationTask, alice: User) -> None:
    services.set_selected(task_id=draft.pk, actor=alice, path=(), selected=False)
    draft.refresh_from_db()
    with pytest.raises(services.Refused, match="Nothing is selected"):
        services.start_task(task_id=pass_check(draft, alice).pk, actor=alice)


def test_history_cannot_be_rewritten_and_goes_only_with_its_task(draft: MigrationTask, alice: User) -> None:
    event = Event.objects.filter(task=draft).first()
    assert event is not None
    for attempt in (
        event.save,
        event.delete,
        draft.events.all().delete,
        lambda: draft.events.update(message="it was somebody else"),
    ):
        with pytest.raises(TypeError, match="append-only"):
            attempt()
    services.delete_task(task_id=draft.pk, actor=alice, typed=draft.name)
    assert not Event.objects.exists()


def started(task: MigrationTask, actor: User) -> work.Claim:
    services.start_task(task_id=task.pk, actor=actor)
    claim = work.claim_migration("here:1:migrate")
    assert claim is not None
    return claim


def test_a_duplicate_delivery_finds_nothing_to_claim(checked: MigrationTask, alice: User) -> None:
    started(checked, alice)
    assert work.claim_migration("here:2:migrate") is None


def test_full_migrations_run_one_after_another_by_queuing_time(checked: MigrationTask, alice: User) -> None:
    second = another(checked, alice)
    services.start_task(task_id=checked.pk, actor=alice)
    services.start_task(task_id=second.pk, actor=alice)
    first_claim = work.claim_migration("here:1:migrate")
    assert first_claim is not None
    assert first_claim.task_id == str(checked.pk)
    assert work.claim_migration("here:2:migrate") is None
    for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
        work.finish_step(first_claim, step)
    work.release(first_claim)
    second_claim = work.claim_migration("here:2:migrate")
    assert second_claim is not None
    assert second_claim.task_id == str(second.pk)


def test_an_expired_lease_is_taken_over_with_a_new_epoch(checked: MigrationTask, alice: User) -> None:
    old = started(checked, alice)
    MigrationTask.objects.filter(pk=checked.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    new = work.claim_migration("here:2:migrate")
    assert new is not None
    assert new.epoch > old.epoch
    assert work.renew(old) is None
    resumed = Event.objects.get(task=checked, code="RUN-RESUMED")
    assert "comparison" not in resumed.message


def test_the_lease_of_a_dead_process_on_this_host_ends_at_once(checked: MigrationTask, alice: User) -> None:
    from migrations_app import queue

    services.start_task(task_id=checked.pk, actor=alice)
    assert work.claim_migration(f"{queue.host_name()}:999999999:migrate")
    work.dispatch()
    assert work.claim_migration("here:2:migrate") is not None


def test_the_result_of_a_lost_claim_is_ignored(checked: MigrationTask, alice: User) -> None:
    old = started(checked, alice)
    MigrationTask.objects.filter(pk=checked.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    work.claim_migration("here:2:migrate")
    assert work.finish_step(old, StepName.SCHEMA) is None
    checked.refresh_from_db()
    assert checked.current_step == StepName.SCHEMA


def test_a_lost_connection_is_tried_again_with_the_reason_shown(checked: MigrationTask, alice: User) -> None:
    claim = started(checked, alice)
    assert work.fail(claim, StepName.COPY, ConnectionLost("Lost the connection to the source."))
    checked.refresh_from_db()
    assert checked.status == Status.RUNNING
    assert "Nothing is lost" in checked.error_message
    assert work.claim_migration("here:2:migrate") is None


def test_after_the_retry_window_the_task_fails_and_keeps_everything(checked: MigrationTask, alice: User) -> None:
    claim = started(checked, alice)
    long_ago = timezone.now() - timedelta(minutes=settings.RETRY_WINDOW_MINUTES + 1)
    MigrationTask.objects.filter(pk=checked.pk).update(failing_since=long_ago)
    assert not work.fail(claim, StepName.COPY, ConnectionLost("Lost the connection to the source."))
    checked.refresh_from_db()
    assert checked.status == Status.FAILED


def test_a_failed_task_goes_on_after_retry(checked: MigrationTask, alice: User) -> None:
    claim = started(checked, alice)
    work.fail(claim, StepName.SCHEMA, TargetError("permission denied"))
    task = services.retry_task(task_id=checked.pk, actor=alice)
    assert task.status == Status.QUEUED
    assert task.error_message == ""


def test_a_broken_clean_up_still_ends_the_cancel(checked: MigrationTask, alice: User) -> None:
    claim = started(checked, alice)
    services.cancel_task(task_id=checked.pk, actor=alice)
    work.release(claim)
    for _ in range(3):
        MigrationTask.objects.filter(pk=checked.pk).update(not_before=None)
        again = work.claim_sync(str(checked.pk), "here:1:sync")
        assert again is not None
        work.fail(again, StepName.SCHEMA, TargetError("boom"))
    checked.refresh_from_db()
    assert checked.status == Status.CANCELLED


def test_resuming_in_the_sync_needs_no_place_in_the_queue(checked: MigrationTask, alice: User) -> None:
    claim = started(checked, alice)
    for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
        work.finish_step(claim, step)
    work.release(claim)
    services.pause_task(task_id=checked.pk, actor=alice)
    task = services.resume_task(task_id=checked.pk, actor=alice)
    assert task.status == Status.RUNNING
    assert work.claim_sync(str(task.pk), "here:1:sync") is not None


def in_sync_phase(task: MigrationTask, actor: User) -> None:
    claim = started(task, actor)
    for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
        work.finish_step(claim, step)
    work.release(claim)


def another(task: MigrationTask, actor: User) -> MigrationTask:
    """Return a second task with the same objects whose check has passed."""
    second = services.create_draft(
        actor=actor, name="second", scheduled_at=None, incremental=True, source=endpoint(), target=endpoint(host="n")
    )
    for row in task.source_objects.all():
        row.pk, row.task = None, second
        row.save()
    return pass_check(second, actor)


def test_a_syncing_task_gives_way_when_another_waits_for_a_worker(checked: MigrationTask, alice: User) -> None:
    second = another(checked, alice)
    in_sync_phase(checked, alice)
    claim = work.claim_sync(str(checked.pk), "here:1:sync")
    assert claim is not None
    assert not work.others_wait_for_sync(claim)
    in_sync_phase(second, alice)
    MigrationTask.objects.filter(pk=second.pk).update(woken_at=timezone.now() - timedelta(seconds=2))
    assert work.others_wait_for_sync(claim)


def test_a_syncing_task_does_not_block_the_next_full_migration(checked: MigrationTask, alice: User) -> None:
    second = another(checked, alice)
    in_sync_phase(checked, alice)
    assert work.claim_sync(str(checked.pk), "here:1:sync") is not None
    services.start_task(task_id=second.pk, actor=alice)
    claim = work.claim_migration("here:2:migrate")
    assert claim is not None
    assert claim.task_id == str(second.pk)


def test_a_worker_that_is_told_to_stop_takes_nothing_new(
    checked: MigrationTask, alice: User, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    services.start_task(task_id=checked.pk, actor=alice)
    (tmp_path / "stop").touch()
    monkeypatch.setenv("TOWPATH_STOP_FILE", str(tmp_path / "stop"))
    assert not runner.run_migration()
    checked.refresh_from_db()
    assert checked.status == Status.QUEUED


def test_a_comparison_that_differs_leaves_the_sync_running(checked: MigrationTask, alice: User) -> None:
    in_sync_phase(checked, alice)
    claim = work.claim_sync(str(checked.pk), "here:1:sync")
    assert claim is not None
    work.set_ready(claim, True)
    services.complete_task(task_id=checked.pk, actor=alice)
    work.finish_step(claim, StepName.SYNC)
    work.back_to_sync(claim, CompareDiffers("3 tables differ.", hint="See the comparison."))
    work.release(claim)
    checked.refresh_from_db()
    assert (checked.status, checked.current_step) == (Status.READY, StepName.SYNC)
    assert checked.error_code == "CMP-DIFF"
    assert work.claim_sync(str(checked.pk), "here:1:sync") is not None


def test_complete_cannot_be_cancelled_once_it_cleans_up(checked: MigrationTask, alice: User) -> None:
    in_sync_phase(checked, alice)
    claim = work.claim_sync(str(checked.pk), "here:1:sync")
    assert claim is not None
    work.set_ready(claim, True)
    services.complete_task(task_id=checked.pk, actor=alice)
    for step in (StepName.SYNC, StepName.COMPARE, StepName.COMPLETE):
        work.finish_step(claim, step)
    with pytest.raises(services.Refused, match="past the point"):
        services.cancel_task(task_id=checked.pk, actor=alice)
    work.finish_step(claim, StepName.CLEANUP)
    checked.refresh_from_db()
    assert checked.status == Status.COMPLETED


def test_a_request_that_takes_long_is_given_up_only_when_its_worker_is_gone() -> None:
    task, now = factories.task(), timezone.now()
    long_ago = now - timedelta(minutes=3)
    held = {"worker": "here:7:sync"}
    test = factories.connection_test(task, state="running", created_at=long_ago, detail=held)
    WorkerBeat.objects.create(cluster="sync", host="here", pid=7, at=now)
    work.dispatch(now)
    test.refresh_from_db()
    assert test.state == "running"
    WorkerBeat.objects.update(at=now - timedelta(minutes=1))
    work.dispatch(now)
    test.refresh_from_db()
    assert (test.state, test.code) == ("failed", "WORKER-GONE")
