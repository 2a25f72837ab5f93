"""The forwarder's own process: accepts on a unix socket, speaks TLS to one server. Started by `engine.forwarder`.

One thread per connection carries both directions. The configuration comes on stdin; the end of stdin ends the process,
so that nothing is left behind when its parent is killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import ssl
import struct
import sys
import threading
from pathlib import Path

from .forwarder import REASON_FILE, SSL_REQUEST
from .handshake import HandshakeEnded, dial, tls_context
from .plan import Server, TlsMode

_BUFFER = 256 * 1024
_MESSAGE_LIMIT = 64 * 1024
_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104
_SASL = 10


class TlsFailed(Exception):
    """The server offers no TLS, or its certificate does not hold."""


class Gate:
    """Knows the server and opens protected connections to it."""

    def __init__(self, config: dict[str, str | int]) -> None:
        self.folder = Path(str(config["folder"]))
        self.timeout = float(config["timeout_seconds"])
        self.server = Server(
            host=str(config["host"]),
            port=int(config["port"]),
            user="",
            tls=TlsMode(str(config["tls"])),
            ca_file=str(config["ca_file"]),
        )

    def listen(self) -> socket.socket:
        """Return the listening socket under the name that libpq looks for."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.folder / f".s.PGSQL.{self.server.port}"))
        listener.listen(64)
        return listener

    def dial(self) -> ssl.SSLSocket:
        """Open a connection and the TLS session on it. Raises TlsFailed, HandshakeEnded or OSError."""
        plain, _address = dial(self.server.host, self.server.port, self.timeout)
        try:
            plain.settimeout(self.timeout)
            _keep_alive(plain)
            plain.sendall(SSL_REQUEST)
            answer = plain.recv(1)
            if answer != b"S":
                raise TlsFailed(
                    "the server does not offer TLS" if answer == b"N" else "this is not a PostgreSQL server"
                )
            return self._wrap(plain)
        except BaseException:
            plain.close()
            raise

    def _wrap(self, plain: socket.socket) -> ssl.SSLSocket:
        try:
            return tls_context(self.server).wrap_socket(plain, server_hostname=self.server.host)
        except ssl.SSLCertVerificationError as error:
            raise TlsFailed(error.verify_message) from error
        except ssl.SSLError as error:
            raise TlsFailed((error.reason or "the handshake failed").replace("_", " ").lower()) from error
        except ConnectionError as error:
            raise TlsFailed("the server closed the connection during the TLS handshake") from error
        except HandshakeEnded as error:
            raise TlsFailed(error.answer.words) from error

    def serve(self, client: socket.socket) -> None:
        """Carry one connection until either end closes it."""
        with client, contextlib.suppress(OSError, ssl.SSLError, ValueError):
            client.settimeout(self.timeout)
            first = _startup(client)
            try:
                upstream = self.dial()
            except TlsFailed as failure:
                self._report(client, f"TLS failed: {failure}", tls=str(failure))
                return
            except HandshakeEnded as ended:
                self._report(client, f"could not connect to the server: {ended.answer.words or ended.answer.reason}")
                return
            except OSError as error:
                self._report(client, f"could not connect to the server: {error.strerror or type(error).__name__}")
                return
            with upstream:
                upstream.sendall(first)
                if struct.unpack_from("!i", first, 4)[0] != _CANCEL:
                    _greet(upstream, client)
                    _pump(client, upstream)
                else:
                    upstream.recv(1)  # the server closes once it has passed the request on

    def _report(self, client: socket.socket, words: str, *, tls: str = "") -> None:
        """Answer as a server would, so that every tool shows the reason; TLS reasons are kept for our own sessions."""
        if tls:
            staged = self.folder / f"{REASON_FILE}.{threading.get_ident()}"
            staged.write_text(tls)
            staged.rename(self.folder / REASON_FILE)
        fields = b"".join(part.encode() + b"\0" for part in ("SFATAL", "VFATAL", "C08006", f"M{words}")) + b"\0"
        client.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("IDLE", 30), ("INTVL", 10), ("CNT", 6)):
        option = getattr(socket, f"TCP_KEEP{name}", None)  # Linux names; elsewhere the system's defaults stay
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data


