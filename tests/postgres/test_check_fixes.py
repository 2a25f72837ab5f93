"""What the Fix buttons do to real servers: what they show, nothing else, and the item passes afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.checks import fixes
from migrations_app.engine.checks.fixes import Fix, FixFailed, fix_of, run_fix
from migrations_app.engine.checks.registry import CheckResult
from migrations_app.engine.errors import ConnectFailed, PlanError
from migrations_app.engine.names import quote
from migrations_app.engine.plan import Plan
from tests.postgres import checks_kit
from tests.postgres.checks_kit import check

Connection = psycopg.Connection[tuple[object, ...]]


# Fixtures that stand in the kit.
task = checks_kit.task
shop = checks_kit.shop


@pytest.fixture
def target(target_cluster: Cluster) -> Iterator[Connection]:
    with target_cluster.connect() as connection:
        yield connection


def mend(task: Plan, result: CheckResult) -> Fix:
    """Do what the Fix button of this result does."""
    fix = fix_of(result.fix, result.fix_arguments)
    run_fix(task, fix)
    return fix


def undo(task: Plan, fix: Fix) -> None:
    run_fix(task, replace(fix, statements=fix.undo))


def identities(shop: Connection) -> dict[str, str]:
    rows = shop.execute("SELECT relname, relreplident::text FROM pg_class WHERE relkind = 'r' AND oid > 16383")
    return {str(name): str(identity) for name, identity in rows.fetchall()}


def test_tables_without_a_key_get_a_replica_identity_by_their_unique_index_or_the_whole_row(
    shop: Connection, task: Plan
) -> None:
    shop.execute('CREATE TABLE "Order Lines" (i int)')
    shop.execute("CREATE TABLE coded (code text NOT NULL UNIQUE, i int)")
    shop.execute("CREATE TABLE silent (i int); ALTER TABLE silent REPLICA IDENTITY NOTHING")
    fix = mend(task, check(task, "table-keys"))
    assert identities(shop) == {"Order Lines": "f", "coded": "i", "silent": "f"}
    assert check(task, "table-keys").status == "passed"
    assert [one.sql for one in fix.statements] == [
        'ALTER TABLE "public"."Order Lines" REPLICA IDENTITY FULL;',
        'ALTER TABLE "public"."coded" REPLICA IDENTITY USING INDEX "coded_code_key";',
        'ALTER TABLE "public"."silent" REPLICA IDENTITY FULL;',
    ]
    undo(task, fix)
    assert identities(shop) == {"Order Lines": "d", "coded": "d", "silent": "n"}


def test_an_index_over_columns_that_may_be_null_does_not_stand_for_a_key(shop: Connection, task: Plan) -> None:
    shop.execute(
        "CREATE TABLE partly (a int NOT NULL, b int, UNIQUE (b)); CREATE UNIQUE INDEX ON partly (a) WHERE b > 0"
    )
    mend(task, check(task, "table-keys"))
    assert identities(shop) == {"partly": "f"}


def test_what_was_done_before_a_refusal_is_told_with_the_servers_reason(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE TABLE first (i int); CREATE TABLE second (i int)")
    result = check(task, "table-keys")
    shop.execute("DROP TABLE second")
    with pytest.raises(FixFailed, match=r'relation "public.second" does not exist \(42P01\)') as caught:
        mend(task, result)
    assert "this was done and stays" in caught.value.message
    assert identities(shop) == {"first": "f"}


def test_a_table_in_use_is_not_waited_for_long(
    shop: Connection, source_cluster: Cluster, source_db: str, task: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixes, "LOCK_WAIT", "200ms")
    shop.execute("CREATE TABLE busy (i int)")
    result = check(task, "table-keys")
    with source_cluster.connect(source_db) as application, application.transaction():
        application.execute("LOCK TABLE busy")
        with pytest.raises(FixFailed) as caught:
            mend(task, result)
    assert "try again" in caught.value.hint
    assert "Nothing was changed" in caught.value.message


@pytest.mark.parametrize("inherits", ["INHERIT", "NOINHERIT"])
def test_missing_owners_are_made_and_the_account_may_act_for_them(
    shop: Connection, target: Connection, source_cluster: Cluster, task: Plan, inherits: str
) -> None:
    owner, mover = (f"{word}_{secrets.token_hex(4)}" for word in ("owner", "mover"))
    shop.execute(f"CREATE ROLE {owner}; CREATE TABLE t (i int PRIMARY KEY); ALTER TABLE t OWNER TO {owner}")
    target.execute(f"CREATE ROLE {mover} LOGIN CREATEROLE {inherits} PASSWORD 'x'")
    limited = replace(task, target=replace(task.target, user=mover, password="x"))
    try:
        fix = mend(limited, check(limited, "target-roles"))
        assert check(limited, "target-roles").status == "passed"
        assert fix.undo[0].sql == f"DROP ROLE {quote(owner)};"
    finally:
        target.execute(f"DROP ROLE IF EXISTS {owner}")
        target.execute(f"DROP ROLE {mover}")
        shop.execute(f"DROP OWNED BY {owner}; DROP ROLE {owner}")


def test_an_account_that_may_not_make_roles_is_offered_none(shop: Connection, target: Connection, task: Plan) -> None:
    owner, mover = (f"{word}_{secrets.token_hex(4)}" for word in ("owner", "mover"))
    shop.execute(f"CREATE ROLE {owner}; CREATE TABLE t (i int PRIMARY KEY); ALTER TABLE t OWNER TO {owner}")
    target.execute(f"CREATE ROLE {mover} LOGIN PASSWORD 'x'")
    try:
        limited = replace(task, target=replace(task.target, user=mover, password="x"))
        assert check(limited, "target-roles").fix == ""
    finally:
        target.execute(f"DROP ROLE {mover}")
        shop.execute(f"DROP OWNED BY {owner}; DROP ROLE {owner}")


def test_a_missing_target_database_is_made_early_like_the_sources(target: Connection, task: Plan) -> None:
    name = f"early_{secrets.token_hex(4)}"
    early = replace(task, databases=(replace(task.databases[0], target_name=name),))
    fix = mend(early, check(early, "target-create"))
    try:
        assert fix.statements[0].sql.startswith(f'CREATE DATABASE "{name}" TEMPLATE template0 ENCODING')
        result = check(early, "target-create")
        assert (result.status, result.fix) == ("passed", "")
    finally:
        undo(early, fix)
    assert target.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None


def test_missing_schemas_are_made_early_and_stand_in_nobodys_way(
    shop: Connection, target_cluster: Cluster, target_db: str, task: Plan
) -> None:
    shop.execute('CREATE SCHEMA "Sales"; CREATE TABLE "Sales".orders (i int PRIMARY KEY)')
    before = check(task, "target-create")
    assert "It will create schema Sales" in before.found
    fix = mend(task, before)
    with target_cluster.connect(target_db) as connection:
        assert connection.execute("SELECT FROM pg_namespace WHERE nspname = 'Sales'").fetchone() is not None
    after = check(task, "target-create")
    assert (before.status, after.status, after.fix) == ("passed", "passed", "")
    assert check(task, "target-conflicts").status == "passed"
    undo(task, fix)


def test_an_account_that_may_not_create_the_database_is_not_offered_to(target: Connection, task: Plan) -> None:
    mover = f"mover_{secrets.token_hex(4)}"
    target.execute(f"CREATE ROLE {mover} LOGIN PASSWORD 'x'")
    limited = replace(task, target=replace(task.target, user=mover, password="x"))
    gone = replace(limited, databases=(replace(task.databases[0], target_name="not_there"),))
    try:
        assert (check(gone, "target-create").status, check(gone, "target-create").fix) == ("failed", "")
    finally:
        target.execute(f"DROP ROLE {mover}")


def test_extensions_are_made_with_their_schema_and_database(target: Connection, task: Plan) -> None:
    name = f"made_{secrets.token_hex(4)}"
    create = {"encoding": "UTF8", "collate": "C", "ctype": "C", "provider": "c", "locale": None}
    arguments = {"database": name, "create": create, "extensions": [["plpgsql", "pg_catalog"]]}
    try:
        fix = fix_of("extensions", arguments)
        run_fix(task, fix)
        run_fix(task, fix)  # what is there already stays
        row = target.execute("SELECT datcollate FROM pg_database WHERE datname = %s", (name,)).fetchone()
        assert row == ("C",)
        undo(task, fix)
        assert target.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is None
    finally:
        target.execute(f"DROP DATABASE IF EXISTS {name}")


def test_extensions_are_offered_to_accounts_of_vendors_only(
    shop: Connection, target: Connection, task: Plan, target_cluster: Cluster
) -> None:
    offered = target.execute(
        "SELECT name FROM pg_available_extension_versions WHERE superuser AND NOT trusted AND requires IS NULL LIMIT 1"
    ).fetchone()
    assert offered is not None
    mover = f"mover_{secrets.token_hex(4)}"
    with shop.transaction():
        shop.execute("CREATE SCHEMA ext")
    shop.execute(f'CREATE EXTENSION "{offered[0]}" SCHEMA ext')
    target.execute(f"CREATE ROLE {mover} LOGIN PASSWORD 'x'; CREATE ROLE rds_superuser")
    limited = replace(task, target=replace(task.target, user=mover, password="x"))
    try:
        assert check(limited, "extensions").fix == ""
        target.execute(f"GRANT rds_superuser TO {mover}; ALTER ROLE {mover} CREATEDB")
        result = check(limited, "extensions")
        fix = fix_of(result.fix, result.fix_arguments)
        assert 'CREATE SCHEMA IF NOT EXISTS "ext";' in [one.sql for one in fix.statements]
        with pytest.raises(FixFailed, match="refused"):
            run_fix(limited, fix)
    finally:
        target.execute(f"DROP ROLE {mover}; DROP ROLE rds_superuser")


def test_a_setting_is_written_and_taken_back(task: Plan, source_cluster: Cluster) -> None:
    fix = fix_of("settings", {"settings": [["wal_sender_timeout", "61s", "60000"]], "restart": False})
    run_fix(task, fix)
    with source_cluster.connect() as connection:
        rows = connection.execute("SELECT setting FROM pg_file_settings WHERE name = 'wal_sender_timeout'").fetchall()
        assert rows[-1] == ("61s",)
        undo(task, fix)
        connection.execute("ALTER SYSTEM RESET wal_sender_timeout")
        connection.execute("SELECT pg_reload_conf()")


def test_too_few_slots_are_raised_by_a_superuser_with_a_restart_to_come(task: Plan) -> None:
    many = replace(task, databases=task.databases * 200)
    result = check(many, "replication-slots")
    fix = fix_of(result.fix, result.fix_arguments)
    assert fix.needs_restart
    assert fix.statements[0].sql.startswith("ALTER SYSTEM SET max_replication_slots = '2")


def test_a_server_that_is_away_refuses_the_fix(task: Plan) -> None:
    gone = replace(task, target=replace(task.target, port=1))
    with pytest.raises(ConnectFailed):
        run_fix(gone, fix_of("schemas", {"database": "x", "schemas": ["a"]}))


def test_schemas_are_made_once(task: Plan, target_cluster: Cluster, target_db: str) -> None:
    fix = fix_of("schemas", {"database": target_db, "schemas": ['we"ird']})
    for _ in range(2):
        run_fix(task, fix)
    with target_cluster.connect(target_db) as connection:
        assert connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'we\"ird'").fetchone() == (1,)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("unknown", {}),
        ("settings", {"settings": [["archive_command", "rm", ""]]}),
        ("settings", {"settings": [["wal_level"]]}),
        ("schemas", {}),
        ("schemas", {"database": "a", "schemas": []}),
        ("schemas", {"database": "a", "schemas": ["nul\x00"]}),
    ],
)
def test_what_is_not_a_known_fix_is_refused(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        fix_of(name, arguments)
