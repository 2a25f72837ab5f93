"""The meter of the benchmarks: no CPU time of a server is lost or counted twice while its processes come and go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.bench import meter


class Processes:
    """A server (1) with a child (2) that is reaped right before, between or behind two looks into /proc."""

    def __init__(self, reaped_at: int) -> None:
        self.looks, self.reaped_at = 0, reaped_at

    def fields(self, pid: int | str) -> list[str]:
        gone = self.looks >= self.reaped_at
        self.looks += 1
        used = {1: (3, 0, 700 if gone else 0, 0), 2: (700, 0, 0, 0)}[int(pid)]
        if int(pid) == 2 and gone:
            return []
        return ["S", "1" if int(pid) == 2 else "0", *["0"] * 9, *map(str, used)]


@pytest.mark.parametrize("reaped_at", range(8))
def test_a_process_that_is_reaped_while_it_is_counted_is_counted_once(
    reaped_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meter, "_fields", Processes(reaped_at).fields)
    monkeypatch.setattr(meter.os, "listdir", lambda _: ["1", "self", "2"])
    cluster = SimpleNamespace(process=SimpleNamespace(pid=1))
    assert meter.server_seconds(cast(Any, cluster)) == 703 / meter.TICK
