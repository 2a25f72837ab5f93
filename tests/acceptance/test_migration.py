"""A live shop is migrated from PostgreSQL 16 to 18 while its application goes on writing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from migrations_app.demo.shop import load_shop
from migrations_app.demo.writer import Writer, WriterStats
from tests.acceptance.kit import World
from tests.acceptance.places import Place, database_pair, leftovers, nothing_of_ours, refresh
from tests.comparator import differences
from tests.fakes import wait_until

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Finished:
    """What is left to look at after the migration."""

    source: Place
    target: Place
    stats: WriterStats
    report: dict[str, Any]
    before_complete: list[str]
    events: list[str]


def _printed(world: World, *arguments: str) -> str:
    done = world.installation.manage(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _show(world: World, task: str) -> dict[str, Any]:
    return dict(json.loads(_printed(world, "task", "show", task, "--json")))


def _status(world: World, task: str) -> str:
    one = "SELECT status FROM migrations_app_migrationtask WHERE id = ?"
    return str(world.installation.query(one, task.replace("-", ""))[0][0])


@pytest.fixture(scope="module")
def finished(world: World) -> Iterator[Finished]:
    """Migrate the shop once, with the writer on through copy and sync, by the command line and real workers."""
    with database_pair(world, lambda connection: load_shop(connection, 0.02)) as (source, target):
        yield _migrate(world, source, target)


def _migrate(world: World, source: Place, target: Place) -> Finished:
    with Writer(source.cluster.arguments(source.name), seed=1) as writer:
        made = _printed(
            world, "task", "create", "--source", source.cluster.uri(), "--target", target.cluster.uri(),
            "--database", source.name, "--name", "shop", "--json",
        )  # fmt: skip
        task = json.loads(made)["id"]
        _printed(world, "task", "check", task)
        _printed(world, "task", "start", task)
        wait_until(lambda: _status(world, task) in ("ready", "failed"), 60, "being in sync")
        applied = writer.stats().committed + 100
        wait_until(lambda: writer.stats().committed > applied, 30, "a hundred more transactions in sync")
        stats = writer.stop()
    before = leftovers(source, target)
    _printed(world, "task", "complete", task)
    wait_until(lambda: _status(world, task) != "completing", 60, "the end of Complete")
    mine = "SELECT code FROM migrations_app_event WHERE task_id = ? ORDER BY id"
    events = world.installation.query(mine, task.replace("-", ""))
    return Finished(source, target, stats, _show(world, task), before, [code for (code,) in events])


def test_the_target_equals_the_source_in_every_row_and_every_definition(finished: Finished) -> None:
    refresh(finished.source)
    with finished.source.connect() as source, finished.target.connect() as target:
        assert differences(source, target) == []


def test_the_task_is_completed_after_a_comparison_of_every_table(finished: Finished) -> None:
    assert finished.report["status"] == "completed", finished.report
    assert [step["state"] for step in finished.report["steps"]] == ["done"] * len(finished.report["steps"])
    (comparison,) = [one for one in finished.report["comparisons"] if one["equal"]]
    assert comparison["tables"] == len(finished.report["tables"]) >= 30
    assert finished.report["differences"] == []


def test_the_application_met_no_error_meanwhile(finished: Finished) -> None:
    assert finished.stats.errors == ()
    assert finished.stats.reconnects == 0
    assert finished.stats.committed > 100
    assert finished.report["databases"][0]["rows_applied"] > 100


def test_nothing_of_ours_is_left_on_either_server(finished: Finished) -> None:
    assert any(line.startswith("slot") for line in finished.before_complete), "the look itself must see things"
    assert any(line.startswith("schema towpath on the target") for line in finished.before_complete)
    nothing_of_ours(finished.source, finished.target)


def test_the_history_tells_the_whole_way(finished: Finished) -> None:
    way = ["TASK-CREATED", "CHECK-PASSED", "TASK-QUEUED", "TASK-RUNNING", "TASK-READY", "TASK-COMPLETING"]
    assert [code for code in finished.events if code in way] == way
    assert finished.events.count("TASK-COMPLETED") == 1
