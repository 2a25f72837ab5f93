"""Whether each item of the check was seen to pass, and to find what it looks for, on a real server.

Tests of `tests/postgres` note what the items found that they ask for by name (the fixture is in their conftest). A run
of the whole folder fails when an item was never seen passed, or never seen failed or as a warning. A part of the
folder, or a run in which tests were skipped or failed, proves nothing about the rest and is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

NAME = "items-seen"
ROOM = Path(__file__).resolve().parent / "postgres"
PASSED, FOUND = "passed", "failed or warning"
_TOO_OLD_OR_NEW = "no such server is among those of `make test`; an impostor in test_checks_connection says the version"
_FAULTY = "binaries with known faults are not kept; an impostor in test_checks_around says their version"
ELSEWHERE: Mapping[tuple[str, str], str] = {
    ("source-version", FOUND): _TOO_OLD_OR_NEW,
    ("target-version", FOUND): _TOO_OLD_OR_NEW,
    ("source-minor-version", FOUND): _FAULTY,
    ("target-minor-version", FOUND): _FAULTY,
    ("logical-decoding", FOUND): "PostgreSQL 9.3 is looked at by `make test-matrix`; here an impostor says its version",
}
"""What no server of `make test` can show: item and result, and the reason."""

Seen = set[tuple[str, str]]


def faults_of(codes: Iterable[str], seen: Seen, elsewhere: Mapping[tuple[str, str], str]) -> list[str]:
    """Return a line for each result that nobody saw, and for each listed one that was seen or belongs to no item."""
    wanted = {(code, result) for code in codes for result in (PASSED, FOUND)}
    unseen = [f"{code}: never seen {result} on a real server" for code, result in wanted - seen - set(elsewhere)]
    surplus = [f"{code}: was seen {result}, take it off the list ELSEWHERE" for code, result in seen & set(elsewhere)]
    unknown = [f"{code}: stands in the list ELSEWHERE and is no item" for code, _ in set(elsewhere) - wanted]
    return sorted(unseen + surplus + unknown)


class ItemsSeen:
    """Gathers what was seen in every process of a run, and judges it in the one that began the run."""

    def __init__(
        self,
        room: Path = ROOM,
        codes: Iterable[str] | None = None,
        elsewhere: Mapping[tuple[str, str], str] = ELSEWHERE,
    ) -> None:
        self.room, self.elsewhere = room, elsewhere
        self.seen: Seen = set()
        self.left_out: set[str] = set()
        """Tests and files of the room that this run has nothing to say about."""
        self.apart: set[Path] = set()
        """Files with long tests that were not asked for: `make test` is a whole run without them."""
        self.skipped: set[str] = set()
        self.faults: list[str] = []
        self._codes = codes

    def note(self, code: str, status: str) -> None:
        """Remember a result of an item."""
        self.seen.add((code, PASSED if status == PASSED else FOUND))

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        for item in items:
            if any(map(item.get_closest_marker, ("slow", "long"))):
                self.apart.add(item.path)
            elif self.room in item.path.parents:
                self.left_out.add(item.nodeid)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        files = {item.path for item in session.items} | self.apart
        self.left_out |= {path.name for path in self.room.rglob("test_*.py") if path not in files}
        self.left_out |= {word for word in session.config.args if "::" in word}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and self.room.name in report.nodeid.split("/"):
            self.skipped.add(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A process of pytest-xdist ended: take over what it saw. One that broke off has told nothing."""
        told = getattr(node, "workeroutput", {}).get(NAME, {"seen": [], "left_out": [f"all of {node.gateway.id}"]})
        self.seen |= {(code, result) for code, result in told["seen"]}
        self.left_out |= set(told["left_out"])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[NAME] = {"seen": sorted(self.seen), "left_out": sorted(self.left_out)}
        elif exitstatus == pytest.ExitCode.OK and not (
            self.left_out or self.skipped or session.config.option.collectonly
        ):
            self.faults = faults_of(self._items(), self.seen, self.elsewhere)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED if self.faults else exitstatus

    def _items(self) -> Iterable[str]:
        from migrations_app.engine.checks import all_items

        return {info.code for info in all_items()} if self._codes is None else self._codes

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.faults:
            terminalreporter.section(f"items of the check that {self.room.name} does not show", red=True)
        for line in self.faults:
            terminalreporter.line(line, red=True)
        if self.skipped and not self.left_out:
            terminalreporter.line(f"Items of the check are not judged: {len(self.skipped)} tests were skipped.")
