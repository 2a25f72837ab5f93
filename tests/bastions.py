"""An SSH server of our own, in this process, that forwards to the ports it is told and nowhere else."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from migrations_app.engine.plan import Bastion

USER, PASSWORD = "hopper", "ssh-canary-secret"


@dataclass
class SshHost:
    """A running SSH server. `logins` and `forwards` tell what was asked of it."""

    port: int = 0
    allowed: set[tuple[str, int]] = field(default_factory=set)
    key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    user_key: asyncssh.SSHKey = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))
    logins: int = 0
    forwards: list[tuple[str, int]] = field(default_factory=list)
    connections: list[asyncssh.SSHServerConnection] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @property
    def host_key(self) -> str:
        """The line that an operator confirms."""
        return " ".join(self.key.export_public_key().decode().split()[:2])

    def bastion(self, **more: Any) -> Bastion:
        """Return how to reach it: by password, its key confirmed."""
        values = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": PASSWORD, "host_key": self.host_key}
        return Bastion(**{**values, **more})

    def private_key(self, passphrase: str | None = None) -> str:
        """Return the user's private key."""
        return self.user_key.export_private_key("pkcs8-pem" if passphrase else "openssh", passphrase).decode()

    def drop(self) -> None:
        """Break every SSH connection, as a lost network does."""
        connections, self.connections = self.connections, []
        for connection in connections:
            self.loop.call_soon_threadsafe(connection.abort)


class _Door(asyncssh.SSHServer):
    def __init__(self, host: SshHost) -> None:
        self.host = host

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.host.connections.append(conn)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        good = (username, password) == (USER, PASSWORD)
        self.host.logins += good
        return good

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key.public_data == self.host.user_key.public_data

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        self.host.forwards.append((dest_host, dest_port))
        if (dest_host, dest_port) not in self.host.allowed:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "not permitted here")
        return True


@contextmanager
def ssh_host(*allowed: tuple[str, int], key: asyncssh.SSHKey | None = None, port: int = 0) -> Iterator[SshHost]:
    """Serve until the block ends; forwards to the (host, port) pairs in `allowed` only."""
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    host = SshHost(allowed=set(allowed), **({"key": key} if key else {}))
    thread = threading.Thread(target=host.loop.run_forever, daemon=True)
    thread.start()

    async def start() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen("127.0.0.1", port, server_host_keys=[host.key], server_factory=lambda: _Door(host))

    async def stop(acceptor: asyncssh.SSHAcceptor) -> None:
        acceptor.close()
        for connection in host.connections:
            connection.abort()
        await acceptor.wait_closed()
        await asyncio.sleep(0.05)  # transports close in the loop's next rounds

    acceptor = asyncio.run_coroutine_threadsafe(start(), host.loop).result(30)
    host.port = acceptor.get_port()
    try:
        yield host
    finally:
        asyncio.run_coroutine_threadsafe(stop(acceptor), host.loop).result(30)
        host.loop.call_soon_threadsafe(host.loop.stop)
        thread.join(10)
        host.loop.close()
