"""Every check item whose words speak of a restart says so to the page as well, and those that say so have the words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.engine import checks
from migrations_app.engine.checks import all_items
from migrations_app.engine.plan import Side

ROOM = Path(checks.__file__).parent
NO_RESTART = ("nothing has to be restarted",)


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Each function of the room that returns findings."""
    for path in sorted(ROOM.glob("*.py")):
        if path.name != "fixes.py":
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef):
                    yield f"{path.name}: {node.name}", node


def words(node: ast.AST) -> str:
    """The texts inside, without docstrings."""
    docstrings = {
        id(one.body[0].value)
        for one in ast.walk(node)
        if isinstance(one, ast.FunctionDef) and isinstance(one.body[0], ast.Expr)
    }
    texts = [
        one.value
        for one in ast.walk(node)
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and id(one) not in docstrings
    ]
    text = "\n".join(texts)
    for harmless in NO_RESTART:
        text = text.replace(harmless, "")
    return text


def told(node: ast.AST) -> bool:
    """Whether a finding inside carries needs_restart, or is about one that does."""
    keywords = [one for one in ast.walk(node) if isinstance(one, ast.keyword) and one.arg == "needs_restart"]
    said = [one for one in keywords if not (isinstance(one.value, ast.Constant) and one.value.value is False)]
    asked = [one for one in ast.walk(node) if isinstance(one, ast.Attribute) and one.attr == "needs_restart"]
    return bool(said or asked)


@pytest.mark.parametrize(("name", "node"), list(functions()), ids=lambda value: value if isinstance(value, str) else "")
def test_words_about_a_restart_carry_its_badge(name: str, node: ast.FunctionDef) -> None:
    assert "restart" not in words(node) or told(node), name


def test_the_badge_names_one_server() -> None:
    sides = {info.code: info.restarted for info in all_items()}
    assert sides["wal-level"] is Side.SOURCE
    assert sides["extension-preload"] is Side.TARGET
    assert sides["target-connections"] is Side.TARGET
