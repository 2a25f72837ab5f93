"""What the task writes down of where it has put sequences of the target."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from migrations_app.engine.plan import DatabasePlan, Side
from migrations_app.engine.ports import Kind, LedgerItem
from migrations_app.engine.sequences import OwnSequences, Sequence
from tests.fakes import fake_ports

DATABASE = DatabasePlan(source_name="shop", target_name="shop")
MADE = Sequence(schema="public", name="s", increment=1, cycle=False, owner=None)


def at(value: int) -> Sequence:
    return replace(MADE, last_value=value, is_called=True)


def test_where_a_sequence_stands_stays_known_when_it_was_not_moved_to_where_it_was_to_go() -> None:
    ports = fake_ports()
    ports.ledger.intend(
        LedgerItem(
            side=Side.TARGET,
            database="shop",
            kind=Kind.OBJECT,
            schema="public",
            name="s",
            detail={"type": "SEQUENCE", "put": {"s": [[5, True], [9, True]]}},
        )
    )
    own = OwnSequences(cast(Any, SimpleNamespace(ports=ports)), DATABASE)
    own.will_be_put([(at(5), at(20))])
    assert own.untouched(at(5))
    assert own.untouched(at(20))
    assert not own.untouched(at(9))
