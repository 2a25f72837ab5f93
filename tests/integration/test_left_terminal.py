"""A task of a terminal that is taken up on a page: the workers do what was pressed, since nobody else would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django_q.models import OrmQ

from migrations_app import services
from migrations_app.models import MigrationTask, User
from migrations_app.services import work
from tests import factories

pytestmark = pytest.mark.django_db
PRESSES: dict[str, tuple[Callable[[], MigrationTask], Callable[..., Any]]] = {
    "check": (lambda: factories.checked_task(foreground=True), services.request_check),
    "start": (lambda: factories.checked_task(foreground=True), services.start_task),
    "resume": (lambda: factories.running_task("sync", status="paused", foreground=True), services.resume_task),
    "retry": (lambda: factories.running_task("sync", status="failed", foreground=True), services.retry_task),
    "retry the copy": (lambda: factories.running_task(status="failed", foreground=True), services.retry_task),
}


@pytest.fixture
def anna(db: None) -> User:
    return factories.user("anna")


def _claimable(task: MigrationTask) -> bool:
    key = str(task.pk)
    return any(
        (work.claim_migration("w:1:migrate"), work.claim_sync(key, "w:1:sync"), work.claim_check(key, "w:1:console"))
    )


@pytest.mark.parametrize("press", PRESSES)
def test_what_is_pressed_on_a_page_is_done_by_workers(press: str, anna: User) -> None:
    make, do = PRESSES[press]
    task = make()
    do(task_id=task.pk, actor=anna)
    assert OrmQ.objects.count() == 1, "somebody is woken"
    task.refresh_from_db()
    assert not task.foreground
    assert _claimable(task)


@pytest.mark.parametrize("press", PRESSES)
def test_what_the_command_line_does_stays_in_the_terminal(press: str) -> None:
    make, do = PRESSES[press]
    task = make()
    do(task_id=task.pk, actor=None)
    assert OrmQ.objects.count() == 0
    task.refresh_from_db()
    assert task.foreground


def test_a_run_that_has_failed_at_cleaning_up_begins_again_with_all_its_tries() -> None:
    task = factories.task(status="cancelled", tries=2)
    services.start_again(task_id=task.pk, actor=None, clear_target=False)
    task.refresh_from_db()
    assert task.tries == 0
