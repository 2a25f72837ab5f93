"""Names of an older source that are words of the target's version arrive as the names that they are."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.newer_words import SINCE
from tests.fakes import fake_ports
from tests.postgres.compare_kit import run_steps, structure_now
from tests.postgres.engine_runs import make_plan
from tests.servers import Server, started

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="npm has PostgreSQL 15 for x86-64 only"),
]
WORDS = "SELECT word FROM pg_catalog.pg_get_keywords() WHERE catcode <> 'U'"
NAMED = """
CREATE TABLE t (id int PRIMARY KEY, system_user text DEFAULT 'x', json json, json_table int, other int,
                CHECK (system_user <> 'nobody'), UNIQUE (json_table, system_user));
CREATE INDEX ON t (system_user);
CREATE INDEX ON t ((system_user || 'x')) WHERE system_user > 'a';
CREATE STATISTICS about ON system_user, json_table FROM t;
CREATE FUNCTION f(json int, INOUT json_table json) LANGUAGE sql AS 'SELECT json_table';
CREATE FUNCTION listed(merge_action text) RETURNS TABLE (json int, json_value text) LANGUAGE sql AS $$SELECT 1, 'x'$$;
CREATE FUNCTION atomic(system_user text) RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT system_user || 'x'; END;
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE PROCEDURE p(json_exists int) LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE total(json_scalar int) (SFUNC = int4pl, STYPE = int);
COMMENT ON FUNCTION f(int, json) IS 'named';
REVOKE ALL ON FUNCTION f(int, json) FROM PUBLIC;
CREATE VIEW v AS SELECT system_user, json, json_object('{a,1}'::text[]) AS o FROM t WHERE system_user <> 'x';
CREATE VIEW called AS SELECT f(json => 1, json_table => '{}'::json);
CREATE RULE r AS ON DELETE TO t WHERE old.system_user = 'kept' DO INSTEAD NOTHING;
CREATE TRIGGER g BEFORE UPDATE OF system_user ON t FOR EACH ROW WHEN (new.system_user <> '') EXECUTE FUNCTION touched();
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON t USING (system_user = 'a') WITH CHECK (system_user <> 'b');
CREATE TYPE pair AS (system_user text, json json);
CREATE TYPE merge_action AS ENUM ('insert', 'delete'); CREATE TYPE json_table AS (a int, b merge_action[]);
CREATE TABLE typed (a merge_action PRIMARY KEY, b json_table, c json_table[]) PARTITION BY LIST (a);
CREATE TABLE typed_i PARTITION OF typed FOR VALUES IN ('insert');
INSERT INTO typed VALUES ('insert', ROW(1, '{delete}'), NULL);
CREATE VIEW typed_v AS SELECT 'delete'::merge_action AS d, b FROM typed WHERE a = 'insert'::merge_action;
CREATE FUNCTION cast_to(int) RETURNS json_table LANGUAGE sql AS 'SELECT $1, NULL::public.merge_action[]';
CREATE CAST (int AS json_table) WITH FUNCTION cast_to(int);
CREATE STATISTICS json_exists ON id, other FROM t;
CREATE DOMAIN d AS text CHECK (value <> '');
INSERT INTO t (id, system_user, json, json_table) SELECT i, 's' || i, '{}', i FROM generate_series(1, 100) i
"""


@pytest.fixture
def older() -> Iterator[Server]:
    with started("older-words", "15") as one:
        yield one


def test_names_that_are_words_of_the_target_arrive(
    older: Server, target_cluster: Cluster, target_db: str, tmp_path: Path
) -> None:
    with older.connect() as connection:
        connection.execute("CREATE DATABASE shop")
    with older.connect("shop") as connection:
        connection.execute(NAMED.encode())
    plan = make_plan(older, target_cluster, [("shop", target_db)], tmp_path, incremental=False)
    ports = fake_ports()
    store = run_steps(plan, ports)
    assert [(note.title, note.what, note.words) for note in store.notes["shop"]] == []
    assert [(note.title, note.what) for note in structure_now(plan, ports, final=True)] == []
    with target_cluster.connect(target_db) as there:
        assert there.execute("SELECT atomic('y'), count(*) FROM v").fetchone() == ("yx", 100)


def test_every_word_of_the_newest_server_is_known(target_cluster: Cluster, older: Server) -> None:
    with target_cluster.connect() as newest, older.connect() as before:
        words = {str(row[0]) for row in newest.execute(WORDS).fetchall()}
        known = {str(row[0]) for row in before.execute(WORDS).fetchall()}
    assert words - known == {word for word, since in SINCE.items() if since > 150000}
    assert SINCE.keys() <= words
