"""Which tables a sync can follow: those whose rows can be told from each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from migrations_app.engine.selection import Selection
from tests.postgres import checks_kit
from tests.postgres.checks_kit import check, login, plan
from tests.tidy import drop_role

# Fixtures that stand in the kit.
task = checks_kit.task
shop = checks_kit.shop


@pytest.fixture
def follower(source_cluster: Cluster, source_db: str, task: Plan) -> Iterator[Plan]:
    """The task with a source account that has not the rights of the roles that it is put into."""
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE ROLE tables_follower LOGIN NOINHERIT REPLICATION PASSWORD 'x'")
        connection.execute(f'GRANT CREATE ON DATABASE "{source_db}" TO tables_follower'.encode())
    yield replace(task, source=replace(task.source, user="tables_follower", password="x"))
    drop_role(source_cluster, "tables_follower", source_db)


@pytest.mark.parametrize("member", [False, True])
def test_the_statement_for_tables_of_others_is_enough_for_an_account_that_inherits_nothing(
    shop: psycopg.Connection, source_cluster: Cluster, source_db: str, follower: Plan, member: bool
) -> None:
    shop.execute("CREATE ROLE tables_owner; CREATE TABLE t (i int PRIMARY KEY); ALTER TABLE t OWNER TO tables_owner")
    try:
        if member:
            shop.execute("GRANT tables_owner TO tables_follower")
        result = check(follower, "publication-rights")
        assert (result.status, "public.t" in result.found) == ("failed", True)
        shop.execute(result.sql)
        assert check(follower, "publication-rights").status == "passed"
    finally:
        drop_role(source_cluster, "tables_owner", source_db)


def test_nobody_is_put_into_a_superuser_whose_tables_an_ordinary_role_can_have_as_well(
    shop: psycopg.Connection, source_cluster: Cluster, source_db: str, follower: Plan
) -> None:
    shop.execute("CREATE ROLE tables_owner; CREATE ROLE ordinary; CREATE TABLE theirs (i int PRIMARY KEY)")
    shop.execute('ALTER TABLE theirs OWNER TO tables_owner; CREATE TABLE "My Own" (i int PRIMARY KEY)')
    try:
        result = check(follower, "publication-rights")
        assert "postgres is a superuser" in result.hint
        assert [line for line in result.sql.splitlines() if 'GRANT "postgres"' in line] == []
        assert '-- ALTER TABLE "public"."My Own" OWNER TO an_ordinary_role;' in result.sql
        shop.execute(result.sql.replace("-- ", "").replace("an_ordinary_role", "ordinary"))
        assert check(follower, "publication-rights").status == "passed"
        row = shop.execute("SELECT pg_has_role('tables_follower', 'postgres', 'MEMBER')").fetchone()
        assert row == (False,)
    finally:
        for role in ("tables_owner", "ordinary"):
            drop_role(source_cluster, role, source_db)


@pytest.mark.parametrize("code", ["publication-rights", "table-keys", "deferrable-keys"])
def test_tables_that_are_never_published_need_no_owner(shop: psycopg.Connection, follower: Plan, code: str) -> None:
    shop.execute("CREATE UNLOGGED TABLE bare (i int); CREATE UNLOGGED TABLE late (i int PRIMARY KEY DEFERRABLE)")
    assert check(follower, code).status == "passed"


def test_a_late_key_of_a_table_without_its_rows_needs_no_owner(
    shop: psycopg.Connection, follower: Plan, source_db: str
) -> None:
    shop.execute("CREATE TABLE late (i int PRIMARY KEY DEFERRABLE)")
    assert check(follower, "deferrable-keys").status == "failed"
    shape = replace(follower, selection=Selection(rules={(source_db,): "structure"}))
    assert check(shape, "deferrable-keys").status == "passed"


def test_a_table_that_an_18_would_refuse_updates_of_once_it_is_published_fails(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    back = plan(login(target_cluster), login(source_cluster), [(target_db, source_db)])
    with target_cluster.connect(target_db) as connection:
        connection.execute("CREATE TABLE fine (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id) STORED)")
        assert check(back, "table-keys").status == "passed"
        connection.execute(
            "CREATE TABLE bare (a int, g int GENERATED ALWAYS AS (a) STORED);"
            "CREATE TABLE computed (a int, g int GENERATED ALWAYS AS (a) STORED PRIMARY KEY);"
            "CREATE TABLE whole (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id));"
            "ALTER TABLE whole REPLICA IDENTITY FULL"
        )
    result = check(back, "table-keys")
    assert (result.status, "public.bare, public.computed, public.whole" in result.found) == ("failed", True)
    assert '-- "public"."bare": ADD PRIMARY KEY\n' in result.sql


def test_all_tables_without_a_key_are_named_by_the_statements(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute("".join(f"CREATE TABLE bare_{number} (i int);" for number in range(60)).encode())
    result = check(plan(login(source_cluster), login(target_cluster), [(source_db, target_db)]), "table-keys")
    assert "and 40 more" in result.found
    assert len(result.sql.split("\n")) == 60


def test_key_less_columns_without_equality_are_a_warning(shop: psycopg.Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE keyed (i int PRIMARY KEY, j json); CREATE TABLE bare (i int)")
    assert check(task, "keyless-types").status == "passed"
    shop.execute("ALTER TABLE bare ADD doc json")
    result = check(task, "keyless-types")
    assert result.status == "warning"
    assert "public.bare.doc (json)" in result.found


def test_key_less_columns_that_are_compared_as_another_type_are_fine(shop: psycopg.Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE bare (name varchar(9), net cidr, tags varchar[])")
    assert check(task, "keyless-types").status == "passed"
    shop.execute("ALTER TABLE bare ADD area box")  # made of points, and yet no array
    assert "1 column that cannot be compared for equality: public.bare.area (box)" in (
        check(task, "keyless-types").found
    )
