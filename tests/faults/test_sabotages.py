"""The tests themselves under test: without one of the engine's promises, the tests of that promise must fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.sabotage import SABOTAGES

ROOT = Path(__file__).parents[2]


def outcome(node: str, sabotage: str = "") -> tuple[int, str]:
    """Run one test, with or without a sabotage; return pytest's exit code and the end of what it printed."""
    environment = {**os.environ, "TOWPATH_SABOTAGE": sabotage}
    environment.pop("PYTEST_ADDOPTS", None)
    command = (sys.executable, "-m", "pytest", "-q", "-p", "tests.faults.sabotage")
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider", "-p", "no:randomly", node],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_broken_promise_is_noticed(sabotage: str) -> None:
    _damage, node = SABOTAGES[sabotage]
    whole, said = outcome(node)
    assert whole == 0, said  # or its failure would say nothing
    broken, said = outcome(node, sabotage)
    assert broken == 1, said
    assert re.search(r"^[1-9][0-9]* failed", said, re.MULTILINE), said
