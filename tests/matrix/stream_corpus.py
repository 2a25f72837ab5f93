"""Statements whose changes hold every trap of test_decoding's text, and how to record what a server says of them.

`python -m tests.matrix.stream_corpus VERSION FOLDER` starts a server of that version and records its streams for the
unit tests: test_decoding before 10, pgoutput from 10 on, from 14 on with values in binary form as well.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psycopg

from tests.folders import public_folder
from tests.servers import Server, server

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


def _statements(version: int) -> list[str]:
    """Return what makes the tables on a server of this version (as server_version_num)."""
    return [text.removesuffix(" WITH OIDS") if version >= 120000 else text for text in STATEMENTS]


def _changes(version: int) -> list[str]:
    """Return the changes that this server lets through: one that publishes asks for an identity, and empties tables."""
    if version < 100000:
        return list(CHANGES)
    published = [text for text in CHANGES if text not in ("UPDATE x.bare SET b = 'c'", "DELETE FROM x.bare")]
    return [*published, "TRUNCATE x.bare, x.plain RESTART IDENTITY CASCADE"] if version >= 110000 else published


def record(connection: psycopg.Connection[Any], *, binary: bool = False) -> list[bytes]:
    """Run the statements in an empty database and return the messages of the changes."""
    version = connection.info.server_version
    plugin = "pgoutput" if version >= 100000 else "test_decoding"
    for statement in _statements(version):
        connection.execute(statement.encode())
    options = "'include-timestamp', 'on', 'skip-empty-xacts', 'on'"
    if plugin == "pgoutput":
        connection.execute("CREATE PUBLICATION corpus FOR ALL TABLES")
        options = "'proto_version', '1', 'publication_names', 'corpus'" + (", 'binary', 'true'" if binary else "")
    connection.execute(f"SELECT pg_create_logical_replication_slot('{SLOT}', '{plugin}')".encode())
    try:
        for statement in _changes(version):
            connection.execute(statement.encode())
        rows = connection.execute(
            f"SELECT data FROM pg_logical_slot_get_binary_changes('{SLOT}', NULL, NULL, {options})".encode()
        ).fetchall()
    finally:
        connection.execute(f"SELECT pg_drop_replication_slot('{SLOT}')".encode())
    return [bytes(row[0]) for row in rows]


def _record_into(cluster: Server, path: Path, *, binary: bool = False) -> None:
    """Record into a file: one JSON string a line, each character one byte."""
    with cluster.connect() as admin:
        admin.execute("DROP DATABASE IF EXISTS corpus")
        admin.execute("CREATE DATABASE corpus TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'")
        login = cluster.arguments("corpus") | {"options": "-c search_path= -c timezone=UTC", "client_encoding": "UTF8"}
        with psycopg.connect(**login, autocommit=True) as one:
            messages = record(one, binary=binary)
        admin.execute("DROP DATABASE corpus")
    path.write_text("".join(json.dumps(message.decode("latin-1"), ensure_ascii=True) + "\n" for message in messages))


def main(version: str, folder: str) -> None:
    """Start a server and record everything that it can send."""
    with public_folder("corpus") as place:
        cluster = server(place / version, version, {"wal_level": "logical"}, package=True)
        cluster.create()
        cluster.start()
        try:
            with cluster.connect() as connection:
                number = connection.info.server_version
            plugin = "pgoutput" if number >= 100000 else "test_decoding"
            _record_into(cluster, Path(folder) / f"{plugin}-{version}.jsonl")
            if number >= 140000:
                _record_into(cluster, Path(folder) / f"{plugin}-binary-{version}.jsonl", binary=True)
        finally:
            cluster.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
