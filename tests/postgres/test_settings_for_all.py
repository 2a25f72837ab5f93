"""Settings for all roles of a server come along with all roles, and leave what the target has set for itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import StepName
from tests.fakes import FakeStore, fake_ports
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import plan_for, run_steps, server

ASKED = "SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setrole = 0 AND setdatabase = 0 ORDER BY 1"


def at(cluster: Cluster, *statements: str) -> None:
    with cluster.connect() as connection:
        for statement in statements:
            connection.execute(statement.encode())


def settings(cluster: Cluster) -> list[str]:
    with cluster.connect() as connection:
        return [str(row[0]) for row in connection.execute(ASKED).fetchall()]


def roles(cluster: Cluster) -> set[str]:
    with cluster.connect() as connection:
        rows = connection.execute("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname !~ '^pg_'").fetchall()
    return {str(row[0]) for row in rows}


@pytest.fixture
def plan(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Plan]:
    at(
        source_cluster,
        "ALTER ROLE ALL SET search_path = \"$user\", public, app; ALTER ROLE ALL SET app.tenant = 'it''s mine'",
        "ALTER ROLE ALL SET work_mem = '5MB'",
    )
    at(target_cluster, "ALTER ROLE ALL SET work_mem = '9MB'")
    theirs = roles(target_cluster)
    plan = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)
    yield replace(plan, selection=replace(plan.selection, roles="all"))
    for cluster in (source_cluster, target_cluster):
        at(cluster, "ALTER ROLE ALL RESET ALL")
    made = roles(target_cluster) - theirs  # all that other tests have left on the source: further ones count on that
    with target_cluster.connect(target_db) as connection:
        for role in made:
            connection.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())


def choosing(plan: Plan, roles: str) -> Plan:
    return replace(plan, selection=replace(plan.selection, roles=roles))


def test_what_the_target_lacks_is_set_there_as_on_the_source(plan: Plan, target_cluster: Cluster) -> None:
    store = run_steps(plan, fake_ports())
    assert settings(target_cluster) == ["app.tenant=it's mine", 'search_path="$user", public, app', "work_mem=9MB"]
    assert "ROLES-NOTES" not in {code for _, code, _ in store.events}


@pytest.mark.parametrize("roles", ["none", "needed"])
def test_without_all_roles_the_server_of_the_target_stays_as_it_is(
    plan: Plan, target_cluster: Cluster, roles: str
) -> None:
    run_steps(choosing(plan, roles), fake_ports())
    assert settings(target_cluster) == ["work_mem=9MB"]


def test_a_cleared_task_takes_back_what_it_has_set_and_nothing_else(plan: Plan, target_cluster: Cluster) -> None:
    ports = fake_ports()
    cast(FakeStore, ports.store).targets.update({one.source_name: one.target_name for one in plan.databases})
    with Executor(plan, ports) as executor:
        for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
            assert executor.run(step).done
        assert "it's mine" not in str([item.detail for item in ports.ledger.items()])
        at(target_cluster, "ALTER ROLE ALL SET search_path = theirs")
        executor.cancelled()
        assert executor.clear_target() == []
    assert settings(target_cluster) == ["search_path=theirs", "work_mem=9MB"]
    assert ports.ledger.items() == []


def test_a_library_that_the_target_lacks_closes_it_to_nobody_and_is_told(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    with source_cluster.connect() as connection:
        row = connection.execute("SELECT setting FROM pg_config() WHERE name = 'PKGLIBDIR'").fetchone()
    library = f"{row[0] if row else ''}/plpgsql.so"  # of another version than the target
    at(source_cluster, f"ALTER ROLE ALL SET session_preload_libraries = '{library}'")
    store = run_steps(plan, fake_ports())
    assert len(settings(target_cluster)) == 3
    text = next(text for _, code, text in store.events if code == "ROLES-NOTES")
    assert "session_preload_libraries: missing library: " in text


def test_a_target_account_that_may_not_is_told_the_statements(plan: Plan, target_cluster: Cluster) -> None:
    at(target_cluster, "CREATE ROLE no_super LOGIN CREATEROLE CREATEDB PASSWORD 'mover'")
    (database,) = plan.databases
    try:
        at(target_cluster, f'ALTER DATABASE "{database.target_name}" OWNER TO no_super')
        store = run_steps(replace(plan, target=replace(plan.target, user="no_super", password="mover")), fake_ports())
        assert settings(target_cluster) == ["work_mem=9MB"]
        text = next(text for _, code, text in store.events if code == "ROLES-NOTES")
        assert text.startswith("2 settings for all roles could not be made on the target: ")
        assert "it's mine" not in str(store.events)
    finally:
        at(target_cluster, f'ALTER DATABASE "{database.target_name}" OWNER TO postgres')
        with target_cluster.connect(database.target_name) as connection:
            connection.execute("REASSIGN OWNED BY no_super TO postgres; DROP OWNED BY no_super; DROP ROLE no_super")


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        ("none", "Settings for all roles come along only with all roles; the target lacks search_path, app.tenant."),
        ("all", "Set for all roles of the target server, as on the source: search_path, app.tenant."),
        ("all", "Kept for all roles with the values that the target has: work_mem."),
    ],
)
def test_the_check_tells_what_happens_to_them(plan: Plan, roles: str, told: str) -> None:
    result = check(choosing(plan, roles), "roles")
    assert told in result.found
    assert result.sql.splitlines()[-2:] == [
        "ALTER ROLE ALL SET search_path TO '$user', 'public', 'app';",
        "ALTER ROLE ALL SET app.tenant TO ...;",
    ]
