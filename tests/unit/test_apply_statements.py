"""Which statement a change becomes, and which values it carries."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrations_app.engine.errors import SourceError
from migrations_app.engine.replication.pgoutput import UNCHANGED, Delete, Insert, Relation, RelationColumn, Update
from migrations_app.engine.replication.statements import (
    INSERT,
    UPDATE,
    RowStatements,
    TargetColumn,
    TargetTable,
    shown_key,
    sure,
    truncate_sql,
)


def column(name: str, **more: object) -> TargetColumn:
    plain = TargetColumn(
        name=name,
        type_name="integer",
        builtin=True,
        generated=False,
        comparable=True,
        exact=True,
        operator_schema="pg_catalog",
        in_key=False,
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def statements(*columns: TargetColumn, identity: str = "d", keys: tuple[str, ...] = ("id",)) -> RowStatements:
    relation = Relation(
        1, "s", "t", identity, tuple(RelationColumn(one.name, one.name in keys, 23, -1) for one in columns)
    )
    return RowStatements(relation, TargetTable(schema="s", name="t", partitioned=False, columns=columns))


KEYED = statements(column("id"), column("a"), column("b"))


def test_an_insert_keeps_identity_values_and_hides_no_duplicate() -> None:
    assert KEYED.sql(INSERT) == ('INSERT INTO "s"."t" ("id", "a", "b") OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3)')


def test_a_plain_update_sends_the_new_row_as_it_is() -> None:
    row: list[bytes | None] = [b"1", b"x", None]
    key, values = KEYED.update(Update(1, None, False, row))
    assert (key, values) == (UPDATE, row)
    assert KEYED.sql(key) == 'UPDATE ONLY "s"."t" SET "a" = $2, "b" = $3 WHERE "id" OPERATOR("pg_catalog".=) $1'


def test_a_changed_key_is_set_where_the_old_one_was() -> None:
    key, values = KEYED.update(Update(1, [b"1", None, None], False, [b"2", b"x", b"y"]))
    assert values == [b"2", b"x", b"y", b"1"]
    assert KEYED.sql(key).endswith('SET "id" = $1, "a" = $2, "b" = $3 WHERE "id" OPERATOR("pg_catalog".=) $4')


def test_an_unchanged_value_is_left_out() -> None:
    key, values = KEYED.update(Update(1, None, False, [b"1", UNCHANGED, b"y"]))
    assert values == [b"y", b"1"]
    assert KEYED.sql(key).endswith('SET "b" = $1 WHERE "id" OPERATOR("pg_catalog".=) $2')


def test_an_update_of_nothing_but_unchanged_values_still_looks_for_its_row() -> None:
    table = statements(column("big", in_key=False), identity="f", keys=())
    key, values = table.update(Update(1, [b"x"], True, [UNCHANGED]))
    assert values == [b"x"]
    assert 'SET "big" = "big" WHERE ctid = (SELECT ctid' in table.sql(key)


def test_a_delete_needs_only_the_key() -> None:
    key, values = KEYED.delete(Delete(1, [b"1", None, None], False))
    assert values == [b"1"]
    assert KEYED.sql(key) == 'DELETE FROM ONLY "s"."t" WHERE "id" OPERATOR("pg_catalog".=) $1'


def test_full_identity_prefers_the_targets_key() -> None:
    table = statements(column("id", in_key=True), column("a"), identity="f", keys=("id", "a"))
    key, values = table.delete(Delete(1, [b"1", b"x"], True))
    assert values == [b"1"]
    assert "ctid" not in table.sql(key)


def test_full_identity_without_a_key_matches_the_whole_row_once() -> None:
    table = statements(
        column("a"),
        column("n", exact=False, type_name="numeric(4,2)"),
        column("j", comparable=False, exact=False, type_name="json"),
        column("z"),
        identity="f",
        keys=("a", "n", "j", "z"),
    )
    key, values = table.delete(Delete(1, [b"1", b"1.00", b"{}", None], True))
    assert values == [b"1", b"1.00", b"{}"]
    assert table.sql(key) == (
        'DELETE FROM ONLY "s"."t" WHERE ctid = (SELECT ctid FROM ONLY "s"."t" WHERE "a" OPERATOR("pg_catalog".=) $1'
        ' AND "n" OPERATOR("pg_catalog".=) $2 AND "n"::text COLLATE pg_catalog."C" = CAST($2 AS numeric(4,2))::text'
        ' AND "j"::text COLLATE pg_catalog."C" = CAST($3 AS json)::text AND "z" IS NULL LIMIT 1)'
    )


def test_equal_shapes_share_a_statement_and_others_do_not() -> None:
    table = statements(column("a"), column("b"), identity="f", keys=("a", "b"))
    keys = [table.delete(Delete(1, row, True))[0] for row in ([b"1", b"2"], [b"3", b"4"], [b"1", None])]  # type: ignore[list-item]
    assert keys[0] == keys[1] != keys[2]


def test_a_type_that_is_not_built_in_is_compared_by_its_own_operator() -> None:
    table = statements(column("id", builtin=False, type_name="public.citext", operator_schema="public"))
    assert table.sql(("delete",)).endswith('"id" OPERATOR("public".=) CAST($1 AS public.citext)')


def test_a_change_without_identity_is_refused() -> None:
    table = statements(column("id"), identity="n", keys=())
    with pytest.raises(SourceError, match=r"s\.t"):
        table.delete(Delete(1, [b"1"], False))


def test_a_key_is_shown_by_name_and_value_and_shortened() -> None:
    long = b"k" * 500
    assert shown_key(KEYED.key_of(Insert(1, [b"7", b"secret", None]))) == "id=7"
    assert len(shown_key(KEYED.key_of(Insert(1, [long, b"secret", None])))) < 80


def test_a_sure_statement_fails_by_itself_unless_it_hits_one_row() -> None:
    assert sure("DELETE FROM t") == (
        "WITH x AS (DELETE FROM t RETURNING 1) SELECT 1 / (CASE count(*) WHEN 1 THEN 1 ELSE 0 END) FROM x"
    )


def test_truncation_names_all_tables_at_once_and_no_others() -> None:
    a, b = (TargetTable(schema="s", name=name, partitioned=False, columns=()) for name in ("a", 'b"'))
    sql = truncate_sql([a, b], restart_identity=True)
    assert sql == 'TRUNCATE ONLY "s"."a", ONLY "s"."b""" RESTART IDENTITY'


