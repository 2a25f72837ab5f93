"""Every button in every status: shown where the table of states allows it, nowhere else, and it does what it says.

The cases come from the engine's table: an action without a line here fails a test. One browser page serves them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from migrations_app.engine.states import RULES, Action, Status
from migrations_app.models import CheckItem, ConnectionTest, MigrationTask, Recopy, TableCopy
from tests import factories
from tests.acceptance import buttons_kit
from tests.acceptance.buttons_kit import PATIENCE, address, in_status

# Fixtures that stand in the kit.
tab = buttons_kit.tab
signed_in = buttons_kit.signed_in
pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.django_db(transaction=True)]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Where an action's button stands and how it works. `leads`: the address it opens instead of doing something."""

    page: str = "detail"
    button: str = ""
    listed: bool = True
    asks: bool = True
    leads: str = ""
    only_if: Callable[[MigrationTask], object] = lambda task: None
    at_conflict: bool = False
    seldom: bool = False  # only `only_if` makes it stand there


def _at_conflict(task: MigrationTask) -> None:
    factories.conflict(task)


def _slot_is_lost(task: MigrationTask) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(error_code="SRC-SLOTLOST", error_message="The slot is gone.")


def _at_drift(task: MigrationTask) -> None:
    factories.drift(task)


def _its_terminal_has_ended(task: MigrationTask) -> None:
    MigrationTask.objects.filter(pk=task.pk).update(foreground=True)


def _has_made_something(task: MigrationTask) -> None:
    factories.ledger_entry(task)


CASES: dict[Action, Case] = {
    Action.EDIT: Case(button="edit", asks=False, leads="tasks:settings"),
    Action.CHECK: Case(page="check", button="check-all", listed=False, asks=False),
    Action.START: Case(),
    Action.START_NOW: Case(),
    Action.RESCHEDULE: Case(listed=False),
    Action.UNSCHEDULE: Case(listed=False),
    Action.PAUSE: Case(listed=False),
    Action.RESUME: Case(),
    Action.RETRY: Case(),
    Action.COMPARE: Case(listed=False),
    Action.COMPLETE: Case(),
    Action.KEEP_SYNCING: Case(),
    Action.TAKE_SOURCE: Case(button="conflict-take_source", only_if=_at_conflict, at_conflict=True),
    Action.APPLY: Case(button="drift-apply", only_if=_at_drift, at_conflict=True),
    Action.QUARANTINE: Case(button="conflict-quarantine", only_if=_at_conflict, at_conflict=True),
    Action.HAND_OVER: Case(listed=False, only_if=_its_terminal_has_ended, seldom=True),
    Action.CANCEL: Case(),
    Action.START_AGAIN: Case(),
    Action.CLEAN_UP: Case(listed=False, only_if=_has_made_something, seldom=True),
    Action.NEW_COPY: Case(only_if=_slot_is_lost, seldom=True),
    Action.REOPEN: Case(listed=False),  # which of the two is possible is asked for one task only
    Action.ACCESS: Case(listed=False, asks=False, leads="tasks:access", only_if=_has_made_something),
    Action.DELETE: Case(listed=False),
}
# A button at each table, at a conflict, or at a new table: tried apart.
OF_TABLES = {Action.RECOPY, Action.DROP, Action.ADD_TABLE, Action.IGNORE_TABLE}
PRESSES = [(action, status) for action in CASES for status in Status if status in RULES[action].allowed_from]
EDITED_FROM_THE_LIST = {Status.DRAFT}  # the others are opened first: their check is what they are about


def _selector(action: Action, task: MigrationTask) -> str:
    button = CASES[action].button or action.value
    return "#check-all" if action is Action.CHECK else f"#{button}-{task.pk}"


def _shown(page: Page, task: MigrationTask, actions: set[Action]) -> set[Action]:
    """Which of these actions have a button on the page that can be pressed."""
    return {
        action
        for action in actions
        if (found := page.locator(_selector(action, task))).count() and found.is_visible() and found.is_enabled()
    }


def _allowed(status: Status, *, made: bool = False) -> set[Action]:
    allowed = {
        action
        for action, case in CASES.items()
        if status in RULES[action].allowed_from and not case.at_conflict and not case.seldom
    }
    return allowed - ({Action.REOPEN} if made else {Action.ACCESS})


