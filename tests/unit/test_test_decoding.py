"""The reader of test_decoding takes what real servers have sent, and answers anything else with its own error only."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from migrations_app.engine.replication.pgoutput import UNCHANGED
from migrations_app.engine.replication.test_decoding import (
    Change,
    Emitted,
    Emptied,
    End,
    MalformedMessage,
    Row,
    Start,
    read,
)

DATA = Path(__file__).with_name("data")
RECORDED = {
    path.stem.rpartition("-")[2]: [json.loads(line).encode("latin-1") for line in path.read_text().splitlines()]
    for path in sorted(DATA.glob("test_decoding-*.jsonl"))
}
"""Streams of real servers by version, recorded with tests/matrix/stream_corpus.py in a database of LATIN1."""
MESSAGES = [message for messages in RECORDED.values() for message in messages]
VERSIONS = pytest.mark.parametrize("version", sorted(RECORDED))

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
NAME = TEXT.filter(bool)
VALUE = st.one_of(
    st.none(),
    st.just(UNCHANGED),
    TEXT.map(str.encode),
    st.sampled_from([b"null", b"unchanged-toast-datum", b"'", b"''", b"]:", b" new-tuple:", b"B'1'", b"true"]),
)
COLUMNS = st.lists(st.tuples(NAME, NAME, VALUE), max_size=5, unique_by=lambda column: column[0]).filter(
    lambda columns: ("oid", "oid") not in [column[:2] for column in columns]
)


def _ident(name: str) -> str:
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in ("select", "full")
    return name if plain else '"' + name.replace('"', '""') + '"'


def _written(columns: list[tuple[str, str, bytes | None]]) -> bytes:
    """Return columns as the plugin writes them; types are quoted where they are no plain name."""
    parts = []
    for name, type_name, value in columns:
        if value is None:
            shown = b"null"
        elif value == UNCHANGED:
            shown = b"unchanged-toast-datum"
        else:
            shown = b"'" + value.replace(b"'", b"''") + b"'"
        parts.append(f" {_ident(name)}[{_ident(type_name)}]:".encode() + shown)
    return b"".join(parts)


def _row(columns: list[tuple[str, str, bytes | None]]) -> Row:
    names, types, values = zip(*columns, strict=True) if columns else ((), (), ())
    return Row(tuple(names), tuple(_ident(one) for one in types), list(values))


def _changes(version: str, table: str) -> list[Change]:
    found = [read(message, 0, "latin-1") for message in RECORDED[version]]
    return [one for one in found if isinstance(one, Change) and one.name == table]


def test_streams_of_three_versions_are_recorded() -> None:
    assert sorted(RECORDED) == ["9.4", "9.5", "9.6"]


@VERSIONS
def test_every_recorded_message_is_read(version: str) -> None:
    kinds = [type(read(message, 0, "latin-1")) for message in RECORDED[version]]

    assert kinds.count(Start) == kinds.count(End) == 26
    assert kinds.count(Change) == 32


@VERSIONS
def test_quoted_values_come_as_they_were_stored(version: str) -> None:
    row = _changes(version, "plain")[0].new

    assert row is not None
    assert dict(zip(row.names, row.values, strict=True)) == {
        "id": b"1",
        "t": b'it\'s "q" \\\n new-tuple: id[integer]:2',
        "b": b"t",
        "n": b"1.500",
        "f": b"0.1",
        "bi": b"10101",
        "vb": b"1",
        "c": b"x",
        "a": b'{NULL,"null","a b",]:}',
        "w": b"{a,b]:c}",
        "d": b"2020-02-29",
        "o": b"4294967295",
    }
    assert row.types[9] == 'x."we[ird"[]'
    assert row.types[6:8] == ("bit varying", '"char"')


@VERSIONS
def test_only_a_bare_null_is_null(version: str) -> None:
    rows = [change.new for change in _changes(version, "plain")[1:6]]

    assert [row and row.values[1] for row in rows] == [b"null", None, b"", b"'", b"unchanged-toast-datum"]


@VERSIONS
def test_a_value_that_was_not_touched_is_told_from_its_look_alike(version: str) -> None:
    update = _changes(version, "toasted")[1]

    assert update.new is not None
    assert update.new.values == [b"1", b"2", UNCHANGED]


@VERSIONS
def test_a_full_identity_leaves_null_columns_out(version: str) -> None:
    changes = _changes(version, "full")

    assert changes[3].old == Row(("a",), ("integer",), [b"1"])
    assert changes[4].old == Row((), (), [])
    assert changes[5].old == Row(("b",), ("text",), [b"v"])


@VERSIONS
def test_a_table_without_identity_tells_no_old_row(version: str) -> None:
    update, delete = _changes(version, "bare")[1:]

    assert update.old is None
    assert update.new is not None
    assert delete == Change("DELETE", "x", "bare", None, None)


@VERSIONS
def test_names_may_hold_whatever_separates_names(version: str) -> None:
    insert, update, delete = _changes(version, 'T "q", with [brackets]: INSERT:')

    assert insert.new == Row(("id", 'col]:[ "x"', "select"), ("integer", "text", "text"), [b"1", b"]:'", b"s"])
    assert update.old == Row(("id",), ("integer",), [b"1"])
    assert delete.old == Row(("id",), ("integer",), [b"2"])


@VERSIONS
def test_names_and_values_are_in_the_encoding_of_the_database(version: str) -> None:
    row = _changes(version, "accents")[0].new

    assert row == Row(("id", "größe"), ("integer", "text"), [b"1", "Ärger".encode("latin-1")])


@VERSIONS
def test_the_hidden_column_oid_is_left_out(version: str) -> None:
    insert, delete = _changes(version, "with_oid")

    assert insert.new == delete.old == Row(("id",), ("integer",), [b"1"])


@VERSIONS
def test_a_table_without_columns_has_rows(version: str) -> None:
    assert _changes(version, "nothing") == [Change("INSERT", "x", "nothing", None, Row((), (), []))]


def test_the_time_of_a_commit_is_told_in_microseconds() -> None:
    assert read(b"COMMIT 7 (at 2000-01-01 00:00:01.5+00)") == End(7, 1_500_000)
    assert read(b"COMMIT 7 (at 2000-01-01 05:30:00+05:30)") == End(7, 0)
    assert read(b"COMMIT") == End(0, None)


def test_what_somebody_emitted_is_read_wherever_it_stands() -> None:
    assert read(b"message: transactional: 1 prefix: a, sz: 3 content:b\nc, sz: 1 content:") == Emitted()
    assert read(b"message: transactional: 0 prefix: a, sz: 3 content:\x00\x01\x02") == Emitted()


def test_truncation_of_newer_servers_names_every_table() -> None:
    assert read(b'table a.b, x."c, d": TRUNCATE: restart_seqs cascade') == Emptied(
        (("a", "b"), ("x", "c, d")), cascade=True, restart_identity=True
    )
    assert read(b"table a.b: TRUNCATE: (no-flags)") == Emptied((("a", "b"),), cascade=False, restart_identity=False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"BEGIN x",
        b"COMMIT 1 (at yesterday)",
        b"table a: INSERT:",
        b"table a.b, c.d: INSERT: i[integer]:1",
        b"table a.b: INSERT: i[integer]:",
        b"table a.b: INSERT: i[integer]:'open",
        b"table a.b: INSERT: i[integer]:1 i[integer]:2",
        b"table a.b: INSERT: i[integer]:'1'x",
        b"table a.b: UPDATE: old-key: i[integer]:1",
        b"table a.b: INSERT: i[text]:'\x00'",
        b"table a.b: INSERT: (no-tuple-data) i[integer]:1",
        b"COMMIT 99999999999",
        b"BEGIN 4294967296",
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read(data)


@settings(deadline=None)
@given(NAME, NAME, COLUMNS)
def test_an_inserted_row_comes_back_as_it_was_written(schema: str, name: str, columns: list) -> None:  # type: ignore[type-arg]
    data = f"table {_ident(schema)}.{_ident(name)}: INSERT:".encode() + _written(columns)

    assert read(data) == Change("INSERT", schema, name, None, _row(columns))


@settings(deadline=None)
@given(NAME, COLUMNS, COLUMNS)
def test_an_updated_row_comes_back_with_its_old_key(name: str, old: list, new: list) -> None:  # type: ignore[type-arg]
    data = f"table s.{_ident(name)}: UPDATE:".encode() + b" old-key:" + _written(old) + b" new-tuple:" + _written(new)

    assert read(data) == Change("UPDATE", "s", name, _row(old), _row(new))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_the_readers_own_error(data: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        read(data)


@settings(deadline=None)
@given(st.sampled_from(MESSAGES), st.data())
def test_a_real_message_with_bytes_changed_raises_nothing_but_the_readers_own_error(
    message: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(message)))
    until = data.draw(st.integers(at, min(len(message), at + 8)))
    put = data.draw(
        st.one_of(st.binary(max_size=6), st.sampled_from([b"'", b'"', b"]:", b"[", b" ", b"\xff", b"\x00"]))
    )

    with contextlib.suppress(MalformedMessage):
        read(message[:at] + put + message[until:], 0, "latin-1")
