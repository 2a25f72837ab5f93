"""Owners and rights are compared too: what the target lacks is told, and what nobody can miss is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan
from tests.postgres import structure_kit
from tests.postgres.compare_kit import structure_now

# Fixtures that stand in the kit.
plan = structure_kit.plan
make = structure_kit.make


def test_another_owner_of_public_than_the_usual_is_told(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster, source_db: str
) -> None:
    make("ALTER SCHEMA public OWNER TO postgres")  # on the source it has the usual one, who is nobody's choice
    assert structure_now(plan) == []
    with source_cluster.connect(source_db) as connection:
        connection.execute("ALTER SCHEMA public OWNER TO pg_monitor")
    (note,) = structure_now(plan)
    assert (note.kind, note.name) == ("owner", "pg_monitor")
    assert note.what.endswith("instead of pg_monitor: public")


def test_another_owner_of_the_database_is_told_with_what_hands_it_over(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    make("")
    with source_cluster.connect() as connection:
        connection.execute(f'ALTER DATABASE "{source_db}" OWNER TO pg_monitor'.encode())
    (note,) = structure_now(plan)
    assert (note.kind, note.name) == ("owner", "pg_monitor")
    with target_cluster.connect() as connection:
        connection.execute(note.statement.encode())
    assert structure_now(plan) == []


def test_rights_on_the_database_that_only_the_account_of_the_migration_needs_are_not_missed(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster
) -> None:
    make("")
    name = plan.databases[0].source_name
    with source_cluster.connect(name) as connection:
        connection.execute("CREATE ROLE mover LOGIN SUPERUSER PASSWORD 'x'; CREATE ROLE reporting")
        try:
            connection.execute(f"GRANT CREATE ON DATABASE {name} TO mover".encode())
            moving = replace(plan, source=replace(plan.source, user="mover", password="x"))
            assert structure_now(moving) == []
            assert [note.kind for note in structure_now(plan)] == ["database"]
            connection.execute(f"GRANT CONNECT ON DATABASE {name} TO reporting".encode())
            assert [note.kind for note in structure_now(moving)] == ["database"]
        finally:
            connection.execute("DROP OWNED BY mover, reporting; DROP ROLE mover, reporting")


def test_rights_that_the_owner_of_a_serial_columns_sequence_has_anyway_are_not_told(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster
) -> None:
    numbered = "CREATE TABLE numbered (id serial); GRANT USAGE ON SEQUENCE numbered_id_seq TO PUBLIC"
    make(numbered)
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute(numbered.encode())
        connection.execute("CREATE ROLE counting; ALTER TABLE numbered OWNER TO counting")
        try:
            assert [note.title for note in structure_now(plan)] == ["owner counting"]
            connection.execute("REVOKE USAGE ON SEQUENCE numbered_id_seq FROM PUBLIC")
            assert "sequence numbered_id_seq on public.numbered" in [note.title for note in structure_now(plan)]
        finally:
            connection.execute("DROP OWNED BY counting; DROP ROLE counting")


def test_rights_that_an_owner_took_from_himself_on_the_sequence_of_a_column_are_told_and_mended(
    make: Callable[[str], None], plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    counted = "CREATE TABLE counted (id serial, n bigint GENERATED ALWAYS AS IDENTITY)"
    make(f"{counted}; REVOKE SELECT ON SEQUENCE counted_n_seq FROM postgres")
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute(f"{counted}; REVOKE UPDATE, USAGE ON SEQUENCE counted_id_seq FROM postgres".encode())
    notes = structure_now(plan, final=True)
    assert [(note.title, note.what, note.statement) for note in notes] == [
        (
            "sequence counted_id_seq on public.counted",
            "the owner has taken from himself on the source, and has on the target: UPDATE, USAGE",
            'REVOKE UPDATE ON SEQUENCE "public"."counted_id_seq" FROM "postgres";\n'
            'REVOKE USAGE ON SEQUENCE "public"."counted_id_seq" FROM "postgres";',
        ),
        (
            "sequence counted_n_seq on public.counted",
            "the owner has on the source, and lacks on the target: SELECT",
            'GRANT SELECT ON SEQUENCE "public"."counted_n_seq" TO "postgres";',
        ),
    ]
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        for note in notes:
            connection.execute(note.statement.encode())
    assert structure_now(plan, final=True) == []
