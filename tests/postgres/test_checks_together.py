"""The items of one check side by side: what hangs holds up only what needs it, and the rest arrives at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.checks import CheckResult, Known, all_items, context, run, run_checks
from migrations_app.engine.checks.context import Context
from migrations_app.engine.checks.registry import ITEMS, Finding, passed
from migrations_app.engine.errors import CancelRequested, ConnectFailed
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.wording import say
from tests import impostors
from tests.fakes import FakeControl, wait_until
from tests.faults.proxy import FaultProxy, fault_proxy
from tests.postgres import checks_kit
from tests.postgres.checks_kit import check_all

# Fixtures that stand in the kit.
task = checks_kit.task


def through(task: Plan, proxy: FaultProxy) -> Plan:
    return replace(task, source=replace(task.source, port=proxy.port))


def look_instead(monkeypatch: pytest.MonkeyPatch, code: str, look: object) -> None:
    monkeypatch.setitem(ITEMS, code, replace(ITEMS[code], look=look))  # type: ignore[arg-type]


def test_items_ask_only_the_servers_that_they_name(task: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    strayed: list[tuple[str, Side]] = []
    here = threading.local()
    session, look = Context.session, run._look

    def watched_session(self: Context, side: Side, database: str = "") -> object:
        if hasattr(here, "info") and side not in here.info.sides:
            strayed.append((here.info.code, side))
        return session(self, side, database)

    def watched_look(known: Context, job: run._Job) -> Finding:
        here.info = job.entry.info
        return look(known, job)

    monkeypatch.setattr(Context, "session", watched_session)
    monkeypatch.setattr(run, "_look", watched_look)
    assert set(check_all(task)) == {info.code for info in all_items()}
    assert strayed == []


def test_no_query_of_a_check_is_compiled(task: Plan, source_cluster: Cluster) -> None:
    """They look costly: one took half a second of a server with LLVM, and six milliseconds without."""
    with source_cluster.connect() as connection:
        assert connection.execute("SHOW jit").fetchone() == ("on",)
    with Context(task, FakeControl()) as known:
        sessions = [known.session(side, name) for side in Side for name in ("", "template1")]
        assert {session.execute("SHOW jit").fetchone() for session in sessions} == {("off",)}


def test_a_check_tries_each_server_once_before_its_sessions(task: Plan) -> None:
    with fault_proxy(task.source.port) as proxy, Context(through(task, proxy), FakeControl()) as known:
        known.source()
        for _ in range(3):
            with known.fresh(Side.SOURCE):
                pass
        wait_until(lambda: len(proxy.opened) >= 5, 5)
        assert len(proxy.opened) == 1 + 4


def test_no_setting_of_a_server_ends_a_session_of_a_check_that_waits(task: Plan, source_cluster: Cluster) -> None:
    """While one item looks, the sessions of others have nothing to do."""
    kinds = ("idle_session_timeout", "idle_in_transaction_session_timeout")
    with source_cluster.connect(autocommit=True) as connection:
        try:
            for kind in kinds:
                connection.execute(f"ALTER DATABASE template1 SET {kind} = '7s'".encode())
            with Context(task, FakeControl()) as known:
                for database in ("template1", "", "template1"):
                    session = known.session(Side.SOURCE, database)
                    assert [session.execute(f"SHOW {kind}".encode()).fetchone() for kind in kinds] == [("0",), ("0",)]
        finally:
            connection.execute(b"ALTER DATABASE template1 RESET ALL")


@pytest.mark.parametrize("lent", [True, False])
def test_a_session_that_the_server_has_ended_meanwhile_is_lent_to_nobody(
    lent: bool, task: Plan, source_cluster: Cluster
) -> None:
    """It was lent to an item that waited for the other server, or to none."""
    with Context(task, FakeControl()) as known, source_cluster.connect() as other:

        def end(session: psycopg.Connection[tuple[object, ...]]) -> None:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", (session.info.backend_pid,))

        with known.looking():
            session = known.source()
            if lent:
                end(session)
        if not lent:
            end(session)
        with known.looking():
            assert known.one(Side.SOURCE, "SELECT 1") == 1
        assert session.closed


def test_every_result_says_how_long_the_item_looked(task: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(known: Context) -> Finding:
        known.target().execute("SELECT pg_catalog.pg_sleep(0.3)")
        return passed("x")

    look_instead(monkeypatch, "target-version", slowly)
    results = check_all(task)
    assert all(result.seconds is not None for result in results.values())
    assert (results["target-version"].seconds or 0) >= 0.3


def test_an_item_that_is_stuck_is_ended_alone(task: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "ITEM_SECONDS", 2)

    def stuck(known: Context) -> Finding:
        known.source().execute("SET statement_timeout = 0")
        known.source().execute("SELECT pg_catalog.pg_sleep(600)")
        return passed("x")

    look_instead(monkeypatch, "source-version", stuck)
    order: list[str] = []
    results = {r.code: r for r in run_checks(task, FakeControl(), report=lambda result: order.append(result.code))}
    assert order[-1] == "source-version"
    assert results["source-version"].status == "failed"
    assert "longer than 2 s" in results["source-version"].found
    assert not [r.code for r in results.values() if "could not be looked at" in r.found and r.code != "source-version"]


@pytest.fixture
def frozen_target(target_cluster: Cluster, task: Plan) -> Iterator[tuple[Plan, threading.Event]]:
    """The task with a target that answers until the event is set, and then neither answers nor hangs up."""
    frozen = threading.Event()
    with impostors.listening(impostors.freezing(target_cluster.port, frozen)) as port:
        yield replace(task, target=replace(task.target, port=port)), frozen
        frozen.set()


@pytest.mark.long
def test_a_target_that_hangs_delays_only_its_own_items(
    frozen_target: tuple[Plan, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "ITEM_SECONDS", 2)
    monkeypatch.setattr(run, "LANE_THREADS", 1)
    task, frozen = frozen_target
    at: dict[str, float] = {}
    began = time.monotonic()

    def report(result: CheckResult) -> None:
        at[result.code] = time.monotonic() - began

    def freeze(known: Context) -> Finding:
        session = known.target()
        frozen.set()
        session.execute("SELECT 1")
        return passed("x")

    look_instead(monkeypatch, "target-reachable", freeze)
    results = {result.code: result for result in run_checks(task, FakeControl(), report=report)}
    infos = {info.code: info for info in all_items()}
    alone = [code for code, info in infos.items() if info.sides == (Side.SOURCE,)]
    assert max(at[code] for code in alone) < at["target-reachable"]
    assert all("could not be looked at" not in results[code].found for code in alone)
    assert "longer than" in results["target-reachable"].found
    assert results["target-version"].found.startswith("This could not be looked at")
    assert time.monotonic() - began < 60


@pytest.fixture
def silent_source(task: Plan) -> Iterator[Plan]:
    """The task with a source that takes every connection and never says a word."""
    with impostors.listening(impostors.silent) as port:
        yield replace(task, source=replace(task.source, port=port))


def test_a_source_that_hangs_from_the_first_login_delays_no_item_of_the_target_alone(silent_source: Plan) -> None:
    order: list[str] = []
    results = run_checks(silent_source, FakeControl(), report=lambda result: order.append(result.code))
    found = {result.code: result for result in results}
    alone = [info.code for info in all_items() if info.sides == (Side.TARGET,)]
    assert set(order[: len(alone)]) == set(alone)
    assert all("could not be looked at" not in found[code].found for code in alone)
    assert found["source-reachable"].status == "failed"
    assert 2 <= (found["source-reachable"].seconds or 0) < 10


def test_items_of_the_target_alone_do_not_wait_for_the_list_of_databases(task: Plan) -> None:
    known, order = threading.Event(), []

    def later() -> Known:
        assert known.wait(60)
        return Known(plan=task)

    def report(result: CheckResult) -> None:
        order.append(result.code)
        if result.code == "target-writable":
            known.set()

    results = run_checks(replace(task, databases=()), FakeControl(), report=report, later=later)
    assert [result.code for result in results] == [info.code for info in all_items()]
    assert {result.database for result in results if result.code == "target-conflicts"} == {
        task.databases[0].source_name
    }
    assert "target-connections" not in order[: order.index("target-writable")]


def test_a_source_that_did_not_answer_the_reading_is_not_dialled_again(task: Plan) -> None:
    unread = ConnectFailed(say("No answer."), hint=say("Look there."), code="CONNECT-TIMEOUT")

    def later() -> Known:
        return Known(plan=replace(task, databases=()), unread=unread, seconds=5.2)

    results = {r.code: r for r in run_checks(task, FakeControl(), report=lambda result: None, later=later)}
    assert results["source-reachable"].found == "No answer."
    assert results["source-reachable"].seconds == 5.2
    assert results["table-keys"].found == "This could not be looked at because: No answer."
    assert (results["table-keys"].because, results["source-reachable"].because) == ("No answer.", "")
    assert results["target-reachable"].status == "passed"


def test_what_reading_the_databases_raises_ends_the_check(task: Plan) -> None:
    def later() -> Known:
        raise CancelRequested

    with pytest.raises(CancelRequested):
        run_checks(task, FakeControl(), report=lambda result: None, later=later)


def test_a_check_that_must_stop_ends_what_runs_within_seconds(task: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    control = FakeControl()
    begun = threading.Event()

    def endless(known: Context) -> Finding:
        known.source().execute("SET statement_timeout = 0")
        begun.set()
        known.source().execute("SELECT pg_catalog.pg_sleep(600)")
        return passed("x")

    look_instead(monkeypatch, "source-version", endless)
    stopper = threading.Thread(target=lambda: (begun.wait(60), control.cancel()))
    stopper.start()
    with pytest.raises(CancelRequested):
        run_checks(task, control, report=lambda result: None)
    stopped = time.monotonic()
    stopper.join()
    assert time.monotonic() - stopped < 30
    wait_until(lambda: not [t for t in threading.enumerate() if t.name == "check"], what="no thread of a check is left")


def test_no_session_is_left_behind(task: Plan, source_cluster: Cluster) -> None:
    check_all(task)
    with source_cluster.connect() as connection:
        text = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'towpath:0badcafe:%'"
        wait_until(lambda: connection.execute(text).fetchone() == (0,), what="all sessions are closed")


@pytest.fixture
def modest(source_cluster: Cluster, source_db: str) -> Iterator[str]:
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE ROLE modest LOGIN REPLICATION PASSWORD 'x' CONNECTION LIMIT 3")
        connection.execute("CREATE TABLE t (i int PRIMARY KEY); GRANT SELECT ON t TO modest")
        yield "modest"
        connection.execute("DROP OWNED BY modest; DROP ROLE modest")


def test_an_account_with_three_connections_is_enough_for_every_item(task: Plan, modest: str) -> None:
    results = check_all(replace(task, source=replace(task.source, user=modest, password="x")))
    assert [result for result in results.values() if "could not be looked at" in result.found] == []
    assert "connection slots" not in results["replication-login"].found


@pytest.mark.long
def test_where_many_databases_share_sessions_an_item_that_is_stuck_fails_alone(
    task: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "ITEM_SECONDS", 2)

    def stuck(known: Context) -> Finding:
        known.source().execute("SET statement_timeout = 0")
        known.source().execute("SELECT pg_catalog.pg_sleep(600)")
        return passed("x")

    look_instead(monkeypatch, "source-version", stuck)
    results = run_checks(replace(task, databases=task.databases * 6), FakeControl(), report=lambda result: None)
    unseen = {result.code: result.found for result in results if "could not be looked at" in result.found}
    assert list(unseen) == ["source-version"], unseen
    assert "longer than 2 s" in unseen["source-version"]


def test_a_fact_that_many_items_need_is_read_once(task: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    read = context.read_tables
    reads: list[psycopg.Connection[tuple[object, ...]]] = []

    def counted(connection: psycopg.Connection[tuple[object, ...]]) -> object:
        reads.append(connection)
        return read(connection)

    monkeypatch.setattr(context, "read_tables", counted)
    check_all(task)
    assert len(reads) == 1


def test_a_fact_that_cannot_be_read_fails_its_items_and_is_not_read_again(
    task: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []

    def broken(connection: psycopg.Connection[tuple[object, ...]]) -> object:
        reads.append("x")
        return connection.execute("SELECT no_such_function()")

    monkeypatch.setattr(context, "read_tables", broken)
    results = check_all(task)
    assert reads == ["x"]
    assert "42883" in results["table-rules"].found
    assert results["wal-level"].status == "passed"


def test_sessions_that_the_server_ends_are_opened_again(task: Plan, source_cluster: Cluster) -> None:
    with contextlib.ExitStack() as stack, Context(task, FakeControl()) as known:
        stack.enter_context(known.looking())
        first = known.source()
        with source_cluster.connect() as connection:
            connection.execute("SELECT pg_terminate_backend(%s, 10000)", (first.info.backend_pid,))
        with contextlib.suppress(psycopg.Error):
            first.execute("SELECT 1")
        assert known.source().execute("SELECT 1").fetchone() == (1,)