def test_every_action_of_the_table_of_states_has_a_case() -> None:
    assert set(CASES) | OF_TABLES == set(Action) == set(RULES)


@pytest.mark.parametrize("status", Status)
def test_pages_show_exactly_the_buttons_that_the_status_allows(
    status: Status, signed_in: Callable[..., Page], live_server: Any
) -> None:
    page, task = signed_in(), in_status(status)
    item = _warned(task)
    for name in ("detail", "check"):
        actions = {action for action, case in CASES.items() if case.page == name}
        page.goto(address(live_server, name, task))
        assert _shown(page, task, actions) == _allowed(status) & actions, name
        assert page.get_by_role("button", name="Clone").count() == (name == "detail")
    open_items = {
        name: case.selector.format(item=item.pk) for name, case in ITEM_CASES.items() if not case.acknowledged
    }
    shown = {name for name, selector in open_items.items() if page.locator(selector).count()}
    assert shown == (set(open_items) if status in RULES[Action.CHECK].allowed_from else set())


def test_the_list_shows_exactly_the_buttons_that_each_status_allows(
    signed_in: Callable[..., Page], live_server: Any
) -> None:
    page, tasks = signed_in(), [in_status(status) for status in Status]
    page.goto(address(live_server, "list", tasks[0]))
    for task in tasks:
        wanted = {action for action in _allowed(Status(task.status)) if CASES[action].listed}
        if task.status not in EDITED_FROM_THE_LIST:
            wanted.discard(Action.EDIT)
        assert _shown(page, task, set(CASES)) == wanted, task.status


def test_a_failed_task_that_made_something_changes_access_instead_of_everything(
    signed_in: Callable[..., Page], live_server: Any
) -> None:
    page, task = signed_in(), in_status(Status.FAILED)
    _has_made_something(task)
    page.goto(address(live_server, "detail", task))
    assert _shown(page, task, {Action.REOPEN, Action.ACCESS}) == {Action.ACCESS}


def test_somebody_who_only_looks_sees_no_button_in_any_status(signed_in: Callable[..., Page], live_server: Any) -> None:
    page = signed_in("viewer")
    tasks = [in_status(status) for status in Status]
    page.goto(address(live_server, "list", tasks[0]))
    assert [task.status for task in tasks if _shown(page, task, set(CASES))] == []
    for task in tasks:
        if task.status in (Status.CHECK_PASSED, Status.READY, Status.FAILED):
            page.goto(address(live_server, "detail", task))
            assert _shown(page, task, set(CASES)) == set()


@pytest.mark.parametrize(("action", "status"), PRESSES, ids=lambda value: value.value)
def test_a_press_does_what_the_button_says(
    action: Action, status: Status, signed_in: Callable[..., Page], live_server: Any
) -> None:
    page, task, case = signed_in(), in_status(status), CASES[action]
    case.only_if(task)
    page.goto(address(live_server, case.page, task))
    page.locator(_selector(action, task)).click()
    if case.leads:
        expect(page).to_have_url(address(live_server, case.leads.partition(":")[2], task))
        return
    if case.asks:
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name=RULES[action].label)).to_be_visible()
        assert MigrationTask.objects.get(pk=task.pk).status == status, "it only asks"
        _type_the_name(dialog, task, wanted=action is Action.DELETE)
        dialog.locator("form button").click()
        expect(dialog).to_be_hidden(timeout=PATIENCE)
    _is_done(action, task)


def _type_the_name(dialog: Locator, task: MigrationTask, *, wanted: bool) -> None:
    """Confirm by the task's name what cannot be undone; nothing else asks for it."""
    field = dialog.get_by_label("This cannot be undone.")
    expect(field).to_have_count(int(wanted))
    if wanted:
        field.fill(task.name)


def _is_done(action: Action, task: MigrationTask) -> None:
    now = MigrationTask.objects.filter(pk=task.pk).first()
    if action is Action.DELETE:
        assert now is None
    elif action is Action.COMPARE:
        assert now is not None
        assert now.compare_requested
    elif action is Action.KEEP_SYNCING:
        assert now is not None
        assert now.back_requested, "a worker is at it"
    elif action is Action.HAND_OVER:
        assert now is not None
        assert not now.foreground
    elif action is Action.CLEAN_UP:
        assert now is not None
        assert now.status in (Status.CANCELLING, Status.COMPLETING)
    elif action is Action.RESCHEDULE:
        assert now is not None
        assert now.events.filter(code="TASK-RESCHEDULED").exists()
    elif action is Action.CANCEL and task.started_at is None:
        assert now is not None
        assert now.status == Status.CANCELLED, "nothing had been made anywhere"
    else:
        assert now is not None
        assert now.status == RULES[action].leads_to
    if now is not None:
        assert now.events.filter(actor="anna").exists()


