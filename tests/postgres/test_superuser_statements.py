"""What only a superuser can make by one statement is named by the check with that statement, to be run before."""

from __future__ import annotations

from pathlib import Path

from migrations_app.demo.clusters import Cluster
from tests.fakes import fake_ports
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import plain_account, plan_for, run_steps, server

SPECIAL = """
CREATE SCHEMA "o o";
CREATE OPERATOR FAMILY "o o".family USING btree;
CREATE OPERATOR CLASS "o o".plainly FOR TYPE int USING btree FAMILY "o o".family AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int);
CREATE OPERATOR CLASS "o o"."by Box" FOR TYPE polygon USING gist AS
  OPERATOR 1 <<, OPERATOR 15 <-> (polygon, point) FOR ORDER BY pg_catalog.float_ops,
  FUNCTION 1 gist_poly_consistent(internal, polygon, smallint, oid, internal),
  FUNCTION 2 gist_box_union(internal, internal),
  FUNCTION 3 gist_poly_compress(internal), FUNCTION 5 gist_box_penalty(internal, internal, internal),
  FUNCTION 6 gist_box_picksplit(internal, internal), FUNCTION 7 gist_box_same(box, box, internal),
  FUNCTION 8 gist_poly_distance(internal, polygon, smallint, oid, internal), STORAGE box;
CREATE TEXT SEARCH TEMPLATE "o o".template (INIT = dsimple_init, LEXIZE = dsimple_lexize);
CREATE TEXT SEARCH DICTIONARY "o o".words (TEMPLATE = "o o".template);
CREATE TEXT SEARCH PARSER "o o".parser
  (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype, HEADLINE = prsd_headline);
CREATE ACCESS METHOD "heap 2" TYPE TABLE HANDLER heap_tableam_handler;
CREATE FOREIGN DATA WRAPPER "far away" VALIDATOR postgresql_fdw_validator;
CREATE CAST (int AS date) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE FUNCTION "o o".compared(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 - $2';
CREATE OPERATOR CLASS "o o".ours FOR TYPE int USING btree AS
  OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 "o o".compared(int, int);
CREATE TABLE t (id int PRIMARY KEY, p polygon); INSERT INTO t VALUES (1, '((0,0),(1,1))');
CREATE INDEX ON t (id "o o".plainly); CREATE INDEX ON t USING gist (p "o o"."by Box")
"""


def test_the_statements_of_the_check_make_what_the_run_then_uses_as_it_is(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SPECIAL.encode())
    with plain_account(target_cluster, target_db) as limited:
        plan = plan_for(server(source_cluster), limited, source_db, target_db, work_dir=tmp_path)
        result = check(plan, "superuser-objects")
        assert result.status == "warning"
        assert ("compared" in result.sql, "FAMILY" in result.sql) == (False, True)
        with target_cluster.connect(target_db) as connection:
            connection.execute(result.sql.encode())
        assert (
            "1 object that only a superuser can create: operator class ours" in check(plan, "superuser-objects").found
        )
        store = run_steps(plan, fake_ports())
        refused = {(note.kind, note.name) for note in store.notes[source_db] if note.kind != "owner"}
        assert refused == {("operator class", "ours using btree"), ("operator family", "ours using btree")}


def test_a_family_that_the_target_has_is_not_made_again(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SPECIAL.encode())
    with plain_account(target_cluster, target_db) as limited:
        plan = plan_for(server(source_cluster), limited, source_db, target_db, work_dir=tmp_path)
        with target_cluster.connect(target_db) as connection:
            connection.execute(b'CREATE SCHEMA "o o"; CREATE OPERATOR FAMILY "o o".family USING btree')
            statements = check(plan, "superuser-objects").sql
            assert ("CREATE OPERATOR FAMILY" in statements, 'FAMILY "o o".family' in statements) == (False, True)
            connection.execute(statements.encode())
