"""The hooks before a commit and before a push are the gates of `make lint`, and download nothing."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.installation import ROOT

_CONFIG = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
_HOOKS: list[dict[str, Any]] = [hook for repo in _CONFIG["repos"] for hook in repo["hooks"]]


def _gates() -> list[str]:
    """Return the commands of `make gates`, as a shell gets them."""
    recipe = (ROOT / "Makefile").read_text().partition("\ngates:\n")[2].partition("\n\n")[0]
    lines = [line.strip().removesuffix("\\").strip().removesuffix(";") for line in recipe.splitlines()]
    return [line.replace("$(PY)", ".venv/bin/python") for line in lines if not line.startswith("@")]


def test_every_gate_is_a_hook_and_every_hook_a_gate() -> None:
    gates = _gates()
    assert len(gates) == len(_HOOKS) >= 7
    for hook in _HOOKS:
        assert [gate for gate in gates if hook["entry"] in gate], f"`make gates` has no {hook['entry']}"
    for gate in gates:
        assert [hook for hook in _HOOKS if hook["entry"] in gate], f"no hook for {gate}"


@pytest.mark.parametrize("hook", _HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_runs_what_is_installed_here(hook: dict[str, Any]) -> None:
    assert hook["language"] == "system"
    assert (ROOT / hook["entry"].split()[0]).exists()


def test_no_hook_comes_from_elsewhere() -> None:
    assert [repo["repo"] for repo in _CONFIG["repos"]] == ["local"]
