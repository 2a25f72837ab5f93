"""Rows that users keep in the tables of an extension arrive; those that came with the extension stay the target's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import checks
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.states import StepName, steps_for
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, run_steps, server

HAND_MADE = """
CREATE EXTENSION vector;
CREATE TABLE systems (id int PRIMARY KEY, words text, builtin boolean); CREATE SEQUENCE counted;
ALTER EXTENSION vector ADD TABLE systems; ALTER EXTENSION vector ADD SEQUENCE counted;
UPDATE pg_extension SET extconfig = ARRAY['systems'::regclass::oid, 'counted'::regclass::oid],
  extcondition = ARRAY['WHERE NOT builtin', ''] WHERE extname = 'vector';
"""


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    with source_cluster.connect(source_db) as source, target_cluster.connect(target_db) as target:
        source.execute(HAND_MADE.encode())
        source.execute(
            "INSERT INTO systems VALUES (1, 'of 16', true), (50, 'mine', false); SELECT setval('counted', 9)"
        )
        target.execute(HAND_MADE.encode())
        target.execute("INSERT INTO systems VALUES (1, 'of 18', true), (60, 'left over', false)")
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


@pytest.mark.parametrize("incremental", [False, True])
def test_the_users_rows_arrive_and_those_of_the_extension_stay(
    plan: Plan, target_cluster: Cluster, incremental: bool
) -> None:
    ports = fake_ports()
    cast(FakeControl, ports.control).complete = True
    with Executor(replace(plan, incremental=incremental), ports) as executor:
        for step in steps_for(incremental=incremental):
            if step is not StepName.CHECK:
                assert executor.run(step).done
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        rows = connection.execute("SELECT id, words FROM systems ORDER BY 1").fetchall()
        assert rows == [(1, "of 18"), (50, "mine")]
        assert connection.execute("SELECT last_value FROM counted").fetchone() == (9,)
    assert "EXTENSION-ROWS" not in {code for _, code, _ in cast(FakeStore, ports.store).events}


ACTING = """
CREATE FUNCTION marks() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.words := NEW.words || ''!''; RETURN NEW; END';
CREATE TRIGGER marks BEFORE INSERT ON systems FOR EACH ROW EXECUTE FUNCTION marks();
ALTER EXTENSION vector ADD FUNCTION marks();
"""


@pytest.fixture
def acting(plan: Plan, source_cluster: Cluster, target_cluster: Cluster) -> Plan:
    """The extension has a trigger that changes rows; a table of the application refers to its rows."""
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as source, target_cluster.connect(database.target_name) as target:
        source.execute((ACTING + "CREATE TABLE places (id int PRIMARY KEY, system int)").encode())
        source.execute(b"ALTER TABLE places ADD FOREIGN KEY (system) REFERENCES systems ON DELETE CASCADE")
        source.execute(b"INSERT INTO places VALUES (1, 1), (2, 50)")
        target.execute(ACTING.encode())
    return plan


def run_through(plan: Plan, source: Cluster) -> FakeStore:
    """Run all steps; a user of the extension adds a row of his own before Complete."""
    ports = fake_ports()
    cast(FakeControl, ports.control).complete = True
    with Executor(plan, ports) as executor:
        for step in steps_for(incremental=plan.incremental):
            if step is StepName.COMPLETE and plan.incremental:
                with source.connect(plan.databases[0].source_name) as connection:
                    connection.execute(b"INSERT INTO systems VALUES (51, 'late', false)")
            if step is not StepName.CHECK:
                assert executor.run(step).done
    return cast(FakeStore, ports.store)


@pytest.mark.parametrize("incremental", [False, True])
@pytest.mark.parametrize("changes", ["", "ALTER TABLE systems DISABLE TRIGGER marks;"])
def test_triggers_of_the_extension_do_not_change_the_rows_and_what_refers_to_them_stays(
    acting: Plan, source_cluster: Cluster, target_cluster: Cluster, incremental: bool, changes: str
) -> None:
    """With a sync the rows come a second time at Complete, when the foreign key of the application is there."""
    (database,) = acting.databases
    for cluster, name in ((source_cluster, database.source_name), (target_cluster, database.target_name)):
        with cluster.connect(name) as connection:
            connection.execute((changes or "SELECT 1").encode())
    store = run_through(replace(acting, incremental=incremental), source_cluster)
    with source_cluster.connect(database.source_name) as connection:
        late = connection.execute("SELECT id, words FROM systems WHERE id = 51").fetchall()
    with target_cluster.connect(database.target_name) as connection:
        rows = connection.execute("SELECT id, words FROM systems ORDER BY 1").fetchall()
        assert rows == [(1, "of 18"), (50, "mine"), *late]
        assert connection.execute("SELECT id, system FROM places ORDER BY 1").fetchall() == [(1, 1), (2, 50)]
        key = "SELECT convalidated FROM pg_constraint WHERE contype = 'f'"
        assert connection.execute(key.encode()).fetchall() == [(True,)]
    assert "EXTENSION-ROWS" not in {code for _, code, _ in store.events}


def test_an_account_that_cannot_keep_triggers_quiet_tells_what_they_changed_and_deletes_nothing_of_others(
    acting: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,), mover = acting.databases, f"mover_{acting.databases[0].target_name}"
    with target_cluster.connect(database.target_name) as target:
        target.execute(
            f"CREATE ROLE {mover} LOGIN PASSWORD 'given'; GRANT ALL ON SCHEMA public TO {mover};"
            f"GRANT CREATE ON DATABASE {database.target_name} TO {mover};"
            f"GRANT ALL ON systems TO {mover}; GRANT ALL ON counted TO {mover}".encode()
        )
    try:
        plan = replace(acting, target=replace(acting.target, user=mover, password="given"), incremental=True)
        store = run_through(plan, source_cluster)
        with target_cluster.connect(database.target_name) as connection:
            assert connection.execute("SELECT id, system FROM places ORDER BY 1").fetchall() == [(1, 1), (2, 50)]
        told = [str(text) for _, code, text in store.events if code == "EXTENSION-ROWS"]
        assert len(told) == 2
        assert all("systems of vector: a trigger of the target changes these rows" in text for text in told)
    finally:
        with target_cluster.connect(database.target_name) as target:
            target.execute(f"DROP OWNED BY {mover} CASCADE; DROP ROLE {mover}".encode())


@pytest.mark.parametrize("superuser", [True, False])
@pytest.mark.parametrize("action", ["CASCADE", "NO ACTION"])
def test_rows_that_something_of_the_target_refers_to_stay_and_are_told(
    plan: Plan, target_cluster: Cluster, action: str, superuser: bool
) -> None:
    (database,), mover = plan.databases, f"mover_{plan.databases[0].target_name}"
    with target_cluster.connect(database.target_name) as target:
        target.execute(
            f"CREATE ROLE {mover} LOGIN PASSWORD 'given'; GRANT ALL ON systems, counted TO {mover};"
            f"CREATE TABLE theirs (id int REFERENCES systems ON DELETE {action}, k bigint); INSERT INTO theirs"
            " VALUES (60), (NULL)".encode()
        )
        try:
            side = plan.target if superuser else replace(plan.target, user=mover, password="given")
            store = run_steps(replace(plan, target=side), fake_ports())
            assert target.execute("SELECT id FROM theirs ORDER BY 1").fetchall() == [(60,), (None,)]
            rows = target.execute("SELECT id FROM systems ORDER BY 1").fetchall()
        finally:
            target.execute(f"DROP OWNED BY {mover} CASCADE; DROP ROLE {mover}".encode())
    assert rows == [(1,), (60,)]
    (told,) = (str(text) for _, code, text in store.events if code == "EXTENSION-ROWS")
    assert "systems of vector: " in told


def test_a_table_that_inherits_from_one_of_an_extension_moves_without_that(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    """Nobody can select the parent: the extension makes it on the target."""
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as source:
        source.execute(b"CREATE TABLE events (at date) INHERITS (systems); INSERT INTO events VALUES (7, 'x', true)")
    only = frozenset({"table-families"})
    (result,) = checks.run_checks(plan, FakeControl(), report=lambda result: None, only=only)
    assert result.status is checks.CheckStatus.PASSED
    store = run_steps(plan, fake_ports())
    assert [one.equal for one in store.comparisons] == [True]
    with target_cluster.connect(database.target_name) as target:
        rows = target.execute("SELECT tableoid::regclass::text, id FROM systems ORDER BY 2").fetchall()
    assert rows == [("systems", 1), ("events", 7), ("systems", 50)]


def test_comments_that_somebody_gave_extensions_arrive_and_those_of_the_target_stay(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any
) -> None:
    text = "CREATE EXTENSION vector; COMMENT ON EXTENSION plpgsql IS 'ours'"
    with source_cluster.connect(source_db) as source, target_cluster.connect(target_db) as target:
        source.execute(f"{text}; COMMENT ON EXTENSION vector IS E'it''s \\\\ mine'".encode())
        target.execute(b"COMMENT ON EXTENSION plpgsql IS 'theirs'")
    plan = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)
    store = run_steps(plan, fake_ports())
    with target_cluster.connect(target_db) as target:
        asked = "SELECT obj_description(oid, 'pg_extension') FROM pg_extension ORDER BY extname"
        assert target.execute(asked.encode()).fetchall() == [("theirs",), ("it's \\ mine",)]
    assert [(note.title, note.statement) for notes in store.notes.values() for note in notes] == [
        ("extension plpgsql", "COMMENT ON EXTENSION \"plpgsql\" IS 'ours';")
    ]


def test_a_vendors_own_extension_does_not_hold_the_task_up(plan: Plan, source_cluster: Cluster) -> None:
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute("UPDATE pg_extension SET extname = 'pgaadauth' WHERE extname = 'vector'")
        try:
            only = frozenset({"extensions"})
            (result,) = checks.run_checks(plan, FakeControl(), report=lambda result: None, only=only)
        finally:
            connection.execute("UPDATE pg_extension SET extname = 'vector' WHERE extname = 'pgaadauth'")
    assert result.status is checks.CheckStatus.WARNING
    assert "left out, and noted" in result.hint
