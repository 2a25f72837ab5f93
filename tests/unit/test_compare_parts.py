"""Parts of the comparison that need no server: SQL of the hash, merging of buckets, order of sequences, wording."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from migrations_app.engine.cleaning.side import by_hand
from migrations_app.engine.compare import raise_if_different, record
from migrations_app.engine.comparing.hashing import Dialect, Shape, sent_alike
from migrations_app.engine.comparing.locate import SAMPLES, Found, _merge, _Row
from migrations_app.engine.errors import CompareDiffers
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import Comparison, Kind, LedgerItem, TableDifference
from migrations_app.engine.selection import Selection
from migrations_app.engine.sequences import Sequence, selected_sequences
from migrations_app.engine.wording import say
from tests.fakes import FakeStore, fake_ports

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def shape(**changes: Any) -> Shape:
    values: dict[str, Any] = {
        "schema": "a",
        "name": 't"',
        "columns": (("id", "integer"), ('b"', "real")),
        "key": ("id",),
    }
    return Shape(**{**values, **changes})


def test_the_row_text_names_every_column_in_the_sources_order() -> None:
    assert 'ROW("id", "b""")::text' in shape().rows(Dialect())


def test_only_the_tables_own_rows_are_read() -> None:
    assert 'FROM ONLY "a"."t"""' in shape().rows(Dialect())


def test_the_hash_does_not_depend_on_a_collation() -> None:
    assert re.search(r'hashtextextended\(\(.*\) COLLATE "C", 0\)', shape().rows(Dialect()))


def test_old_servers_hash_by_md5() -> None:
    text = shape().rows(Dialect(md5=True))
    assert "hashtextextended" not in text
    assert "md5" in text


def test_different_encodings_are_compared_as_utf8() -> None:
    assert "convert_to" in shape().rows(Dialect(convert=True))


def test_floats_that_print_differently_are_compared_by_their_binary_form() -> None:
    assert 'float4send("b""")' in shape().rows(Dialect(send_floats=True))


@pytest.mark.parametrize(
    ("versions", "encodings", "expected"),
    [
        ((160000, 180000), ("UTF8", "UTF8"), Dialect(binary=True)),
        ((140000, 140000), ("UTF8", "UTF8"), Dialect(binary=True)),
        ((130000, 180000), ("UTF8", "UTF8"), Dialect()),
        ((160000, 180000), ("LATIN1", "LATIN1"), Dialect()),
        ((160000, 180000), ("SQL_ASCII", "SQL_ASCII"), Dialect()),
        ((100000, 180000), ("UTF8", "UTF8"), Dialect(md5=True, send_floats=True)),
        ((90500, 100000), ("UTF8", "UTF8"), Dialect(md5=True, send_floats=True)),
        ((90600, 100000), ("UTF8", "UTF8"), Dialect(md5=True)),
        ((110000, 160000), ("UTF8", "LATIN1"), Dialect(convert=True, send_floats=True)),
        ((110000, 110000), ("UTF8", "UTF8"), Dialect()),
    ],
)
def test_both_servers_decide_how_to_hash(
    versions: tuple[int, int], encodings: tuple[str, str], expected: Dialect
) -> None:
    def side(version: int, encoding: str) -> Any:
        def execute(text: bytes) -> Any:
            return SimpleNamespace(fetchall=lambda: [(encoding,)] if b"encoding" in text else [])

        return SimpleNamespace(info=SimpleNamespace(server_version=version), execute=execute)

    assert Dialect.between(*(side(*pair) for pair in zip(versions, encodings, strict=True))) == expected


@pytest.mark.parametrize(
    ("source", "target", "alike"),
    [
        ("numeric(10,2)", "numeric", True),
        ("timestamp(3) without time zone", "timestamp without time zone", True),
        ("character varying(20)", "character varying", True),
        ("integer", "bigint", False),  # someone else made the target's table: texts decide
        ("double precision[]", "double precision[]", False),
        ("public.mood", "public.mood", False),
    ],
)
def test_only_columns_of_one_plain_type_are_compared_in_binary_form(source: str, target: str, alike: bool) -> None:
    assert sent_alike([("v", source)], {"v": target}) == ({"v"} if alike else set())


def test_what_cannot_be_sent_alike_goes_into_the_binary_form_as_text() -> None:
    rows = shape(sent=frozenset({"id"})).rows(Dialect(binary=True))
    assert 'record_send(ROW("id", ROW("b""")::text))' in rows


def test_without_binary_forms_the_text_of_the_whole_row_decides() -> None:
    assert shape(sent=frozenset({"id"})).rows(Dialect()) == shape().rows(Dialect())


