"""Which roles a task makes, and with what: decided without a server."""

from __future__ import annotations

import pytest

from migrations_app.engine.roles import (
    Found,
    Membership,
    Role,
    create_statement,
    further_statements,
    is_provider,
    membership_statement,
    roles_plan,
    set_clause,
    wanted_roles,
)


def found(*names: str, members: tuple[tuple[str, str], ...] = ()) -> Found:
    return Found(
        roles={name: Role(name=name, login=name.startswith("app")) for name in names},
        memberships=tuple(Membership(role=role, member=member) for role, member in members),
    )


def test_roles_bring_what_they_are_in_and_who_is_in_them() -> None:
    source = found("owner", "app", "group", "other", members=(("owner", "app"), ("group", "owner")))
    assert wanted_roles(source, ["owner"], "mover") == {"owner", "app", "group"}


def test_a_vendors_role_brings_nobody() -> None:
    source = found(
        "rds_superuser", "owner", "others", members=(("rds_superuser", "owner"), ("rds_superuser", "others"))
    )
    assert wanted_roles(source, ["owner"], "mover") == {"owner", "rds_superuser"}


def test_our_own_account_is_not_one_of_all_roles() -> None:
    assert wanted_roles(found("owner", "mover"), None, "mover") == {"owner"}


def test_roles_that_are_there_stay_as_they_are_unless_an_earlier_attempt_made_them() -> None:
    source, target = found("a", "b", "c"), found("a", "b")
    plan = roles_plan(source, ["a", "b", "c"], target, "mover", {"b"})
    assert [role.name for role in plan.created] == ["b", "c"]
    assert plan.there == ("a",)


def test_superusers_become_ordinary_and_logins_without_a_password_are_listed() -> None:
    source = Found(
        roles={"boss": Role(name="boss", superuser=True), "app": Role(name="app", login=True)}, memberships=()
    )
    plan = roles_plan(source, ["boss", "app", "pg_monitor", "rdsadmin"], found(), "mover")
    assert plan.superusers == ("boss",)
    assert plan.without_password == ("app",)
    assert plan.providers == ("pg_monitor", "rdsadmin")
    assert not any("SUPERUSER" in one.sql for role in plan.created for one in further_statements(role))


@pytest.mark.parametrize("name", ["rdsadmin", "rds_replication", "pg_monitor", "cloudsqlsuperuser", "azure_pg_admin"])
def test_vendors_roles_are_known(name: str) -> None:
    assert is_provider(name)


@pytest.mark.parametrize("name", ["google_sync", "azure_app", "rds_reader", "aiven_sync", "neon_lights", "doadmins"])
def test_a_role_of_an_application_that_is_called_like_a_vendors_is_made(name: str) -> None:
    source = found("owner", name, members=((name, "owner"),))
    assert wanted_roles(source, [name], "mover") == {"owner", name}
    plan = roles_plan(source, ["owner", name], found(), "mover")
    assert [role.name for role in plan.created] == sorted(["owner", name])
    assert [one.role for one in plan.memberships] == [name]
    assert plan.providers == ()


@pytest.mark.parametrize(
    ("superuser", "name"),
    [("rds_superuser", "rds_reader"), ("azure_pg_admin", "azure_app"), ("cloudsqlsuperuser", "google_sync")],
)
def test_on_a_vendors_server_every_role_of_that_name_is_the_vendors(superuser: str, name: str) -> None:
    plan = roles_plan(found(superuser, name, "app"), [superuser, name, "app"], found(), "mover")
    assert [role.name for role in plan.created] == ["app"]
    assert set(plan.providers) == {superuser, name}


def test_every_attribute_is_a_statement_of_its_own() -> None:
    role = Role(
        name='o"dd',
        login=True,
        inherit=False,
        create_database=True,
        replication=True,
        connection_limit=5,
        valid_until="2030-01-01",
        comment="it's",
        settings=("work_mem=64MB",),
        parameters=(("SET", "log_statement", False), ("ALTER SYSTEM", "work_mem", True)),
        password="SCRAM-SHA-256$x",
    )
    assert create_statement(role).sql == 'CREATE ROLE "o""dd" LOGIN NOINHERIT;'
    assert [one.sql for one in further_statements(role) if not one.secret] == [
        'ALTER ROLE "o""dd" CREATEDB;',
        'ALTER ROLE "o""dd" REPLICATION;',
        'ALTER ROLE "o""dd" CONNECTION LIMIT 5;',
        'ALTER ROLE "o""dd" VALID UNTIL \'2030-01-01\';',
        "COMMENT ON ROLE \"o\"\"dd\" IS 'it''s';",
        'ALTER ROLE "o""dd" SET work_mem TO \'64MB\';',
        'GRANT SET ON PARAMETER "log_statement" TO "o""dd";',
        'GRANT ALTER SYSTEM ON PARAMETER "work_mem" TO "o""dd" WITH GRANT OPTION;',
    ]


def test_a_password_shows_in_no_repr() -> None:
    role = Role(name="app", login=True, password="SCRAM-SHA-256$hush")
    plan = roles_plan(Found(roles={"app": role}, memberships=()), ["app"], found(), "mover")
    assert "hush" not in repr([role, further_statements(role), plan])


def test_the_value_of_an_applications_own_setting_is_set_and_never_shown() -> None:
    role = Role(name="app", settings=("pgrst.jwt_secret=hush", "work_mem=64MB"))
    given, plain = further_statements(role)
    assert given.sql == "ALTER ROLE \"app\" SET pgrst.jwt_secret TO 'hush';"
    assert given.shown == 'ALTER ROLE "app" SET pgrst.jwt_secret TO ...;'
    assert plain.shown == plain.sql
    assert "hush" not in repr([role, given])


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ("work_mem=64MB", "SET work_mem TO '64MB';"),
        ('search_path="$user", public', "SET search_path TO '$user', 'public';"),
        ('search_path="a""b", c', "SET search_path TO 'a\"b', 'c';"),
        ("search_path=", "SET search_path TO '';"),
        ("app.tenant=x'; DROP TABLE t", "SET app.tenant TO 'x''; DROP TABLE t';"),
        ("bad name; DROP=1", ""),
        ("search_path=a'); DROP", "SET search_path TO 'a''); DROP';"),
        ("nothing", ""),
    ],
)
def test_settings_are_written_so_that_only_a_setting_can_come_of_them(entry: str, wanted: str) -> None:
    assert set_clause(entry) == wanted


def test_memberships_keep_their_options_where_the_target_knows_them() -> None:
    one = Membership(role="a", member="b", admin=True, inherit=False)
    assert membership_statement(one, 160000).sql == 'GRANT "a" TO "b" WITH ADMIN TRUE, INHERIT FALSE, SET TRUE;'
    assert membership_statement(one, 150000).sql == 'GRANT "a" TO "b" WITH ADMIN OPTION;'


def test_memberships_in_the_servers_own_roles_come_along_and_those_in_a_vendors_stay() -> None:
    source = found("app", "there", members=(("pg_monitor", "app"), ("rds_superuser", "app"), ("pg_monitor", "there")))
    plan = roles_plan(source, ["app", "there"], found("there"), "mover")
    assert [(one.role, one.member) for one in plan.memberships] == [("pg_monitor", "app")]
