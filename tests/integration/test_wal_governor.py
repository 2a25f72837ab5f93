"""What follows from a look at the WAL that a source keeps: levels told once, policies, who is looked at."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from migrations_app import queue, services
from migrations_app.draft_facts import draft_hash
from migrations_app.engine.replication.governed import SlotsLook
from migrations_app.models import AuditEntry, Event, LedgerEntry, MigrationTask, Sample, TaskDatabase
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db

MB = 1_000_000


def holding(step: str = "sync", status: str = "ready", **fields: Any) -> MigrationTask:
    """A task with a slot on its source, and a budget of 100 MB."""
    made = factories.running_task(step, status=status, **({"wal_budget_bytes": 100 * MB} | fields))
    TaskDatabase.objects.filter(task=made).update(slot=f"towpath_{made.key}_1")
    return made


def look(task: MigrationTask, megabytes: int | None, **seen: Any) -> MigrationTask:
    kept = None if megabytes is None else megabytes * MB
    slots = services.slots_of(str(task.pk))
    services.record_look(str(task.pk), slots, SlotsLook(kept_bytes=kept, **seen))
    task.refresh_from_db()
    return task


def codes(task: MigrationTask) -> list[str]:
    return [code for code in Event.objects.filter(task=task).order_by("id").values_list("code", flat=True) if code]


def test_a_level_is_told_once_when_it_changes() -> None:
    task = holding()
    for megabytes in (10, 61, 65, 86, 90, 84, 50):
        look(task, megabytes)
    assert codes(task) == ["WAL-WARNING", "WAL-ALARM", "WAL-NORMAL"]


def test_the_text_says_kept_budget_and_forecast() -> None:
    task = holding()
    past = timezone.now() - timedelta(seconds=100)
    Sample.objects.create(task=task, at=past, wal_kept_bytes=50 * MB)
    look(task, 70)
    text = Event.objects.get(task=task, code="WAL-WARNING").message
    assert "70 MB" in text
    assert "70 % of 100 MB (the task's WAL budget)" in text
    assert "the budget is reached in 2 min" in text


def test_the_source_s_own_limit_is_told_beside_a_nearer_budget() -> None:
    task = look(holding(), 70, safe_bytes=900 * MB)
    assert "The source may write 900 MB more before the slot is lost." in task.wal_state["text"]


def test_the_alarm_policy_does_nothing_but_tell() -> None:
    task = look(holding(), 150)
    assert task.status == "ready"
    assert codes(task) == ["WAL-REACHED"]
    assert "Nothing is done by itself" in Event.objects.get(task=task).message


def test_pause_others_pauses_full_migrations_first_and_syncs_when_that_did_not_help() -> None:
    task = holding(wal_policy="pause_others")
    copying, syncing = factories.running_task("copy"), factories.running_task("sync", status="ready")
    elsewhere = factories.running_task("copy", source=factories.endpoint(host="db2.internal"))
    stands = []
    for _ in range(2):
        look(task, 150)
        for other in (copying, syncing, elsewhere):
            other.refresh_from_db()
        stands.append((copying.status, syncing.status, elsewhere.status))
    assert stands == [("paused", "ready", "running"), ("paused", "paused", "running")]


def test_paused_others_go_on_below_the_warning_level_and_not_before() -> None:
    task = holding(wal_policy="pause_others")
    other = factories.running_task("copy", queued_at=timezone.now())
    stands = []
    for megabytes in (150, 80, 40):
        look(task, megabytes)
        work.dispatch()
        other.refresh_from_db()
        stands.append(other.status)
    assert stands == ["paused", "paused", "queued"]
    assert codes(other) == ["WAL-PAUSED", "WAL-RESUMED"]


def test_what_an_operator_resumes_or_pauses_is_not_touched_again() -> None:
    task = holding(wal_policy="pause_others")
    resumed, paused = factories.running_task("copy"), factories.running_task("copy")
    look(task, 150)
    services.resume_task(task_id=resumed.pk, actor=None)
    services.resume_task(task_id=paused.pk, actor=None)
    MigrationTask.objects.filter(pk=paused.pk).update(status="running")
    services.pause_task(task_id=paused.pk, actor=None)
    look(task, 150)
    look(task, 10)
    for other in (resumed, paused):
        other.refresh_from_db()
    assert (resumed.status, paused.status) == ("queued", "paused")


def test_a_task_that_is_not_at_work_pauses_nobody() -> None:
    task = holding(status="paused", wal_policy="pause_others")
    other = factories.running_task("copy")
    look(task, 150)
    other.refresh_from_db()
    assert other.status == "running"
    assert "The task itself is not at work" in Event.objects.get(task=task).message


def test_a_task_whose_own_wal_is_urgent_is_not_paused() -> None:
    task, urgent = holding(wal_policy="pause_others"), holding()
    look(urgent, 90)
    look(task, 150)
    look(task, 150)
    urgent.refresh_from_db()
    assert urgent.status == "ready"


def test_others_go_on_when_the_task_that_they_wait_for_is_cancelled() -> None:
    task = holding(wal_policy="pause_others")
    other = factories.running_task("copy")
    look(task, 150)
    services.cancel_task(task_id=task.pk, actor=None)
    work.dispatch()
    other.refresh_from_db()
    assert other.status == "queued"


@pytest.mark.parametrize("status", ["running", "ready", "paused", "failed"])
def test_drop_gives_the_slot_up_and_says_so(status: str) -> None:
    task = look(holding(status=status, wal_policy="drop"), 150)
    assert (task.status, task.error_code, task.new_copy) == ("cancelling", "WAL-GIVENUP", False)
    assert "The slot is given up" in task.error_message
    assert "Press Start again" in task.error_hint


def test_a_task_that_is_completing_is_never_given_up() -> None:
    task = look(holding("complete", status="completing", wal_policy="new_copy"), 150)
    assert task.status == "completing"


def test_a_new_copy_starts_by_itself_when_everything_is_removed() -> None:
    task = look(holding(status="paused", wal_policy="new_copy"), 150)
    claim = work.claim_sync(str(task.pk), "w:1:sync")
    assert claim is not None
    work.cancelled(claim, left=0)
    task.refresh_from_db()
    assert (task.status, task.clear_target) == ("checking", True)
    factories.inventory(task)
    task.check_items.all().delete()
    factories.check_item(task)
    work.finish_check(str(task.pk), hash_checked=draft_hash(task))
    task.refresh_from_db()
    assert (task.status, task.new_copy) == ("queued", False)


def test_a_new_copy_waits_for_somebody_when_something_is_left_on_a_server() -> None:
    task = look(holding(wal_policy="new_copy"), 150)
    factories.ledger_entry(task, side="source", kind="slot", name="towpath_1")
    claim = work.claim_sync(str(task.pk), "w:1:sync")
    assert claim is not None
    work.cancelled(claim, left=1)
    task.refresh_from_db()
    assert (task.status, task.new_copy) == ("cancelled", False)
    assert "NEW-COPY-WAITS" in codes(task)
    assert LedgerEntry.objects.filter(task=task, removed_at=None).exists()


def test_a_new_copy_whose_check_fails_waits_for_somebody() -> None:
    task = holding(status="checking", new_copy=True)
    factories.check_item(task, status="failed")
    work.finish_check(str(task.pk), hash_checked=draft_hash(task))
    task.refresh_from_db()
    assert (task.status, task.new_copy) == ("check_failed", False)
    assert "NEW-COPY-WAITS" in codes(task)


def test_a_lost_slot_is_told_once_also_while_the_task_is_paused() -> None:
    task = holding(status="paused")
    for _ in range(2):
        look(task, None, wal_status="lost")
    assert codes(task) == ["WAL-LOST"]
    assert task.wal_level == "alarm"


def test_a_look_that_is_late_changes_nothing() -> None:
    task = holding(wal_policy="drop")
    slots = services.slots_of(str(task.pk))
    MigrationTask.objects.filter(pk=task.pk).update(status="cancelled")
    services.record_look(str(task.pk), slots, SlotsLook(kept_bytes=150 * MB))
    task.refresh_from_db()
    assert (task.status, task.wal_level) == ("cancelled", "")


def test_the_dispatcher_looks_once_a_minute_at_whatever_holds_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    paused, failed, ended = holding(status="paused"), holding(status="failed"), holding(status="cancelled")
    plain = factories.running_task("copy")
    woken: list[tuple[str, ...]] = []
    monkeypatch.setattr(queue, "wake", lambda *message: woken.append(message))
    now = timezone.now()
    for seconds in (0, 1, 30, 59, 61):
        work.dispatch(now + timedelta(seconds=seconds))
    looks = [key for job, *keys in woken if job == "wal" for key in keys]
    assert sorted(looks) == sorted([str(paused.pk), str(failed.pk)] * 2)
    assert str(ended.pk) not in looks
    assert str(plain.pk) not in looks


def test_a_run_in_the_foreground_takes_each_look_once() -> None:
    task, plain = holding(status="running"), factories.running_task("copy")
    now = timezone.now()
    taken = [services.take_look(str(task.pk), now + timedelta(seconds=seconds)) for seconds in (0, 1, 59, 61)]
    assert taken == [True, False, False, True]
    assert not services.take_look(str(plain.pk), now)


def test_from_the_alarm_on_it_is_looked_at_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    task = look(holding(status="paused"), 90)
    woken: list[str] = []
    monkeypatch.setattr(queue, "wake", lambda job, *_: woken.append(job))
    now = timezone.now()
    for seconds in (0, 16, 32):
        work.dispatch(now + timedelta(seconds=seconds))
    assert woken.count("wal") == 3
    assert task.wal_level == "alarm"


def test_a_source_that_cannot_be_reached_is_left_alone_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    task = holding(status="paused")
    services.could_not_look(str(task.pk))
    woken: list[str] = []
    monkeypatch.setattr(queue, "wake", lambda job, *_: woken.append(job))
    work.dispatch(timezone.now() + timedelta(seconds=200))
    assert "wal" not in woken


@pytest.mark.parametrize(
    ("text", "number"),
    [("20 GB", 20 * 10**9), ("1.5gb", 1_500_000_000), ("1000000", 1_000_000), ("2TB", 2 * 10**12), ("", None)],
)
def test_sizes_are_typed_with_a_unit(text: str, number: int | None) -> None:
    assert services.parse_bytes(text) == number


@pytest.mark.parametrize("text", ["much", "-1 GB", "1 kB", "5000 TB", "1 GiB", "nan", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(services.Refused, match="size"):
        services.parse_bytes(text)


def test_the_page_sets_the_budget_and_shows_it(client: Client) -> None:
    task = holding(wal_budget_bytes=None)
    client.force_login(factories.user("ann"))
    sent = {"budget": "1.5 GB", "policy": "pause_others", "disk": "100 GB"}
    assert client.post(reverse("tasks:wal", args=[task.pk]), sent).status_code == 302
    task.refresh_from_db()
    assert (task.wal_budget_bytes, task.wal_policy, task.wal_disk_bytes) == (15 * 10**8, "pause_others", 10**11)
    assert AuditEntry.objects.latest("id").actor == "ann"
    look(task, 1400)
    page = client.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert 'value="1.5 GB"' in page
    assert "93 % of 1.5 GB" in page
    assert 'id="wal"' in page
    assert "WAL alarm" in client.get(reverse("tasks:list")).content.decode()


def _places(client: Client, task: MigrationTask) -> tuple[bool, bool]:
    """Say whether the WAL that is kept stands at the top of the page, and whether it stands below the figures."""
    page = client.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    return 'id="wal"' in page, 'id="wal-kept"' in page


def test_wal_is_told_at_the_top_only_when_there_is_something_to_do(client: Client) -> None:
    client.force_login(factories.user())
    well = look(holding(), 10)
    assert "The source keeps 10 MB of WAL" in client.get(reverse("tasks:detail", args=[well.pk])).content.decode()
    assert _places(client, well) == (False, True)
    assert _places(client, look(holding(wal_budget_bytes=None), 10)) == (False, True)
    assert _places(client, look(holding(), 70)) == (True, False)
    MigrationTask.objects.filter(pk=well.pk).update(status="paused")
    assert _places(client, well) == (True, False)


@pytest.mark.parametrize(("seconds", "at_the_top"), [(3600.0, True), (200_000.0, False), (None, False)])
def test_a_limit_that_is_less_than_a_day_away_is_told_at_the_top(
    seconds: float | None, at_the_top: bool, client: Client
) -> None:
    client.force_login(factories.user())
    task = look(holding(), 10)
    MigrationTask.objects.filter(pk=task.pk).update(wal_state=task.wal_state | {"seconds": seconds})
    assert _places(client, task) == (at_the_top, not at_the_top)


def test_a_task_that_has_ended_shows_nothing_of_it(client: Client) -> None:
    task = look(holding(), 90)
    MigrationTask.objects.filter(pk=task.pk).update(status="completed")
    client.force_login(factories.user())
    page = client.get(reverse("tasks:detail", args=[task.pk])).content.decode()
    assert _places(client, task) == (False, False)
    assert "of WAL for this task" not in page.partition('id="events"')[0]  # the history still tells it
    assert "WAL alarm" not in client.get(reverse("tasks:list")).content.decode()


def test_a_policy_that_gives_the_slot_up_takes_the_password_again(client: Client, settings: Any) -> None:
    task = holding()
    client.force_login(factories.user())
    settings.PASSWORD_AGAIN_SECONDS = 0
    answer = client.post(reverse("tasks:wal", args=[task.pk]), {"budget": "1 GB", "policy": "new_copy"})
    task.refresh_from_db()
    assert (answer.status_code, task.wal_policy) == (403, "alarm")


def test_nonsense_changes_nothing(client: Client) -> None:
    task = holding()
    client.force_login(factories.user())
    for sent in ({"budget": "much", "policy": "alarm"}, {"budget": "1 GB", "policy": "burn"}, {"budget": "1 GB"}):
        client.post(reverse("tasks:wal", args=[task.pk]), sent)
    task.refresh_from_db()
    assert (task.wal_budget_bytes, task.wal_policy) == (100 * MB, "alarm")


def test_the_command_line_sets_it_too() -> None:
    task = holding()
    call_command("task", "wal", str(task.pk), "--budget", "2GB", "--policy", "drop")
    call_command("task", "wal", str(task.pk), "--disk", "50GB")
    task.refresh_from_db()
    assert (task.wal_budget_bytes, task.wal_policy, task.wal_disk_bytes) == (2 * 10**9, "drop", 5 * 10**10)
    assert AuditEntry.objects.latest("id").actor == "command line"


def test_a_full_only_task_has_no_budget() -> None:
    task = factories.running_task("copy", incremental=False)
    with pytest.raises(services.Refused, match="no WAL"):
        services.set_wal_budget(task_id=task.pk, actor=None, budget_bytes=MB, policy="alarm", disk_bytes=None)