def _startup(client: socket.socket) -> bytes:
    """Return the client's startup or cancel packet; TLS and GSS on the private socket are declined."""
    while True:
        head = _exactly(client, 8)
        length, code = struct.unpack("!ii", head)
        if not 8 <= length <= _MESSAGE_LIMIT:
            raise ValueError("not a startup packet")
        if code not in (_SSL, _GSS):
            return head + _exactly(client, length - 8)
        client.sendall(b"N")


def _greet(upstream: ssl.SSLSocket, client: socket.socket) -> None:
    """Pass the server's messages up to its first authentication request, in which channel binding is not offered.

    libpq refuses an offer of SCRAM-SHA-256-PLUS on a socket that it knows to be plain.
    """
    while True:
        head = _exactly(upstream, 5)
        (length,) = struct.unpack_from("!i", head, 1)
        if not 4 <= length <= _MESSAGE_LIMIT:
            raise ValueError("not a server message")
        body = _exactly(upstream, length - 4)
        if head[:1] == b"R" and struct.unpack_from("!i", body)[0] == _SASL:
            body = body.replace(b"SCRAM-SHA-256-PLUS\0", b"", 1)
            head = b"R" + struct.pack("!i", len(body) + 4)
        client.sendall(head + body)
        if head[:1] in (b"R", b"E"):
            return


class _Flow:
    """One direction of a connection with its buffer."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source, self.sink = source, sink
        self.buffer = memoryview(bytearray(_BUFFER))
        self.start = self.end = 0
        self.ended = False

    def step(self) -> None:
        """Move what can be moved without waiting."""
        while not self.ended and self.end < _BUFFER:
            try:
                count = self.source.recv_into(self.buffer[self.end :])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            self.ended = count == 0
            self.end += count
        while self.start < self.end:
            try:
                self.start += self.sink.send(self.buffer[self.start : self.end])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
        if self.start == self.end:
            self.start = self.end = 0

    @property
    def pending(self) -> bool:
        return self.start < self.end


def _pump(client: socket.socket, upstream: ssl.SSLSocket) -> None:
    for one in (client, upstream):
        one.setblocking(False)
    up, down = _Flow(client, upstream), _Flow(upstream, client)
    poll = select.poll()
    while True:
        up.step()
        down.step()
        if (up.ended and not up.pending) or (down.ended and not down.pending):
            return
        # What OpenSSL has decrypted already does not make the descriptor readable; `step` has taken all of it unless
        # the buffer was full, and then the way out is what we wait for.
        wanted = {client.fileno(): 0, upstream.fileno(): 0}
        for flow in (up, down):
            if flow.pending:
                wanted[flow.sink.fileno()] |= select.POLLOUT
            if flow.end < _BUFFER and not flow.ended:
                wanted[flow.source.fileno()] |= select.POLLIN
        for descriptor, events in wanted.items():
            poll.register(descriptor, events)
        poll.poll(60_000)


def _accept(gate: Gate, listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=gate.serve, args=(client,), daemon=True).start()


def main() -> None:
    """Serve until stdin ends or the parent is gone, then remove the folder."""
    parent = os.getppid()
    gate = Gate(json.loads(sys.stdin.buffer.readline()))
    listener = gate.listen()
    threading.Thread(target=_accept, args=(gate, listener), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    # A sibling that was forked meanwhile may hold the other end of stdin: the parent's id is watched as well.
    while os.getppid() == parent:
        readable, _, _ = select.select([sys.stdin], [], [], 1.0)
        if readable and not os.read(sys.stdin.fileno(), 1):
            break
    shutil.rmtree(gate.folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
