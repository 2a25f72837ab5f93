"""What reads other tables by a function is made when those are full: an index finds all, a check refuses none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import copy_plan
from migrations_app.engine.copying import Lane
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports, TableStatus
from migrations_app.engine.sql import query
from migrations_app.engine.states import StepName
from migrations_app.engine.table_work import TableWork
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres.compare_kit import plan_for, run_steps, server, structure_now
from tests.postgres.test_torture import by_pg_dump, told

LOOKUP = """
CREATE TABLE lookup (id int PRIMARY KEY, class text);
INSERT INTO lookup SELECT i, 'k' || i % 4 FROM generate_series(1, 40) i;
"""
INDEXED = """
CREATE FUNCTION class(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT class FROM public.lookup WHERE id = $1';
CREATE TABLE reader (id int PRIMARY KEY, l int); INSERT INTO reader SELECT i, i FROM generate_series(1, 40) i;
CREATE INDEX by_class ON reader (class(l)); CREATE INDEX a_few ON reader (id) WHERE class(l) = 'k1';
CREATE FUNCTION plain(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
CREATE INDEX at_once ON reader (plain(l));
"""
CHECKED = """
CREATE FUNCTION known(int) RETURNS bool LANGUAGE plpgsql AS
  'BEGIN RETURN EXISTS (SELECT FROM public.lookup WHERE id = $1); END';
CREATE FUNCTION indirectly(int) RETURNS bool LANGUAGE sql AS 'SELECT public.known($1)';
CREATE TABLE reader (id int CONSTRAINT reads CHECK (indirectly(id)), CONSTRAINT plain CHECK (id > 0));
INSERT INTO reader VALUES (1), (2), (2); COMMENT ON CONSTRAINT reads ON reader IS 'reads';
CREATE TABLE child () INHERITS (reader);
CREATE TABLE own (id int, CONSTRAINT plain CHECK (id > 0), CONSTRAINT reads CHECK (indirectly(id)));
ALTER TABLE own INHERIT child; INSERT INTO child VALUES (3); INSERT INTO own VALUES (4);
CREATE TABLE tree (id int, CONSTRAINT tree_reads CHECK (known(id))) PARTITION BY RANGE (id);
CREATE TABLE tree_1 PARTITION OF tree FOR VALUES FROM (0) TO (100); INSERT INTO tree VALUES (5);
CREATE TABLE unproved (id int); INSERT INTO unproved VALUES (-1); ALTER TABLE unproved ADD CHECK (known(id)) NOT VALID;
"""

DOMAINS = """
CREATE FUNCTION known(int) RETURNS bool LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM public.lookup WHERE id = $1)';
CREATE DOMAIN looked_up AS int CONSTRAINT reads CHECK (known(VALUE)) CONSTRAINT plain CHECK (VALUE > 0);
COMMENT ON CONSTRAINT reads ON DOMAIN looked_up IS 'reads';
CREATE DOMAIN unproved AS int; CREATE TABLE reader (id looked_up, u unproved);
INSERT INTO reader VALUES (1, -1), (2, 5); ALTER DOMAIN unproved ADD CHECK (known(VALUE)) NOT VALID;
"""


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> Plan:
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)


@pytest.fixture
def ports(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Ports:
    """Let `lookup` have its rows only when the other tables are done with, their indexes too."""
    ports = fake_ports()
    store, copy = cast(FakeStore, ports.store), Lane.copy_whole

    def others_first(lane: Lane, works: Sequence[TableWork]) -> None:
        if any(work.table.name == "lookup" for work in works):
            wait_until(lambda: _others_done(store, plan.databases[0].source_name), what="the other tables")
        copy(lane, works)

    monkeypatch.setattr(Lane, "copy_whole", others_first)
    monkeypatch.setattr(copy_plan, "_SMALL_TABLE_BYTES", -1)
    return ports


def _others_done(store: FakeStore, database: str) -> bool:
    return all(one.status is TableStatus.DONE for one in store.tables(database) if one.name != "lookup")


def migrate(plan: Plan, ports: Ports) -> FakeStore:
    store = run_steps(plan, ports)
    assert all(comparison.equal for comparison in store.comparisons)
    return store


def words(store: FakeStore) -> list[str]:
    return [str(note.words) for notes in store.notes.values() for note in notes]


def complete(plan: Plan, ports: Ports) -> FakeStore:
    cast(FakeControl, ports.control).complete = True
    with Executor(plan, ports) as executor:
        for step in (StepName.SYNC, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP):
            assert executor.run(step).done
    return cast(FakeStore, ports.store)


def put(cluster: Cluster, plan: Plan, text: str) -> None:
    with cluster.connect(plan.databases[0].source_name) as connection:
        connection.execute(text.encode())


@pytest.mark.sample(1)
@pytest.mark.parametrize("incremental", [False, True])
def test_an_index_has_the_entries_of_the_source(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    put(source_cluster, plan, LOOKUP + INDEXED)
    store = migrate(replace(plan, incremental=incremental), ports)
    assert told(store) == []
    assert by_pg_dump(source_cluster, target_cluster, plan) == []
    with target_cluster.connect(plan.databases[0].target_name) as there:
        there.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        for asked in (
            "SELECT count(*) FROM reader WHERE class(l) = 'k1'",
            "SELECT count(id) FROM reader WHERE class(l) = 'k1' AND id > 0",
        ):
            shown: list[Any] = there.execute(f"EXPLAIN {asked}".encode()).fetchall()
            assert any("using by_class" in str(line) or "using a_few" in str(line) for line in shown)
            assert there.execute(asked.encode()).fetchone() == (10,)
        shown = there.execute("SELECT count(*) FROM pg_stats WHERE tablename = 'by_class'").fetchall()
        assert shown == [(1,)]


@pytest.mark.sample(1)
@pytest.mark.parametrize("incremental", [False, True])
def test_a_check_lets_the_rows_in_and_is_proved_afterwards(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    put(source_cluster, plan, LOOKUP + CHECKED)
    store = migrate(replace(plan, incremental=incremental), ports)
    assert told(store) == []
    assert by_pg_dump(source_cluster, target_cluster, plan) == []
    asked = (
        "SELECT conrelid::regclass::text, conname, conislocal, coninhcount, convalidated"
        " FROM pg_constraint WHERE contype = 'c' AND conrelid >= 16384 ORDER BY 1, 2"
    )
    with (
        source_cluster.connect(plan.databases[0].source_name) as here,
        target_cluster.connect(plan.databases[0].target_name) as there,
    ):
        assert here.execute(asked.encode()).fetchall() == there.execute(asked.encode()).fetchall()


def test_while_the_sync_runs_no_check_that_waits_is_told_to_be_missing_nor_what_others_have_of_it(
    plan: Plan, source_cluster: Cluster
) -> None:
    plan, ports = replace(plan, incremental=True), fake_ports()
    with source_cluster.connect(plan.databases[0].source_name) as source:
        source.execute((LOOKUP + CHECKED).encode())
    run_steps(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)
    assert [note.title for note in structure_now(plan, ports) if note.kind == "constraint"] == []


@pytest.mark.sample(1)
@pytest.mark.parametrize("incremental", [False, True])
def test_a_check_of_a_domain_lets_the_rows_in_and_comes_back(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    put(source_cluster, plan, LOOKUP + DOMAINS)
    store = migrate(replace(plan, incremental=incremental), ports)
    assert told(store) == []
    assert by_pg_dump(source_cluster, target_cluster, plan) == []


def test_a_check_that_the_rows_of_the_source_do_not_meet_any_more_is_told(
    plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    put(source_cluster, plan, LOOKUP + CHECKED + "DELETE FROM lookup WHERE id = 2")
    store = migrate(plan, ports)
    notes = [(title, what) for title, what, _ in told(store)]
    assert ("constraint reads on public.reader", "not validated on the target") in notes


@pytest.mark.long
def test_under_another_name_of_its_schema_it_is_made_too(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    put(
        source_cluster,
        plan,
        LOOKUP + "CREATE SCHEMA old; SET search_path = old, public;"
        "CREATE FUNCTION known(int) RETURNS bool LANGUAGE sql AS"
        " 'SELECT EXISTS (SELECT FROM public.lookup WHERE id = $1)';"
        "CREATE TABLE reader (id int CONSTRAINT reads CHECK (known(id))); INSERT INTO reader VALUES (1)",
    )
    selection = replace(plan.selection, schema_targets={(database.source_name, "old"): "new"})
    store = migrate(replace(plan, selection=selection), ports)
    assert told(store) == []
    with target_cluster.connect(database.target_name) as there:
        asked = "SELECT pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE conname = 'reads'"
        assert there.execute(asked).fetchall() == [("CHECK (new.known(id))", True)]


@pytest.mark.sample(1)
@pytest.mark.parametrize("incremental", [False, True])
def test_a_check_that_tells_the_time_lets_old_rows_in_and_is_told(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    tokens = "CREATE TABLE tokens (id int PRIMARY KEY, expires timestamptz CHECK (expires > now()));"
    born = (
        "CREATE TABLE born (day date PRIMARY KEY CHECK (day <= CURRENT_DATE)); INSERT INTO born VALUES ('2000-01-01')"
    )
    put(source_cluster, plan, tokens + "INSERT INTO tokens VALUES (1, now() + interval '1 ms');" + born)
    store = migrate(replace(plan, incremental=incremental), fake_ports())
    [(title, what, statement)] = told(store)
    assert (title, what) == ("constraint tokens_expires_check on public.tokens", "not validated on the target")
    assert statement == 'ALTER TABLE "public"."tokens" VALIDATE CONSTRAINT "tokens_expires_check";'
    assert words(store) == [
        'rows do not fit: check constraint "tokens_expires_check" of relation "tokens" is violated by some row (23514)'
    ]
    with target_cluster.connect(plan.databases[0].target_name) as there:
        asked = "SELECT convalidated FROM pg_constraint WHERE conname = '{}_check'"
        assert there.execute(asked.format("born_day").encode()).fetchall() == [(True,)]
        assert there.execute(asked.format("tokens_expires").encode()).fetchall() == [(False,)]
        assert there.execute("SELECT id FROM tokens").fetchall() == [(1,)]


TELLING = """
CREATE FUNCTION fresh(timestamptz) RETURNS bool LANGUAGE sql AS 'SELECT $1 > now()';
CREATE FUNCTION young(timestamptz) RETURNS bool LANGUAGE sql RETURN $1 > CURRENT_TIMESTAMP;
CREATE TABLE a (t timestamptz CONSTRAINT by_function CHECK (fresh(t)));
CREATE TABLE b (t timestamp CONSTRAINT by_word CHECK (t > ('now'::text)::timestamp));
CREATE TABLE c (t timestamptz CONSTRAINT by_body CHECK (young(t)));
INSERT INTO a VALUES (now() + interval '5 ms'); INSERT INTO b VALUES (now() + interval '5 ms');
INSERT INTO c VALUES (now() + interval '5 ms');
"""


def test_a_check_that_tells_the_time_by_a_word_of_older_servers_or_by_a_function_lets_old_rows_in(
    plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    # A dump carries ('now'::text)::timestamp, which is LOCALTIMESTAMP of a server before 10, on into all later ones.
    put(source_cluster, plan, TELLING)
    names = {title for title, _, _ in told(migrate(plan, ports))}
    assert names == {
        "constraint by_body on public.c",
        "constraint by_function on public.a",
        "constraint by_word on public.b",
    }


FRESH = """
CREATE DOMAIN fresh AS timestamptz CONSTRAINT not_old CHECK (VALUE > now());
CREATE DOMAIN known_day AS date CONSTRAINT not_yet CHECK (VALUE <= CURRENT_DATE);
CREATE TABLE tokens (id int PRIMARY KEY, expires fresh, day known_day);
INSERT INTO tokens VALUES (1, now() + interval '1 ms', '2000-01-01');
"""


@pytest.mark.sample(1)
@pytest.mark.parametrize("incremental", [False, True])
def test_a_check_of_a_domain_that_tells_the_time_lets_old_rows_in_and_is_told(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, incremental: bool
) -> None:
    put(source_cluster, plan, FRESH)
    store = migrate(replace(plan, incremental=incremental), fake_ports())
    [(title, what, statement)] = told(store)
    assert (title, statement) == ("domain public.fresh", 'ALTER DOMAIN "public"."fresh" VALIDATE CONSTRAINT "not_old";')
    [said] = words(store)
    assert "contains values that violate the new constraint (23514)" in said
    assert what.endswith("not_old CHECK ((VALUE > now())) NOT VALID on the target")
    with target_cluster.connect(plan.databases[0].target_name) as there:
        asked = "SELECT conname::text, convalidated FROM pg_constraint WHERE contypid <> 0 AND oid >= 16384 ORDER BY 1"
        assert there.execute(asked).fetchall() == [("not_old", False), ("not_yet", True)]
        assert there.execute("SELECT id FROM tokens").fetchall() == [(1,)]


RENAMED = """
ALTER TABLE tokens RENAME day TO birth; ALTER TABLE tokens RENAME CONSTRAINT born TO born_at;
ALTER TABLE tokens DROP CONSTRAINT dropped;
"""


def test_a_row_of_the_sync_may_have_grown_old_on_its_way(
    plan: Plan, ports: Ports, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    tokens = "CREATE TABLE tokens (id int PRIMARY KEY, expires timestamptz CONSTRAINT alive CHECK (expires > now()));"
    put(source_cluster, plan, LOOKUP + FRESH.replace("tokens", "others") + tokens + CHECKED)
    plan, ports = replace(plan, incremental=True), fake_ports()
    store = run_steps(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)
    assert told(store) == []  # what comes back at Complete is not missing before
    put(
        source_cluster,
        plan,
        "INSERT INTO tokens VALUES (1, now() + interval '1 ms');"
        "INSERT INTO others VALUES (2, now() + interval '1 ms', '2000-01-01'); INSERT INTO lookup VALUES (77, 'new');"
        "INSERT INTO reader VALUES (77)",
    )
    complete(plan, ports)
    assert {title for title, _, _ in told(store)} == {"constraint alive on public.tokens", "domain public.fresh"}
    with target_cluster.connect(plan.databases[0].target_name) as there:
        asked = "SELECT conname::text, convalidated FROM pg_constraint WHERE conname IN ('alive', 'not_old', 'reads')"
        found = sorted(set(there.execute(asked.encode()).fetchall()))
        assert found == [("alive", False), ("not_old", False), ("reads", True)]


def test_a_check_that_waits_comes_back_as_the_source_has_it_at_complete(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    put(
        source_cluster,
        plan,
        "CREATE TABLE tokens (id int PRIMARY KEY, day date, gone int, CONSTRAINT born CHECK (day <= CURRENT_DATE),"
        " CONSTRAINT dropped CHECK (gone < random() + 9)); INSERT INTO tokens VALUES (1, '2000-01-01', 1)",
    )
    plan, ports = replace(plan, incremental=True), fake_ports()
    run_steps(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)
    put(source_cluster, plan, RENAMED)
    with target_cluster.connect(plan.databases[0].target_name) as there:
        there.execute("ALTER TABLE tokens RENAME day TO birth")
    store = complete(plan, ports)
    assert told(store) == []
    with target_cluster.connect(plan.databases[0].target_name) as there:
        asked = "SELECT conname::text, pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE conrelid <> 0"
        found = there.execute(f"{asked} AND contype = 'c'".encode()).fetchall()
        assert found == [("born_at", "CHECK ((birth <= CURRENT_DATE))", True)]


@pytest.mark.sample(1)
@pytest.mark.parametrize("on_both", [False, True])
def test_a_check_of_a_domain_that_was_renamed_comes_back_to_the_one_that_is_there(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster, on_both: bool
) -> None:
    put(source_cluster, plan, "CREATE DOMAIN known_day AS date CONSTRAINT not_yet CHECK (VALUE <= CURRENT_DATE)")
    put(source_cluster, plan, "CREATE TABLE t (id int PRIMARY KEY)")
    plan, ports = replace(plan, incremental=True), fake_ports()
    run_steps(plan, ports, StepName.SCHEMA, StepName.COPY, StepName.INDEX)
    put(source_cluster, plan, "ALTER DOMAIN known_day RENAME TO day_of_all")
    with target_cluster.connect(plan.databases[0].target_name) as there:
        if on_both:
            there.execute("ALTER DOMAIN known_day RENAME TO day_of_all")
        complete(plan, ports)
        asked = "SELECT contypid::regtype::text FROM pg_constraint WHERE conname = 'not_yet'"
        assert there.execute(asked).fetchall() == [("day_of_all" if on_both else "known_day",)]


def test_the_bodies_of_functions_are_looked_through_once_however_many_checks_call_them(
    source_cluster: Cluster, source_db: str
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE FUNCTION odd(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 % 2 = 1'")
        for number in range(20):
            connection.execute(f"CREATE FUNCTION beside_{number}() RETURNS int LANGUAGE sql AS 'SELECT {number}'")
            connection.execute(f"CREATE TABLE t_{number} (i int CHECK (odd(i)), j int CHECK (odd(j)))")
        connection.execute("SELECT pg_catalog.set_config('search_path', '', false)")
        told = connection.execute(b"EXPLAIN (ANALYZE, TIMING OFF) " + query("late_objects").encode()).fetchall()
    (beside,) = [str(line) for (line,) in told if "CTE Scan on own x" in str(line)]
    assert "loops=1)" in beside
