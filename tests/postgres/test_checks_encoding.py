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
