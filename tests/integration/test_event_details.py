"""The details of an event as people read them: names and lines, never what a program would print."""

from __future__ import annotations

from typing import Any

import pytest

from console.templatetags.event_extras import detail_lines

DIFFERS = {"schema": "sales", "name": "orders", "reason": "1 different", "keys": ["id=7 (different)"]}
LEFT = {"side": "source", "database": "shop", "kind": "slot", "schema": "", "name": "towpath_1_2", "sql": "SELECT 1;"}


@pytest.mark.parametrize(
    ("detail", "wanted"),
    [
        ({"differences": [DIFFERS]}, ("Differences", "sales.orders: 1 different; id=7 (different)")),
        ({"left": [LEFT | {"reason": "in use"}]}, ("Still on the servers", "towpath_1_2: in use\nSELECT 1;")),
        ({"objects": [{"object": "INDEX a", "error": "no space"}]}, ("Objects", "INDEX a: no space")),
        ({"objects": ["VIEW b", "VIEW c"]}, ("Objects", "VIEW b\nVIEW c")),
        ({"found": {"shop": "2 tables", "": "24 GB"}}, ("Found", "shop: 2 tables\n24 GB")),
        ({"cause": "SRC-LOST"}, ("Cause", "SRC-LOST")),
        ({"slot": "towpath_1_2"}, ("Slot", "towpath_1_2")),
    ],
)
def test_a_detail_is_named_and_written_in_lines(detail: dict[str, Any], wanted: tuple[str, str]) -> None:
    assert detail_lines(detail) == [wanted]
