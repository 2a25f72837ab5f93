"""How the items of a check are counted, by those who write results and by those who show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

WORST_FIRST = ("failed", "waiting", "warning", "passed")


def count_items(results: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return the number of items by status from (code, status) of their results: each counts once, by its worst."""
    worst: dict[str, str] = {}
    for code, status in results:
        worst[code] = min(status, worst.get(code, status), key=WORST_FIRST.index)
    found = Counter(worst.values())
    return {status: found[status] for status in ("failed", "warning", "passed", "waiting")}