@pytest.mark.parametrize("status", Status)
def test_a_table_can_be_copied_again_exactly_while_the_status_allows_it(
    status: Status, signed_in: Callable[..., Page], live_server: Any
) -> None:
    page, task = signed_in(), in_status(status)
    MigrationTask.objects.filter(pk=task.pk).update(current_step="sync")
    table = factories.table_copy(task, status="done")
    page.goto(address(live_server, "detail", task))
    button = page.locator(f"#recopy-t{table.pk}")
    assert button.count() == (status in RULES[Action.RECOPY].allowed_from)
    if button.count():
        button.click()
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="Copy again")).to_be_visible()
        assert not Recopy.objects.filter(task=task).exists(), "a press alone does nothing"
        dialog.locator("form button").click()
        expect(page.get_by_text("The table will be copied once more")).to_be_visible()
        assert Recopy.objects.get(task=task).name == table.name


@pytest.mark.parametrize("table_state", ["done", "quarantined", "dropped"])
@pytest.mark.parametrize("status", Status)
def test_a_table_is_set_aside_exactly_while_the_status_allows_it(
    status: Status, table_state: str, signed_in: Callable[..., Page], live_server: Any
) -> None:
    page, task = signed_in(), in_status(status)
    MigrationTask.objects.filter(pk=task.pk).update(current_step="sync")
    table = factories.table_copy(task, status=table_state)
    page.goto(address(live_server, "detail", task))
    quarantine, drop = page.locator(f"#quarantine-t{table.pk}"), page.locator(f"#drop-t{table.pk}")
    may_quarantine = status in RULES[Action.QUARANTINE].allowed_from and table_state == "done"
    may_drop = status in RULES[Action.DROP].allowed_from and table_state == "quarantined"
    assert (quarantine.count(), drop.count()) == (may_quarantine, may_quarantine or may_drop)
    if not may_drop:
        return
    drop.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name="Drop from task")).to_be_visible()
    _type_the_name(dialog, task, wanted=True)
    dialog.locator("form button").click()
    expect(page.get_by_text("The table is dropped from the task.").first).to_be_visible()
    assert TableCopy.objects.get(pk=table.pk).status == "dropped"


