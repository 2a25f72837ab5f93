"""Sessions between two uses: used again as new ones, and never when the server has ended them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import spare
from migrations_app.engine.connect import Connection, Sessions
from migrations_app.engine.plan import Plan, Side
from tests.fakes import FakeControl, wait_until
from tests.postgres.engine_runs import make_plan

_OURS = (
    "SELECT count(*) FROM pg_catalog.pg_stat_activity"
    " WHERE application_name = pg_catalog.current_setting('application_name')"
)


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, tmp_path: Path) -> Plan:
    return make_plan(source_cluster, target_cluster, [("postgres", "postgres")], tmp_path)


@pytest.fixture
def sessions(plan: Plan) -> Iterator[Sessions]:
    with Sessions(plan, FakeControl()) as sessions:
        sessions.version(Side.SOURCE)
        sessions.spare.keep(True)
        yield sessions


def pid(sessions: Sessions, database: str = "postgres", **settings: str) -> int:
    with sessions.session(Side.SOURCE, database, **settings) as connection:
        return connection.info.backend_pid


def one(connection: Connection, text: str) -> str:
    row = connection.execute(text.encode()).fetchone()
    return str(row[0]) if row else ""


def test_a_session_is_used_again_and_nothing_of_its_first_use_is_left(sessions: Sessions) -> None:
    with sessions.session(Side.SOURCE, "postgres", lock_timeout="7s") as connection:
        assert one(connection, "SHOW lock_timeout") == "7s"
        first = connection.info.backend_pid
        connection.execute("SET search_path = pg_catalog; SET datestyle = german; SET ROLE pg_monitor")
        connection.execute("CREATE TEMPORARY TABLE left_behind (id int); SELECT pg_advisory_lock(4711)")
    with sessions.session(Side.SOURCE, "postgres") as connection:
        assert connection.info.backend_pid == first
        shown = [one(connection, f"SHOW {name}") for name in ("lock_timeout", "search_path", "datestyle", "role")]
        assert shown == ["0", "", "ISO, MDY", "none"]
        assert one(connection, "SELECT current_user::text") == "postgres"
        assert one(connection, "SELECT count(*) FROM pg_catalog.pg_class WHERE relname = 'left_behind'") == "0"
        assert one(connection, "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory'") == "0"


def test_an_account_that_acts_as_another_role_by_itself_is_itself_again_too(
    plan: Plan, source_cluster: Cluster
) -> None:
    acting, other = (f"{name}_{secrets.token_hex(4)}" for name in ("acting", "other"))
    with source_cluster.connect() as admin:
        admin.execute(f"CREATE ROLE {other}; CREATE ROLE {acting} LOGIN PASSWORD 'own' IN ROLE {other}")
        admin.execute(f"ALTER ROLE {acting} SET role = {other}")
        try:
            source = replace(plan.source, user=acting, password="own")
            with Sessions(replace(plan, source=source), FakeControl()) as sessions:
                sessions.version(Side.SOURCE)
                sessions.spare.keep(True)
                pids = {pid(sessions)}
                with sessions.session(Side.SOURCE, "postgres") as connection:
                    pids.add(connection.info.backend_pid)
                    assert one(connection, "SELECT current_user::text") == acting
                assert len(pids) == 1
        finally:
            admin.execute(f"DROP ROLE {acting}; DROP ROLE {other}")


def test_a_session_that_the_server_has_ended_is_not_used_again(sessions: Sessions, source_cluster: Cluster) -> None:
    first = pid(sessions)
    with source_cluster.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 10000)", (first,))
    assert pid(sessions) != first


def test_a_session_is_not_used_again_after_an_error_in_a_transaction_or_later_than_soon(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pid(sessions)
    with pytest.raises(psycopg.Error), sessions.session(Side.SOURCE, "postgres") as connection:
        connection.execute("SELECT 1/0")
    second = pid(sessions)
    with sessions.session(Side.SOURCE, "postgres") as connection:
        connection.execute("BEGIN")
    third = pid(sessions)
    monkeypatch.setattr(spare, "SPARE_SECONDS", 0)
    assert len({first, second, third, pid(sessions)}) == 4


def test_there_are_never_more_sessions_than_are_used_at_once(sessions: Sessions) -> None:
    first = pid(sessions)
    pid(sessions, "template1")
    with sessions.session(Side.SOURCE, "postgres") as connection:
        assert connection.info.backend_pid != first
        wait_until(lambda: one(connection, _OURS) == "1")


def test_none_is_kept_while_nobody_asks_for_it(sessions: Sessions) -> None:
    first = pid(sessions)
    sessions.spare.keep(False)
    second = pid(sessions)
    assert len({first, second, pid(sessions)}) == 3
