"""Check items about incremental sync, passed and failed on real servers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import ConnectFailed
from migrations_app.engine.names import publication_name
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.probe import open_session
from migrations_app.engine.selection import Selection
from tests.fakes import wait_until
from tests.folders import public_folder
from tests.postgres import checks_kit
from tests.postgres.checks_kit import check, login, plan

TIGHT = {"max_slot_wal_keep_size": "64MB", "wal_sender_timeout": "2s"}


def alter_system(connection: psycopg.Connection, name: str, value: str | None, *, shown: str = "") -> None:
    """Set a server's setting (None: reset it) and wait until sessions see it as `shown`."""
    connection.execute(f"ALTER SYSTEM SET {name} = '{value}'" if value else f"ALTER SYSTEM RESET {name}")
    connection.execute("SELECT pg_reload_conf()")
    wait_until(lambda: connection.execute(f"SHOW {name}").fetchone() == (shown or value,), what=f"{name} is {value}")


@pytest.fixture(scope="module")
def poor() -> Iterator[Cluster]:
    """A server whose settings are wrong or tight for incremental sync."""
    settings = {
        "wal_level": "replica",
        "max_replication_slots": "1",
        "max_wal_senders": "1",
        "max_prepared_transactions": "5",
        "max_locks_per_transaction": "10",
        "max_connections": "20",
    }
    with public_folder("poor") as folder:
        cluster = Cluster(folder=folder / "server", major=16, settings=settings)
        cluster.create()
        cluster.start()
        with cluster.connect() as connection:
            connection.execute("CREATE DATABASE shop")
            connection.execute("CREATE ROLE plain LOGIN PASSWORD 'x'")
            connection.execute("CREATE ROLE streamer LOGIN REPLICATION PASSWORD 'x'")
            for name, value in TIGHT.items():  # not at the start, which nothing could override
                alter_system(connection, name, value)
        yield cluster
        cluster.stop()


@pytest.fixture
def poor_plan(poor: Cluster, target_cluster: Cluster) -> Plan:
    return plan(login(poor), login(target_cluster), [("shop", "shop")])


@pytest.fixture
def good_plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Plan:
    return plan(login(source_cluster), login(target_cluster), [(source_db, target_db)])


# Fixtures that stand in the kit.
shop = checks_kit.shop


@pytest.fixture
def owner(source_cluster: Cluster, source_db: str) -> Iterator[str]:
    """An account that may replicate but owns nothing."""
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE ROLE check_owner LOGIN REPLICATION PASSWORD 'x'")
        yield "check_owner"
        connection.execute("DROP OWNED BY check_owner; DROP ROLE check_owner")


def as_user(task: Plan, user: str) -> Plan:
    return replace(task, source=replace(task.source, user=user, password="x"))


@pytest.mark.parametrize("code", ["wal-level", "replication-slots", "wal-senders"])
def test_a_setting_that_is_too_low_fails_with_the_statement_and_the_restart(code: str, poor_plan: Plan) -> None:
    result = check(poor_plan, code)
    assert result.status == "failed"
    assert result.needs_restart
    assert result.sql.startswith("ALTER SYSTEM SET ")


@pytest.mark.parametrize("code", ["wal-level", "replication-slots", "wal-senders"])
def test_a_source_that_is_prepared_passes(code: str, good_plan: Plan) -> None:
    assert check(good_plan, code).status == "passed"


def test_the_copied_statements_make_the_server_fit(poor: Cluster, poor_plan: Plan) -> None:
    result = check(poor_plan, "replication-slots")
    with poor.connect() as connection:
        connection.execute(result.sql)
        try:
            row = connection.execute(
                "SELECT setting FROM pg_file_settings WHERE name = 'max_replication_slots'"
            ).fetchone()
            assert row == ("2",)
        finally:
            connection.execute("ALTER SYSTEM RESET max_replication_slots")


def test_slots_in_use_are_counted_against_the_free_ones(shop: psycopg.Connection, good_plan: Plan) -> None:
    assert check(good_plan, "replication-slots").status == "passed"
    (limit,) = shop.execute("SELECT current_setting('max_replication_slots')::int").fetchone() or (0,)
    try:
        with contextlib.suppress(psycopg.errors.ConfigurationLimitExceeded):
            while True:
                shop.execute(
                    "SELECT pg_create_physical_replication_slot('somebody_' || count(*)) FROM pg_replication_slots"
                )
        result = check(good_plan, "replication-slots")
    finally:
        shop.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '^somebody_'"
        )
    assert (result.status, result.needs_restart) == ("failed", True)
    assert f"0 of {limit}" in result.found
    assert result.sql == f"ALTER SYSTEM SET max_replication_slots = {limit + 2};"
    assert check(good_plan, "replication-slots").status == "passed"


