"""Generated columns of both sides compared, and the statements that make the target compute as the source does."""

from __future__ import annotations

from dataclasses import replace

from migrations_app.engine.drift import UNREAD, Change, ChangeKind, Column, Doubt, Drift
from migrations_app.engine.drifting import compare_fully
from migrations_app.engine.recomputed import recomputed, together
from migrations_app.engine.replication.explained import noticed

PLACE = ("shop", "orders")
TOTAL = Column(name="total", type_name="integer", generated="s", default="(net * 2)")
OTHER = replace(TOTAL, default="(net * 3)")
START = 'ALTER TABLE "shop"."orders" '


def test_what_is_computed_otherwise_is_set_where_the_target_can_do_that_and_made_anew_elsewhere() -> None:
    newer = recomputed(PLACE, PLACE, [TOTAL], [OTHER], version=170000)
    older = recomputed(PLACE, PLACE, [TOTAL], [OTHER], version=160009)
    assert newer is not None
    assert older is not None
    words = ("GENERATED ALWAYS AS ((net * 2))", "GENERATED ALWAYS AS ((net * 3))")
    assert newer.changes == (Change(kind=ChangeKind.GENERATED, name="total", old=words[0], new=words[1]),)
    assert newer.statements == (START + 'ALTER COLUMN "total" SET EXPRESSION AS ((net * 3))',)
    assert older.statements == (
        START + 'DROP COLUMN "total"',
        START + 'ADD COLUMN "total" integer GENERATED ALWAYS AS ((net * 3)) STORED',
    )


def test_a_table_is_changed_alone_only_where_the_target_can_do_that() -> None:
    newer = recomputed(PLACE, PLACE, [TOTAL], [OTHER], version=170000, alone=True)
    older = recomputed(PLACE, PLACE, [TOTAL], [OTHER], version=160009, alone=True)
    assert newer is not None
    assert older is not None
    only = START.replace("TABLE ", "TABLE ONLY ")
    assert newer.statements == (only + 'ALTER COLUMN "total" SET EXPRESSION AS ((net * 3))',)
    assert (older.changes, older.statements) == (newer.changes, ())


def test_what_is_alike_stored_or_only_on_one_side_is_none() -> None:
    plain = replace(OTHER, generated="")
    for old, new in (([TOTAL], [TOTAL]), ([TOTAL], []), ([], [OTHER]), ([plain], [OTHER]), ([TOTAL], [plain])):
        assert recomputed(PLACE, PLACE, old, new, version=170000) is None


def test_nothing_is_offered_for_what_could_not_be_read() -> None:
    unknown = replace(TOTAL, default=UNREAD)
    for old, new in ((unknown, OTHER), (TOTAL, unknown), (unknown, unknown)):
        found = recomputed(PLACE, PLACE, [old], [new], version=170000)
        assert found is not None
        assert found.statements == ()


def test_two_drifts_of_a_table_are_told_as_one() -> None:
    one = Drift(schema="shop", name="orders", changes=(), statements=("a",), harmless=True)
    other = Drift(schema="shop", name="orders", changes=(), statements=("b",))
    assert (together(one, None), together(None, other), together(None, None)) == (one, other, None)
    both = together(one, other)
    assert both is not None
    assert (both.statements, both.harmless, both.digest not in (one.digest, other.digest)) == (("a", "b"), False, True)
    doubted = together(replace(one, doubt=Doubt.VALUES), other)
    assert doubted is not None
    assert doubted.statements == ()
    unread = together(one, replace(other, statements=(), digest=""))
    assert unread is not None
    assert unread.statements == ()


def test_what_goes_with_a_column_that_is_made_anew_is_said() -> None:
    words = "Indexes and constraints of the column go with it"
    for version, expected in ((160009, True), (170000, False)):
        found = recomputed(PLACE, PLACE, [TOTAL], [OTHER], version=version)
        assert found is not None
        assert (words in str(noticed("shop", found))) is expected


def test_a_generated_column_that_came_has_a_statement_only_when_what_it_is_computed_from_was_read() -> None:
    net = Column(name="net", type_name="integer")
    read = compare_fully(PLACE, PLACE, [net], [net, TOTAL])
    unread = compare_fully(PLACE, PLACE, [net], [net, replace(TOTAL, default=UNREAD)])
    assert read is not None
    assert unread is not None
    assert read.changes[0].new == "integer GENERATED ALWAYS AS ((net * 2)) STORED"
    assert read.statements == (START + 'ADD COLUMN "total" integer GENERATED ALWAYS AS ((net * 2)) STORED',)
    assert unread.statements == ()
    assert read.digest != unread.digest
