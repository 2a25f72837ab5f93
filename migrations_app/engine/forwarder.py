"""TLS and SSH for everything that needs a plain socket: a private forwarder process per server.

The raw relay and the packaged pg_dump and pg_restore speak neither. They dial a unix socket in a folder that only we
may enter; the forwarder's own process carries the bytes to the server, over TLS, through a bastion, or both. It must be
another process: blocking libpq calls may hold the interpreter's lock, and a thread of ours would then never read what
they wait for.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .dialling import Answer, HandshakeEnded, dial
from .errors import ConnectFailed
from .plan import Server, TlsMode
from .wording import say

_START_SECONDS = 15.0
_SOCKET_PATH_LIMIT = 100  # the kernel allows 107 bytes
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
REASON_FILE = "reason"
LOSS_FILE = "lost"
STAY, LEAVE = b"s", b"l"


def offers_tls(server: Server, timeout_seconds: float) -> bool:
    """Ask the server whether it speaks TLS. False also when nothing answers: the login will say why. Never raises."""
    try:
        connection, _address = dial(server.host, server.port, timeout_seconds, server.policy)
    except HandshakeEnded:
        return False
    with connection, contextlib.suppress(OSError):
        connection.settimeout(timeout_seconds)
        connection.sendall(SSL_REQUEST)
        return connection.recv(1) == b"S"
    return False


class Forwarder:
    """Forwarder process of one server. It ends with the process that started it, whatever kills that one."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self._process = process
        self._folder = folder

    @classmethod
    def start(cls, server: Server, timeout_seconds: int, *, idle_seconds: float = 0) -> Forwarder:
        """Start it and wait until it listens. Raises ConnectFailed when it cannot run; dials nothing yet.

        `idle_seconds`: it ends by itself when nothing was carried for so long; 0 = it does not.
        """
        folder = _private_folder()
        config = config_of(server) | {
            "timeout_seconds": timeout_seconds,
            "folder": str(folder),
            "idle_seconds": idle_seconds,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "migrations_app.engine.forwarder_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PYTHONPATH": str(_PACKAGE_ROOT), "PATH": os.environ.get("PATH", ""), **_certificate_variables()},
            start_new_session=True,
        )
        forwarder = cls(process, folder)
        try:
            forwarder._introduce(json.dumps(config).encode() + b"\n")
        except OSError as error:
            forwarder.stop()
            raise ConnectFailed(
                say("The process that carries TLS and SSH connections could not be started."),
                hint=say("Look at free memory and processes on this machine, then retry."),
                retryable=True,
            ) from error
        return forwarder

    def _introduce(self, config: bytes) -> None:
        if self._process.stdin is None or self._process.stdout is None:
            raise OSError("no pipes")
        self._process.stdin.write(config)
        self._process.stdin.flush()
        readable, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
        if not readable or self._process.stdout.readline() != b"ready\n":
            raise OSError("it did not get ready")

    def stay(self, wanted: bool) -> None:
        """Have it run on, or end when it was idle for its time from now on."""
        if self._process.stdin:
            with contextlib.suppress(OSError, ValueError):  # it has ended: `alive` tells
                self._process.stdin.write(STAY if wanted else LEAVE)
                self._process.stdin.flush()

    def alive(self) -> bool:
        """Say whether the process still runs."""
        return self._process.poll() is None

    def plain(self, server: Server) -> Server:
        """Return the address on which the server is reachable without TLS: host is the socket's folder."""
        return replace(server, host=str(self._folder), tls=TlsMode.DISABLE, bastion=None, policy=None)

    def failure(self, since: float) -> Answer | None:
        """Return why the last connection could not be opened, or None when that was not the problem. Forgets it.

        `since`: monotonic time; what happened before is somebody else's failure.
        """
        note = self._note(REASON_FILE, since)
        with contextlib.suppress(OSError):
            (self._folder / REASON_FILE).unlink()
        return Answer.from_json(note["answer"]) if note else None

    def lost(self, since: float) -> bool:
        """Say whether the SSH connection broke after this monotonic time."""
        return self._note(LOSS_FILE, since) is not None

    def _note(self, name: str, since: float) -> dict[str, Any] | None:
        try:
            note: dict[str, Any] = json.loads((self._folder / name).read_text())
        except (OSError, ValueError):
            return None
        return note if note["at"] >= since else None

    def stop(self) -> None:
        """Stop it and remove its folder. Idempotent."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        shutil.rmtree(self._folder, ignore_errors=True)


def config_of(server: Server) -> dict[str, Any]:
    """Return what the process must know of a server, secrets of the bastion included: for its stdin only."""
    # Without a CA file the system's store would vouch for anybody's certificate: the name must match as well.
    strict = server.tls is TlsMode.VERIFY_CA and not server.ca_file
    return {
        "host": server.host,
        "port": server.port,
        "tls": (TlsMode.VERIFY_FULL if strict else server.tls).value,
        "ca_file": server.ca_file,
        "cert_file": server.cert_file,
        "key_file": server.key_file,
        "bastion": asdict(server.bastion) if server.bastion else None,
        "policy": server.policy.to_json() if server.policy else None,
    }


def _private_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="towpath-"))
    if len(os.fsencode(folder)) <= _SOCKET_PATH_LIMIT - len("/.s.PGSQL.65535"):
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix="towpath-", dir="/tmp"))


def _certificate_variables() -> dict[str, str]:
    return {name: os.environ[name] for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}
