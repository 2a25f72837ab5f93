"""The forwarder's own process: accepts on a unix socket, speaks TLS to one server, through SSH if there is a bastion.

Started by `engine.forwarder`.

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
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from .dialling import Answer, HandshakeEnded, Reason, dial, ended_by
from .forwarder import LOSS_FILE, REASON_FILE, SSL_REQUEST, STAY
from .handshake import late_refusal, tls_context, tls_failure
from .plan import Bastion, Server, TlsMode
from .policy import AddressPolicy
from .wording import say

_BUFFER = 256 * 1024
_MESSAGE_LIMIT = 64 * 1024
_CANCEL, _SSL, _GSS = 80877102, 80877103, 80877104
_SASL = 10


def server_from(config: dict[str, Any]) -> Server:
    """Return the server that `forwarder.config_of` wrote down."""
    return Server(
        host=config["host"],
        port=config["port"],
        user="",
        tls=TlsMode(config["tls"]),
        ca_file=config["ca_file"],
        cert_file=config["cert_file"],
        key_file=config["key_file"],
        bastion=Bastion(**config["bastion"]) if config["bastion"] else None,
        policy=AddressPolicy.from_json(config["policy"]) if config["policy"] else None,
    )


class Gate:
    """Knows the server and opens protected connections to it."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.folder = Path(config["folder"])
        self.timeout = float(config["timeout_seconds"])
        self.server = server_from(config)
        self.tunnel = self._tunnel() if self.server.bastion else None
        self._protect = self.server.tls is not TlsMode.DISABLE
        self._lock = threading.Lock()
        self._served = 0
        self._busy_at = time.monotonic()
        self.stays = False  # whether somebody will need us, however long nothing was carried

    def _tunnel(self) -> Any:
        from .bastion import Tunnel  # loading it takes half a second, which only a bastion is worth

        return Tunnel(self.server, lost=lambda: self._leave(LOSS_FILE, {}))

    def idle_seconds(self) -> float:
        """Return for how long nothing has been carried."""
        if self.stays or self._served or (self.tunnel and self.tunnel.busy):
            self._busy_at = time.monotonic()
        return time.monotonic() - self._busy_at

    def listen(self) -> socket.socket:
        """Return the listening socket under the name that libpq looks for."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.folder / f".s.PGSQL.{self.server.port}"))
        listener.listen(64)
        return listener

    def _dial(self) -> socket.socket:
        if self.tunnel:
            ours, theirs = socket.socketpair()
            self.tunnel.carry(theirs)
            return ours
        plain, _address = dial(self.server.host, self.server.port, self.timeout, self.server.policy)
        _keep_alive(plain)
        return plain

    def dial(self) -> socket.socket:
        """Open a connection and the TLS session on it. Raises HandshakeEnded or OSError."""
        plain = self._dial()
        try:
            plain.settimeout(self.timeout)
            plain.sendall(SSL_REQUEST)
            answer = plain.recv(1)
            if answer == b"N" and self.server.tls is TlsMode.PREFER:
                self._protect = False  # decided once: a later answer must not lower the protection
                return plain
            if answer != b"S":
                raise ended_by(*_NO_TLS.get(answer, _NOT_POSTGRES))
            return self._wrap(plain)
        except BaseException:
            plain.close()
            raise

    def _wrap(self, plain: socket.socket) -> ssl.SSLSocket:
        try:
            wrapped = tls_context(self.server).wrap_socket(plain, server_hostname=self.server.host)
        except ssl.SSLError as error:
            raise HandshakeEnded(tls_failure(error)) from error
        except ConnectionError as error:
            raise ended_by(
                Reason.TLS_FAILED, say("the server closed the connection during the TLS handshake")
            ) from error
        if self.server.tls is TlsMode.PREFER:
            self.server = replace(self.server, tls=TlsMode.REQUIRE)
        return wrapped

    def serve(self, client: socket.socket) -> None:
        """Carry one connection until either end closes it."""
        with self._lock:
            self._served += 1
        try:
            with client, contextlib.suppress(OSError, ValueError):
                client.settimeout(self.timeout)
                self._serve(client, _startup(client))
        finally:
            with self._lock:
                self._served -= 1

    def _serve(self, client: socket.socket, first: bytes) -> None:
        try:
            if self.tunnel and not self._protect:
                self.tunnel.carry(client.dup(), first)  # the event loop goes on alone
                return
            upstream = self.dial() if self._protect else self._dial()
        except HandshakeEnded as ended:
            self._report(client, ended.answer)
            return
        except OSError as error:
            self._report(client, _unreachable(error))
            return
        with upstream:
            cancelling = struct.unpack_from("!i", first, 4)[0] == _CANCEL
            try:
                upstream.sendall(first)
                greeting = b"" if cancelling else _exactly(upstream, 5)
            except OSError as error:
                self._report(client, self._second_look(error))
                return
            if cancelling:
                upstream.recv(1)  # the server closes once it has passed the request on
                return
            _greet(upstream, client, greeting)
            pump(client, upstream)

    def _second_look(self, error: OSError) -> Answer:
        """Say why the server did not answer our first words, if need be by dialling again and keeping still.

        A server tells only after the handshake that it does not like our certificate, and what we have sent meanwhile
        can make the system throw that word away.
        """
        answer = tls_failure(error) if isinstance(error, ssl.SSLError) else _unreachable(error)
        if not self._protect or answer.reason is Reason.SILENT:
            return answer
        with contextlib.suppress(OSError, HandshakeEnded), self.dial() as again:
            return late_refusal(again, self.timeout / 2) or answer
        return answer

    def _leave(self, name: str, values: dict[str, object]) -> None:
        """Leave a note with the time in our folder, for the process that started us."""
        staged = self.folder / f"{name}.{threading.get_ident()}"
        with contextlib.suppress(OSError):  # at the very end the folder is gone
            staged.write_text(json.dumps({"at": time.monotonic(), **values}))
            staged.rename(self.folder / name)

    def _report(self, client: socket.socket, answer: Answer) -> None:
        """Answer as a server would, so that every tool shows the reason; it is kept for our own sessions as well."""
        self._leave(REASON_FILE, {"answer": answer.to_json()})
        words = say("could not connect to the server: {words}", words=answer.words or answer.reason)
        fields = b"".join(part.encode() + b"\0" for part in ("SFATAL", "VFATAL", "C08006", f"M{words}")) + b"\0"
        client.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)


_NOT_POSTGRES = (Reason.NOT_POSTGRES, say("it did not answer as PostgreSQL does"))
_NO_TLS = {b"N": (Reason.TLS_NONE, say("the server does not offer TLS"))}


def _unreachable(error: OSError) -> Answer:
    if isinstance(error, TimeoutError):
        return Answer(reason=Reason.SILENT)
    return Answer(reason=Reason.UNREACHABLE, words=error.strerror or type(error).__name__)


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


def _greet(upstream: socket.socket, client: socket.socket, head: bytes) -> None:
    """Pass the server's messages up to its first authentication request, in which channel binding is not offered.

    libpq refuses an offer of SCRAM-SHA-256-PLUS on a socket that it knows to be plain.
    """
    while True:
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
        head = _exactly(upstream, 5)


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


def pump(client: socket.socket, upstream: socket.socket) -> None:
    """Carry bytes both ways until one side has ended, in this thread alone: two threads must not share a TLS session.

    Both sockets become non-blocking. Raises OSError.
    """
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
    """Serve until stdin ends, the parent is gone or nothing was carried for the time set; then remove the folder."""
    parent = os.getppid()
    config = json.loads(sys.stdin.buffer.readline())
    idle_seconds = config["idle_seconds"] or float("inf")
    gate = Gate(config)
    listener = gate.listen()
    threading.Thread(target=_accept, args=(gate, listener), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    # A sibling that was forked meanwhile may hold the other end of stdin: the parent's id is watched as well.
    while os.getppid() == parent and gate.idle_seconds() < idle_seconds:
        readable, _, _ = select.select([sys.stdin], [], [], 1.0)
        if readable:
            word = os.read(sys.stdin.fileno(), 1)
            if not word:
                break
            gate.stays = word == STAY
    shutil.rmtree(gate.folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
