"""What travels in binary from a server that counts time in floating point, which some were built to do before 10."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from migrations_app.engine.binary_forms import may_travel, read_binary_forms

_TIMES = {"time": 1083, "timestamp": 1114, "timestamptz": 1184, "interval": 1186, "timetz": 1266}
_MOMENTS = 1115
_SPAN, _STAY, _DAY = 3908, 20001, 20002
_OTHERS = {"date": 1082, "int4": 23, "text": 25, "abstime": 702, "reltime": 703}
_ROWS = [
    *((oid, "b", name, True, None, None) for name, oid in (_TIMES | _OTHERS).items()),
    (_MOMENTS, "b", "_timestamp", True, 1114, None),
    (_SPAN, "r", "tsrange", True, 1114, None),
    (_STAY, "c", "stay", True, None, [23, 1184]),
    (_DAY, "d", "day", True, 1186, None),
]


def forms(status: str | None, version: int = 90305) -> dict[int, str]:
    """Return the forms of a server that reports this of `integer_datetimes` at the login."""
    info = SimpleNamespace(server_version=version, parameter_status=lambda name: {"integer_datetimes": status}[name])
    connection = SimpleNamespace(info=info, execute=lambda *_: SimpleNamespace(fetchall=lambda: _ROWS))
    return read_binary_forms(cast(Any, connection))


def sent(source: dict[int, str], target: dict[int, str]) -> set[int]:
    return {oid for oid in source if may_travel(source[oid], target[oid])}


@pytest.mark.parametrize("status", ["off", None], ids=["off", "not-told"])
def test_times_in_floating_point_go_as_text_and_so_does_what_holds_them(status: str | None) -> None:
    assert sent(forms(status), forms("on", 180000)) == set(_OTHERS.values())


def test_times_in_whole_numbers_go_in_binary() -> None:
    assert sent(forms("on"), forms("on", 180000)) == {row[0] for row in _ROWS}


def test_servers_since_10_have_no_other_form_whatever_stands_between_tells() -> None:
    assert sent(forms("on", 100000), forms(None, 180000)) == {row[0] for row in _ROWS}
