"""Things that answer at a port but are not the server one hoped for."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import random
import re
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from migrations_app.engine.forwarder_process import pump

Talk = Callable[[socket.socket], None]
_listening: list[Talk] = []


@contextlib.contextmanager
def listening(talk: Talk) -> Iterator[int]:
    """Serve `talk` for every connection on a free loopback port; yields the port."""
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen(16)
    server.settimeout(0.1)
    done = threading.Event()

    def one(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError, ValueError):
            client.settimeout(10)
            talk(client)

    def accept() -> None:
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                client, _ = server.accept()
                threading.Thread(target=one, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    _listening.append(talk)
    try:
        yield server.getsockname()[1]
    finally:
        _listening.remove(talk)
        done.set()
        thread.join()
        server.close()


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def refusal(sqlstate: str, words: str) -> bytes:
    return message(b"E", f"SFATAL\0VFATAL\0C{sqlstate}\0M{words}\0\0".encode())


AUTH_OK = message(b"R", struct.pack("!i", 0))
READY = message(b"Z", b"I")


def refusing(sqlstate: str, words: str = "nein") -> Talk:
    """A server that answers every login with this error."""

    def talk(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(refusal(sqlstate, words))

    return talk


def pretending(version: str) -> Talk:
    """A server that lets everybody in and says that it is of this version."""

    def talk(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(AUTH_OK + message(b"S", b"server_version\0" + version.encode() + b"\0") + READY)
        client.recv(4096)

    return talk


def one_pretends() -> bool:
    """Say whether a server that only pretends to be PostgreSQL is there: what it answers, no real one has said."""
    return any(talk.__qualname__.startswith(f"{pretending.__name__}.") for talk in list(_listening))


def silent(client: socket.socket) -> None:
    """Accepts, reads, never answers."""
    while client.recv(4096):
        pass


def saying(data: bytes) -> Talk:
    """Answers the first packet with fixed bytes."""

    def talk(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(data)

    return talk


def endless(chunk: bytes) -> Talk:
    """Talks until the other side hangs up."""

    def talk(client: socket.socket) -> None:
        client.recv(4096)
        while True:
            client.sendall(chunk)

    return talk


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write a self-signed certificate and its key; returns both paths."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, secret = folder / f"{name}.pem", folder / f"{name}.key"
    pem.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, secret


def forgetting_options(port: int) -> Talk:
    """Passes everything on to the server at `port` but the session's `options`, as some poolers are set up to do."""

    def talk(client: socket.socket) -> None:
        head = _exactly(client, 8)
        body = _exactly(client, struct.unpack("!i", head[:4])[0] - 8)
        words = body.split(b"\0")
        if b"options" in words[::2]:
            at = 2 * words[::2].index(b"options")
            body = b"\0".join(words[:at] + words[at + 2 :])
        with socket.create_connection(("127.0.0.1", port)) as server:
            server.sendall(struct.pack("!i", len(body) + 8) + head[4:] + body)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            server.shutdown(socket.SHUT_RDWR)
            back.join(5)

    return talk


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = client.recv(size - len(data))
        if not more:
            raise ValueError("the client hung up")
        data += more
    return data


