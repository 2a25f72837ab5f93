"""Whoever migrates the console's own SQLite database holds off others by its file, where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrations_app.management.commands.migrate import file_of


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("/var/lib/towpath/db.sqlite3", "/var/lib/towpath/db.sqlite3"),
        ("file:/var/lib/towpath/db.sqlite3?cache=shared", "/var/lib/towpath/db.sqlite3"),
        ("file:///var/lib/of%20it/db.sqlite3?mode=rwc", "/var/lib/of it/db.sqlite3"),
        ("file:db.sqlite3", "db.sqlite3"),
        ("file:memorydb_default?mode=memory&cache=shared", None),
        ("file::memory:?cache=shared", None),
        (":memory:", None),
    ],
)
def test_a_database_is_known_by_its_file_also_where_its_name_is_an_address(name: str, file: str | None) -> None:
    assert file_of(name) == (None if file is None else Path(file))
