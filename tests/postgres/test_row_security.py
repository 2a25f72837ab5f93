"""Row security that binds owners arrives, and does not keep the comparison out of a target without a superuser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import StepName, steps_for
from tests.fakes import fake_ports
from tests.postgres.compare_kit import plain_account, plan_for, run_steps, server

FORCED = """
CREATE TABLE "for ced" (id int PRIMARY KEY); INSERT INTO "for ced" SELECT generate_series(1, 9);
ALTER TABLE "for ced" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON "for ced" USING (id > 5);
COMMENT ON POLICY p ON "for ced" IS 'some'; CREATE TABLE "for ced p" (id int PRIMARY KEY);
ALTER TABLE "for ced p" ENABLE ROW LEVEL SECURITY; CREATE TABLE ready (id int PRIMARY KEY);
ALTER TABLE ready FORCE ROW LEVEL SECURITY; CREATE POLICY p ON ready USING (true);
"""
STATES = (
    "SELECT relname::text, relrowsecurity, relforcerowsecurity,"
    " (SELECT string_agg(obj_description(oid), '') FROM pg_policy WHERE polrelid = c.oid),"
    " EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)"
    " FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
)
# Since 17 an owner may also MAINTAIN, which an older source cannot take from him.
RIGHTS = (
    "SELECT c.relname::text, a.grantee <> 0, a.privilege_type FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a"
    " WHERE c.relname IN ('shut', 'half', 's', 'shut_n_seq')"
    " AND a.privilege_type <> 'MAINTAIN' AND c.relowner = %s::regrole"
    " ORDER BY 1, 2, 3"
)


@pytest.fixture
def plan(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Plan]:
    """Into a target whose account owns all that it makes, and is no superuser."""
    with source_cluster.connect(source_db) as here:
        here.execute(FORCED.encode())
    with plain_account(target_cluster, target_db) as limited:
        with target_cluster.connect() as boss:
            boss.execute(f"GRANT SET ON PARAMETER session_replication_role TO {limited.user}".encode())
        yield plan_for(server(source_cluster), limited, source_db, target_db, work_dir=tmp_path)


@pytest.mark.parametrize("incremental", [False, True])
def test_rows_are_compared_before_row_security_binds_the_account(
    plan: Plan, target_cluster: Cluster, incremental: bool
) -> None:
    store = run_steps(replace(plan, incremental=incremental), fake_ports())
    assert all(one.equal for one in store.comparisons)
    with target_cluster.connect(plan.databases[0].target_name) as there:
        assert there.execute(STATES.encode()).fetchall() == [
            ("for ced", True, True, "some", True),
            ("for ced p", True, False, None, False),
            ("ready", False, True, None, True),
        ]
    assert [note.title for notes in store.notes.values() for note in notes] == ["owner postgres"]


@pytest.mark.parametrize("incremental", [False, True])
def test_a_materialized_view_is_filled_with_what_its_owner_may_see(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as here:
        here.execute('CREATE MATERIALIZED VIEW seen AS SELECT id FROM "for ced"')
    run_steps(replace(plan, incremental=incremental), fake_ports())
    with target_cluster.connect(database.target_name) as there:
        assert there.execute("SELECT array_agg(id ORDER BY id) FROM seen").fetchone() == ([6, 7, 8, 9],)


@pytest.mark.parametrize("incremental", [False, True])
def test_rights_that_owners_took_from_themselves_do_not_stop_an_ordinary_account(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    (database,) = plan.databases
    owner = plan.target.user
    with source_cluster.connect(database.source_name) as here:
        here.execute(f"CREATE ROLE {owner}")
        try:
            here.execute(f"CREATE SEQUENCE s; SELECT nextval('s'); ALTER SEQUENCE s OWNER TO {owner}")
            here.execute(f'ALTER TABLE "for ced" OWNER TO {owner}; REVOKE ALL ON "for ced" FROM {owner}'.encode())
            here.execute(f"REVOKE ALL ON SEQUENCE s FROM {owner}; GRANT SELECT ON s TO PUBLIC".encode())
            store = run_steps(replace(plan, incremental=incremental), fake_ports())
        finally:
            here.execute(f"REASSIGN OWNED BY {owner} TO postgres; DROP OWNED BY {owner}; DROP ROLE {owner}".encode())
    assert all(one.equal for one in store.comparisons)
    with target_cluster.connect(database.target_name) as there:
        asked = f"SELECT has_table_privilege('{owner}', c.oid, 'SELECT, UPDATE') FROM pg_class c WHERE relname = "
        assert there.execute(f"{asked} 'for ced'".encode()).fetchone() == (False,)
        assert there.execute("SELECT relacl::text FROM pg_class WHERE relname = 's'").fetchone() == (
            "{=r/" + owner + "}",
        )
        assert there.execute("SELECT last_value FROM s").fetchone() == (1,)


@pytest.mark.parametrize("incremental", [False, True])
def test_a_complete_that_is_killed_at_its_end_goes_on_under_what_binds_the_account(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    (database,) = plan.databases
    owner, task = plan.target.user, replace(plan, incremental=incremental)
    with source_cluster.connect(database.source_name) as here:
        here.execute(f"CREATE ROLE {owner}")
        try:
            here.execute(f"CREATE SEQUENCE s; SELECT nextval('s'); ALTER SEQUENCE s OWNER TO {owner}")
            here.execute("CREATE TABLE shut (id int PRIMARY KEY, t text, n serial); INSERT INTO shut VALUES (1)")
            here.execute(f"CREATE TABLE half (LIKE shut); ALTER TABLE shut OWNER TO {owner}".encode())
            here.execute(f"ALTER TABLE half OWNER TO {owner}".encode())
            here.execute(f"REVOKE ALL ON shut FROM {owner}; REVOKE ALL ON SEQUENCE s, shut_n_seq FROM {owner}".encode())
            here.execute(f"REVOKE INSERT, TRUNCATE ON half FROM {owner}; GRANT SELECT ON half, shut TO PUBLIC".encode())
            ports = fake_ports()
            steps = [one for one in steps_for(incremental=incremental) if one is not StepName.CLEANUP]
            run_steps(task, ports, *steps)
            store = run_steps(replace(task, epoch=2), ports, StepName.COMPLETE, StepName.CLEANUP)
            wanted = here.execute(RIGHTS.encode(), (owner,)).fetchall()
        finally:
            here.execute(f"REASSIGN OWNED BY {owner} TO postgres; DROP OWNED BY {owner}; DROP ROLE {owner}".encode())
    assert all(one.equal for one in store.comparisons)
    with target_cluster.connect(database.target_name) as there:
        assert there.execute(RIGHTS.encode(), (owner,)).fetchall() == wanted
        forced = [row[:3] for row in there.execute(STATES.encode()).fetchall() if row[2]]
    assert forced == [("for ced", True, True), ("ready", False, True)]
