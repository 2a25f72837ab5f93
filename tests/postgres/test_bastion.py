"""Servers behind an SSH host: everything that dials goes through one SSH connection per side."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import bastions, inventory
from migrations_app.engine.connect import Sessions, translate
from migrations_app.engine.errors import ConnectFailed, ConnectionLost
from migrations_app.engine.forwarder import Forwarder, config_of
from migrations_app.engine.plan import Plan, Server, Side, TlsMode
from migrations_app.engine.probe import probe
from migrations_app.engine.relay import Relay
from migrations_app.engine.selection import Selection
from migrations_app.engine.wire import Patience
from tests import impostors
from tests.bastions import PASSWORD, SshHost, ssh_host
from tests.fakes import FakeControl, wait_until

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@pytest.fixture(scope="module")
def host(source_cluster: Cluster) -> Iterator[SshHost]:
    with ssh_host(("127.0.0.1", source_cluster.port), ("127.0.0.1", 1)) as one:
        yield one
        bastions.close_shared()


@pytest.fixture
def server(source_cluster: Cluster, host: SshHost) -> Server:
    return Server(
        host="127.0.0.1",
        port=source_cluster.port,
        user="postgres",
        password=source_cluster.password,
        require_auth="scram-sha-256",
        bastion=host.bastion(),
    )


@contextlib.contextmanager
def _sessions(source: Server, tmp_path: Path, **more: Any) -> Iterator[Sessions]:
    plan = Plan(
        key="0badf00d",
        epoch=1,
        source=source,
        target=source,
        databases=(),
        selection=Selection.everything(),
        incremental=False,
        work_dir=tmp_path,
        **more,
    )
    with Sessions(plan, FakeControl()) as sessions:
        yield sessions


def _failure(server: Server) -> ConnectFailed:
    with pytest.raises(ConnectFailed) as caught:
        probe(server, Side.SOURCE)
    assert caught.value.hint
    words = caught.value.message + caught.value.hint + str(caught.value.detail)
    assert not [secret for secret in (server.password, PASSWORD, "PRIVATE KEY") if secret in words]
    return caught.value


def test_tests_and_readings_share_one_ssh_connection(server: Server, host: SshHost) -> None:
    found = probe(server, Side.SOURCE)
    logins = host.logins
    assert found.tls == "none"
    list(inventory.read_inventory(server))
    assert probe(server, Side.SOURCE).system_id == found.system_id
    assert host.logins == logins


def test_a_private_key_opens_the_ssh_host_too(server: Server, host: SshHost) -> None:
    assert probe(replace(server, bastion=host.bastion(password="", private_key=host.private_key())), Side.SOURCE)


def test_a_run_has_one_ssh_connection_per_side(server: Server, host: SshHost, tmp_path: Path) -> None:
    bastions.close_shared()
    before = host.logins
    with _sessions(server, tmp_path) as sessions:
        for side in (*Side, *Side):
            assert sessions.open(side).execute("SELECT 1").fetchone() == (1,)
        replication = sessions.open(Side.SOURCE, replication=True)
        assert replication.execute("IDENTIFY_SYSTEM").fetchone()
    assert host.logins == before + 2


def _process_of(sessions: Sessions) -> int:
    sessions.open(Side.SOURCE)
    forwarder = sessions.forwarders.known(Side.SOURCE)
    assert forwarder
    return forwarder._process.pid


def test_a_run_goes_on_with_the_ssh_connection_of_its_check(server: Server, host: SshHost, tmp_path: Path) -> None:
    probe(server, Side.SOURCE)
    logins = host.logins
    pids = []
    for _ in range(2):
        with _sessions(server, tmp_path) as sessions:
            pids.append(_process_of(sessions))
    assert probe(server, Side.SOURCE)
    assert pids == [bastions._known[bastions._key(server)]._process.pid] * 2
    assert host.logins == logins


def test_two_runs_at_a_time_have_ssh_connections_of_their_own(server: Server, tmp_path: Path) -> None:
    probe(server, Side.SOURCE)
    with _sessions(server, tmp_path) as first, _sessions(server, tmp_path) as second:
        assert _process_of(first) != _process_of(second)


def test_what_a_run_has_claimed_outlives_its_idle_time_until_the_run_ends(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bastions.close_shared()
    monkeypatch.setattr(bastions, "IDLE_SECONDS", 0.5)
    probe(server, Side.SOURCE)
    claimed = bastions.claim_forwarder(server)
    assert claimed
    other = bastions.shared_forwarder(replace(server, port=1), 5)
    wait_until(lambda: not other.alive(), what="the end of one that nobody uses")
    assert claimed.alive()
    bastions.release_forwarder(claimed)
    wait_until(lambda: not claimed.alive(), what="the end of what was given back")
    assert bastions.claim_forwarder(server) is None


def test_processes_for_two_servers_start_side_by_side_and_one_for_each(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bastions.close_shared()
    both, started, start = threading.Barrier(2), [], Forwarder.start

    def start_together(one: Server, *arguments: Any, **more: Any) -> Forwarder:
        both.wait(20)
        started.append(one.port)
        return start(one, *arguments, **more)

    monkeypatch.setattr(Forwarder, "start", start_together)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        servers = [replace(server, port=port) for port in (1, 2, 1, 2)]
        found = list(pool.map(lambda one: bastions.shared_forwarder(one, 5), servers))
    assert (found[0], found[1]) == (found[2], found[3])
    assert sorted(started) == [1, 2]
    bastions.close_shared()


def test_rows_are_relayed_raw_through_ssh(server: Server, tmp_path: Path) -> None:
    with _sessions(server, tmp_path) as sessions:
        source, target = sessions.open(Side.SOURCE), sessions.open(Side.TARGET)
        target.execute("CREATE TEMPORARY TABLE t (id bigint, note text)")
        with Relay(source, target, Patience(lambda: None), lambda count: None) as relay:
            assert relay.raw
            copied = relay.copy(
                "COPY (SELECT n::bigint, repeat('x', (n % 500)::int) FROM generate_series(1, 60000) n) TO STDOUT",
                "COPY t FROM STDIN",
                "copying t",
            )
        assert copied.rows == 60000
        assert target.execute("SELECT sum(length(note)), count(*) FROM t").fetchone() == (14970000, 60000)


def test_a_running_statement_can_be_cancelled_through_ssh(server: Server, tmp_path: Path) -> None:
    with _sessions(server, tmp_path) as sessions:
        watch, connection = sessions.open(Side.TARGET), sessions.open(Side.SOURCE)
        cursor = connection.cursor()
        connection.pgconn.send_query(b"SELECT pg_sleep(60)")
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
        wait_until(lambda: watch.execute(asleep).fetchone() == (1,), what="the statement to run")
        connection.cancel_safe(timeout=20)
        wait_until(lambda: watch.execute(asleep).fetchone() == (0,), what="the end of the statement")
        cursor.close()


def test_a_lost_ssh_connection_is_a_lost_connection_and_is_made_again(
    server: Server, host: SshHost, tmp_path: Path
) -> None:
    with _sessions(server, tmp_path) as sessions:
        started = time.monotonic()
        connection = sessions.open(Side.SOURCE)
        assert not sessions.lost(Side.SOURCE, started)
        host.drop()
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("SELECT pg_sleep(60)")
        error = translate(caught.value, Side.SOURCE, "waiting")
        assert isinstance(error, ConnectionLost)
        assert error.retryable
        wait_until(lambda: sessions.lost(Side.SOURCE, started), what="the note about the loss")
        assert sessions.open(Side.SOURCE).execute("SELECT 1").fetchone() == (1,)


def test_a_key_that_nobody_confirmed_is_shown_and_nothing_is_sent(server: Server, host: SshHost) -> None:
    before = host.logins
    error = _failure(replace(server, bastion=host.bastion(host_key="")))
    assert error.code == "SSH-HOST-KEY-UNKNOWN"
    assert error.detail == {"host_key": host.host_key, "fingerprint": host.key.get_fingerprint()}
    assert host.logins == before


@pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa"])
def test_a_changed_key_is_told_with_both_fingerprints_and_is_never_offered(
    server: Server, host: SshHost, kind: str
) -> None:
    before = host.logins
    known = OTHER_KEY
    if kind == "ssh-rsa":
        known = asyncssh.generate_private_key("ssh-rsa", key_size=2048).export_public_key().decode()
    error = _failure(replace(server, bastion=host.bastion(host_key=known)))
    was = asyncssh.import_public_key(known).get_fingerprint()
    assert error.code == "SSH-HOST-KEY-CHANGED"
    assert error.detail == {"fingerprint_was": was, "fingerprint": host.key.get_fingerprint()}
    assert was in error.message
    assert host.logins == before


@pytest.mark.parametrize("wrong", ["password", "user", "key", "passphrase"])
def test_a_wrong_ssh_login_is_said(server: Server, host: SshHost, wrong: str) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    values: dict[str, Any] = {
        "password": {"password": "not-it"},
        "user": {"user": "nobody"},
        "key": {"password": "", "private_key": other},
        "passphrase": {"password": "", "private_key": host.private_key("secret")},
    }[wrong]
    assert _failure(replace(server, bastion=host.bastion(**values))).code == "SSH-LOGIN"


def test_an_ssh_host_that_is_not_there_is_worth_another_try(server: Server, host: SshHost) -> None:
    error = _failure(replace(server, bastion=host.bastion(port=1)))
    assert (error.code, error.retryable) == ("SSH-UNREACHABLE", True)


def test_something_else_at_the_ssh_port_is_said(server: Server, host: SshHost) -> None:
    with impostors.listening(impostors.saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        assert _failure(replace(server, bastion=host.bastion(port=port))).code == "SSH-UNREACHABLE"


def test_a_port_that_the_ssh_host_does_not_forward_to_is_said(server: Server) -> None:
    error = _failure(replace(server, port=2))
    assert (error.code, error.retryable) == ("SSH-FORWARD", False)


def test_a_server_that_the_ssh_host_cannot_reach_is_told_from_a_refusal(server: Server) -> None:
    error = _failure(replace(server, port=1))
    assert (error.code, error.retryable) == ("CONNECT-UNREACHABLE", True)
    assert "is reached" in error.message


def test_a_wrong_password_behind_ssh_is_told_as_everywhere(server: Server) -> None:
    assert _failure(replace(server, password="not-the-one")).code == "AUTH-FAILED"


@pytest.mark.long
def test_verify_full_behind_ssh_checks_the_real_name(
    source_cluster: Cluster, server: Server, host: SshHost, tmp_path: Path
) -> None:
    pem, key = impostors.certificate(tmp_path, "localhost")
    with impostors.listening(impostors.tls_in_front_of(source_cluster.port, pem, key)) as port:
        host.allowed |= {("localhost", port), ("127.0.0.1", port)}
        named = replace(server, host="localhost", port=port, tls=TlsMode.VERIFY_FULL, ca_file=str(pem))
        assert probe(named, Side.SOURCE).tls == "TLS"
        with _sessions(named, tmp_path) as sessions:
            assert sessions.open(Side.SOURCE).execute("SELECT 1").fetchone() == (1,)
        other = replace(named, host="127.0.0.1")
        assert _failure(other).code == "TLS-NAME"
        assert probe(replace(other, tls=TlsMode.PREFER), Side.SOURCE).tls == "TLS"
    assert probe(replace(server, tls=TlsMode.PREFER), Side.SOURCE)
    assert _failure(replace(server, tls=TlsMode.REQUIRE)).code == "TLS-REFUSED"


def test_no_secret_shows_in_the_process_or_in_a_repr(server: Server, host: SshHost, tmp_path: Path) -> None:
    secret = replace(server, bastion=host.bastion(private_key=host.private_key()))
    with _sessions(secret, tmp_path) as sessions:
        sessions.open(Side.SOURCE)
        forwarder = sessions.forwarders.known(Side.SOURCE)
        assert forwarder
        process = Path(f"/proc/{forwarder._process.pid}")
        seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        seen += repr(sessions.plan).encode() + repr(secret).encode()
        for file in Path(forwarder.plain(secret).host).glob("*"):
            seen += file.read_bytes() if file.is_file() else b""
    assert PASSWORD in str(config_of(secret))  # what is looked for is there to be found
    assert not [word for word in (PASSWORD, "PRIVATE KEY", server.password) if word.encode() in seen]


def test_the_accounts_own_ssh_files_are_not_used(
    server: Server, host: SshHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".ssh"
    folder.mkdir()
    (folder / "id_ed25519").write_text(host.private_key())
    (folder / "id_ed25519").chmod(0o600)
    (folder / "config").write_text("Host *\n  User hopper\n")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{host.port} {host.host_key}\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _failure(replace(server, bastion=host.bastion(password=""))).code == "SSH-LOGIN"
    assert _failure(replace(server, bastion=host.bastion(host_key=""))).code == "SSH-HOST-KEY-UNKNOWN"


def test_a_shared_connection_ends_by_itself_when_nobody_uses_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bastions.close_shared()
    monkeypatch.setattr(bastions, "IDLE_SECONDS", 0.5)
    probe(server, Side.SOURCE)
    (forwarder,) = bastions._known.values()
    pid = forwarder._process.pid
    wait_until(lambda: not forwarder.alive(), what="the end of the idle process")
    assert probe(server, Side.SOURCE)
    assert not os.path.exists(f"/proc/{pid}") or [one for one in bastions._known.values() if one is not forwarder]
    bastions.close_shared()