def test_a_table_whose_partitions_are_all_emptied_is_named_with_them() -> None:
    part = TargetTable(schema="s", name="p1", partitioned=False, columns=())
    sql = truncate_sql([part], above=[("s", 'p"')], restart_identity=False)
    assert sql == 'TRUNCATE ONLY "s"."p1", "s"."p"""'


def test_a_partitioned_table_is_emptied_with_its_partitions() -> None:
    table = TargetTable(schema="s", name="t", partitioned=True, columns=())
    assert truncate_sql([table], restart_identity=False) == 'TRUNCATE "s"."t"'


def test_one_of_equal_rows_is_told_by_its_partition_and_its_place_there() -> None:
    columns = (column("id"),)
    relation = Relation(1, "s", "t", "f", (RelationColumn("id", False, 23, -1),))
    rows = RowStatements(relation, TargetTable(schema="s", name="t", partitioned=True, columns=columns))
    key, _ = rows.delete(Delete(1, [b"1"], True))
    assert rows.sql(key).startswith('DELETE FROM "s"."t" WHERE (tableoid, ctid) = (SELECT tableoid, ctid FROM "s"."t" ')


def test_what_has_the_old_or_the_new_key_is_removed_when_the_row_of_the_source_is_taken() -> None:
    moved = KEYED.removals(Update(1, [b"1", None, None], False, [b"2", b"x", b"y"]))
    assert moved == [(("remove", (0,)), [b"1"]), (("remove", (0,)), [b"2"])]
    assert KEYED.sql(moved[0][0]) == 'DELETE FROM ONLY "s"."t" WHERE "id" OPERATOR("pg_catalog".=) $1'
    assert [values for _, values in KEYED.removals(Insert(1, [b"3", None, None]))] == [[b"3"]]
    assert [values for _, values in KEYED.removals(Delete(1, [b"4", None, None], False))] == [[b"4"]]


def test_without_a_key_one_row_that_equals_the_old_one_is_removed() -> None:
    keyless = statements(column("v"), identity="f", keys=())
    for change in (Delete(1, [b"x"], True), Update(1, [b"x"], True, [b"y"])):
        ((key, values),) = keyless.removals(change)
        assert values == [b"x"]
        assert keyless.sql(key).startswith(
            'DELETE FROM ONLY "s"."t" WHERE ctid = (SELECT ctid FROM ONLY "s"."t" WHERE '
        )
    assert keyless.removals(Insert(1, [b"x"])) == []


def test_a_row_is_whole_when_the_old_one_tells_what_the_new_one_leaves_out() -> None:
    assert KEYED.whole(Update(1, None, False, [b"1", UNCHANGED, b"y"])) is None
    assert KEYED.whole(Update(1, [b"1", None, None], False, [b"1", UNCHANGED, b"y"])) is None, "NULL is not told there"
    assert KEYED.whole(Update(1, [b"1", b"big", b"x"], True, [b"1", UNCHANGED, b"y"])) == [b"1", b"big", b"y"]


def test_only_a_constraint_over_exactly_the_key_is_the_key() -> None:
    table = statements(
        column("id", uniques=("t_pkey", "wider")), column("a", uniques=("wider",)), column("b", uniques=("t_b_key",))
    )
    assert [name for name in ("t_pkey", "wider", "t_b_key", "no_such") if table.is_key(name)] == ["t_pkey"]