def test_merging_tells_missing_extra_and_different() -> None:
    found = Found()
    before = {"(1)": _Row(1, 5, "id=1"), "(2)": _Row(1, 6, "id=2"), "(3)": _Row(1, 7, "id=3")}
    after = {"(2)": _Row(1, 9, "id=2"), "(3)": _Row(1, 7, "id=3"), "(4)": _Row(1, 1, "id=4")}
    _merge(found, before, after)
    assert found.samples == ["id=1 (missing on the target)", "id=2 (different)", "id=4 (extra on the target)"]
    assert found.words() == "1 missing on the target, 1 extra on the target, 1 different"


def test_samples_are_few_and_counts_are_whole() -> None:
    found = Found()
    _merge(found, {f"({n})": _Row(1, n, f"id={n}") for n in range(100)}, {})
    assert len(found.samples) == SAMPLES
    assert found.missing == 100


def test_counts_of_an_unfinished_search_are_a_lower_bound() -> None:
    assert Found(missing=3, complete=False).words() == "at least 3 missing on the target"


def sequence(value: int, called: bool = True, increment: int = 1, **changes: Any) -> Sequence:
    values: dict[str, Any] = {"schema": "s", "name": "q", "cycle": False, "owner": None, **changes}
    return Sequence(increment=increment, last_value=value, is_called=called, **values)


@pytest.mark.parametrize(
    ("mine", "theirs", "behind"),
    [
        (sequence(1), sequence(2), True),
        (sequence(2), sequence(1), False),
        (sequence(1, False), sequence(1, True), True),
        (sequence(1, True), sequence(1, False), False),
        (sequence(-5, increment=-1), sequence(-9, increment=-1), True),
        (sequence(-9, increment=-1), sequence(-5, increment=-1), False),
        (sequence(9, cycle=True), sequence(2, cycle=True), True),
        (sequence(9, cycle=True), sequence(9, cycle=True), False),
    ],
)
def test_a_sequence_knows_whether_it_is_behind(mine: Sequence, theirs: Sequence, behind: bool) -> None:
    assert mine.behind(theirs) is behind


def test_owned_sequences_follow_their_table_and_others_their_schema() -> None:
    everything = [
        sequence(1, name="owned", owner=("s", "t")),
        sequence(1, name="of another table", owner=("s", "other")),
        sequence(1, name="free"),
        sequence(1, name="elsewhere", schema="x"),
    ]
    selection = Selection(rules={("db", "s"): True})
    chosen = selected_sequences(everything, {("s", "t")}, selection, "db")
    assert [item.name for item in chosen] == ["owned", "free"]


def comparison(*tables: TableDifference) -> Comparison:
    return Comparison(database="db", lsn=1, started_at=NOW, finished_at=NOW, tables=tables)


def verdict(name: str, kind: str, **more: Any) -> TableDifference:
    return TableDifference(schema="s", name=name, verdict=kind, **more)


def recorded(*tables: TableDifference) -> list[tuple[str, str, str]]:
    ports = fake_ports()
    record(cast(Run, SimpleNamespace(ports=ports)), comparison(*tables))
    store = ports.store
    assert isinstance(store, FakeStore)
    assert len(store.comparisons) == 1
    return store.events


def test_an_equal_comparison_is_told_as_such() -> None:
    [(level, code, text)] = recorded(verdict("t", "equal", source_rows=7))
    assert (level, code) == ("info", "CMP-EQUAL")
    assert "1 table, 7 rows" in text


def test_differences_and_what_was_not_compared_are_told_apart() -> None:
    events = recorded(
        verdict("a", "differs", sample_keys=("id=1 (different)",)), verdict("b", "not_compared", reason="x")
    )
    assert [code for _, code, _ in events] == ["CMP-DIFF", "CMP-NOTRUN"]
    assert "s.a (id=1 (different))" in events[0][2]
    assert "s.b (x)" in events[1][2]


def test_a_reason_and_the_first_keys_stand_apart() -> None:
    [(_, _, text)] = recorded(
        verdict("a", "differs", reason=say("{number} different", number=2), sample_keys=("id=1", "id=2"))
    )
    assert "s.a (2 different: id=1; id=2)" in text


def test_what_was_not_compared_is_never_equal() -> None:
    with pytest.raises(CompareDiffers, match=r"s\.b"):
        raise_if_different([comparison(verdict("a", "equal"), verdict("b", "not_compared"))], "hint")


def test_the_sql_by_hand_is_quoted() -> None:
    item = LedgerItem(side=Side.SOURCE, database="d", kind=Kind.PUBLICATION, name='x"; DROP')
    assert by_hand(item) == 'DROP PUBLICATION IF EXISTS "x""; DROP"'
