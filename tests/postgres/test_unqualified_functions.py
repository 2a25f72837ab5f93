"""Tables whose index calls a function that names others without their schema: no query of them can be planned here."""

from __future__ import annotations

from pathlib import Path

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.catalog import read_tables
from migrations_app.engine.parts import plan_parts
from migrations_app.engine.states import StepName
from tests import tidy
from tests.fakes import fake_ports
from tests.postgres.compare_kit import compare_now, on_one_server, run_steps

MADE = """
CREATE FUNCTION stripped(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT translate($1, 'äö', 'ao')$$;
CREATE FUNCTION plain(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT stripped(lower($1))$$;
CREATE TABLE people (id int PRIMARY KEY, name text); CREATE INDEX ON people (plain(name));
INSERT INTO people SELECT i, 'n' || i FROM generate_series(1, 2000) i;
"""


def test_they_are_compared_row_by_row(source_cluster: Cluster, source_db: str, tmp_path: Path) -> None:
    with on_one_server(source_cluster, source_db, MADE, tmp_path) as plan:
        store = run_steps(plan, fake_ports())
        assert [(one.equal, [table.verdict for table in one.tables]) for one in store.comparisons] == [
            (True, ["equal"])
        ]
        with source_cluster.connect(plan.databases[0].target_name) as there:
            there.execute("UPDATE people SET name = 'other' WHERE id = 7")
        [found] = compare_now(plan).tables
        assert (found.verdict, found.source_rows) == ("differs", 2000)
        assert "7" in found.sample_keys[0]


def test_they_are_not_compared_where_another_role_could_be_called(
    source_cluster: Cluster, source_db: str, tmp_path: Path
) -> None:
    with on_one_server(source_cluster, source_db, MADE, tmp_path) as plan:
        run_steps(plan, fake_ports(), StepName.SCHEMA, StepName.COPY, StepName.INDEX)
        with source_cluster.connect(source_db) as connection:
            connection.execute(f"CREATE ROLE other_{source_db}".encode())
            try:
                connection.execute("CREATE FUNCTION bait() RETURNS int LANGUAGE sql AS 'SELECT 1'")
                connection.execute(f"ALTER FUNCTION bait() OWNER TO other_{source_db}".encode())
                [found] = compare_now(plan).tables
                assert found.verdict == "not_compared"
                assert "stripped(text) does not exist" in found.reason
            finally:
                tidy.drop_role(source_cluster, f"other_{source_db}", source_db)


def test_they_are_copied_as_a_whole(source_cluster: Cluster, source_db: str) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute(MADE.encode())
    with source_cluster.connect(source_db) as connection:
        connection.execute("SET search_path = ''")
        [people] = read_tables(connection)
        with connection.transaction(force_rollback=True):
            assert [part.where for part in plan_parts(connection, people, 8192)] == [""]
            connection.execute("DROP INDEX public.people_plain_idx")
            assert len(plan_parts(connection, people, 8192)) > 4
