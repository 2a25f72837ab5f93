"""The chain of seals over the audit trail: what was changed, removed or slipped in is found, and where."""

from __future__ import annotations

import importlib
import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.test import Client

from migrations_app import audit_seal
from migrations_app.models import AuditEntry, AuditHead
from migrations_app.services import audit
from tests import factories

pytestmark = pytest.mark.django_db


def written(number: int = 3) -> list[AuditEntry]:
    return [
        audit.record(actor="anna", action="test", subject=f"task {n}", message=f"Pressed {n}.") for n in range(number)
    ]


def sql(text: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(text, values)


def broken() -> str:
    return audit_seal.verify().broken


def test_an_empty_trail_is_sound() -> None:
    assert audit_seal.verify() == audit_seal.Verdict(entries=0, seal="")


def test_a_trail_that_nobody_touched_is_sound() -> None:
    last = written()[-1]
    assert audit_seal.verify() == audit_seal.Verdict(entries=3, seal=last.seal)


def test_what_people_do_in_the_console_is_sealed(client: Client) -> None:
    client.force_login(factories.user("anna"))
    task = factories.task(status="running")
    client.post(f"/tasks/{task.pk}/pause/")
    client.post("/login/", {"username": "anna", "password": "wrong"})
    assert AuditEntry.objects.filter(number=None).count() == 0
    assert audit_seal.verify().entries == AuditEntry.objects.count() > 0


@pytest.mark.parametrize("column", ["actor", "address", "action", "subject", "message"])
def test_the_first_changed_entry_is_told(column: str) -> None:
    second = written()[1]
    sql(f"UPDATE migrations_app_auditentry SET {column} = 'mallory' WHERE id = %s", second.pk)
    assert broken().startswith("entry 2 is not as it was sealed: ")
    assert audit_seal.verify().entries == 1


def test_another_time_is_found() -> None:
    second = written()[1]
    sql("UPDATE migrations_app_auditentry SET at = '2020-01-01 00:00:00+00:00' WHERE id = %s", second.pk)
    assert "entry 2 is not as it was sealed: 2020-01-01" in broken()


def test_other_words_for_the_same_message_are_found() -> None:
    second = written()[1]
    words = '{"message": {"say": "Nothing.", "with": {}}}'
    sql("UPDATE migrations_app_auditentry SET words = %s WHERE id = %s", words, second.pk)
    assert "entry 2 is not as it was sealed" in broken()


def test_a_removed_entry_is_found() -> None:
    second = written()[1]
    sql("DELETE FROM migrations_app_auditentry WHERE id = %s", second.pk)
    assert broken().startswith("entry 2 is missing; the next one is number 3")


def test_a_removed_end_is_found() -> None:
    last = written()[-1]
    sql("DELETE FROM migrations_app_auditentry WHERE id = %s", last.pk)
    assert broken() == "entry 3 is missing: the trail had 3 entries and ends with 2 now"


def test_an_end_that_was_removed_with_its_mark_is_found_with_a_seal_kept_elsewhere() -> None:
    _, second, last = written()
    sql("DELETE FROM migrations_app_auditentry WHERE id = %s", last.pk)
    AuditHead.objects.update(number=2, seal=second.seal)
    assert broken() == ""
    assert "entries at the end were removed" in audit_seal.verify(last.seal).broken
    assert audit_seal.verify(second.seal).broken == ""


def test_an_entry_that_was_slipped_in_is_found() -> None:
    written()
    AuditEntry.objects.create(actor="mallory", action="sign-in")
    assert broken().startswith("an entry was never sealed: ")


def test_a_copied_seal_does_not_fit_elsewhere() -> None:
    first, second, _ = written()
    sql("UPDATE migrations_app_auditentry SET seal = %s WHERE id = %s", first.seal, second.pk)
    assert "entry 2 is not as it was sealed" in broken()


def test_a_deleted_task_leaves_its_entries_sound() -> None:
    task = factories.task()
    audit.record(actor="anna", action="test", task=task)
    task.delete()
    assert broken() == ""


def test_entries_under_a_former_signing_key_are_sound(settings: Any) -> None:
    written()
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key " * 4
    written(2)
    assert audit_seal.verify().entries == 5
    settings.SECRET_KEY_FALLBACKS = []
    assert "entry 1 is not as it was sealed" in broken()


def test_the_command_says_what_it_found_and_ends_with_an_error_at_the_first_broken_entry() -> None:
    last = written()[-1]
    out = io.StringIO()
    call_command("verify_audit", stdout=out)
    assert "3 entries, all as they were written." in out.getvalue()
    assert last.seal in out.getvalue()
    sql("UPDATE migrations_app_auditentry SET actor = 'mallory' WHERE id = %s", last.pk)
    with pytest.raises(CommandError, match=r"entry 3 is not as it was sealed: .* mallory test task 2"):
        call_command("verify_audit", stdout=out)


@pytest.mark.django_db(transaction=True)
def test_entries_that_are_written_at_the_same_time_stay_one_chain() -> None:
    from concurrent.futures import ThreadPoolExecutor

    def many(name: str) -> None:
        try:
            for _ in range(5):
                audit.record(actor=name, action="test")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(many, ["a", "b", "c", "d"]))
    assert audit_seal.verify().entries == 20
    assert broken() == ""


def test_entries_from_before_there_were_seals_become_the_beginning_of_the_chain() -> None:
    for number in range(3):
        AuditEntry.objects.create(actor="anna", action="test", subject=f"task {number}")
    migration = importlib.import_module("migrations_app.migrations.0007_audit_seal")
    state = MigrationLoader(connection).project_state(("migrations_app", "0007_audit_seal"))
    migration.seal_what_is_there(state.apps, None)
    written(2)
    assert audit_seal.verify().entries == 5
    assert broken() == ""
