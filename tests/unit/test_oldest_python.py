"""What the first releases of Python 3.11 do wrongly, which Debian 12 brings, is not used."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import console
import migrations_app

# The parser of `re` has no public name; what it returns has been of this form since Python 3.11.
_parser = importlib.import_module("re._parser")


def _patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    for package in (console, migrations_app):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                if isinstance(value, re.Pattern):
                    yield f"{found.name}.{name}", value


def _is_possessive(pattern: str | bytes) -> bool:
    return "POSSESSIVE_REPEAT" in repr(_parser.parse(pattern))


def test_no_pattern_has_a_possessive_quantifier() -> None:
    patterns = dict(_patterns())
    assert "migrations_app.engine.replication.test_decoding._COLUMN" in patterns
    assert [name for name, pattern in patterns.items() if _is_possessive(pattern.pattern)] == []


@pytest.mark.parametrize("pattern", ["a*+", "(a?+)", b"(?:a|b)++", "(?=a{2,3}+)"])
def test_a_possessive_quantifier_is_seen(pattern: str | bytes) -> None:
    assert _is_possessive(pattern)
