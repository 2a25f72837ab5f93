"""Schema and post-data from PostgreSQL 16 to 18, judged by the comparator and by the catalogs themselves."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.engine import catalog, pgtools, postdata, restore
from migrations_app.engine.errors import CancelRequested, ConflictError, PlanError, TargetError
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import Kind, LedgerItem
from migrations_app.engine.selection import Selection
from migrations_app.engine.steps import index, schema
from migrations_app.engine.target_objects import drop_made, made
from tests.comparator import differences
from tests.postgres.engine_runs import fakes, make_plan, running, server

AWKWARD = Path(__file__).with_name("awkward_schema.sql").read_text()
ROWS = """
INSERT INTO public.parent (t, p, c) SELECT 'row ' || i, i, (i, 'x')::public.pair FROM generate_series(1, 50) i;
INSERT INTO public.a (id) SELECT generate_series(1, 20);
INSERT INTO public.part (id, d, x) SELECT i % 3, '2020-06-01'::date + i, 1 + i % 20 FROM generate_series(1, 400) i
 ON CONFLICT DO NOTHING;
INSERT INTO "we ird ""sch%ema"."ta ""ble%s
x" SELECT i, 'v' || i, 'ü' FROM generate_series(1, 30) i;
INSERT INTO public.unready (id) VALUES (-1);
REFRESH MATERIALIZED VIEW public.mv;
SELECT setval('public.alone', -7);
"""
BROKEN_ROWS = "ALTER TABLE public.unready DISABLE TRIGGER ALL; INSERT INTO public.unready VALUES (2, 999);"


class Crash(RuntimeError):
    """Stands for the death of the worker."""


@pytest.fixture
def roles(source_cluster, target_cluster) -> None:
    for cluster, names in (
        (source_cluster, ("awkward_owner", "only on the source; x")),
        (target_cluster, ("awkward_owner",)),
    ):
        with cluster.connect() as connection:
            for name in names:
                with contextlib.suppress(psycopg.errors.DuplicateObject):
                    connection.execute(f'CREATE ROLE "{name}"')


@pytest.fixture
def awkward_db(source_cluster, source_db, roles) -> str:
    with source_cluster.connect(source_db) as connection:
        connection.execute(AWKWARD)
        connection.execute("ALTER TABLE public.unready DROP CONSTRAINT later_valid")
        connection.execute(ROWS)
    return source_db


@pytest.fixture
def plan(source_cluster, target_cluster, awkward_db, target_db, tmp_path):
    return make_plan(source_cluster, target_cluster, [(awkward_db, target_db)], tmp_path, incremental=False)


def tables_of(run: Any) -> list[catalog.Table]:
    (snapshot,) = run.snapshots.values()
    return list(snapshot.tables)


def copy_rows(run: Any) -> None:
    """Carry the rows over, simply, and build each table's indexes as the copy does."""
    (database,) = run.databases()
    tables = [table for table in tables_of(run) if table.has_rows]
    with (
        run.sessions.session(Side.SOURCE, database.source_name) as source,
        run.sessions.session(Side.TARGET, database.target_name) as target,
    ):
        for table in tables:
            name = '"{}"."{}"'.format(table.schema.replace('"', '""'), table.name.replace('"', '""'))
            columns = ", ".join('"{}"'.format(one.name.replace('"', '""')) for one in table.copied_columns)
            target.execute(f"TRUNCATE ONLY {name}".encode())
            with (
                source.cursor().copy(f"COPY {name} ({columns}) TO STDOUT".encode()) as out,
                target.cursor().copy(f"COPY {name} ({columns}) FROM STDIN".encode()) as into,
            ):
                for data in out:
                    into.write(data)
    for table in tables:
        postdata.build_table(run, database, table)


def migrate(run: Any) -> None:
    schema.run(run)
    copy_rows(run)
    index.run(run)


