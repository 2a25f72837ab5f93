"""Names in encodings of which Python reads some characters otherwise than PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.server_codecs import codec_for
from tests.postgres.sync_kit import Pair

ENCODINGS = {"EUC_CN": "gb2312", "EUC_JP": "euc_jp", "EUC_KR": "euc_kr", "EUC_JIS_2004": "euc_jis_2004"}
ODD = "\uff5e①髙ー\uff0d"  # full-width tilde and minus, which look like others
TABLES = f"""
CREATE TABLE "{ODD}" (id int PRIMARY KEY, "v{ODD}" text);
CREATE TABLE told (id int, "{ODD}" text);
ALTER TABLE told REPLICA IDENTITY FULL;
"""
READ = """
CREATE FUNCTION read(data bytea) RETURNS text LANGUAGE plpgsql AS $$
  BEGIN RETURN convert_from(data, '{encoding}'); EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$
"""


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_character_is_read_and_written_as_the_server_does(
    source_cluster: Cluster, source_db: str, encoding: str
) -> None:
    high = range(0xA1, 0xFF)
    sent = [bytes([*before, *pair]) for before in ((), (0x8F,)) for pair in ((a, b) for a in high for b in high)]
    sent += [bytes([0x8E, b]) for b in high]
    with source_cluster.connect(source_db) as connection:
        connection.execute(READ.format(encoding=encoding).encode())
        rows = connection.execute(
            "SELECT b, read(b), convert_to(read(b), %s) FROM unnest(%s::bytea[]) b WHERE read(b) IS NOT NULL",
            (encoding, [one for one in sent if one[0] != 0x8F or encoding.startswith("EUC_J")]),
        ).fetchall()
    codec = codec_for(ENCODINGS[encoding])
    assert len(rows) > 6000
    assert [data for data, text, _ in rows if data.decode(codec, "surrogateescape") != text] == []
    assert [text for _, text, data in rows if text.encode(codec, "surrogateescape") != data] == []


def test_bytes_that_are_no_character_are_the_same_bytes_again() -> None:
    codec = codec_for("euc_jp")
    for data in (b"a\xa1", b"\x8f\xa1b", b"\xa9\xa1\xff", "①".encode(codec) + b"\x8e"):
        assert data.decode(codec, "surrogateescape").encode(codec, "surrogateescape") == data
        assert data.decode(codec, "replace")


@pytest.fixture(params=[True, False])
def apart(
    request: pytest.FixtureRequest, source_cluster: Cluster, target_cluster: Cluster, encoding: str
) -> Iterator[Pair]:
    """A source in this encoding, and a target in the same or in UTF8."""
    name = f"apart_{secrets.token_hex(4)}"
    for cluster, own in ((source_cluster, encoding), (target_cluster, encoding if request.param else "UTF8")):
        with cluster.connect() as connection:
            made = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING {own} LOCALE 'C'"
            connection.execute(made.encode())
            connection.execute(f"ALTER DATABASE {name} SET client_encoding = 'UTF8'".encode())  # for our statements
    yield Pair(source_cluster, target_cluster, name, name)
    with source_cluster.connect() as connection:
        slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"
        connection.execute(slots, (name,))
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.mark.parametrize("encoding", ["EUC_JP"])
def test_names_with_such_characters_are_followed(apart: Pair) -> None:
    pair = apart
    pair.build(TABLES)
    pair.at_source(
        f"""INSERT INTO "{ODD}" SELECT g, '①' FROM generate_series(1, 100) g""",
        f"INSERT INTO told VALUES (1, '{ODD}'), (2, '')",
        f"""UPDATE "{ODD}" SET "v{ODD}" = '髙' WHERE id = 1; DELETE FROM told WHERE id = 2""",
        f"""UPDATE "{ODD}" SET id = id + 1000; UPDATE told SET "{ODD}" = '①'""",
    )
    pair.catch_up()
    pair.assert_equal()
    pair.at_source("TRUNCATE told")
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("encoding", ["EUC_TW"])
def test_a_database_in_an_encoding_that_python_does_not_know_is_followed(apart: Pair) -> None:
    pair = apart
    pair.build('CREATE TABLE "乙" (id int PRIMARY KEY, "丁" text)')
    pair.at_source(
        """INSERT INTO "乙" VALUES (1, '人'), (2, '力')""",
        """UPDATE "乙" SET "丁" = '七' WHERE id = 1; DELETE FROM "乙" WHERE id = 2""",
    )
    pair.catch_up()
    assert pair.value('SELECT "丁" FROM "乙"', "target") == "七"
    pair.assert_equal()
