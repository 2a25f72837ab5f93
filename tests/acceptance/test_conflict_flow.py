"""An operator meets a conflict in the browser and decides it there: from failed to in sync, on real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from migrations_app.demo.clusters import Cluster
from tests.acceptance.stopped_kit import Stopped, printed, syncing_goods, until
from tests.acceptance.test_whole_flow import PATIENCE, Console, console, operator
from tests.fakes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.long]
__all__ = ["console", "operator"]  # fixtures


@pytest.fixture
def stopped(console: Console, source_cluster: Cluster, target_cluster: Cluster) -> Iterator[Stopped]:
    """Somebody removed row 3 on the target before the source changed it."""
    with syncing_goods(console, source_cluster, target_cluster, "(1, 'a'), (2, 'b'), (3, 'c')") as task:
        task.target.run("DELETE FROM goods WHERE id = 3")
        task.source.run("UPDATE goods SET v = 'new' WHERE id = 3")
        until(console, task.task, "failed")
        yield task


def decide(page: Page, console: Console, stopped: Stopped, choice: str, label: str) -> None:
    """Read the conflict on the task's page, press a choice and agree."""
    page.goto(f"{console.url}/tasks/{stopped.task}/")
    note = page.get_by_role("alert")
    for words in ("Row missing", "update of public.goods", "id=3"):
        expect(note).to_contain_text(words)
    note.locator(f"#conflict-{choice}-{stopped.task}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("public.goods")
    dialog.get_by_role("button", name=label, exact=True).click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#status")).to_have_text("In sync, ready to complete", timeout=PATIENCE)


def test_taking_the_row_of_the_source_leads_from_failed_to_in_sync(
    operator: Page, console: Console, stopped: Stopped
) -> None:
    decide(operator, console, stopped, "take_source", "Take the source's row")
    assert stopped.target.value("SELECT v FROM goods WHERE id = 3") == "new"
    told = [line for line in printed(console, "show", stopped.task, "--json").splitlines() if '"error"' in line]
    assert told == [' "error": null,']
    codes = "SELECT code FROM migrations_app_event WHERE task_id = ? AND code LIKE 'CONFLICT-%' ORDER BY id"
    found = console.installation.query(codes, stopped.task.replace("-", ""))
    assert found == [("CONFLICT-TAKE",), ("CONFLICT-TAKEN",)]


def test_a_quarantined_table_is_settled_by_copying_it_again(operator: Page, console: Console, stopped: Stopped) -> None:
    decide(operator, console, stopped, "quarantine", "Quarantine")
    expect(operator.locator("#quarantined")).to_contain_text("public.goods")
    refused = operator.context.new_page()  # the browser logs the 409 that is asked for here
    refused.goto(f"{console.url}/tasks/{stopped.task}/")
    refused.get_by_role("link", name="Complete", exact=True).click()
    dialog = refused.get_by_role("dialog")
    expect(dialog).to_contain_text("Complete is not possible while tables are quarantined")
    expect(dialog).to_contain_text("public.goods")
    refused.close()
    operator.get_by_role("link", name="Copy again").click()
    operator.get_by_role("dialog").get_by_role("button", name="Copy again").click()
    expect(operator.locator("#quarantined")).to_have_count(0, timeout=PATIENCE)
    wait_until(lambda: stopped.target.value("SELECT v FROM goods WHERE id = 3") == "new", what="the copy")
    printed(console, "complete", stopped.task)
    until(console, stopped.task, "completed")
