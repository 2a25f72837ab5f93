"""Rights that another than the owner has granted, and those that owners took from themselves, arrive as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.grants import in_order
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Note
from tests.fakes import fake_ports
from tests.postgres.compare_kit import plain_account, plan_for, run_steps, server

ROLES = ("passing owner", "passing_one", "passing_two", "passing_three")
SCRIPT = """
SET ROLE "passing owner";
CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY, a text, b text); CREATE SEQUENCE app.s;
CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TYPE app.e AS ENUM ('x'); CREATE DOMAIN app.d AS int;
SELECT lo_from_bytea(88001, 'a'), lo_from_bytea(88002, 'b');
GRANT USAGE, CREATE ON SCHEMA app TO passing_one WITH GRANT OPTION;
GRANT SELECT, INSERT ON app.t TO passing_one WITH GRANT OPTION;
GRANT SELECT (a), UPDATE (b) ON app.t TO passing_one WITH GRANT OPTION;
GRANT USAGE, SELECT ON SEQUENCE app.s TO passing_one WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION app.f() TO passing_one WITH GRANT OPTION;
GRANT USAGE ON TYPE app.e, app.d TO passing_one WITH GRANT OPTION;
GRANT SELECT ON LARGE OBJECT 88001 TO passing_one WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO passing_one WITH GRANT OPTION;
SET ROLE passing_one;
GRANT USAGE ON SCHEMA app TO passing_two, passing_three;
GRANT SELECT ON app.t TO passing_two WITH GRANT OPTION; GRANT UPDATE (b) ON app.t TO passing_two;
GRANT USAGE ON SEQUENCE app.s TO passing_two; GRANT EXECUTE ON FUNCTION app.f() TO passing_two;
GRANT USAGE ON TYPE app.e, app.d TO passing_two; GRANT SELECT ON LARGE OBJECT 88001 TO passing_two;
SET ROLE passing_two;
GRANT SELECT ON app.t TO passing_three;
SET ROLE "passing owner";
REVOKE CREATE ON SCHEMA app FROM "passing owner"; REVOKE INSERT ON app.t FROM "passing owner";
REVOKE UPDATE ON LARGE OBJECT 88002 FROM "passing owner"; REVOKE ALL ON LARGE OBJECT 88001 FROM "passing owner";
RESET ROLE
"""
RIGHTS = """
SELECT o.name, x.grantor::regrole::text, x.grantee::regrole::text, x.privilege_type, x.is_grantable
  FROM (SELECT relname::text, relacl FROM pg_class WHERE relnamespace = 'app'::regnamespace
        UNION ALL SELECT attname::text, attacl FROM pg_attribute WHERE attrelid = 'app.t'::regclass
        UNION ALL SELECT nspname::text, nspacl FROM pg_namespace WHERE nspname = 'app'
        UNION ALL SELECT proname::text, proacl FROM pg_proc WHERE pronamespace = 'app'::regnamespace
        UNION ALL SELECT typname::text, typacl FROM pg_type WHERE typnamespace = 'app'::regnamespace
        UNION ALL SELECT oid::text, lomacl FROM pg_largeobject_metadata
        UNION ALL SELECT defaclobjtype::text, defaclacl FROM pg_default_acl) o(name, acl)
 CROSS JOIN LATERAL aclexplode(o.acl) x
 WHERE x.privilege_type <> 'MAINTAIN' ORDER BY 1, 2, 3, 4, 5
"""


def _drop_roles(connection: psycopg.Connection[Any], roles: tuple[str, ...]) -> None:
    for role in roles:
        connection.execute(f'DROP OWNED BY "{role}" CASCADE; DROP ROLE "{role}"'.encode())


@pytest.fixture
def plan(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Plan]:
    """Into a target whose account owns the database, is no superuser, and may act for the owner of the objects."""
    with source_cluster.connect(source_db) as here, target_cluster.connect(target_db) as there:
        for role in ROLES:
            here.execute(f'CREATE ROLE "{role}"'.encode())
            there.execute(f'CREATE ROLE "{role}"'.encode())
        here.execute(f'GRANT CREATE ON DATABASE "{source_db}" TO "{ROLES[0]}"'.encode())
        here.execute(SCRIPT.encode())
        with plain_account(target_cluster, target_db) as limited:
            there.execute(f'GRANT "{ROLES[0]}" TO {limited.user}'.encode())
            yield plan_for(server(source_cluster), limited, source_db, target_db, work_dir=tmp_path)
        _drop_roles(here, ROLES)
        _drop_roles(there, ROLES)


def _told(plan: Plan) -> list[Note]:
    store = run_steps(plan, fake_ports())
    assert all(one.equal for one in store.comparisons)
    return [note for notes in store.notes.values() for note in notes if note.kind not in ("owner", "database")]


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("superuser", [False, True])
def test_rights_arrive_with_those_who_granted_them_and_without_what_owners_took_from_themselves(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, superuser: bool, incremental: bool
) -> None:
    (database,) = plan.databases
    with target_cluster.connect(database.target_name) as there:
        there.execute(f"GRANT passing_one, passing_two TO {plan.target.user}".encode())
        account = server(target_cluster) if superuser else plan.target
        assert _told(replace(plan, target=account, incremental=incremental)) == []
        with source_cluster.connect(database.source_name) as here:
            assert there.execute(RIGHTS.encode()).fetchall() == here.execute(RIGHTS.encode()).fetchall()


def test_a_grantor_for_whom_the_account_may_not_act_is_told_with_statements_that_make_it_the_same(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    notes = _told(plan)
    assert {note.name or note.table or note.schema for note in notes} == {
        *("app", "t", "b", "s", "f()", "e", "d", "88001")
    }
    with target_cluster.connect(database.target_name) as there, source_cluster.connect(database.source_name) as here:
        for note in notes:
            there.execute(note.statement.encode())
        assert there.execute(RIGHTS.encode()).fetchall() == here.execute(RIGHTS.encode()).fetchall()


def test_what_owners_took_from_themselves_is_told_where_it_was_not_taken(
    plan: Plan, target_cluster: Cluster, source_cluster: Cluster
) -> None:
    (database,) = plan.databases
    with target_cluster.connect(database.target_name) as there, source_cluster.connect(database.source_name) as here:
        there.execute(f"GRANT passing_one, passing_two TO {plan.target.user}".encode())
        here.execute(f'REVOKE TEMPORARY ON DATABASE "{database.source_name}" FROM postgres'.encode())
        store = run_steps(plan, fake_ports())
        told = [one for notes in store.notes.values() for one in notes if one.kind == "database"]
        assert [one.what for one in told if "himself" in one.what] == [
            "the owner has taken from himself on the source, and has on the target: TEMPORARY"
        ]
        assert [one.statement for one in told if "himself" in one.what] == [
            f'REVOKE TEMPORARY ON DATABASE "{database.target_name}" FROM "postgres";'
        ]


def test_nobody_passes_on_a_right_before_he_has_it() -> None:
    chain = [
        ("c", "SELECT", False, "b"),
        ("b", "SELECT", True, "a"),
        ("a", "SELECT", True, ""),
        ("d", "USAGE", True, "x"),
    ]
    assert [grant[0] for grant in in_order(chain)] == ["a", "b", "c", "d"]


def test_a_grantor_whose_own_right_stands_already_holds_up_nobody_who_comes_after_him() -> None:
    chain = [("", "SELECT", False, "b"), ("c", "SELECT", False, "b"), ("b", "SELECT", True, "there")]
    assert [grant[0] for grant in in_order(chain)] == ["b", "", "c"]
