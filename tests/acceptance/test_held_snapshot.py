"""A copy over several snapshots as somebody runs it from a terminal, who sees since when one is held."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.acceptance import terminal_kit
from tests.acceptance.places import Place, nothing_of_ours
from tests.acceptance.terminal_kit import Terminal, different
from tests.fakes import wait_until

# Fixtures that stand in the kit.
terminal = terminal_kit.terminal
small = terminal_kit.small

_COPYING = "SELECT task_id FROM migrations_app_tablecopy WHERE status = 'copying' AND name = 'big'"


@pytest.mark.long
def test_a_long_copy_is_shown_with_its_snapshot_and_ends_equal_over_several(
    terminal: Terminal, small: tuple[Place, Place]
) -> None:
    source, target = small
    source.run(
        "CREATE TABLE big (n int PRIMARY KEY, filler text)",
        "INSERT INTO big SELECT n, repeat('x', 1000) FROM generate_series(1, 30000) n",
    )
    source.identities["public.big"] = "d"
    ends = ["--source", terminal.source.uri(), "--target", terminal.target.uri(), "--database", source.name]
    words = ["--complete", "--max-rate", "1", "--jobs", "1"]
    task = terminal.installation.start("task", "run", *ends, *words, TOWPATH_SNAPSHOT_HOURS="0.0001")
    wait_until(lambda: terminal.installation.query(_COPYING), 60, "a table that is being copied")
    key = terminal.installation.query(_COPYING)[0][0]

    def shown() -> dict[str, Any] | None:
        done = terminal.task("show", key, "--json", TOWPATH_SNAPSHOT_HOURS="0.0001")
        found: dict[str, Any] | None = json.loads(done.stdout)["snapshot"]
        return found if found and found["level"] == "warning" else None

    held = wait_until(shown, 60, "a snapshot that is held for longer than its limit")
    assert held["seconds"] > held["limit_seconds"]
    source.run("UPDATE big SET filler = 'changed' WHERE n % 100 = 0", "DELETE FROM public.things WHERE id % 2 = 0")
    assert terminal.task("tune", key, "--max-rate", "none").returncode == 0
    assert task.wait(120) == 0, terminal.installation.logs()[-3000:]
    marks = terminal.installation.query("SELECT DISTINCT watermark FROM migrations_app_tablecopy")
    assert len(marks) >= 2
    told = {code for (code,) in terminal.installation.query("SELECT code FROM migrations_app_event")}
    assert "COPY-RENEWED" in told
    assert json.loads(terminal.task("show", key, "--json").stdout)["snapshot"] is None
    assert different(source, target) == []
    nothing_of_ours(source, target, seconds=0)
