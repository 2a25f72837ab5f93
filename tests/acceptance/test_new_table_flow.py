"""A table appears on the source, and an operator adds it in the browser; another one is ignored."""

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
def asked(console: Console, source_cluster: Cluster, target_cluster: Cluster) -> Iterator[Stopped]:
    """Two tables that are new on the source, about which nobody has decided."""
    with syncing_goods(console, source_cluster, target_cluster, "(1, 'a'), (2, 'b')") as task:
        task.source.run(
            "CREATE TABLE bills (id serial PRIMARY KEY, good int REFERENCES goods)",
            "INSERT INTO bills (good) VALUES (1), (2)",
            "CREATE TABLE scratch (v int)",
        )
        found = "SELECT count(*) FROM migrations_app_newtable WHERE task_id = ?"
        key = task.task.replace("-", "")
        wait_until(lambda: console.installation.query(found, key) == [(2,)], 90, "the question")
        yield task


def test_a_new_table_is_added_and_another_ignored_and_the_task_completes(
    operator: Page, console: Console, asked: Stopped
) -> None:
    operator.goto(f"{console.url}/tasks/{asked.task}/")
    note = operator.locator("#new-tables")
    expect(note).to_contain_text("2 tables are new on the source")
    note.get_by_role("button", name="Ignore public.scratch", exact=True).click()
    expect(operator.locator("#ignored-tables")).to_contain_text("1 new table of the source is ignored")
    expect(operator.locator("#new-tables")).to_contain_text("1 table is new on the source")
    operator.get_by_role("button", name="Add public.bills", exact=True).click()
    wait_until(lambda: asked.target.value("SELECT to_regclass('bills')::text") == "bills", 60, "the table")
    asked.source.run("INSERT INTO bills (good) VALUES (1)")
    wait_until(lambda: asked.target.value("SELECT count(*) FROM bills") == 3, 60, "the new row")
    expect(operator.locator("#coming-tables")).to_have_count(0, timeout=PATIENCE)
    expect(operator.locator("#new-tables")).to_have_count(0)
    until(console, asked.task, "ready")
    printed(console, "complete", asked.task)
    until(console, asked.task, "completed")
    assert asked.target.value("SELECT to_regclass('scratch')::text") is None
