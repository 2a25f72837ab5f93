"""Opening snapshots: publication, identities, locks, slot, holder; again after a crash; while others hold locks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import slots, snapshot
from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import CancelRequested, ConnectionLost, SlotLost, SourceError
from migrations_app.engine.failover import Identity
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import Kind
from migrations_app.engine.selection import Selection
from migrations_app.engine.unmoved import TableName, lock_text
from tests.fakes import wait_until
from tests.postgres.engine_runs import fakes, make_plan, running, server


@pytest.fixture
def run(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Run]:
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY, note text)")
        connection.execute("INSERT INTO orders SELECT n, 'n' || n FROM generate_series(1, 100) n")
    with running(make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)) as made:
        yield made


def sql(cluster: Cluster, database: str, text: str) -> list[tuple[object, ...]]:
    with cluster.connect(database) as connection:
        cursor = connection.execute(text)
        return cursor.fetchall() if cursor.description else []


def test_the_snapshot_sees_exactly_what_was_committed_before_the_slot(
    run: Run, source_cluster: Cluster, source_db: str
) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    sql(source_cluster, source_db, "INSERT INTO orders VALUES (101, 'later')")
    with run.sessions.session(Side.SOURCE, source_db) as reader:
        opened.import_into(reader)
        assert reader.execute("SELECT count(*) FROM public.orders").fetchone() == (100,)
    assert [table.name for table in opened.tables] == ["orders"]
    assert run.snapshots[source_db] is opened


def test_the_state_remembers_slot_publication_place_and_server(
    run: Run, source_cluster: Cluster, source_db: str
) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    state = run.ports.store.database(source_db)
    rows = sql(
        source_cluster,
        source_db,
        "SELECT slot_name, confirmed_flush_lsn::text FROM pg_replication_slots WHERE database = current_database()",
    )
    assert rows == [(state.slot, rows[0][1])]
    assert opened.lsn == state.consistent_point == parse_lsn(str(rows[0][1]))
    assert sql(source_cluster, source_db, "SELECT system_identifier::text FROM pg_control_system()") == [
        (state.system_id,)
    ]
    assert sql(source_cluster, source_db, "SELECT pubname FROM pg_publication") == [(state.publication,)]


def test_slot_and_publication_are_in_the_ledger(run: Run, source_db: str) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    state = run.ports.store.database(source_db)
    made = {(item.kind, item.name) for item in run.ports.ledger.items(Side.SOURCE, source_db)}
    assert made == {(Kind.SLOT, state.slot), (Kind.PUBLICATION, state.publication)}


def test_only_selected_tables_are_published_with_the_roots_of_their_partitions(
    run: Run, source_cluster: Cluster, source_db: str
) -> None:
    sql(
        source_cluster,
        source_db,
        "CREATE TABLE other (id int PRIMARY KEY);"
        "CREATE UNLOGGED TABLE scratch (id int);"
        "CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE middle PARTITION OF root FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);"
        "CREATE TABLE leaf PARTITION OF middle DEFAULT;"
        "CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child () INHERITS (parent)",
    )
    selection = Selection.everything().toggle((source_db, "public", "other"), False)
    run.plan = replace(run.plan, selection=selection.toggle((source_db, "public", "child"), False))
    snapshot.open_first(run, run.plan.databases[0])
    rows = sql(source_cluster, source_db, "SELECT prrelid::regclass::text FROM pg_publication_rel ORDER BY 1")
    assert [row[0] for row in rows] == ["leaf", "orders", "parent", "root"]
    leaves = sql(source_cluster, source_db, "SELECT tablename FROM pg_publication_tables ORDER BY 1")
    assert [row[0] for row in leaves] == ["leaf", "orders", "parent"]


def test_a_partition_that_is_detached_stays_published(run: Run, source_cluster: Cluster, source_db: str) -> None:
    sql(
        source_cluster,
        source_db,
        "CREATE TABLE root (id int PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (10)",
    )
    snapshot.open_first(run, run.plan.databases[0])
    sql(
        source_cluster,
        source_db,
        "ALTER TABLE root DETACH PARTITION leaf; CREATE TABLE later PARTITION OF root DEFAULT",
    )
    rows = sql(source_cluster, source_db, "SELECT tablename FROM pg_publication_tables ORDER BY 1")
    assert [row[0] for row in rows] == ["later", "leaf", "orders"]


def test_names_with_quotes_and_percent_signs_are_published(run: Run, source_cluster: Cluster, source_db: str) -> None:
    name = "we\"ird %s 'x' {} \\ ;DROP\n--"
    with source_cluster.connect(source_db) as connection:
        connection.execute('CREATE TABLE "' + name.replace('"', '""') + '" (id int)')
    snapshot.open_first(run, run.plan.databases[0])
    rows = sql(
        source_cluster,
        source_db,
        "SELECT relname FROM pg_class JOIN pg_publication_rel ON prrelid = pg_class.oid ORDER BY 1",
    )
    assert {row[0] for row in rows} == {"orders", name}


@pytest.mark.parametrize(
    ("make", "was"),
    [
        ("CREATE TABLE keyless (a int)", "d"),
        ("CREATE TABLE keyless (a int PRIMARY KEY DEFERRABLE)", "d"),
        ("CREATE TABLE keyless (a int, b int GENERATED ALWAYS AS (a) STORED PRIMARY KEY)", "d"),
        ("CREATE TABLE keyless (a int PRIMARY KEY); ALTER TABLE keyless REPLICA IDENTITY NOTHING", "n"),
    ],
)
def test_a_table_without_identity_gets_full_and_the_old_value_is_kept(
    run: Run, source_cluster: Cluster, source_db: str, make: str, was: str
) -> None:
    sql(source_cluster, source_db, make)
    snapshot.open_first(run, run.plan.databases[0])
    assert sql(source_cluster, source_db, "SELECT relreplident FROM pg_class WHERE relname = 'keyless'") == [("f",)]
    items = [item for item in run.ports.ledger.items() if item.kind is Kind.REPLICA_IDENTITY]
    assert [(item.schema, item.name, item.detail["was"]) for item in items] == [("public", "keyless", was)]
    sql(source_cluster, source_db, "INSERT INTO keyless VALUES (1); UPDATE keyless SET a = 2")


def test_identities_that_we_may_not_change_are_named_with_their_remedy(
    run: Run, source_cluster: Cluster, source_db: str, tmp_path: Path
) -> None:
    sql(
        source_cluster,
        source_db,
        "CREATE TABLE keyless (a int); DROP ROLE IF EXISTS limited;"
        "CREATE ROLE limited LOGIN REPLICATION PASSWORD 'limited-secret';"
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO limited",
    )
    try:
        plan = replace(run.plan, source=server(source_cluster, "limited", "limited-secret"))
        with running(plan, run.ports) as limited, pytest.raises(SourceError, match="keyless") as caught:
            snapshot.open_first(limited, plan.databases[0])
        assert 'ALTER TABLE "public"."keyless" REPLICA IDENTITY FULL' in caught.value.hint
        assert sql(source_cluster, source_db, "SELECT count(*) FROM pg_publication") == [(0,)]
    finally:
        sql(source_cluster, source_db, "DROP OWNED BY limited; DROP ROLE limited")


def test_what_a_killed_run_left_is_replaced(run: Run, source_cluster: Cluster, source_db: str) -> None:
    database = run.plan.databases[0]
    snapshot.open_first(run, database)
    state = run.ports.store.database(source_db)
    run.ports.store.save_database(replace(state, consistent_point=None, slot="", publication=""))
    run.sessions.close()
    plan = replace(run.plan, epoch=2)
    with running(plan, run.ports) as second:
        again = snapshot.open_first(second, database)
        assert again.lsn
        assert again.lsn >= (state.consistent_point or 0)
        assert second.ports.store.database(source_db).slot == state.slot
    assert sql(
        source_cluster, source_db, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    ) == [(1,)]


def test_sessions_of_a_dead_run_are_ended(run: Run, source_db: str) -> None:
    first = snapshot.open_first(run, run.plan.databases[0])
    with running(replace(run.plan, epoch=2), run.ports) as second:
        snapshot.open_again(second, run.plan.databases[0])
    with pytest.raises(psycopg.OperationalError):
        first.holder.execute("SELECT 1")


def test_a_second_snapshot_has_a_later_place_and_leaves_no_slot(
    run: Run, source_cluster: Cluster, source_db: str
) -> None:
    database = run.plan.databases[0]
    first = snapshot.open_first(run, database)
    first_lsn = first.lsn
    sql(source_cluster, source_db, "INSERT INTO orders VALUES (500, 'between')")
    second = snapshot.open_again(run, database)
    assert second.lsn > first_lsn  # type: ignore[operator]
    assert first.holder.closed
    with run.sessions.session(Side.SOURCE, source_db) as reader:
        second.import_into(reader)
        assert reader.execute("SELECT count(*) FROM public.orders WHERE id = 500").fetchone() == (1,)
    assert sql(
        source_cluster, source_db, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    ) == [(1,)]
    assert run.ports.store.database(source_db).consistent_point == first_lsn


def test_a_second_snapshot_publishes_tables_that_came_meanwhile(
    run: Run, source_cluster: Cluster, source_db: str
) -> None:
    database = run.plan.databases[0]
    snapshot.open_first(run, database)
    run.snapshots[source_db].close()
    sql(source_cluster, source_db, "CREATE TABLE later (id int PRIMARY KEY)")
    opened = snapshot.open_again(run, database)
    assert [table.name for table in opened.tables] == ["later", "orders"]
    rows = sql(source_cluster, source_db, "SELECT tablename FROM pg_publication_tables ORDER BY 1")
    assert [row[0] for row in rows] == ["later", "orders"]


def test_a_lost_slot_is_told_and_not_made_anew(run: Run, source_cluster: Cluster, source_db: str) -> None:
    database = run.plan.databases[0]
    snapshot.open_first(run, database)
    slot = run.ports.store.database(source_db).slot
    sql(source_cluster, source_db, f"SELECT pg_drop_replication_slot('{slot}')")
    with pytest.raises(SlotLost) as caught:
        snapshot.open_again(run, database)
    assert caught.value.code == "SRC-SLOTGONE"


def test_another_server_is_recognised(run: Run, source_db: str) -> None:
    database = run.plan.databases[0]
    snapshot.open_first(run, database)
    run.ports.store.save_database(replace(run.ports.store.database(source_db), system_id="1"))
    with pytest.raises(SlotLost) as caught:
        snapshot.open_again(run, database)
    assert caught.value.code == "SRC-CHANGED"


def test_a_standby_that_took_over_before_17_is_recognised(
    run: Run, source_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = run.plan.databases[0]
    snapshot.open_first(run, database)
    known = run.ports.store.database(source_db)
    monkeypatch.setattr(slots, "identity_of", lambda _: Identity(known.system_id, known.timeline + 1))
    with pytest.raises(SlotLost, match="before 17 none keeps the slot") as caught:
        snapshot.open_again(run, database)
    assert caught.value.code == "SRC-FAILOVER"


def test_an_open_snapshot_keeps_nobody_from_emptying_a_table(run: Run, source_cluster: Cluster, source_db: str) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    with source_cluster.connect(source_db) as connection:
        connection.execute("SET lock_timeout = '100ms'")
        connection.execute("TRUNCATE orders")
    assert opened.alive()


def test_a_locked_table_is_emptied_when_its_snapshot_is_closed(
    run: Run, source_cluster: Cluster, source_db: str
) -> None:
    sql(source_cluster, source_db, "CREATE TABLE other (id int PRIMARY KEY)")
    snapshot.open_first(run, run.plan.databases[0])
    opened = snapshot.open_locked(run, run.plan.databases[0], ("public", "orders"))
    with source_cluster.connect(source_db) as connection:
        connection.execute("SET lock_timeout = '100ms'")
        connection.execute("TRUNCATE other")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            connection.execute("TRUNCATE orders")
        assert opened.holder.execute("SELECT count(*) FROM public.orders").fetchone() == (100,)
        opened.close()
        connection.execute("SET lock_timeout = '10s'")
        connection.execute("TRUNCATE orders")


@pytest.mark.parametrize("incremental", [True, False])
def test_a_lock_that_came_after_a_truncate_is_tried_with_a_new_snapshot(
    run: Run, source_cluster: Cluster, source_db: str, monkeypatch: pytest.MonkeyPatch, incremental: bool
) -> None:
    run.plan = replace(run.plan, incremental=incremental)
    database = run.plan.databases[0]
    snapshot.open_first(run, database)
    emptied = iter(["TRUNCATE orders; INSERT INTO orders VALUES (-1)"])

    def late(names: Sequence[TableName]) -> str:
        sql(source_cluster, source_db, next(emptied, "SELECT 1"))
        return lock_text(names)

    monkeypatch.setattr("migrations_app.engine.snapshot.lock_text", late)
    opened = snapshot.open_locked(run, database, ("public", "orders"))
    assert opened.holder.execute("SELECT id FROM public.orders").fetchall() == [(-1,)]
    assert next(emptied, None) is None


def test_it_waits_for_an_older_writer_and_says_for_whom(
    run: Run, source_cluster: Cluster, source_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "_TRY_SECONDS", 1)
    store = fakes(run.ports)[1]
    with source_cluster.connect(source_db) as writer:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO orders VALUES (900, 'open')")
        pid = writer.info.backend_pid
        worker = threading.Thread(target=snapshot.open_first, args=(run, run.plan.databases[0]))
        worker.start()
        try:
            wait_until(lambda: [event for event in store.events if event[1] == "SRC-OLDTX"], what="the event")
        finally:
            writer.execute("COMMIT")
            worker.join(30)
    assert f"PID {pid}, user postgres" in store.events[0][2]
    assert run.snapshots[source_db].lsn


def test_cancel_ends_the_wait_for_an_older_writer_at_once(run: Run, source_cluster: Cluster, source_db: str) -> None:
    control = fakes(run.ports)[2]
    with source_cluster.connect(source_db) as writer:
        writer.execute("BEGIN")
        writer.execute("INSERT INTO orders VALUES (900, 'open')")
        timer = threading.Timer(0.7, control.cancel)
        timer.start()
        with pytest.raises(CancelRequested):
            snapshot.open_first(run, run.plan.databases[0])
        timer.join()
    assert sql(
        source_cluster, source_db, "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    ) == [(0,)]


@pytest.mark.long
def test_it_waits_for_a_table_lock_and_says_who_holds_it(run: Run, source_cluster: Cluster, source_db: str) -> None:
    store = fakes(run.ports)[1]
    with source_cluster.connect(source_db) as other:
        pid = other.info.backend_pid
        other.execute("BEGIN")
        other.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        worker = threading.Thread(target=snapshot.open_first, args=(run, run.plan.databases[0]))
        worker.start()
        try:
            wait_until(lambda: [event for event in store.events if event[1] == "SRC-LOCKED"], what="the event")
        finally:
            other.execute("COMMIT")
            worker.join(60)
    assert f"PID {pid}" in store.events[0][2]
    assert source_db in run.snapshots


def test_a_lost_holder_is_noticed(run: Run, source_cluster: Cluster, source_db: str) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    opened.check()
    sql(source_cluster, source_db, f"SELECT pg_terminate_backend({opened.holder.info.backend_pid}, 5000)")
    opened._pinged_at = 0
    with pytest.raises(ConnectionLost):
        opened.check()


def test_a_full_copy_takes_a_snapshot_and_makes_nothing(run: Run, source_cluster: Cluster, source_db: str) -> None:
    sql(source_cluster, source_db, "CREATE TABLE keyless (a int)")
    run.plan = replace(run.plan, incremental=False)
    opened = snapshot.open_first(run, run.plan.databases[0])
    assert opened.lsn is None
    with run.sessions.session(Side.SOURCE, source_db) as reader:
        opened.import_into(reader)
    assert run.ports.ledger.items() == []
    assert sql(source_cluster, source_db, "SELECT count(*) FROM pg_publication") == [(0,)]


def test_the_first_session_of_a_run_has_every_pin(source_cluster: Cluster, run: Run) -> None:
    with Sessions(run.plan, run.ports.control) as sessions:
        for _ in range(2):
            connection = sessions.open(Side.SOURCE)
            row = connection.execute(
                "SELECT current_setting('idle_session_timeout'), current_setting('search_path'),"
                " current_setting('default_transaction_isolation'), current_setting('timezone')"
            ).fetchone()
            assert row == ("0", "", "read committed", "UTC")
