"""What the start of a command costs: nothing is imported or looked at that it does without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from django.core.management import get_commands

from tests.installation import Installation

ROOT = Path(__file__).resolve().parents[2]

_SPARED = ("yaml", "pydoc", "django_q.cluster", "asyncssh", "heroicons", "migrations_app.runner.asking")


def _loaded(tmp_path: Path, names: tuple[str, ...], *needed: str) -> list[str]:
    """Return which of `names` are imported where the command `task` and `needed` are."""
    code = f"""
import sys
from importlib import import_module
from django.core.management import load_command_class
load_command_class("migrations_app", "task")
for name in {needed!r}:
    import_module(name)
print(*(name for name in {names!r} if name in sys.modules))
"""
    return Installation(tmp_path).shell(code).split()


def test_a_run_is_ready_without_what_only_pages_and_the_queue_need(tmp_path: Path) -> None:
    assert _loaded(tmp_path, _SPARED, "migrations_app.management.cli.foreground") == []


def test_what_drives_a_task_is_loaded_for_that_alone(tmp_path: Path) -> None:
    assert _loaded(tmp_path, ("migrations_app.runner", "migrations_app.engine.executor")) == []


def test_garbage_is_looked_for_in_what_a_command_makes_and_not_in_what_it_imported(tmp_path: Path) -> None:
    code = "import gc; print(gc.isenabled(), gc.get_freeze_count() > 50_000)"
    assert Installation(tmp_path).shell(code).split() == ["True", "True"]


def test_the_command_that_runs_the_queue_is_ours() -> None:
    assert get_commands()["qcluster"] == "migrations_app"


def test_a_command_whose_output_nobody_reads_any_more_ends_without_a_word(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(ROOT / "manage.py"), "task", "list"]
    with os.fdopen(writer) as output:
        environment = Installation(tmp_path).environment
        ended = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, env=environment, check=False)
    assert (ended.returncode, ended.stderr) == (1, b"")
