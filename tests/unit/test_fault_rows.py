"""What the report on faults takes from other rooms is there: a test that moves must not lose its row without a word."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.faults.rows import ELSEWHERE, ROWS

HERE = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_each_test_that_shows_a_row_is_where_the_report_looks_for_it(name: str) -> None:
    tests = {node.name for node in ast.walk(ast.parse((HERE / name).read_text())) if isinstance(node, ast.FunctionDef)}
    assert ELSEWHERE[name].keys() - tests == set()
    assert {row for row, _ in ELSEWHERE[name].values()} <= ROWS.keys()
