"""Each way in which TLS or signing in is refused has a code of its own, in a test and in a run alike."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import ConnectFailed, EngineError
from migrations_app.engine.plan import Plan, Server, Side, TlsMode
from migrations_app.engine.probe import probe
from migrations_app.engine.selection import Selection
from tests import impostors
from tests.certificates import Authority, Pair
from tests.fakes import FakeControl


@dataclass
class Doors:
    """TLS in front of one server, a port for each certificate that it may show."""

    ports: dict[str, int]
    ca: Path
    other_ca: Path
    client: Pair
    stranger: Pair
    locked: Pair


@pytest.fixture(scope="module")
def doors(source_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("certificates")
    ours, others = Authority(folder), Authority(folder, "others")
    shown = {
        "good": ours.issue("good", host="127.0.0.1"),
        "elsewhere": ours.issue("elsewhere", host="elsewhere.example"),
        "expired": ours.issue("expired", host="127.0.0.1", days=-2),
        "picky": ours.issue("picky", host="127.0.0.1"),
    }
    pem, key = impostors.certificate(folder, "localhost")
    shown["self-signed"] = Pair(pem, key)
    with contextlib.ExitStack() as stack:
        ports = {}
        for name, pair in shown.items():
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.cert, pair.key)
            if name == "picky":
                context.load_verify_locations(ours.file)
                context.verify_mode = ssl.CERT_REQUIRED
            talk = impostors.tls_with(context, source_cluster.port)
            ports[name] = stack.enter_context(impostors.listening(talk))
        yield Doors(
            ports=ports,
            ca=ours.file,
            other_ca=others.file,
            client=ours.issue("client"),
            stranger=others.issue("stranger"),
            locked=ours.issue("locked", passphrase="secret"),
        )


@pytest.fixture
def server(source_cluster: Cluster, doors: Doors) -> Server:
    return Server(
        host="127.0.0.1",
        port=doors.ports["good"],
        user="postgres",
        password=source_cluster.password,
        tls=TlsMode.VERIFY_FULL,
        ca_file=str(doors.ca),
        require_auth="scram-sha-256",
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


def _codes(server: Server, tmp_path: Path) -> set[str]:
    """Return the codes of a test and of a run; the password must not have gone anywhere."""
    with pytest.raises(EngineError) as caught:
        probe(server, Side.SOURCE)
    with _sessions(server, tmp_path) as sessions, pytest.raises(ConnectFailed) as run:
        sessions.open(Side.SOURCE)
    assert caught.value.hint
    return {caught.value.code, run.value.code}


@pytest.mark.parametrize(
    ("door", "changes", "code"),
    [
        ("self-signed", {}, "TLS-SELF-SIGNED"),
        ("good", {"ca": "other"}, "TLS-UNKNOWN-CA"),
        ("good", {"ca_file": ""}, "TLS-SELF-SIGNED|TLS-UNKNOWN-CA"),
        ("elsewhere", {}, "TLS-NAME"),
        ("expired", {}, "TLS-EXPIRED"),
        ("expired", {"tls": TlsMode.VERIFY_CA}, "TLS-EXPIRED"),
        ("good", {"ca_file": "/nonexistent/ca.pem"}, "TLS-FILES"),
        ("picky", {}, "TLS-CLIENT-CERT"),
        ("picky", {"client": "stranger"}, "TLS-CLIENT-CERT"),
        ("picky", {"client": "locked"}, "TLS-FILES"),
        ("good", {"port": "plain"}, "TLS-REFUSED"),
    ],
)
def test_each_refusal_has_its_own_code(
    source_cluster: Cluster, doors: Doors, server: Server, tmp_path: Path, door: str, changes: Any, code: str
) -> None:
    values: dict[str, Any] = {"port": doors.ports[door], **changes}
    if values.pop("ca", ""):
        values["ca_file"] = str(doors.other_ca)
    if client := values.pop("client", ""):
        pair: Pair = getattr(doors, client)
        values |= {"cert_file": str(pair.cert), "key_file": str(pair.key)}
    if values["port"] == "plain":
        values["port"] = source_cluster.port
    codes = _codes(replace(server, **values), tmp_path)
    assert len(codes) == 1
    assert codes <= set(code.split("|"))


@pytest.mark.parametrize("tls", [TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
def test_a_client_certificate_opens_a_door_that_asks_for_one(
    doors: Doors, server: Server, tmp_path: Path, tls: TlsMode
) -> None:
    values: dict[str, Any] = {"cert_file": str(doors.client.cert), "key_file": str(doors.client.key), "tls": tls}
    if tls is TlsMode.REQUIRE:
        values["ca_file"] = ""
    picky = replace(server, port=doors.ports["picky"], **values)
    assert probe(picky, Side.SOURCE).version >= 160000
    with _sessions(picky, tmp_path) as sessions:
        assert sessions.open(Side.SOURCE).execute("SELECT 1").fetchone() == (1,)


def _asking(method: int, heard: list[bytes], extra: bytes = b"") -> impostors.Talk:
    """A server that asks for the password in one way only, and notes the answer."""

    def talk(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(impostors.message(b"R", struct.pack("!i", method) + extra))
        heard.append(client.recv(4096))
        client.sendall(impostors.refusal("28P01", "no"))

    return talk


def _plain(port: int, require_auth: str | None) -> Server:
    return Server(host="127.0.0.1", port=port, user="postgres", password="canary-secret", require_auth=require_auth)


@pytest.mark.parametrize(
    ("method", "extra", "require_auth", "code"),
    [
        (3, b"", "scram-sha-256", "AUTH-WEAK"),
        (5, b"salt", "scram-sha-256", "AUTH-WEAK"),
        (3, b"", None, "AUTH-WEAK"),
        (7, b"", "password,md5,scram-sha-256", "AUTH-UNSUPPORTED"),
        (5, b"salt", "password,md5,scram-sha-256", "AUTH-FAILED"),
        (3, b"", "password,md5,scram-sha-256", "AUTH-FAILED"),
        (3, b"", "", "AUTH-FAILED"),
    ],
)
def test_a_password_goes_out_only_in_the_ways_that_were_chosen(
    tmp_path: Path, method: int, extra: bytes, require_auth: str | None, code: str
) -> None:
    heard: list[bytes] = []
    with impostors.listening(_asking(method, heard, extra)) as port:
        assert _codes(_plain(port, require_auth), tmp_path) == {code}
    sent = any(data for data in heard)
    assert sent is (code == "AUTH-FAILED")
    assert any(b"canary-secret" in data for data in heard) is (sent and method == 3)


@pytest.mark.parametrize("require_auth", ["scram-sha-256", "password,md5,scram-sha-256"])
def test_a_server_that_lets_anybody_in_is_refused_when_a_password_was_chosen(tmp_path: Path, require_auth: str) -> None:
    with impostors.listening(impostors.pretending("16.14")) as port:
        assert _codes(_plain(port, require_auth), tmp_path) == {"AUTH-NONE"}


def test_a_server_that_lets_anybody_in_is_used_when_that_was_chosen() -> None:
    with impostors.listening(impostors.pretending("19.1")) as port, pytest.raises(EngineError) as caught:
        probe(_plain(port, ""), Side.SOURCE)
    assert caught.value.code == "VERSION-OUT-OF-RANGE"
