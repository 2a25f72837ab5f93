"""The workloads of the benches, each a function that fills an empty database of the source.

`scale` 1 is the size that the goals are written for; smaller scales have fewer rows (or tables) of the same kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg

Connection = psycopg.Connection[Any]
_AT_ONCE = 50


def pgbench(connection: Connection, scale: float) -> None:
    """What `pgbench -i -s 50` makes: five million accounts of 97 bytes, and three small tables."""
    branches = max(1, round(50 * scale))
    connection.execute(
        "CREATE TABLE pgbench_branches (bid int NOT NULL, bbalance int, filler char(88)) WITH (fillfactor=100);"
        "CREATE TABLE pgbench_tellers (tid int NOT NULL, bid int, tbalance int, filler char(84)) WITH (fillfactor=100);"
        "CREATE TABLE pgbench_accounts (aid int NOT NULL, bid int, abalance int, filler char(84))"
        " WITH (fillfactor=100);"
        "CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22))"
    )
    connection.execute("INSERT INTO pgbench_branches SELECT i, 0, '' FROM generate_series(1, %s) i", (branches,))
    connection.execute(
        "INSERT INTO pgbench_tellers SELECT i, (i - 1) / 10 + 1, 0, '' FROM generate_series(1, %s) i", (10 * branches,)
    )
    connection.execute(
        "INSERT INTO pgbench_accounts SELECT i, (i - 1) / 100000 + 1, 0, '' FROM generate_series(1, %s) i",
        (100_000 * branches,),
    )
    for table, key in (("branches", "bid"), ("tellers", "tid"), ("accounts", "aid")):
        connection.execute(f"ALTER TABLE pgbench_{table} ADD PRIMARY KEY ({key})")


def wide(connection: Connection, scale: float) -> None:
    """Two million rows of about 480 bytes of mixed types, a key and three secondary indexes."""
    connection.execute(
        "CREATE TABLE wide (id bigint PRIMARY KEY, name text, body text, doc jsonb, price numeric, day date, tag text,"
        " at timestamptz, ok boolean, ratio float8, code uuid)"
    )
    connection.execute(
        "INSERT INTO wide SELECT i, 'name ' || i, repeat(md5(i::text), 7),"
        " jsonb_build_object('n', i, 'k', md5(i::text)), i * 1.01, date '2020-01-01' + (i %% 2000)::int,"
        " 't' || i %% 500, timestamptz '2026-01-01' + i * interval '1 s', i %% 3 = 0, i / 7.0, md5(i::text)::uuid"
        " FROM generate_series(1, %s) i",
        (int(2_000_000 * scale),),
    )
    for column in ("name", "day", "code"):
        connection.execute(f"CREATE INDEX wide_{column} ON wide ({column})")


def many(connection: Connection, scale: float) -> None:
    """A thousand tables of a hundred rows with a key and an index, each with a foreign key to the one before it."""
    count = max(2, int(1000 * scale))
    made, tied = [], []
    for number in range(count):
        made.append(
            f"CREATE TABLE many_{number} (id int PRIMARY KEY, parent int, t text);"
            f"INSERT INTO many_{number} SELECT i, i, md5(i::text) FROM generate_series(1, 100) i;"
            f"CREATE INDEX ON many_{number} (t)"
        )
        if number:
            tied.append(f"ALTER TABLE many_{number} ADD FOREIGN KEY (parent) REFERENCES many_{number - 1}")
    # Keys that are there before the rows leave plans in the session, all of which each further table goes through.
    for texts in (made, tied):
        for first in range(0, len(texts), _AT_ONCE):
            connection.execute(";".join(texts[first : first + _AT_ONCE]))


def narrow(connection: Connection, scale: float) -> None:
    """Ten million rows of four small columns and a key."""
    connection.execute("CREATE TABLE narrow (id bigint PRIMARY KEY, a int NOT NULL, b float8, at timestamptz)")
    connection.execute(
        "INSERT INTO narrow SELECT i, i %% 1000, i / 7.0, timestamptz '2026-01-01' + i * interval '1 s'"
        " FROM generate_series(1, %s) i",
        (int(10_000_000 * scale),),
    )


WORKLOADS: dict[str, Callable[[Connection, float], None]] = {
    "pgbench": pgbench,
    "wide": wide,
    "many": many,
    "narrow": narrow,
}


def fingerprint(connection: Connection) -> tuple[int, int, int, tuple[int, ...]]:
    """Return what a migration must have made: valid indexes, proved constraints, tables, rows of the three largest."""
    row = connection.execute(
        "SELECT (SELECT count(*) FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid"
        "          WHERE x.indisvalid AND c.relnamespace = 'public'::regnamespace),"
        "       (SELECT count(*) FROM pg_constraint WHERE convalidated AND contype <> 'n'"
        "          AND connamespace = 'public'::regnamespace),"
        "       (SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace)"
    ).fetchone()
    assert row is not None
    largest = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        " ORDER BY pg_table_size(oid) / (1 << 20) DESC, relname LIMIT 3"
    ).fetchall()
    counts = []
    for (name,) in sorted(largest):
        counted = connection.execute(f'SELECT count(*) FROM public."{name}"').fetchone()
        assert counted is not None
        counts.append(int(counted[0]))
    return int(row[0]), int(row[1]), int(row[2]), tuple(counts)
