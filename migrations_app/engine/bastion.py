"""One SSH connection to a bastion, carrying many connections to one server behind it.

The only module of the engine that uses a library besides psycopg: SSH is not to be written twice. It runs inside the
forwarder's process only, where its event loop competes with nobody for the interpreter. Nothing of the account's own
SSH setup is used: no configuration, no agent, no keys, no known hosts; only what the endpoint says.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

import asyncssh

from .dialling import HandshakeEnded, Reason, dial, ended_by
from .plan import Bastion, Server
from .ssh_wire import Wire
from .wording import say

KEEPALIVE_SECONDS = 15
_SSH_PORT = 22
CONNECT_SECONDS = 10
_WINDOW_BYTES = 16 << 20  # what may be on the way per connection: less would limit a copy over a long distance
_PACKET_BYTES = 128 << 10  # a packet's cost hardly depends on its size: OpenSSH fills it when it has more waiting
# The first one is the fastest here by far; a server that knows none of them is too old to be trusted with rows.
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
)


class Tunnel:
    """Opens connections to a server through its bastion. Thread-safe. Connects on first use, again after a loss."""

    def __init__(self, server: Server, lost: Callable[[], None] = lambda: None) -> None:
        if server.bastion is None:
            raise ValueError("the server has no bastion")
        self._server, self._bastion, self._on_loss = server, server.bastion, lost
        self._connection: asyncssh.SSHClientConnection | None = None
        self._carried: set[_Remote] = set()
        self._loop = asyncio.new_event_loop()
        self._opening = asyncio.Lock()
        threading.Thread(target=self._loop.run_forever, name="ssh", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a connection is being carried now."""
        return bool(self._carried)

    def carry(self, local: socket.socket, first: bytes = b"") -> None:
        """Open a connection to the server, send `first`, and from then on carry bytes between it and `local`.

        `local` is taken over. Raises HandshakeEnded (SSH_..., POLICY, DNS).
        """
        future = asyncio.run_coroutine_threadsafe(self._carry(local, first), self._loop)
        try:
            future.result(3 * CONNECT_SECONDS)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise ended_by(Reason.SSH_UNREACHABLE, say("it does not answer in time")) from None

    async def _carry(self, local: socket.socket, first: bytes) -> None:
        server = self._server
        if server.policy is not None and not server.policy.allows_beyond(server.host, server.port):
            raise ended_by(Reason.POLICY)
        connection = await self._connected()
        remote = _Remote(self._carried)
        try:
            channel, _session = await asyncio.wait_for(
                connection.create_connection(
                    lambda: remote,
                    server.host,
                    server.port,
                    encoding=None,
                    window=_WINDOW_BYTES,
                    max_pktsize=_PACKET_BYTES,
                ),
                CONNECT_SECONDS,
            )
        except asyncssh.ChannelOpenError as error:
            if self._connection is not connection:
                raise ended_by(Reason.SSH_UNREACHABLE, say("the SSH connection was lost")) from error
            raise _channel_refusal(error) from error
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise ended_by(Reason.SSH_UNREACHABLE, _words(error)) from error
        local.setblocking(False)
        await self._loop.connect_accepted_socket(lambda: _Local(channel, remote), local)
        channel.write(first)

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._opening:
            if self._connection is None:
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> asyncssh.SSHClientConnection:
        trusted = _public_key(self._bastion.host_key)
        if trusted is None:
            shown = await self._shown_key()
            detail = {"host_key": _line(shown), "fingerprint": shown.get_fingerprint()}
            raise ended_by(Reason.SSH_KEY_UNKNOWN, detail=detail)
        try:
            line = _Line(self._loop, await self._dial())
            connection, _client = await asyncssh.create_connection(
                lambda: _Watch(line, self._forget),
                self._bastion.host,
                self._bastion.port,
                tunnel=line,
                known_hosts=([trusted], [], []),
                keepalive_interval=KEEPALIVE_SECONDS,
                connect_timeout=CONNECT_SECONDS,
                login_timeout=CONNECT_SECONDS,
                encryption_algs=_CIPHERS,
                **_login(self._bastion),
            )
        except asyncssh.PermissionDenied as error:
            raise ended_by(Reason.SSH_LOGIN, say("permission denied")) from error
        except asyncssh.Error as error:  # with a key of another kind, the host may hang up first
            raise await self._key_failure(trusted, error) from error
        except (OSError, TimeoutError) as error:
            raise ended_by(Reason.SSH_UNREACHABLE, _words(error)) from error
        return connection

    async def _key_failure(self, trusted: asyncssh.SSHKey, error: Exception) -> HandshakeEnded:
        """Tell a changed key from a host that ended the conversation for another reason."""
        shown = await self._shown_key()
        if _line(shown) == _line(trusted):
            return ended_by(Reason.SSH_UNREACHABLE, _words(error))
        was, now = trusted.get_fingerprint(), shown.get_fingerprint()
        return ended_by(Reason.SSH_KEY_CHANGED, detail={"fingerprint_was": was, "fingerprint": now})

    async def _shown_key(self) -> asyncssh.SSHKey:
        """Return the key that the host shows now, without trying to log in."""
        try:
            key = await asyncio.wait_for(
                asyncssh.get_server_host_key(sock=await self._dial(), config=None), CONNECT_SECONDS
            )
        except (asyncssh.Error, OSError, TimeoutError) as error:
            raise ended_by(Reason.SSH_UNREACHABLE, _words(error)) from error
        if key is None:
            raise ended_by(Reason.SSH_UNREACHABLE, say("it shows no key"))
        return key

    async def _dial(self) -> socket.socket:
        """Open the TCP connection ourselves: its address is resolved once and judged."""
        bastion, policy = self._bastion, self._server.policy
        try:
            plain, _address = await self._loop.run_in_executor(
                None, dial, bastion.host, bastion.port, CONNECT_SECONDS, policy
            )
        except HandshakeEnded as ended:
            if ended.answer.reason is Reason.POLICY:
                raise ended_by(Reason.POLICY, bastion.host) from ended
            raise ended_by(Reason.SSH_UNREACHABLE, ended.answer.words or str(ended.answer.reason)) from ended
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setblocking(False)
        return plain

    def _forget(self) -> None:
        self._connection = None
        self._on_loss()


