"""What a target refuses is told with its cause and its statement; only what the rows need stops the task."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import structure
from migrations_app.engine.catalog import read_tables
from migrations_app.engine.errors import SourceError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.restore import Refused
from migrations_app.engine.source_setup import fix_identities
from migrations_app.engine.states import StepName
from tests.fakes import FakeStore, fake_ports
from tests.postgres.compare_kit import plan_for, server, structure_now
from tests.postgres.engine_runs import make_plan, running

BASE_TYPE = """
CREATE TYPE {name};
CREATE FUNCTION {name}_in(cstring) RETURNS {name} LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION {name}_out({name}) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
CREATE TYPE {name} (INPUT = {name}_in, OUTPUT = {name}_out, INTERNALLENGTH = 4, PASSEDBYVALUE, ALIGNMENT = int4);
CREATE TABLE of_{name} (id integer PRIMARY KEY, value {name});
CREATE VIEW seen_{name} AS SELECT id FROM of_{name};
"""


@pytest.fixture
def plan(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any
) -> Iterator[Plan]:
    """The target account owns its database and is no superuser."""
    role = f"mover_{secrets.token_hex(4)}"
    with target_cluster.connect() as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'mover'".encode())
        connection.execute(f'ALTER DATABASE "{target_db}" OWNER TO {role}'.encode())
    plan = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)
    yield replace(plan, target=replace(plan.target, user=role, password="mover"))
    with target_cluster.connect(target_db) as connection:
        connection.execute(f"DROP OWNED BY {role} CASCADE".encode())
    with target_cluster.connect() as connection:
        connection.execute(f'ALTER DATABASE "{target_db}" OWNER TO postgres'.encode())
        connection.execute(f"DROP ROLE {role}".encode())


def write(cluster: Cluster, database: str, text: str) -> None:
    with cluster.connect(database) as connection:
        connection.execute(text.encode())


def test_everything_that_the_rows_need_and_the_target_refuses_is_named_at_once(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    database = plan.databases[0]
    kinds = BASE_TYPE.format(name="first") + BASE_TYPE.format(name="second")
    write(source_cluster, database.source_name, kinds + "CREATE TABLE plain (id int); INSERT INTO plain VALUES (1)")
    ports = fake_ports()
    with Executor(plan, ports) as executor, pytest.raises(Refused) as caught:
        executor.run(StepName.SCHEMA)
    said = caught.value.message
    assert "TYPE public.first: missing right:" in said
    assert "TYPE public.second: missing right:" in said
    assert "depend on them" in said
    assert "of_first" not in said  # it only hangs on what is named
    assert "Give the target account the right" in caught.value.hint
    notes = cast(FakeStore, ports.store).notes[database.source_name]
    assert {note.title for note in notes} >= {"shell type public.first", "shell type public.second"}
    assert all("CREATE TYPE public." in note.statement and "(42501)" in note.words for note in notes)
    with target_cluster.connect(database.target_name) as connection:
        assert connection.execute("SELECT count(*) FROM plain").fetchone() == (0,)  # stopped before the rows


def test_what_the_rows_can_do_without_is_listed_with_its_cause_and_the_task_ends(
    plan: Plan, source_cluster: Cluster
) -> None:
    name = f"only_there_{secrets.token_hex(4)}"
    database = plan.databases[0]
    write(
        source_cluster,
        database.source_name,
        f"CREATE ROLE {name}; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1);"
        f"CREATE POLICY p ON t TO {name}; GRANT SELECT ON t TO {name};"
        "CREATE FUNCTION watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
        "CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION watch();"
        "CREATE FOREIGN DATA WRAPPER far;"
        "CREATE SERVER there FOREIGN DATA WRAPPER far OPTIONS (host 'h', secret 'hush');"
        f"CREATE USER MAPPING FOR {name} SERVER there OPTIONS (user 'u', password 'hush');"
        "CREATE FUNCTION inner_one(int) RETURNS int LANGUAGE internal AS 'int4abs'",
    )
    ports = fake_ports()
    try:
        with Executor(plan, ports) as executor:
            for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.COMPARE, StepName.COMPLETE):
                assert executor.run(step).done
    finally:
        with source_cluster.connect(database.source_name) as connection:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())
    store = cast(FakeStore, ports.store)
    assert all(comparison.equal for comparison in store.comparisons)
    notes = {note.title: note for note in store.notes[database.source_name]}
    assert notes["policy p on public.t"].words.startswith("missing role: ")
    assert notes["policy p on public.t"].statement.startswith("CREATE POLICY p ON public.t")
    assert notes["event trigger e"].words.startswith("missing right: ")
    assert notes["function public.inner_one(integer)"].words.startswith("missing right: ")
    assert notes["table public.t"].statement == f'GRANT SELECT ON TABLE "public"."t" TO "{name}";'
    assert notes["table public.t"].words.startswith("missing role: ")
    assert notes["foreign server there"].statement.endswith("secret '...'\n);")
    assert "hush" not in str([store.notes, store.events, store.details])
    assert "objects owned by" in notes["owner postgres"].what


def test_grants_that_the_target_refused_say_why_once_and_default_privileges_where(
    plan: Plan, source_cluster: Cluster
) -> None:
    name = f"only_there_{secrets.token_hex(4)}"
    database = plan.databases[0]
    write(
        source_cluster,
        database.source_name,
        f"CREATE ROLE {name}; CREATE TABLE t (id int PRIMARY KEY, a int, b int);"
        f"GRANT SELECT ON t TO {name}; GRANT UPDATE (a, b) ON t TO {name};"
        f"CREATE SCHEMA inside; ALTER DEFAULT PRIVILEGES IN SCHEMA inside GRANT SELECT ON TABLES TO {name};",
    )
    ports = fake_ports()
    try:
        with Executor(plan, ports) as executor:
            for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.COMPARE, StepName.COMPLETE):
                assert executor.run(step).done
    finally:
        with source_cluster.connect(database.source_name) as connection:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())
    notes = {note.title: note for note in cast(FakeStore, ports.store).notes[database.source_name]}
    once = f'missing role: role "{name}" does not exist (42704)'
    assert [notes[title].words for title in ("table public.t", "column a on public.t", "column b on public.t")] == [
        once
    ] * 3
    assert notes["default privileges of postgres for tables in schema inside"].words == once


def test_what_hangs_on_something_without_rows_that_was_refused_stops_nothing(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    database = plan.databases[0]
    write(
        source_cluster,
        database.source_name,
        # 18 has no such column any more
        "CREATE VIEW old AS SELECT attname::text, attcacheoff FROM pg_attribute;"
        "ALTER VIEW old ALTER attname SET DEFAULT 'x';"
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER there FOREIGN DATA WRAPPER far;"
        "CREATE TABLE parted (id int) PARTITION BY LIST (id);"
        "CREATE TABLE near PARTITION OF parted FOR VALUES IN (1); INSERT INTO parted VALUES (1);"
        "CREATE FOREIGN TABLE distant PARTITION OF parted FOR VALUES IN (2) SERVER there",
    )
    ports = fake_ports()
    with Executor(plan, ports) as executor:
        for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX, StepName.COMPARE, StepName.COMPLETE):
            assert executor.run(step).done
    store = cast(FakeStore, ports.store)
    titles = {note.title for note in store.notes[database.source_name]}
    assert titles >= {"view public.old", "foreign table public.distant"}
    with target_cluster.connect(database.target_name) as connection:
        assert connection.execute("SELECT id FROM parted").fetchall() == [(1,)]


def test_a_default_that_a_table_needs_stops_the_task(plan: Plan, source_cluster: Cluster) -> None:
    database = plan.databases[0]
    write(
        source_cluster,
        database.source_name,
        "CREATE FUNCTION inner_one(int) RETURNS int LANGUAGE internal AS 'int4abs';"
        "CREATE TABLE t (id int DEFAULT inner_one(1)); CREATE VIEW old AS SELECT attcacheoff FROM pg_attribute",
    )
    with Executor(plan, fake_ports()) as executor, pytest.raises(Refused, match=r"public\.t"):
        executor.run(StepName.SCHEMA)


def test_what_the_target_refused_is_told_also_when_the_structures_cannot_be_compared(
    plan: Plan, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = plan.databases[0]
    inner = "CREATE FUNCTION inner_one(int) RETURNS int LANGUAGE internal AS 'int4abs'; CREATE TABLE t (i int)"
    write(source_cluster, database.source_name, inner)
    ports = fake_ports()
    with Executor(plan, ports) as executor:
        executor.run(StepName.SCHEMA)

    def refuse(*_: Any) -> None:
        raise psycopg.errors.InsufficientPrivilege("permission denied for table pg_something")

    monkeypatch.setattr(structure, "read_things", refuse)
    notes = {note.title: note for note in structure_now(plan, ports)}
    assert "permission denied for table pg_something" in notes[f"structure {database.source_name}"].what
    refused = notes["function public.inner_one(integer)"]
    assert refused.words.startswith("missing right: ")
    assert refused.statement.startswith("CREATE FUNCTION public.inner_one(")


def test_every_table_whose_replica_identity_is_not_ours_to_set_is_named_with_its_statement(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)
    with source_cluster.connect(source_db) as connection:
        for number in range(60):
            connection.execute(f"CREATE TABLE bare_{number} (i int)".encode())
        foreign = [replace(table, is_owner=False) for table in read_tables(connection)]
        with running(plan) as run, pytest.raises(SourceError) as refused:
            fix_identities(run, plan.databases[0], connection, foreign)
    first, *statements = refused.value.hint.split("\n")
    assert first.endswith(":")
    assert {f'ALTER TABLE "public"."bare_{number}" REPLICA IDENTITY FULL;' for number in range(60)} == set(statements)
