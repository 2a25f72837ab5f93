"""The TLS forwarder against a TLS front before the embedded server."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import bastions
from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import ConnectFailed, SourceError
from migrations_app.engine.forwarder import Forwarder, offers_tls
from migrations_app.engine.forwarder_process import pump
from migrations_app.engine.plan import Plan, Server, Side, TlsMode
from migrations_app.engine.relay import Relay
from migrations_app.engine.selection import Selection
from migrations_app.engine.wire import Patience
from tests.fakes import FakeControl, wait_until


@dataclass
class Front:
    """A port that answers SSLRequest with S, ends TLS, offers channel binding, and passes bytes to a server."""

    port: int
    ca_file: Path


def _certificate(folder: Path, names: list[x509.GeneralName]) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "front")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / "front.pem", folder / "front.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, secret


def _with_channel_binding(greeting: bytes) -> bytes:
    """Offer SCRAM-SHA-256-PLUS as a server with TLS does; other messages stay as they are."""
    if greeting[:1] != b"R" or greeting[5:9] != b"\0\0\0\x0a":
        return greeting
    offer = b"SCRAM-SHA-256-PLUS\0" + greeting[9:]
    return b"R" + (len(offer) + 8).to_bytes(4, "big") + greeting[5:9] + offer


def _front(client: socket.socket, context: ssl.SSLContext | None, port: int) -> None:
    with contextlib.suppress(OSError, ssl.SSLError), client:
        if client.recv(8)[4:] != (80877103).to_bytes(4, "big"):
            return
        if context is None:
            client.sendall(b"N")
            return
        client.sendall(b"S")
        with context.wrap_socket(client, server_side=True) as tls, socket.create_connection(("127.0.0.1", port)) as up:
            up.sendall(tls.recv(65536))
            tls.sendall(_with_channel_binding(up.recv(65536)))
            pump(tls, up)  # in one thread: two must not share a TLS session


@contextlib.contextmanager
def _listening(context: ssl.SSLContext | None, port: int) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        stop = threading.Event()

        def accept() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    client, _ = listener.accept()
                    client.settimeout(30)
                    threading.Thread(target=_front, args=(client, context, port), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        stop.set()
        thread.join(5)


@pytest.fixture
def front(source_cluster: Cluster, tmp_path: Path) -> Iterator[Front]:
    names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    pem, key = _certificate(tmp_path, names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    with _listening(context, source_cluster.port) as port:
        yield Front(port=port, ca_file=pem)


def _server(cluster: Cluster, port: int, tls: TlsMode, ca_file: Path | str = "") -> Server:
    return Server(
        host="127.0.0.1", port=port, user="postgres", password=cluster.password, tls=tls, ca_file=str(ca_file)
    )


@contextlib.contextmanager
def _sessions(server: Server, tmp_path: Path) -> Iterator[Sessions]:
    plan = Plan(
        key="0badf00d",
        epoch=1,
        source=server,
        target=server,
        databases=(),
        selection=Selection.everything(),
        incremental=False,
        work_dir=tmp_path,
    )
    with Sessions(plan, FakeControl()) as sessions:
        yield sessions


@pytest.mark.parametrize("tls", [TlsMode.REQUIRE, TlsMode.PREFER, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
def test_a_session_goes_through_the_forwarder(
    source_cluster: Cluster, front: Front, tmp_path: Path, tls: TlsMode
) -> None:
    ca_file = front.ca_file if tls in (TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL) else ""
    with _sessions(_server(source_cluster, front.port, tls, ca_file), tmp_path) as sessions:
        connection = sessions.open(Side.SOURCE)
        text = "x" * 3_000_000
        assert connection.execute("SELECT %s::text || 'y'", (text,)).fetchone() == (text + "y",)
        assert sessions.server(Side.SOURCE).host.startswith("/")


def test_prefer_falls_back_when_the_server_has_no_tls(source_cluster: Cluster, tmp_path: Path) -> None:
    with _sessions(_server(source_cluster, source_cluster.port, TlsMode.PREFER), tmp_path) as sessions:
        assert sessions.open(Side.SOURCE).execute("SELECT 1").fetchone() == (1,)


def test_an_unknown_certificate_is_named_as_the_reason(source_cluster: Cluster, front: Front, tmp_path: Path) -> None:
    server = _server(source_cluster, front.port, TlsMode.VERIFY_FULL)
    with _sessions(server, tmp_path) as sessions, pytest.raises(ConnectFailed) as caught:
        sessions.open(Side.SOURCE)
    assert caught.value.code == "TLS-SELF-SIGNED"
    assert "self-signed" in caught.value.message


def test_a_certificate_for_another_name_is_refused_by_verify_full(source_cluster: Cluster, tmp_path: Path) -> None:
    pem, key = _certificate(tmp_path, [x509.DNSName("elsewhere.example")])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    with _listening(context, source_cluster.port) as port:
        server = _server(source_cluster, port, TlsMode.VERIFY_FULL, pem)
        with _sessions(server, tmp_path) as sessions, pytest.raises(ConnectFailed) as caught:
            sessions.open(Side.SOURCE)
        assert caught.value.code == "TLS-NAME"
        with _sessions(replace(server, tls=TlsMode.VERIFY_CA), tmp_path) as sessions:
            assert sessions.open(Side.SOURCE).execute("SELECT 1").fetchone() == (1,)


def test_a_server_without_tls_is_refused_when_tls_is_required(source_cluster: Cluster, tmp_path: Path) -> None:
    server = _server(source_cluster, source_cluster.port, TlsMode.REQUIRE)
    with _sessions(server, tmp_path) as sessions, pytest.raises(ConnectFailed) as caught:
        sessions.open(Side.SOURCE)
    assert caught.value.code == "TLS-REFUSED"
    assert "does not offer TLS" in caught.value.message


def test_a_running_statement_can_be_cancelled_through_the_forwarder(
    source_cluster: Cluster, front: Front, tmp_path: Path
) -> None:
    with _sessions(_server(source_cluster, front.port, TlsMode.REQUIRE), tmp_path) as sessions:
        connection = sessions.open(Side.SOURCE)
        timer = threading.Timer(0.3, sessions.interrupt)
        timer.start()
        with pytest.raises(psycopg.errors.QueryCanceled):
            connection.execute("SELECT pg_sleep(60)")
        timer.join()


def test_rows_are_relayed_raw_through_forwarders_on_both_sides(
    source_cluster: Cluster, front: Front, tmp_path: Path
) -> None:
    with _sessions(_server(source_cluster, front.port, TlsMode.REQUIRE), tmp_path) as sessions:
        source, target = sessions.open(Side.SOURCE), sessions.open(Side.TARGET)
        target.execute("CREATE TEMPORARY TABLE t (id bigint, note text)")
        with Relay(source, target, Patience(lambda: None), lambda count: None) as relay:
            assert relay.raw
            for _ in range(2):
                copied = relay.copy(
                    "COPY (SELECT n::bigint, repeat('x', (n % 500)::int) FROM generate_series(1, 50000) n) TO STDOUT",
                    "COPY t FROM STDIN",
                    "copying t",
                )
                assert copied.rows == 50000
            with pytest.raises(SourceError, match="22012"):
                relay.copy("COPY (SELECT 1 / (9 - n) FROM generate_series(1, 9) n) TO STDOUT", "COPY t FROM STDIN", "x")


def test_offers_tls_asks_the_server(source_cluster: Cluster, front: Front) -> None:
    assert offers_tls(_server(source_cluster, front.port, TlsMode.PREFER), 5)
    assert not offers_tls(_server(source_cluster, source_cluster.port, TlsMode.PREFER), 5)


def test_the_socket_is_private_and_goes_away_with_stop(source_cluster: Cluster, front: Front) -> None:
    server = _server(source_cluster, front.port, TlsMode.REQUIRE)
    forwarder = Forwarder.start(server, 5)
    folder = Path(forwarder.plain(server).host)
    assert folder.stat().st_mode & 0o777 == 0o700
    forwarder.stop()
    forwarder.stop()
    assert not folder.exists()


def test_it_ends_when_its_parent_is_killed() -> None:
    script = (
        "import sys\n"
        "from migrations_app.engine.forwarder import Forwarder\n"
        "from migrations_app.engine.plan import Server, TlsMode\n"
        "server = Server(host='127.0.0.1', port=1, user='x', tls=TlsMode.REQUIRE)\n"
        "forwarder = Forwarder.start(server, 5)\n"
        "print(forwarder._process.pid, forwarder.plain(server).host, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin
    assert parent.stdout
    pid, folder = parent.stdout.readline().decode().split()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(10)
    parent.stdin.close()
    parent.stdout.close()
    wait_until(lambda: not Path(folder).exists(), what="the end of the forwarder's folder")
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the end of the forwarder")


@pytest.fixture
def _none_shared() -> Iterator[None]:
    bastions.close_shared()
    yield
    bastions.close_shared()


def _pid(sessions: Sessions) -> int:
    sessions.open(Side.SOURCE)
    forwarder = sessions.forwarders.known(Side.SOURCE)
    assert forwarder
    return forwarder._process.pid


@pytest.mark.usefixtures("_none_shared")
@pytest.mark.parametrize("tls", [TlsMode.REQUIRE, TlsMode.PREFER])
def test_slices_leave_the_process_to_each_other(
    source_cluster: Cluster, front: Front, tmp_path: Path, tls: TlsMode
) -> None:
    seen = []
    for in_slices in (True, True, False):
        with _sessions(_server(source_cluster, front.port, tls), tmp_path) as sessions:
            sessions.forwarders.in_slices = in_slices
            seen.append(_pid(sessions))
    first, second, alone = seen
    assert first == second != alone
    assert Path(f"/proc/{first}").exists()
    assert not Path(f"/proc/{alone}").exists()


@pytest.mark.usefixtures("_none_shared")
def test_a_process_that_ended_between_two_slices_is_replaced(
    source_cluster: Cluster, front: Front, tmp_path: Path
) -> None:
    seen = []
    for _ in range(2):
        with _sessions(_server(source_cluster, front.port, TlsMode.REQUIRE), tmp_path) as sessions:
            sessions.forwarders.in_slices = True
            seen.append(_pid(sessions))
            forwarder = sessions.forwarders.known(Side.SOURCE)
        assert forwarder
        os.kill(seen[-1], signal.SIGKILL)
        wait_until(lambda ended=forwarder: not ended.alive(), what="its end")
    assert seen[0] != seen[1]


@pytest.mark.usefixtures("_none_shared")
def test_with_many_servers_slices_keep_few_processes(
    source_cluster: Cluster, front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bastions, "_MOST_FOR_SLICES", 1)
    server = _server(source_cluster, front.port, TlsMode.REQUIRE)
    seen = []
    for ca_file in ("", "", front.ca_file):
        with _sessions(replace(server, ca_file=str(ca_file)), tmp_path) as sessions:
            sessions.forwarders.in_slices = True
            seen.append(_pid(sessions))
    assert seen[0] == seen[1] != seen[2]
    assert not Path(f"/proc/{seen[2]}").exists()
