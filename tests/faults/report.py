"""Prints "N of N" after `make test-faults`, and writes what was done, expected and seen to the file that it is told.

A plugin: `-p tests.faults.report`. TOWPATH_FAULTS_REPORT names the file; without it only the summary is printed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.faults.rows import ELSEWHERE, ROWS


@dataclass
class _Seen:
    """What came of one test."""

    row: str
    did: str
    outcome: str
    seconds: float
    seed: str = ""
    seen: list[str] = field(default_factory=list)


_found: dict[str, _Seen] = {}
_sabotages: dict[str, str] = {}  # by name: how the proof that it is noticed ended


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what other rooms show before `-m` selects."""
    here = Path(__file__).parents[1]
    for item in items:
        of_file = ELSEWHERE.get(item.path.relative_to(here).as_posix(), {})
        if known := of_file.get(getattr(item, "originalname", item.name)):
            item.add_marker(pytest.mark.fault(*known))
        for mark in item.iter_markers("fault"):
            row, did = mark.args
            assert row in ROWS, f"{item.nodeid}: no row {row} in the fault matrix"
            item.user_properties += [("row", row), ("did", did)]  # these reach the process that writes the report
            item.user_properties.append(("seed", _seed(item, here)))
        if item.path.name == "test_sabotages.py":
            item.user_properties.append(("sabotage", item.name))


def _seed(item: pytest.Item, here: Path) -> str:
    """Return what decides the chances of a test: a seed of its own, that of the faults, or that of the whole run."""
    called = getattr(item, "callspec", None)
    if called is not None and "seed" in called.params:
        return str(called.params["seed"])
    if item.path.is_relative_to(here / "faults") or hasattr(getattr(item, "module", None), "SEED"):
        return os.environ.get("TOWPATH_SEED", "1")
    return f"--randomly-seed={item.config.getoption('randomly_seed', 0)}"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    told = dict(report.user_properties)
    if "sabotage" in told and (report.when == "call" or report.outcome != "passed"):
        _sabotages[str(told["sabotage"])] = report.outcome
    if "row" not in told or (report.when != "call" and report.outcome == "passed"):
        return
    row, did = str(told["row"]), str(told["did"])
    case = report.nodeid.partition("[")[2].rstrip("]")
    known = _found.setdefault(report.nodeid, _Seen(row, did + (f" ({case})" if case else ""), "passed", 0.0))
    known.seconds += report.duration
    known.seed = str(told.get("seed", ""))
    known.seen += [str(value) for name, value in report.user_properties if name == "seen" and report.when == "call"]
    if report.outcome != "passed":
        known.outcome = report.outcome
        known.seen = [str(report.longrepr[2])] if isinstance(report.longrepr, tuple) else known.seen


Line = tuple[str, str, str, str, str, str]
"""Row, what was done, expected, seen, seed, seconds."""


def _lines() -> dict[tuple[str, str], Line]:
    lines = {}
    for one in _found.values():
        seen = "; ".join(one.seen).replace("|", "/").replace("\n", " ") or "as expected"
        words = {"passed": seen, "failed": "FAILED", "skipped": f"skipped: {seen}"}[one.outcome]
        lines[one.row, one.did] = (one.row, one.did, ROWS[one.row][1], words[:300], one.seed, f"{one.seconds:.0f}")
    return lines


def _known(path: Path) -> dict[tuple[str, str], Line]:
    """Return the lines of an earlier report."""
    lines = {}
    for text in path.read_text().splitlines() if path.exists() else ():
        cells = [cell.strip() for cell in text.strip("| ").split(" | ")]
        if len(cells) == 6 and cells[0] in ROWS:
            row, did, expected, seen, seed, seconds = cells
            lines[row, did] = (row, did, expected, seen, seed, seconds)
    return lines


