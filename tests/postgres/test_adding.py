"""New tables of the source come into a syncing task: each under a snapshot of its own, and in sync from then on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import additions, copying
from migrations_app.engine.drift import Doubt
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import NEVER, Ports, TableStatus
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import adding, recopy
from tests.fakes import FakeStore, wait_until
from tests.postgres import adding_kit
from tests.postgres.adding_kit import add, at, begin, complete, look
from tests.postgres.compare_kit import Writer, plan_for, server

SCRIPT = """
CREATE TABLE old (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
INSERT INTO old SELECT generate_series(1, 200);
"""
NEW = """
CREATE SCHEMA shop;
CREATE TYPE shop.state AS ENUM ('open', 'paid');
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.n := NEW.n + 1000; RETURN NEW; END';
CREATE TABLE shop.bills (id serial PRIMARY KEY, no bigint GENERATED ALWAYS AS IDENTITY, old int REFERENCES old,
  n int NOT NULL DEFAULT 0, state shop.state DEFAULT 'open', twice int GENERATED ALWAYS AS (n * 2) STORED);
CREATE INDEX bills_state ON shop.bills (state);
CREATE STATISTICS shop.bills_stats ON n, state FROM shop.bills;
CREATE TRIGGER touch BEFORE INSERT ON shop.bills FOR EACH ROW EXECUTE FUNCTION shop.touch();
COMMENT ON TABLE shop.bills IS 'what is to be paid';
CREATE TABLE keyless (v int, t text);
INSERT INTO shop.bills (old, n) SELECT g, g FROM generate_series(1, 100) g;
INSERT INTO keyless SELECT g, repeat('x', 50) FROM generate_series(1, 100) g;
"""
TREE = """
CREATE TABLE log (id int, at date, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE log_old PARTITION OF log FOR VALUES FROM ('2020-01-01') TO ('2026-01-01');
CREATE TABLE log_new PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2030-01-01') PARTITION BY HASH (id);
CREATE TABLE log_new0 PARTITION OF log_new FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE log_new1 PARTITION OF log_new FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE INDEX log_v ON log (v);
INSERT INTO log SELECT g, date '2020-01-01' + g * 20, 'v' || g FROM generate_series(1, 170) g;
"""


def work(connection: psycopg.Connection[Any], number: int) -> None:
    connection.execute("UPDATE old SET n = n + 1 WHERE id = %s", (number % 200 + 1,))
    connection.execute("INSERT INTO shop.bills (old, n) VALUES (%s, %s)", (number % 200 + 1, number))
    connection.execute("UPDATE shop.bills SET n = n + 1, state = 'paid' WHERE id = %s", (number % 100 + 1,))
    connection.execute("DELETE FROM shop.bills WHERE id = %s", (200 + number // 3,))
    connection.execute("INSERT INTO keyless VALUES (%s)", (number,))
    connection.execute("UPDATE keyless SET t = 'y' || v WHERE v = %s", (number % 100,))


def log(connection: psycopg.Connection[Any], number: int) -> None:
    connection.execute("INSERT INTO log VALUES (%s, '2025-12-30', 'new')", (1000 + number,))
    connection.execute("UPDATE log SET at = '2027-01-01' WHERE id = %s", (1000 + number // 2,))
    connection.execute("INSERT INTO old VALUES (%s)", (1000 + number,))


def both(connection: psycopg.Connection[Any], number: int) -> None:
    work(connection, number)
    log(connection, number)


ports = adding_kit.ports  # a fixture that stands in the kit


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SCRIPT.encode())
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=True, work_dir=tmp_path
    )


def test_new_tables_are_added_with_all_they_need_under_a_writer_while_the_others_stay_in_sync(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    at(source_cluster, database.source_name, NEW)
    found = look(plan, ports)
    assert sorted(found) == [("public", "keyless"), ("shop", "bills")]
    store = add(plan, ports)
    with Writer(source_cluster, database.source_name, work) as writer:
        wait_until(lambda: writer.commits > 20)
        with Executor(plan, ports) as executor:
            assert executor.recopy().done
        before = writer.commits
        wait_until(lambda: writer.commits > before + 20)
        writer.stop()
    assert store.additions(database.source_name) == []
    assert [code for _, code, _ in store.events].count("TABLE-ADDED") == 2
    assert {state.name for state in store.tables(database.source_name)} == {"old", "bills", "keyless"}
    complete(plan, ports, source_cluster, target_cluster)


@pytest.mark.long
def test_a_new_partitioned_table_is_one_decision_and_comes_with_its_whole_tree(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    at(source_cluster, database.source_name, TREE)
    (found,) = look(plan, ports).values()
    assert (found.place, found.tables, found.partition) == (("public", "log"), 3, False)
    add(plan, ports)
    with Writer(source_cluster, database.source_name, log) as writer:
        wait_until(lambda: writer.commits > 20)
        with Executor(plan, ports) as executor:
            executor.recopy()
        before = writer.commits
        wait_until(lambda: writer.commits > before + 20)
        writer.stop()
    complete(plan, ports, source_cluster, target_cluster)


class Died(BaseException):
    """Stands for the death of the process."""


MOMENTS: dict[str, Any] = {
    "note": adding,
    "_restore": additions,
    "set_owners": additions,
    "prepare_target": additions,
    "_publish": additions,
    "copy_over": copying.Lane,
    "build_table": adding,
    "_meet": recopy.OneTable,
    "_mark": recopy.OneTable,
    "_handed_over": adding._Arriving,
    "finish": adding,
    "added": FakeStore,
}


@pytest.mark.long
@pytest.mark.sample(3)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_that_dies_while_it_adds_is_followed_by_one_that_ends_it(
    plan: Plan,
    ports: Ports,
    source_cluster: Cluster,
    target_cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    after: bool,
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    at(source_cluster, database.source_name, NEW, TREE)
    look(plan, ports)
    add(plan, ports, "bills", "log")
    real = getattr(MOMENTS[moment], moment)

    def dying(*arguments: Any) -> Any:
        if after:
            real(*arguments)
        raise Died

    with Writer(source_cluster, database.source_name, both) as writer:
        wait_until(lambda: writer.commits > 10)
        with monkeypatch.context() as patched:
            patched.setattr(MOMENTS[moment], moment, dying)
            with Executor(plan, ports) as executor, pytest.raises(Died):
                executor.recopy()
        before = writer.commits
        wait_until(lambda: writer.commits > before + 10)
        again = replace(plan, epoch=2)
        with Executor(again, ports) as executor:
            executor.recopy()
        writer.stop()
    cast(FakeStore, ports.store).to_add[database.source_name] = list(look(again, ports).values())
    with Executor(again, ports) as executor:
        executor.recopy()
    complete(again, ports, source_cluster, target_cluster)


@pytest.mark.long
def test_a_table_that_is_in_the_way_on_the_target_gives_the_decision_back_and_the_sync_goes_on(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    at(source_cluster, database.source_name, "CREATE TABLE keyless (v int); INSERT INTO keyless VALUES (1)")
    at(target_cluster, database.target_name, "CREATE TABLE keyless (other text)")
    look(plan, ports)
    store = add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    (refusal,) = store.refusals
    assert "already has TABLE public.keyless" in refusal
    assert store.additions(database.source_name) == []
    at(target_cluster, database.target_name, "DROP TABLE keyless")
    at(source_cluster, database.source_name, "INSERT INTO keyless VALUES (2); INSERT INTO old VALUES (999)")
    add(plan, ports)
    with Executor(replace(plan, epoch=2), ports) as executor:
        executor.recopy()
    complete(replace(plan, epoch=2), ports, source_cluster, target_cluster)


@pytest.mark.long
def test_a_table_that_could_not_be_added_stays_a_question_when_others_come(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    at(source_cluster, database.source_name, "CREATE TABLE keyless (v int); INSERT INTO keyless VALUES (1)")
    at(target_cluster, database.target_name, "CREATE TABLE keyless (other text)")
    look(plan, ports)
    store = add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    assert len(store.refusals) == 1
    at(source_cluster, database.source_name, "CREATE TABLE more (v int)")
    assert sorted(look(plan, ports)) == [("public", "keyless"), ("public", "more")]
    at(target_cluster, database.target_name, "DROP TABLE keyless")
    add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    complete(plan, ports, source_cluster, target_cluster)


def test_a_table_that_is_gone_when_it_is_to_be_added_is_told(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    at(source_cluster, database.source_name, "CREATE TABLE more (v int)")
    look(plan, ports)
    store = add(plan, ports)
    at(source_cluster, database.source_name, "DROP TABLE more")
    with Executor(plan, ports) as executor:
        executor.recopy()
    assert "no table public.more any more" in store.refusals[0]
    complete(plan, ports, source_cluster, target_cluster)


@pytest.mark.long
def test_tables_that_nobody_adds_hold_nothing_up_and_a_key_to_them_is_told(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    at(
        source_cluster,
        database.source_name,
        "CREATE TABLE left_out (id int PRIMARY KEY); INSERT INTO left_out VALUES (1)",
        "CREATE TABLE more (id int PRIMARY KEY, other int REFERENCES left_out); INSERT INTO more VALUES (1, 1)",
        TREE,
    )
    look(plan, ports)
    store = add(plan, ports, "more")
    with Executor(plan, ports) as executor:
        executor.recopy()
    at(
        source_cluster,
        database.source_name,
        "INSERT INTO left_out VALUES (2)",
        "INSERT INTO log VALUES (1, '2021-07-07')",
    )
    (told,) = [message for _, code, message in store.events if code == "SUBSET-KEYS"]
    assert "more_other_fkey" in told
    with Executor(plan, ports) as executor:
        for step in (StepName.COMPLETE, StepName.CLEANUP):
            assert executor.run(step).done
    (told,) = [message for _, code, message in store.events if code == "CMP-NEWTABLE"]
    assert "public.left_out, public.log" in told
    with target_cluster.connect(database.target_name) as target:
        assert target.execute("SELECT id, other FROM more").fetchall() == [(1, 1)]
        assert target.execute("SELECT to_regclass('left_out'), to_regclass('log')").fetchone() == (None, None)


@pytest.mark.long
def test_an_unlogged_table_is_added_and_copied_at_complete(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    begin(plan, ports)
    (database,) = plan.databases
    at(source_cluster, database.source_name, "CREATE UNLOGGED TABLE scratch (v int); INSERT INTO scratch VALUES (1)")
    look(plan, ports)
    add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    at(source_cluster, database.source_name, "INSERT INTO scratch VALUES (2)")
    complete(plan, ports, source_cluster, target_cluster)


@pytest.mark.long
def test_an_unlogged_partition_is_asked_about_as_no_row_of_it_will_ever_come(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    made = (
        "CREATE TABLE m (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)"
    )
    at(source_cluster, database.source_name, made)
    begin(plan, ports)
    second = "CREATE UNLOGGED TABLE m2 PARTITION OF m FOR VALUES IN (2)"
    at(source_cluster, database.source_name, second, "INSERT INTO m VALUES (1), (2)")
    (found,) = look(plan, ports).values()
    assert (found.name, found.partition) == ("m2", True)
    add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    complete(plan, ports, source_cluster, target_cluster)


def test_what_is_new_is_told_once_and_forgotten_when_it_is_gone(
    plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    store = begin(plan, ports)
    (database,) = plan.databases
    at(source_cluster, database.source_name, "CREATE TABLE more (v int)", "CREATE TABLE less (v int)")
    for _ in range(2):
        assert sorted(look(plan, ports)) == [("public", "less"), ("public", "more")]
    assert [code for _, code, _ in store.events].count("SRC-NEWTABLE") == 2
    at(source_cluster, database.source_name, "DROP TABLE less")
    assert list(look(plan, ports)) == [("public", "more")]


@pytest.mark.long
def test_a_table_that_was_dropped_and_made_anew_is_new_and_comes_back_when_it_is_added(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    at(source_cluster, database.source_name, "CREATE TABLE again (v int)", "INSERT INTO again VALUES (1)")
    store = begin(plan, ports)
    at(
        source_cluster,
        database.source_name,
        "DROP TABLE again",
        "CREATE TABLE again (v text, id int PRIMARY KEY)",
        "INSERT INTO again VALUES ('new', 2)",
    )
    with pytest.raises(SchemaChanged) as caught:
        look(plan, ports)
    assert caught.value.drift is not None
    assert caught.value.drift.doubt is Doubt.GONE
    assert "was dropped on the source and made again" in caught.value.message
    assert "then listed as new; add it" in caught.value.hint
    (state,) = [one for one in store.tables(database.source_name) if one.name == "again"]
    store.save_tables(replace(state, status=TableStatus.DROPPED, watermark=NEVER))  # what Drop from task does
    assert list(look(plan, ports)) == [("public", "again")]
    add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    at(source_cluster, database.source_name, "INSERT INTO again VALUES ('newer', 3)")
    complete(plan, ports, source_cluster, target_cluster)
