"""Addresses are judged before anything is dialled."""

from __future__ import annotations

import pytest

from migrations_app.engine.diagnose import refuse_bad_address
from migrations_app.engine.errors import PlanError


@pytest.mark.parametrize(
    "host", ["db.example.com", "192.0.2.10", "::1", "fe80::1%eth0", "localhost", "DB-1", "пример.рф", "a_b.c"]
)
def test_an_ordinary_host_is_accepted(host: str) -> None:
    refuse_bad_address(host, 5432)


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "a b",
        "a\n",
        "a\x00b",
        "a,b",
        "good,127.0.0.1",
        "/var/run/postgresql",
        "@abstract",
        "http://db",
        "db:5432",
        "2130706433",
        "127.1",
        "0",
        "0x7f000001",
        "0x7f.1",
        "256.1.1.1",
        "x" * 254,
        "a\u200bb",
    ],
)
def test_what_is_not_one_host_is_refused(host: str) -> None:
    with pytest.raises(PlanError) as caught:
        refuse_bad_address(host, 5432)
    assert caught.value.code == "ADDRESS-BAD"
    assert caught.value.hint


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_an_impossible_port_is_refused(port: int) -> None:
    with pytest.raises(PlanError, match="does not exist"):
        refuse_bad_address("localhost", port)
