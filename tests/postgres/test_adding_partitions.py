"""New partitions of a table without a key come into a syncing task, with the columns that came before them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.replication.single import TableSession
from migrations_app.engine.steps import recopy
from tests.fakes import wait_until
from tests.postgres import adding_kit
from tests.postgres.adding_kit import add, at, begin, complete, look
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.drift_kit import leave

KEYLESS = "CREATE TABLE m (id int, v text) PARTITION BY LIST (id); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)"
SECOND = "CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)"


ports = adding_kit.ports  # a fixture that stands in the kit


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=True, work_dir=tmp_path
    )


@pytest.mark.long
def test_a_new_partition_of_a_table_without_a_key_is_asked_about_and_harms_no_update_of_the_application(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    at(source_cluster, database.source_name, KEYLESS)
    store = begin(plan, ports)
    at(
        source_cluster,
        database.source_name,
        "CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2)",
        "INSERT INTO m VALUES (1, 'x'), (2, 'y')",
        "UPDATE m SET v = v || '!'",
    )
    (found,) = look(plan, ports).values()
    assert (found.name, found.partition, found.wanted) == ("m2", True, False)
    assert "does not send its rows by itself" in store.events[-1][2]
    add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    at(source_cluster, database.source_name, "UPDATE m SET v = v || '?'", "DELETE FROM m WHERE id = 1")
    complete(plan, ports, source_cluster, target_cluster)


@pytest.mark.long
@pytest.mark.parametrize("column", ["c int", "c int DEFAULT 7", "c int NOT NULL DEFAULT 7, ADD COLUMN d text"])
def test_a_partition_is_added_with_a_column_of_which_no_row_of_another_one_has_told(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster, column: str
) -> None:
    (database,) = plan.databases
    at(source_cluster, database.source_name, KEYLESS, "INSERT INTO m VALUES (1, 'early')")
    begin(plan, ports)
    at(
        source_cluster,
        database.source_name,
        "INSERT INTO m VALUES (1, 'old columns')",
        f"ALTER TABLE m ADD COLUMN {column}",
        SECOND,
        "INSERT INTO m (id, v, c) VALUES (2, 'y', 5)",
    )
    assert list(look(plan, ports)) == [("public", "m2")]
    store = add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    assert store.refusals == []
    (told,) = [message for _, code, message in store.events if code == "DDL-APPLIED"]
    assert 'ALTER TABLE "public"."m" ADD COLUMN "c"' in told
    at(source_cluster, database.source_name, "INSERT INTO m (id, v, c) VALUES (1, 'new columns', 6), (2, 'z', 7)")
    complete(plan, ports, source_cluster, target_cluster)


@pytest.mark.long
def test_a_partition_of_a_table_that_lost_a_column_says_what_has_to_be_decided_first(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    at(source_cluster, database.source_name, KEYLESS)
    begin(plan, ports)
    at(source_cluster, database.source_name, "ALTER TABLE m DROP COLUMN v", SECOND, "INSERT INTO m VALUES (2)")
    look(plan, ports)
    store = add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    (refusal,) = store.refusals
    assert "public.m has other columns on the source than on the target: v" in refusal
    assert "make the same change on the target yourself" in refusal
    at(target_cluster, database.target_name, "ALTER TABLE m DROP COLUMN v")
    add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    complete(plan, ports, source_cluster, target_cluster)


@pytest.mark.long
def test_a_column_that_a_row_on_the_way_tells_of_is_asked_about_before_the_partition_is_added(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    at(source_cluster, database.source_name, KEYLESS)
    begin(plan, ports)
    at(source_cluster, database.source_name, SECOND)
    look(plan, ports)
    store = add(plan, ports)
    at(source_cluster, database.source_name, "ALTER TABLE m ADD COLUMN c int", "INSERT INTO m VALUES (1, 'x', 5)")
    with Executor(plan, ports) as executor, pytest.raises(SchemaChanged) as caught:
        executor.recopy()
    drift = caught.value.drift
    assert drift is not None
    assert (drift.name, [change.name for change in drift.changes]) == ("m1", ["c"])
    assert [table.name for table in store.additions(database.source_name)] == ["m2"]
    store.may_change[database.source_name] = [leave(drift)]
    with Executor(replace(plan, epoch=2), ports) as executor:
        executor.recopy()
    complete(replace(plan, epoch=2), ports, source_cluster, target_cluster)


KEYED = (
    "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY LIST (id);"
    " CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)"
)
ATTACHED = (
    "CREATE TABLE m2 (v text, id int PRIMARY KEY); INSERT INTO m2 VALUES ('before', 2), ('too', 3)",
    "ALTER TABLE m ATTACH PARTITION m2 FOR VALUES IN (2, 3, 4)",
)


@pytest.mark.parametrize("follow", ["ask", "additions"])
def test_a_partition_that_was_attached_with_rows_is_asked_about_though_none_of_them_is_changed(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster, follow: Any
) -> None:
    plan = replace(plan, selection=replace(plan.selection, follow=follow))
    (database,) = plan.databases
    at(source_cluster, database.source_name, KEYED)
    begin(plan, ports)
    at(source_cluster, database.source_name, *ATTACHED)
    (found,) = look(plan, ports).values()
    assert (found.name, found.partition, found.wanted) == ("m2", True, False)
    store = add(plan, ports)
    assert "rows that it had are not on the target. Add it" in store.events[-1][2]
    with Executor(plan, ports) as executor:
        executor.recopy()
    assert store.refusals == []
    at(source_cluster, database.source_name, "UPDATE m SET v = v || '!'", "INSERT INTO m VALUES (4, 'after')")
    complete(plan, ports, source_cluster, target_cluster)


@pytest.mark.long
def test_an_attached_partition_that_was_changed_before_it_is_added_comes_with_the_change(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    at(source_cluster, database.source_name, KEYED)
    begin(plan, ports)
    at(source_cluster, database.source_name, *ATTACHED)
    look(plan, ports)
    at(source_cluster, database.source_name, "UPDATE m SET v = 'changed' WHERE id = 2", "DELETE FROM m WHERE id = 3")
    store = add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    assert store.refusals == []
    complete(plan, ports, source_cluster, target_cluster)


@contextmanager
def _without_its_standby(cluster: Cluster) -> Iterator[None]:
    """Let who commits with `synchronous_commit = on` wait for a standby that does not come, until the block ends."""
    with cluster.connect() as connection:
        for text in ("synchronous_commit = 'local'", "synchronous_standby_names = 'nobody'"):
            connection.execute(f"ALTER SYSTEM SET {text}".encode())
        connection.execute("SELECT pg_reload_conf()")
        wait_until(lambda: connection.execute("SHOW synchronous_standby_names").fetchone() == ("nobody",))
        try:
            yield
        finally:
            for name in ("synchronous_standby_names", "synchronous_commit"):
                connection.execute(f"ALTER SYSTEM RESET {name}".encode())
            connection.execute("SELECT pg_reload_conf()")


def test_a_partition_comes_whose_transaction_others_on_the_source_do_not_see_yet(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    plan = replace(plan, selection=replace(plan.selection, follow="additions"))
    (database,) = plan.databases
    at(source_cluster, database.source_name, KEYED)
    begin(plan, ports)
    made = f"BEGIN; {SECOND}; INSERT INTO m VALUES (2, 'y'); COMMIT"
    committing = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    asking = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%AccessExclusive%' AND pid <> pg_backend_pid()"
    with ThreadPoolExecutor(2) as threads:
        with _without_its_standby(source_cluster), source_cluster.connect() as source:
            writer = threads.submit(at, source_cluster, database.source_name, "SET synchronous_commit = on", made)
            wait_until(lambda: source.execute(committing).fetchone() == (1,))
            syncing = threads.submit(complete, plan, ports, source_cluster, target_cluster)
            wait_until(lambda: source.execute(asking).fetchone() == (1,))
        writer.result(30)
        syncing.result(60)


def test_a_partition_that_is_made_while_another_table_is_copied_again_comes_once(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(plan, selection=replace(plan.selection, follow="additions"))
    (database,) = plan.databases
    at(source_cluster, database.source_name, KEYED, "CREATE TABLE other (id int PRIMARY KEY)")
    store, real = begin(plan, ports), recopy.OneTable._meet

    def meanwhile(one: recopy.OneTable, session: TableSession, since: int) -> None:
        made = "CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2); INSERT INTO m VALUES (2, 'y')"
        at(source_cluster, database.source_name, f"BEGIN; {made}; COMMIT", "INSERT INTO other VALUES (1)")
        with target_cluster.connect(database.target_name) as target:
            wait_until(lambda: target.execute("SELECT to_regclass('m2') IS NOT NULL").fetchone() == (True,))
        real(one, session, since)

    monkeypatch.setattr(recopy.OneTable, "_meet", meanwhile)
    store.asked_again[database.source_name] = [("public", "other")]
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
    complete(plan, ports, source_cluster, target_cluster)


@pytest.mark.long
def test_the_parts_of_a_partition_that_was_split_by_hand_are_added_though_no_row_of_them_is_changed(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    at(
        source_cluster,
        database.source_name,
        "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
        " CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (100); INSERT INTO m SELECT generate_series(0, 99)",
    )
    begin(plan, ports)
    parts = {"m1a": (0, 50), "m1b": (50, 100)}
    split = "BEGIN; ALTER TABLE m DETACH PARTITION m1;"
    for name, (low, high) in parts.items():
        split += f"CREATE TABLE {name} (LIKE m INCLUDING ALL);"
        split += f"WITH gone AS (DELETE FROM m1 WHERE id < {high} RETURNING *) INSERT INTO {name} SELECT * FROM gone;"
        split += f"ALTER TABLE m ATTACH PARTITION {name} FOR VALUES FROM ({low}) TO ({high});"
    at(source_cluster, database.source_name, split + "COMMIT")
    assert {one.name for one in look(plan, ports).values()} == set(parts)
    store = add(plan, ports)
    with Executor(plan, ports) as executor:
        executor.recopy()
    assert store.refusals == []
    at(source_cluster, database.source_name, "UPDATE m SET v = 'after' WHERE id % 7 = 0", "DELETE FROM m WHERE id = 60")
    complete(plan, ports, source_cluster, target_cluster)
