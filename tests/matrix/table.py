"""docs/compatibility.md: the results of the matrix, written by its runs. A run of some pairs leaves the others."""

# ruff: noqa: E501 - lines of a page

from __future__ import annotations

import fcntl
import re
from dataclasses import dataclass
from pathlib import Path

from tests.servers import MAJORS

_HEAD = """# Compatibility

What a migration between two versions of PostgreSQL carries, as proved by running it. This page is written by `make test-matrix`; a run of
some pairs (`make test-matrix ARGS="-k 10-to-18"`) replaces their lines; `ARGS="-n 3"` runs three pairs at a time.

Each pair is a run of `task run` on real servers of both versions: the demo's shop, a database with one of each kind of object, name and type
that is known to make trouble, and one in LATIN1, all three written to until the target has caught up and a while longer. After *Complete* every row
and every definition of both sides is compared by a program that shares no line with the product; owners and grants too.

The structure comparison that a run makes by itself is held against the shop and the same database of oddities, from 9.3, 9.5, 9.6 and 10 to 13 and
18 (`tests/matrix/test_structures.py`): nothing that arrived is told as different; each of some forty kinds of damage to the target is told by its name, and the
statements that it gives mend what they are for.

*Changes* are the transactions that the applications committed meanwhile. *Left out* counts what the older server does not know, listed below.

| source | target | mode | result | seconds | tables | changes | left out | seed | date |
|---|---|---|---|---|---|---|---|---|---|
"""
_LISTS = "\n## Left out, by version of the source\n"
_ROW = re.compile(r"^\| (?P<source>[\d.]+)[^|]* \| (?P<target>[\d.]+)[^|]* \|.*$", re.MULTILINE)
_LIST = re.compile(r"^### PostgreSQL (?P<version>[\d.]+)\n(?P<text>.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Result:
    """What came of one pair."""

    source: str
    target: str
    mode: str
    result: str
    seconds: float
    tables: int
    changes: int
    left_out: int
    seed: int
    date: str
    numbers: tuple[str, str] = ("", "")
    """The full version numbers of both servers."""

    def line(self) -> str:
        """Return the row of the table."""
        names = [f"{major} ({number})" if number else major for major, number in zip((self.source, self.target), self.numbers, strict=True)]  # fmt: skip
        values = (self.mode, self.result.replace("|", "\\|"), round(self.seconds), self.tables, f"{self.changes:,}")
        return f"| {' | '.join(map(str, (*names, *values, self.left_out, self.seed, self.date)))} |"


class Table:
    """The page; every `add` writes it anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, result: Result, left_out: list[str]) -> None:
        """Replace the line of this pair and the list of its source's version. Several runs may do so at once."""
        with self._path.parent.joinpath(f".{self._path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._add(result, left_out)

    def _add(self, result: Result, left_out: list[str]) -> None:
        text = self._path.read_text() if self._path.exists() else ""
        head, _, lists = text.partition(_LISTS)
        rows = {(row["source"], row["target"]): row[0] for row in _ROW.finditer(head)}
        rows[result.source, result.target] = result.line()
        named = {found["version"]: found["text"].strip() for found in _LIST.finditer(lists)}
        if left_out:
            named[result.source] = "\n".join(f"- `{_plain(one)}`" for one in left_out)
        page = _HEAD + "\n".join(rows[pair] for pair in sorted(rows, key=_order)) + "\n" + _LISTS
        for version in sorted(named, key=MAJORS.index):
            page += f"\n### PostgreSQL {version}\n\n{named[version]}\n"
        self._path.write_text(page)


def _order(pair: tuple[str, str]) -> tuple[int, int]:
    return MAJORS.index(pair[0]), MAJORS.index(pair[1])


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text.replace("`", "'"))
