"""Check items about what the accounts may do: each Failed one is put right by the statement that it shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import DatabasePlan, Plan
from migrations_app.engine.selection import Selection
from tests.postgres import checks_kit
from tests.postgres.checks_kit import check
from tests.tidy import drop_role

READER = 'check "reader"'
WRITER = "check-writer"


# Fixtures that stand in the kit.
task = checks_kit.task
shop = checks_kit.shop
there = checks_kit.there


@pytest.fixture
def reader(shop: psycopg.Connection, task: Plan) -> Iterator[Plan]:
    """The task with a source account that may do nothing."""
    shop.execute('CREATE ROLE "check ""reader""" LOGIN PASSWORD \'x\'')
    yield replace(task, source=replace(task.source, user=READER, password="x"))
    shop.execute('DROP OWNED BY "check ""reader"""; DROP ROLE "check ""reader"""')


@pytest.fixture
def writer(there: psycopg.Connection, task: Plan) -> Iterator[Plan]:
    """The task with a target account that may do nothing."""
    there.execute("CREATE ROLE \"check-writer\" LOGIN PASSWORD 'x'")
    yield replace(task, target=replace(task.target, user=WRITER, password="x"))
    there.execute('DROP OWNED BY "check-writer"; DROP ROLE "check-writer"')


def test_unreadable_objects_fail_and_the_shown_grants_are_enough(shop: psycopg.Connection, reader: Plan) -> None:
    shop.execute('CREATE SCHEMA "Hid den"; CREATE TABLE "Hid den"."T ""x""" (id serial PRIMARY KEY)')
    shop.execute("CREATE SEQUENCE lonely; CREATE TABLE plain (i int)")
    result = check(reader, "source-readable")
    assert result.status == "failed"
    assert "5 objects" in result.found
    shop.execute(result.sql)
    assert check(reader, "source-readable").status == "passed"


def test_rights_that_the_source_account_has_for_the_migration_are_none_that_the_target_lacks(
    shop: psycopg.Connection, reader: Plan
) -> None:
    shop.execute("CREATE SCHEMA held; CREATE TABLE held.t (i int PRIMARY KEY)")
    shop.execute(check(reader, "source-readable").sql)
    result = check(reader, "named-roles")
    assert (result.status, result.sql, result.fix) == ("passed", "", "")
    assert READER in result.found
    assert "if the application uses it" in result.hint
    shop.execute("CREATE ROLE check_clerk; GRANT SELECT ON held.t TO check_clerk")
    try:
        result = check(reader, "named-roles")
        assert (result.status, result.sql) == ("warning", 'CREATE ROLE "check_clerk" NOLOGIN;')
        assert "1 role that the target lacks: check_clerk." in result.found
        assert READER in result.found
        shop.execute('CREATE POLICY p ON held.t TO "check ""reader""" USING (true)')
        assert (result := check(reader, "named-roles")).status == "failed"
        assert "if the application uses it" not in result.hint
        assert 'CREATE ROLE "check ""reader"""' in result.sql
    finally:
        shop.execute("DROP TABLE held.t; DROP ROLE check_clerk")


def test_unselected_objects_may_stay_unreadable(shop: psycopg.Connection, reader: Plan, source_db: str) -> None:
    shop.execute(
        "CREATE TABLE open_table (i int); GRANT SELECT ON open_table TO PUBLIC; CREATE TABLE secret (i serial)"
    )
    partial = replace(reader, selection=Selection(rules={(source_db, "public", "open_table"): True}))
    assert check(partial, "source-readable").status == "passed"


def test_sequences_of_tables_that_are_selected_by_name_are_read_too(
    shop: psycopg.Connection, reader: Plan, source_db: str
) -> None:
    shop.execute("CREATE TABLE t (id serial, n int GENERATED ALWAYS AS IDENTITY); GRANT SELECT ON t TO PUBLIC")
    partial = replace(reader, selection=Selection(rules={(source_db, "public", "t"): True}))
    result = check(partial, "source-readable")
    assert (result.status, "t_id_seq" in result.found, "t_n_seq" in result.found) == ("failed", True, True)
    shop.execute(result.sql)
    assert check(partial, "source-readable").status == "passed"


def test_sequences_of_tables_that_are_left_out_may_stay_unreadable(
    shop: psycopg.Connection, reader: Plan, source_db: str
) -> None:
    shop.execute("CREATE TABLE secret (i serial)")
    rules = {(source_db,): True, (source_db, "public", "secret"): False}
    assert check(replace(reader, selection=Selection(rules=rules)), "source-readable").status == "passed"


def test_a_schema_of_sequences_alone_has_to_be_entered(shop: psycopg.Connection, reader: Plan) -> None:
    shop.execute("CREATE SCHEMA counting; CREATE SEQUENCE counting.s; GRANT SELECT ON counting.s TO PUBLIC")
    result = check(reader, "source-readable")
    assert (result.status, "schema counting" in result.found) == ("failed", True)
    shop.execute(result.sql)
    assert check(reader, "source-readable").status == "passed"


