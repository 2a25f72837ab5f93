"""How long a server keeps a session of ours whose line is dead, and how long we keep one whose server is slow."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import connect
from migrations_app.engine.connect import Connection
from migrations_app.engine.copying import Lane
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Side
from migrations_app.engine.relay import Copied, Relay
from migrations_app.engine.snapshot import open_now
from migrations_app.engine.wire import Patience
from tests.fakes import wait_until
from tests.postgres.engine_runs import make_plan, running

_USER_TIMEOUT_MILLISECONDS = 2000


@pytest.fixture
def run(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Run]:
    with running(make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)) as made:
        yield made


def shown(connection: Connection, name: str) -> str:
    row = connection.execute(f"SHOW {name}".encode()).fetchone()
    return str(row[0]) if row else ""


def kept_seconds(connection: Connection) -> int:
    """Return how long the server keeps a session that is idle on a dead line."""
    idle, interval, count = (int(shown(connection, f"tcp_keepalives_{what}")) for what in ("idle", "interval", "count"))
    return idle + interval * count


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("replication", [False, True], ids=["ordinary", "replication"])
def test_a_server_looks_for_us_within_a_minute(run: Run, side: Side, replication: bool) -> None:
    with closing(run.sessions.open(side, replication=replication)) as session:
        assert kept_seconds(session) == 60
        assert shown(session, "tcp_user_timeout") == "0"


def test_a_snapshot_is_held_for_longer(run: Run) -> None:
    snapshot = open_now(run, run.databases()[0])
    try:
        assert kept_seconds(snapshot.holder) == 600
    finally:
        snapshot.close()


def test_a_lane_is_given_up_by_the_target_also_while_an_answer_is_on_its_way(run: Run) -> None:
    (database,) = run.databases()
    snapshot = open_now(run, database)
    lane = Lane(run, database, snapshot, run.ports.control.check)
    try:
        assert shown(lane.target, "tcp_user_timeout") == "60000"
        assert shown(lane.source, "tcp_user_timeout") == "0"  # it waits for as long as the target does
    finally:
        lane.close()
        snapshot.close()


def test_we_look_for_the_server_and_do_not_time_what_it_has_not_read(run: Run) -> None:
    with closing(run.sessions.open(Side.TARGET)) as session, socket.socket(fileno=session.fileno()) as line:
        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
        line.detach()


@pytest.mark.long
def test_a_target_that_waits_for_a_lock_in_a_copy_is_waited_for(
    run: Run, target_cluster: Cluster, target_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = connect.connect_arguments

    def hasty(*arguments: Any, **more: Any) -> dict[str, str | int]:
        found = honest(*arguments, **more)
        return {**found, "tcp_user_timeout": _USER_TIMEOUT_MILLISECONDS} if found["tcp_user_timeout"] else found

    monkeypatch.setattr(connect, "connect_arguments", hasty)
    copied: list[Copied] = []
    (database,) = run.databases()
    with (
        closing(run.sessions.open(Side.SOURCE, database.source_name)) as source,
        closing(run.sessions.open(Side.TARGET, target_db)) as target,
        target_cluster.connect(target_db) as stranger,
    ):
        stranger.execute("CREATE TABLE t (id int PRIMARY KEY, v text)")
        stranger.execute("BEGIN; INSERT INTO t VALUES (10, 'mine')")

        def copy() -> None:
            rows = "SELECT n, repeat('x', 1000) FROM generate_series(1, 40000) n"
            with Relay(source, target, Patience(lambda: None), lambda size: None) as relay:
                copied.append(relay.copy(f"COPY ({rows}) TO STDOUT", "COPY public.t FROM STDIN", "copying t"))

        thread = threading.Thread(target=copy)
        thread.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
        with target_cluster.connect(target_db) as asking:
            wait_until(lambda: asking.execute(waits, (target.info.backend_pid,)).fetchone() == (1,), 20, "the lock")
        over = time.monotonic() + 3 * _USER_TIMEOUT_MILLISECONDS / 1000
        wait_until(lambda: time.monotonic() > over, 20, "the time to pass")
        stranger.execute("ROLLBACK")
        thread.join(30)
    assert [one.rows for one in copied] == [40000]