@pytest.mark.parametrize("page_name", ["detail", "list"])
@pytest.mark.parametrize("name", ["retry", "take_source", "recopy", "quarantine", "drop"])
def test_each_choice_at_a_conflict_is_asked_in_words_and_lets_the_task_go_on(
    name: str, page_name: str, signed_in: Callable[..., Page], live_server: Any
) -> None:
    page, task = signed_in(), factories.conflict(factories.running_task("sync"))
    page.goto(address(live_server, page_name, task))
    page.locator(f"#conflict-{name}-{task.pk}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name=RULES[Action(name)].label)).to_be_visible()
    expect(dialog.get_by_text("public.orders")).to_be_visible()
    assert MigrationTask.objects.get(pk=task.pk).status == Status.FAILED, "it only asks"
    _type_the_name(dialog, task, wanted=name == "drop")
    dialog.locator("form button").click()
    expect(dialog).to_be_hidden(timeout=PATIENCE)
    assert MigrationTask.objects.get(pk=task.pk).status == Status.RUNNING


@pytest.mark.parametrize("page_name", ["detail", "list"])
@pytest.mark.parametrize("name", ["retry", "apply", "recopy", "drop"])
def test_each_choice_at_a_changed_table_is_asked_with_old_and_new_and_lets_the_task_go_on(
    name: str, page_name: str, signed_in: Callable[..., Page], live_server: Any
) -> None:
    page, task = signed_in(), factories.drift(factories.running_task("sync"))
    page.goto(address(live_server, page_name, task))
    page.locator(f"#drift-{name}-{task.pk}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name=RULES[Action(name)].label)).to_be_visible()
    expect(dialog.get_by_text('ADD COLUMN "note" text')).to_be_visible()
    assert MigrationTask.objects.get(pk=task.pk).status == Status.FAILED, "it only asks"
    _type_the_name(dialog, task, wanted=name == "drop")
    dialog.locator("form button").click()
    expect(dialog).to_be_hidden(timeout=PATIENCE)
    assert MigrationTask.objects.get(pk=task.pk).status == Status.RUNNING


@pytest.mark.parametrize("status", [Status.DRAFT, Status.RUNNING, Status.COMPLETED])
def test_a_task_is_cloned_whatever_it_does(status: Status, signed_in: Callable[..., Page], live_server: Any) -> None:
    page, task = signed_in(), in_status(status)
    page.goto(address(live_server, "detail", task))
    page.get_by_role("button", name="Clone").click()
    expect(page.get_by_text("This is a copy with the same servers")).to_be_visible()
    copy = MigrationTask.objects.get(cloned_from=task)
    assert copy.status == Status.DRAFT
    assert MigrationTask.objects.get(pk=task.pk).status == status


@dataclass(frozen=True, kw_only=True)
class ItemCase:
    """A button at a check item, possible while the task may be checked."""

    selector: str
    press: Callable[[Page, CheckItem], None]
    done: Callable[[CheckItem], bool]
    acknowledged: bool = False


def _acknowledge(page: Page, item: CheckItem) -> None:
    page.locator(f"#ack-{item.pk} summary").click()
    page.get_by_label("Why may it stay?").fill("known")
    page.locator(f"#ack-{item.pk}").get_by_role("button", name="Acknowledge").click()


def _fix(page: Page, item: CheckItem) -> None:
    page.locator(f"#fix-{item.pk}").click()
    page.get_by_role("dialog").get_by_role("button", name="Run it").click()


def _press(selector: str) -> Callable[[Page, CheckItem], None]:
    return lambda page, item: page.locator(selector.format(item=item.pk)).click()


def _is_checking(item: CheckItem) -> bool:
    return MigrationTask.objects.get(pk=item.task_id).status == Status.CHECKING


ITEM_CASES = {
    "Fix": ItemCase(
        selector="#fix-{item}",
        press=_fix,
        done=lambda item: ConnectionTest.objects.filter(task=item.task_id, kind="fix", side="source").exists(),
    ),
    "Acknowledge": ItemCase(
        selector="#ack-{item}",
        press=_acknowledge,
        done=lambda item: CheckItem.objects.get(pk=item.pk).acknowledged_by == "anna",
    ),
    "Withdraw": ItemCase(
        selector="#withdraw-{item}",
        press=_press("#withdraw-{item}"),
        done=lambda item: CheckItem.objects.get(pk=item.pk).acknowledged_at is None,
        acknowledged=True,
    ),
    "Check this": ItemCase(selector="#again-{item}", press=_press("#again-{item}"), done=_is_checking),
    "Check this group": ItemCase(
        selector="#again-incremental-sync", press=_press("#again-incremental-sync"), done=_is_checking
    ),
}


def _warned(task: MigrationTask, *, acknowledged: bool = False) -> CheckItem:
    by = {"acknowledged_by": "anna", "acknowledged_at": timezone.now(), "acknowledged_reason": "known"}
    return factories.check_item(
        task,
        "wal_sender_timeout",
        status="warning",
        title="WAL sender timeout",
        found="wal_sender_timeout is only 1 s.",
        hint="60 s is the usual value.",
        sql="ALTER SYSTEM SET wal_sender_timeout = '60s';",
        fix="settings",
        fix_arguments={"settings": [["wal_sender_timeout", "60s", "1s"]], "restart": False},
        **(by if acknowledged else {}),
    )


@pytest.mark.parametrize("name", ITEM_CASES)
@pytest.mark.parametrize("status", sorted(RULES[Action.CHECK].allowed_from))
def test_a_press_at_an_item_does_what_the_button_says(
    name: str, status: Status, signed_in: Callable[..., Page], live_server: Any
) -> None:
    page, task, case = signed_in(), in_status(status), ITEM_CASES[name]
    item = _warned(task, acknowledged=case.acknowledged)
    page.goto(address(live_server, "check", task))
    case.press(page, item)
    expect(page.get_by_role("dialog")).to_be_hidden(timeout=PATIENCE)
    expect(page.locator("#check")).to_be_visible()
    assert case.done(item)
