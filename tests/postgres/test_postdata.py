"""What follows the rows, from PostgreSQL 16 to 18: keys, triggers, rights, statistics."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from migrations_app.engine import foreign_keys, postdata
from migrations_app.engine.errors import TargetError
from migrations_app.engine.steps import index, schema
from tests import tidy
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


def test_statistics_objects_belong_to_their_owner(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(
            "CREATE TABLE public.measured (a int, b int); CREATE STATISTICS public.both ON a, b FROM public.measured;"
            "ALTER TABLE public.measured OWNER TO awkward_owner; ALTER STATISTICS public.both OWNER TO awkward_owner"
        )
    with running(plan) as run:
        migrate(run)
    with target_cluster.connect(database.target_name) as connection:
        assert column(connection, "SELECT stxowner::regrole::text FROM pg_statistic_ext WHERE stxname = 'both'") == [
            "awkward_owner"
        ]


def test_a_grant_to_a_missing_role_is_named_and_costs_no_other_grant(target_cluster, plan):
    with running(plan) as run:
        migrate(run)
        message = next(text for _, code, text in fakes(run.ports)[1].events if code == "SCHEMA-RIGHTS")
    assert 'GRANT SELECT ON TABLE public.parent TO "only on the source; x"' in message
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        assert column(connection, "SELECT has_table_privilege('awkward_owner', 'public.parent', 'INSERT')") == [True]


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
        finish(run)
    assert compare(source_cluster, target_cluster, plan) == []


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


def test_foreign_keys_of_one_table_are_proved_one_after_the_other(source_cluster, target_cluster, plan, monkeypatch):
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(
            "ALTER TABLE public.b ADD FOREIGN KEY (id) REFERENCES public.a; ALTER TABLE public.a ADD c int"
        )
        connection.execute("ALTER TABLE public.b ADD c int REFERENCES public.a")
    proved, original = [], foreign_keys.in_parallel

    def noted(run, database, items, work):
        proved.extend(items)
        return original(run, database, items, work)

    monkeypatch.setattr(foreign_keys, "in_parallel", noted)
    with running(plan) as run:
        migrate(run)
    tables = [{(place.schema, place.table) for _, place in keys} for keys in proved]
    assert all(len(one) == 1 for one in tables)
    assert len(set().union(*tables)) == len(tables), "two lanes would wait for each other"
    assert max(map(len, proved)) > 1
    assert compare(source_cluster, target_cluster, plan) == []


@pytest.fixture
def many_children(source_cluster, plan):
    """Thirty small tables, each with a key to the same one; a row of the seventh has no parent."""
    with source_cluster.connect(plan.databases[0].source_name) as connection:
        texts = [
            f"CREATE TABLE public.child_{n} (a int CONSTRAINT child_{n}_key REFERENCES public.a);"
            f"INSERT INTO public.child_{n} VALUES (1), (NULL)"
            for n in range(30)
        ]
        connection.execute("INSERT INTO public.a (id) VALUES (1) ON CONFLICT DO NOTHING;" + ";".join(texts))
        connection.execute("ALTER TABLE public.child_7 DISABLE TRIGGER ALL; INSERT INTO public.child_7 VALUES (777)")
        connection.execute("ALTER TABLE public.child_7 ENABLE TRIGGER ALL")


def test_keys_of_small_tables_are_proved_several_at_once(many_children, plan, monkeypatch):
    proved, original = [], foreign_keys.in_parallel

    def noted(run, database, items, work):
        proved.extend(items)
        return original(run, database, items, work)

    monkeypatch.setattr(foreign_keys, "in_parallel", noted)
    with running(plan) as run:
        migrate(run)
    tables = [{(place.schema, place.table) for _, place in keys} for keys in proved]
    assert len(set().union(*tables)) == sum(map(len, tables)), "two lanes would wait for each other"
    assert max(map(len, tables)) > 1


def test_a_key_that_does_not_fit_leaves_those_beside_it_proved(many_children, target_cluster, plan):
    with running(plan) as run:
        migrate(run)
        events = [text for _, code, text in fakes(run.ports)[1].events if code == "FK-NOT-VALID"]
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        query = "SELECT conname FROM pg_constraint WHERE conname LIKE 'child_%_key' AND NOT convalidated"
        assert column(connection, query) == ["child_7_key"]
        query = "SELECT count(*) FROM pg_constraint WHERE conname LIKE 'child_%_key' AND convalidated"
        assert column(connection, query) == [29]
    assert "child_7_key" in events[0]
    assert "child_8_key" not in events[0]


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
        finish(run)
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
        restore_deferred(run, database)
        for snapshot in run.snapshots.values():
            snapshot.close()
        found = compare(source_cluster, target_cluster, plan, ignore=["replica identity"])
        identities = "SELECT relreplident FROM pg_class WHERE relname IN ('unl', 'nokey', 'room') ORDER BY relname"
        with target_cluster.connect(database.target_name) as connection:
            assert column(connection, identities) == ["f", "d", "d"]
    assert found == []


def test_without_the_right_to_silence_them_keys_triggers_and_rules_wait_for_complete(
    source_cluster, target_cluster, plan, request
):
    (database,) = plan.databases
    with target_cluster.connect() as connection:
        connection.execute("CREATE ROLE least LOGIN PASSWORD 'least'")
        connection.execute(f'ALTER DATABASE "{database.target_name}" OWNER TO least')
    request.addfinalizer(lambda: tidy.drop_role(target_cluster, "least", database.target_name))
    least = replace(plan, incremental=True, target=server(target_cluster, "least", "least"))
    with running(least) as run:
        migrate(run)
        assert fakes(run.ports)[1].database(database.source_name).replica_role is False
        waiting = "SELECT conname FROM pg_constraint WHERE contype = 'f' UNION ALL"
        waiting += " SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
        with target_cluster.connect(database.target_name) as connection:
            assert column(connection, waiting) == []
        restore_deferred(run, database)
        for snapshot in run.snapshots.values():
            snapshot.close()
        events = {code for _, code, _ in fakes(run.ports)[1].events}
    found = compare(source_cluster, target_cluster, plan, ignore=["replica identity"])
    assert found == ["event trigger evt: missing on the target"]  # it needs a superuser
    assert {"SCHEMA-OWNER", "SCHEMA-RIGHTS", "SCHEMA-REFUSED"} <= events


def test_a_made_database_gets_the_settings_of_the_source(source_cluster, target_cluster, awkward_db, tmp_path):
    name = f"t_{secrets.token_hex(4)} made"
    plan = make_plan(source_cluster, target_cluster, [(awkward_db, name)], tmp_path, incremental=False)
    with source_cluster.connect() as connection:
        connection.execute(f'ALTER DATABASE "{awkward_db}" SET search_path TO "we ird ""sch%ema", public')
        connection.execute(f'ALTER DATABASE "{awkward_db}" CONNECTION LIMIT 7')
        connection.execute(f"ALTER ROLE awkward_owner IN DATABASE \"{awkward_db}\" SET work_mem = '9MB'")
        connection.execute(f'REVOKE TEMPORARY ON DATABASE "{awkward_db}" FROM PUBLIC')
        connection.execute(f"COMMENT ON DATABASE \"{awkward_db}\" IS 'it; ''s'")
    query = (
        "SELECT array_agg(concat_ws(' ', setrole::regrole, setconfig) ORDER BY setrole),"
        " has_database_privilege('awkward_owner', current_database(), 'TEMP'),"
        " shobj_description(d.oid, 'pg_database') FROM pg_database d"
        " JOIN pg_db_role_setting s ON s.setdatabase = d.oid WHERE datname = current_database() GROUP BY d.oid"
    )
    try:
        with running(plan) as run:
            migrate(run)
            events = {code for _, code, _ in fakes(run.ports)[1].events}
        with source_cluster.connect(awkward_db) as one, target_cluster.connect(name) as other:
            assert other.execute(query.encode()).fetchone() == one.execute(query.encode()).fetchone()
            assert column(other, "SELECT datconnlimit FROM pg_database WHERE datname = current_database()") == [-1]
    finally:
        with target_cluster.connect() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    assert events == {"SCHEMA-RIGHTS"}


def test_code_of_a_source_owner_does_not_run_with_our_rights(
    source_cluster, target_cluster, source_db, target_db, tmp_path
):
    trojan = """
        CREATE FUNCTION public.horse() RETURNS void LANGUAGE plpgsql AS
          'BEGIN EXECUTE ''CREATE ROLE trojan SUPERUSER''; EXCEPTION WHEN OTHERS THEN NULL; END';
        CREATE FUNCTION public.trojan(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
          'BEGIN PERFORM public.horse(); RETURN i; END';
        CREATE TABLE public.bait (id int PRIMARY KEY); INSERT INTO public.bait VALUES (1);
        ALTER TABLE public.bait OWNER TO awkward_owner; ALTER FUNCTION public.trojan OWNER TO awkward_owner;
        CREATE INDEX ON public.bait (public.trojan(id));
        CREATE MATERIALIZED VIEW public.lure AS SELECT public.trojan(id) FROM public.bait WITH NO DATA;
        ALTER MATERIALIZED VIEW public.lure OWNER TO awkward_owner; REFRESH MATERIALIZED VIEW public.lure;
    """
    with source_cluster.connect(source_db) as connection:
        connection.execute(trojan)
        connection.execute("DROP ROLE IF EXISTS trojan")
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path, incremental=False)
    with running(plan) as run:
        migrate(run)
    with target_cluster.connect(target_db) as connection:
        assert column(connection, "SELECT relispopulated FROM pg_class WHERE relname = 'lure'") == [True]
        assert column(connection, "SELECT rolname FROM pg_roles WHERE rolname = 'trojan'") == []


def test_a_partition_two_levels_down_has_the_trigger_in_its_own_state(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(
            "CREATE TABLE public.z_top (id int) PARTITION BY LIST (id);"
            "CREATE TABLE public.y_middle PARTITION OF public.z_top FOR VALUES IN (1) PARTITION BY LIST (id);"
            "CREATE TABLE public.a_leaf PARTITION OF public.y_middle FOR VALUES IN (1);"
            "CREATE FUNCTION public.stay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
            "CREATE TRIGGER t BEFORE INSERT ON public.z_top FOR EACH ROW EXECUTE FUNCTION public.stay();"
            "ALTER TABLE public.a_leaf ENABLE REPLICA TRIGGER t"
        )
    with running(plan) as run:
        migrate(run)
    with target_cluster.connect(database.target_name) as connection:
        states = "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 't' ORDER BY tgrelid::regclass::text"
        assert column(connection, states) == ["R", "O", "O"]


def test_a_materialized_view_holds_what_its_owner_may_see(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(
            "CREATE TABLE public.guarded (id int, mine bool); INSERT INTO public.guarded VALUES (1, true), (2, false);"
            "ALTER TABLE public.guarded ENABLE ROW LEVEL SECURITY; GRANT SELECT ON public.guarded TO awkward_owner;"
            "CREATE POLICY own ON public.guarded TO awkward_owner USING (mine);"
            "CREATE MATERIALIZED VIEW public.seen AS SELECT id FROM public.guarded WITH NO DATA;"
            "ALTER MATERIALIZED VIEW public.seen OWNER TO awkward_owner; REFRESH MATERIALIZED VIEW public.seen"
        )
    with running(plan) as run:
        migrate(run)
        assert "MATVIEW-EMPTY" not in {code for _, code, _ in fakes(run.ports)[1].events}
    with target_cluster.connect(database.target_name) as connection:
        assert column(connection, "SELECT id FROM public.seen") == [1]


def test_a_third_server_that_cannot_be_reached_is_no_lost_connection(source_cluster, target_cluster, plan):
    (database,) = plan.databases
    asking = (
        "CREATE OR REPLACE FUNCTION public.asks_elsewhere() RETURNS int LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'could not connect to server \"branch\"' USING ERRCODE = '08001'; END $$"
    )
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(
            "CREATE FUNCTION public.asks_elsewhere() RETURNS int LANGUAGE sql AS 'SELECT 1';"
            "CREATE MATERIALIZED VIEW public.from_branch AS SELECT public.asks_elsewhere() AS n;" + asking
        )
    with running(plan) as run:
        migrate(run)
        told = [text for _, code, text in fakes(run.ports)[1].events if code == "MATVIEW-EMPTY"]
    assert len(told) == 1
    assert "from_branch" in told[0]
    assert 'could not connect to server "branch" (08001)' in told[0]