def _login(bastion: Bastion) -> dict[str, Any]:
    options: dict[str, Any] = {
        "config": None,
        "agent_path": None,
        "username": bastion.user,
        "password": bastion.password or None,
        "client_keys": None,
        "client_host_keys": None,
        "gss_host": None,
        "x509_trusted_certs": None,
        "x509_trusted_cert_paths": [],  # else it looks into the home folder, which a service may not read
    }
    if bastion.private_key:
        try:
            options["client_keys"] = [asyncssh.import_private_key(bastion.private_key)]
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
            raise ended_by(Reason.SSH_LOGIN, say("the private key cannot be read, or asks for a passphrase")) from error
    return options


def _public_key(line: str) -> asyncssh.SSHKey | None:
    try:
        return asyncssh.import_public_key(line) if line.strip() else None
    except (asyncssh.KeyImportError, ValueError):
        return None


def usable_key(text: str) -> bool:
    """Say whether a text is a private key that needs no passphrase."""
    try:
        asyncssh.import_private_key(text)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
        return False
    return True


_PREFERRED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")


def known_key(known_hosts: str, host: str, port: int) -> str:
    """Return the key by which a host is known in lines of OpenSSH's known_hosts; empty when it is not, or revoked.

    Of several kinds of keys the one that OpenSSH would ask for first. Lines that make no sense are passed over.
    """
    keys: dict[str, str] = {}
    revoked = set()
    for line in known_hosts.splitlines():
        try:
            found = asyncssh.import_known_hosts(line).match(host, "", None if port == _SSH_PORT else port)
        except ValueError:
            continue
        for key in found[0]:
            keys.setdefault(key.get_algorithm(), _line(key))
        revoked |= {_line(key) for key in found[2]}
    for kind in _PREFERRED:
        if kind in keys and keys[kind] not in revoked:
            return keys[kind]
    return ""


