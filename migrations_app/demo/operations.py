"""What the demo's application does to the shop, read from `sql/operations.sql`."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from ..engine.values import frozen

_FILE = Path(__file__).with_name("sql") / "operations.sql"
_HEADING = re.compile(r"^-- name: (?P<name>[^,\n]+)(?P<notes>[^\n]*)$", re.MULTILINE)
_TIMES = re.compile(r", (\d+) times a round")
_KEYED = {
    "product": ("catalog.products", "id"),
    "brand": ("catalog.brands", "id"),
    "category": ("catalog.categories", "id"),
    "image": ("catalog.product_images", "id"),
    "review": ("catalog.reviews", "id"),
    "customer": ("sales.customers", "id"),
    "order": ("sales.orders", "id"),
    "shipment": ("sales.shipments", "id"),
    "invoice": ("sales.invoices", "number"),
    "event": ("public.web_events", "id"),
    "shelf": ("warehouse.shelves", "id"),
    "movement": ("warehouse.stock_movements", "id"),
    "employee": ('"Back Office"."Employees"', '"Id"'),
}


@frozen(kw_only=False)
class Operation:
    """One transaction. `weight` = how often it comes up in a round; `commits` is false when it ends with ROLLBACK.

    Logical decoding does not carry large objects: operations on them stand apart by `large_object`.
    """

    name: str
    statements: tuple[str, ...]
    weight: int = 1
    commits: bool = True
    large_object: bool = False


def _row(placeholder: re.Match[str]) -> str:
    """Return a subquery for the key of some row, found through the index."""
    table, key = _KEYED[placeholder["thing"]]
    share = "v" if placeholder["other"] else "u"
    start = f"(%({share})s::float8 * (SELECT max({key}) FROM {table}))::bigint"  # noqa: S608 - fixed names
    return f"(SELECT {key} FROM {table} WHERE {key} >= {start} ORDER BY {key} LIMIT 1)"  # noqa: S608 - fixed names


def _statements(text: str) -> tuple[str, ...]:
    filled = re.sub(r"\{\{(?P<other>other )?(?P<thing>\w+)\}\}", _row, text)
    return tuple(statement.strip() for statement in filled.split(";\n") if statement.strip())


@cache
def operations() -> tuple[Operation, ...]:
    """Return all operations of the file, in its order."""
    _, *parts = _HEADING.split(_FILE.read_text())
    found = []
    for name, notes, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        times = _TIMES.search(notes)
        found.append(
            Operation(
                name=name,
                statements=_statements(text),
                weight=int(times[1]) if times else 1,
                commits="rolled back" not in notes,
                large_object="large object" in notes,
            )
        )
    return tuple(found)
