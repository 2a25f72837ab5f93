"""docs/proofs.md names tests that exist, and leaves no row without one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.matrix.torture import pieces

_TESTS = Path(__file__).resolve().parents[1]
_PAGE = (_TESTS.parent / "docs" / "proofs.md").read_text()
_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
_ROWS = {f"D{number}" for number in range(1, 26)}
_PROMISES = {f"I{number}" for number in range(1, 9)}
_PAINS = {f"P{number}" for number in (2, 4, 5, *range(11, 18), 19, 20, 22, 23, 24, 32, 36, 38, 41)}


@cache
def _tests_of(file: str) -> frozenset[str]:
    tree = ast.parse((_TESTS / file).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize(("file", "test"), sorted(set(_NAMED.findall(_PAGE))))
def test_a_named_test_exists(file: str, test: str) -> None:
    assert test.startswith("test_")
    assert test in _tests_of(file)


def test_every_row_names_tests() -> None:
    rows = {line.split("|")[1].strip(): line for line in _PAGE.splitlines() if re.match(r"\| [DIP]\d", line)}
    assert rows.keys() == _ROWS | _PROMISES | _PAINS
    assert [row for row, line in rows.items() if not _NAMED.search(line)] == ["D25"]  # its tests have a table


def test_a_row_that_speaks_of_pieces_has_some() -> None:
    names = " ".join(piece.name for piece in pieces())
    for line in _PAGE.splitlines():
        if found := re.match(r"\| (D\d+) \|.*\| pieces;", line):
            assert re.search(rf"\b{found[1]}\b", names), found[1]
