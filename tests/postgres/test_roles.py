"""Roles are made on the target with all that can come along; the rest is noted, and nothing of ours stays in them."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import checks
from migrations_app.engine.checks import CheckResult
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Kind
from migrations_app.engine.roles import named_roles
from migrations_app.engine.states import StepName
from tests.acceptance.places import quoted
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.hostile_names import NAMES
from tests.postgres.compare_kit import plan_for, server

STEPS = (StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP)


@dataclass(frozen=True)
class World:
    """A source whose objects belong to roles that the target does not have; the target's account is no superuser."""

    plan: Plan
    mark: str

    def name(self, short: str) -> str:
        return f"{short}_{self.mark}"


@pytest.fixture
def world(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any
) -> Iterator[World]:
    mark = secrets.token_hex(3)
    owner, app, reader, boss, mover = (f"{name}_{mark}" for name in ("owner", "app", "reader", "boss", "mover"))
    with source_cluster.connect(source_db) as connection:
        connection.execute(
            f"CREATE ROLE {owner} CREATEDB CONNECTION LIMIT 7; CREATE ROLE {reader} NOINHERIT;"
            f"CREATE ROLE {app} LOGIN PASSWORD 'hush' VALID UNTIL '2031-02-03'; CREATE ROLE {boss} SUPERUSER;"
            f"GRANT {owner} TO {app} WITH ADMIN OPTION; COMMENT ON ROLE {owner} IS 'it''s the owner';"
            f"ALTER ROLE {app} SET search_path = \"$user\", public; ALTER ROLE {app} SET work_mem = '7MB';"
            f'ALTER DATABASE "{source_db}" OWNER TO {owner};'
            f"CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t OWNER TO {owner}; INSERT INTO t VALUES (1);"
            f"GRANT SELECT ON t TO {reader}; CREATE POLICY p ON t TO {reader} USING (true);"
            f"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f() OWNER TO {boss}".encode()
        )
    with target_cluster.connect() as connection:
        connection.execute(f"CREATE ROLE {mover} LOGIN CREATEROLE CREATEDB PASSWORD 'mover'".encode())
        connection.execute(f'DROP DATABASE "{target_db}"'.encode())
    plan = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)
    selection = replace(plan.selection, roles="needed", role_passwords=True)
    yield World(replace(plan, selection=selection, target=replace(plan.target, user=mover, password="mover")), mark)
    with target_cluster.connect() as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{target_db}" WITH (FORCE)'.encode())
    for cluster, database in ((source_cluster, source_db), (target_cluster, "postgres")):
        with cluster.connect(database) as connection:
            if cluster is source_cluster:
                connection.execute(f'ALTER DATABASE "{source_db}" OWNER TO postgres'.encode())
            for role in (app, reader, owner, boss, mover):
                with contextlib.suppress(psycopg.errors.UndefinedObject):
                    connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())


def migrate(plan: Plan) -> tuple[FakeStore, Any]:
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    store.targets.update({one.source_name: one.target_name for one in plan.databases})
    with Executor(plan, ports) as executor:
        for step in STEPS:
            assert executor.run(step).done
    return store, ports


