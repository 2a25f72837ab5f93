"""Which table of a task gets its new name first."""

from __future__ import annotations

from migrations_app.engine.ports import TableState
from migrations_app.engine.replication.moves import is_ring, line_of, turned


def _tables(**oids: int) -> list[TableState]:
    return [TableState(database="d", schema="s", name=name, oid=oid) for name, oid in oids.items()]


def test_a_table_whose_new_name_another_one_leaves_stands_before_that_one() -> None:
    tables = _tables(a=1, b=2)
    line = line_of(tables[0], ("s", "b"), tables, {2: ("s", "c")}.get)
    assert [(move.known, move.now) for move in line] == [(("s", "a"), ("s", "b")), (("s", "b"), ("s", "c"))]
    assert not is_ring(line)


def test_a_ring_is_the_same_one_from_whichever_table_it_is_met() -> None:
    tables, now = _tables(a=1, b=2, c=3), {1: ("s", "b"), 2: ("s", "c"), 3: ("s", "a")}
    rings = [turned(line_of(table, now[table.oid], tables, now.get)) for table in tables]
    assert all(is_ring(ring) for ring in rings)
    assert rings[0] == rings[1] == rings[2]


def test_a_name_that_was_looked_up_before_others_exchanged_theirs_leads_nowhere() -> None:
    tables = _tables(a=1, b=2, c=3)
    assert line_of(tables[0], ("s", "b"), tables, {2: ("s", "c"), 3: ("s", "b")}.get) == []
