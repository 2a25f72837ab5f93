"""A table changes on the source, and an operator has the target's changed in the browser: from failed to in sync."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from migrations_app.demo.clusters import Cluster
from tests.acceptance.places import Place, drop_database
from tests.acceptance.test_conflict_flow import Stopped, _printed, _until
from tests.acceptance.test_whole_flow import PATIENCE, Console, console, operator
from tests.fakes import wait_until

pytestmark = pytest.mark.browser
__all__ = ["console", "operator"]  # fixtures


@pytest.fixture
def stopped(console: Console, source_cluster: Cluster, target_cluster: Cluster) -> Iterator[Stopped]:
    name = f"drift_{secrets.token_hex(3)}"
    source, target = Place(source_cluster, name), Place(target_cluster, name)
    with source_cluster.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    source.run("CREATE TABLE goods (id int PRIMARY KEY, v text); INSERT INTO goods VALUES (1, 'a'), (2, 'b')")
    addresses = ("--source", source_cluster.uri(), "--target", target_cluster.uri(), "--database", name)
    task = json.loads(_printed(console, "create", *addresses, "--name", name, "--json"))["id"]
    try:
        _printed(console, "check", task)
        _printed(console, "start", task)
        _until(console, task, "ready")
        source.run("ALTER TABLE goods ADD COLUMN n int NOT NULL DEFAULT 7")
        warned = (
            "SELECT count(*) FROM migrations_app_event WHERE task_id = ? AND code = 'SRC-DDL' AND level = 'warning'"
        )
        wait_until(lambda: console.installation.query(warned, task.replace("-", "")) == [(1,)], 90, "the warning")
        source.run("INSERT INTO goods VALUES (3, 'c', 8)")
        _until(console, task, "failed")
        yield Stopped(task, source, target)
    finally:
        console.installation.manage("task", "cancel", task)
        one = "SELECT status FROM migrations_app_migrationtask WHERE id = ?"
        ended = [("cancelled",)], [("completed",)]
        wait_until(lambda: console.installation.query(one, task.replace("-", "")) in ended, 60, "the end of the task")
        for place in (source, target):
            drop_database(place)


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
    _printed(console, "complete", stopped.task)
    _until(console, stopped.task, "completed")