def test_an_account_without_the_replication_privilege_fails_twice_with_the_grant(
    poor: Cluster, poor_plan: Plan
) -> None:
    task = as_user(poor_plan, "plain")
    privilege, really = check(task, "replication-privilege"), check(task, "replication-login")
    assert (privilege.status, really.status) == ("failed", "failed")
    assert privilege.sql == really.sql == 'ALTER ROLE "plain" REPLICATION;'


def test_an_account_with_the_replication_privilege_passes(poor_plan: Plan, good_plan: Plan) -> None:
    assert check(as_user(poor_plan, "streamer"), "replication-privilege").status == "passed"
    assert check(good_plan, "replication-login").status == "passed"


def test_a_member_of_a_vendors_replication_role_passes_without_the_attribute(poor: Cluster, poor_plan: Plan) -> None:
    with poor.connect() as connection:
        connection.execute("CREATE ROLE rds_replication; GRANT rds_replication TO plain")
        try:
            result = check(as_user(poor_plan, "plain"), "replication-privilege")
        finally:
            connection.execute("DROP ROLE rds_replication")
    assert (result.status, "member of rds_replication" in result.found) == ("passed", True)


@pytest.mark.parametrize("code", ["replication-privilege", "replication-login"])
def test_a_vendors_role_is_offered_where_no_attribute_can_be_given(code: str, poor: Cluster, poor_plan: Plan) -> None:
    with poor.connect() as connection:
        connection.execute("CREATE ROLE rds_replication")
        try:
            result = check(as_user(poor_plan, "plain"), code)
        finally:
            connection.execute("DROP ROLE rds_replication")
    assert (result.status, result.sql) == ("failed", 'GRANT "rds_replication" TO "plain";')


def test_a_replication_login_that_finds_no_free_sender_fails_and_names_the_setting(
    poor: Cluster, poor_plan: Plan
) -> None:
    def opened() -> psycopg.Connection[tuple[object, ...]] | None:
        try:
            return open_session(poor_plan.source, Side.SOURCE, "shop", replication=True)
        except ConnectFailed:  # the only sender may still be busy with ending
            return None

    with wait_until(opened, what="the only sender is ours"):
        result = check(poor_plan, "replication-login")
    assert (result.status, "max_wal_senders" in result.hint) == ("failed", True)
    wait_until(lambda: check(poor_plan, "replication-login").status == "passed", what="the sender is free again")


@pytest.mark.parametrize("code", ["slot-wal-limit", "wal-sender-timeout"])
def test_the_statements_of_a_sync_warning_are_enough(code: str, poor: Cluster, poor_plan: Plan) -> None:
    result = check(poor_plan, code)
    assert result.status == "warning"
    setting = result.sql.split()[3]
    with poor.connect() as connection:
        try:
            for statement in result.sql.splitlines():
                connection.execute(statement)
            wait_until(lambda: check(poor_plan, code).status == "passed", what=f"{setting} is in force")
        finally:
            alter_system(connection, setting, TIGHT[setting])


def test_the_replication_login_is_really_tried(poor: Cluster, poor_plan: Plan) -> None:
    task = as_user(poor_plan, "streamer")
    wait_until(lambda: check(task, "replication-login").status == "passed", what="the only sender is free")
    hba = poor.data / "pg_hba.conf"
    kept = hba.read_text()
    hba.write_text("host shop streamer all reject\n" + kept)
    try:
        with poor.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
        result = check(task, "replication-login")
        assert result.status == "failed"
        assert "does not let the account streamer in" in result.found
    finally:
        hba.write_text(kept)
        with poor.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")


def test_a_tight_limit_of_kept_wal_is_a_warning(poor_plan: Plan, good_plan: Plan) -> None:
    result = check(poor_plan, "slot-wal-limit")
    assert result.status == "warning"
    assert "64 MB" in result.found
    assert check(good_plan, "slot-wal-limit").status == "passed"


