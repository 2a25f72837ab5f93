"""Refused settings of a database are told without their values: applications keep passwords in their own settings."""

from __future__ import annotations

import pytest

from migrations_app.engine.target_database import _without_value


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (b"ALTER DATABASE shop SET app.key TO 'canary';", "ALTER DATABASE shop SET app.key TO ..."),
        (b'ALTER DATABASE shop SET "App"."k ey" TO \'canary\';', 'ALTER DATABASE shop SET "App"."k ey" TO ...'),
        (b"ALTER ROLE app IN DATABASE shop SET search_path TO 'a', 'b';", None),
        (b"COMMENT ON DATABASE shop IS 'TO be kept';", "COMMENT ON DATABASE shop IS 'TO be kept';"),
    ],
)
def test_the_value_is_left_out_and_everything_else_is_told(statement: bytes, told: str | None) -> None:
    assert _without_value(statement) == (told or "ALTER ROLE app IN DATABASE shop SET search_path TO ...")
    assert "canary" not in _without_value(statement)