def _summary(lines: dict[tuple[str, str], Line]) -> tuple[str, str]:
    """Return "N of N" and which rows no test shows."""
    failed = [line for line in lines.values() if line[3] == "FAILED"]
    skipped = [line for line in lines.values() if line[3].startswith("skipped: ")]
    shown = {line[0] for line in lines.values() if line not in skipped} - {line[0] for line in failed}
    ran = len(lines) - len(skipped)
    summary = f"{ran - len(failed)} of {ran} passed, {len(skipped)} skipped; {len(shown)} of {len(ROWS)} rows shown"
    return summary, ", ".join(f"{row} ({what})" for row, (what, _) in ROWS.items() if row not in shown)


def _groups(lines: dict[tuple[str, str], Line]) -> Iterator[tuple[str, str]]:
    """Return the rows of each kind of fault: how many of how many were shown, and which ones were not."""
    ran = [line for line in lines.values() if not line[3].startswith("skipped: ")]
    shown = {line[0] for line in ran} - {line[0] for line in ran if line[3] == "FAILED"}
    for letter, name in _GROUPS.items():
        rows = [row for row in ROWS if row.startswith(letter)]
        missing = [row for row in rows if row not in shown]
        yield (
            f"{letter} ({name})",
            f"{len(rows) - len(missing)} of {len(rows)}" + (f", not {', '.join(missing)}" * bool(missing)),
        )


_GROUPS = {"A": "processes", "B": "source", "C": "target", "N": "network", "O": "operators"}


def _sabotaged(known: str) -> str:
    """Return how many sabotages of the engine were noticed; `known`: what an earlier report said."""
    caught = sum(1 for outcome in _sabotages.values() if outcome == "passed")
    return f"{caught} of {len(_sabotages)} sabotages caught" if _sabotages else known


def _known_sabotages(path: Path) -> str:
    found = re.search(r"\d+ of \d+ sabotages caught", path.read_text()) if path.exists() else None
    return found.group() if found else "sabotages not run"


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if not (_found or _sabotages) or hasattr(config, "workerinput"):
        return
    lines = _lines()
    path = Path(os.environ.get("TOWPATH_FAULTS_REPORT", ""))
    sabotaged = "sabotages not run"
    if path.name and (config.option.keyword or config.args_source is not pytest.Config.ArgsSource.TESTPATHS):
        lines = {**_known(path), **lines}  # a part of the tests replaces its own lines only
        sabotaged = _known_sabotages(path)
    summary, missing = _summary(lines)
    summary += f"; {_sabotaged(sabotaged)}"
    terminalreporter.write_line(f"faults: {summary}")
    for group, count in _groups(lines):
        terminalreporter.write_line(f"  {group}: {count}")
    if missing:
        terminalreporter.write_line(f"not shown: {missing}")
    if path.name:
        path.write_text("\n".join(_page(lines, summary, missing)))


def _page(lines: dict[tuple[str, str], Line], summary: str, missing: str) -> Iterator[str]:
    yield from [
        "# Faults",
        "",
        "Written by `make test-faults`. Each line is one run of one fault: what was done, what the product must do,",
        "what was seen. What concerns servers and lines meets real ones; clocks, stale forms, the order of the queue",
        "and a few more meet the console and its database alone. Where a task goes on to its end, every row is",
        "compared there. The seed decides what is left to chance: `TOWPATH_SEED` repeats it, or the option of pytest",
        "that stands there.",
        "",
        f"{summary}.",
        "",
        "| faults | rows shown |",
        "|---|---|",
    ]
    yield from (f"| {group} | {count} |" for group, count in _groups(lines))
    yield from ["", "| row | done | expected | seen | seed | seconds |", "|---|---|---|---|---|---|"]
    order = list(ROWS)
    for line in sorted(lines.values(), key=lambda one: (order.index(one[0]), one[1])):
        yield "| " + " | ".join(line) + " |"
    yield from ["", f"Not shown: {missing or 'nothing'}.", ""]
