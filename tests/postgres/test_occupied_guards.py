"""Tables of the target that are used as they are may hide rows, belong to others, or have keys by other names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from migrations_app.engine.selection import Selection
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import plan_for, server, structure_now
from tests.postgres.occupied_kit import choose, migrate

ITEM = "target-conflicts"


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


@pytest.fixture
def mover(target_cluster: Cluster, target_db: str) -> Iterator[str]:
    """An account of the target that may make things in the database, and owns nothing."""
    name = f"mover_{target_db}"
    with target_cluster.connect(target_db) as connection:
        connection.execute(
            f"CREATE ROLE {name} LOGIN PASSWORD 'given'; GRANT ALL ON SCHEMA public TO {name};"
            f"GRANT CREATE ON DATABASE {target_db} TO {name}".encode()
        )
        yield name
        connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


def both(source: Cluster, target: Cluster, plan: Plan, here: str, there: str) -> None:
    (database,) = plan.databases
    for cluster, name, text in ((source, database.source_name, here), (target, database.target_name, there)):
        with cluster.connect(name) as connection:
            connection.execute(text.encode())


def test_row_security_that_stays_is_told_by_the_check_and_by_notes_that_mend_it(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    tables = "CREATE TABLE a (id int); CREATE TABLE b (id int); CREATE TABLE c (id int); CREATE TABLE d (id int);"
    force = "ALTER TABLE {0} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
    enable = "ALTER TABLE {0} ENABLE ROW LEVEL SECURITY;"
    here = tables + force.format("b") + enable.format("c") + enable.format("d") + "INSERT INTO a VALUES (1)"
    there = tables + enable.format("a") + enable.format("b") + force.format("c")
    both(source_cluster, target_cluster, plan, here, there + "CREATE POLICY only_there ON c USING (id > 3);")
    result = check(choose(plan, "keep"), ITEM)
    assert result.status == "warning"
    told = "public.a (off on the source), public.b (does not bind the owner), public.c (binds the owner too)"
    assert f"Row security of 3 tables is other than on the source, and stays so: {told}." in result.found
    assert 'ALTER TABLE "public"."a" DISABLE ROW LEVEL SECURITY;' in result.sql.splitlines()
    store = migrate(choose(plan, "keep"))
    statements = {note.title: note.statement for note in store.notes[plan.databases[0].source_name]}
    assert statements == {
        "row security public.a": 'ALTER TABLE "public"."a" DISABLE ROW LEVEL SECURITY;',
        "row security public.b": 'ALTER TABLE "public"."b" FORCE ROW LEVEL SECURITY;',
        "row security public.c": 'ALTER TABLE "public"."c" NO FORCE ROW LEVEL SECURITY;',
        "policy only_there on public.c": 'DROP POLICY "only_there" ON "public"."c";',
    }
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute("\n".join(statements.values()).encode())
    assert structure_now(plan, final=True) == []


def test_the_check_fails_for_a_table_whose_row_security_binds_the_account(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, mover: str
) -> None:
    table = "CREATE TABLE a (id int);"
    there = f"{table} GRANT ALL ON a TO {mover}; ALTER TABLE a ENABLE ROW LEVEL SECURITY"
    both(source_cluster, target_cluster, plan, table, there)
    asked = choose(replace(plan, target=replace(plan.target, user=mover, password="given")), "keep")
    result = check(asked, ITEM)
    assert (result.status, "their row security binds the target account: public.a" in result.found) == ("failed", True)
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute(result.sql.encode())
    assert check(asked, ITEM).status == "warning"


def test_the_check_tells_what_cannot_be_added_to_tables_of_other_owners(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, mover: str
) -> None:
    table = "CREATE TABLE a (id int NOT NULL, x int);"
    more = "CREATE INDEX by_x ON a (x); CREATE RULE quiet AS ON DELETE TO a WHERE false DO INSTEAD NOTHING;"
    keys = "ALTER TABLE a ADD CONSTRAINT main PRIMARY KEY (id);"
    owner = f"owner_{plan.databases[0].target_name}"
    there = f"CREATE ROLE {owner}; {table} GRANT ALL ON a TO {mover}; ALTER TABLE a OWNER TO {owner};"
    there += f"ALTER ROLE {mover} NOINHERIT"
    both(source_cluster, target_cluster, plan, table + keys + more, there)
    asked = choose(replace(plan, target=replace(plan.target, user=mover, password="given")), "keep")
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        try:
            result = check(asked, ITEM)
            assert result.status == "failed"
            assert "public.a (constraint main, index by_x, rule quiet)" in result.found
            assert result.sql == f'GRANT "{owner}" TO "{mover}" WITH INHERIT TRUE;'
            connection.execute(keys.encode())
            result = check(asked, ITEM)
            assert (result.status, "public.a (index by_x, rule quiet)" in result.found) == ("warning", True)
            connection.execute(result.sql.encode())
            assert "belong to other roles" not in check(asked, ITEM).found
        finally:
            connection.execute(f"DROP OWNED BY {owner}; DROP ROLE {owner}".encode())


def test_the_check_refuses_to_empty_a_partition_that_others_refer_to_through_the_whole_table(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    tables = (
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (1) TO (9);"
        "CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM (9) TO (19);"
    )
    theirs = "CREATE SCHEMA s; CREATE TABLE s.theirs (id int CONSTRAINT k REFERENCES p)"
    both(source_cluster, target_cluster, plan, tables, tables + theirs)
    (database,) = plan.databases
    rules = {(database.source_name, "public", "p_1"): True}
    part = Selection(rules=rules, targets={database.source_name: database.target_name})
    result = check(choose(replace(plan, selection=part), "truncate"), ITEM)
    assert (result.status, "s.theirs (k)" in result.found) == ("failed", True)
    assert result.sql == 'ALTER TABLE "s"."theirs" DROP CONSTRAINT "k";'


def test_keys_checks_and_indexes_by_other_names_are_mended_by_the_statements_of_their_notes(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    here = (
        'CREATE TABLE t (id int CONSTRAINT "main"" key" PRIMARY KEY, b int CONSTRAINT above CHECK (b > 0));'
        "CREATE TABLE q (id int, x int NOT NULL, CONSTRAINT q_key PRIMARY KEY (id));"
        "CREATE TABLE r (id int, x int CONSTRAINT r_x UNIQUE);"
    )
    there = (
        "CREATE TABLE t (id int CONSTRAINT old_key PRIMARY KEY, b int CONSTRAINT over CHECK (b > 0));"
        "CREATE TABLE q (id int NOT NULL, x int NOT NULL, CONSTRAINT both_of_q PRIMARY KEY (id, x));"
        "CREATE TABLE r (id int, x int); CREATE INDEX r_x ON r (x);"
    )
    both(source_cluster, target_cluster, plan, here, there)
    store = migrate(choose(plan, "keep"))
    notes = {note.title: note for note in store.notes[plan.databases[0].source_name]}
    table = 'ALTER TABLE "public".'
    assert {title: (note.what, note.statement.splitlines()[0]) for title, note in notes.items()} == {
        'constraint main" key on public.t': (
            'is called "old_key" on the target',
            f'{table}"t" RENAME CONSTRAINT "old_key" TO "main"" key";',
        ),
        "constraint above on public.t": (
            'is called "over" on the target',
            f'{table}"t" RENAME CONSTRAINT "over" TO "above";',
        ),
        "constraint q_key on public.q": ("missing on the target", f'{table}"q" DROP CONSTRAINT "both_of_q";'),
        "constraint r_x on public.r": ("missing on the target", 'DROP INDEX "public"."r_x";'),
    }
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        for note in notes.values():
            connection.execute(note.statement.encode())
    assert structure_now(plan, final=True) == []


def test_a_check_by_another_name_that_a_parent_hands_down_is_mended_by_the_note_on_the_parent(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    tree = (
        "CREATE TABLE p (id int CONSTRAINT {0} CHECK (id > 0)) PARTITION BY RANGE (id);"
        'CREATE TABLE "P 1" PARTITION OF p FOR VALUES FROM (1) TO (9);'
        "CREATE TABLE top (id int CONSTRAINT {0} CHECK (id > 0)); CREATE TABLE below () INHERITS (top);"
        "CREATE TABLE alone (id int CONSTRAINT {0} CHECK (id > 0) NO INHERIT);"
        "CREATE TABLE own (CONSTRAINT {0} CHECK (id > 0)) INHERITS (alone);"
    )
    both(source_cluster, target_cluster, plan, tree.format("above"), tree.format("over"))
    notes = {note.table: note for note in structure_now(plan, final=True)}
    assert {note.what for note in notes.values()} == {'is called "over" on the target'}
    rename = 'ALTER TABLE "public"."{}" RENAME CONSTRAINT "over" TO "above";'
    mended = {name: rename.format(name) for name in ("p", "top", "alone", "own")}
    assert {name: note.statement for name, note in notes.items()} == {**mended, "P 1": "", "below": ""}
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute("".join(mended.values()).encode())
    assert structure_now(plan, final=True) == []


def test_no_statement_drops_a_primary_key_that_foreign_keys_refer_to(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    here = "CREATE TABLE q (id int, x int NOT NULL, CONSTRAINT q_key PRIMARY KEY (id));"
    there = "CREATE TABLE q (id int NOT NULL, x int NOT NULL, CONSTRAINT both_of_q PRIMARY KEY (x, id));"
    theirs = "CREATE SCHEMA s; CREATE TABLE s.theirs (x int, id int, FOREIGN KEY (x, id) REFERENCES q (x, id))"
    both(source_cluster, target_cluster, plan, here, there + theirs)
    (database,) = plan.databases
    store = migrate(choose(plan, "keep"))
    notes = {note.title: note.statement for note in store.notes[database.source_name]}
    assert notes == {"constraint q_key on public.q": ""}


def test_the_statements_that_empty_tables_name_them_whatever_they_are_called(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    table = 'CREATE SCHEMA "a.b"; CREATE TABLE "a.b"."c ""d" (id int);'
    both(source_cluster, target_cluster, plan, table, table + 'INSERT INTO "a.b"."c ""d" VALUES (1)')
    result = check(choose(plan, "truncate"), ITEM)
    assert (result.status, result.sql) == ("warning", 'TRUNCATE ONLY "a.b"."c ""d";')


def test_a_routine_of_another_kind_makes_room(source_cluster: Cluster, target_cluster: Cluster, plan: Plan) -> None:
    here = (
        "CREATE TABLE t (id int); CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1';"
        "CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int);"
        "CREATE AGGREGATE sorted(int ORDER BY int) (SFUNC = int4pl, STYPE = int, FINALFUNC = int4pl);"
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'"
    )
    there = (
        "CREATE FUNCTION p() RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE FUNCTION total(int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE FUNCTION sorted(int, int) RETURNS int LANGUAGE sql AS 'SELECT 1';"
        "CREATE AGGREGATE f(int) (SFUNC = int4pl, STYPE = int)"
    )
    both(source_cluster, target_cluster, plan, here, there)
    store = migrate(choose(plan, "recreate"))
    assert "DST-DROPPED" in {code for _, code, _ in store.events}
    kinds = "SELECT proname::text, prokind::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1"
    with target_cluster.connect(plan.databases[0].target_name) as target:
        assert target.execute(kinds.encode()).fetchall() == [
            ("f", "f"),
            ("p", "p"),
            ("sorted", "a"),
            ("total", "a"),
        ]
