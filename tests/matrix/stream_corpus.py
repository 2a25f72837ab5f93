"""Statements whose changes hold every trap of test_decoding's text, and how to record what a server says of them.

`python -m tests.matrix.stream_corpus HOST PORT PASSWORD FILE` records the stream of a server for the unit tests.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psycopg

SLOT = "corpus"
STATEMENTS = (
    'CREATE SCHEMA "x"',
    "CREATE TYPE x.\"we[ird\" AS ENUM ('a', 'b]:c')",
    "CREATE TABLE x.plain (id int PRIMARY KEY, t text, b boolean, n numeric, f float8, bi bit(5), vb bit varying(9),"
    ' c "char", a text[], w x."we[ird"[], d date, o oid)',
    'CREATE TABLE x."full" (a int, b text)',
    'ALTER TABLE x."full" REPLICA IDENTITY FULL',
    'CREATE TABLE x."T ""q"", with [brackets]: INSERT:" ("id" int, "col]:[ ""x""" text, "select" text,'
    " PRIMARY KEY (id))",
    "CREATE TABLE x.bare (a int, b text)",
    "CREATE TABLE x.toasted (id int PRIMARY KEY, small int, big text)",
    "ALTER TABLE x.toasted ALTER big SET STORAGE EXTERNAL",
    "CREATE TABLE x.by_index (code text NOT NULL, v int)",
    "CREATE UNIQUE INDEX by_index_code ON x.by_index (code)",
    "ALTER TABLE x.by_index REPLICA IDENTITY USING INDEX by_index_code",
    "CREATE TABLE x.nothing ()",
    "CREATE TABLE x.gone (id int PRIMARY KEY, old text, v text)",
    "ALTER TABLE x.gone DROP COLUMN old",
    'CREATE TABLE x.accents (id int PRIMARY KEY, "größe" text)',
    "CREATE TABLE x.with_oid (id int PRIMARY KEY) WITH OIDS",
)
CHANGES = (
    "INSERT INTO x.plain VALUES (1, E'it''s \"q\" \\\\\\n new-tuple: id[integer]:2', true, 1.500, 0.1, B'10101', B'1',"
    " 'x', '{null,\"null\",\"a b\",\"]:\"}', '{a,\"b]:c\"}', '2020-02-29', 4294967295)",
    "INSERT INTO x.plain (id, t) VALUES (2, 'null'), (3, NULL), (4, ''), (5, ''''), (6, 'unchanged-toast-datum')",
    "INSERT INTO x.plain (id, b, n, f) VALUES (-7, false, 'NaN', '-Infinity')",
    "UPDATE x.plain SET t = 'new' WHERE id = 1",
    "UPDATE x.plain SET id = 8 WHERE id = 2",
    "DELETE FROM x.plain WHERE id = 3",
    'INSERT INTO x."full" VALUES (1, NULL), (NULL, \'v\'), (NULL, NULL)',
    'UPDATE x."full" SET b = \'w\' WHERE a = 1',
    'UPDATE x."full" SET b = \'z\' WHERE a IS NULL AND b IS NULL',
    'DELETE FROM x."full" WHERE b = \'v\'',
    'INSERT INTO x."T ""q"", with [brackets]: INSERT:" VALUES (1, E\']:\\\'\', \'s\')',
    'UPDATE x."T ""q"", with [brackets]: INSERT:" SET id = 2, "select" = NULL',
    'DELETE FROM x."T ""q"", with [brackets]: INSERT:"',
    "INSERT INTO x.bare VALUES (1, 'b')",
    "UPDATE x.bare SET b = 'c'",
    "DELETE FROM x.bare",
    "INSERT INTO x.toasted SELECT 1, 1, repeat('long ', 1000)",
    "UPDATE x.toasted SET small = 2",
    "INSERT INTO x.by_index VALUES ('k', 1)",
    "UPDATE x.by_index SET code = 'l'",
    "DELETE FROM x.by_index",
    "INSERT INTO x.nothing DEFAULT VALUES",
    "INSERT INTO x.gone VALUES (1, 'kept')",
    "INSERT INTO x.accents VALUES (1, 'Ärger')",
    "INSERT INTO x.with_oid VALUES (1)",
    "DELETE FROM x.with_oid",
)  # fmt: skip


def record(connection: psycopg.Connection[Any]) -> list[bytes]:
    """Run the statements in an empty database and return the messages of the changes."""
    for statement in STATEMENTS:
        connection.execute(statement.encode())
    connection.execute(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'test_decoding')".encode())
    try:
        for statement in CHANGES:
            connection.execute(statement.encode())
        rows = connection.execute(
            f"SELECT data FROM pg_logical_slot_get_binary_changes('{SLOT}', NULL, NULL, 'include-timestamp', 'on',"
            " 'skip-empty-xacts', 'on')".encode()
        ).fetchall()
    finally:
        connection.execute(f"SELECT pg_drop_replication_slot('{SLOT}')".encode())
    return [bytes(row[0]) for row in rows]


def main(host: str, port: str, password: str, file: str) -> None:
    """Record into `file`: one JSON string a line, each character one byte."""
    login = {"host": host, "port": port, "user": "postgres", "password": password, "autocommit": True}
    with psycopg.connect(dbname="postgres", **login) as admin:  # type: ignore[arg-type]
        admin.execute("DROP DATABASE IF EXISTS corpus")
        admin.execute("CREATE DATABASE corpus TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
        with psycopg.connect(
            dbname="corpus", client_encoding="UTF8", options="-c search_path= -c timezone=UTC", **login
        ) as one:  # type: ignore[arg-type]
            messages = record(one)
        admin.execute("DROP DATABASE corpus")
    Path(file).write_text(
        "".join(json.dumps(message.decode("latin-1"), ensure_ascii=True) + "\n" for message in messages)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