def compare(source_cluster, target_cluster, plan, **options: Any) -> list[str]:
    (database,) = plan.databases
    with (
        source_cluster.connect(database.source_name) as source,
        target_cluster.connect(database.target_name) as target,
    ):
        return differences(source, target, **options)


def column(connection: Any, query: str) -> list[Any]:
    return [row[0] for row in connection.execute(query.encode()).fetchall()]


def test_an_awkward_schema_arrives_complete(source_cluster, target_cluster, plan):
    with running(plan) as run:
        migrate(run)
        assert compare(source_cluster, target_cluster, plan) == []
        codes = {code for _, code, _ in fakes(run.ports)[1].events}
        assert codes == {"SCHEMA-RIGHTS"}


def test_owners_rights_and_policies_arrive_where_the_role_exists(source_cluster, target_cluster, plan):
    query = (
        "SELECT concat_ws(' ', c.oid::regclass, c.relkind, c.relowner::regrole, c.relrowsecurity,"
        " coalesce(c.relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner)))"
        " FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'S', 'm')"
        " ORDER BY 1"
    )
    more = (
        "SELECT concat_ws(' ', polname, polrelid::regclass, pg_get_expr(polqual, polrelid)) FROM pg_policy ORDER BY 1"
    )
    events = "SELECT evtname FROM pg_event_trigger ORDER BY 1"
    (database,) = plan.databases
    with running(plan) as run:
        migrate(run)
    with source_cluster.connect(database.source_name) as one, target_cluster.connect(database.target_name) as other:
        one.execute('REVOKE ALL ON public.parent FROM "only on the source; x"')
        one.execute("SET search_path = ''")
        other.execute("SET search_path = ''")
        for text in (query, more, events):
            # 17 added a privilege (m, MAINTAIN) to what an owner has
            assert [str(it).replace("tm/", "t/") for it in column(other, text)] == [str(it) for it in column(one, text)]


def test_a_grant_to_a_missing_role_is_named_and_costs_no_other_grant(target_cluster, plan):
    with running(plan) as run:
        migrate(run)
        message = next(text for _, code, text in fakes(run.ports)[1].events if code == "SCHEMA-RIGHTS")
    assert 'GRANT SELECT ON TABLE public.parent TO "only on the source; x"' in message
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        assert column(connection, "SELECT has_table_privilege('awkward_owner', 'public.parent', 'INSERT')") == [True]


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
        postdata.restore_deferred(run, database)
        with target_cluster.connect(database.target_name) as connection:
            assert column(connection, oids) == before
    assert compare(source_cluster, target_cluster, plan) == []


def crash_after(count: int, real: Any) -> Any:
    calls = iter(range(count))

    def wrapped(*args: Any, **more: Any) -> Any:
        if next(calls, None) is None:
            raise Crash
        return real(*args, **more)

    return wrapped


