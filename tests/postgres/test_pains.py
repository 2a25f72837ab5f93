"""What users of other tools complained of, where no other test shows that it does not happen here.

docs/proofs.md lists all of these complaints with the names of their tests.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import CancelRequested
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName, steps_for
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres import complete_kit
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.complete_kit import begin, migrate

# Fixtures that stand in the kit.
plan = complete_kit.plan
ports = complete_kit.ports
source = complete_kit.source
target = complete_kit.target


def full_run(plan: Plan) -> FakeStore:
    """Run all steps of a full migration."""
    made = fake_ports()
    store = cast(FakeStore, made.store)
    (database,) = plan.databases
    store.targets[database.source_name] = database.target_name
    with Executor(plan, made) as executor:
        for step in steps_for(incremental=False):
            if step is not StepName.CHECK:
                assert executor.run(step).done
    return store


@pytest.fixture
def account(target_cluster: Cluster, target_db: str) -> Iterator[str]:
    """An account of the target that owns the database and is nobody else's superior, as a provider gives it."""
    name = f"managed_{secrets.token_hex(4)}"
    with target_cluster.connect() as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'given'".encode())
        connection.execute(f"ALTER DATABASE {target_db} OWNER TO {name}".encode())
    with target_cluster.connect(target_db) as connection:
        connection.execute("CREATE EXTENSION vector")
    yield name
    with target_cluster.connect(target_db) as connection:
        connection.execute(f"REASSIGN OWNED BY {name} TO postgres; DROP OWNED BY {name}; DROP ROLE {name}".encode())


def test_comments_and_owners_that_a_managed_target_refuses_stop_nothing(
    account: str, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    """P14 of docs/proofs.md."""
    with source_cluster.connect(source_db) as here:
        here.execute(
            "CREATE EXTENSION vector; COMMENT ON EXTENSION vector IS 'changed'; COMMENT ON EXTENSION plpgsql IS 'too';"
            "CREATE TABLE t (id int PRIMARY KEY, at vector(2)); INSERT INTO t VALUES (1, '[1,2]');"
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE VIEW v AS SELECT id FROM t"
        )
        managed = replace(server(target_cluster), user=account, password="given")
        store = full_run(plan_for(server(source_cluster), managed, source_db, target_db, work_dir=tmp_path))
        with target_cluster.connect(target_db) as there:
            assert differences(here, there, ignore={"comment"}) == []
    assert [code for level, code, _ in store.events if level == "error"] == []
    assert all(one.equal for one in store.comparisons)


def test_progress_of_a_few_tables_counts_these_alone(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    """P19 of docs/proofs.md."""
    with source_cluster.connect(source_db) as here:
        here.execute("CREATE SCHEMA other; CREATE TABLE few (i int PRIMARY KEY); CREATE TABLE other.many (i int)")
        here.execute("INSERT INTO few SELECT generate_series(1, 10)")
        here.execute("INSERT INTO other.many SELECT generate_series(1, 50000)")
        size = cast(tuple[Any, ...], here.execute("SELECT pg_table_size('few')").fetchone())[0]
    selection = Selection(rules={(source_db, "public", "few"): True}, targets={source_db: target_db})
    plan = plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path, selection=selection
    )
    store = full_run(plan)
    (state,) = store.tables(source_db)
    assert (state.name, state.bytes_total, state.rows_done) == ("few", size, 10)
    assert max(total for _, total, _ in store.steps) == size
    assert (size, size) in [(done, total) for done, total, _ in store.steps]


def test_commands_of_psql_in_bodies_are_words(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    """P36 of docs/proofs.md."""
    trap = tmp_path / "trap"
    body = f"\n\\! touch {trap}\n\\connect nowhere\n\\o {trap}\n\\copy t to '{trap}'\n"
    with source_cluster.connect(source_db) as here:
        here.execute("SET check_function_bodies = off")
        here.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
        here.execute("INSERT INTO t VALUES (1, %s)", (body,))
        literal = psycopg.sql.Literal(body).as_string(here)
        here.execute(f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS {literal}".encode())
        here.execute(f"COMMENT ON TABLE t IS {literal}; ALTER TABLE t ALTER v SET DEFAULT {literal}".encode())
        here.execute(f'CREATE TABLE "{body[:50]}" (id int)'.encode())
        store = full_run(
            plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path / "work")
        )
        with target_cluster.connect(target_db) as there:
            assert differences(here, there) == []
    assert [notes for notes in store.notes.values() if notes] == []
    assert not trap.exists()


def test_complete_that_waits_for_the_last_changes_says_how_much_is_left_and_can_be_cancelled(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    """P2 of docs/proofs.md."""
    begin(plan, ports)
    store, control = cast(FakeStore, ports.store), cast(FakeControl, ports.control)
    target.autocommit = False
    target.execute("LOCK TABLE audit")  # the sync cannot go on
    source.execute("INSERT INTO audit SELECT g, 'stuck' FROM generate_series(1, 500) g")
    ended: list[BaseException] = []

    def complete() -> None:
        try:
            migrate(plan, ports, StepName.COMPLETE)
        except CancelRequested as error:
            ended.append(error)

    worker = threading.Thread(target=complete)
    worker.start()
    waiting = wait_until(lambda: [one for one in store.steps if "last changes" in one[2]], what="the wait")
    control.cancel()
    worker.join(15)
    assert not worker.is_alive()
    assert len(ended) == 1
    assert all(done < total for done, total, _ in waiting)
    target.rollback()
