"""What is stored and told when a standby took over from the source."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from migrations_app.engine import failover
from migrations_app.engine.failover import Identity, go_on_at
from migrations_app.engine.ports import DatabaseState
from migrations_app.engine.wording import say
from tests.fakes import FakeStore


def test_a_standby_that_took_over_is_told_once_and_what_others_stored_meanwhile_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failover, "require_continuation", lambda *_: None)
    store, nobody = FakeStore(), cast(Any, None)
    read = DatabaseState(source_name="shop", target_name="shop", slot="s", system_id="7", timeline=1)
    store.save_database(replace(read, rows_applied=42))
    for _ in range(2):
        go_on_at(store, [], nobody, nobody, read, Identity("7", 2), 0, say("took over"))
    assert store.database("shop") == replace(read, rows_applied=42, timeline=2)
    assert [code for _, code, _ in store.events] == ["SRC-FAILEDOVER"]
