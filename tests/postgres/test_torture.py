"""One of every kind of object arrives, in every state that it can have, and the structure comparison says so."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster, wheel_bin
from migrations_app.engine import pieces
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import StepName, steps_for
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, server

TORTURE = Path(__file__).with_name("torture_schema.sql").read_text()
TORTURE_18 = Path(__file__).with_name("torture_18.sql").read_text()


ROLES = ("torture_owner", "torture_reader", "torture_super")


@pytest.fixture(scope="module")
def torture_roles(source_cluster: Cluster, target_cluster: Cluster) -> Iterator[None]:
    """Roles of both servers; only a superuser owns event triggers. The servers are those of other files, too."""
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            for name in ROLES:
                with contextlib.suppress(psycopg.errors.DuplicateObject):
                    connection.execute(f"CREATE ROLE {name} {'SUPERUSER' if name == ROLES[2] else ''}".encode())
    yield
    for cluster in (source_cluster, target_cluster):
        with cluster.connect() as connection:
            connection.execute(f"DROP ROLE {', '.join(ROLES)}".encode())


@pytest.fixture
def older(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    torture_roles: None,
    tmp_path: Path,
) -> Plan:
    """From 16 to 18."""
    with source_cluster.connect(source_db) as connection:
        connection.execute(TORTURE.encode())
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


@pytest.fixture
def same(target_cluster: Cluster, target_db: str, torture_roles: None, tmp_path: Path) -> Iterator[Plan]:
    """From 18 to 18, one server, with what only 18 has; followed by the sync."""
    with target_cluster.connect(target_db) as connection:
        connection.execute((TORTURE + TORTURE_18).encode())
    there = f"{target_db}_copy"
    yield plan_for(
        server(target_cluster), server(target_cluster), target_db, there, work_dir=tmp_path, incremental=True
    )
    with target_cluster.connect() as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{there}" WITH (FORCE)'.encode())


def migrate(plan: Plan) -> FakeStore:
    ports = fake_ports()
    cast(FakeControl, ports.control).complete = True
    cast(FakeStore, ports.store).targets.update({one.source_name: one.target_name for one in plan.databases})
    with Executor(plan, ports) as executor:
        for step in steps_for(incremental=plan.incremental):
            if step is not StepName.CHECK:
                assert executor.run(step).done
    assert ports.ledger.items() == []
    return cast(FakeStore, ports.store)


def told(store: FakeStore) -> list[tuple[str, str, str]]:
    return [(note.title, note.what, note.statement) for notes in store.notes.values() for note in notes]


def by_the_oracle(source: Cluster, target: Cluster, plan: Plan) -> list[str]:
    """Return how both sides differ by an oracle that shares no line with the product."""
    (database,) = plan.databases
    with source.connect(database.source_name) as here, target.connect(database.target_name) as there:
        return differences(here, there)


def dumped(cluster: Cluster, database: str) -> Counter[str]:
    """Return what pg_dump of 18 writes about a database, piece by piece: a third opinion, in the server's own words."""
    done = subprocess.run(
        [wheel_bin(18) / "pg_dump", "--schema-only", "--restrict-key=x", "--dbname", cluster.uri(database)],
        capture_output=True,
        text=True,
        check=True,
    )
    told = done.stdout.replace(database, "the database")
    text = re.sub(r"^--.*\n", "", told, flags=re.MULTILINE)
    return Counter(piece.strip() for piece in re.split(r"\n\n+", text))


def by_pg_dump(source: Cluster, target: Cluster, plan: Plan) -> list[str]:
    (database,) = plan.databases
    here, there = dumped(source, database.source_name), dumped(target, database.target_name)
    return sorted([*(f"- {one}" for one in here - there), *(f"+ {one}" for one in there - here)])


def test_everything_arrives_from_16_on_18(older: Plan, source_cluster: Cluster, target_cluster: Cluster) -> None:
    store = migrate(older)
    assert told(store) == []
    assert all(comparison.equal for comparison in store.comparisons)
    assert by_the_oracle(source_cluster, target_cluster, older) == []
    assert by_pg_dump(source_cluster, target_cluster, older) == []


@pytest.mark.long
def test_everything_arrives_from_18_on_18_with_a_sync(same: Plan, target_cluster: Cluster) -> None:
    store = migrate(same)
    assert told(store) == []
    assert all(comparison.equal for comparison in store.comparisons)
    assert by_the_oracle(target_cluster, target_cluster, same) == []
    assert by_pg_dump(target_cluster, target_cluster, same) == []


def test_everything_arrives_in_pieces(
    older: Plan, source_cluster: Cluster, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_ROOM", "SELECT 0")
    monkeypatch.setattr(pieces, "_LEAST_TABLES", 7)
    store = migrate(older)
    assert "SRC-PIECES" in [code for _, code, _ in store.events]
    assert told(store) == []
    assert all(comparison.equal for comparison in store.comparisons)
    assert by_the_oracle(source_cluster, target_cluster, older) == []


def test_publications_and_subscriptions_of_the_source_are_told(older: Plan, source_cluster: Cluster) -> None:
    with source_cluster.connect(older.databases[0].source_name) as source:
        source.execute("CREATE PUBLICATION outward FOR ALL TABLES")
        source.execute(
            "CREATE SUBSCRIPTION inward CONNECTION 'dbname=x' PUBLICATION p WITH (connect = false, slot_name = NONE)"
        )
        try:
            store = migrate(older)
        finally:
            source.execute("DROP SUBSCRIPTION inward")
    assert [(title, what) for title, what, _ in told(store)] == [
        ("publication outward", "missing on the target: publications are not carried over"),
        ("subscription inward", "missing on the target: subscriptions are not carried over"),
    ]
    assert all(comparison.equal for comparison in store.comparisons)


def test_large_objects_keep_their_owners_grants_and_comments(older: Plan, target_cluster: Cluster) -> None:
    migrate(older)
    with target_cluster.connect(older.databases[0].target_name) as connection:
        row = connection.execute(
            "SELECT pg_get_userbyid(lomowner), lomacl::text, obj_description(700002, 'pg_largeobject')"
            " FROM pg_largeobject_metadata WHERE oid = 700001"
        ).fetchone()
    assert row == ("torture_owner", "{torture_owner=rw/torture_owner,torture_reader=r/torture_owner}", "large")


def test_a_mapping_to_a_foreign_server_comes_with_the_password_that_a_superuser_sees(
    older: Plan, target_cluster: Cluster
) -> None:
    migrate(older)
    with target_cluster.connect(older.databases[0].target_name) as connection:
        rows = connection.execute("SELECT usename::text, umoptions::text FROM pg_user_mappings ORDER BY 1").fetchall()
    assert rows == [("public", "{user=all}"), ("torture_owner", "{user=u,password=hush}")]
