"""Changes that name their tables become those that the apply knows, and stop where the catalog says something else."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from migrations_app.engine.errors import SchemaChanged, SourceError
from migrations_app.engine.ports import TableState
from migrations_app.engine.replication import frames, named
from migrations_app.engine.replication.named import NamedChanges, NamedColumn, NamedTable
from migrations_app.engine.replication.pgoutput import (
    Delete,
    Insert,
    Message,
    Relation,
    RelationColumn,
    Truncate,
    Update,
    WrittenAnew,
    decode,
)
from migrations_app.engine.replication.pgoutput_form import framed

COLUMNS = (NamedColumn("id", "integer", 23, -1), NamedColumn("v", "character varying", 1043, 24))


@dataclass
class Catalog:
    """A catalog whose tables can be changed, and that counts how often it is asked."""

    tables: list[NamedTable] = field(default_factory=list)
    asked: int = 0

    def named_tables(self, schema: str, name: str, oid: int) -> list[NamedTable]:
        self.asked += 1
        return [one for one in self.tables if (one.schema, one.name) == (schema, name) or one.oid == oid]

    def type_oid(self, type_name: str) -> int:
        return {"date": 1082}.get(type_name, 0)


def table(oid: int = 7, name: str = "t", identity: str = "d", keys: frozenset[str] = frozenset({"id"})) -> NamedTable:
    return NamedTable(oid, "s", name, identity, keys, COLUMNS)


def state(oid: int = 7, name: str = "t") -> TableState:
    return TableState(database="d", schema="s", name=name, oid=oid)


def changes(*tables: NamedTable, states: tuple[TableState, ...] | None = None) -> NamedChanges:
    return NamedChanges((state(),) if states is None else states, Catalog(list(tables)), "utf-8")


def item(text: str) -> bytes:
    return text.encode()


def told(one: NamedChanges, text: str) -> list[Message]:
    return one.messages(item("table s." + text))


def shape(identity: str = "d", keys: frozenset[str] = frozenset({"id"})) -> Relation:
    columns = tuple(RelationColumn(one.name, one.name in keys, one.type_oid, one.typmod) for one in COLUMNS)
    return Relation(7, "s", "t", identity, columns)


def test_the_first_change_of_a_table_brings_its_shape() -> None:
    one = changes(table())

    assert told(one, "t: INSERT: id[integer]:1 v[character varying]:'a'") == [shape(), Insert(7, [b"1", b"a"])]
    assert told(one, "t: INSERT: id[integer]:2 v[character varying]:null") == [Insert(7, [b"2", None])]


def test_another_shape_is_told_again() -> None:
    one = changes(table())
    told(one, "t: INSERT: id[integer]:1 v[character varying]:'a'")

    relation, _ = told(one, "t: INSERT: id[integer]:1 v[character varying]:'a' more[date]:null")

    assert isinstance(relation, Relation)
    assert relation.columns[2] == RelationColumn("more", False, 1082, -1)


def test_an_old_key_is_put_beside_the_columns_of_the_new_row() -> None:
    _, update = told(
        changes(table()), "t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 v[character varying]:'a'"
    )

    assert update == Update(7, [b"1", None], False, [b"2", b"a"])


def test_an_update_without_old_key_has_none() -> None:
    _, update = told(changes(table()), "t: UPDATE: id[integer]:2 v[character varying]:'a'")

    assert update == Update(7, None, False, [b"2", b"a"])


def test_what_a_full_identity_leaves_out_is_null() -> None:
    one = changes(table(identity="f", keys=frozenset()))

    _, update = told(
        one, "t: UPDATE: old-key: v[character varying]:'a' new-tuple: id[integer]:2 v[character varying]:'b'"
    )
    (delete,) = told(one, "t: DELETE: id[integer]:2")

    assert update == Update(7, [None, b"a"], True, [b"2", b"b"])
    assert delete == Delete(7, [b"2", None], True)


def test_a_delete_that_comes_first_takes_the_columns_of_the_catalog() -> None:
    assert told(changes(table()), "t: DELETE: id[integer]:1") == [shape(), Delete(7, [b"1", None], False)]


def test_a_delete_that_comes_first_under_a_full_identity_tells_what_is_not_null() -> None:
    one = changes(table(identity="f", keys=frozenset()))

    _, delete = told(one, "t: DELETE: v[character varying]:'a'")

    assert delete == Delete(7, [None, b"a"], True)


def test_a_delete_of_other_columns_than_the_catalog_has_stops_the_sync() -> None:
    with pytest.raises(SchemaChanged, match="had other columns"):
        told(changes(table()), "t: DELETE: gone[integer]:1")


def test_a_full_delete_of_other_columns_than_the_catalog_has_leaves_a_choice() -> None:
    with pytest.raises(SchemaChanged, match="was deleted when the table had other columns") as caught:
        told(changes(table(identity="f", keys=frozenset())), "t: DELETE: gone[integer]:1")
    assert caught.value.drift is not None
    assert (caught.value.drift.name, caught.value.drift.doubt, caught.value.drift.statements) == ("t", "unclear", ())


def test_a_full_delete_of_a_column_that_the_rows_before_did_not_have_takes_the_columns_of_the_catalog() -> None:
    catalog = Catalog([table(identity="f", keys=frozenset())])
    one = NamedChanges([state()], catalog, "utf-8")
    told(one, "t: INSERT: id[integer]:3 v[character varying]:'c'")
    more = (*COLUMNS, NamedColumn("c", "integer", 23, -1))
    catalog.tables = [NamedTable(7, "s", "t", "f", frozenset(), more)]

    relation, delete = told(one, "t: DELETE: id[integer]:1 v[character varying]:'a' c[integer]:5")

    assert isinstance(relation, Relation)
    assert [column.name for column in relation.columns] == ["id", "v", "c"]
    assert delete == Delete(7, [b"1", b"a", b"5"], True)
    assert told(one, "t: DELETE: id[integer]:2 c[integer]:5") == [Delete(7, [b"2", None, b"5"], True)]
    assert catalog.asked == 2


@pytest.mark.parametrize(
    "text",
    [
        "t: UPDATE: id[integer]:1 v[character varying]:'a'",
        "t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 v[character varying]:'a'",
        "t: DELETE: id[integer]:1",
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_a_row_from_before_its_key_was_renamed_says_so_and_what_to_do(text: str, before: bool) -> None:
    columns = (NamedColumn("key", "integer", 23, -1), COLUMNS[1])
    one = changes(NamedTable(7, "s", "t", "d", frozenset({"key"}), columns))
    if before:
        told(one, "t: INSERT: id[integer]:1 v[character varying]:null")
    with pytest.raises(SchemaChanged, match="its key had other columns: key is of the key now") as caught:
        told(one, text)
    assert "give it its former name" in str(caught.value.hint)
    assert caught.value.drift is not None
    assert (caught.value.drift.schema, caught.value.drift.name) == ("s", "t")


@pytest.mark.parametrize("text", ["t: DELETE: (no-tuple-data)", "t: UPDATE: id[integer]:1 v[character varying]:'a'"])
def test_a_change_that_does_not_say_which_row_it_belongs_to_stops_the_sync(text: str) -> None:
    with pytest.raises(SourceError, match="does not say which row"):
        told(changes(table(identity="n", keys=frozenset())), text)


def test_such_a_change_of_a_table_of_others_stops_nothing() -> None:
    one = changes(table(oid=9, name="other", identity="n", keys=frozenset()))

    assert told(one, "other: DELETE: (no-tuple-data)")[-1] == Delete(9, [None, None], False)


@pytest.mark.parametrize(("identity", "keys"), [("d", frozenset({"key"})), ("f", frozenset())])
def test_a_delete_with_former_columns_in_a_table_of_others_stops_nothing(identity: str, keys: frozenset[str]) -> None:
    columns = (NamedColumn("key", "integer", 23, -1), COLUMNS[1])
    one = changes(NamedTable(9, "s", "other", identity, keys, columns), states=())

    assert told(one, "other: DELETE: id[integer]:1") == []


def test_emptied_tables_are_told_together_with_the_shapes_that_this_needs() -> None:
    one = changes(table(), table(oid=8, name="u"), states=(state(), state(8, "u")))
    told(one, "t: INSERT: id[integer]:1 v[character varying]:null")

    relation, truncate = one.emptied([7, 8, 7, 4711])

    assert isinstance(relation, Relation)
    assert relation.oid == 8
    assert truncate == Truncate((7, 8), False, False)
    assert one.emptied([4711]) == []


def test_a_table_that_nobody_has_any_more_is_passed_over() -> None:
    assert told(changes(), "pg_temp_4711: INSERT: id[integer]:1") == []


def test_what_somebody_emitted_is_passed_over() -> None:
    assert changes().messages(item("message: transactional: 1 prefix: a, sz: 1 content:b")) == []


def test_a_table_of_others_keeps_its_own_oid() -> None:
    _, insert = told(changes(table(oid=9, name="other")), "other: INSERT: id[integer]:1 v[character varying]:null")

    assert insert == Insert(9, [b"1", None])


def test_a_table_that_was_replaced_stops_the_sync() -> None:
    one = changes(table(oid=8), table(oid=7, name="t_old"))

    with pytest.raises(SchemaChanged, match=r"s\.t is another table on the source now"):
        told(one, "t: INSERT: id[integer]:1 v[character varying]:null")


def test_a_table_that_is_gone_stops_the_sync() -> None:
    with pytest.raises(SchemaChanged, match=r"s\.t is gone"):
        told(changes(), "t: INSERT: id[integer]:1 v[character varying]:null")


def test_a_table_that_has_another_name_now_is_still_found_under_the_old_one() -> None:
    _, insert = told(changes(table(name="renamed")), "t: INSERT: id[integer]:1 v[character varying]:null")

    assert insert == Insert(7, [b"1", None])


def test_the_catalog_is_asked_once_for_many_changes_and_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = Catalog([table()])
    one = NamedChanges([state()], catalog, "utf-8")
    for _ in range(20):
        told(one, "t: INSERT: id[integer]:1 v[character varying]:null")
    assert catalog.asked == 1

    monkeypatch.setattr(named, "_LOOK_AGAIN_SECONDS", 0.0)
    catalog.tables = [table(oid=8)]

    with pytest.raises(SchemaChanged):
        told(one, "t: INSERT: id[integer]:1 v[character varying]:null")


def test_rows_that_are_written_anew_are_told_once_and_ask_nobody() -> None:
    """Who applies asks the target, at that place: while a spool receives, there need not be any."""
    one = changes(table())
    one.final = 5

    first, again, other = (told(one, f"pg_temp_7: INSERT: id[integer]:{number}") for number in (1, 2, 3))
    none = told(one, "pg_temp_8: INSERT: id[integer]:1")

    assert (first, again, other, none) == ([WrittenAnew(7, ("id",))], [], [], [])
    more = told(one, "pg_temp_7: INSERT: id[integer]:1 v[text]:null")  # by a second statement of the transaction
    assert more == [WrittenAnew(7, ("id", "v"))]
    one.final = 6
    assert told(one, "pg_temp_7: INSERT: id[integer]:1") == [WrittenAnew(7, ("id",))]


def test_what_is_told_of_written_rows_has_a_form_of_its_own() -> None:
    message = WrittenAnew(7, ("id", "größe"))
    assert decode(framed(message, "latin-1")[frames.MESSAGE :], 0, "latin-1") == message


def test_where_nobody_says_otherwise_changes_are_skipped_as_their_tables_say() -> None:
    asked: list[int] = []
    states = [replace(state(), watermark=9)]
    one = NamedChanges(states, Catalog([table()]), "utf-8", lambda oid: asked.append(oid))  # type: ignore[func-returns-value]
    one.final = 8
    relation, insert = told(one, "t: UPDATE: v[character varying]:'a'")
    assert isinstance(relation, Relation)
    assert (insert, asked) == (Insert(7, [None]), [7])
    one.final = 9
    with pytest.raises(SchemaChanged):
        told(one, "t: UPDATE: v[character varying]:'a'")
