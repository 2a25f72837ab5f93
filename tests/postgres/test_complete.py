"""Complete ends with a target that equals the source, also while the application writes, and stops when it does not."""

from __future__ import annotations

import pkgutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.errors import CancelRequested, CompareDiffers
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import DatabasePlan, Plan, Side
from migrations_app.engine.ports import Kind, Ports
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres.compare_kit import Writer, plan_for, running, server

SHOP = """
CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, total numeric DEFAULT 0);
CREATE TABLE orders (id bigserial PRIMARY KEY, customer int NOT NULL REFERENCES customers,
  amount numeric CHECK (amount > 0));
CREATE TABLE events (at timestamptz DEFAULT now(), what text);
CREATE TABLE audit (id int PRIMARY KEY, what text);
CREATE UNLOGGED TABLE cache (k text PRIMARY KEY, v text);
CREATE SEQUENCE "odd %s seq" INCREMENT BY -3 MINVALUE -1000 MAXVALUE -1 START -1;
CREATE SEQUENCE never;
CREATE FUNCTION count_order() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN UPDATE public.customers SET total = total + NEW.amount WHERE id = NEW.customer; RETURN NEW; END $$;
CREATE TRIGGER ordered AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION count_order();
CREATE TRIGGER always AFTER DELETE ON orders FOR EACH ROW EXECUTE FUNCTION count_order();
ALTER TABLE orders ENABLE ALWAYS TRIGGER always;
CREATE VIEW big AS SELECT * FROM orders WHERE amount > 50;
CREATE MATERIALIZED VIEW totals AS SELECT customer, sum(amount) FROM orders GROUP BY 1;
CREATE MATERIALIZED VIEW totals_2 AS SELECT * FROM totals;
CREATE INDEX big_orders ON orders (amount) WHERE amount > 50;
INSERT INTO customers (name) SELECT 'c' || g FROM generate_series(1, 100) g;
INSERT INTO orders (customer, amount) SELECT g % 100 + 1, g % 90 + 1 FROM generate_series(1, 3000) g;
INSERT INTO cache VALUES ('a', '1');
SELECT nextval('"odd %s seq"'), nextval('"odd %s seq"');
SELECT lo_from_bytea(90001, '\\x0102030405');
REFRESH MATERIALIZED VIEW totals;
"""


def order(connection: psycopg.Connection[Any], number: int) -> None:
    connection.execute("INSERT INTO orders (customer, amount) VALUES (%s, %s)", (number % 100 + 1, number % 80 + 1))
    connection.execute("INSERT INTO events (what) VALUES ('order')")
    if number % 7 == 0:
        connection.execute("UPDATE customers SET name = name || '.' WHERE id = %s", (number % 100 + 1,))


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    with source_cluster.connect(source_db) as connection:
        connection.execute(SHOP.encode())
    return plan_for(
        server(source_cluster), server(target_cluster), source_db, target_db, incremental=True, work_dir=tmp_path
    )


@pytest.fixture
def ports(plan: Plan) -> Iterator[Ports]:
    ports = fake_ports()
    yield ports
    with running(plan, Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)) as run:
        clean_up(run, keep_target_objects=True)


@pytest.fixture
def source(source_cluster: Cluster, source_db: str) -> Iterator[psycopg.Connection[Any]]:
    with source_cluster.connect(source_db) as connection:
        yield connection


@pytest.fixture
def target(target_cluster: Cluster, target_db: str) -> Iterator[psycopg.Connection[Any]]:
    with target_cluster.connect(target_db) as connection:
        yield connection


def migrate(plan: Plan, ports: Ports, *steps: StepName) -> None:
    with Executor(plan, ports) as executor:
        for step in steps:
            assert executor.run(step).done


def begin(plan: Plan, ports: Ports) -> None:
    migrate(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)


