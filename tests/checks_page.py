"""Writes the list of check items in docs/checks.md from the registry: python -m tests.checks_page"""

from __future__ import annotations

from pathlib import Path

from migrations_app.engine.checks import CheckInfo, all_items
from migrations_app.engine.checks.moments import BEFORE_COMPLETE

PAGE = Path(__file__).parent.parent / "docs" / "checks.md"
BEGIN, END = "<!-- items: written by python -m tests.checks_page -->", "<!-- end of items -->"


def listing() -> str:
    """Return the tables of all items, group by group."""
    lines = []
    group = ""
    for info in all_items():
        if info.group != group:
            group = info.group
            lines += ["", f"### {group}", "", "| code | item | looks at | |", "|---|---|---|---|"]
        lines.append(f"| `{info.code}` | {info.title} | {info.looks_at} | {_marks(info)} |")
    return "\n".join([*lines, ""])


def _marks(info: CheckInfo) -> str:
    marks = {
        "per database": info.per_database,
        "incremental sync only": info.incremental_only,
        "again before Complete": info.code in BEFORE_COMPLETE,
    }
    return ", ".join(words for words, holds in marks.items() if holds)


def with_listing(page: str) -> str:
    """Return the page with the list as the registry has it now."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{listing()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_listing(PAGE.read_text()))
