"""docs/proofs.md leaves no known trap and no known bug of other tools without a test.

`test_proofs_page` sees to it that each test that the page names exists.
"""

from __future__ import annotations

import re
from pathlib import Path

_PAGE = (Path(__file__).resolve().parents[2] / "docs" / "proofs.md").read_text()
_TEST = re.compile(r"`[\w/]+\.py::test_\w+`")
_TRAPS = 52
_BUGS = 15 + 5  # of another tool's history, and of PostgreSQL's own


def _rows(title: str) -> list[list[str]]:
    section = _PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_trap_names_tests() -> None:
    rows = _rows("Traps of following a stream")
    assert [row[0] for row in rows] == [f"T{number}" for number in range(1, _TRAPS + 1)]
    assert [row[0] for row in rows if not _TEST.search(row[-1])] == []


def test_every_bug_names_tests() -> None:
    rows = _rows("Bugs that other tools had")
    assert len(rows) >= _BUGS
    assert [row[0] for row in rows if not _TEST.search(row[-1])] == []
