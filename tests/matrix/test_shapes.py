"""What is asked of a source about its tables while it changes: every version knows the catalogs that are named."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from migrations_app.engine.binary_forms import read_binary_forms
from migrations_app.engine.shapes import read_described, read_shapes
from migrations_app.engine.sql import query
from tests.matrix.conftest import Servers
from tests.servers import why_unavailable

pytestmark = pytest.mark.matrix


@pytest.mark.parametrize("version", ["9.3", "9.6", "10", "11", "18"])
def test_the_columns_of_a_table_are_read_on_every_version(version: str, versions: Servers) -> None:
    if reason := why_unavailable(version):
        pytest.skip(reason)
    with versions.of(version, "source").connect() as connection:
        connection.execute("CREATE TABLE shapes (id serial PRIMARY KEY, v text COLLATE \"C\" NOT NULL DEFAULT 'x')")
        connection.execute("INSERT INTO shapes VALUES (1)")
        connection.execute("ALTER TABLE shapes ADD COLUMN late int DEFAULT 7")
        try:
            (shape,) = read_shapes(cast(Any, connection), place=("public", "shapes")).values()
            late = shape.columns[2]
            if version != "9.3":  # without any sync
                numbers = {"id": 1, "v": 2, "late": 3}
                assert read_described(cast(Any, connection), shape.oid, [(1043, 9), (23, -1), (4711, -1)]) == (
                    ["character varying(5)", "integer", "???"],
                    numbers,
                )
                assert read_described(cast(Any, connection), 4711, []) == ([], {})
                assert shape.numbers == numbers
            assert [column.name for column in shape.columns] == ["id", "v", "late"]
            assert (shape.unlogged, shape.key_name, shape.key) == (False, "shapes_pkey", ("id",))
            assert shape.columns[1].definition == """text COLLATE pg_catalog."C" DEFAULT 'x'::text NOT NULL"""
            assert (late.default, late.filled) == ("7", None if version in ("9.3", "9.6", "10") else "7")
            before = connection.execute(query("shapes_hash")).fetchone()
            connection.execute("ALTER TABLE shapes DROP COLUMN late")
            assert connection.execute(query("shapes_hash")).fetchone() != before
            rows = connection.execute(query("unknown_tables"), {"known": []}).fetchall()
            assert (shape.oid, "public", "shapes", False, None, None, None, False) in rows
            owned = connection.execute(query("owned_sequences"), {"oid": shape.oid}).fetchall()
            assert owned == [("public", "shapes_id_seq", "id")]
        finally:
            connection.execute("DROP TABLE shapes")


@pytest.mark.parametrize("version", ["9.3", "9.6", "10", "13", "14", "18"])
def test_what_types_look_like_in_binary_is_read_on_every_version(version: str, versions: Servers) -> None:
    if reason := why_unavailable(version):
        pytest.skip(reason)
    with versions.of(version, "source").connect() as connection:
        connection.execute("CREATE TYPE felt AS ENUM ('sad'); CREATE TYPE span AS RANGE (SUBTYPE = float8)")
        connection.execute("CREATE DOMAIN odd AS int; CREATE TYPE both_of AS (a odd, b text)")
        connection.execute("CREATE TABLE forms (a felt, b felt[], c span, d odd, e both_of, f text[], g tsvector)")
        try:
            forms = read_binary_forms(cast(Any, connection))
            rows = connection.execute(
                "SELECT atttypid::bigint FROM pg_attribute WHERE attrelid = 'forms'::regclass AND attnum > 0"
                " ORDER BY attnum"
            ).fetchall()
            shown = [re.sub("#[0-9]+", "#n", forms[oid]) for (oid,) in rows]
            number = "#n" if version in ("9.3", "9.6", "10", "13") else "#"
            wanted = ["enum", f"array {number}:enum", "range 701", "23", f"({number}:23,25:25)", "array 25:25", ""]
            assert shown == wanted
        finally:
            connection.execute("DROP TABLE forms; DROP TYPE both_of, felt, span; DROP DOMAIN odd")
