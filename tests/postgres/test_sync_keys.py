"""Keys of awkward types end as on the source, to the last character, and as a native subscription leaves them."""

from __future__ import annotations

from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.catalog import read_tables
from migrations_app.engine.replication.session import SyncSession
from tests.fakes import wait_until
from tests.postgres import batches_kit, test_differential
from tests.postgres.sync_kit import Pair, force_path
from tests.postgres.test_differential import _confirmed, subscribed

# Fixtures that stand elsewhere.
pair = batches_kit.pair
small = batches_kit.small
third_cluster = test_differential.third_cluster

TYPES = """
CREATE TYPE duo AS (a int, b numeric);
CREATE TYPE mood AS ENUM ('low', 'Mid', 'high');
CREATE DOMAIN price AS numeric;
CREATE DOMAIN fair AS price CHECK (value <> 13);
CREATE DOMAIN words AS text[];
CREATE TYPE span AS RANGE (subtype = float8);
"""
# By type: four keys that differ, and for some of them another text that counts as equal.
KEYS: dict[str, tuple[list[str], dict[str, str]]] = {
    "numeric": (["1.0", "NaN", "Infinity", "-Infinity"], {"1.0": "1.000"}),
    "numeric(9,-2)": (["1234", "5678", "99999", "-1200"], {}),
    "float8": (["0", "NaN", "Infinity", "1e-300"], {"0": "-0"}),
    "float4": (["-0", "NaN", "-Infinity", "16777216"], {"-0": "0"}),
    "char(5)": (["a", "ab", "", "ü  x"], {}),
    "varchar(7)": (["a", "a ", "", " a"], {}),
    "text": (["a", "A", "", "a'\\b"], {}),
    '"char"': (["a", "b", "\\001", "\\377"], {}),
    "name": (["a", "b", "C", "d e"], {}),
    "bytea": (["\\x00", "\\x", "\\xff00", "\\x5c78"], {}),
    "interval": (["1 day", "1 mon", "-1 year", "00:00:00.000001"], {"1 day": "24:00:00", "1 mon": "30 days"}),
    "timestamp": (["infinity", "-infinity", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999"], {}),
    "timestamptz": (["infinity", "-infinity", "2026-01-01 00:00:00+14", "1900-01-01 00:00:00.5+00"], {}),
    "date": (["infinity", "-infinity", "4713-01-01 BC", "2026-02-28"], {}),
    "timetz": (["12:00:00+00", "12:00:00+02", "24:00:00-15:59", "00:00:00+15:59:59"], {}),
    "jsonb": (['{"a": 1.0}', "[]", "null", '"x"'], {'{"a": 1.0}': '{"a": 1.00}'}),
    "duo": (["(1,2.0)", "(,)", "(,2)", "(1,)"], {"(1,2.0)": "(1,2.00)"}),
    "mood": (["low", "Mid", "high"], {}),
    "price": (["1.0", "NaN", "-0", "13"], {"1.0": "1.00"}),
    "fair": (["1.0", "NaN", "Infinity", "12"], {"1.0": "1.00"}),
    "words": (["{a,NULL}", "{}", "{{a,b},{c,d}}", '{"NULL",""}'], {}),
    "numeric[]": (["{1.0,NaN}", "{NULL}", "[2:3]={1,2}", "{{1},{2}}"], {"{1.0,NaN}": "{1.00,NaN}"}),
    "int4range": (["[1,5)", "empty", "(,)", "[5,)"], {}),
    "span": (["[0,5)", "empty", "(,)", "[NaN,NaN]"], {"[0,5)": "[-0,5)"}),
    "nummultirange": (["{[1.0,2.0)}", "{}", "{(,)}", "{[1,2),[5,6)}"], {"{[1.0,2.0)}": "{[1.00,2.0)}"}),
    "inet": (["10.0.0.1", "10.0.0.1/24", "::1", "10.0.0.0/8"], {}),
    "cidr": (["10.0.0.0/24", "10.0.0.0/8", "::/0", "10.0.0.1/32"], {}),
    "macaddr8": (["08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff:ff:ff"], {}),
    "bit varying": (["101", "1010", "", "0"], {}),
    "bit(3)": (["101", "111", "000", "001"], {}),
    "tsvector": (["'a':1 'b':2", "'a':1A", "", "'a b'"], {}),
    "pg_lsn": (["0/0", "0/1", "FFFFFFFF/FFFFFFFF", "1/0"], {}),
    "xid8": (["0", "1", "18446744073709551615", "7"], {}),
    "money": (["1.00", "-1.00", "0", "92233720368547758.07"], {}),
    "uuid": ([f"{n}0000000-0000-0000-0000-000000000000" for n in "0af1"], {}),
    "bool": (["t", "f"], {}),
    "oid": (["0", "1", "4294967295", "77"], {}),
    "regtype": (["integer", "text", "duo", "-"], {}),
}
TEXT_ONLY = {"duo", "span", "tsvector", "xid8", "regtype"}
LARGE = "(SELECT string_agg(md5((g * 7 + {0})::text), '') FROM generate_series(1, 400) g)"


@pytest.fixture(params=["rows", "batches"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    force_path(monkeypatch, request.param)
    return str(request.param)


def ends_as_native(pair: Pair, third: Cluster, tables: str, *changes: str) -> None:
    """Both ways end as the source, row by row."""
    pair.build(tables)
    with subscribed(pair, third, tables) as native:
        pair.at_source(*changes)
        pair.catch_up()
        until = pair.insert_lsn()
        wait_until(lambda: _confirmed(pair) >= until, 20, "the native subscription")
        wanted = pair.rows("source")
        assert native.rows("target") == wanted
        assert pair.rows("target") == wanted


def _literal(key: str, kind: str) -> str:
    return "'" + key.replace("'", "''") + f"'::{kind}"


def _of(table: str, kind: str) -> list[str]:
    """What happens to the rows of one table: each statement is a transaction."""
    keys, variants = KEYS[kind]
    known = [_literal(key, kind) for key in keys]
    same = {_literal(old, kind): _literal(new, kind) for old, new in variants.items()}
    found = [f"INSERT INTO {table} VALUES ({key}, {LARGE.format(n)}, {n})" for n, key in enumerate(known)]
    found += [f"UPDATE {table} SET n = n + 10", f"UPDATE {table} SET v = 'now ' || v WHERE n % 2 = 0"]
    for old, new in same.items():
        found += [
            f"UPDATE {table} SET k = {new} WHERE k = {old}",
            f"UPDATE {table} SET n = n + 100 WHERE k = {old}",
            f"BEGIN; DELETE FROM {table} WHERE k = {old}; INSERT INTO {table} VALUES ({old}, 'back', 5); COMMIT",
            f"BEGIN; UPDATE {table} SET k = {new}, n = 6 WHERE k = {old}; UPDATE {table} SET v = 'x' WHERE k = {old};"
            f" DELETE FROM {table} WHERE k = {new}; INSERT INTO {table} VALUES ({new}, 'again', 7); COMMIT",
        ]
    first, second, *rest = known
    last = rest[-1] if rest else first
    found.append(
        f"BEGIN; DELETE FROM {table} WHERE k = {last}; UPDATE {table} SET k = {last} WHERE k = {second};"
        f" SAVEPOINT s; DELETE FROM {table}; ROLLBACK TO s;"
        f" INSERT INTO {table} VALUES ({second}, 'new', 3) ON CONFLICT DO NOTHING;"
        f" UPDATE {table} SET n = n * 2 WHERE k IN ({first}, {last}); DELETE FROM {table} WHERE k = {second};"
        f" INSERT INTO {table} VALUES ({second}, 'newer', 4) ON CONFLICT DO NOTHING; COMMIT"
    )
    return [*found, f"DELETE FROM {table} WHERE k = {first}"]


@pytest.mark.sample(3)
@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
@pytest.mark.parametrize("form", ["text", "binary"])
def test_rows_are_followed_by_keys_of_every_type(
    form: str, identity: str, pair: Pair, third_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms: list[int] = []
    real = SyncSession._make_applier

    def make(self: SyncSession, *values: Any, binary: bool) -> Any:
        forms.append(binary)
        return real(self, *values, binary=binary)

    monkeypatch.setattr(SyncSession, "_make_applier", make)
    kinds = [kind for kind in KEYS if form == "text" or kind not in TEXT_ONLY]
    names = {kind: f"t{number}" for number, kind in enumerate(kinds)}
    tables = TYPES + "".join(
        f"CREATE TABLE {name} (k {kind} PRIMARY KEY, v text, n int); ALTER TABLE {name} REPLICA IDENTITY {identity};"
        for kind, name in names.items()
    )
    steps = [_of(name, kind) for kind, name in names.items()]
    ends_as_native(pair, third_cluster, tables, *(one for step in steps for one in step))
    assert forms == [form == "binary"]


UNIQUES = """
CREATE TABLE held (id int PRIMARY KEY, u text UNIQUE, d int UNIQUE DEFERRABLE INITIALLY DEFERRED, r int4range, big text,
  s text UNIQUE NULLS NOT DISTINCT,
  EXCLUDE USING gist (r WITH &&));
CREATE TABLE late (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, i int NOT NULL, v text);
CREATE UNIQUE INDEX late_i ON late (i); ALTER TABLE late REPLICA IDENTITY USING INDEX late_i;
CREATE TABLE found (a int NOT NULL, b text NOT NULL, v text);
CREATE UNIQUE INDEX found_a ON found (a); CREATE UNIQUE INDEX found_b ON found (b);
ALTER TABLE found REPLICA IDENTITY USING INDEX found_a;
CREATE TABLE moved (id int, part int, v text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
CREATE TABLE moved_1 PARTITION OF moved FOR VALUES IN (1);
CREATE TABLE moved_2 (v text, part int NOT NULL, id int NOT NULL);
ALTER TABLE moved ATTACH PARTITION moved_2 FOR VALUES IN (2);
CREATE TABLE moved_3 PARTITION OF moved FOR VALUES IN (3) PARTITION BY RANGE (id);
CREATE TABLE moved_3_1 PARTITION OF moved_3 FOR VALUES FROM (0) TO (100);
CREATE TABLE moved_3_2 PARTITION OF moved_3 FOR VALUES FROM (100) TO (9000);
"""
CHANGES = [
    f"INSERT INTO held SELECT g, 'u' || g, g, int4range(g * 10, g * 10 + 5), {LARGE.format('g')} || g, 's' || g"
    " FROM generate_series(1, 60) g",
    "INSERT INTO late SELECT g, g, 'v' FROM generate_series(1, 60) g",
    "INSERT INTO found SELECT g, 'b' || g, 'v' FROM generate_series(1, 60) g",
    "INSERT INTO moved SELECT g, 1 + g % 3, 'v' FROM generate_series(1, 120) g",
    # values that change hands, within a transaction and from one to the next
    "BEGIN; UPDATE held SET u = NULL WHERE id = 1; UPDATE held SET u = 'u1' WHERE id = 2;"
    " UPDATE held SET u = 'u2' WHERE id = 1; COMMIT",
    "UPDATE held SET u = 'spare' WHERE id = 3",
    "UPDATE held SET u = 'u3' WHERE id = 4",
    "UPDATE held SET u = 'u4' WHERE id = 3",
    "UPDATE held SET d = 61 - d",
    "BEGIN; UPDATE held SET r = 'empty' WHERE id = 5; UPDATE held SET r = '[50,55)' WHERE id = 6;"
    " UPDATE held SET r = '[60,65)' WHERE id = 5; COMMIT",
    "BEGIN; DELETE FROM held WHERE id = 7; INSERT INTO held SELECT 700, 'u7', 54, '[70,75)', 'short', 's7'; COMMIT",
    # a key that changes under a large value that stays
    "UPDATE held SET id = id + 1000 WHERE id BETWEEN 10 AND 19",
    "BEGIN; UPDATE held SET id = 5000 WHERE id = 20; UPDATE held SET id = 20 WHERE id = 21;"
    " UPDATE held SET id = 21, u = 'x' WHERE id = 5000; COMMIT",
    "UPDATE late SET id = 61 - id",
    "BEGIN; UPDATE late SET id = id + 1; UPDATE late SET i = -i; UPDATE late SET v = 'w' WHERE i < -30; COMMIT",
    "UPDATE found SET a = a + 100, v = 'moved'",
    "ALTER TABLE found REPLICA IDENTITY USING INDEX found_b",
    "UPDATE found SET b = b || '!', v = 'by b' WHERE a > 130",
    "BEGIN; DELETE FROM found WHERE a = 101; ALTER TABLE found REPLICA IDENTITY FULL; UPDATE found SET a = a + 1000;"
    " ALTER TABLE found REPLICA IDENTITY USING INDEX found_a; DELETE FROM found WHERE a = 1102; COMMIT",
    # rows that move between partitions with and without their key
    "UPDATE moved SET part = part % 3 + 1",
    "UPDATE moved SET id = id + 200 WHERE part = 3 AND id < 60",
    "BEGIN; UPDATE moved SET part = 2, id = -id WHERE part = 1; UPDATE moved SET part = 1, id = -id WHERE id < -50;"
    " DELETE FROM moved WHERE id < -40; COMMIT",
    # what is taken back, and what is told beside rows
    "BEGIN; SAVEPOINT a; UPDATE moved SET v = 'no'; SAVEPOINT b; DELETE FROM held; ROLLBACK TO b;"
    " UPDATE late SET v = 'no'; ROLLBACK TO a; UPDATE moved SET v = 'yes' WHERE id < 30; RELEASE a; COMMIT",
    "SELECT pg_logical_emit_message(false, 'p', 'at once')",
    "BEGIN; SELECT pg_logical_emit_message(true, 'p', repeat('m', 9000)); UPDATE late SET v = 'm' WHERE i = -1;"
    " SELECT pg_logical_emit_message(false, 'p', 'within'); UPDATE late SET v = 'n' WHERE i = -2; COMMIT",
    "BEGIN; UPDATE held SET u = 'two ' || id, s = NULLIF(s, 's8') WHERE id < 9;"
    " DELETE FROM late WHERE i = -3; PREPARE TRANSACTION 'kept'",
    "BEGIN; INSERT INTO late VALUES (7777, 7777, 'never'); PREPARE TRANSACTION 'lost'",
    "UPDATE late SET v = 'between' WHERE i = -9",
    "COMMIT PREPARED 'kept'",
    "ROLLBACK PREPARED 'lost'",
]
ELSEWHERE = (
    "SELECT pg_replication_origin_create('another'); SELECT pg_replication_origin_session_setup('another');"
    " BEGIN; SELECT pg_replication_origin_xact_setup('0/1234', now()); UPDATE late SET v = 'from elsewhere'"
    " WHERE i < -40; INSERT INTO found VALUES (777, 'b', 'from elsewhere'); COMMIT;"
    " SELECT pg_replication_origin_session_reset(); SELECT pg_replication_origin_drop('another')"
)


def test_values_that_change_hands_and_rows_that_move_end_as_on_the_source(pair: Pair, third_cluster: Cluster) -> None:
    ends_as_native(pair, third_cluster, UNIQUES, *(change for change in CHANGES if "found" not in change))


def test_rows_are_found_by_whatever_identity_they_had_when_they_changed(pair: Pair) -> None:
    pair.build(UNIQUES)
    pair.at_source(*CHANGES)
    pair.catch_up()
    pair.assert_equal()


def test_what_came_to_the_source_from_elsewhere_is_followed(pair: Pair, third_cluster: Cluster) -> None:
    ends_as_native(pair, third_cluster, UNIQUES, *CHANGES[1:3], *ELSEWHERE.split("; "))


@pytest.mark.usefixtures("small")
def test_parts_of_a_large_transaction_that_are_taken_back_never_arrive(pair: Pair, third_cluster: Cluster) -> None:
    parts = "".join(
        f"BEGIN INSERT INTO late SELECT g, g, 'part' FROM generate_series({at}, {at + 40}) g;"
        f" UPDATE late SET v = v || '{at}' WHERE i % 5 = 0;"
        f" IF {at} % 400 = 0 THEN RAISE EXCEPTION 'back'; END IF;"
        " EXCEPTION WHEN OTHERS THEN NULL; END; "
        for at in range(1000, 3000, 100)
    )
    pair.at_source(f'ALTER DATABASE "{pair.source_db}" SET logical_decoding_work_mem = 64')
    large = f"DO $$ BEGIN {parts} DELETE FROM late WHERE i % 7 = 0; END $$"
    ends_as_native(pair, third_cluster, UNIQUES, *CHANGES[:3], large)


def test_a_unique_key_whose_not_null_does_not_hold_for_all_rows_finds_no_row(pair: Pair) -> None:
    table = "CREATE TABLE k (k int UNIQUE, v text); ALTER TABLE k REPLICA IDENTITY FULL"
    rows = "INSERT INTO k VALUES (NULL, 'a'), (NULL, 'b'), (1, 'c')"
    valid_later = "ALTER TABLE k ADD CONSTRAINT nn NOT NULL k NOT VALID"  # known to the target alone, since 18
    pair.build(f"{table}; {rows}", target=f"{table}; {rows}; {valid_later}")
    pair.at_source("DELETE FROM k WHERE v = 'a'", "UPDATE k SET v = 'd' WHERE k = 1")
    pair.catch_up()
    pair.assert_equal()
    with pair.target.connect(pair.target_db) as connection:
        (found,) = [one for one in read_tables(connection) if one.name == "k"]
        assert found.unique_key == ()
        connection.execute("DELETE FROM k WHERE k IS NULL; ALTER TABLE k VALIDATE CONSTRAINT nn")
        (found,) = [one for one in read_tables(connection) if one.name == "k"]
        assert found.unique_key == ("k",)
