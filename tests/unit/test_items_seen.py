"""The end of a run of all of tests/postgres: it fails when an item of the check was not seen passed and not passed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from migrations_app.engine.checks import all_items
from tests.installation import ROOT
from tests.items_seen import ELSEWHERE, FOUND, PASSED, faults_of

_CONFTEST = """
from pathlib import Path
from tests.items_seen import ItemsSeen

def pytest_configure(config):
    plugin = ItemsSeen(Path(__file__).parent / "postgres", ["wal-level", "rules"], {})
    config.pluginmanager.register(plugin, "of-the-test")
"""
_TEST = """
import pytest
@pytest.mark.parametrize("code, status", {results!r})
def test_it(code, status, pytestconfig):
    pytestconfig.pluginmanager.get_plugin("of-the-test").note(code, status)
"""
_WAL = [("wal-level", "passed"), ("wal-level", "failed")]
_ALONE: list[str] = []
_FOUR = ["-n", "2", "--dist", "loadfile"]


def _run(folder: Path, rules: list[tuple[str, str]], more: list[str], *, mark: str = "") -> tuple[int, str]:
    """Run a small suite: two files, one for each item, and one with a mark. Returns exit code and what it printed."""
    (folder / "postgres").mkdir(exist_ok=True)
    (folder / "conftest.py").write_text(_CONFTEST)
    for name, results in (("wal", _WAL), ("rules", rules)):
        (folder / "postgres" / f"test_{name}.py").write_text(_TEST.format(results=results))
    if mark:
        (folder / "postgres" / "test_more.py").write_text(f"import pytest\n@pytest.mark.{mark}\ndef test_it(): pass\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(folder)]
    done = subprocess.run(
        [*command, *more, str(folder)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.sample(1)
@pytest.mark.parametrize("processes", [_ALONE, _FOUR], ids=["plain", "xdist"])
def test_a_whole_run_in_which_every_item_was_seen_both_ways_passes(processes: list[str], tmp_path: Path) -> None:
    code, said = _run(tmp_path, [("rules", "passed"), ("rules", "warning")], processes)
    assert (code, "4 passed" in said, "never seen" in said) == (0, True, False), said


@pytest.mark.sample(1)
@pytest.mark.parametrize("processes", [_ALONE, _FOUR], ids=["plain", "xdist"])
def test_a_whole_run_that_did_not_see_an_item_fail_fails_and_names_it(processes: list[str], tmp_path: Path) -> None:
    code, said = _run(tmp_path, [("rules", "passed")], processes)
    assert (code, "3 passed" in said) == (1, True), said
    assert "rules: never seen failed or warning on a real server" in said
    assert "wal-level: " not in said


@pytest.mark.sample(1)
@pytest.mark.parametrize("part", [["-k", "wal"], ["--deselect", "postgres/test_rules.py"], ["--collect-only"]], ids=str)
def test_a_part_of_the_tests_is_not_judged(part: list[str], tmp_path: Path) -> None:
    code, said = _run(tmp_path, [("rules", "passed")], part)
    assert (code, "never seen" in said) == (0, False), said


def test_a_run_with_skipped_tests_is_not_judged_and_says_so(tmp_path: Path) -> None:
    code, said = _run(tmp_path, [("rules", "passed")], _FOUR, mark="skip")
    assert (code, "Items of the check are not judged: 1 tests were skipped." in said) == (0, True), said


@pytest.mark.sample(1)
@pytest.mark.parametrize("mark", ["slow", "long"])
def test_a_run_without_the_long_tests_is_judged_also_when_a_file_has_no_others(mark: str, tmp_path: Path) -> None:
    code, said = _run(tmp_path, [("rules", "passed")], [*_FOUR, "-m", f"not {mark}"], mark=mark)
    assert (code, "3 passed" in said, "rules: never seen failed or warning" in said) == (1, True, True), said


def test_what_is_listed_as_impossible_and_seen_all_the_same_has_to_leave_the_list() -> None:
    seen = {("a", PASSED), ("a", FOUND)}
    assert faults_of(["a"], seen, {("a", FOUND): "x"}) == [f"a: was seen {FOUND}, take it off the list ELSEWHERE"]
    assert faults_of(["a"], seen, {("b", FOUND): "x"}) == ["b: stands in the list ELSEWHERE and is no item"]


def test_every_item_that_no_real_server_shows_has_a_reason() -> None:
    assert {code for code, _ in ELSEWHERE} <= {info.code for info in all_items()}
    assert all(reason.strip() for reason in ELSEWHERE.values())
