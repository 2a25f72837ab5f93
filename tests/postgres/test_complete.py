"""Complete ends with a target that equals the source, also while the application writes, and stops when it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.drift import Leave
from migrations_app.engine.errors import CompareDiffers, SchemaChanged
from migrations_app.engine.finishing import Finisher
from migrations_app.engine.plan import DatabasePlan, Plan
from migrations_app.engine.ports import Ports, TableStatus
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres import complete_kit
from tests.postgres.compare_kit import Writer, running
from tests.postgres.complete_kit import assert_same, begin, migrate, order, rows

# Fixtures that stand in the kit.
plan = complete_kit.plan
ports = complete_kit.ports
source = complete_kit.source
target = complete_kit.target


def test_a_written_database_completes_equal(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    source_cluster: Cluster,
    source_db: str,
) -> None:
    with Writer(source_cluster, source_db, order) as writer:
        begin(plan, ports)
        wait_until(lambda: writer.commits > 30)
        writer.stop()
    source.execute("UPDATE cache SET v = '2'; INSERT INTO cache VALUES ('b', '3')")
    source.execute("SELECT lo_put(90001, 1, '\\xff')")
    source.execute("INSERT INTO audit VALUES (1, 'last')")
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    assert_same(source, target)
    expected = rows(source, "SELECT customer, sum(amount) FROM orders GROUP BY 1 ORDER BY 1")
    assert rows(target, "SELECT * FROM totals ORDER BY 1") == expected
    assert rows(target, "SELECT * FROM totals_2 ORDER BY 1") == expected
    assert isinstance(ports.store, FakeStore)
    comparison = ports.store.comparisons[-1]
    assert comparison.equal
    assert {item.name for item in comparison.tables} == {"audit", "cache", "customers", "events", "orders"}
    assert ports.ledger.items() == []
    assert rows(source, "SELECT 1 FROM pg_replication_slots WHERE database = current_database()") == []
    assert rows(source, "SELECT 1 FROM pg_publication") == []
    assert rows(source, "SELECT relreplident::text FROM pg_class WHERE relname = 'events'") == [("d",)]
    assert rows(target, "SELECT to_regnamespace('towpath')::text") == [(None,)]


def test_the_target_is_an_ordinary_database_afterwards(
    plan: Plan, ports: Ports, target: psycopg.Connection[Any], source: psycopg.Connection[Any]
) -> None:
    begin(plan, ports)
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    [(before,)] = rows(target, "SELECT total FROM customers WHERE id = 1")
    target.execute("INSERT INTO orders (customer, amount) VALUES (1, 5)")
    assert rows(target, "SELECT total FROM customers WHERE id = 1") == [(before + 5,)]
    target.execute("INSERT INTO customers (name) VALUES ('new')")
    with pytest.raises(psycopg.errors.GeneratedAlways):
        target.execute("INSERT INTO customers (id, name) VALUES (1000, 'x')")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        target.execute("INSERT INTO orders (customer, amount) VALUES (-1, 5)")


def test_completing_while_the_application_writes_compares_equal(
    plan: Plan, ports: Ports, source_cluster: Cluster, source_db: str
) -> None:
    with Writer(source_cluster, source_db, order):
        begin(plan, ports)
        migrate(plan, ports, StepName.COMPLETE)
    assert isinstance(ports.store, FakeStore)
    assert ports.store.comparisons[-1].equal


def test_a_difference_stops_complete_and_the_sync_can_go_on(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    begin(plan, ports)
    target.execute("SET session_replication_role = replica")
    target.execute("UPDATE orders SET amount = 77 WHERE id = 42")
    with pytest.raises(CompareDiffers) as caught:
        migrate(plan, ports, StepName.COMPLETE)
    assert "public.orders" in caught.value.message
    assert "id=42" in caught.value.message
    assert rows(
        target, "SELECT attidentity::text FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attnum = 1"
    ) == [("d",)]
    assert rows(source, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()") == [(1,)]
    source.execute("INSERT INTO audit VALUES (5, 'after the refusal')")
    target.execute("UPDATE orders SET amount = 43 WHERE id = 42")
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    assert_same(source, target)
    assert rows(target, "SELECT what FROM audit") == [("after the refusal",)]


@pytest.mark.sample(1)
@pytest.mark.parametrize("change", ["RENAME COLUMN n TO m", "DROP COLUMN n"])
def test_an_identity_column_that_was_renamed_or_dropped_meanwhile_does_not_stop_complete(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], target: psycopg.Connection[Any], change: str
) -> None:
    source.execute("CREATE TABLE extra (k int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY)")
    begin(plan, ports)
    source.execute(f"ALTER TABLE extra {change}; INSERT INTO extra (k) VALUES (1)".encode())
    with pytest.raises(SchemaChanged) as caught:
        migrate(plan, ports, StepName.COMPLETE)
    drift = caught.value.drift
    assert drift is not None
    assert isinstance(ports.store, FakeStore)
    leave = Leave(number=1, schema=drift.schema, name=drift.name, digest=drift.digest, lsn=drift.lsn)
    ports.store.may_change.setdefault(drift.database, []).append(leave)
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    assert ports.ledger.items() == []
    columns = (
        "SELECT attname, attidentity::text FROM pg_attribute WHERE attrelid = 'extra'::regclass AND attnum > 0"
        " AND NOT attisdropped ORDER BY attnum"
    )
    assert rows(target, columns) == rows(source, columns)


@pytest.mark.long
def test_complete_may_run_twice(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    begin(plan, ports)
    migrate(plan, ports, StepName.COMPLETE)
    source.execute("INSERT INTO audit VALUES (2, 'between')")
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    assert_same(source, target)


def test_sequences_never_go_backwards(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    begin(plan, ports)
    target.execute("SELECT setval('orders_id_seq', 900000), setval('\"odd %s seq\"', -900)")
    source.execute("SELECT nextval('never')")
    migrate(plan, ports, StepName.COMPLETE)
    assert rows(target, "SELECT last_value FROM orders_id_seq") == [(900000,)]
    assert rows(target, 'SELECT last_value FROM "odd %s seq"') == [(-900,)]
    assert rows(target, "SELECT last_value, is_called FROM never") == [(1, True)]


@pytest.mark.long
def test_a_missing_index_is_noted_with_what_makes_it(plan: Plan, ports: Ports, target: psycopg.Connection[Any]) -> None:
    begin(plan, ports)
    target.execute("DROP INDEX big_orders")
    migrate(plan, ports, StepName.COMPLETE)
    assert isinstance(ports.store, FakeStore)
    [note] = [note for notes in ports.store.notes.values() for note in notes if "big_orders" in note.title]
    assert note.what == "missing on the target"
    assert note.statement.startswith("CREATE INDEX big_orders ON public.orders")


@pytest.mark.long
def test_a_missing_sequence_stops_complete(plan: Plan, ports: Ports, target: psycopg.Connection[Any]) -> None:
    begin(plan, ports)
    target.execute("DROP SEQUENCE never")
    with pytest.raises(CompareDiffers, match="never") as refused:
        migrate(plan, ports, StepName.COMPLETE)
    assert "has to be made there by hand" in refused.value.hint
    target.execute("CREATE SEQUENCE never")
    migrate(plan, ports, StepName.COMPLETE)


def test_a_sequence_that_is_missing_without_a_sync_is_told_with_a_button_that_is_there(
    plan: Plan, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    ports, full = fake_ports(), replace(plan, incremental=False)
    migrate(full, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.COMPARE)
    target.execute("DROP SEQUENCE never")
    with pytest.raises(CompareDiffers, match="never") as refused:
        migrate(full, ports, StepName.COMPLETE)
    assert refused.value.hint.endswith("has to be made there by hand. Then press Retry.")
    assert "stream" not in refused.value.hint
    target.execute("CREATE SEQUENCE never")
    migrate(full, ports, StepName.COMPLETE, StepName.CLEANUP)


@pytest.mark.long
def test_a_view_that_cannot_be_refreshed_is_only_told(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    begin(plan, ports)
    target.execute("CREATE UNIQUE INDEX ON totals ((sum > 0)) WHERE sum > 100000")
    source.execute("INSERT INTO orders (customer, amount) VALUES (1, 200000), (2, 300000)")
    migrate(plan, ports, StepName.COMPLETE)
    assert isinstance(ports.store, FakeStore)
    [text] = [text for level, code, text in ports.store.events if code.startswith("MATVIEW") and level == "warning"]
    assert "totals" in text


def test_complete_of_a_full_only_task_sets_sequences(
    plan: Plan, source_cluster: Cluster, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    ports = fake_ports()
    migrate(
        replace(plan, incremental=False),
        ports,
        StepName.SCHEMA,
        StepName.COPY,
        StepName.INDEX,
        StepName.COMPARE,
    )
    source.execute("SELECT nextval('never'), nextval('orders_id_seq')")
    migrate(replace(plan, incremental=False), ports, StepName.COMPLETE, StepName.CLEANUP)
    assert_same(source, target)
    assert isinstance(ports.store, FakeStore)
    assert ports.store.comparisons[-1].equal
    assert ports.ledger.items() == []
    opened = [text for _, code, text in ports.store.events if code == "COMPLETE-OPENING"]
    assert opened == ["The target is opened to the application from here on."]


@pytest.mark.long
def test_several_databases_complete_together(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    second = f"{source_db}_b"
    with source_cluster.connect() as connection:
        connection.execute(f'CREATE DATABASE "{second}"')
    with source_cluster.connect(second) as connection:
        connection.execute("CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)")
    both = replace(
        plan,
        databases=(*plan.databases, DatabasePlan(source_name=second, target_name=second)),
        selection=Selection(
            rules={(source_db,): True, (second,): True}, targets={source_db: plan.databases[0].target_name}
        ),
    )
    ports = fake_ports()
    try:
        begin(both, ports)
        with source_cluster.connect(second) as connection:
            connection.execute("INSERT INTO t VALUES (2)")
        migrate(both, ports, StepName.COMPLETE, StepName.CLEANUP)
        with target_cluster.connect(second) as connection:
            assert rows(connection, "SELECT a FROM t ORDER BY 1") == [(1,), (2,)]
        assert ports.ledger.items() == []
    finally:
        with running(both, Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)) as run:
            clean_up(run, keep_target_objects=True)
        for cluster in (source_cluster, target_cluster):
            with cluster.connect() as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{second}" WITH (FORCE)')


def _late(ports: Ports, code: str = "SRC-LATE") -> list[str]:
    assert isinstance(ports.store, FakeStore)
    return [text for _, known, text in ports.store.events if known == code]


def test_what_is_written_after_the_last_change_that_was_carried_over_is_told(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(plan, ports)
    source.execute("INSERT INTO audit VALUES (1, 'in time')")
    opening = Finisher.open_target

    def late(finisher: Finisher) -> None:
        opening(finisher)
        source.execute("INSERT INTO audit VALUES (2, 'late'), (3, 'late')")
        source.execute("UPDATE customers SET name = 'late' WHERE id = 1; DELETE FROM audit WHERE id = 3")

    monkeypatch.setattr(Finisher, "open_target", late)
    migrate(plan, ports, StepName.COMPLETE, StepName.CLEANUP)
    (told,) = _late(ports)
    assert ": public.audit (3 changes), public.customers (1 change). These changes are not on the target." in told


@pytest.mark.long
def test_what_is_not_counted_to_its_end_is_told_as_more(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(plan, ports)
    monkeypatch.setattr("migrations_app.engine.late_writes._MOST_CHANGES", 2)
    opening = Finisher.open_target

    def late(finisher: Finisher) -> None:
        opening(finisher)
        for number in range(2, 9):
            source.execute("INSERT INTO audit VALUES (%s, 'late')", (number,))
        source.execute("TRUNCATE audit")

    monkeypatch.setattr(Finisher, "open_target", late)
    migrate(plan, ports, StepName.COMPLETE)
    (told,) = _late(ports)
    assert "public.audit (" in told
    assert "), and more. These changes are not on the target." in told


def test_a_look_that_ends_before_the_first_late_change_says_that_it_has_not_seen_all(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(plan, ports)
    monkeypatch.setattr("migrations_app.engine.late_writes._MOST_CHANGES", 2)
    opening = Finisher.open_target

    def late(finisher: Finisher) -> None:
        opening(finisher)
        (left_out,) = [one for one in ports.store.tables(plan.databases[0].source_name) if one.name == "customers"]
        ports.store.save_tables(replace(left_out, status=TableStatus.DROPPED))
        source.execute("UPDATE customers SET name = 'of no matter' WHERE id = 1")
        source.execute("INSERT INTO audit VALUES (2, 'late')")

    monkeypatch.setattr(Finisher, "open_target", late)
    migrate(plan, ports, StepName.COMPLETE)
    assert _late(ports) == []
    (told,) = _late(ports, "SRC-UNSEEN")
    assert told.endswith("could not be seen: more was written there than is looked at.")


@pytest.mark.long
def test_nothing_is_told_where_all_that_was_written_is_on_the_target(
    plan: Plan, ports: Ports, source_cluster: Cluster, source_db: str
) -> None:
    with Writer(source_cluster, source_db, order) as writer:
        begin(plan, ports)
        wait_until(lambda: writer.commits > 30)
        writer.stop()
    migrate(plan, ports, StepName.COMPLETE)
    assert _late(ports) == []


@pytest.mark.long
def test_a_look_for_late_writes_that_is_refused_does_not_hold_complete_up(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(plan, ports)
    opening = Finisher.open_target

    def without_slot(finisher: Finisher) -> None:
        opening(finisher)
        source.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
        )

    monkeypatch.setattr(Finisher, "open_target", without_slot)
    migrate(plan, ports, StepName.COMPLETE)
    assert _late(ports) == []
