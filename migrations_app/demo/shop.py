"""Sample data: the database `shop` with one of everything that a migration can stumble over, and a small `analytics`.

`shop` holds about 30 tables and 1.4 million rows at scale 1; the same scale gives the same rows everywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg

_FOLDER = Path(__file__).with_name("sql")
_SHOP = ("shop-1-tables.sql", "shop-2-rows.sql", "shop-3-keys.sql")
_PINNED = "SET LOCAL TimeZone = 'UTC'; SET LOCAL client_encoding = 'UTF8'; SET LOCAL search_path = ''"


def _run(connection: psycopg.Connection[Any], text: str) -> None:
    connection.execute(text.encode())  # bytes: the files are ours, and psycopg takes no dynamic str


def load_shop(connection: psycopg.Connection[Any], scale: float = 1.0) -> None:
    """Fill the empty database of `connection` in one transaction; scale 0.01 takes about a second, 1.0 about ten.

    The small tables keep their size at every scale. Raises psycopg.Error when anything is already there.
    """
    with connection.transaction():
        _run(connection, _PINNED)
        connection.execute(
            "SELECT set_config('shop.scale', %s, true), set_config('synchronous_commit', 'off', true)", (str(scale),)
        )
        for name in _SHOP:
            _run(connection, (_FOLDER / name).read_text().replace("COMMENT ON DATABASE shop", _comment_on(connection)))
    connection.execute("ANALYZE")


def _comment_on(connection: psycopg.Connection[Any]) -> str:
    return "COMMENT ON DATABASE " + '"' + connection.info.dbname.replace('"', '""') + '"'


def load_analytics(connection: psycopg.Connection[Any]) -> None:
    """Fill the empty database of `connection` with four small tables, in one transaction."""
    with connection.transaction():
        _run(connection, _PINNED)
        _run(connection, (_FOLDER / "analytics.sql").read_text())
    connection.execute("ANALYZE")


def table_counts(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Return the exact number of rows of every ordinary table and leaf partition, by quoted qualified name."""
    names = connection.execute(
        "SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema' ORDER BY 1",
        (),
    ).fetchall()
    counts = {}
    for (name,) in names:
        row = connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone()  # noqa: S608 - quoted by format %I
        counts[name] = int(row[0]) if row else 0
    return counts