@contextlib.contextmanager
def idle_slots_dropped_after(cluster: Cluster, limit: str) -> Iterator[None]:
    """Let a server of version 18 drop idle slots for a while."""
    name = "idle_replication_slot_timeout"
    with cluster.connect() as connection:
        try:
            alter_system(connection, name, limit)
            yield
        finally:
            alter_system(connection, name, None, shown="0")


@pytest.mark.parametrize(("limit", "status"), [("10min", "warning"), ("23h", "warning"), ("2d", "passed")])
def test_a_server_that_soon_drops_idle_slots_is_a_warning(
    limit: str, status: str, source_cluster: Cluster, target_cluster: Cluster, target_db: str
) -> None:
    task = plan(login(target_cluster), login(source_cluster), [(target_db, "b")])
    assert check(task, "slot-wal-limit").status == "passed"
    with idle_slots_dropped_after(target_cluster, limit):
        result = check(task, "slot-wal-limit")
        assert (result.status, f"idle for {limit}." in result.found) == (status, status == "warning")


def test_the_statement_shown_for_idle_slots_lifts_their_limit(
    source_cluster: Cluster, target_cluster: Cluster, target_db: str
) -> None:
    task = plan(login(target_cluster), login(source_cluster), [(target_db, "b")])
    with idle_slots_dropped_after(target_cluster, "10min"), target_cluster.connect() as connection:
        for statement in check(task, "slot-wal-limit").sql.splitlines():
            connection.execute(statement)
        wait_until(lambda: check(task, "slot-wal-limit").status == "passed", what="the limit is lifted")


def test_a_short_sender_timeout_is_a_warning(poor_plan: Plan, good_plan: Plan) -> None:
    assert check(poor_plan, "wal-sender-timeout").status == "warning"
    assert check(good_plan, "wal-sender-timeout").status == "passed"


def test_a_long_writing_transaction_is_a_warning_with_its_pid(shop: psycopg.Connection, good_plan: Plan) -> None:
    shop.execute("CREATE TABLE t (i int)")
    with shop.transaction(), mock.patch("migrations_app.engine.checks.sync_now.LONG_TRANSACTION_SECONDS", 0):
        shop.execute("INSERT INTO t VALUES (1)")
        result = check(good_plan, "long-transactions")
    assert result.status == "warning"
    assert f"PID {shop.info.backend_pid} of postgres" in result.found
    assert str(shop.info.backend_pid) in result.sql


def test_a_short_transaction_and_an_idle_reader_pass(shop: psycopg.Connection, good_plan: Plan) -> None:
    shop.execute("CREATE TABLE t (i int)")
    with shop.transaction():
        shop.execute("SELECT * FROM t")
        assert check(good_plan, "long-transactions").status == "passed"


def test_transactions_whose_age_the_account_may_not_see_are_told(
    shop: psycopg.Connection, good_plan: Plan, owner: str
) -> None:
    shop.execute("CREATE TABLE t (i int)")
    with shop.transaction():
        shop.execute("INSERT INTO t VALUES (1)")
        result = check(as_user(good_plan, owner), "long-transactions")
    assert (result.status, "pg_monitor" in result.hint) == ("passed", True)


def test_a_prepared_transaction_is_a_warning_that_names_it(poor: Cluster, poor_plan: Plan) -> None:
    assert check(poor_plan, "prepared-transactions").status == "passed"
    with poor.connect("shop", autocommit=True) as connection:
        connection.execute("BEGIN; CREATE TABLE pending (i int); PREPARE TRANSACTION 'it''s me'")
        try:
            result = check(poor_plan, "prepared-transactions")
        finally:
            connection.execute("ROLLBACK PREPARED 'it''s me'")
    assert result.status == "warning"
    assert "it's me" in result.found
    assert "ROLLBACK PREPARED 'it''s me'" in result.sql


def test_unused_slots_and_publications_of_ours_are_a_warning_with_the_statements(
    shop: psycopg.Connection, good_plan: Plan
) -> None:
    assert check(good_plan, "leftovers").status == "passed"
    shop.execute(f'CREATE PUBLICATION "{publication_name("0badcafe", 1)}"')
    shop.execute("SELECT pg_create_logical_replication_slot('towpath_0badcafe_2', 'pgoutput')")
    result = check(good_plan, "leftovers")
    assert result.status == "warning"
    shop.execute(result.sql)
    assert check(good_plan, "leftovers").status == "passed"


