"""What a comparison shows of itself while it runs: tables, bytes, and what is read now."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from migrations_app.engine.comparing.shown import Shown
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan

SHOP = DatabasePlan(source_name="shop", target_name="shop")
WIKI = DatabasePlan(source_name="wiki", target_name="wiki")


def _shown(*databases: DatabasePlan, at: DatabasePlan = SHOP, **held: int) -> tuple[Shown, list[tuple[Any, ...]]]:
    steps: list[tuple[Any, ...]] = []
    store = SimpleNamespace(
        step_progress=lambda *told: steps.append(told),
        tables=lambda name: [SimpleNamespace(bytes_total=held.get(name, 0))],
    )
    run = SimpleNamespace(databases=lambda: list(databases), ports=SimpleNamespace(store=store))
    return Shown(cast(Run, run), at, tables=2, total_bytes=1000), steps


def test_a_large_table_is_named_from_its_begin_on() -> None:
    shown, steps = _shown(SHOP)
    shown.begin("sales.orders", 900)
    shown.show()
    assert steps == [(0, 1000, "0 of 2 tables, comparing sales.orders (900 B)")]


def test_what_is_through_counts_and_is_named_no_more() -> None:
    shown, steps = _shown(SHOP)
    shown.begin("sales.orders", 900)
    shown.begin("sales.items", 100)
    shown.end("sales.items")
    shown.show()
    shown.end("sales.orders")
    shown.show()
    assert steps == [
        (100, 1000, "1 of 2 tables, comparing sales.orders (900 B)"),
        (1000, 1000, "2 of 2 tables"),
    ]


def test_nothing_is_written_while_nothing_changes() -> None:
    shown, steps = _shown(SHOP)
    shown.show()
    shown.show()
    assert len(steps) == 1


def test_databases_share_one_progress() -> None:
    shown, steps = _shown(SHOP, WIKI, at=WIKI, shop=3000, wiki=1000)
    shown.begin("public.pages", 500)
    shown.end("public.pages")
    shown.show()
    assert steps == [(3500, 4000, "wiki: 1 of 2 tables")]
