"""What the page Prepare the source generates, taken at its word on a server as it comes from initdb."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.checks import run_checks
from migrations_app.engine.password_kept import known_as_scram
from migrations_app.engine.plan import Plan, TlsMode
from migrations_app.engine.prepare import Preparation, prepare
from migrations_app.engine.prepare_role import PLACEHOLDER
from migrations_app.engine.selection import Selection
from migrations_app.engine.source_facts import read_facts
from tests.fakes import FakeControl, wait_until
from tests.folders import public_folder
from tests.postgres.checks_kit import check, login, plan
from tests.tidy import drop_role

SECRET = "a secret of the source"
SHOP = """
CREATE SCHEMA sales AUTHORIZATION shop_owner;
CREATE TABLE sales.orders (id bigserial PRIMARY KEY, note text);
CREATE TABLE sales.log (line text);
CREATE SCHEMA "Odd Schema" AUTHORIZATION odd_owner;
CREATE TABLE "Odd Schema"."t""x" (id serial PRIMARY KEY);
CREATE SEQUENCE "Odd Schema".counter OWNED BY NONE;
CREATE TABLE public.guarded (id int PRIMARY KEY);
ALTER TABLE public.guarded ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.guarded FORCE ROW LEVEL SECURITY;
ALTER TABLE sales.orders OWNER TO shop_owner;
ALTER TABLE sales.log OWNER TO shop_owner;
ALTER TABLE "Odd Schema"."t""x" OWNER TO odd_owner;
ALTER TABLE public.guarded OWNER TO shop_owner;
"""


@pytest.fixture(scope="module")
def bare_source() -> Iterator[Cluster]:
    """A PostgreSQL 16 as it comes from initdb, with a shop of two owners, that lets in only its superuser."""
    with public_folder("prepare") as folder:
        cluster = Cluster(folder=folder / "server", major=16)
        cluster.create()
        cluster.start()
        try:
            with cluster.connect() as connection:
                connection.execute("CREATE ROLE shop_owner; CREATE ROLE odd_owner")
                connection.execute("CREATE DATABASE shop")
                connection.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '100MB'")
            with cluster.connect("shop") as connection:
                connection.execute(SHOP)
            (cluster.data / "pg_hba.conf").write_text("host all postgres 127.0.0.1/32 scram-sha-256\n")
            cluster.stop()
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


def task_of(cluster: Cluster, target: Cluster, **more: object) -> Plan:
    return plan(login(cluster, **more), login(target), [("shop", "prepared_shop")])


def run_as_superuser(cluster: Cluster, prepared: Preparation) -> None:
    for block in prepared.role:
        with cluster.connect(block.database or "postgres") as connection:
            connection.execute(block.sql.replace(PLACEHOLDER, SECRET).encode())


def failed(task: Plan) -> dict[str, str]:
    results = run_checks(task, FakeControl(), report=lambda result: None)
    return {result.code: result.found for result in results if result.status == "failed"}


def test_the_generated_lines_make_a_bare_server_pass_the_check(bare_source: Cluster, target_cluster: Cluster) -> None:
    task = task_of(bare_source, target_cluster, user="mover", password=SECRET)
    outside = prepare(task, read_facts(task))
    assert not outside.reached
    assert outside.failure
    assert not outside.hba_known_to_work
    # The account cannot look yet; its owner looks with the superuser's eyes once, and gets the whole script.
    first = prepare(task, replace(read_facts(replace(task, source=login(bare_source))), superuser=False, failure="-"))
    assert first.restart
    before = check(replace(task, source=login(bare_source)), "wal-level")
    assert before.fix == "settings"
    with bare_source.connect() as connection:
        for statement in first.alter.splitlines():
            connection.execute(statement.encode())
        connection.execute("SELECT pg_reload_conf()")
    wait_until(lambda: not check(replace(task, source=login(bare_source)), "wal-level").fix, 20, "the written setting")
    assert "waits for a restart" in check(replace(task, source=login(bare_source)), "wal-level").hint
    hba = bare_source.data / "pg_hba.conf"
    hba.write_text(hba.read_text() + first.hba + "\n")
    bare_source.stop()
    bare_source.start()
    run_as_superuser(bare_source, first)
    task = replace(task, source=replace(task.source, port=bare_source.port))
    assert failed(task) == {}
    after = prepare(task, read_facts(task))
    assert after.reached
    assert after.hba_known_to_work
    assert not after.restart
    assert [line.name for line in after.settings if not line.ok] == []


@pytest.mark.parametrize(
    ("kept", "by", "told"),
    [("md5", "md5", "md5"), ("scram-sha-256", "md5", "md5"), ("scram-sha-256", "scram-sha-256", "scram-sha-256")],
)
def test_no_line_shuts_out_an_account_that_can_sign_in(
    kept: str, by: str, told: str, bare_source: Cluster, target_cluster: Cluster
) -> None:
    before = (bare_source.data / "pg_hba.conf").read_text()
    task = task_of(bare_source, target_cluster, user="veteran", password=SECRET)
    task = replace(task, source=replace(task.source, require_auth=""))
    with bare_source.connect() as connection:
        connection.execute(f"SET password_encryption = '{kept}'".encode())
        connection.execute(f"CREATE ROLE veteran LOGIN PASSWORD '{SECRET}'".encode())
        try:
            _let_in(bare_source, before + f"host all veteran 127.0.0.1/32 {by}\n")
            prepared = prepare(task, read_facts(task))
            assert prepared.reached
            assert prepared.hba.splitlines()[1].split()[-1] == told
            _let_in(bare_source, before + prepared.hba + "\n")
            assert read_facts(task).failure == ""
        finally:
            _let_in(bare_source, before)
            connection.execute("DROP ROLE veteran")


def test_who_may_look_sees_how_a_password_is_kept(source_cluster: Cluster) -> None:
    with source_cluster.connect() as connection:
        assert known_as_scram(connection)
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL password_encryption = 'md5'")
            connection.execute(f"CREATE ROLE veteran SUPERUSER PASSWORD '{SECRET}'".encode())
            connection.execute("SET LOCAL SESSION AUTHORIZATION veteran")
            assert known_as_scram(connection) == (connection.info.server_version >= 160000), "by how it signed in"


@pytest.mark.parametrize("kept", ["", "md5", "scram-sha-256"])
def test_the_small_account_keeps_the_method_of_the_password_that_it_has(
    kept: str, bare_source: Cluster, target_cluster: Cluster
) -> None:
    task = task_of(bare_source, target_cluster)
    with bare_source.connect() as connection:
        if kept:
            connection.execute(f"SET password_encryption = '{kept}'".encode())
            connection.execute(f"CREATE ROLE towpath LOGIN PASSWORD '{SECRET}'".encode())
        try:
            lines = prepare(task, read_facts(task)).hba.splitlines()
        finally:
            connection.execute("DROP ROLE IF EXISTS towpath")
    (line,) = [line for line in lines if " towpath " in line]
    assert line.split()[-1] == ("md5" if kept == "md5" else "scram-sha-256")


def _let_in(cluster: Cluster, text: str) -> None:
    """Let the server read another pg_hba.conf."""
    before = _read_at(cluster)
    (cluster.data / "pg_hba.conf").write_text(text)
    with cluster.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
    wait_until(lambda: _read_at(cluster) != before, 20, "the server has read it")


def _read_at(cluster: Cluster) -> object:
    with cluster.connect() as connection:
        return connection.execute("SELECT pg_conf_load_time()").fetchone()


def test_reading_alone_needs_no_owner_and_no_restart(bare_source: Cluster, target_cluster: Cluster) -> None:
    everything = task_of(bare_source, target_cluster)
    chosen = Selection(rules={("shop", "sales"): True, ("shop", "Odd Schema", 't"x'): True, ("shop", "public"): True})
    task = replace(everything, incremental=False, selection=chosen)
    prepared = prepare(task, replace(read_facts(task), superuser=False, failure="-"))
    assert prepared.settings == ()
    assert "REPLICATION" not in prepared.script
    assert "shop_owner" not in prepared.script
    script = replace(
        prepared, role=tuple(replace(b, sql=b.sql.replace('"postgres"', '"reader"')) for b in prepared.role)
    )
    run_as_superuser(bare_source, script)
    hba = bare_source.data / "pg_hba.conf"
    hba.write_text(
        hba.read_text() + prepared.hba.replace("postgres  127", "reader  127").replace(" postgres ", " reader ") + "\n"
    )
    with bare_source.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
    reader = replace(task, source=replace(task.source, user="reader", password=SECRET))
    assert failed(reader) == {}
    assert re.search(r'GRANT SELECT ON TABLE "Odd Schema"."t""x"', prepared.script)
    assert 'GRANT SELECT ON SEQUENCE "Odd Schema"."t""x_id_seq"' in prepared.script


def test_the_script_gives_an_owner_that_inherits_nothing_the_tables_of_others(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    server = login(source_cluster, user="prepare_mover", password=SECRET)
    task = plan(server, login(target_cluster), [(source_db, "prepared")])
    with source_cluster.connect(source_db) as shop:
        shop.execute(
            f"CREATE ROLE prepare_mover LOGIN NOINHERIT PASSWORD '{SECRET}'; CREATE ROLE prepare_owner".encode()
        )
        try:
            shop.execute("GRANT prepare_owner TO prepare_mover; CREATE TABLE mine (i int PRIMARY KEY)")
            shop.execute("CREATE TABLE theirs (i int PRIMARY KEY); ALTER TABLE mine OWNER TO prepare_mover")
            shop.execute("ALTER TABLE theirs OWNER TO prepare_owner")
            assert check(task, "publication-rights").status == "failed"
            run_as_superuser(source_cluster, prepare(task, read_facts(task)))
            assert check(task, "publication-rights").status == "passed"
        finally:
            drop_role(source_cluster, "prepare_mover", source_db)
            drop_role(source_cluster, "prepare_owner", source_db)


def test_a_superuser_is_told_that_it_is_enough_and_offered_a_smaller_account(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    task = plan(login(source_cluster), login(target_cluster), [(source_db, "x")])
    prepared = prepare(task, read_facts(task))
    assert prepared.address == "127.0.0.1"
    assert prepared.address_seen
    assert not prepared.role_needed
    assert 'CREATE ROLE "towpath" LOGIN REPLICATION' in prepared.script
    assert all(line.ok for line in prepared.settings)
    assert "smaller account" in prepared.notes[0]


def test_a_server_that_is_away_is_prepared_from_what_the_task_says(target_cluster: Cluster) -> None:
    gone = replace(login(target_cluster), port=1, tls=TlsMode.REQUIRE, user="Odd Mover")
    task = plan(gone, login(target_cluster), [("shop", "shop"), ("all", "all")])
    prepared = prepare(task, read_facts(task))
    assert prepared.failure
    assert prepared.hba.splitlines()[1].split() == [
        "hostssl", 'postgres,shop,"all"', '"Odd', 'Mover"', "127.0.0.1/32", "md5",
    ]  # fmt: skip
    assert "max_replication_slots = 10" in prepared.conf
    assert 'GRANT CONNECT, CREATE ON DATABASE "all" TO "Odd Mover";' in prepared.script
    assert any("not known yet" in note for note in prepared.notes)
    assert "canary" not in str(prepared.as_json())
