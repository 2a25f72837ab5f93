"""Passwords for the target: who gives them, how they are kept, and that nobody reads them again."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.html import escape
from pytest_django.asserts import assertContains

from migrations_app import services
from migrations_app.models import AuditEntry, Event, MigrationTask, StructureNote, TargetPassword, TaskDatabase
from migrations_app.runner.planning import build_plan
from tests import factories

pytestmark = pytest.mark.django_db
MAPPING = ("shop", "far", "app")
ROLE = ("", "", "clerk")


def asked(task: MigrationTask) -> MigrationTask:
    """Have the check ask for a mapping and a role."""
    mapping = {"database": "shop", "server": "far", "role": "app"}
    factories.check_item(task, "foreign-servers", "warning", fix_arguments={"passwords": [mapping]})
    factories.check_item(task, "roles", "warning", fix_arguments={"passwords": [{"role": "clerk"}]})
    return task


def form(*rows: tuple[tuple[str, str, str], str, str], **more: Any) -> dict[str, Any]:
    places, users, typed = zip(*rows, strict=True)
    return {"place": [json.dumps(place) for place in places], "user": users, "password": typed, **more}


def send(client: Client, task: MigrationTask, *rows: tuple[tuple[str, str, str], str, str], **more: Any) -> Any:
    return client.post(reverse("tasks:passwords", args=[task.pk]), form(*rows, **more))


@pytest.fixture
def task() -> MigrationTask:
    return asked(factories.checked_task())


def test_what_is_entered_reaches_the_plan(client: Client, task: MigrationTask) -> None:
    client.force_login(factories.user("ann"))
    assert send(client, task, (MAPPING, "guest", "hu sh"), (ROLE, "", "clerk's")).status_code == 302
    given = {(one.database, one.server, one.role): (one.user, one.password) for one in build_plan(task).passwords}
    assert given == {MAPPING: ("guest", "hu sh"), ROLE: ("", "clerk's")}
    assert Event.objects.get(task=task, code="PASSWORDS-GIVEN").actor == "ann"


def test_they_are_stored_encrypted_and_shown_nowhere(client: Client, task: MigrationTask) -> None:
    client.force_login(factories.user())
    send(client, task, (MAPPING, "guest", "hu sh"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT password FROM migrations_app_targetpassword")
        assert "hu sh" not in cursor.fetchone()[0]
    pages = [client.get(reverse(f"tasks:{name}", args=[task.pk])).content.decode() for name in ("passwords", "detail")]
    assert not [page for page in pages if "hu sh" in page]
    told = [*Event.objects.values_list("message", "detail"), *AuditEntry.objects.values_list("message")]
    assert "hu sh" not in str(told)
    assert "hu sh" not in repr(build_plan(task))


def test_an_empty_field_keeps_what_is_stored_and_a_tick_takes_it_back(client: Client, task: MigrationTask) -> None:
    client.force_login(factories.user())
    send(client, task, (MAPPING, "guest", "hush"), (ROLE, "", "clerk"))
    send(client, task, (MAPPING, "guest", ""), (ROLE, "", ""), forget=[json.dumps(ROLE)])
    assert [str(row) for row in TargetPassword.objects.filter(task=task)] == ["app on far"]


def test_the_page_lists_what_the_check_asks_for(client: Client, task: MigrationTask) -> None:
    client.force_login(factories.user())
    page = client.get(reverse("tasks:passwords", args=[task.pk])).content.decode()
    assert "Password of app on far" in page
    assert "Password of the role clerk" in page


@pytest.mark.parametrize(("role", "shown"), [("operator", True), ("viewer", False)])
def test_the_check_and_the_note_of_a_mapping_lead_there(
    client: Client, task: MigrationTask, role: str, shown: bool
) -> None:
    running = factories.running_task("sync", status="ready")
    TaskDatabase.objects.filter(task=running).delete()
    TaskDatabase.objects.create(task=running, source_name="shop", target_name="shop", structure_at=timezone.now())
    StructureNote.objects.create(
        task=running, database="shop", kind="user mapping", title="app on far", what="lacks it"
    )
    client.force_login(factories.user(role=role))
    pages = [
        reverse("tasks:passwords", args=[made.pk])
        in client.get(reverse(f"tasks:{name}", args=[made.pk])).content.decode()
        for name, made in (("check", task), ("detail", running))
    ]
    assert pages == [shown, shown]


def test_a_task_that_asks_for_none_offers_no_page(client: Client) -> None:
    task = factories.checked_task()
    client.force_login(factories.user())
    page = client.get(reverse("tasks:check", args=[task.pk])).content.decode()
    assert reverse("tasks:passwords", args=[task.pk]) not in page


def test_those_of_mappings_can_be_given_while_it_syncs_and_those_of_roles_not(client: Client) -> None:
    task = asked(factories.running_task("sync", status="ready"))
    client.force_login(factories.user())
    page = client.get(reverse("tasks:passwords", args=[task.pk])).content.decode()
    assert "Password of app on far" in page
    assert "Password of the role clerk" not in page
    with pytest.raises(services.Refused, match="may have been made"):
        services.give_passwords(
            task_id=task.pk, actor=None, given=[services.PasswordData(role="clerk", password="hush")]
        )
    services.give_passwords(
        task_id=task.pk,
        actor=None,
        given=[services.PasswordData(database="shop", server="far", role="app", password="hush")],
    )
    assert TargetPassword.objects.filter(task=task).count() == 1


def test_a_new_password_has_another_mark(task: MigrationTask) -> None:
    marks = []
    for password in ("one", "two"):
        data = services.PasswordData(database="shop", server="far", role="app", password=password)
        services.give_passwords(task_id=task.pk, actor=None, given=[data])
        marks += [one.mark for one in build_plan(task).passwords]
    assert len(set(marks)) == 2


@pytest.mark.parametrize("place", [MAPPING, ROLE], ids=["mapping", "role"])
def test_what_was_given_is_taken_back_after_it_is_too_late_to_give_one(
    client: Client, task: MigrationTask, place: tuple[str, str, str]
) -> None:
    client.force_login(factories.user())
    send(client, task, (place, "", "hush"))
    MigrationTask.objects.filter(pk=task.pk).update(status="completed")
    line = json.dumps(place)
    shown = client.get(reverse("tasks:passwords", args=[task.pk]))
    assertContains(shown, f'name="forget" value="{escape(line)}"')
    assertContains(shown, "Save passwords")
    send(client, task, (place, "", ""), forget=[line])
    assert not TargetPassword.objects.exists()


@pytest.mark.parametrize(("place", "words"), [(MAPPING, "has ended"), (ROLE, "roles may have been made")])
def test_a_password_that_comes_too_late_is_refused_with_what_it_was_for(
    task: MigrationTask, place: tuple[str, str, str], words: str
) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(status="completed")
    data = services.PasswordData(database=place[0], server=place[1], role=place[2], password="hush")
    with pytest.raises(services.Refused, match=words):
        services.give_passwords(task_id=task.pk, actor=None, given=[data])


def test_four_hundred_roles_are_given_page_by_page(client: Client) -> None:
    task = factories.checked_task()
    names = [f"role{number:03}" for number in range(400)]
    factories.check_item(task, "roles", "warning", fix_arguments={"passwords": [{"role": name} for name in names]})
    client.force_login(factories.user())
    for number in (1, 2):
        url = f"{reverse('tasks:passwords', args=[task.pk])}?page={number}"
        html = client.get(url).content.decode()
        shown = [name for name in names if f"Password of the role {name}" in html]
        assert len(shown) == 200
        assert f"manage.py task passwords {task.pk} --file FILE" in html
        answer = client.post(url, form(*((("", "", name), "", f"hush {name}") for name in shown)))
        assert (answer.status_code, answer["Location"]) == (302, url)
    assert set(TargetPassword.objects.values_list("role", flat=True)) == set(names)


def test_a_place_that_nobody_asked_for_is_no_form_of_ours(client: Client, task: MigrationTask) -> None:
    client.force_login(factories.user())
    assert send(client, task, (("shop", "other", "app"), "", "hush")).status_code == 400
    assert not TargetPassword.objects.exists()


def test_the_command_line_takes_them_from_a_file_that_only_its_owner_reads(task: MigrationTask, tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text("# mappings\nshop:far:app:guest:a\\:b:c\\\\\n:::clerk:pass\n".replace(":::clerk:", "::clerk::"))
    file.chmod(0o600)
    call_command("task", "passwords", str(task.pk), "--file", str(file), stdout=StringIO())
    given = {(one.database, one.server, one.role): (one.user, one.password) for one in build_plan(task).passwords}
    assert given == {MAPPING: ("guest", "a:b:c\\"), ROLE: ("", "pass")}
    assert AuditEntry.objects.latest("id").actor == "command line"
    file.chmod(0o644)
    with pytest.raises(CommandError, match="can be read by others"):
        call_command("task", "passwords", str(task.pk), "--file", str(file), stdout=StringIO())


def test_a_line_that_makes_no_sense_is_told_by_its_number_alone(task: MigrationTask, tmp_path: Path) -> None:
    file = tmp_path / "passwords"
    file.write_text("hush hush")
    file.chmod(0o600)
    with pytest.raises(CommandError, match=r"Line 1 of .* is not DATABASE") as caught:
        call_command("task", "passwords", str(task.pk), "--file", str(file), stdout=StringIO())
    assert "hush" not in str(caught.value)


def test_without_a_terminal_and_a_file_nothing_waits(task: MigrationTask) -> None:
    with pytest.raises(CommandError, match="no terminal"):
        call_command("task", "passwords", str(task.pk), stdout=StringIO())