@pytest.mark.parametrize(
    ("module", "name", "count"),
    [
        (restore, "claim", 0),
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


@pytest.mark.parametrize("name", ["build_missing", "restore_foreign_keys", "refresh_matviews", "set_sequences"])
def test_a_worker_that_dies_in_the_index_step_is_followed_by_one_that_finishes(
    source_cluster, target_cluster, plan, monkeypatch, name
):
    with running(plan) as run:
        schema.run(run)
        copy_rows(run)
        monkeypatch.setattr(postdata, name, crash_after(0, getattr(postdata, name)))
        with pytest.raises(Crash):
            index.run(run)
        monkeypatch.undo()
        index.run(run)
    assert compare(source_cluster, target_cluster, plan) == []


def test_another_machine_without_the_archive_finishes_the_work(source_cluster, target_cluster, plan, tmp_path):
    with running(plan) as run:
        schema.run(run)
        copy_rows(run)
        ports = run.ports
        for snapshot in run.snapshots.values():
            snapshot.close()
    with running(replace(plan, epoch=2, work_dir=tmp_path / "elsewhere"), ports) as run:
        index.run(run)
    assert compare(source_cluster, target_cluster, plan) == []


def test_a_missing_target_database_is_made_like_the_source_and_is_in_the_ledger(
    source_cluster, target_cluster, roles, tmp_path
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


def test_a_type_that_the_target_refuses_is_named(source_cluster, target_cluster, plan):
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute("CREATE TABLE public.acl (x public.mood, y public.span)")
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute("CREATE TABLE public.span_owner (id int); ALTER TABLE public.span_owner RENAME TO pair")
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
    assert keys == ["ident_parent_id_fkey", "parent_boss_fkey"]
    named = ["public.ident", "public.inh", "public.part_1a"]
    assert compare(source_cluster, target_cluster, plan, tables=named) == []


def test_foreign_keys_whose_rows_do_not_fit_stay_not_valid_and_are_reported(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute("ALTER TABLE public.a DISABLE TRIGGER ALL; DELETE FROM public.a WHERE id = 3")
        connection.execute("ALTER TABLE public.b DISABLE TRIGGER ALL; INSERT INTO public.b VALUES (1, 777)")
        connection.execute("ALTER TABLE public.a ENABLE TRIGGER ALL; ALTER TABLE public.b ENABLE TRIGGER ALL")
    with running(plan) as run:
        migrate(run)
        events = {code: text for _, code, text in fakes(run.ports)[1].events}
    assert "b_a_id_fkey" in events["FK-NOT-VALID"]
    with target_cluster.connect(database.target_name) as connection:
        assert column(connection, "SELECT convalidated FROM pg_constraint WHERE conname = 'b_a_id_fkey'") == [False]


def test_a_half_built_index_is_built_again(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    with running(plan) as run:
        schema.run(run)
        with target_cluster.connect(database.target_name) as connection:
            connection.execute("CREATE INDEX parent_expr ON public.parent (id)")
            connection.execute(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.parent_expr'::regclass"
            )
        copy_rows(run)
        index.run(run)
    assert compare(source_cluster, target_cluster, plan) == []


def test_rows_that_break_a_key_are_named(target_cluster, plan):
    (database,) = plan.databases
    with running(plan) as run:
        schema.run(run)
        with target_cluster.connect(database.target_name) as connection:
            connection.execute("INSERT INTO public.later (id) VALUES (1), (1)")
        table = next(table for table in tables_of(run) if table.name == "later")
        with pytest.raises(TargetError, match="later_pkey"):
            postdata.build_table(run, database, table)


def test_an_incremental_task_leaves_rights_and_event_triggers_to_complete(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    with running(replace(plan, incremental=True)) as run:
        migrate(run)
        with target_cluster.connect(database.target_name) as connection:
            assert column(connection, "SELECT evtname FROM pg_event_trigger") == []
            assert column(connection, "SELECT count(*) FROM pg_trigger WHERE tgname = 'tr'") == [1]
        postdata.restore_deferred(run, database)
        for snapshot in run.snapshots.values():
            snapshot.close()
        found = compare(source_cluster, target_cluster, plan, ignore=["replica identity"])
        identities = "SELECT relreplident FROM pg_class WHERE relname IN ('unl', 'nokey', 'room') ORDER BY relname"
        with target_cluster.connect(database.target_name) as connection:
            assert column(connection, identities) == ["f", "d", "d"]
    assert found == []


def test_without_the_right_to_silence_them_keys_triggers_and_rules_wait_for_complete(
    source_cluster, target_cluster, plan
):
    (database,) = plan.databases
    with target_cluster.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS least")
        connection.execute("CREATE ROLE least LOGIN PASSWORD 'least'")
        connection.execute(f'ALTER DATABASE "{database.target_name}" OWNER TO least')
    least = replace(plan, incremental=True, target=server(target_cluster, "least", "least"))
    with running(least) as run:
        migrate(run)
        assert fakes(run.ports)[1].database(database.source_name).replica_role is False
        waiting = "SELECT conname FROM pg_constraint WHERE contype = 'f' UNION ALL"
        waiting += " SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
        with target_cluster.connect(database.target_name) as connection:
            assert column(connection, waiting) == []
        postdata.restore_deferred(run, database)
        for snapshot in run.snapshots.values():
            snapshot.close()
        events = {code for _, code, _ in fakes(run.ports)[1].events}
    assert compare(source_cluster, target_cluster, plan, ignore=["replica identity"]) == []
    assert {"SCHEMA-OWNER", "SCHEMA-RIGHTS", "SCHEMA-REFUSED"} <= events  # an event trigger needs a superuser


def test_a_cancelled_dump_ends_at_once_and_leaves_no_file(plan, monkeypatch, tmp_path):
    monkeypatch.setattr(pgtools, "_LAUNCHER", "import time; time.sleep(60)")
    with running(plan) as run:
        real = run.ports.control.check
        calls = iter(range(40))

        def check() -> None:
            if next(calls, None) is None:
                raise CancelRequested
            real()

        monkeypatch.setattr(run.ports.control, "check", check)
        with pytest.raises(CancelRequested):
            pgtools.dump_schema(run, plan.databases[0].source_name, "", tmp_path / "x.dump")
    assert list(tmp_path.iterdir()) == []


def test_the_password_is_in_no_argument_and_in_no_environment(plan, monkeypatch, tmp_path):
    seen: list[str] = []
    real = pgtools.subprocess.Popen

    def spy(command: list[str], **more: Any) -> Any:
        seen.extend([*command, *more["env"].values()])
        file = Path(more["env"]["PGPASSFILE"])
        assert (file.stat().st_mode & 0o777, plan.source.password in file.read_text()) == (0o600, True)
        return real(command, **more)

    with running(plan) as run:
        monkeypatch.setattr(pgtools.subprocess, "Popen", spy)
        pgtools.dump_schema(run, plan.databases[0].source_name, "", tmp_path / "x.dump")
    assert not [text for text in seen if plan.source.password in text]
    assert [file.name for file in tmp_path.iterdir()] == ["x.dump"]


def test_a_password_with_special_characters_works(source_cluster, plan, tmp_path):
    with source_cluster.connect() as connection:
        connection.execute('DROP ROLE IF EXISTS "odd: user"')
        connection.execute("CREATE ROLE \"odd: user\" SUPERUSER LOGIN PASSWORD 'a:b\\c''d e'")
    odd = replace(plan, source=server(source_cluster, "odd: user", "a:b\\c'd e"))
    with running(odd) as run:
        pgtools.dump_schema(run, plan.databases[0].source_name, "", tmp_path / "x.dump")
    assert (tmp_path / "x.dump").exists()


def test_the_tool_fits_both_servers(monkeypatch, tmp_path):
    assert pgtools.tool_version(pgtools.pg_dump_path(160014, 160014))[0] == 16
    assert pgtools.tool_version(pgtools.pg_dump_path(130000, 160014))[0] == 16
    assert pgtools.tool_version(pgtools.pg_dump_path(160014, 180004))[0] == 18
    assert pgtools.tool_version(pgtools.pg_dump_path(180004, 160014))[0] == 18


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("pg_dump (PostgreSQL) 15.18", "cannot read"),
        ("pg_dump (PostgreSQL) 16.3", "security hole"),
        ("pg_dump (PostgreSQL) 17beta1", "released version"),
        ("hello", "not a PostgreSQL program"),
    ],
)
def test_an_unfit_pg_dump_is_refused(monkeypatch, tmp_path, says, reason):
    tool = tmp_path / "pg_dump"
    tool.write_text(f"#!/bin/sh\necho '{says}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("TOWPATH_PG_BIN_DIR", str(tmp_path))
    with pytest.raises(PlanError, match=reason):
        pgtools.pg_dump_path(160000, 180000)


def test_a_missing_pg_dump_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("TOWPATH_PG_BIN_DIR", str(tmp_path))
    with pytest.raises(PlanError, match="no pg_dump"):
        pgtools.pg_dump_path(160000, 180000)