def rows(connection: psycopg.Connection[Any], query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()


STATE = [
    "SELECT * FROM customers ORDER BY 1",
    "SELECT * FROM orders ORDER BY 1",
    "SELECT * FROM events ORDER BY 1",
    "SELECT * FROM cache ORDER BY 1",
    "SELECT last_value, is_called FROM orders_id_seq",
    "SELECT last_value, is_called FROM customers_id_seq",
    'SELECT last_value, is_called FROM "odd %s seq"',
    "SELECT last_value, is_called FROM never",
    "SELECT lo_get(90001)",
    "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    "SELECT attidentity::text FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attname = 'id'",
    "SELECT conname, convalidated FROM pg_constraint WHERE contype IN ('p', 'f', 'c') AND conrelid <> 0 ORDER BY 1",
]


def assert_same(source: psycopg.Connection[Any], target: psycopg.Connection[Any]) -> None:
    for query in STATE:
        assert rows(source, query) == rows(target, query), query


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


def test_a_missing_index_is_noted_with_what_makes_it(plan: Plan, ports: Ports, target: psycopg.Connection[Any]) -> None:
    begin(plan, ports)
    target.execute("DROP INDEX big_orders")
    migrate(plan, ports, StepName.COMPLETE)
    assert isinstance(ports.store, FakeStore)
    [note] = [note for notes in ports.store.notes.values() for note in notes if "big_orders" in note.title]
    assert note.what == "missing on the target"
    assert note.statement.startswith("CREATE INDEX big_orders ON public.orders")


def test_a_missing_sequence_stops_complete(plan: Plan, ports: Ports, target: psycopg.Connection[Any]) -> None:
    begin(plan, ports)
    target.execute("DROP SEQUENCE never")
    with pytest.raises(CompareDiffers, match="never"):
        migrate(plan, ports, StepName.COMPLETE)


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


def test_cancel_during_the_drain_ends_it_at_once(
    plan: Plan, ports: Ports, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    begin(plan, ports)
    target.autocommit = False
    target.execute("LOCK TABLE audit")  # the sync cannot go on
    source.execute("INSERT INTO audit VALUES (9, 'stuck')")
    control = ports.control
    assert isinstance(control, FakeControl)
    errors: list[BaseException] = []

    def complete() -> None:
        try:
            migrate(plan, ports, StepName.COMPLETE)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=complete)
    thread.start()
    assert isinstance(ports.store, FakeStore)
    store = ports.store
    wait_until(lambda: any("last changes" in note for _, _, note in store.steps))
    control.cancel()
    thread.join(15)
    assert not thread.is_alive()
    assert [type(error) for error in errors] == [CancelRequested]
    target.rollback()


def test_start_again_clears_exactly_what_the_task_made(
    plan: Plan, ports: Ports, target: psycopg.Connection[Any]
) -> None:
    target.execute("CREATE TABLE foreign_table (a int); CREATE SCHEMA other; CREATE TABLE other.t (a int)")
    target.execute("SELECT lo_from_bytea(77, '\\x01')")
    begin(plan, ports)
    with Executor(plan, ports) as executor:
        assert executor.cancelled() == []
        assert any(item.kind is Kind.TABLE for item in ports.ledger.items(Side.TARGET))
        assert executor.clear_target() == []
    assert ports.ledger.items() == []
    left = rows(
        target,
        "SELECT relnamespace::regnamespace::text || '.' || relname FROM pg_class"
        " WHERE relkind IN ('r', 'v', 'm', 'S', 'p') AND oid >= 16384 ORDER BY 1",
    )
    assert left == [("other.t",), ("public.foreign_table",)]
    assert rows(target, "SELECT oid::int FROM pg_largeobject_metadata") == [(77,)]
    assert rows(target, "SELECT proname FROM pg_proc WHERE proname = 'count_order'") == []


@pytest.mark.parametrize("foreign", [False, True])
def test_a_database_that_the_task_made_is_dropped_unless_others_use_it(
    plan: Plan, target_cluster: Cluster, foreign: bool
) -> None:
    ports = fake_ports()
    name = f"{plan.databases[0].target_name}_made"
    made = replace(
        plan,
        databases=(replace(plan.databases[0], target_name=name),),
        selection=Selection(rules=plan.selection.rules, targets={plan.databases[0].source_name: name}),
    )
    try:
        begin(made, ports)
        if foreign:
            with target_cluster.connect(name) as connection:
                connection.execute("CREATE TABLE theirs (a int)")
        with Executor(made, ports) as executor:
            executor.cancelled()
            left = executor.clear_target()
        assert [item.kind for item in left] == ([Kind.DATABASE] if foreign else [])
        with target_cluster.connect() as connection:
            there = connection.execute("SELECT count(*) FROM pg_database WHERE datname = %s", (name,)).fetchone()
        assert there == (int(foreign),)
    finally:
        with target_cluster.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


def test_what_others_built_on_our_tables_is_not_dropped(
    plan: Plan, ports: Ports, target: psycopg.Connection[Any]
) -> None:
    begin(plan, ports)
    target.execute("CREATE VIEW theirs AS SELECT * FROM audit")
    with Executor(plan, ports) as executor:
        executor.cancelled()
        left = executor.clear_target()
    assert [item.name for item in left] == ["audit"]
    assert rows(target, "SELECT count(*) FROM theirs") == [(0,)]


class Killed(BaseException):
    """Stands for the death of the process."""


POINTS = [
    "steps.complete.drain",
    "steps.complete.prove_equal",
    "finishing.copy_again",
    "finishing.large_objects.sync_large_objects",
    "finishing.carry_over",
    "finishing.refresh_matviews",
    "finishing.restore_deferred",
    "finishing.restore_state",
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_complete_that_died_anywhere_is_simply_run_again(
    plan: Plan,
    ports: Ports,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    after: bool,
) -> None:
    begin(plan, ports)
    source.execute("INSERT INTO audit VALUES (3, 'before'); UPDATE cache SET v = 'new'; SELECT nextval('never')")
    place = f"migrations_app.engine.{point}"
    module, _, name = place.rpartition(".")
    real = getattr(pkgutil.resolve_name(module), name)

    def dying(*arguments: Any, **named: Any) -> Any:
        if after:
            real(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(place, dying)
        with pytest.raises(Killed):
            migrate(plan, ports, StepName.COMPLETE)
    source.execute("INSERT INTO audit VALUES (4, 'after'); UPDATE orders SET amount = 1 WHERE id = 7")
    migrate(replace(plan, epoch=2), ports, StepName.COMPLETE, StepName.CLEANUP)
    assert_same(source, target)
    assert rows(target, "SELECT what FROM audit ORDER BY 1") == [("after",), ("before",)]
    assert ports.ledger.items() == []
