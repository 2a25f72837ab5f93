"""Every item of the check is shown by tests to pass, and to find what it looks for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.engine.checks import all_items

_TESTS = Path(__file__).resolve().parents[1]
_SIDES = ("source", "target")


def _words(node: ast.AST) -> Iterator[str]:
    """Yield the texts of a test; what is put together with {side} counts for either side."""
    for one in ast.walk(node):
        if isinstance(one, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in one.values]
            yield from ("".join(map(str, parts)).replace("{}", side) for side in _SIDES)
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value


def _tests() -> list[set[str]]:
    """Return the texts of every test function, its parameters' included."""
    found = []
    for folder in ("postgres", "matrix"):
        for file in (_TESTS / folder).glob("test_*.py"):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            found += [
                set(_words(one)) for one in tree.body if isinstance(one, ast.FunctionDef) and one.name[:5] == "test_"
            ]
    return found


_FOUND = _tests()


@pytest.mark.parametrize("code", [info.code for info in all_items()])
def test_an_item_is_shown_passed_and_not_passed(code: str) -> None:
    told = set().union(*(words for words in _FOUND if code in words))
    assert "passed" in told, f"no test of a real server shows {code} passed"
    assert told & {"failed", "warning"}, f"no test of a real server shows {code} failed or as a warning"
