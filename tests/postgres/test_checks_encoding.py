"""Check items in databases whose encoding is not UTF8: names there may be no text elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from migrations_app.demo.clusters import Cluster
from tests.postgres.checks_kit import check, login, plan


@pytest.fixture
def without_utf8(source_cluster: Cluster) -> Iterator[Callable[[str], str]]:
    """Makes a database of another encoding on the source; it is gone afterwards."""
    made = []

    def make(encoding: str) -> str:
        made.append(f"enc_{encoding}".lower())
        with source_cluster.connect() as connection:
            connection.execute(
                f"CREATE DATABASE {made[0]} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0".encode()
            )
        return made[0]

    yield make
    with source_cluster.connect() as connection:
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def test_a_role_whose_name_the_encoding_of_the_database_lacks_fails(
    without_utf8: Callable[[str], str], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    name = without_utf8("EUC_JP")
    task = plan(login(source_cluster), login(target_cluster), [(name, name)])
    assert check(task, "encoding").status == "passed"
    with source_cluster.connect() as connection:
        connection.execute('CREATE ROLE "🐘"')
        try:
            found = check(task, "encoding")
        finally:
            connection.execute('DROP ROLE "🐘"')
    assert found.status == "failed"
    assert "EUC_JP" in found.found
    assert "rename the roles" in found.hint


def test_a_name_that_is_no_utf8_is_not_taken_for_a_missing_right(
    without_utf8: Callable[[str], str], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    name = without_utf8("SQL_ASCII")
    with source_cluster.connect(name) as connection:
        connection.execute("SET client_encoding = 'SQL_ASCII'")
        connection.execute(b'CREATE TABLE "caf\xe9" (id int PRIMARY KEY)')
    found = check(plan(login(source_cluster), login(target_cluster), [(name, name)]), "source-readable")
    assert found.status == "failed"
    assert "UTF-8" in found.hint


def test_partitions_that_are_ranges_of_text_are_named_where_the_target_orders_it_otherwise(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE TABLE by_text (k text) PARTITION BY RANGE (k)")
        connection.execute('CREATE TABLE exact (k text COLLATE "C") PARTITION BY RANGE (k)')
        connection.execute("CREATE TABLE listed (k text) PARTITION BY LIST (k)")
    with target_cluster.connect() as there:
        there.execute("CREATE DATABASE plain_order LOCALE 'C' TEMPLATE template0")
    try:
        found = check(plan(login(source_cluster), login(target_cluster), [(source_db, "plain_order")]), "locale")
    finally:
        with target_cluster.connect() as there:
            there.execute("DROP DATABASE plain_order WITH (FORCE)")
    assert found.status == "warning"
    assert "public.by_text" in found.found
    assert "exact" not in found.found
    assert "listed" not in found.found
