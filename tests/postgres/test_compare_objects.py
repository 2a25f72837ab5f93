"""What stands around the rows is compared too: each missing or changed object is found, and named with its cure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from tests.fakes import FakeStore, fake_ports
from tests.postgres import structure_kit
from tests.postgres.compare_kit import compare_now, structure_now
from tests.postgres.structure_kit import Look, titles

CHANGES = {
    "ALTER TABLE t ALTER name SET DEFAULT 'y'": "column name on t",
    "DROP TRIGGER before_row ON t; ALTER TABLE t ALTER name TYPE varchar(5)": "column name on t",
    "ALTER TABLE t DISABLE TRIGGER before_row": "trigger before_row on t",
    "ALTER TABLE t ENABLE ALWAYS TRIGGER before_row": "trigger before_row on t",
    "ALTER POLICY p ON t USING (amount > 2)": "policy p on t",
    "ALTER TABLE t FORCE ROW LEVEL SECURITY": "row security t",
    "CREATE OR REPLACE VIEW v AS SELECT id, double(parent + 1) AS twice FROM t": "view v",
    "CREATE OR REPLACE FUNCTION double(a int) RETURNS int LANGUAGE sql IMMUTABLE"
    " AS 'SELECT a * 3'": "function double(a integer)",
    "ALTER FUNCTION double(int) STRICT": "function double(a integer)",
    "ALTER FUNCTION double(int) SECURITY DEFINER": "function double(a integer)",
    "REVOKE EXECUTE ON FUNCTION double(int) FROM PUBLIC": "function double(a integer)",
    "COMMENT ON TABLE t IS 'other'": "table t",
    "COMMENT ON COLUMN t.name IS 'other'": "column name on t",
    "GRANT SELECT ON t TO PUBLIC": "table t",
    "GRANT SELECT (name) ON t TO PUBLIC": "column name on t",
    "ALTER TABLE t SET (fillfactor = 50)": "table t",
    "ALTER TABLE t REPLICA IDENTITY FULL": "table t",
    "DROP STATISTICS together": "statistics object public.together on t",
    "CREATE OR REPLACE RULE quiet AS ON DELETE TO parent DO ALSO NOTHING": "rule quiet on parent",
    "ALTER TABLE t DROP CONSTRAINT t_name_amount_key;"
    " ALTER TABLE t ADD UNIQUE (name, amount) DEFERRABLE": "constraint t_name_amount_key on t",
    "DROP SCHEMA empty": "schema empty",
    "DROP INDEX partial": "index partial on t",
    "DROP INDEX partial; CREATE INDEX partial ON t (name) WHERE amount > 6": "index partial on t",
    "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'by_expression'::regclass": "index by_expression on t",
    "DROP INDEX of_mv": "index of_mv on mv",
    "DROP INDEX on_root": "index on_root on part",
    "ALTER TABLE t DROP CONSTRAINT t_amount_check": "constraint t_amount_check on t",
    "ALTER TABLE t DROP CONSTRAINT t_parent_fkey": "constraint t_parent_fkey on t",
    "ALTER TABLE t DROP CONSTRAINT t_parent_fkey; ALTER TABLE t ADD CONSTRAINT t_parent_fkey"
    " FOREIGN KEY (parent) REFERENCES parent NOT VALID": "constraint t_parent_fkey on t",
    "ALTER TABLE t DISABLE TRIGGER ALL": "constraint t_parent_fkey on t",
    "DROP TRIGGER before_row ON t": "trigger before_row on t",
    "DROP RULE quiet ON parent": "rule quiet on parent",
    "DROP POLICY p ON t": "policy p on t",
    "ALTER TABLE t DISABLE ROW LEVEL SECURITY": "row security t",
    "DROP VIEW v": "view v",
    "DROP MATERIALIZED VIEW mv": "materialized view mv",
    "DROP VIEW v; DROP FUNCTION double(int)": "function double(a integer)",
    "ALTER TYPE mood ADD VALUE 'late' BEFORE 'ok'": "enum mood",
    "ALTER DOMAIN positive DROP CONSTRAINT positive_check": "domain positive",
    "COMMENT ON CONSTRAINT positive_check ON DOMAIN positive IS 'other'": "domain positive",
    "DROP TYPE pair": "composite type pair",
    "ALTER TABLE t ALTER name DROP NOT NULL": "column name on t",
    "ALTER TABLE t ALTER name DROP DEFAULT": "column name on t",
    "DROP SEQUENCE s": "sequence s",
    "ALTER SEQUENCE s INCREMENT 6": "sequence s",
    "ALTER TABLE part DETACH PARTITION part_1": "table part_1",
}
OF_LARGE_OBJECTS = ("SELECT lo_put(4001, 1, '\\xfe')", "SELECT lo_unlink(4001)")


# Fixtures that stand in the kit.
plan = structure_kit.plan
make = structure_kit.make
look = structure_kit.look


def test_equal_structures_of_two_versions_raise_no_alarm(look: Look) -> None:
    assert look("") == []


@pytest.mark.sample(16)
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_object_is_found_and_named(look: Look, change: str) -> None:
    assert CHANGES[change].replace("public.", "") in titles(look(change))


def test_an_index_that_is_broken_on_the_source_is_told_as_such(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster, source_db: str
) -> None:
    make("")
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE INDEX broken ON t (amount)")
        connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass")
    (note,) = structure_now(plan)
    assert (note.title, note.statement) == ("index broken on public.t", "")
    assert note.what.startswith("not made on the target, because it is invalid on the source")


def test_an_operator_that_nobody_has_made_yet_is_not_missed(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster, source_db: str
) -> None:
    make("")
    with source_cluster.connect(source_db) as connection:
        connection.execute(
            "CREATE OPERATOR public.~~~"
            " (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int, NEGATOR = OPERATOR(public.!~~~));"
            " DROP OPERATOR public.~~~ (int, int)"
        )
        assert connection.execute("SELECT oprcode::oid FROM pg_operator WHERE oprname = '!~~~'").fetchall() == [(0,)]
    assert structure_now(plan) == []


def test_options_are_the_same_in_any_order(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    text = "CREATE TABLE t (i int) WITH ({0}); CREATE VIEW v WITH ({1}) AS SELECT i FROM t"
    with source_cluster.connect(source_db) as here, target_cluster.connect(target_db) as there:
        here.execute(
            text.format("fillfactor = 50, user_catalog_table = true", "check_option = local, security_barrier")
        )
        there.execute(
            text.format("user_catalog_table = true, fillfactor = 50", "security_barrier, check_option = local")
        )
    assert structure_now(plan) == []


@pytest.mark.parametrize("change", OF_LARGE_OBJECTS)
def test_a_changed_large_object_makes_the_comparison_unequal(
    make: Callable[[str], None], plan: Plan, change: str
) -> None:
    make(change)
    comparison = compare_now(plan)
    assert [item.name for item in comparison.other if item.verdict == "differs"] == ["large object 4001"]
    assert not comparison.equal


def test_other_structures_do_not_make_equal_rows_unequal(make: Callable[[str], None], plan: Plan) -> None:
    make("DROP INDEX partial; DROP VIEW v; ALTER TABLE t DISABLE TRIGGER before_row")
    ports = fake_ports()
    assert compare_now(plan, ports).equal
    assert len(structure_now(plan, ports)) == 3
    store = cast(FakeStore, ports.store)
    assert [code for _, code, _ in store.events] == ["STRUCTURE-NOTES"]
    assert len(store.notes[plan.databases[0].source_name]) == 3


def test_a_note_says_what_differs_and_how_to_mend_it(look: Look) -> None:
    change = (
        "ALTER TABLE t ALTER name SET DEFAULT 'y', DISABLE TRIGGER before_row; DROP INDEX partial;"
        " GRANT SELECT ON t TO PUBLIC"
    )
    found = {note.title: note for note in look(change)}
    column = found["column name on public.t"]
    assert column.what == "default: 'x'::text on the source, 'y'::text on the target"
    assert column.statement == """ALTER TABLE "public"."t" ALTER COLUMN "name" SET DEFAULT 'x'::text;"""
    assert found["trigger before_row on public.t"].statement.endswith('ENABLE TRIGGER "before_row";')
    assert found["index partial on public.t"].what == "missing on the target"
    assert found["index partial on public.t"].statement.startswith("CREATE INDEX partial ON public.t")
    assert found["table public.t"].statement == 'REVOKE SELECT ON TABLE "public"."t" FROM PUBLIC;'


@pytest.mark.parametrize(
    ("change", "there"),
    [
        ("ALTER TABLE t REPLICA IDENTITY FULL", "FULL"),
        ("ALTER TABLE t REPLICA IDENTITY NOTHING", "NOTHING"),
        ('CREATE UNIQUE INDEX "by ""id" ON t (id); ALTER TABLE t REPLICA IDENTITY USING INDEX "by ""id"', None),
    ],
)
def test_a_replica_identity_is_told_in_the_words_of_its_statement(
    look: Look, plan: Plan, target_cluster: Cluster, change: str, there: str | None
) -> None:
    (note,) = look(change)
    assert note.what == f"""replica identity: DEFAULT on the source, {there or 'USING INDEX "by ""id"'} on the target"""
    assert note.statement == 'ALTER TABLE "public"."t" REPLICA IDENTITY DEFAULT;'
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute(note.statement.encode())
    assert structure_now(plan) == []


def test_an_index_that_is_the_replica_identity_is_named_in_the_statement(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    index = 'CREATE UNIQUE INDEX "by ""id" ON t (id)'
    make(index)
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute(index + '; ALTER TABLE t REPLICA IDENTITY USING INDEX "by ""id"')
    (note,) = structure_now(plan)
    assert note.statement == 'ALTER TABLE "public"."t" REPLICA IDENTITY USING INDEX "by ""id";'
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute(note.statement.encode())
    assert structure_now(plan) == []


def test_a_foreign_key_whose_triggers_are_off_on_one_side_is_told(look: Look) -> None:
    found = {note.title: note.what for note in look("ALTER TABLE t DISABLE TRIGGER ALL")}
    assert found["constraint t_parent_fkey on public.t"] == "triggers off: none on the source, public.t on the target"


def test_what_an_extension_of_the_target_has_is_not_told_as_missing(look: Look) -> None:
    (note,) = look("ALTER EXTENSION plpgsql ADD FUNCTION nothing()")
    assert (note.title, note.what) == (
        "function public.nothing()",
        "a part of an extension on the target, which is used as it is",
    )
    assert note.statement == ""


def test_the_statements_of_the_notes_mend_everything(
    look: Look, plan: Plan, target_cluster: Cluster, target_db: str
) -> None:
    notes = look(
        "ALTER TABLE t ALTER name DROP NOT NULL, ALTER name SET DEFAULT 'y', ENABLE ALWAYS TRIGGER before_row;"
        " DROP INDEX partial; DROP VIEW v; DROP STATISTICS together; COMMENT ON TABLE t IS NULL;"
        " COMMENT ON COLUMN t.name IS NULL; GRANT SELECT ON t TO PUBLIC; DROP POLICY p ON t; DROP RULE quiet ON parent;"
        " ALTER TABLE t DISABLE ROW LEVEL SECURITY; REVOKE EXECUTE ON FUNCTION double(int) FROM PUBLIC;"
        " COMMENT ON TRIGGER before_row ON t IS 'other'; COMMENT ON CONSTRAINT t_amount_check ON t IS 'other';"
        " ALTER SEQUENCE s AS int INCREMENT -6 MINVALUE -9 MAXVALUE 99 START 9 CACHE 3 CYCLE"
    )
    assert len(notes) >= 12
    with target_cluster.connect(target_db) as connection:
        for note in notes:
            assert note.statement, note
            connection.execute(note.statement.encode())
    assert structure_now(plan) == []


def test_a_query_that_versions_print_in_other_ways_is_the_same(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    make("")
    view = "CREATE VIEW drifting AS SELECT t.id FROM t WHERE name::varchar IN ('a', 'b') AND t.id + 1 > 2"
    check = "ALTER TABLE t ADD CHECK (name::varchar IN ('a', 'b'))"
    with (
        source_cluster.connect(plan.databases[0].source_name) as source,
        target_cluster.connect(plan.databases[0].target_name) as target,
    ):
        source.execute(f"{view}; {check}")
        row = source.execute("SELECT pg_get_viewdef('drifting'::regclass)").fetchone()
        known = source.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conname LIKE 't_name_check%'"
        ).fetchone()
        target.execute(f"CREATE VIEW drifting AS {row[0]}".encode())
        target.execute(f"ALTER TABLE t ADD CONSTRAINT {known[0]} {known[1]}".encode())
        assert target.execute("SELECT pg_get_viewdef('drifting'::regclass)").fetchone() != row  # it does drift
    assert structure_now(plan) == []


@pytest.mark.long
def test_a_table_that_somebody_has_locked_is_told_and_does_not_hold_up_the_others(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster
) -> None:
    make("ALTER POLICY p ON t USING (amount > 2); DROP INDEX on_root")
    structure_now(plan)  # the archive is there since the schema step
    with source_cluster.connect(plan.databases[0].source_name) as connection, connection.transaction():
        connection.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        found = {note.title: note.what for note in structure_now(plan)}
    assert found["table public.t"] == "not compared, because somebody has locked it on the source"
    assert found["index on_root on public.part"] == "missing on the target"


def test_a_password_in_the_options_of_a_foreign_server_is_never_shown(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    make("")
    for cluster, name, secret in (
        (source_cluster, plan.databases[0].source_name, "hush-1"),
        (target_cluster, plan.databases[0].target_name, "hush-2"),
    ):
        with cluster.connect(name) as connection:
            connection.execute("CREATE FOREIGN DATA WRAPPER far")
            connection.execute(f"CREATE SERVER there FOREIGN DATA WRAPPER far OPTIONS (password '{secret}')".encode())
    notes = structure_now(plan)
    assert [note.what for note in notes] == ["foreign options: differs"]
    assert "hush" not in str(notes)


@pytest.fixture
def odd_one(source_cluster: Cluster, target_cluster: Cluster) -> Iterator[None]:
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            connection.execute('CREATE ROLE "Odd one"')
    yield
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            connection.execute('DROP ROLE "Odd one"')


@pytest.mark.usefixtures("odd_one")
def test_settings_and_comment_of_the_database_are_compared_and_mended(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    make("")
    source, target = plan.databases[0].source_name, plan.databases[0].target_name
    with source_cluster.connect(source) as connection:
        for change in (
            f"ALTER DATABASE {source} SET work_mem = '8MB'",
            f"""ALTER DATABASE {source} SET search_path = "$user", 'a, b', public""",
            f"ALTER DATABASE {source} SET log_min_messages = 'error'",
            f"ALTER ROLE \"Odd one\" IN DATABASE {source} SET statement_timeout = '7s'",
            f"COMMENT ON DATABASE {source} IS 'it''s ours'",
        ):
            connection.execute(change.encode())
    with target_cluster.connect(target) as connection:
        connection.execute(f"ALTER DATABASE {target} SET log_min_messages = 'panic'".encode())
    notes = structure_now(plan)
    assert [(note.title, note.what) for note in notes] == [
        (f"database {target}", "comment: it's ours on the source, none on the target"),
        ("database setting log_min_messages", "value: error on the source, panic on the target"),
        ("database setting search_path", "missing on the target"),
        ("database setting statement_timeout for Odd one", "missing on the target"),
        ("database setting work_mem", "missing on the target"),
    ]
    with target_cluster.connect(target) as connection:
        for note in notes:
            connection.execute(note.statement.encode())
    assert structure_now(plan) == []
    with target_cluster.connect(target) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ('"$user", "a, b", public',)


def test_a_setting_that_an_application_has_invented_may_be_a_secret_and_is_never_shown(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    make("")
    for cluster, name, secret in (
        (source_cluster, plan.databases[0].source_name, "hush-1"),
        (target_cluster, plan.databases[0].target_name, "hush-2"),
    ):
        with cluster.connect(name) as connection:
            connection.execute(f"ALTER DATABASE {name} SET app.key = '{secret}'".encode())
    (note,) = structure_now(plan)
    assert note.what == "value: differs"
    assert note.statement.endswith("""SET "app.key" TO '…';""")
    assert "hush" not in str(note)


def test_what_the_database_itself_carries_waits_for_complete_too(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster
) -> None:
    make("")
    name = plan.databases[0].source_name
    with source_cluster.connect(name) as connection:
        connection.execute(f"ALTER DATABASE {name} SET work_mem = '8MB'".encode())
        connection.execute(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC".encode())
    syncing = replace(plan, incremental=True)
    assert structure_now(syncing) == []
    found = {note.title: note for note in structure_now(syncing, final=True)}
    target = plan.databases[0].target_name
    assert found.keys() == {f"database {target}", "database setting work_mem"}
    assert found[f"database {target}"].statement == f'REVOKE CONNECT ON DATABASE "{target}" FROM PUBLIC;'


def test_security_labels_are_told_with_the_statement_that_sets_them(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster
) -> None:
    make("")
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute("INSERT INTO pg_seclabel VALUES ('t'::regclass, 'pg_class'::regclass, 3, 'masks', 'NULL')")
        connection.execute(
            "INSERT INTO pg_shseclabel SELECT oid, 'pg_database'::regclass, 'masks', 'it''s' FROM pg_database"
            " WHERE datname = current_database()"
        )
    try:
        notes = structure_now(plan)
    finally:
        with source_cluster.connect(plan.databases[0].source_name) as connection:
            connection.execute("DELETE FROM pg_shseclabel")
    target = plan.databases[0].target_name
    assert {note.statement for note in notes} == {
        """SECURITY LABEL FOR "masks" ON COLUMN public.t.name IS 'NULL';""",
        f"""SECURITY LABEL FOR "masks" ON DATABASE "{target}" IS 'it''s';""",
    }
    assert {note.what for note in notes} == {"missing on the target: security labels are not carried over"}


def test_what_replicates_from_and_into_the_source_is_told_and_not_carried_over(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster
) -> None:
    make("")
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute("CREATE PUBLICATION outward FOR TABLE t")
        connection.execute(
            "CREATE SUBSCRIPTION inward CONNECTION 'host=nowhere password=hush' PUBLICATION p"
            " WITH (connect = false, slot_name = NONE)"
        )
        try:
            notes = structure_now(plan)
        finally:
            connection.execute("DROP SUBSCRIPTION inward")
    assert [(note.title, note.what) for note in notes] == [
        ("publication outward", "missing on the target: publications are not carried over"),
        ("subscription inward", "missing on the target: subscriptions are not carried over"),
    ]
    assert "hush" not in str(notes)
