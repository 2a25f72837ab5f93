"""A whole run of the product into a target whose tables have other partitions than the source's."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.acceptance import terminal_kit
from tests.acceptance.places import Place, database_pair, nothing_of_ours
from tests.acceptance.terminal_kit import Terminal
from tests.postgres.layouts_kit import BY_HASH, ITEMS, OLD_ROWS, SALES

# Fixtures that stand in the kit.
terminal = terminal_kit.terminal


@pytest.fixture
def places(terminal: Terminal) -> Iterator[tuple[Place, Place]]:
    with database_pair(terminal, SALES, make_target=True) as pair:
        pair[1].run(BY_HASH, OLD_ROWS, ITEMS)
        yield pair


@pytest.mark.long
def test_a_run_to_complete_fills_them_by_the_names_of_the_tables(
    terminal: Terminal, places: tuple[Place, Place]
) -> None:
    source, target = places
    words = ["--name", "move", "--existing", "truncate", "--yes-destroy", "move", "--complete", "--json"]
    done = terminal.run("--database", source.name, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert (report["status"], report["differences"]) == ("completed", [])
    assert {table["name"] for table in report["tables"]} == {"sales", "items", "plain"}
    for table in ("sales", "items"):
        rows = f"SELECT json_agg(t ORDER BY id) ::text FROM {table} t"
        assert target.value(rows) == source.value(rows)
    assert target.value("SELECT to_regclass('sales_20')") is None
    nothing_of_ours(source, target, seconds=0)


@pytest.mark.long
def test_a_layout_that_cannot_be_followed_ends_at_the_check(terminal: Terminal, places: tuple[Place, Place]) -> None:
    source, target = places
    source.run("ALTER TABLE sales DROP CONSTRAINT sales_pkey")
    words = ["--name", "move", "--existing", "truncate", "--yes-destroy", "move", "--complete"]
    done = terminal.run("--database", source.name, *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "without a primary key its changes cannot be followed so" in done.stdout + done.stderr
    assert target.value("SELECT count(*) FROM sales") == 2
