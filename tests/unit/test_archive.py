"""The archive reader and the choice of entries, without a server."""

from __future__ import annotations

import pytest

from migrations_app.engine.choosing import choose, coming_along
from migrations_app.engine.errors import SourceError
from migrations_app.engine.rights import statements
from migrations_app.engine.toc import Entry, read_archive
from tests import entries as made


def number(value: int) -> bytes:
    return (b"\x01" if value < 0 else b"\x00") + abs(value).to_bytes(4, "little")


def text(value: str | None) -> bytes:
    if value is None:
        return number(-1)
    return number(len(value.encode())) + value.encode()


def archive(*entries: bytes, version: tuple[int, int] = (1, 16)) -> bytes:
    head = b"PGDMP" + bytes([*version, 0, 4, 8, 1])
    head += b"\x00" if version >= (1, 15) else number(0)
    head += b"".join(number(0) for _ in range(7)) + text("shop") + text("16.4") + text("18.4")
    return head + number(len(entries)) + b"".join(entries)


def packed(
    dump_id: int, kind: str, tag: str, sql: str, depends_on: tuple[int, ...] = (), *, relkind: bool = True
) -> bytes:
    parts = [number(dump_id), number(0), text("1259"), text("16400"), text(tag), text(kind), number(2)]
    parts += [text(sql), text(f"DROP {kind} {tag};"), text(None), text("public"), text(""), text("heap")]
    parts += [number(0)] if relkind else []
    parts += [text("owner"), text("false"), *(text(str(on)) for on in depends_on), text(None), b"\x00" * 9]
    return b"".join(parts)


def entry(dump_id: int, kind: str, tag: str = "", sql: bytes = b"", *depends_on: int) -> Entry:
    return made.entry(sql, kind, dump_id=dump_id, tag=tag or f"x{dump_id}", depends_on=depends_on)


def test_names_and_bodies_of_any_shape_come_through(tmp_path):
    fake = "BEGIN\n--\n-- TOC entry 9 (class 1259 OID 16400)\n--\nEND"
    file = tmp_path / "x.dump"
    file.write_bytes(archive(packed(7, "TABLE", 'a "b%s\nc', "CREATE"), packed(8, "FUNCTION", "f()", fake, (7,))))
    table, function = read_archive(file)
    assert (table.tag, table.label) == ('a "b%s\nc', 'TABLE public.a "b%s\nc')
    assert (function.definition.decode(), function.depends_on) == (fake, (7,))


@pytest.mark.parametrize("version", [(1, 14), (1, 15), (1, 16)])
def test_every_supported_format_is_read(tmp_path, version):
    file = tmp_path / "x.dump"
    file.write_bytes(archive(packed(7, "TABLE", "t", "CREATE", relkind=version == (1, 16)), version=version))
    assert [found.tag for found in read_archive(file)] == ["t"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an archive at all",
        archive(packed(7, "TABLE", "t", "CREATE"))[:-20],
        archive(version=(1, 17)),
        archive(version=(1, 13)),
        archive().replace(b"\x04\x08\x01", b"\x04\x08\x03"),
    ],
)
def test_what_is_not_a_complete_archive_is_refused(tmp_path, content):
    file = tmp_path / "x.dump"
    file.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        read_archive(file)
    assert caught.value.code == "SRC-DUMP"


def chosen(entries: list[Entry], *wanted: str) -> list[str]:
    kept = choose(entries, lambda found: found.tag in wanted)
    return [found.tag for found in entries if found.dump_id in kept]


def test_what_hangs_on_an_unselected_table_is_left_out():
    entries = [
        entry(1, "TABLE", "a"),
        entry(2, "TABLE", "b"),
        entry(3, "VIEW", "on_a", b"", 1),
        entry(4, "VIEW", "on_both", b"", 1, 2),
        entry(5, "VIEW", "on_view", b"", 4),
        entry(6, "FK CONSTRAINT", "a_to_b", b"", 1, 2),
        entry(7, "FUNCTION", "free"),
    ]
    assert chosen(entries, "a") == ["a", "on_a", "free"]


def test_a_parent_by_inheritance_comes_along():
    entries = [entry(1, "TABLE", "parent"), entry(2, "TABLE", "child", b"", 1)]
    assert chosen(entries, "child") == ["parent", "child"]


def test_a_sequence_of_an_unselected_table_comes_along_when_a_default_uses_it():
    entries = [
        entry(1, "TABLE", "owner"),
        entry(2, "SEQUENCE", "numbers", b"CREATE SEQUENCE numbers", 1),
        entry(3, "SEQUENCE OWNED BY", "owned", b"", 2),
        entry(4, "TABLE", "user"),
        entry(5, "DEFAULT", "user id", b"", 4, 2),
        entry(6, "DEFAULT", "owner id", b"", 1, 2),
    ]
    assert chosen(entries, "user") == ["numbers", "user", "user id"]


def test_an_owned_sequence_goes_with_its_unselected_table():
    entries = [
        entry(1, "TABLE", "a"),
        entry(2, "SEQUENCE", "numbers", b"CREATE SEQUENCE numbers", 1),
        entry(3, "SEQUENCE OWNED BY", "owned", b"", 2),
        entry(4, "DEFAULT", "a id", b"", 1, 2),
    ]
    assert chosen(entries) == []


def test_what_was_not_selected_only_comes_along():
    entries = [
        entry(1, "TYPE", "mood"),
        entry(2, "TABLE", "parent"),
        entry(3, "TABLE", "child", b"", 2, 1),
        entry(4, "SEQUENCE", "child id", b"CREATE SEQUENCE", 3),
        entry(5, "SEQUENCE", "free", b"CREATE SEQUENCE"),
        entry(6, "VIEW", "seen", b"", 3),
    ]
    kept = choose(entries, lambda one: one.tag == "child")
    found = coming_along(entries, kept, lambda one: one.tag == "child", lambda schema, name: name == "seen")
    assert found == {1, 2, 5}


def test_grants_are_split_at_semicolons_outside_of_quotes():
    text = b'REVOKE ALL ON TABLE a FROM "x;\n""y";\nGRANT SELECT ON TABLE a TO b;\n'
    assert list(statements(text)) == [b'REVOKE ALL ON TABLE a FROM "x;\n""y";', b"GRANT SELECT ON TABLE a TO b;"]
