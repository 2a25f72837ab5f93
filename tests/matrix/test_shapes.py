"""What is asked of a source about its tables while it changes: every version knows the catalogs that are named."""

from __future__ import annotations

from typing import Any, cast

import pytest

from migrations_app.engine.shapes import read_shapes
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
            assert [column.name for column in shape.columns] == ["id", "v", "late"]
            assert shape.columns[1].definition == """text COLLATE pg_catalog."C" DEFAULT 'x'::text NOT NULL"""
            assert (late.default, late.filled) == ("7", None if version in ("9.3", "9.6", "10") else "7")
            before = connection.execute(query("shapes_hash")).fetchone()
            connection.execute("ALTER TABLE shapes DROP COLUMN late")
            assert connection.execute(query("shapes_hash")).fetchone() != before
            rows = connection.execute(query("unknown_tables"), {"known": []}).fetchall()
            assert (shape.oid, "public", "shapes", None, None, None, False) in rows
            owned = connection.execute(query("owned_sequences"), {"oid": shape.oid}).fetchall()
            assert owned == [("public", "shapes_id_seq", "id")]
        finally:
            connection.execute("DROP TABLE shapes")
