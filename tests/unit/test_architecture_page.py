"""docs/architecture.md tells every arrow of the table of states and every room, and no other."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from migrations_app.engine.states import Status, may_move

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = (_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
_STATES = _PAGE.split("## States", 1)[1].split("## ", 1)[0]


def _arrows() -> set[tuple[str, str]]:
    """Return the moves of the table: `a, b → c / d` stands for four."""
    found = set()
    for line in _STATES.splitlines():
        told = re.match(r"\| ([a-z_, ]+) → ([a-z_/ ]+) \|", line)
        if told:
            found |= set(itertools.product(told[1].split(", "), told[2].split(" / ")))
    return found


def test_the_table_of_the_page_has_exactly_the_arrows_of_the_table_in_the_code() -> None:
    pairs = itertools.product(Status, Status)
    moves = {(str(old), str(new)) for old, new in pairs if old != new and may_move(old, new)}
    assert _arrows() == moves


def test_the_drawing_shows_every_status() -> None:
    drawing = _STATES.split("```")[1]
    assert {status for status in Status if not re.search(rf"\b{status}\b", drawing)} == set()


def test_every_room_of_the_app_has_a_row_in_the_table_of_rooms() -> None:
    table = _PAGE.split("## Rooms", 1)[1].split("## ", 1)[0]
    rooms = {path.name for path in (_ROOT / "migrations_app").iterdir() if not path.name.startswith("__")}
    rooms -= {"apps.py", "checks.py", "migrations"}  # what Django asks for
    rooms = {name if name.endswith(".py") else f"{name}/" for name in rooms}
    assert {name for name in rooms if name not in table} == set()
