"""Each message that tells of trouble says what to do next."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app import services
from migrations_app.engine import diagnoses, next_actions
from migrations_app.engine.errors import EngineError, SchemaChanged, SourceError
from migrations_app.engine.wording import as_data

APP = Path(services.__file__).parents[1]
ROOMS = ("engine", "runner", "services", "sources")
CODE = re.compile(r"(\{\}|[A-Z][A-Z0-9]*)(-[A-Z0-9]+)+")
NO_CODES = {"SCRAM-SHA-256"}
OF_A_SIDE = ("SRC", "DST")  # what stands for {} in a code that either side can have


def _codes() -> Iterator[str]:
    for room in ROOMS:
        for path in sorted((APP / room).rglob("*.py")):
            if path.stem == "next_actions":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value):
                    yield from (node.value.format(side) for side in OF_A_SIDE)


CODES = set(_codes()) - NO_CODES
DIAGNOSED = {code: hint for code, _, hint, _ in (*diagnoses.WALK.values(), *diagnoses.STATES.values())}


def test_there_are_codes_to_look_at() -> None:
    assert len(CODES) > 100
    assert {"SRC-DDL", "ROW-TOOBIG", "CANCEL-LEFT", "DST-FULL"} <= CODES


def test_no_code_is_without_a_next_action_or_the_word_that_nothing_is_to_be_done() -> None:
    assert CODES - next_actions.NEXT.keys() - next_actions.SAID - DIAGNOSED.keys() == set()


def test_no_next_action_is_for_a_code_that_nobody_uses() -> None:
    assert (next_actions.NEXT.keys() | next_actions.SAID) - CODES == set()
    assert next_actions.NEXT.keys() & next_actions.SAID == set()


@pytest.mark.parametrize("code", sorted(CODES - next_actions.SAID))
def test_a_next_action_is_a_whole_sentence(code: str) -> None:
    told = next_actions.NEXT.get(code) or DIAGNOSED[code]
    assert told[0].isupper()
    assert told.endswith(".")


def test_an_error_without_a_hint_tells_the_next_action_of_its_code() -> None:
    assert SchemaChanged("Table app.orders changed.").hint == next_actions.NEXT["SRC-DDL"]
    error = SourceError("The source sent nonsense.", code="SRC-PROTOCOL")
    assert error.hint == next_actions.NEXT["SRC-PROTOCOL"]
    assert "hint" in as_data(hint=error.hint), "so that pages tell it in other languages"


def test_a_hint_of_its_own_comes_first() -> None:
    assert EngineError("No.", hint="Do this.", code="SRC-DDL").hint == "Do this."


def test_what_is_tried_again_by_itself_asks_for_nothing() -> None:
    assert EngineError("No.", code="SRC-DDL", retryable=True).hint == ""
