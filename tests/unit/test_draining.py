"""What is told of the last changes while they are waited for on the way to Complete."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from migrations_app.engine import draining
from migrations_app.engine.errors import ConnectFailed
from migrations_app.engine.plan import DatabasePlan
from tests.fakes import fake_ports


def test_a_target_that_does_not_answer_keeps_nobody_from_telling_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise ConnectFailed("no answer")

    monkeypatch.setattr(draining, "_WHY_SECONDS", 0.0)
    run = SimpleNamespace(
        ports=fake_ports(),
        plan=SimpleNamespace(drain_seconds=1000),
        sessions=SimpleNamespace(session=refuse, version=refuse),
        databases=lambda: [DatabasePlan(source_name="shop", target_name="shop")],
    )
    limit = draining.Limit(cast(Any, run))
    limit.check([])
    assert "not on the target yet" in limit.why
