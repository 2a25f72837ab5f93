"""Sessions that were lost without the server hearing of it are ended, and only those."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import making_room, orphans
from migrations_app.engine.connect import Connection, end_older_sessions
from migrations_app.engine.errors import ConnectionLost
from migrations_app.engine.making_room import took_place
from migrations_app.engine.names import application_name
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import Side
from migrations_app.engine.steps import schema
from tests.faults.proxy import FaultProxy, fault_proxy
from tests.faults.server_kit import stopped
from tests.postgres.engine_runs import KEY, make_plan, running

THERE = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s) ORDER BY pid"


@pytest.fixture
def proxy(target_cluster: Cluster) -> Iterator[FaultProxy]:
    with fault_proxy(target_cluster.port) as made:
        yield made


@pytest.fixture
def run(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path, proxy: FaultProxy
) -> Iterator[Run]:
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)
    with running(replace(plan, target=replace(plan.target, port=proxy.port))) as made:
        yield made


def there(cluster: Cluster, *processes: int) -> list[int]:
    with cluster.connect() as connection:
        return [int(pid) for (pid,) in connection.execute(THERE, (list(processes),))]


def begun(run: Run) -> tuple[Connection, int]:
    """Open a session on the target with a transaction that has written something."""
    session = run.sessions.open(Side.TARGET, run.databases()[0].target_name)
    session.execute("BEGIN; SELECT pg_catalog.txid_current()")
    return session, session.info.backend_pid


def lost(run: Run, proxy: FaultProxy) -> int:
    """Lose such a session; returns its process, which knows nothing of it."""
    session, process = begun(run)
    proxy.lose()
    session.close()
    return process


def test_a_lost_session_is_ended_and_nobody_elses(run: Run, target_cluster: Cluster, proxy: FaultProxy) -> None:
    process = lost(run, proxy)
    ours, other = begun(run)
    with (
        psycopg.connect(**target_cluster.arguments(), application_name=application_name(KEY, 1)) as same,
        psycopg.connect(**target_cluster.arguments(), application_name=application_name("0ddba11", 1)) as strange,
    ):
        kept = [other, same.info.backend_pid, strange.info.backend_pid]
        assert there(target_cluster, process) == [process]
        with run.sessions.session(Side.TARGET) as session:
            run.sessions.end_orphans(session)
        assert there(target_cluster, process, *kept) == sorted(kept)
    ours.close()


def test_a_session_that_ended_well_is_not_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run.sessions.open(Side.TARGET).close()
    with run.sessions.session(Side.TARGET) as session:
        monkeypatch.setattr(type(session), "execute", None)
        run.sessions.end_orphans(session)


def test_a_process_that_was_given_the_number_later_is_left_alone(
    run: Run, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = orphans.Orphans()
    session, process = begun(run)
    now = time.monotonic()
    with run.sessions.session(Side.TARGET) as asking, monkeypatch.context() as before:
        before.setattr("time.monotonic", lambda: now - 60)
        known.note(Side.TARGET, process)
        before.undo()
        known.end(asking, Side.TARGET, run.ports.control.sleep)
    assert there(target_cluster, process) == [process]
    session.close()


def test_a_lost_session_that_does_not_end_is_told(
    run: Run, target_cluster: Cluster, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "WAIT_SECONDS", 0.5)
    process = lost(run, proxy)
    with run.sessions.session(Side.TARGET) as session:
        with stopped(process), pytest.raises(ConnectionLost, match=rf"target does not end .* \(PID {process}\)"):
            run.sessions.end_orphans(session)
        run.sessions.end_orphans(session)
    assert there(target_cluster, process) == []


def test_a_lost_session_that_does_not_end_but_holds_nothing_is_waited_for_once(
    run: Run, target_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "WAIT_SECONDS", 1.0)
    known = orphans.Orphans()
    with run.sessions.session(Side.TARGET) as session, run.sessions.session(Side.TARGET) as lost:
        process = lost.info.backend_pid
        known.note(Side.TARGET, process)
        with stopped(process):
            known.end(session, Side.TARGET, run.ports.control.sleep)
            assert there(target_cluster, process) == [process]
            began = time.monotonic()
            known.end(session, Side.TARGET, run.ports.control.sleep)
            assert time.monotonic() - began < 0.5
        lost.close()


def test_a_session_of_an_older_epoch_that_does_not_end_is_told_if_it_may_still_commit(
    run: Run, target_cluster: Cluster
) -> None:
    with psycopg.connect(**target_cluster.arguments(), application_name=application_name(KEY, 0)) as older:
        older.autocommit = True
        process = older.info.backend_pid
        with run.sessions.session(Side.TARGET) as session, stopped(process):
            assert end_older_sessions(session, KEY, 0, wait_seconds=0, strict=Side.TARGET) == 0
            assert end_older_sessions(session, KEY, 1, wait_seconds=0, strict=Side.TARGET) == 1
    with psycopg.connect(**target_cluster.arguments(), application_name=application_name(KEY, 0)) as older:
        older.execute("SELECT 1")
        process = older.info.backend_pid
        with run.sessions.session(Side.TARGET) as session, stopped(process):
            with pytest.raises(ConnectionLost, match=f"PID {process}"):
                end_older_sessions(session, KEY, 1, wait_seconds=0, strict=Side.TARGET)
            assert end_older_sessions(session, KEY, 1, wait_seconds=0) == 1
        older.close()


def test_a_commit_is_not_settled_before_its_session_has_ended(
    run: Run, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making_room, "_IN_DOUBT_TRIES", 2)
    session, _ = begun(run)
    row = session.execute("SELECT pg_catalog.txid_current()::text").fetchone()
    assert row is not None
    proxy.lose()
    session.close()
    with run.sessions.session(Side.TARGET) as asking:
        with pytest.raises(ConnectionLost, match="does not say"):
            took_place(run, asking, str(row[0]))
        run.sessions.end_orphans(asking)
        assert took_place(run, asking, str(row[0])) is False
        row = asking.execute("SELECT pg_catalog.txid_current()::text").fetchone()
        assert row is not None
        assert took_place(run, asking, str(row[0])) is True


_MAKING = """
SET allow_system_table_mods = on; BEGIN; SET LOCAL synchronous_commit = off;
CREATE TEMPORARY TABLE made ON COMMIT DROP AS SELECT * FROM pg_database WHERE datname = 'template1';
UPDATE made SET oid = 4000000000, datname = '{}', datistemplate = false;
INSERT INTO pg_database SELECT * FROM made
"""


def test_a_session_of_an_older_epoch_that_makes_the_database_is_ended_first(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, tmp_path: Path
) -> None:
    name = f"{source_db}_there"
    plan = make_plan(source_cluster, target_cluster, [(source_db, name)], tmp_path, epoch=2, incremental=False)
    waited: list[bool] = []
    with psycopg.connect(
        **target_cluster.arguments(), application_name=application_name(KEY, 1), autocommit=True
    ) as older:
        older.execute(_MAKING.format(name).encode())  # as CREATE DATABASE does, which takes its time afterwards

        def give_up() -> None:
            waited.append(True)
            older.execute("ROLLBACK")

        timer = threading.Timer(15, give_up)
        timer.start()
        try:
            with running(plan) as made:
                assert schema.run(made).done
                for snapshot in made.snapshots.values():
                    snapshot.close()
        finally:
            timer.cancel()
            older.close()
            with target_cluster.connect() as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
    assert not waited


OTHERS = [
    ("CREATE ROLE {older} LOGIN PASSWORD 'given'", "GRANT {older} TO {newer} WITH INHERIT FALSE", False),
    ("CREATE ROLE {older} LOGIN PASSWORD 'given'", "GRANT {older} TO {newer} WITH INHERIT TRUE", True),
    ("CREATE ROLE {older} LOGIN PASSWORD 'given' SUPERUSER", "GRANT {older} TO {newer} WITH INHERIT TRUE", False),
]


@pytest.fixture
def accounts(request: pytest.FixtureRequest, target_cluster: Cluster, target_db: str) -> Iterator[tuple[str, str]]:
    """The account that a task had before, and the one that it has by now, which may end its sessions or not."""
    names = {"older": f"older_{target_db}", "newer": f"newer_{target_db}"}
    made, granted = request.param
    with target_cluster.connect() as connection:
        connection.execute("CREATE ROLE {newer} LOGIN PASSWORD 'given'".format(**names).encode())
        connection.execute(made.format(**names).encode())
        connection.execute(granted.format(**names).encode())
        yield names["older"], names["newer"]
        connection.execute("DROP ROLE {older}, {newer}".format(**names).encode())


@pytest.mark.parametrize(
    ("accounts", "ended"),
    [((made, granted), ended) for made, granted, ended in OTHERS],
    indirect=["accounts"],
    ids=["inherits nothing", "inherits", "a superuser"],
)
def test_sessions_of_a_former_account_are_ended_where_the_server_lets_us(
    target_cluster: Cluster, accounts: tuple[str, str], ended: bool
) -> None:
    older, newer = accounts
    arguments, known = target_cluster.arguments() | {"password": "given"}, orphans.Orphans()
    for own in (0, 1):
        with (
            psycopg.connect(**(arguments | {"user": older}), application_name=application_name(KEY, 0)) as left,
            psycopg.connect(
                **(arguments | {"user": newer}), application_name=application_name(KEY, own), autocommit=True
            ) as session,
        ):
            process = left.info.backend_pid
            if own:
                assert end_older_sessions(session, KEY, own, wait_seconds=5) == int(ended)
            else:
                known.note(Side.TARGET, process)
                known.end(session, Side.TARGET, time.sleep)
            assert there(target_cluster, process) == ([] if ended else [process])
            left.close()
