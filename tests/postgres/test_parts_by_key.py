"""Before version 14 a table is cut by the statistics of its key: each row is in one part, however these are sorted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migrations_app.engine.catalog import read_tables
from migrations_app.engine.connect import Connection
from migrations_app.engine.parts import Part, plan_parts
from tests.servers import Server, started, why_unavailable

ROWS = 3000
SPREAD = "md5(n::text)"
MIXED = f"CASE n % 3 WHEN 0 THEN {SPREAD} WHEN 1 THEN upper({SPREAD}) ELSE initcap(reverse({SPREAD})) END"


@pytest.fixture(scope="module", params=["11", pytest.param("13", marks=pytest.mark.long)])
def old(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with a database that sorts by bytes. Before 12 statistics are sorted as that is, since as the column."""
    if reason := why_unavailable(request.param):
        pytest.skip(reason)
    with started("parts-by-key", request.param) as one:
        with one.connect() as admin:
            admin.execute("CREATE DATABASE parts TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'")
        with one.connect("parts") as admin:
            for name in ("citext", "ltree", "cube"):
                admin.execute(f"CREATE EXTENSION {name}".encode())
            admin.execute('CREATE DOMAIN bytewise AS text COLLATE "C"')
        yield one


@pytest.fixture
def connection(old: Server) -> Iterator[Connection]:
    """A session as the copy has it."""
    with old.connect("parts") as made:
        try:
            yield made
        finally:
            made.execute("DROP TABLE IF EXISTS public.t")


def parts_of(connection: Connection, kind: str, value: str) -> list[Part]:
    """Make a table with such a key, and return its parts."""
    connection.execute(f"CREATE TABLE t (k {kind} PRIMARY KEY, filler text)".encode())
    connection.execute(f"INSERT INTO t SELECT {value}, repeat('x', 100) FROM generate_series(1, {ROWS}) n".encode())
    connection.execute("ANALYZE t")
    connection.execute("SET search_path = ''")
    [table] = read_tables(connection)
    with connection.transaction(force_rollback=True):
        return plan_parts(connection, table, 16384, 4)


def counted(connection: Connection, part: Part) -> int:
    row = connection.execute(f"SELECT count(*) FROM ONLY public.t WHERE {part.where or 'true'}".encode()).fetchone()
    assert row
    return int(str(row[0]))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("citext", MIXED),
        ('text COLLATE "en-x-icu"', MIXED),
        ('varchar(40) COLLATE "en-x-icu"', MIXED),
        ("text", MIXED),
        ("name", MIXED),
        ("char(40)", MIXED),
        ("bytewise", MIXED),
        ("text[]", f"ARRAY[{MIXED}]"),
        ("numeric", "(n - 1000) / 7.0"),
        ("float8", "CASE n WHEN 1 THEN 'NaN'::float8 WHEN 2 THEN '-Infinity' ELSE n / 7.0::float8 END"),
        ("timestamptz", "'2020-01-01'::timestamptz + n * interval '1 hour'"),
        ("bytea", f"decode({SPREAD}, 'hex')"),
        ("uuid", f"{SPREAD}::uuid"),
    ],
)
def test_each_row_is_in_one_of_several_parts(connection: Connection, kind: str, value: str) -> None:
    shares = [counted(connection, part) for part in parts_of(connection, kind, value)]
    assert sum(shares) == ROWS
    assert len(shares) > 4
    assert max(shares) < ROWS / 2


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("ltree", f"('top.' || {SPREAD})::ltree"),
        ("cube", "cube(n)"),
        ('bytewise COLLATE "en-x-icu"', MIXED),  # the value of a condition has another
    ],
)
def test_a_key_that_no_condition_can_compare_is_copied_as_a_whole(
    connection: Connection, kind: str, value: str
) -> None:
    parts = parts_of(connection, kind, value)
    assert [part.where for part in parts] == [""]
    assert counted(connection, parts[0]) == ROWS