def test_owners_grantees_and_members_are_made_with_all_that_the_account_may_give(
    world: World, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    store, ports = migrate(world.plan)
    asked = (
        "SELECT rolname::text, rolcanlogin, rolinherit, rolcreatedb, rolconnlimit, rolvaliduntil::date::text,"
        " rolpassword, shobj_description(oid, 'pg_authid'), rolsuper FROM pg_authid WHERE rolname LIKE '%' || %s"
        " AND rolname NOT LIKE 'mover%%' ORDER BY 1"
    ).replace("LIKE '%' ||", "LIKE '%%' ||")
    with source_cluster.connect() as source, target_cluster.connect() as target:
        here = source.execute(asked, (world.mark,)).fetchall()
        there = target.execute(asked, (world.mark,)).fetchall()
        assert there == [(*row[:-1], False) for row in here]
        settings = "SELECT setconfig FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole WHERE rolname = %s"
        app = (world.name("app"),)
        assert target.execute(settings, app).fetchone() == source.execute(settings, app).fetchone()
        assert target.execute(
            "SELECT pg_has_role(%s, %s, 'MEMBER WITH ADMIN OPTION')", (*app, world.name("owner"))
        ).fetchone() == (True,)
    with target_cluster.connect(world.plan.databases[0].target_name) as target:
        rights = "SELECT relowner::regrole::text, relacl::text FROM pg_class WHERE relname = 't'"
        owner = "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()"
        (table_owner, grants), database_owner = target.execute(rights).fetchone(), target.execute(owner).fetchone()
    assert (table_owner, database_owner) == (world.name("owner"), (world.name("owner"),))
    assert f"{world.name('reader')}=r" in grants
    assert ports.ledger.items() == []
    notes = [note.what for note in store.notes[""]]
    assert "is a superuser on the source and an ordinary role on the target" in notes
    assert "SCRAM" not in str(store.notes) + str(store.events)


@pytest.mark.parametrize("superuser", [True, False])
def test_members_of_the_servers_own_roles_are_so_again_or_it_is_told(
    world: World, source_cluster: Cluster, target_cluster: Cluster, superuser: bool
) -> None:
    plan, app = world.plan, world.name("app")
    with source_cluster.connect() as source:
        source.execute(f"GRANT pg_monitor TO {app}; GRANT SET ON PARAMETER log_statement TO {app}".encode())
    if superuser:
        plan = replace(plan, target=replace(plan.target, user="postgres", password=target_cluster.password))
    store, _ = migrate(plan)
    with target_cluster.connect() as target:
        assert target.execute("SELECT pg_has_role(%s, 'pg_monitor', 'MEMBER')", (app,)).fetchone() == (superuser,)
        allowed = "SELECT has_parameter_privilege(%s, 'log_statement', 'SET')"
        assert target.execute(allowed, (app,)).fetchone() == (superuser,)
    told = [note.statement for note in store.notes[""] if "pg_monitor" in note.statement]
    lacking = f'GRANT "pg_monitor" TO "{app}" WITH ADMIN FALSE, INHERIT TRUE, SET TRUE;'
    assert told == ([] if superuser else [lacking])


def test_who_only_counts_as_a_member_is_one_again(
    world: World, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    """pg_hba.conf lets `+role` in by membership alone, and so do functions that ask for it."""
    owner, reader = world.name("owner"), world.name("reader")
    with source_cluster.connect() as source:
        source.execute(f"GRANT {owner} TO {reader} WITH INHERIT FALSE, SET FALSE".encode())
    store, _ = migrate(world.plan)
    with target_cluster.connect() as target:
        rows = target.execute(
            "SELECT admin_option, inherit_option, set_option FROM pg_auth_members"
            " WHERE roleid = %s::regrole AND member = %s::regrole",
            (owner, reader),
        ).fetchall()
    assert rows == [(False, False, False)]
    assert reader not in [note.name for note in store.notes[""]]


def test_roles_that_only_the_database_itself_names_are_needed(source_cluster: Cluster, source_db: str) -> None:
    mark = secrets.token_hex(3)
    granted, setting, others = (f"{name}_{mark}" for name in ("granted", "setting", "others"))
    with source_cluster.connect(source_db) as connection:
        try:
            connection.execute(
                f"CREATE ROLE {granted}; CREATE ROLE {setting}; CREATE ROLE {others};"
                f'GRANT CONNECT ON DATABASE "{source_db}" TO {granted};'
                f"GRANT CONNECT ON DATABASE postgres TO {others};"
                f"ALTER ROLE {setting} IN DATABASE \"{source_db}\" SET work_mem = '7MB'".encode()
            )
            assert named_roles(connection) & {granted, setting, others} == {granted, setting}
        finally:
            connection.execute(f"REVOKE CONNECT ON DATABASE postgres FROM {others}".encode())
            for role in (granted, setting, others):
                connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def test_public_belongs_to_whom_it_did(world: World, source_cluster: Cluster, target_cluster: Cluster) -> None:
    (database,), owner = world.plan.databases, world.name("reader")
    with source_cluster.connect(database.source_name) as source:
        source.execute(f"ALTER SCHEMA public OWNER TO {owner}".encode())
    store, _ = migrate(world.plan)
    with target_cluster.connect(database.target_name) as target:
        asked = "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'"
        assert target.execute(asked).fetchone() == (owner,)
        assert target.execute("SELECT has_schema_privilege(%s, 'public', 'CREATE')", (owner,)).fetchone() == (True,)
    assert owner not in {note.name for note in store.notes[database.source_name] if note.kind == "owner"}
    assert "schema" not in {note.kind for note in store.notes[database.source_name]}


def test_a_database_belongs_to_whom_it_did_also_where_roles_are_not_migrated(
    world: World, target_cluster: Cluster
) -> None:
    (database,), owner = world.plan.databases, world.name("owner")
    selection = replace(world.plan.selection, roles="none")
    superuser = replace(world.plan.target, user="postgres", password=target_cluster.password)
    with target_cluster.connect() as target:
        target.execute(f"CREATE ROLE {owner}".encode())
    migrate(replace(world.plan, selection=selection, target=superuser))
    with target_cluster.connect(database.target_name) as target:
        asked = "SELECT datdba::regrole::text FROM pg_database WHERE datname = current_database()"
        assert target.execute(asked).fetchone() == (owner,)


def test_an_owner_who_may_not_create_in_the_schema_owns_its_tables_all_the_same(
    world: World, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,), reader = world.plan.databases, world.name("reader")
    with source_cluster.connect(database.source_name) as source:
        source.execute(
            f"CREATE SCHEMA apart; CREATE TABLE apart.t (id int); ALTER TABLE apart.t OWNER TO {reader};"
            f"CREATE TABLE here (id serial); ALTER TABLE here OWNER TO {reader}".encode()
        )
    store, _ = migrate(world.plan)
    with target_cluster.connect(database.target_name) as target:
        owned = "SELECT relname::text FROM pg_class WHERE relowner = %s::regrole AND relkind IN ('r', 'S') ORDER BY 1"
        assert [row[0] for row in target.execute(owned, (reader,)).fetchall()] == ["here", "here_id_seq", "t"]
        for schema in ("apart", "public"):
            may = target.execute("SELECT has_schema_privilege(%s, %s, 'CREATE')", (reader, schema)).fetchone()
            assert may == (False,)
    assert reader not in {note.name for note in store.notes[database.source_name] if note.kind == "owner"}


def test_our_account_is_out_of_the_roles_afterwards(world: World, target_cluster: Cluster) -> None:
    migrate(world.plan)
    with target_cluster.connect() as target:
        usable = target.execute(
            "SELECT pg_has_role(%s, %s, 'SET')", (world.plan.target.user, world.name("owner"))
        ).fetchone()
    assert usable == (False,)


@pytest.mark.parametrize(
    ("options", "there"),
    [
        (" WITH INHERIT TRUE, SET TRUE", [(False, True, True)]),
        (" WITH INHERIT FALSE, SET TRUE", [(False, False, True)]),
        (" WITH INHERIT FALSE, SET FALSE, ADMIN TRUE", []),
    ],
)
def test_our_account_is_in_the_roles_that_its_namesake_made_and_is_in_on_the_source(
    world: World, source_cluster: Cluster, target_cluster: Cluster, options: str, there: list[tuple[bool, bool, bool]]
) -> None:
    mover, made = world.plan.target.user, world.name("made")
    source_db = world.plan.databases[0].source_name
    try:
        with source_cluster.connect(source_db) as source:
            source.execute(f"CREATE ROLE {mover} LOGIN CREATEROLE; SET ROLE {mover}; CREATE ROLE {made}".encode())
            source.execute("RESET ROLE")
            source.execute(f"GRANT {made} TO {mover}{options}".encode())
            source.execute(f"CREATE TABLE u (id int PRIMARY KEY); ALTER TABLE u OWNER TO {made}".encode())
        store, ports = migrate(world.plan)
        with target_cluster.connect() as target:
            rows = target.execute(
                "SELECT admin_option, inherit_option, set_option FROM pg_auth_members WHERE grantor = member"
                f" AND member = '{mover}'::regrole AND roleid = '{made}'::regrole".encode()
            ).fetchall()
        assert rows == there
        assert mover not in [note.name for note in store.notes[""]]
        assert ports.ledger.items() == []
    finally:
        for cluster, database in ((source_cluster, source_db), (target_cluster, world.plan.databases[0].target_name)):
            with cluster.connect(database) as connection:
                connection.execute(f"DROP OWNED BY {made} CASCADE; DROP ROLE {made}".encode())


def test_roles_of_a_task_that_was_cleared_are_gone_again(world: World, target_cluster: Cluster) -> None:
    ports = fake_ports()
    cast(FakeStore, ports.store).targets.update({o.source_name: o.target_name for o in world.plan.databases})
    with Executor(world.plan, ports) as executor:
        executor.run(StepName.SCHEMA)
        assert {item.kind for item in ports.ledger.items()} >= {Kind.ROLE, Kind.MEMBERSHIP}
        executor.cancelled()
        assert executor.clear_target() == []
    with target_cluster.connect() as target:
        left = target.execute(
            "SELECT rolname::text FROM pg_roles WHERE rolname LIKE %s", (f"%{world.mark}",)
        ).fetchall()
    assert left == [(world.plan.target.user,)]
    assert ports.ledger.items() == []


def test_a_worker_that_died_among_the_roles_is_followed_by_one_that_finishes(
    world: World, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    from migrations_app.engine import restoring_roles

    class Died(BaseException):
        pass

    def dying(*_: Any) -> Any:
        raise Died

    ports = fake_ports()
    with monkeypatch.context() as patched:
        patched.setattr(restoring_roles, "further_statements", dying)
        with Executor(world.plan, ports) as executor, pytest.raises(Died):
            executor.run(StepName.SCHEMA)
    with Executor(replace(world.plan, epoch=2), ports) as executor:
        executor.run(StepName.SCHEMA)
    with target_cluster.connect() as target:
        row = target.execute(
            "SELECT rolcreatedb, rolconnlimit FROM pg_roles WHERE rolname = %s", (world.name("owner"),)
        ).fetchone()
    assert row == (True, 7)


def look(plan: Plan, code: str) -> list[CheckResult]:
    return checks.run_checks(plan, FakeControl(), report=lambda result: None, only=frozenset({code}))


def test_the_check_shows_beforehand_what_will_happen(world: World, target_cluster: Cluster) -> None:
    plan = replace(world.plan, selection=replace(world.plan.selection, role_passwords=False))
    (result,) = look(replace(plan, selection=replace(plan.selection, roles="none")), "roles")
    assert (result.status, "not migrated" in result.found) == ("passed", True)
    (result,) = look(plan, "roles")
    assert result.status == "warning"
    assert world.name("owner") in result.found
    assert f"Made as ordinary roles, although superusers on the source: {world.name('boss')}" in result.found
    assert f"need a password afterwards: {world.name('app')}" in result.found
    assert "SCRAM" not in result.sql
    with target_cluster.connect() as target:
        target.execute(f"ALTER ROLE {world.plan.target.user} NOCREATEROLE".encode())
        (result,) = look(plan, "roles")
    assert result.status == "failed"
    assert result.sql == f'ALTER ROLE "{world.plan.target.user}" CREATEROLE;'


_OWNERS = """
    SELECT c.relname, pg_get_userbyid(c.relowner),
           ARRAY(SELECT pg_get_userbyid(a.grantee) || ' ' || a.privilege_type FROM aclexplode(c.relacl) a
                 WHERE a.grantee <> c.relowner ORDER BY 1)
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY c.relname"""


def test_what_an_application_keeps_in_a_roles_own_setting_is_told_to_nobody(
    world: World, source_cluster: Cluster
) -> None:
    name = world.name("app")
    with source_cluster.connect() as connection:
        connection.execute(f"ALTER ROLE {name} SET pgrst.jwt_secret = 'canary-7'".encode())
    (result,) = look(world.plan, "roles")
    assert f'ALTER ROLE "{name}" SET pgrst.jwt_secret TO ...;' in result.sql
    assert "canary-7" not in repr(result)
    store, _ = migrate(world.plan)  # the target's account may not make a setting that the server does not know
    assert any(note.name == name and "pgrst.jwt_secret TO ..." in note.statement for note in store.notes[""])
    assert "canary-7" not in repr([store.notes[""], store.events])


def test_roles_with_hostile_names_own_and_are_granted_what_they_did(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any
) -> None:
    roles = [quoted(name) for name in NAMES]
    try:
        with source_cluster.connect(source_db) as connection:
            for number, role in enumerate(roles):
                connection.execute(f"CREATE ROLE {role}; CREATE TABLE t{number} (id int PRIMARY KEY)".encode())
            for number, role in enumerate(roles):
                connection.execute(f"ALTER TABLE t{number} OWNER TO {role}".encode())
                connection.execute(f"GRANT SELECT ON t{number} TO {roles[number - 1]}".encode())
            here = connection.execute(_OWNERS).fetchall()
        plan = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)
        store, _ = migrate(replace(plan, selection=replace(plan.selection, roles="needed")))
        with target_cluster.connect(target_db) as connection:
            assert connection.execute(_OWNERS).fetchall() == here
        assert not any(store.notes.values())
    finally:
        for cluster, database in ((source_cluster, source_db), (target_cluster, target_db)):
            with cluster.connect(database) as connection:
                for role in roles:
                    with contextlib.suppress(psycopg.errors.UndefinedObject):
                        connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())