def tls_in_front_of(port: int, pem: Path, key: Path) -> Talk:
    """Ends TLS as a PostgreSQL proxy does and passes everything on to the server at `port`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return tls_with(context, port)


def tls_with(context: ssl.SSLContext, port: int) -> Talk:
    """Ends TLS with this context and passes everything on to the server at `port`; without TLS it hangs up."""

    def talk(client: socket.socket) -> None:
        if client.recv(8)[4:] != (80877103).to_bytes(4, "big"):
            return
        client.sendall(b"S")
        # One thread for both ways: when two use one TLS session, a read sometimes takes the other's write for the end.
        secure = context.wrap_socket(client, server_side=True)
        with secure, socket.create_connection(("127.0.0.1", port)) as server:
            pump(secure, server)

    return talk


def pooling(port: int) -> Talk:
    """Passes everything on to the server at `port`, but greets with a process number of its own as poolers do."""

    def talk(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=_pump, args=(server, client, _other_process), daemon=True)
            back.start()
            _pump(client, server)
            server.shutdown(socket.SHUT_RDWR)
            back.join(5)

    return talk


def _other_process(data: bytes) -> bytes:
    return re.sub(rb"K\0\0\0\x0c(....)", b"K\0\0\0\x0c\0\0\0\x07", data, count=1, flags=re.DOTALL)


def balancing(*ports: int) -> Talk:
    """Passes each connection on to the next of the servers in turn."""
    turn = itertools.cycle(ports)

    def talk(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", next(turn))) as server:
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            server.shutdown(socket.SHUT_RDWR)
            back.join(5)

    return talk


def freezing(port: int, frozen: threading.Event) -> Talk:
    """Passes everything on to the server at `port` until the event is set; then nothing, and hangs up on nobody."""

    def talk(client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            back = threading.Thread(target=_pump_until, args=(server, client, frozen), daemon=True)
            back.start()
            _pump_until(client, server, frozen)

    return talk


def _pump_until(source: socket.socket, sink: socket.socket, frozen: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        source.settimeout(0.05)
        while True:
            try:
                data = source.recv(65536)
            except TimeoutError:
                continue
            if not data:
                sink.shutdown(socket.SHUT_RDWR)
                return
            if not frozen.is_set():
                sink.sendall(data)


def _pump(source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes] = bytes) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := source.recv(65536):
            sink.sendall(change(data))


_CANCEL = 80877102


def sharing(port: int, password: str) -> Talk:
    """Brings each transaction to any of two sessions of the server at `port`, as poolers do that share out sessions by
    transaction. Both are given the settings that the client logs in with."""

    def talk(client: socket.socket) -> None:
        head = _exactly(client, 8)
        body = _exactly(client, struct.unpack("!i", head[:4])[0] - 8)
        with socket.create_connection(("127.0.0.1", port)) as first:
            first.sendall(head + body)
            if struct.unpack("!i", head[4:])[0] == _CANCEL:
                return
            words = [word.decode() for word in body.split(b"\0")]
            given = dict(zip(words[::2], words[1::2], strict=False))
            _log_in(client, first)
            with (
                psycopg.connect(
                    host="127.0.0.1",
                    port=port,
                    user=given["user"],
                    password=password,
                    dbname=given["database"],
                    options=given.get("options", ""),
                    application_name=given.get("application_name", ""),
                ) as other,
                socket.socket(fileno=os.dup(other.pgconn.socket)) as second,
            ):
                second.setblocking(True)
                _share(client, first, second)

    return talk


def _log_in(client: socket.socket, server: socket.socket) -> None:
    """Pass everything on until the server is ready."""
    while True:
        readable, _, _ = select.select([client, server], [], [])
        if client in readable:
            server.sendall(client.recv(65536))
        if server in readable:
            kind, frame = _frame(server)
            client.sendall(frame)
            if kind == b"Z":
                return


def _frame(sock: socket.socket) -> tuple[bytes, bytes]:
    head = _exactly(sock, 5)
    return head[:1], head + _exactly(sock, struct.unpack("!i", head[1:])[0] - 4)


def _share(client: socket.socket, *servers: socket.socket) -> None:
    at, waiting, dice = 0, 0, random.Random(4)  # noqa: S311 - which session it is
    with contextlib.suppress(OSError, ValueError):
        while True:
            readable, _, _ = select.select([client, servers[at]], [], [])
            if servers[at] in readable:
                kind, frame = _frame(servers[at])
                client.sendall(frame)
                if kind == b"Z":
                    waiting -= 1
                    if not waiting and frame[5:] == b"I":
                        at = dice.randrange(2)
            elif client in readable:
                kind, frame = _frame(client)
                waiting += kind in (b"Q", b"S")
                servers[at].sendall(frame)
                if kind == b"X":
                    return