@pytest.mark.parametrize("code", ["source-readable", "deferrable-keys"])
def test_the_statements_for_many_tables_are_enough(shop: psycopg.Connection, reader: Plan, code: str) -> None:
    for number in range(60):
        shop.execute(f"CREATE TABLE t{number} (i int PRIMARY KEY DEFERRABLE)")
    result = check(reader, code)
    assert result.status == "failed"
    shop.execute(result.sql)
    assert check(reader, code).status == "passed"


def test_row_security_that_hides_rows_fails(shop: psycopg.Connection, reader: Plan, task: Plan) -> None:
    shop.execute("CREATE TABLE guarded (i int); GRANT SELECT ON guarded TO PUBLIC")
    assert check(reader, "row-security").status == "passed"
    shop.execute("ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
    result = check(reader, "row-security")
    assert result.status == "failed"
    assert check(task, "row-security").status == "passed"
    shop.execute(result.sql)
    assert check(reader, "row-security").status == "passed"


def test_a_target_database_that_cannot_be_created_fails(there: psycopg.Connection, writer: Plan, task: Plan) -> None:
    missing = (DatabasePlan(source_name=task.databases[0].source_name, target_name="not yet there"),)
    result = check(replace(writer, databases=missing), "target-create")
    assert result.status == "failed"
    assert 'CREATE DATABASE "not yet there" OWNER "check-writer" TEMPLATE template0 ENCODING ' in result.sql
    there.execute(result.sql)
    try:
        assert check(replace(task, databases=missing), "encoding").found.startswith("Both databases use")
    finally:
        there.execute('DROP DATABASE "not yet there"')
    there.execute('ALTER ROLE "check-writer" CREATEDB')
    assert check(replace(writer, databases=missing), "target-create").status == "passed"


def test_a_target_database_without_create_fails(
    there: psycopg.Connection, shop: psycopg.Connection, writer: Plan
) -> None:
    shop.execute("CREATE TABLE t (i int)")
    result = check(writer, "target-create")
    assert result.status == "failed"
    there.execute(result.sql)
    result = check(writer, "target-create")
    assert "schema public" in result.found
    there.execute(result.sql)
    assert check(writer, "target-create").status == "passed"


def test_a_target_account_that_cannot_quiet_triggers_is_a_warning(
    there: psycopg.Connection, writer: Plan, task: Plan
) -> None:
    assert check(task, "target-replica-role").status == "passed"
    result = check(writer, "target-replica-role")
    assert result.status == "warning"
    assert "still works" in result.hint
    there.execute(result.sql)
    assert check(writer, "target-replica-role").status == "passed"
    there.execute('REVOKE SET ON PARAMETER session_replication_role FROM "check-writer"')


def test_owners_that_the_target_lacks_are_a_warning(
    shop: psycopg.Connection, there: psycopg.Connection, reader: Plan, task: Plan
) -> None:
    shop.execute("CREATE TABLE mine (i int)")
    assert check(task, "target-roles").status == "passed"
    shop.execute('ALTER TABLE mine OWNER TO "check ""reader"""')
    result = check(task, "target-roles")
    assert result.status == "warning"
    there.execute(result.sql)
    try:
        assert check(task, "target-roles").status == "passed"
    finally:
        there.execute('DROP ROLE "check ""reader"""')


MADE_BY_THE_ACCOUNT = 'SET ROLE "check-writer"; CREATE ROLE check_owning; RESET ROLE'
KINDS = {
    "table": "CREATE TABLE mine (i int); ALTER TABLE mine OWNER TO check_owning",
    "view": "CREATE VIEW mine AS SELECT 1 AS i; ALTER VIEW mine OWNER TO check_owning",
    "sequence": "CREATE SEQUENCE mine; ALTER SEQUENCE mine OWNER TO check_owning",
    "function": "CREATE FUNCTION mine() RETURNS int RETURN 1; ALTER FUNCTION mine() OWNER TO check_owning",
    "type": "CREATE DOMAIN mine AS int; ALTER DOMAIN mine OWNER TO check_owning",
    "schema": "CREATE SCHEMA mine AUTHORIZATION check_owning",
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_owner_whom_the_account_may_not_become_is_a_warning(
    shop: psycopg.Connection,
    there: psycopg.Connection,
    writer: Plan,
    source_cluster: Cluster,
    source_db: str,
    kind: str,
) -> None:
    there.execute('ALTER ROLE "check-writer" CREATEROLE')
    there.execute(MADE_BY_THE_ACCOUNT)
    shop.execute("CREATE ROLE check_owning")
    try:
        assert check(writer, "target-roles").status == "passed"
        shop.execute(KINDS[kind].encode())
        result = check(writer, "target-roles")
        assert (result.status, "check_owning" in result.found) == ("warning", True)
        there.execute(result.sql)
        assert check(writer, "target-roles").status == "passed"
        there.execute('SET ROLE "check-writer"; CREATE TEMPORARY TABLE ours (); ALTER TABLE ours OWNER TO check_owning')
        there.execute("DROP TABLE ours; RESET ROLE")
    finally:
        there.execute("RESET ROLE; DROP OWNED BY check_owning; DROP ROLE check_owning")
        drop_role(source_cluster, "check_owning", source_db)


def test_nobody_is_asked_to_hand_out_a_superuser(
    shop: psycopg.Connection, there: psycopg.Connection, writer: Plan
) -> None:
    shop.execute("CREATE TABLE mine (i int)")
    result = check(writer, "target-roles")
    assert (result.status, result.sql, result.fix) == ("warning", "", "")
    assert "hand objects over to postgres" in result.found
    assert "will belong to check-writer" in result.hint
    assert "whoever is a member of a superuser can become one" in result.hint


def test_keys_that_would_act_on_copied_rows_fail_when_the_account_cannot_keep_them_quiet(
    shop: psycopg.Connection, there: psycopg.Connection, writer: Plan, task: Plan
) -> None:
    tables = "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (id int PRIMARY KEY, of int"
    shop.execute(f"{tables} REFERENCES parent)".encode())
    there.execute(f"{tables} CONSTRAINT known REFERENCES parent)".encode())
    there.execute('GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON parent, child TO "check-writer"')
    keeping = replace(writer, selection=replace(writer.selection, existing="keep"))
    result = check(keeping, "target-conflicts")
    assert (result.status, "1 foreign key of " in result.found) == ("failed", True)
    assert "public.child (known)" in result.found
    as_superuser = replace(task, selection=replace(task.selection, existing="keep"))
    assert check(as_superuser, "target-conflicts").status == "warning"
    there.execute(result.sql)
    assert check(keeping, "target-conflicts").status == "warning"
    there.execute('REVOKE SET ON PARAMETER session_replication_role FROM "check-writer"')


def test_objects_for_superusers_and_libraries_are_a_warning(shop: psycopg.Connection, task: Plan, writer: Plan) -> None:
    assert check(task, "superuser-objects").status == "passed"
    shop.execute(
        "CREATE TEXT SEARCH PARSER words"
        " (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype)"
    )
    assert check(task, "superuser-objects").status == "passed"
    assert "text search parser words" in check(writer, "superuser-objects").found
    shop.execute(
        "CREATE FUNCTION far() RETURNS language_handler AS '$libdir/plpgsql', 'plpgsql_call_handler' LANGUAGE C"
    )
    result = check(task, "superuser-objects")
    assert (result.status, "$libdir/plpgsql" in result.found) == ("warning", True)


def test_an_aggregate_needs_a_superuser_only_for_a_state_of_the_server_itself(
    shop: psycopg.Connection, writer: Plan
) -> None:
    shop.execute("CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0')")
    assert check(writer, "superuser-objects").status == "passed"
    shop.execute(
        "CREATE AGGREGATE mean(bigint) (SFUNC = int8_avg_accum, STYPE = internal, FINALFUNC = numeric_poly_avg)"
    )
    found = check(writer, "superuser-objects").found
    assert found.endswith("1 object that only a superuser can create: aggregate public.mean(bigint).")


def test_a_leakproof_function_needs_a_superuser_in_any_language(shop: psycopg.Connection, writer: Plan) -> None:
    shop.execute("CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE LEAKPROOF AS 'SELECT 2 * $1'")
    result = check(writer, "superuser-objects")
    assert (result.status, "function public.twice(integer)" in result.found) == ("warning", True)


def test_what_a_range_type_makes_itself_needs_no_superuser(shop: psycopg.Connection, writer: Plan) -> None:
    shop.execute("CREATE TYPE spans AS RANGE (subtype = int)")
    assert check(writer, "superuser-objects").status == "passed"


def test_a_schema_for_types_alone_in_which_the_account_may_not_create_is_told(
    writer: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    database = writer.databases[0]
    with source_cluster.connect(database.source_name) as source, target_cluster.connect(database.target_name) as target:
        source.execute("CREATE SCHEMA kinds; CREATE TYPE kinds.e AS ENUM ('a')")
        target.execute("CREATE SCHEMA kinds")
        target.execute(f'GRANT CREATE ON DATABASE "{database.target_name}" TO "check-writer"'.encode())
        target.execute('GRANT CREATE ON SCHEMA public TO "check-writer"')
        result = check(writer, "target-create")
        assert (result.status, result.sql.split(" TO ")[0]) == ("warning", 'GRANT USAGE, CREATE ON SCHEMA "kinds"')
        target.execute(result.sql)
        assert check(writer, "target-create").status == "passed"
