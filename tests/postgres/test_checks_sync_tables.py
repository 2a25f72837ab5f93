"""Which tables a sync can follow: those whose rows can be told from each other."""

from __future__ import annotations

from migrations_app.demo.clusters import Cluster
from tests.postgres.checks_kit import check, login, plan


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