def test_slots_and_publications_of_another_unfinished_task_of_the_console_are_not_left_over(
    shop: psycopg.Connection, good_plan: Plan
) -> None:
    shop.execute(f'CREATE PUBLICATION "{publication_name("0badcafe", 1)}"')
    shop.execute("SELECT pg_create_logical_replication_slot('towpath_0badcafe_1', 'pgoutput')")
    try:
        assert check(good_plan, "leftovers").status == "warning"
        assert check(replace(good_plan, at_work=frozenset({"0badcafe"})), "leftovers").status == "passed"
    finally:
        shop.execute("SELECT pg_drop_replication_slot('towpath_0badcafe_1')")


def test_a_table_without_a_key_is_a_warning_when_it_is_ours(shop: psycopg.Connection, good_plan: Plan) -> None:
    shop.execute("CREATE TABLE keyed (i int PRIMARY KEY)")
    assert check(good_plan, "table-keys").status == "passed"
    shop.execute('CREATE TABLE "No Key" (i int)')
    result = check(good_plan, "table-keys")
    assert result.status == "warning"
    assert "public.No Key" in result.found
    shop.execute(result.sql)
    assert check(good_plan, "table-keys").status == "passed"


def test_a_table_without_a_key_fails_when_it_belongs_to_somebody_else(
    shop: psycopg.Connection, good_plan: Plan, owner: str
) -> None:
    shop.execute(f"CREATE TABLE bare (i int); GRANT SELECT ON bare TO {owner}")
    assert check(as_user(good_plan, owner), "table-keys").status == "failed"


def test_publishing_needs_ownership_and_create_on_the_database(
    shop: psycopg.Connection, good_plan: Plan, owner: str, source_db: str
) -> None:
    task = as_user(good_plan, owner)
    shop.execute("CREATE TABLE t (i int PRIMARY KEY)")
    result = check(task, "publication-rights")
    assert (result.status, "1 selected table belongs to other accounts" in result.found) == ("failed", True)
    shop.execute(f"ALTER TABLE t OWNER TO {owner}")
    result = check(task, "publication-rights")
    assert result.status == "failed"
    shop.execute(result.sql)
    assert check(task, "publication-rights").status == "passed"
    shop.execute(f'REVOKE ALL ON DATABASE "{source_db}" FROM {owner}')


def test_a_trigger_that_fires_always_is_a_warning(shop: psycopg.Connection, good_plan: Plan) -> None:
    shop.execute("CREATE TABLE t (i int PRIMARY KEY)")
    shop.execute(
        "CREATE TRIGGER loud BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    )
    assert check(good_plan, "always-triggers").status == "passed"
    shop.execute("ALTER TABLE t ENABLE ALWAYS TRIGGER loud")
    result = check(good_plan, "always-triggers")
    assert (result.status, "loud on public.t" in result.found) == ("warning", True)


def test_an_unlogged_table_is_a_warning(shop: psycopg.Connection, good_plan: Plan) -> None:
    assert check(good_plan, "unlogged-tables").status == "passed"
    shop.execute("CREATE UNLOGGED TABLE quick (i int PRIMARY KEY)")
    assert check(good_plan, "unlogged-tables").status == "warning"


def test_tables_that_are_not_selected_do_not_matter(shop: psycopg.Connection, good_plan: Plan, source_db: str) -> None:
    shop.execute("CREATE TABLE keyed (i int PRIMARY KEY); CREATE UNLOGGED TABLE bare (doc json)")
    task = replace(good_plan, selection=Selection(rules={(source_db, "public", "keyed"): True}))
    for code in ("table-keys", "keyless-types", "unlogged-tables"):
        assert check(task, code).status == "passed"


def test_more_tables_than_the_server_can_lock_are_read_in_pieces(poor: Cluster, poor_plan: Plan) -> None:
    assert check(poor_plan, "source-locks").status == "passed"
    with poor.connect("shop") as connection:
        for tables, status in ((range(100), "passed"), (range(100, 260), "warning")):
            for number in tables:
                connection.execute(f"CREATE TABLE many_{number} (i int)")
            result = check(poor_plan, "source-locks")
            assert (result.status, result.needs_restart) == (status, status == "warning")
        assert "read in 3 pieces" in result.found
        for number in range(260):
            connection.execute(f"DROP TABLE many_{number}")
