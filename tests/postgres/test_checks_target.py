"""Check items about the target: what is there already, what it offers, and limits."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.names import quote
from migrations_app.engine.plan import DatabasePlan, Plan, Side
from migrations_app.engine.selection import Selection
from tests import impostors
from tests.postgres import checks_kit
from tests.postgres.checks_kit import check, inflate, login, plan

Connection = psycopg.Connection[tuple[object, ...]]


# Fixtures that stand in the kit.
task = checks_kit.task
shop = checks_kit.shop
there = checks_kit.there


def to(task: Plan, name: str) -> Plan:
    return replace(task, databases=(DatabasePlan(source_name=task.databases[0].source_name, target_name=name),))


_KINDS = {
    "table": "CREATE TABLE thing (id serial PRIMARY KEY)",
    "view": "CREATE VIEW thing AS SELECT 1 AS one",
    "materialized view": "CREATE MATERIALIZED VIEW thing AS SELECT 1 AS one",
    "sequence": "CREATE SEQUENCE thing",
    "type": "CREATE TYPE thing AS ENUM ('a')",
    "domain": "CREATE DOMAIN thing AS int",
    "composite": "CREATE TYPE thing AS (a int)",
}


@pytest.mark.parametrize("statement", _KINDS.values(), ids=_KINDS)
def test_an_object_of_the_same_name_fails_and_the_shown_statement_clears_it(
    statement: str, shop: Connection, there: Connection, task: Plan
) -> None:
    shop.execute(statement)
    assert check(task, "target-conflicts").status == "passed"
    there.execute(statement)
    result = check(task, "target-conflicts")
    assert result.status == "failed"
    assert result.found.startswith("1 object ")
    assert "public.thing" in result.found
    there.execute(result.sql)
    assert check(task, "target-conflicts").status == "passed"


def test_an_index_of_the_same_name_on_another_table_fails(shop: Connection, there: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE a (i int); CREATE INDEX thing ON a (i)")
    there.execute("CREATE TABLE b (i int); CREATE INDEX thing ON b (i)")
    assert "index public.thing" in check(task, "target-conflicts").found


def test_an_index_of_an_extensions_own_table_is_not_in_the_way(shop: Connection, there: Connection, task: Plan) -> None:
    for side in (shop, there):
        side.execute("CREATE EXTENSION vector; CREATE TABLE systems (id serial PRIMARY KEY)")
        side.execute("ALTER EXTENSION vector ADD TABLE systems")
    assert check(task, "target-conflicts").status == "passed"


def test_a_table_that_is_not_selected_may_be_there(
    shop: Connection, there: Connection, task: Plan, source_db: str
) -> None:
    for side in (shop, there):
        side.execute("CREATE TABLE kept (id serial PRIMARY KEY)")
    shop.execute("CREATE TABLE wanted (i int)")
    partial = replace(task, selection=Selection(rules={(source_db, "public", "wanted"): True}))
    assert check(partial, "target-conflicts").status == "passed"
    assert check(partial, "target-empty").status == "warning"


def test_the_same_name_in_another_case_is_another_object(shop: Connection, there: Connection, task: Plan) -> None:
    shop.execute('CREATE TABLE "Thing" (i int)')
    there.execute("CREATE TABLE thing (i int)")
    assert check(task, "target-conflicts").status == "passed"


def test_a_function_of_the_same_name_is_a_warning(shop: Connection, there: Connection, task: Plan) -> None:
    for side in (shop, there):
        side.execute("CREATE FUNCTION twice(i int) RETURNS int LANGUAGE sql AS 'SELECT i * 2'")
    assert check(task, "target-conflicts").status == "warning"


def test_only_the_first_twenty_conflicts_are_listed(shop: Connection, there: Connection, task: Plan) -> None:
    for side in (shop, there):
        for number in range(25):
            side.execute(f"CREATE TABLE t_{number:02} (i int)")
    result = check(task, "target-conflicts")
    assert result.found.startswith("25 objects ")
    assert "and 5 more" in result.found
    assert "t_24" not in result.found


def test_a_trace_of_an_earlier_run_is_pointed_out(shop: Connection, there: Connection, task: Plan) -> None:
    for side in (shop, there):
        side.execute("CREATE TABLE t (i int)")
    there.execute("CREATE SCHEMA towpath; CREATE TABLE towpath.bookmark (i int)")
    assert "Start again" in check(task, "target-conflicts").hint


def test_a_large_object_of_the_same_number_fails_and_the_shown_statement_clears_it(
    shop: Connection, there: Connection, task: Plan
) -> None:
    shop.execute("SELECT lo_create(4711), lo_create(4712)")
    there.execute("SELECT lo_create(4712), lo_create(4713)")
    result = check(task, "target-large-objects")
    assert (result.status, result.sql) == ("failed", "SELECT lo_unlink(4712);")
    there.execute(result.sql)
    assert check(task, "target-large-objects").status == "passed"


def test_other_objects_on_the_target_are_a_warning(there: Connection, task: Plan) -> None:
    assert check(task, "target-empty").status == "passed"
    there.execute("CREATE TABLE somebody (i int)")
    result = check(task, "target-empty")
    assert (result.status, "public.somebody" in result.found) == ("warning", True)


def test_a_target_database_that_does_not_exist_yet_has_no_conflicts(shop: Connection, task: Plan) -> None:
    missing = to(task, "not yet there")
    for code in ("target-conflicts", "target-empty", "encoding", "locale", "event-triggers"):
        assert check(missing, code).status == "passed"


def test_the_needed_disk_space_is_told_and_a_warning_when_large(
    shop: Connection, task: Plan, source_cluster: Cluster
) -> None:
    shop.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS i")
    result = check(task, "target-disk")
    assert result.status == "passed"
    assert "kB" in result.found
    inflate(source_cluster, shop, "t", 10)
    result = check(task, "target-disk")
    assert (result.status, "about 21 GB may be needed" in result.found) == ("warning", True)


def test_an_extension_that_the_target_offers_passes(shop: Connection, task: Plan) -> None:
    assert "no extensions" in check(task, "extensions").found
    shop.execute("CREATE EXTENSION vector")
    assert check(task, "extensions").status == "passed"


def test_an_extension_that_the_target_lacks_fails_when_it_is_needed(
    shop: Connection, task: Plan, source_db: str
) -> None:
    shop.execute("CREATE EXTENSION vector; CREATE TABLE a (v vector(3)); CREATE TABLE b (i int)")
    shop.execute("SET allow_system_table_mods = on")
    shop.execute("UPDATE pg_extension SET extname = 'made_up' WHERE extname = 'vector'")
    only_a, only_b = (replace(task, selection=Selection(rules={(source_db, "public", t): True})) for t in "ab")
    assert check(task, "extensions").status == "failed"
    assert check(only_a, "extensions").status == "failed"
    assert check(only_b, "extensions").status == "warning"


def test_an_extension_that_only_a_superuser_may_create_is_a_warning(
    shop: Connection, there: Connection, task: Plan
) -> None:
    shop.execute("CREATE EXTENSION vector")
    there.execute("CREATE ROLE ext_writer LOGIN PASSWORD 'x'")
    try:
        stranger = replace(task, target=replace(task.target, user="ext_writer", password="x"))
        trusted = there.execute(
            "SELECT bool_or(trusted) FROM pg_available_extension_versions WHERE name = 'vector'"
        ).fetchone()
        assert check(stranger, "extensions").status == ("passed" if trusted == (True,) else "warning")
    finally:
        there.execute("DROP ROLE ext_writer")


@pytest.mark.parametrize(
    ("source", "target", "status"),
    [
        ("UTF8", "UTF8", "passed"),
        ("LATIN1", "UTF8", "warning"),
        ("UTF8", "LATIN1", "failed"),
        ("SQL_ASCII", "UTF8", "failed"),
        ("SQL_ASCII", "SQL_ASCII", "passed"),
    ],
)
def test_encodings_are_compared(
    source: str, target: str, status: str, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    name = f"enc_{source}_{target}".lower()
    for cluster, encoding in ((source_cluster, source), (target_cluster, target)):
        with cluster.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        task = plan(login(source_cluster), login(target_cluster), [(name, name)])
        assert check(task, "encoding").status == status
    finally:
        for cluster in (source_cluster, target_cluster):
            with cluster.connect() as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_another_locale_on_the_target_is_a_warning(target_cluster: Cluster, task: Plan) -> None:
    assert check(task, "locale").status == "passed"
    with target_cluster.connect() as connection:
        connection.execute("CREATE DATABASE plain_c LOCALE 'C' TEMPLATE template0")
    try:
        assert check(to(task, "plain_c"), "locale").status == "warning"
    finally:
        with target_cluster.connect() as connection:
            connection.execute("DROP DATABASE plain_c WITH (FORCE)")


def test_a_locale_that_the_target_does_not_know_is_a_warning(shop: Connection, task: Plan, source_db: str) -> None:
    shop.execute("SET allow_system_table_mods = on")
    shop.execute("UPDATE pg_database SET datcollate = 'xx_XX.utf8' WHERE datname = 'template0'")
    try:
        elsewhere = DatabasePlan(source_name="template0", target_name="new one")
        from migrations_app.engine.checks import structure
        from migrations_app.engine.checks.context import Context
        from tests.fakes import FakeControl

        with Context(task, FakeControl()) as context:
            context.source_database = lambda name: context.databases(Side.SOURCE)[name]  # type: ignore
            assert structure.locale(context, elsewhere).status == "warning"
    finally:
        shop.execute("UPDATE pg_database SET datcollate = 'C.UTF-8' WHERE datname = 'template0'")


def test_a_collation_that_the_target_lacks_fails(shop: Connection, task: Plan) -> None:
    assert check(task, "collations").status == "passed"
    shop.execute("SET allow_system_table_mods = on")
    shop.execute("CREATE COLLATION own (provider = libc, locale = 'C'); CREATE TABLE t (a text COLLATE own)")
    assert check(task, "collations").status == "passed"
    shop.execute("UPDATE pg_collation SET collcollate = 'xx_XX' WHERE collname = 'own'")
    assert check(task, "collations").status == "failed"
    shop.execute("UPDATE pg_collation SET collcollate = 'C' WHERE collname = 'own'")
    assert check(task, "collations").status == "passed"
    shop.execute("UPDATE pg_collation SET collprovider = 'i' WHERE collname = 'own'")
    result = check(task, "collations")
    assert result.status == "failed"
    assert "collation own" in result.found


def test_a_tablespace_is_a_warning(
    source_cluster: Cluster, shop: Connection, task: Plan, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert check(task, "tablespaces").status == "passed"
    shop.execute("SET allow_in_place_tablespaces = on")
    shop.execute("CREATE TABLESPACE elsewhere LOCATION ''")
    try:
        shop.execute("CREATE TABLE t (i int) TABLESPACE elsewhere")
        result = check(task, "tablespaces")
        assert (result.status, "elsewhere" in result.found) == ("warning", True)
    finally:
        shop.execute("DROP TABLE IF EXISTS t")
        shop.execute("DROP TABLESPACE elsewhere")


def test_few_free_connections_are_a_warning_that_says_what_to_set(task: Plan) -> None:
    for code in ("source-connections", "target-connections"):
        assert check(task, code).status == "passed"
        result = check(replace(task, copy_jobs=1000), code)
        assert (result.status, result.needs_restart) == ("warning", True)
        assert result.sql.startswith("ALTER SYSTEM SET max_connections = 1")
        assert f"restart the {code.split('-')[0]}" in result.hint
        assert bool(result.fix) == code.startswith("source")


def test_a_connection_limit_of_the_account_counts(source_cluster: Cluster, task: Plan, shop: Connection) -> None:
    shop.execute("CREATE ROLE few LOGIN PASSWORD 'x' CONNECTION LIMIT 3")
    modest = replace(task, source=replace(task.source, user="few", password="x"))
    try:
        result = check(modest, "source-connections")
        assert (result.status, result.needs_restart) == ("warning", False)
        shop.execute(result.sql)
        assert check(modest, "source-connections").status == "passed"
    finally:
        shop.execute("DROP ROLE few")


def test_sessions_that_the_account_has_already_count_against_its_limit(
    source_cluster: Cluster, task: Plan, shop: Connection
) -> None:
    shop.execute("CREATE ROLE busy LOGIN PASSWORD 'x' CONNECTION LIMIT 20")
    modest = replace(task, source=replace(task.source, user="busy", password="x"))
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(16):
                stack.enter_context(source_cluster.connect(user="busy", password="x"))
            result = check(modest, "source-connections")
            assert result.status == "warning"
            shop.execute(result.sql)
            assert check(modest, "source-connections").status == "passed"
    finally:
        shop.execute("DROP ROLE busy")


def test_a_connection_limit_of_the_database_counts_for_accounts_that_it_binds(task: Plan, shop: Connection) -> None:
    name = task.databases[0].source_name
    shop.execute(f"CREATE ROLE bound LOGIN PASSWORD 'x'; ALTER DATABASE \"{name}\" CONNECTION LIMIT 3".encode())
    try:
        modest = replace(task, source=replace(task.source, user="bound", password="x"))
        result = check(modest, "source-connections")
        assert (result.status, name in result.found) == ("failed", True)
        assert check(task, "source-connections").status == "passed"
        shop.execute(result.sql)
        assert check(modest, "source-connections").status == "passed"
    finally:
        shop.execute(f'ALTER DATABASE "{name}" CONNECTION LIMIT -1; DROP ROLE bound'.encode())


def test_fewer_connections_than_a_migration_needs_at_least_fail(task: Plan, shop: Connection) -> None:
    shop.execute("CREATE ROLE two LOGIN PASSWORD 'x' CONNECTION LIMIT 2")
    try:
        modest = replace(task, source=replace(task.source, user="two", password="x"))
        assert check(modest, "source-connections").status == "failed"
    finally:
        shop.execute("DROP ROLE two")


@pytest.fixture
def hasty(shop: Connection, there: Connection, task: Plan) -> Iterator[Plan]:
    """The task with accounts and databases that limit whatever takes long, on both servers."""
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"]
    try:
        for side in (shop, there):
            side.execute("CREATE ROLE hasty LOGIN SUPERUSER PASSWORD 'x'")
            for name in [*names, *(["transaction_timeout"] if side.info.server_version >= 170000 else [])]:
                side.execute(f"ALTER DATABASE {quote(side.info.dbname)} SET {name} = '5min'")
                side.execute(f"ALTER ROLE hasty SET {name} = '6min'")
        source, target = (replace(server, user="hasty", password="x") for server in (task.source, task.target))
        yield replace(task, source=source, target=target)
    finally:
        for side in (shop, there):
            side.execute("DROP ROLE IF EXISTS hasty")


def test_timeouts_of_databases_and_accounts_are_overridden(hasty: Plan, task: Plan, source_cluster: Cluster) -> None:
    with source_cluster.connect(task.databases[0].source_name) as ordinary:
        assert ordinary.execute("SHOW statement_timeout").fetchone() == ("5min",)
    assert check(task, "timeouts").status == "passed"
    assert check(hasty, "timeouts").status == "passed"


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("name", ["statement_timeout", "transaction_timeout"])
def test_a_timeout_that_a_login_trigger_sets_is_a_warning_and_the_shown_statement_stops_it(
    side: str, name: str, source_cluster: Cluster, target_cluster: Cluster, there: Connection, task: Plan
) -> None:
    if side == "source":  # only 17 and later have such triggers
        task = plan(login(target_cluster), login(source_cluster), [(task.databases[0].target_name, "not there")])
    assert check(task, "timeouts").status == "passed"
    there.execute(
        "CREATE FUNCTION hurry() RETURNS event_trigger LANGUAGE plpgsql"
        f" AS $$BEGIN PERFORM pg_catalog.set_config('{name}', '5min', false); END$$"
    )
    there.execute('CREATE EVENT TRIGGER "Hur ry" ON login EXECUTE FUNCTION hurry()')
    result = check(task, "timeouts")
    assert result.status == "warning"
    assert f"{name} is 5min on the {side}" in result.found
    there.execute(result.sql)
    assert check(task, "timeouts").status == "passed"


@pytest.mark.parametrize("side", ["source", "target"])
def test_settings_that_a_pooler_drops_fail(
    side: str, source_cluster: Cluster, target_cluster: Cluster, task: Plan
) -> None:
    server = source_cluster if side == "source" else target_cluster
    with impostors.listening(impostors.forgetting_options(server.port)) as port:
        address = {side: replace(getattr(task, side), port=port)}
        assert check(replace(task, **address), f"{side}-login").status == "passed"
        result = check(replace(task, **address), "timeouts")
    assert result.status == "failed"
    assert f"do not reach the {side}" in result.found


def test_pg_dump_is_found_or_its_absence_fails(task: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert check(task, "pg-dump").status == "passed"
    monkeypatch.setenv("TOWPATH_PG_BIN_DIR", str(tmp_path))
    assert check(task, "pg-dump").status == "failed"