def _line(key: asyncssh.SSHKey) -> str:
    """Return a key as one OpenSSH line without comment: algorithm and number."""
    return " ".join(key.export_public_key("openssh").decode().split()[:2])


def _channel_refusal(error: asyncssh.ChannelOpenError) -> HandshakeEnded:
    reason = Reason.SSH_BEYOND if error.code == asyncssh.OPEN_CONNECT_FAILED else Reason.SSH_FORWARD
    return ended_by(reason, _words(error))


def _words(error: Exception) -> str:
    text = getattr(error, "reason", "") or getattr(error, "strerror", "") or type(error).__name__
    return "".join(ch if ch.isprintable() else " " for ch in str(text))[:200]


class _Line:
    """The TCP connection on which SSH is spoken: for the library something that it is tunnelled through."""

    def __init__(self, loop: asyncio.AbstractEventLoop, plain: socket.socket) -> None:
        self._loop, self._plain = loop, plain
        self.wire: Wire | None = None

    async def create_connection(
        self, session_factory: Callable[[], Any], remote_host: str, remote_port: int
    ) -> tuple[Any, Any]:
        """Speak SSH on the connection that is open already."""
        connection = session_factory()
        connection.send_packet = _without_ignored(connection.send_packet)
        self.wire = wire = Wire(connection, self._loop)
        await self._loop.create_connection(lambda: wire, sock=self._plain)
        return None, connection

    def close(self) -> None:
        """Nothing to do: it ends with the connection."""

    async def wait_closed(self) -> None:
        """Nothing to do: it ends with the connection."""


def _without_ignored(send: Callable[..., None]) -> Callable[..., None]:
    """Keep the library from sending an empty packet before each other one.

    That hides the next packet's first block where a cipher chains blocks (CBC); we offer no such cipher.
    """

    def send_packet(kind: int, *parts: bytes, **more: Any) -> None:
        if kind != asyncssh.constants.MSG_IGNORE:
            send(kind, *parts, **more)

    return send_packet


class _Watch(asyncssh.SSHClient):
    """Tells when the SSH connection is gone. Answers no question of the host beyond the password."""

    def __init__(self, line: _Line, gone: Callable[[], None]) -> None:
        self._line, self._gone = line, gone

    def auth_completed(self) -> None:
        if self._line.wire:
            self._line.wire.start_cutting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone()


class _Remote(asyncssh.SSHTCPSession[bytes]):
    """The far side of one carried connection."""

    def __init__(self, carried: set[_Remote]) -> None:
        self._all = carried
        self.local: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._ended = False

    def attach(self, local: asyncio.Transport) -> None:
        self.local = local
        if not self._ended:
            self._all.add(self)
        for data in self._early:
            local.write(data)
        self._early.clear()
        if self._ended:
            local.close()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if self.local is None:
            self._early.append(data)
        else:
            self.local.write(data)

    def eof_received(self) -> bool:
        self._end()  # a session of PostgreSQL is over when one side has ended
        return False

    def pause_writing(self) -> None:
        if self.local is not None:
            self.local.pause_reading()

    def resume_writing(self) -> None:
        if self.local is not None and not self.local.is_closing():
            self.local.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._all.discard(self)
        self._end()

    def _end(self) -> None:
        self._ended = True
        if self.local is not None:
            self.local.close()  # what was received before still goes out


class _Local(asyncio.Protocol):
    """Our side of one carried connection."""

    def __init__(self, channel: asyncssh.SSHTCPChannel[bytes], remote: _Remote) -> None:
        self._channel, self._remote = channel, remote

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - narrows the type of a stream's transport
        self._remote.attach(transport)

    def data_received(self, data: bytes) -> None:
        self._channel.write(data)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._channel.pause_reading()

    def resume_writing(self) -> None:
        with contextlib.suppress(OSError):
            self._channel.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        with contextlib.suppress(OSError):
            self._channel.close()
