"""The schema from PostgreSQL 16 to 18, judged by the comparator and by the catalogs themselves."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from migrations_app.engine import pieces, postdata, restore
from migrations_app.engine.errors import CancelRequested, ConflictError, ConnectionLost, SourceError, TargetError
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import Kind, LedgerItem
from migrations_app.engine.selection import Selection
from migrations_app.engine.steps import index, schema
from migrations_app.engine.target_objects import drop_made, made
from tests.fakes import wait_until
from tests.postgres.engine_runs import fakes, make_plan, running, server
from tests.postgres.schema_kit import (
    Crash,
    column,
    compare,
    copy_rows,
    crash_after,
    finish,
    migrate,
    restore_deferred,
    tables_of,
)


@pytest.fixture
def plan(awkward_plan):
    return awkward_plan


def test_an_awkward_schema_arrives_complete(source_cluster, target_cluster, plan):
    with running(plan) as run:
        migrate(run)
        assert compare(source_cluster, target_cluster, plan) == []
        codes = {code for _, code, _ in fakes(run.ports)[1].events}
        assert codes == {"SCHEMA-RIGHTS"}


def test_running_everything_twice_changes_nothing(source_cluster, target_cluster, plan):
    oids = "SELECT array_agg(oid ORDER BY oid) FROM pg_class WHERE oid >= 16384"
    (database,) = plan.databases
    with running(plan) as run:
        migrate(run)
        with target_cluster.connect(database.target_name) as connection:
            before = column(connection, oids)
        store = fakes(run.ports)[1]
        store.save_database(replace(store.database(database.source_name), index_done=False))
        for table in tables_of(run):
            if table.has_rows:
                postdata.build_table(run, database, table)
        schema.run(run)
        index.run(run)
        restore_deferred(run, database)
        with target_cluster.connect(database.target_name) as connection:
            assert column(connection, oids) == before
    assert compare(source_cluster, target_cluster, plan) == []


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("module", "name", "count"),
    [
        (restore, "claim", 0),
        (restore, "run_entries", 0),
        (restore, "run_one", 0),
        (restore, "set_owners", 0),
        (restore, "make_durable", 0),
        (schema, "restore_pre_data", 0),
    ],
)
def test_a_worker_that_dies_in_the_schema_is_followed_by_one_that_finishes(
    source_cluster, target_cluster, plan, monkeypatch, module, name, count
):
    with running(plan) as run:
        if name == "run_one":  # small chunks, and a death between two of them
            monkeypatch.setattr(restore, "CHUNK_ENTRIES", 10)
            monkeypatch.setattr(restore, "run_entries", dying_half_way(restore.run_entries))
        else:
            monkeypatch.setattr(module, name, crash_after(count, getattr(module, name)))
        with pytest.raises(Crash):
            schema.run(run)
        ports = run.ports
        for snapshot in run.snapshots.values():
            snapshot.close()
    monkeypatch.undo()
    with running(replace(plan, epoch=2), ports) as run:
        migrate(run)
    assert compare(source_cluster, target_cluster, plan) == []


def dying_half_way(real: Any) -> Any:
    def wrapped(run: Any, connection: Any, entries: Any, manner: Any) -> Any:
        real(run, connection, entries[: len(entries) // 2], manner)
        raise Crash

    return wrapped


def test_another_machine_without_the_archive_finishes_the_work(source_cluster, target_cluster, plan, tmp_path):
    with running(plan) as run:
        schema.run(run)
        copy_rows(run)
        ports = run.ports
        for snapshot in run.snapshots.values():
            snapshot.close()
    with running(replace(plan, epoch=2, work_dir=tmp_path / "elsewhere"), ports) as run:
        finish(run)
    assert compare(source_cluster, target_cluster, plan) == []


def test_a_missing_target_database_is_made_like_the_source_and_is_in_the_ledger(
    source_cluster, target_cluster, tmp_path
):
    name = 'db "x" %s host=127.0.0.1 ' + secrets.token_hex(4)
    quoted = '"' + name.replace('"', '""') + '"'
    with source_cluster.connect() as connection:
        connection.execute(f"CREATE DATABASE {quoted} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    plan = make_plan(source_cluster, target_cluster, [(name, name)], tmp_path, incremental=False)
    query = (
        "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = current_database()"
    )
    try:
        with source_cluster.connect(name) as connection:
            connection.execute("CREATE TABLE \"größe\" (x text DEFAULT 'ä')")
        with running(plan) as run:
            migrate(run)
            assert next(item.kind for item in fakes(run.ports)[0].items(Side.TARGET)) is Kind.DATABASE
        with target_cluster.connect(name) as connection:
            assert connection.execute(query.encode()).fetchone() == ("LATIN1", "C", "C")
        assert compare(source_cluster, target_cluster, plan) == []
    finally:
        for cluster in (source_cluster, target_cluster):
            with cluster.connect() as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")


def test_everything_that_was_made_is_in_the_ledger_and_can_be_dropped_again(target_cluster, plan):
    (database,) = plan.databases
    left = (
        "SELECT relname FROM pg_class WHERE oid >= 16384 UNION ALL SELECT proname FROM pg_proc WHERE oid >= 16384"
        " UNION ALL SELECT typname FROM pg_type WHERE oid >= 16384"
        " UNION ALL SELECT oprname FROM pg_operator WHERE oid >= 16384"
        " UNION ALL SELECT evtname FROM pg_event_trigger"
        " UNION ALL SELECT nspname FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_'"
    )
    with target_cluster.connect(database.target_name) as connection:
        connection.execute(
            "CREATE TABLE public.mine (id int); CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"
        )
        before = sorted(column(connection, left))
    with running(plan) as run:
        migrate(run)
        assert drop_made(run, database.target_name) == []
        assert made(run, database.target_name) == []
    with target_cluster.connect(database.target_name) as connection:
        assert sorted(column(connection, left)) == before


def test_nothing_of_others_is_dropped_by_a_cascade(target_cluster, plan):
    (database,) = plan.databases
    with running(plan) as run:
        migrate(run)
        with target_cluster.connect(database.target_name) as connection:
            connection.execute("CREATE VIEW public.theirs AS SELECT id FROM public.later")
        assert [item.name for item in drop_made(run, database.target_name)] == ["later"]
    with target_cluster.connect(database.target_name) as connection:
        assert column(connection, "SELECT count(*) FROM public.theirs") == [0]


def test_a_table_in_the_way_stops_before_anything_is_made(target_cluster, plan):
    (database,) = plan.databases
    with target_cluster.connect(database.target_name) as connection:
        connection.execute("CREATE TABLE public.room (x int)")
    with running(plan) as run:
        with pytest.raises(ConflictError, match=r"TABLE public\.room"):
            schema.run(run)
        assert made(run, database.target_name) == []


def test_an_interrupted_attempt_never_drops_a_table_with_rows(target_cluster, plan):
    (database,) = plan.databases
    item = LedgerItem(side=Side.TARGET, database=database.target_name, kind=Kind.TABLE, schema="public", name="room")
    with target_cluster.connect(database.target_name) as connection:
        connection.execute("CREATE TABLE public.room AS SELECT 1 AS x")
    with running(plan) as run:
        run.ports.ledger.intend(item)
        with pytest.raises(ConflictError, match="has rows"):
            schema.run(run)


def test_a_type_that_the_target_refuses_is_named(target_cluster, plan):
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute("CREATE TABLE public.pair (id int)")  # its row type has the name of the source's type
    with running(plan) as run, pytest.raises(TargetError) as caught:
        schema.run(run)
    assert "TYPE public.pair" in caught.value.message


def test_a_subset_takes_what_it_needs_and_says_what_it_leaves_out(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    chosen = Selection(
        rules={
            (database.source_name, "public", "ident"): True,
            (database.source_name, "public", "inh"): True,
            (database.source_name, "public", "part_1a"): True,
        }
    )
    with running(replace(plan, selection=chosen)) as run:
        migrate(run)
        events = {code: text for _, code, text in fakes(run.ports)[1].events}
        assert {state.name for state in fakes(run.ports)[1].tables(database.source_name)} == {"ident", "inh", "part_1a"}
    assert "part_x_fkey" in events["SUBSET-KEYS"]
    assert "VIEW public.v2" in events["SUBSET-OBJECTS"]
    with target_cluster.connect(database.target_name) as connection:
        names = column(
            connection, "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm') AND oid >= 16384 ORDER BY 1"
        )
        keys = column(
            connection, "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 ORDER BY 1"
        )
    # `inh` needs its parent, which comes along empty, and with it everything that hangs on the parent alone
    assert names == ["circle_a", "circle_b", "ident", "inh", "parent", "part", "part_1", "part_1a", "v1", "vc"]
    assert keys == ["parent_boss_fkey"]  # nothing can refer to rows that stay
    named = ["public.ident", "public.inh", "public.part_1a"]
    assert compare(source_cluster, target_cluster, plan, tables=named) == []


@pytest.mark.long
def test_a_target_without_the_schema_public_gets_one(source_cluster, target_cluster, plan):
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute("DROP SCHEMA public")
    with running(plan) as run:
        migrate(run)
        assert "public" in [item.name for item in made(run, plan.databases[0].target_name)]
    assert compare(source_cluster, target_cluster, plan, ignore=["comment"]) == []


@pytest.mark.long
def test_an_incremental_task_whose_worker_dies_in_the_schema_starts_it_anew(
    source_cluster, target_cluster, plan, monkeypatch
):
    plan = replace(plan, incremental=True)
    with running(plan) as run:
        monkeypatch.setattr(restore, "set_owners", crash_after(0, restore.set_owners))
        with pytest.raises(Crash):
            schema.run(run)
        ports = run.ports
        for snapshot in run.snapshots.values():
            snapshot.close()
    monkeypatch.undo()
    with running(replace(plan, epoch=2), ports) as run:
        migrate(run)
        restore_deferred(run, plan.databases[0])
        for snapshot in run.snapshots.values():
            snapshot.close()
    assert compare(source_cluster, target_cluster, plan, ignore=["replica identity"]) == []


def test_views_that_the_target_cannot_have_are_listed_and_stop_nothing(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:  # the column is gone since 17
        connection.execute("CREATE VIEW public.old AS SELECT buffers_checkpoint FROM pg_stat_bgwriter")
        connection.execute("CREATE VIEW public.on_old AS SELECT * FROM public.old")
    with running(plan) as run:
        migrate(run)
        store = fakes(run.ports)[1]
        failed = {
            (state.type, state.name, state.error.partition(":")[0])
            for state in store.entries(database.source_name).values()
            if not state.done
        }
        assert failed == {
            ("VIEW", "old", "missing object"),
            ("VIEW", "on_old", "missing object"),
            ("ACL", "TABLE old", "missing object"),  # rights on views that are not there
            ("ACL", "TABLE on_old", "missing object"),
            ("ACL", "TABLE parent", "missing role"),  # a grant to a role that only the source has
        }
        [refused] = [text for _, code, text in store.events if code == "SCHEMA-REFUSED"]
        assert "VIEW public.old: missing object: column" in refused
    missing = compare(source_cluster, target_cluster, plan)
    assert {line.split(":")[0].split(" ", 1)[1].split(".")[1] for line in missing} == {"old", "on_old"}


def test_a_view_that_was_refused_is_tried_again_after_the_rows(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute("CREATE VIEW public.old AS SELECT buffers_checkpoint FROM pg_stat_bgwriter")
        connection.execute("CREATE VIEW public.on_old AS SELECT * FROM public.old")
    with running(plan) as run:
        schema.run(run)
        with target_cluster.connect(database.target_name) as connection:
            connection.execute("CREATE VIEW public.old AS SELECT 0::bigint AS buffers_checkpoint")
        copy_rows(run)
        index.run(run)
        states = fakes(run.ports)[1].entries(database.source_name).values()
        assert [(state.type, state.name, state.done) for state in states] == [
            ("VIEW", "old", False),
            ("VIEW", "on_old", True),
            ("ACL", "TABLE parent", False),  # a grant to a role that only the source has
        ]


def test_an_extension_is_made_where_it_is_missing_and_goes_away_with_the_rest(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute('CREATE SCHEMA "ext ra"; CREATE EXTENSION vector SCHEMA "ext ra"')
        connection.execute('CREATE TABLE public.near (id int PRIMARY KEY, at "ext ra".vector(2))')
        connection.execute("INSERT INTO public.near VALUES (1, '[1,2]')")
        connection.execute('CREATE INDEX ON public.near USING hnsw (at "ext ra".vector_l2_ops)')
    with running(plan) as run:
        migrate(run)
        assert compare(source_cluster, target_cluster, plan) == []
        assert "vector" in [item.name for item in made(run, database.target_name) if item.kind is Kind.EXTENSION]
        assert drop_made(run, database.target_name) == []
    with target_cluster.connect(database.target_name) as connection:
        assert column(connection, "SELECT extname FROM pg_extension") == ["plpgsql"]


def test_an_extension_that_was_there_before_is_used_and_stays(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute("CREATE EXTENSION vector; CREATE TABLE public.near (at public.vector(2))")
    with target_cluster.connect(database.target_name) as connection:
        connection.execute("CREATE EXTENSION vector")
    with running(plan) as run:
        migrate(run)
        assert compare(source_cluster, target_cluster, plan) == []
        assert drop_made(run, database.target_name) == []
    with target_cluster.connect(database.target_name) as connection:
        assert column(connection, "SELECT extname FROM pg_extension ORDER BY 1") == ["plpgsql", "vector"]


def test_a_restore_that_waits_for_a_lock_ends_when_cancelled(target_cluster, plan):
    (database,) = plan.databases
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'towpath:%'"
    )
    with running(plan) as run, target_cluster.connect(database.target_name, autocommit=False) as other:
        other.execute('CREATE SCHEMA "we ird ""sch%ema"')
        with ThreadPoolExecutor(1) as pool, target_cluster.connect() as observer:
            step = pool.submit(schema.run, run)
            try:
                wait_until(lambda: column(observer, waiting) == [1], what="the wait for the lock")
                fakes(run.ports)[2].cancel()
                with pytest.raises(CancelRequested):
                    step.result(10)
            finally:
                other.close()


def test_a_snapshot_that_is_lost_during_the_dump_is_worth_another_try(plan, monkeypatch):
    def refuse(run: Any, name: str, snapshot_id: str, *args: Any, **more: Any) -> None:
        run.snapshots[name].close()
        raise SourceError("pg_dump: error: invalid snapshot identifier")

    with running(plan) as run:
        monkeypatch.setattr(pieces, "dump_schema", refuse)
        with pytest.raises(ConnectionLost):
            schema.run(run)


def test_an_account_that_may_read_only_the_selected_table_is_enough(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reader'; GRANT SELECT ON public.ident TO reader")
    reader = replace(
        plan,
        source=server(source_cluster, "reader", "reader"),
        selection=Selection(rules={(database.source_name, "public", "ident"): True}),
    )
    try:
        with running(reader) as run:
            migrate(run)
            events = {code for _, code, _ in fakes(run.ports)[1].events}
        assert compare(source_cluster, target_cluster, plan, tables=["public.ident"]) == []
    finally:
        with source_cluster.connect(database.source_name) as connection:
            connection.execute("DROP OWNED BY reader; DROP ROLE reader")
    assert "SEQUENCES-UNREAD" in events


def test_a_public_schema_that_its_dump_mentions_is_used_as_it_is(
    source_cluster, target_cluster, source_db, target_db, tmp_path
):
    with source_cluster.connect(source_db) as connection:  # as every dump of a server before 15 does
        connection.execute("ALTER SCHEMA public OWNER TO postgres; CREATE TABLE t (id int)")
    with running(make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)) as run:
        schema.run(run)
        assert [item.name for item in run.ports.ledger.items(Side.TARGET) if item.kind is Kind.SCHEMA] == []
    with target_cluster.connect(target_db) as connection:
        assert column(connection, "SELECT to_regclass('public.t') IS NOT NULL")
