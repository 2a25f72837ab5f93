"""What the check says of real servers before 10: the versions of which Maven alone has binaries."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.connect import Connection
from migrations_app.engine.extension_rows import Kept, _columns, _kept
from migrations_app.engine.onlooker import Onlooker
from migrations_app.engine.outcome import Run
from migrations_app.engine.patience import Vital
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.sequences import closed_sequences, list_sequences
from tests.fakes import wait_until
from tests.matrix.conftest import Servers
from tests.postgres.checks_kit import check, check_all, login, plan
from tests.postgres.compare_kit import running
from tests.servers import Server, why_unavailable

pytestmark = pytest.mark.matrix


def _server(versions: Servers, version: str) -> Server:
    if reason := why_unavailable(version):
        pytest.skip(reason)
    return versions.of(version, "source")


@pytest.fixture
def task(target_cluster: Cluster) -> Plan:
    return plan(login(target_cluster), login(target_cluster), [("postgres", "not there yet")])


def test_a_source_that_knows_no_logical_decoding_fails_and_migrates_without(versions: Servers, task: Plan) -> None:
    old = replace(task, source=login(_server(versions, "9.3")))
    result = check(old, "logical-decoding")
    assert (result.status, "knows no logical decoding" in result.found) == ("failed", True)
    assert "Switch incremental sync off" in result.hint
    for code in ("source-version", "truncate-noted"):
        assert check(old, code).status == "passed"


def test_a_server_without_alter_system_is_offered_none(versions: Servers, task: Plan) -> None:
    server = _server(versions, "9.3")
    conf = server.data / "postgresql.conf"
    before = conf.read_text()
    conf.write_text(f"{before}\nwal_sender_timeout = 5s\n")
    try:
        with server.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
            wait_until(lambda: connection.execute("SHOW wal_sender_timeout").fetchone() == ("5s",))
        found = check_all(replace(task, source=login(server)))
    finally:
        conf.write_text(before)
        with server.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
    assert [code for code, one in found.items() if "ALTER SYSTEM" in one.sql or one.fix == "settings"] == []
    assert "no logical decoding" in found["wal-sender-timeout"].found


@pytest.mark.parametrize("version", ["9.3", "9.6"])
def test_an_account_that_cannot_see_activity_is_offered_no_role_that_the_server_lacks(
    version: str, versions: Servers, task: Plan
) -> None:
    server = _server(versions, version)
    with server.connect() as connection:
        connection.execute("CREATE ROLE unseeing LOGIN PASSWORD 'x'")
        try:
            modest = replace(task, source=login(server, user="unseeing", password="x"))
            result = check(modest, "monitoring-rights")
        finally:
            connection.execute("DROP ROLE unseeing")
    assert (result.status, result.sql) == ("warning", "")
    assert "superuser" in result.hint


def test_writers_that_cannot_be_dated_before_ten_are_visible_to_superusers_alone(versions: Servers, task: Plan) -> None:
    server = _server(versions, "9.6")
    with server.connect() as connection, server.connect(autocommit=False) as writing:
        connection.execute("CREATE ROLE unseeing LOGIN PASSWORD 'x'")
        writing.execute("SELECT txid_current()")
        try:
            modest = replace(task, source=login(server, user="unseeing", password="x"))
            result = check(modest, "long-transactions")
        finally:
            writing.rollback()
            connection.execute("DROP ROLE unseeing")
    assert (result.status, "pg_monitor" in result.hint) == ("passed", False)
    assert "superuser" in result.hint


@pytest.mark.parametrize("version", ["9.4", "9.5", "9.6"])
def test_a_source_with_the_plugin_of_its_time_passes(version: str, versions: Servers, task: Plan) -> None:
    result = check(replace(task, source=login(_server(versions, version))), "logical-decoding")
    assert (result.status, "test_decoding, which is installed" in result.found) == ("passed", True)


def test_a_target_before_ten_fails(versions: Servers, task: Plan) -> None:
    result = check(replace(task, target=login(_server(versions, "9.6"))), "target-version")
    assert (result.status, "9.6" in result.found) == ("failed", True)


@pytest.mark.parametrize("version", ["9.3", "9.5", "9.6"])
def test_an_old_server_is_asked_for_rows_of_extensions_in_words_that_it_knows(version: str, versions: Servers) -> None:
    table = Kept(extension="x", schema="pg_catalog", name="pg_extension", kind="r", condition="")
    with _server(versions, version).connect() as connection:
        assert _kept(connection) == []
        assert _columns(connection, table)[0] in ("extname", "oid")


@pytest.mark.parametrize("version", ["9.3", "9.6"])
def test_a_sequence_that_may_not_be_read_does_not_close_the_others(version: str, versions: Servers) -> None:
    with _server(versions, version).connect() as connection:
        connection.execute(b"CREATE ROLE looking; CREATE SCHEMA counted AUTHORIZATION looking")
        connection.execute(
            b"CREATE SEQUENCE counted.closed; SET ROLE looking; CREATE SEQUENCE counted.open INCREMENT 5"
        )
        try:
            found = {one.name: one.increment for one in list_sequences(connection) if one.schema == "counted"}
            assert found == {"closed": 1, "open": 5}
            assert closed_sequences(connection)["counted", "closed"]
        finally:
            connection.execute(b"RESET ROLE; DROP SCHEMA counted CASCADE; DROP ROLE looking")


@pytest.fixture(params=["9.3", "9.5", "9.6"])
def old_run(request: pytest.FixtureRequest, versions: Servers, task: Plan) -> Iterator[tuple[Server, Run]]:
    server = _server(versions, request.param)
    with running(replace(task, source=login(server))) as run:
        yield server, run


def _seen(run: Run, session: Connection) -> Vital | None:
    def asking() -> Connection:
        return run.sessions.open(Side.SOURCE, "postgres")

    return Onlooker(asking, run.ports.control.check, session.info.backend_pid).look()


def test_an_old_server_tells_what_it_does_for_a_session_and_who_keeps_it_waiting(
    old_run: tuple[Server, Run],
) -> None:
    server, run = old_run
    lock = b"BEGIN; LOCK TABLE public.held"
    with server.connect() as stranger, run.sessions.open(Side.SOURCE, "postgres") as ours:
        stranger.execute(b"DROP TABLE IF EXISTS public.held; CREATE TABLE public.held ()")
        holder, idle = stranger.info.backend_pid, _seen(run, ours)
        stranger.execute(lock)
        thread = threading.Thread(target=lambda: ours.execute(lock))
        thread.start()
        found: list[Vital] = []

        def looked() -> bool:
            vital = _seen(run, ours)
            found[:] = [vital] if vital and vital.wait_type == "Lock" else []
            return bool(found)

        try:
            wait_until(looked, what="the session waiting")
        finally:
            stranger.execute(b"ROLLBACK")
            thread.join(20)
        ours.execute(b"ROLLBACK")
        stranger.execute(b"DROP TABLE public.held")
    assert idle is not None
    assert not idle.works
    assert found[0].works
    assert f"PID {holder}, user postgres" in found[0].blockers
    assert not found[0].own
