"""Tags, clones and many tasks at once: what services do and what their pages say."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from migrations_app import services
from migrations_app.models import Endpoint, MigrationTask, Tag
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def anna(client: Client) -> Client:
    client.force_login(factories.user("anna"))
    return client


def _tags(task: MigrationTask) -> list[str]:
    return [tag.name for tag in task.tags.all()]


def test_a_tag_is_added_once_whatever_its_case_and_goes_with_its_last_task() -> None:
    task, user = factories.task(), factories.user()
    services.add_tag(task_id=task.pk, actor=user, name="  Wave   2 ")
    services.add_tag(task_id=task.pk, actor=user, name="wave 2")
    assert _tags(task) == ["Wave 2"]
    services.remove_tag(task_id=task.pk, actor=user, name="WAVE 2")
    assert _tags(task) == []
    assert not Tag.objects.exists()


def test_a_tag_that_another_task_carries_stays() -> None:
    first, second, user = factories.task(), factories.task(), factories.user()
    for task in (first, second):
        services.add_tag(task_id=task.pk, actor=user, name="prod")
    services.remove_tag(task_id=first.pk, actor=user, name="prod")
    assert _tags(second) == ["prod"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "a,b", "a\u202eb", "a\x00b"])
def test_a_tag_that_could_mislead_is_refused(name: str) -> None:
    with pytest.raises(services.Refused):
        services.add_tag(task_id=factories.task().pk, actor=None, name=name)


def test_tags_end_somewhere() -> None:
    task = factories.task()
    for number in range(12):
        services.add_tag(task_id=task.pk, actor=None, name=f"tag {number}")
    with pytest.raises(services.Refused, match="at most 12"):
        services.add_tag(task_id=task.pk, actor=None, name="one more")


def test_tags_are_added_shown_filtered_and_removed_on_the_pages(anna: Client) -> None:
    task = factories.task(name="shop")
    factories.task(name="billing")
    url = reverse("tasks:tags", args=[task.id])
    anna.post(url, {"name": "wave 2"})
    assertContains(anna.get(reverse("tasks:detail", args=[task.id])), "Remove tag wave 2")
    assertNotContains(anna.get("/", {"tag": "Wave 2"}), "billing")
    assertContains(anna.get("/", {"q": "wave"}), "shop")
    anna.post(url, {"remove": "wave 2"})
    assertNotContains(anna.get("/"), "wave 2")


def test_a_clone_takes_servers_secrets_selection_and_options_and_nothing_else() -> None:
    task = factories.running_task(
        "sync",
        status="ready",
        incremental=False,
        copy_jobs=3,
        scheduled_at=timezone.now(),
        selection={"rules": [[["shop"], True]], "targets": {}},
        source=factories.endpoint(ssh_host="bastion", ssh_private_key="k3y", ca_pem="PEM", tls_mode="verify-ca"),
    )
    factories.table_copy(task)
    services.add_tag(task_id=task.pk, actor=None, name="prod")
    copy = services.clone_task(task_id=task.pk, actor=factories.user("bob"))
    assert (copy.status, copy.name, copy.cloned_from_id) == ("draft", "shop to 18 (copy)", task.pk)
    assert (copy.incremental, copy.copy_jobs, copy.selection) == (
        False,
        3,
        {**task.selection, "existing": "refuse"},  # what was confirmed by one task's name holds for no other
    )
    assert copy.scheduled_at is None
    assert _tags(copy) == ["prod"]
    assert not copy.tables.exists()
    assert not copy.steps.exists()
    assert copy.source is not None
    assert task.source is not None
    assert copy.source.pk != task.source.pk
    kept = [field.attname for field in Endpoint._meta.concrete_fields if field.name not in ("id", "saved_name")]
    assert [getattr(copy.source, name) for name in kept] == [getattr(task.source, name) for name in kept]


def test_editing_a_clone_leaves_the_first_task_alone() -> None:
    task = factories.task()
    copy = services.clone_task(task_id=task.pk, actor=None)
    Endpoint.objects.filter(pk=copy.source_id).update(host="elsewhere")
    task.refresh_from_db()
    assert task.source is not None
    assert task.source.host == "db1.internal"


def test_clones_of_clones_are_numbered_and_long_names_are_cut() -> None:
    task = factories.task(name="shop")
    first = services.clone_task(task_id=task.pk, actor=None)
    assert services.clone_task(task_id=first.pk, actor=None).name == "shop (copy 2)"
    longest = services.clone_task(task_id=factories.task(name="x" * 120).pk, actor=None)
    assert len(longest.name) == 120
    assert longest.name.endswith(" (copy)")


def test_the_clone_button_leads_to_the_new_draft(anna: Client) -> None:
    task = factories.task(status="completed", finished_at=timezone.now())
    answer = anna.post(reverse("tasks:clone", args=[task.id]))
    copy = MigrationTask.objects.exclude(pk=task.pk).get()
    assert answer["Location"] == reverse("tasks:settings", args=[copy.id])


def test_one_confirmation_lists_what_will_and_will_not_be_done(anna: Client) -> None:
    ready, draft = factories.checked_task(name="warehouse"), factories.task(name="wiki")
    running = factories.running_task(name="billing")
    picks = {"pick": [str(task.id) for task in (ready, draft, running)]}
    page = anna.get(reverse("tasks:many-confirm", args=["start"]), picks)
    assertContains(page, "Start 1 task")
    assertContains(page, "The check has not run yet.")
    assert page.text.count('name="pick"') == 1
    assertContains(page, "It was started already, and is at work.", 1)
    page = anna.get(reverse("tasks:many-confirm", args=["cancel"]), picks)
    assertContains(page, "Cancel 1 task")
    assertContains(page, "Only a task that was started and has not ended can be cancelled.", 2)


def test_each_ticked_task_answers_on_its_own(anna: Client) -> None:
    first, second = factories.checked_task(name="first"), factories.checked_task(name="second")
    MigrationTask.objects.filter(pk=second.pk).update(status="draft")
    page = anna.post(reverse("tasks:many", args=["start"]), {"pick": [str(first.id), str(second.id)]})
    assertContains(page, "1 task started, 1 refused")
    assertContains(page, "Start is possible when the check has run")
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.status, second.status) == ("queued", "draft")


def test_a_task_that_is_gone_does_not_spoil_the_others(anna: Client) -> None:
    gone, kept = factories.task(), factories.running_task(name="kept")
    key = str(gone.id)
    gone.delete()
    page = anna.post(reverse("tasks:many", args=["cancel"]), {"pick": [key, str(kept.id)]})
    assertContains(page, "This task no longer exists.")
    kept.refresh_from_db()
    assert kept.status == "cancelling"


@pytest.mark.parametrize("picks", [[], ["x"], ["'; --"]])
def test_nothing_ticked_is_said_and_nothing_done(picks: list[str], anna: Client) -> None:
    page = anna.get(reverse("tasks:many-confirm", args=["start"]), {"pick": picks})
    assertContains(page, "Nothing is ticked", status_code=409)
    answer = anna.post(reverse("tasks:many", args=["start"]), {"pick": picks})
    assert answer["Location"] == "/"


@pytest.mark.parametrize("action", ["delete", "complete", "edit", "no-such"])
def test_only_start_and_cancel_are_done_for_many(action: str, anna: Client) -> None:
    assert anna.get(reverse("tasks:many-confirm", args=[action])).status_code == 404
    assert anna.post(reverse("tasks:many", args=[action])).status_code == 404


def test_a_viewer_sees_no_buttons(client: Client) -> None:
    client.force_login(factories.user(role="viewer"))
    task = factories.checked_task(name="warehouse")
    page = client.get("/")
    for words in ("Create Task", "Start ticked", "start/confirm", 'name="pick"'):
        assertNotContains(page, words)
    page = client.get(reverse("tasks:detail", args=[task.id]))
    for words in ("Clone", "Add a tag", "start/confirm"):
        assertNotContains(page, words)
    assertContains(page, "Download report")
