"""A table changes on the source, and an operator has the target's changed in the browser: from failed to in sync."""

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
    """A column was added on the source: first only warned of, then met by a row."""
    with syncing_goods(console, source_cluster, target_cluster, "(1, 'a'), (2, 'b')") as task:
        task.source.run("ALTER TABLE goods ADD COLUMN n int NOT NULL DEFAULT 7")
        warned = (
            "SELECT count(*) FROM migrations_app_event WHERE task_id = ? AND code = 'SRC-DDL' AND level = 'warning'"
        )
        key = task.task.replace("-", "")
        wait_until(lambda: console.installation.query(warned, key) == [(1,)], 90, "the warning")
        task.source.run("INSERT INTO goods VALUES (3, 'c', 8)")
        until(console, task.task, "failed")
        yield task


def test_applying_a_change_of_the_source_leads_from_failed_to_completed(
    operator: Page, console: Console, stopped: Stopped
) -> None:
    operator.goto(f"{console.url}/tasks/{stopped.task}/")
    note = operator.get_by_role("alert")
    for words in ("Column added", "integer DEFAULT 7 NOT NULL", "ADD COLUMN"):
        expect(note).to_contain_text(words)
    note.locator(f"#drift-apply-{stopped.task}").click()
    dialog = operator.get_by_role("dialog")
    expect(dialog).to_contain_text("public.goods")
    dialog.get_by_role("button", name="Apply and resume", exact=True).click()
    expect(dialog).to_be_hidden()
    expect(operator.locator("#status")).to_have_text("In sync, ready to complete", timeout=PATIENCE)
    wait_until(lambda: stopped.target.value("SELECT n FROM goods WHERE id = 3") == 8, what="the new row")
    assert stopped.target.value("SELECT n FROM goods WHERE id = 1") == 7
    printed(console, "complete", stopped.task)
    until(console, stopped.task, "completed")
