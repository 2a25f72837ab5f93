"""Two shapes of a table: what is different, and which statements make the target alike, if any is certain to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrations_app.engine.drift import ChangeKind, Column, Doubt, Drift
from migrations_app.engine.drifting import aligning, compare, compare_fully, told_by_stream

PLACE = ("shop", "orders")
ID, NAME, NOTE = (
    Column(name=name, type_name=kind) for name, kind in (("id", "integer"), ("name", "text"), ("n", "text"))
)
OLD = [ID, NAME]
TWICE = Column(name="twice", type_name="integer")
START = 'ALTER TABLE "shop"."orders" '


def found(new: list[Column], old: list[Column] | None = None, *, fully: bool = False) -> Drift:
    compared = (compare_fully if fully else compare)(PLACE, PLACE, old or OLD, new)
    assert compared is not None
    return compared


def test_equal_shapes_are_no_drift_whatever_their_order() -> None:
    assert compare(PLACE, PLACE, OLD, [NAME, ID]) is None
    assert compare_fully(PLACE, PLACE, OLD, OLD) is None


@pytest.mark.parametrize(
    ("column", "statements"),
    [
        (NOTE, ['ADD COLUMN "n" text']),
        (replace(NOTE, collation='pg_catalog."C"'), ['ADD COLUMN "n" text COLLATE pg_catalog."C"']),
        (
            replace(NOTE, filled="it's", default="'new'::text"),
            ["ADD COLUMN \"n\" text DEFAULT 'it''s'::text", "ALTER COLUMN \"n\" SET DEFAULT 'new'::text"],
        ),
        (
            replace(NOTE, filled="x", not_null=True),
            ["ADD COLUMN \"n\" text DEFAULT 'x'::text NOT NULL", 'ALTER COLUMN "n" DROP DEFAULT'],
        ),
    ],
)
def test_an_added_column_gets_for_the_rows_that_are_there_what_the_source_remembers(
    column: Column, statements: list[str]
) -> None:
    drift = found([*OLD, column])
    assert drift.statements == tuple(START + statement for statement in statements)
    assert [(change.kind, change.name, change.old) for change in drift.changes] == [(ChangeKind.ADDED, "n", "")]
    assert drift.harmless == (column.filled is None)


@pytest.mark.parametrize(
    "column",
    [
        replace(NOTE, default="random()::text"),
        replace(NOTE, not_null=True),
        replace(NOTE, identity="a"),
    ],
)
def test_values_that_no_statement_is_certain_to_give_leave_nothing_to_apply(column: Column) -> None:
    drift = found([*OLD, column])
    assert (drift.doubt, drift.statements, drift.harmless) == (Doubt.VALUES, (), False)


def test_a_column_that_the_catalog_does_not_know_any_more_leaves_nothing_to_apply() -> None:
    told = told_by_stream([("id", "integer"), ("name", "text"), ("n", "text")], [ID, NAME])
    drift = found(told)
    assert (drift.doubt, drift.changes[0].new) == (Doubt.VALUES, "text")
    assert told_by_stream([("id", "integer")], [replace(ID, not_null=True)])[0].not_null


def test_a_dropped_column_is_dropped() -> None:
    drift = found([ID])
    assert drift.statements == (START + 'DROP COLUMN "name"',)
    assert (drift.changes[0].old, drift.changes[0].new, drift.harmless) == ("text", "", False)


def test_a_column_that_keeps_its_place_and_type_was_renamed() -> None:
    drift = found([ID, replace(NAME, name="title"), NOTE])
    assert drift.statements == (START + 'RENAME COLUMN "name" TO "title"', START + 'ADD COLUMN "n" text')
    assert (drift.changes[0].old, drift.changes[0].new) == ("name", "title")


def test_a_column_dropped_in_the_midst_and_one_added_at_the_end_are_no_renaming() -> None:
    drift = found([ID, NOTE, replace(NAME, name="z")], [ID, NAME, NOTE])
    assert drift.statements == (START + 'DROP COLUMN "name"', START + 'ADD COLUMN "z" text')


@pytest.mark.parametrize(
    "new", [[ID, replace(NAME, name="z", after_dropped=True)], [ID, Column(name="z", type_name="integer")]]
)
def test_what_may_be_a_renaming_or_not_leaves_nothing_to_apply(new: list[Column]) -> None:
    drift = found(new)
    assert (drift.doubt, drift.statements) == (Doubt.UNCLEAR, ())


V, V_NEW = Column(name="v", type_name="integer"), Column(name="v_new", type_name="integer")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([ID, V, V_NEW], [ID, replace(V, name="v_old"), V]),
        ([ID, V, NOTE, V_NEW], [ID, replace(V, name="v_old"), NOTE, V]),
        ([ID, V], [ID, replace(V, name="v_old"), V]),
        ([ID, V, NOTE], [ID, replace(V, name="v_old"), NOTE, V]),
        ([ID, V, V_NEW], [ID, replace(V, after_dropped=True)]),
        ([ID, V, NOTE, V_NEW], [ID, NOTE, V]),
    ],
    ids=[
        "renamed in turn",
        "renamed in turn, apart",
        "renamed and made anew",
        "renamed and made anew, apart",
        "dropped and replaced",
        "dropped and replaced, apart",
    ],
)
def test_a_column_that_has_the_name_of_another_one_now_leaves_nothing_to_apply(
    old: list[Column], new: list[Column]
) -> None:
    drift = found(new, old)
    assert (drift.doubt, drift.statements, drift.harmless) == (Doubt.UNCLEAR, (), False)


def test_a_column_is_dropped_from_between_others_and_from_behind_one_of_another_type() -> None:
    assert found([ID, replace(NOTE, after_dropped=True)], [ID, V, NOTE]).statements == (START + 'DROP COLUMN "v"',)
    assert found([ID, replace(NOTE, after_dropped=True)], [ID, NOTE, V]).statements == (START + 'DROP COLUMN "v"',)


def test_a_column_is_dropped_from_behind_one_that_stands_behind_an_older_gap() -> None:
    drift = found([ID, replace(V, after_dropped=True, before_dropped=True)], [ID, V, V_NEW])
    assert drift.statements == (START + 'DROP COLUMN "v_new"',)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("smallint", "bigint"),
        ("integer", "bigint"),
        ("character varying(9)", "character varying(10)"),
        ("character varying(9)", "character varying"),
        ("character varying(9)", "text"),
        ("character varying", "text"),
        ("numeric(9,2)", "numeric(12,2)"),
        ("numeric(9,2)", "numeric"),
        ("timestamp(0) without time zone", "timestamp without time zone"),
        ("timestamp(0) with time zone", "timestamp(3) with time zone"),
        ("bit varying(3)", "bit varying(5)"),
        ("character varying(9)[]", "character varying(10)[]"),
    ],
)
def test_a_wider_type_takes_what_is_there(old: str, new: str) -> None:
    drift = found([ID, replace(NAME, type_name=new)], [ID, replace(NAME, type_name=old)])
    assert drift.statements == (START + f'ALTER COLUMN "name" TYPE {new} USING "name"::{new}',)
    assert (drift.changes[0].old, drift.changes[0].new, drift.doubt) == (old, new, Doubt.NONE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("text", "character varying(9)"),
        ("text", "bigint"),
        ("text", "shop.kind"),
        ("bigint", "integer"),
        ("integer", "numeric"),
        ("character varying(9)", "character varying(8)"),
        ("character varying", "character varying(8)"),
        ("character(9)", "character(10)"),
        ("character(9)", "text"),
        ("numeric(9,2)", "numeric(12,3)"),
        ("numeric(9,2)", "numeric(8,2)"),
        ("numeric", "numeric(8,2)"),
        ("timestamp without time zone", "timestamp with time zone"),
        ("timestamp(3) without time zone", "timestamp(6) with time zone"),
        ("timestamp with time zone", "timestamp(0) with time zone"),
        ("bit(3)", "bit(5)"),
        ("character varying(9)[]", "text"),
        ("real", "double precision"),
        ("json", "jsonb"),
    ],
)
def test_any_other_type_may_have_got_other_values_and_leaves_nothing_to_apply(old: str, new: str) -> None:
    drift = found([ID, replace(NAME, type_name=new)], [ID, replace(NAME, type_name=old)])
    assert (drift.doubt, drift.statements) == (Doubt.VALUES, ())
    assert (drift.changes[0].old, drift.changes[0].new) == (old, new)


def test_names_are_quoted() -> None:
    drift = compare(('a"b', "t"), ('a"b', "t"), [ID], [ID, Column(name='x"; DROP', type_name="text")])
    assert drift is not None
    assert drift.statements == ('ALTER TABLE "a""b"."t" ADD COLUMN "x""; DROP" text',)


def test_the_statement_of_a_partition_is_about_its_root() -> None:
    drift = compare(("s", "part"), ("new", "root"), [ID], [ID, NOTE])
    assert drift is not None
    assert (drift.name, drift.statements) == ("part", ('ALTER TABLE "new"."root" ADD COLUMN "n" text',))


def test_the_digest_is_that_of_what_is_different() -> None:
    one, same, other = found([*OLD, NOTE]), found([*OLD, NOTE]), found([*OLD, replace(NOTE, type_name="date")])
    assert one.digest == same.digest == replace(one, database="d", lsn=7).digest != other.digest


@pytest.mark.parametrize(
    ("old", "new", "statement"),
    [
        (NAME, replace(NAME, not_null=True), "SET NOT NULL"),
        (replace(NAME, not_null=True), NAME, "DROP NOT NULL"),
        (NAME, replace(NAME, default="'x'::text"), "SET DEFAULT 'x'::text"),
        (replace(NAME, default="'x'::text"), NAME, "DROP DEFAULT"),
    ],
)
def test_a_full_look_tells_what_the_stream_does_not(old: Column, new: Column, statement: str) -> None:
    assert compare(PLACE, PLACE, [ID, old], [ID, new]) is None
    drift = found([ID, new], [ID, old], fully=True)
    assert drift.statements == (START + f'ALTER COLUMN "name" {statement}',)


def test_a_full_look_does_not_compare_the_texts_of_defaults_nor_the_kinds_of_identities() -> None:
    old = [replace(ID, identity="d"), replace(NAME, default="CURRENT_USER")]
    new = [replace(ID, identity="a"), replace(NAME, default='"current_user"()')]
    assert compare_fully(PLACE, PLACE, old, new) is None


def test_a_generated_column_is_told_with_the_statement_that_computes_the_same_values() -> None:
    drift = found([*OLD, replace(NOTE, generated="s", default="upper(name)")], fully=True)
    statement = START + 'ADD COLUMN "n" text GENERATED ALWAYS AS (upper(name)) STORED'
    assert (drift.changes[0].kind, drift.doubt, drift.statements) == (ChangeKind.GENERATED, Doubt.NONE, (statement,))


def test_an_empty_table_is_given_any_shape() -> None:
    old = [ID, NAME, NOTE]
    new = [ID, Column(name="name", type_name="date"), replace(NOTE, name="u", default="random()", not_null=True)]
    statements, defaults = aligning(PLACE, old, new)
    assert statements == [
        START + 'DROP COLUMN "n"',
        START + 'ALTER COLUMN "name" DROP DEFAULT, ALTER COLUMN "name" TYPE date USING NULL::date',
        START + 'ADD COLUMN "u" text NOT NULL',
    ]
    assert defaults == [START + 'ALTER COLUMN "u" SET DEFAULT random()']


def test_what_is_computed_from_a_column_that_goes_goes_first_and_comes_as_the_source_has_it() -> None:
    def twice(name: str) -> Column:
        return Column(name="twice", type_name="integer", generated="s", default=f"({name} * 2)")

    other = Column(name="more", type_name="integer", generated="s", default="(id + 1)")
    old = [ID, replace(NOTE, name="n", type_name="integer"), twice("n"), other]
    new = [ID, replace(NOTE, name="m", type_name="integer"), twice("m"), other]
    statements, _ = aligning(PLACE, old, new)
    assert statements == [
        START + 'DROP COLUMN "twice"',
        START + 'DROP COLUMN "n"',
        START + 'ADD COLUMN "m" integer',
        START + 'ADD COLUMN "twice" integer GENERATED ALWAYS AS ((m * 2)) STORED',
    ]


def test_what_the_target_computes_and_the_source_stores_now_is_dropped_before_it_is_copied_again() -> None:
    twice = Column(name="twice", type_name="integer", generated="s", default="(id * 2)")
    statements, _ = aligning(PLACE, [ID, twice, NAME], [ID, replace(twice, generated="", default=""), NAME])
    assert statements == [START + 'DROP COLUMN "twice"', START + 'ADD COLUMN "twice" integer']


@pytest.mark.parametrize(
    ("new", "statements"),
    [
        ([ID, TWICE, NAME], [START + 'ALTER COLUMN "twice" DROP EXPRESSION']),
        ([ID, replace(TWICE, after_dropped=True), NAME], []),
        ([ID, NAME, TWICE], []),
        ([ID, replace(TWICE, type_name="text"), NAME], []),
    ],
)
def test_an_expression_is_dropped_only_where_it_is_certain_to_be_the_same_column(
    new: list[Column], statements: list[str]
) -> None:
    drift = found(new, [ID, replace(TWICE, generated="s", default="(id * 2)"), NAME], fully=True)
    assert [change.kind for change in drift.changes] == [ChangeKind.GENERATED]
    assert list(drift.statements) == statements
