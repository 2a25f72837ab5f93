"""Transactions that look alike are taken many at a time, and come to exactly what each of them would have come to."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrations_app.engine.replication import intake as intake_module
from migrations_app.engine.replication.alike import LEAST
from migrations_app.engine.replication.batch import Batch
from migrations_app.engine.replication.coalesce import Appended, Folding, Keyed
from migrations_app.engine.replication.intake import Intake
from migrations_app.engine.replication.pgoutput import BINARY_VALUE, Relation, RelationColumn, Values
from migrations_app.engine.replication.tuples import cutters
from tests.unit.test_apply_alike import frame

ACCOUNTS, HISTORY, TELLERS = 11, 12, 13


class Taker:
    """What an applier is to the intake, without a target: it notes what departs, and with what it was folded."""

    form = BINARY_VALUE
    busy = False

    def __init__(self, due: int) -> None:
        self.wanted = due
        self.end = self.final = 0
        self.in_transaction = False
        self.batch = Batch(0)
        self.departed: list[tuple[Any, ...]] = []
        self.begun: list[int] = []

    @property
    def foldings(self) -> dict[int, Folding]:
        return self.batch.tables

    @property
    def due(self) -> int:
        return max(0, self.wanted - self.batch.changes)

    def folding(self, oid: int) -> Folding:
        cut, cut_key = cutters(relation(oid), binary=True)
        made = Appended(cut) if oid == HISTORY else Keyed(cut, cut_key, [0])
        return self.batch.tables.setdefault(oid, made)

    def begin(self, final: int, timestamp: int) -> None:
        assert final >= self.end
        self.begun.append(timestamp)
        self.final, self.in_transaction = final, True

    def reached(self, lsn: int) -> None:
        self.end = max(self.end, lsn)

    def turn(self) -> None:
        return

    def depart(self) -> None:
        self.departed.append((self.end, self.batch.changes, told(self.batch)))
        self.batch = Batch(self.final)


class Silent:
    def heard(self, wal_end: int, *, urgent: bool) -> None:
        return


def told(batch: Batch) -> list[Any]:
    found: list[Any] = [sorted(batch.by_rows)]
    for oid, folding in sorted(batch.tables.items()):
        if isinstance(folding, Keyed):
            rows = [(key, tuple(row)) for part in (folding.inserts, folding.updates) for key, row in part.items()]
            found.append((oid, rows, list(folding.deletes), sorted(map(str, folding.ghosts))))
        elif isinstance(folding, Appended):
            found.append((oid, [tuple(row) for row in folding.rows]))
    return [*found, b"".join(data[at:end] for data, at, end in batch.segments)]


def relation(oid: int) -> Relation:
    return Relation(oid, "s", f"t{oid}", "d", (RelationColumn("id", True, 23, -1), RelationColumn("n", False, 23, -1)))


def number(value: int) -> bytes:
    return struct.pack("!i", value)


def message(body: bytes) -> bytes:
    return b"d" + struct.pack("!I", len(body) + 4) + body


def begin(final: int) -> bytes:
    return message(b"w" + bytes(24) + b"B" + struct.pack("!QqI", final, final * 10, 5))


def commit(final: int) -> bytes:
    return message(b"w" + bytes(24) + b"C" + struct.pack("!BQQq", 0, final, final + 1, final * 10))


def keepalive(position: int) -> bytes:
    return message(b"k" + struct.pack("!QqB", position, 0, 0))


Change = tuple[int, bytes, Values]


def change(one: Change) -> bytes:
    oid, kind, values = one
    return frame(values, kind, oid=oid, mark=b"K" if kind == b"D" else b"N")


def stream(transactions: list[list[Change]], *, pinged: frozenset[int] = frozenset()) -> bytes:
    parts = []
    for place, changes in enumerate(transactions):
        parts.append(begin(place * 10 + 5))
        parts.extend(map(change, changes))
        parts.append(commit(place * 10 + 5))
        if place in pinged:
            parts.append(keepalive(place * 10 + 7))
    return b"".join(parts)


def run(data: bytes, due: int, piece: int, *, goal: int | None = None) -> Taker:
    taker = Taker(due)
    intake = Intake(taker, Silent())  # type: ignore[arg-type]
    for at in range(0, len(data), piece):
        intake.feed(data[at : at + piece])
        if intake.work(goal, None):
            break
    taker.depart()
    return taker


def one_by_one(monkeypatch: pytest.MonkeyPatch, data: bytes, due: int, piece: int, goal: int | None = None) -> Taker:
    with monkeypatch.context() as patched:
        patched.setattr(intake_module.Intake, "_transactions", lambda _, at, changes, __: (at, changes))
        return run(data, due, piece, goal=goal)


def bank(place: int) -> list[Change]:
    return [
        (ACCOUNTS, b"U", [number(place % 50), number(place)]),
        (TELLERS, b"U", [number(place % 3), number(place)]),
        (HISTORY, b"I", [number(place), number(place)]),
    ]


@pytest.mark.parametrize("due", [1, 40, 100_000])
def test_they_come_to_what_they_come_to_one_by_one(monkeypatch: pytest.MonkeyPatch, due: int) -> None:
    data = stream([bank(place) for place in range(20 * LEAST)])
    together, alone = run(data, due, len(data)), one_by_one(monkeypatch, data, due, len(data))
    assert together.departed == alone.departed
    assert together.begun[:1] == alone.begun[:1]
    assert (len(together.begun) < len(alone.begun)) == (due > 1), "nothing was taken together, or what was due was not"


kinds = st.sampled_from([b"I", b"U", b"D"])


@st.composite
def repetitive(draw: st.DrawFn) -> list[list[Change]]:
    """Runs of transactions of one form, whose keys collide now and then, with others in between."""
    transactions: list[list[Change]] = []
    for _ in range(draw(st.integers(1, 4))):
        form = draw(st.lists(st.tuples(st.sampled_from([ACCOUNTS, HISTORY, TELLERS]), kinds), max_size=4))
        missing = draw(st.booleans())
        for _ in range(draw(st.integers(1, 3 * LEAST))):
            key = draw(st.integers(0, 400))
            transactions.append(
                [
                    (oid, kind, [number(key), None if missing or kind == b"D" else number(len(transactions))])
                    for oid, kind in form
                ]
            )
    return transactions


@settings(max_examples=150, deadline=None)
@given(
    repetitive(), st.integers(1, 300), st.integers(200, 40_000), st.frozensets(st.integers(0, 60)), st.integers(0, 900)
)
def test_any_stream_comes_to_what_it_comes_to_one_by_one(
    transactions: list[list[Change]], due: int, piece: int, pinged: frozenset[int], goal: int
) -> None:
    data = stream(transactions, pinged=pinged)
    with pytest.MonkeyPatch.context() as patch:
        for until in (None, goal):
            together, alone = run(data, due, piece, goal=until), one_by_one(patch, data, due, piece, until)
            assert (together.departed, together.end) == (alone.departed, alone.end)


def test_two_changes_of_one_table_in_a_transaction_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    twice: list[list[Change]] = [
        [(ACCOUNTS, b"U", [number(1), number(2 * place)]), (ACCOUNTS, b"U", [number(1), number(2 * place + 1)])]
        for place in range(4 * LEAST)
    ]
    data = stream(twice)
    assert run(data, 10_000, len(data)).departed == one_by_one(monkeypatch, data, 10_000, len(data)).departed


def test_a_transaction_that_begins_before_the_last_has_ended_is_not_taken_over() -> None:
    data = stream([bank(place) for place in range(2 * LEAST)])
    span = len(stream([bank(0)]))
    broken = data[: -3 * span] + stream([bank(1)]) + data[-2 * span :]
    with pytest.raises(AssertionError):
        run(broken, 10_000, len(broken))
