"""Check items about what answers at the addresses, and about the source as a running server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.checks.fixes import fix_of
from migrations_app.engine.names import quote
from migrations_app.engine.plan import DatabasePlan, Neighbour, Others, Plan
from migrations_app.engine.replication import bookmark
from tests import impostors
from tests.folders import public_folder
from tests.postgres import checks_kit
from tests.postgres.checks_kit import check, inflate, login, plan, use_up_transactions

Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def task(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Plan:
    """The task of two databases that are also those of the logins, so that a test may give them settings."""
    source, target = login(source_cluster, database=source_db), login(target_cluster, database=target_db)
    return plan(source, target, [(source_db, target_db)])


# Fixtures that stand in the kit.
shop = checks_kit.shop
there = checks_kit.there


def at(task: Plan, side: str, port: int) -> Plan:
    return replace(task, **{side: replace(getattr(task, side), port=port)})


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_server_with_the_catalog_of_another_product_fails(side: str, request: pytest.FixtureRequest) -> None:
    task = request.getfixturevalue("task")
    assert check(task, f"{side}-genuine").status == "passed"
    connection = request.getfixturevalue("shop" if side == "source" else "there")
    connection.execute("SET allow_system_table_mods = on")
    connection.execute("CREATE TABLE pg_catalog.gp_segment_configuration (i int)")
    result = check(task, f"{side}-genuine")
    assert result.status == "failed"
    assert "Greenplum" in result.found


def test_a_database_that_accepts_no_connections_is_opened_and_no_right_is_granted(
    source_cluster: Cluster, target_cluster: Cluster
) -> None:
    task = plan(login(source_cluster), login(target_cluster), [("closed", "closed")])
    with source_cluster.connect() as connection:
        connection.execute("CREATE DATABASE closed ALLOW_CONNECTIONS false")
        try:
            result = check(task, "source-database")
            assert (result.status, "accepts no connections" in result.found) == ("failed", True)
            connection.execute(result.sql)
            assert check(task, "source-database").status == "passed"
        finally:
            connection.execute("DROP DATABASE closed WITH (FORCE)")


def test_rights_on_statistics_alone_are_told_not_to_show_the_wal_on_the_disk(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE ROLE seeing LOGIN PASSWORD 'x'; GRANT pg_read_all_stats TO seeing")
    try:
        seeing = replace(task, source=replace(task.source, user="seeing", password="x"))
        result = check(seeing, "monitoring-rights")
        assert (result.status, "pg_monitor" in result.hint) == ("passed", True)
        shop.execute("GRANT pg_monitor TO seeing")
        assert check(seeing, "monitoring-rights").hint == ""
    finally:
        shop.execute("DROP ROLE seeing")


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_pooler_fails_where_a_slot_is_needed_and_is_a_warning_elsewhere(side: str, task: Plan) -> None:
    with impostors.listening(impostors.pooling(getattr(task, side).port)) as port:
        result = check(at(task, side, port), f"{side}-genuine")
        full = check(replace(at(task, side, port), incremental=False), f"{side}-genuine")
    assert result.status == ("failed" if side == "source" else "warning")
    assert full.status == "warning"
    assert "pooler" in result.found


def test_an_address_that_leads_to_two_servers_fails(shop: Connection, there: Connection, task: Plan) -> None:
    try:
        for connection in (shop, there):
            connection.execute("CREATE ROLE balanced LOGIN PASSWORD 'x'")
        ports = [task.source.port] * 2 + [task.target.port] * 2  # each session is dialled once before it is opened
        with impostors.listening(impostors.balancing(*ports)) as port:
            source = replace(task.source, port=port, user="balanced", password="x", database="postgres")
            result = check(replace(task, source=source), "source-genuine")
        assert (result.status, "two different servers" in result.found) == ("failed", True)
    finally:
        for connection in (shop, there):
            connection.execute("DROP ROLE IF EXISTS balanced")


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_minor_version_with_known_faults_is_a_warning(side: str, task: Plan) -> None:
    assert check(task, f"{side}-minor-version").status == "passed"
    with impostors.listening(impostors.pretending("14.2")) as port:
        result = check(at(task, side, port), f"{side}-minor-version")
    assert result.status == "warning"
    assert "mended in 14.4" in result.found
    assert "mended in 14.18" in result.found


def test_a_database_that_cannot_be_entered_fails_by_itself(shop: Connection, task: Plan, source_db: str) -> None:
    assert check(task, "source-database").status == "passed"
    gone = (DatabasePlan(source_name="gone", target_name="gone"),)
    assert "no database gone" in check(replace(task, databases=gone), "source-database").found
    shop.execute("CREATE ROLE visitor LOGIN PASSWORD 'x'")
    try:
        shop.execute(f"REVOKE CONNECT ON DATABASE {quote(source_db)} FROM PUBLIC")
        visitor = replace(task, source=replace(task.source, user="visitor", password="x", database="postgres"))
        result = check(visitor, "source-database")
        assert result.status == "failed"
        shop.execute(result.sql)
        assert check(visitor, "source-database").status == "passed"
    finally:
        shop.execute("DROP OWNED BY visitor; DROP ROLE visitor")


@pytest.mark.parametrize("name", ["rds.logical_replication", "cloudsql.logical_decoding"])
def test_a_vendors_switch_that_is_off_fails(name: str, shop: Connection, task: Plan, source_db: str) -> None:
    assert check(task, "vendor-switch").status == "passed"
    shop.execute(f"ALTER DATABASE {quote(source_db)} SET {name} = 'off'")
    result = check(task, "vendor-switch")
    assert (result.status, result.needs_restart) == ("failed", True)
    shop.execute(f"ALTER DATABASE {quote(source_db)} SET {name} = 'on'")
    assert name in check(task, "vendor-switch").found
    assert check(task, "vendor-switch").status == "passed"


def test_little_memory_for_decoding_is_a_warning(shop: Connection, task: Plan, source_db: str) -> None:
    assert check(task, "decoding-memory").status == "passed"
    shop.execute(f"ALTER DATABASE {quote(source_db)} SET logical_decoding_work_mem = '1MB'")
    result = check(task, "decoding-memory")
    assert result.status == "warning"
    assert "is only 1 MB" in result.found


@pytest.fixture(scope="module")
def worn() -> Iterator[Cluster]:
    """A server that has used up half of its transaction ids and declares old snapshots too old."""
    settings = {"old_snapshot_threshold": "60min", "autovacuum_freeze_max_age": "2000000000"}
    with public_folder("worn") as folder:
        cluster = Cluster(folder=folder / "server", major=16, settings=settings)
        cluster.create()
        use_up_transactions(cluster, 1_000 << 20)
        cluster.start()
        yield cluster
        cluster.stop()


def test_a_threshold_for_old_snapshots_is_a_warning(task: Plan, worn: Cluster) -> None:
    assert check(task, "old-snapshots").status == "passed"
    result = check(replace(task, source=login(worn)), "old-snapshots")
    assert (result.status, result.needs_restart) == ("warning", True)
    assert "60 min" in result.found
    fix = fix_of(result.fix, result.fix_arguments)
    assert fix.statements[0].sql == "ALTER SYSTEM SET old_snapshot_threshold = '-1';"
    assert (fix.undo[0].sql, fix.needs_restart) == ("ALTER SYSTEM SET old_snapshot_threshold = '60';", True)


def test_old_transaction_ids_are_a_warning(task: Plan, worn: Cluster) -> None:
    assert check(task, "transaction-age").status == "passed"
    result = check(replace(task, source=login(worn)), "transaction-age")
    assert (result.status, " is 1,048,57" in result.found) == ("warning", True)


def test_a_slot_that_nobody_reads_is_a_warning(shop: Connection, task: Plan) -> None:
    shop.execute("SELECT pg_create_logical_replication_slot('forgotten', 'pgoutput')")
    try:
        assert check(task, "idle-slots").status == "passed"
        shop.execute("SET wal_init_zero = off")  # new files of WAL stay empty: a gigabyte in a moment
        for _ in range(65):
            shop.execute("SELECT pg_logical_emit_message(true, '', ''), pg_switch_wal()")
        result = check(task, "idle-slots")
        assert (result.status, "slot forgotten (1.1 GB of WAL)" in result.found) == ("warning", True)
        shop.execute(result.sql)
        assert "slot forgotten" not in check(task, "idle-slots").found
    finally:
        shop.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'forgotten'"
        )


def test_publications_and_subscriptions_of_others_are_a_warning(shop: Connection, task: Plan) -> None:
    assert check(task, "replication-objects").status == "passed"
    shop.execute("CREATE PUBLICATION theirs; CREATE PUBLICATION towpath_ours")
    shop.execute("CREATE SUBSCRIPTION feed CONNECTION 'host=x' PUBLICATION p WITH (connect = false, slot_name = NONE)")
    try:
        result = check(task, "replication-objects")
        assert result.status == "warning"
        assert "publication theirs, subscription feed" in result.found
    finally:
        shop.execute("DROP SUBSCRIPTION feed")


def test_an_account_that_cannot_see_activity_is_a_warning_until_it_may(shop: Connection, task: Plan) -> None:
    assert check(task, "monitoring-rights").status == "passed"
    shop.execute("CREATE ROLE unseeing LOGIN PASSWORD 'x'")
    try:
        modest = replace(task, source=replace(task.source, user="unseeing", password="x"))
        result = check(modest, "monitoring-rights")
        assert result.status == "warning"
        shop.execute(result.sql)
        assert check(modest, "monitoring-rights").status == "passed"
    finally:
        shop.execute("DROP ROLE unseeing")


def test_a_member_that_inherits_no_right_does_not_see_activity_either(shop: Connection, task: Plan) -> None:
    shop.execute("CREATE ROLE heirless LOGIN NOINHERIT PASSWORD 'x'; GRANT pg_monitor TO heirless")
    try:
        modest = replace(task, source=replace(task.source, user="heirless", password="x"))
        result = check(modest, "monitoring-rights")
        assert result.status == "warning"
        shop.execute(result.sql)
        assert check(modest, "monitoring-rights").status == "passed"
    finally:
        shop.execute("DROP ROLE heirless")


def test_a_small_target_for_a_large_copy_is_a_warning(shop: Connection, task: Plan, source_cluster: Cluster) -> None:
    shop.execute("CREATE TABLE t (i int)")
    assert check(task, "target-tuning").status == "passed"
    inflate(source_cluster, shop, "t", 10)
    result = check(task, "target-tuning")
    assert (result.status, "max_wal_size" in result.found) == ("warning", True)
    assert "shared_buffers" not in result.found
    inflate(source_cluster, shop, "t", 1024)
    result = check(task, "target-tuning")
    assert ("1.1 TB" in result.found, "shared_buffers is 64 MB" in result.found) == (True, True)


def test_a_limit_on_temporary_files_is_a_warning(
    shop: Connection, there: Connection, task: Plan, target_db: str
) -> None:
    shop.execute("CREATE TABLE t AS SELECT generate_series(1, 5000) AS i")
    assert check(task, "temporary-files").status == "passed"
    there.execute(f"ALTER DATABASE {quote(target_db)} SET temp_file_limit = '64kB'")
    result = check(task, "temporary-files")
    assert result.status == "warning"
    there.execute(result.sql)
    try:
        assert check(task, "temporary-files").status == "passed"
    finally:
        there.execute("ALTER ROLE postgres RESET temp_file_limit")


def test_other_tasks_on_the_target_are_a_warning(
    there: Connection, task: Plan, target_cluster: Cluster, target_db: str
) -> None:
    assert check(task, "other-tasks").status == "passed"
    bookmark.create(there)
    bookmark.reset(there, task.key, 1, 1)
    assert check(task, "other-tasks").status == "passed"
    bookmark.reset(there, "feedf00d", 1, 1)
    assert "task feedf00d" in check(task, "other-tasks").found
    bookmark.remove(there, "feedf00d")
    assert check(task, "other-tasks").status == "passed"
    with target_cluster.connect(target_db) as other:
        other.execute("SET application_name = 'towpath:12345678:3'")
        result = check(task, "other-tasks")
    assert (result.status, "task 12345678" in result.found) == ("warning", True)
    new = (DatabasePlan(source_name=task.databases[0].source_name, target_name="not there yet"),)
    later = replace(task, databases=new)
    assert check(later, "other-tasks").status == "passed"
    queued = Neighbour(key="0badf00d", name="Shop to the cloud", database="not there yet")
    result = check(replace(later, others=Others(neighbours=(queued,))), "other-tasks")
    assert (result.status, "Shop to the cloud" in result.found) == ("warning", True)
