"""The decoder against what servers of every version from 10 to 18 really sent, in text and in binary form.

Recorded with tests/matrix/stream_corpus.py in a database of LATIN1; the session's encoding was UTF-8.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from migrations_app.engine.replication.pgoutput import (
    UNCHANGED,
    Begin,
    Commit,
    Delete,
    Insert,
    Message,
    Relation,
    Truncate,
    Update,
    decode,
)
from tests.unit.test_pgoutput import encode

DATA = Path(__file__).parent / "data"
RECORDED = {
    path.stem.removeprefix("pgoutput-"): [json.loads(line).encode("latin-1") for line in path.read_text().splitlines()]
    for path in sorted(DATA.glob("pgoutput-*.jsonl"))
}
TEXT = [str(version) for version in range(10, 19)]
BINARY = [f"binary-{version}" for version in range(14, 19)]
Row = list[bytes | None]


def messages(name: str) -> list[Message]:
    return [decode(data, 0, "utf-8", binary=name.startswith("binary")) for data in RECORDED[name]]


def changes(name: str) -> list[tuple[str, str, Row | None, Row | None]]:
    """Return what happened to which table, with its old and its new row."""
    tables: dict[int, str] = {}
    found: list[tuple[str, str, Row | None, Row | None]] = []
    for message in messages(name):
        match message:
            case Relation():
                tables[message.oid] = message.name
            case Insert():
                found.append(("insert", tables[message.oid], None, message.new))
            case Update():
                found.append(("update", tables[message.oid], message.old, message.new))
            case Delete():
                found.append(("delete", tables[message.oid], message.old, None))
    return found


def test_every_version_is_recorded() -> None:
    assert sorted(RECORDED) == sorted([*TEXT, *BINARY])


@pytest.mark.parametrize("version", TEXT)
def test_every_recorded_message_is_read_whole(version: str) -> None:
    assert [encode(message) for message in messages(version)] == RECORDED[version]


@pytest.mark.parametrize("version", TEXT)
def test_all_versions_tell_the_same_changes(version: str) -> None:
    assert changes(version) == changes("10")


@pytest.mark.parametrize("name", BINARY)
def test_binary_rows_are_the_text_rows_value_by_value(name: str) -> None:
    text = changes(name.removeprefix("binary-"))
    for (kind, table, *rows), (kind_in_text, table_in_text, *rows_in_text) in zip(changes(name), text, strict=True):
        assert (kind, table) == (kind_in_text, table_in_text)
        for row, in_text in zip(rows, rows_in_text, strict=True):
            shape = [(value is None, value is UNCHANGED) for value in row or []]
            assert shape == [(value is None, value is UNCHANGED) for value in in_text or []]
            if table == "plain" and row and in_text and in_text[0]:
                assert row[0] == struct.pack("!i", int(in_text[0]))
                assert row[1] == in_text[1]  # texts look alike in both


@pytest.mark.parametrize("version", TEXT)
def test_values_come_as_they_were_written(version: str) -> None:
    rows = {table: new for kind, table, _, new in changes(version) if kind == "insert"}
    assert rows["accents"] == [b"1", "Ärger".encode()]
    assert rows["gone"] == [b"1", b"kept"]
    assert rows["nothing"] == []
    first = next(new for kind, table, _, new in changes(version) if (kind, table) == ("insert", "plain"))
    assert first is not None
    assert first[1] == b'it\'s "q" \\\n new-tuple: id[integer]:2'
    assert first[3] == b"1.500"


@pytest.mark.parametrize("name", [*TEXT, *BINARY])
def test_a_large_value_that_was_not_touched_is_told_apart(name: str) -> None:
    (update,) = [new for kind, table, _, new in changes(name) if (kind, table) == ("update", "toasted")]
    assert update is not None
    assert update[2] is UNCHANGED


@pytest.mark.parametrize("name", [*TEXT, *BINARY])
def test_transactions_are_whole_and_in_order(name: str) -> None:
    ends = [message for message in messages(name) if isinstance(message, Begin | Commit)]
    assert ends[::2] == [one for one in ends if isinstance(one, Begin)]
    assert ends[1::2] == [one for one in ends if isinstance(one, Commit)]
    for begin, commit in zip(ends[::2], ends[1::2], strict=True):
        assert isinstance(begin, Begin)
        assert isinstance(commit, Commit)
        assert begin.final_lsn == commit.commit_lsn < commit.end_lsn


@pytest.mark.parametrize("version", TEXT)
def test_emptied_tables_are_told_from_11_on(version: str) -> None:
    emptied = [message for message in messages(version) if isinstance(message, Truncate)]
    assert [(len(one.oids), one.cascade, one.restart_identity) for one in emptied] == (
        [] if version == "10" else [(2, True, True)]
    )
