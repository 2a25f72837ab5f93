"""The SQL that operators are told to run undoes exactly what was made, and nothing of anybody else."""

from __future__ import annotations

from typing import Any

import pytest

from migrations_app.engine.cleaning.side import by_hand
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import Kind, LedgerItem


def item(kind: Kind, **detail: Any) -> LedgerItem:
    return LedgerItem(side=Side.SOURCE, database="shop", kind=kind, schema="app", name="log", detail=detail)


@pytest.mark.parametrize(
    ("detail", "form"),
    [
        ({"was": "d"}, "DEFAULT"),
        ({"was": "n"}, "NOTHING"),
        ({"was": "i", "index": "log_key"}, 'USING INDEX "log_key"'),
    ],
)
def test_a_table_gets_back_the_replica_identity_that_it_had(detail: dict[str, str], form: str) -> None:
    told = by_hand(item(Kind.REPLICA_IDENTITY, **detail))
    assert told == f'ALTER TABLE ONLY "app"."log" REPLICA IDENTITY {form}'


def test_only_the_bookmark_of_this_task_is_removed() -> None:
    told = by_hand(item(Kind.BOOKMARK, task="0123abcd"))
    assert told == "DELETE FROM towpath.bookmark WHERE task = '0123abcd'"
