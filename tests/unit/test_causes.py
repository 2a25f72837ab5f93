"""Refusals are told apart by SQLSTATE and kind of object, in whatever language the server speaks."""

from __future__ import annotations

import pytest

from migrations_app.engine import causes

CASES = [
    ("0A000", "EXTENSION", causes.EXTENSION),
    ("58P01", "EXTENSION", causes.EXTENSION),
    ("58P01", "FUNCTION", causes.LIBRARY),
    ("42704", "POLICY", causes.ROLE),
    ("42704", "ACL", causes.ROLE),
    ("42704", "TABLE", causes.OBJECT),
    ("42704", "COLLATION", causes.COLLATION),
    ("22023", "COLLATION", causes.COLLATION),
    ("42501", "EVENT TRIGGER", causes.RIGHT),
    ("42P01", "VIEW", causes.OBJECT),
    ("42601", "VIEW", causes.VERSION),
    ("23503", "FK CONSTRAINT", causes.ROWS),
    ("42P07", "INDEX", causes.EXISTS),
    ("54000", "INDEX", causes.LIMIT),
    ("XX000", "INDEX", causes.UNKNOWN),
    ("", "INDEX", causes.UNKNOWN),
]


@pytest.mark.parametrize(("state", "kind", "wanted"), CASES)
def test_a_refusal_has_a_cause(state: str, kind: str, wanted: causes.Cause) -> None:
    assert causes.cause_of(state, kind) is wanted


def test_every_cause_says_what_to_do() -> None:
    known = [value for value in vars(causes).values() if isinstance(value, causes.Cause)]
    assert len(known) == len({cause.label for cause in known}) == 11
    assert all(cause.hint.endswith(".") for cause in known)
