"""The demo's world: a source with the shop, an empty target, and an application that keeps writing.

Everything lives in one folder and survives a restart of the demo. Started by root, the servers' own files stand
in a folder below /var/tmp instead, and so does a copy of their programs where only root can enter the project's:
PostgreSQL refuses to run as root. That folder goes with the demo.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import field
from pathlib import Path
from typing import Any

from migrations_app.supervisor import Child

from ..engine.values import frozen
from .clusters import Cluster, ClusterError, free_port, require_own, source_settings, wheel_bin
from .shop import load_analytics, load_shop
from .writer import RESTS, WriterStats

_PROJECT = Path(__file__).resolve().parents[2]
_LIBC = ctypes.CDLL(None)
_MAJORS = {"source": 16, "target": 18}
_STATE = "world.json"
_KEYS = frozenset({"secret_key", "encryption_key"})  # without a database they open nothing
_LOADERS = {"shop": load_shop, "analytics": load_analytics}


@frozen(kw_only=False)
class Endpoint:
    """Where a server of the demo listens and how to log in."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)


class World:
    """Two servers and a writer. Use from the main thread: the processes end with the thread that started them."""

    def __init__(self, folder: Path, scale: float = 1.0) -> None:
        self._home = folder.resolve()
        self._scale = scale
        self._state_file = self._home / _STATE
        self._state = self._read_state()
        self._folder = _servers_folder(self._home)
        self._writer: subprocess.Popen[bytes] | None = None
        self.source = self._cluster("source")
        self.target = self._cluster("target")

    def start(self) -> None:
        """Start both servers and load the databases unless they are there. Repeatable after a kill at any moment.

        Raises ClusterError when a server cannot start or the same demo runs already.
        """
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._make_folder()
        for name, cluster in (("source", self.source), ("target", self.target)):
            _wait_for_former(cluster)
            if name not in self._state and cluster.folder.exists():
                shutil.rmtree(cluster.folder)  # of a demo whose folder was deleted: nobody knows its password any more
            cluster.binaries = wheel_bin(cluster.major, self._folder)
            cluster.create()
            cluster.port = self._port(name)
            self._save(**{name: {"port": cluster.port, "password": cluster.password}})
            cluster.start()
        for name in _LOADERS:
            if name not in self._state.get("loaded", []):
                self._load(name)
                self._save(loaded=[*self._state.get("loaded", []), name])

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the logins of `source` and `target`; valid after `start`."""
        return {
            name: Endpoint(host="127.0.0.1", port=cluster.port, user="postgres", password=cluster.password)
            for name, cluster in (("source", self.source), ("target", self.target))
        }

    def writer_child(self) -> Child:
        """Return the writer as a process for the supervisor."""
        return Child(name="writer", argv=self._writer_command(), cwd=_PROJECT)

    def rest_writer(self, *, rests: bool) -> None:
        """Have the writer's process write nothing, or go on; obeyed with its next transaction. Idempotent."""
        file = self._state_file.with_name(RESTS)
        file.touch() if rests else file.unlink(missing_ok=True)

    def start_writer(self) -> None:
        """Start the writer as a process of our own."""
        self._writer = subprocess.Popen(
            self._writer_command(),
            cwd=_PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: _LIBC.prctl(1, signal.SIGTERM),
        )

    def stop_writer(self) -> WriterStats:
        """Let the writer finish its transaction and return what it did; everything it committed is committed.

        Raises ClusterError when it ended by itself before.
        """
        if self._writer is None:
            return WriterStats()
        process, self._writer = self._writer, None
        process.terminate()
        output, _ = process.communicate(timeout=60)
        if process.returncode or not output:
            raise ClusterError(f"the demo's writer ended with code {process.returncode}")
        report = json.loads(output)
        return WriterStats(**{**report, "errors": tuple(report["errors"])})

    def stop(self) -> None:
        """Stop the writer and both servers. Idempotent."""
        with contextlib.suppress(ClusterError, subprocess.TimeoutExpired):
            self.stop_writer()
        self.source.stop()
        self.target.stop()

    def remember(self, **facts: str) -> None:
        """Keep small facts about the demo, such as its login, in the private state file."""
        self._save(facts={**self.facts(), **facts})

    def facts(self) -> dict[str, str]:
        """Return what was remembered."""
        return dict(self._state.get("facts", {}))

    def remove(self) -> None:
        """Delete this world with everything in it. Idempotent. Raises ClusterError while it runs."""
        for cluster in (self.source, self.target):
            _wait_for_former(cluster, seconds=2)
        for folder in (self._folder, self._home):
            if folder.exists():
                require_own(folder)
                shutil.rmtree(folder)

    def __enter__(self) -> World:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _cluster(self, name: str) -> Cluster:
        known = self._state.get(name, {})
        return Cluster(
            folder=self._folder / name,
            major=_MAJORS[name],
            password=known.get("password") or secrets.token_urlsafe(18),
            settings=source_settings() if name == "source" else {},
        )

    def _port(self, name: str) -> int:
        known = int(self._state.get(name, {}).get("port", 0))
        return known if known and _is_free(known) else free_port()

    def _load(self, name: str) -> None:
        quoted = '"' + name + '"'
        with self.source.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)".encode())  # a load that was cut short
            connection.execute(f"CREATE DATABASE {quoted}".encode())
        with self.source.connect(name) as connection:
            if name == "shop":
                load_shop(connection, self._scale)
            else:
                _LOADERS[name](connection)

    def _writer_command(self) -> list[str]:
        return [sys.executable, "-m", "migrations_app.demo.writer", str(self._state_file)]

    def _make_folder(self) -> None:
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir(parents=True)
        require_own(self._folder)
        self._folder.chmod(0o711)  # whatever the umask is: started by root, the servers enter it as `nobody`

    def _read_state(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._state_file.read_text()))
        except FileNotFoundError:
            return {}

    def _save(self, **changes: Any) -> None:
        self._state.update(changes)
        fresh = self._state_file.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(self._state, file)
        fresh.replace(self._state_file)


def _servers_folder(home: Path) -> Path:
    if os.geteuid() != 0:
        return home / "servers"
    mark = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path("/var/tmp") / f"towpath-demo-{mark}"  # noqa: S108 - its owner is checked before use


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _wait_for_former(cluster: Cluster, seconds: float = 15) -> None:
    """Wait until the server of a demo that was killed is gone. Raises ClusterError when it stays."""
    deadline = time.monotonic() + seconds
    while (pid := _former_pid(cluster)) is not None:
        if time.monotonic() > deadline:
            raise ClusterError(f"this demo runs already: PostgreSQL with process id {pid} uses {cluster.data}")
        time.sleep(0.1)


def _former_pid(cluster: Cluster) -> int | None:
    """Return the process that holds the data directory, if it is really a server of ours."""
    try:
        pid = int((cluster.data / "postmaster.pid").read_text().split("\n", 1)[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (OSError, ValueError):
        return None
    return pid if str(cluster.data) in command else None


def clean(data_dir: Path) -> None:
    """Delete the data folder of a demo with all worlds in it. Raises ClusterError while one runs.

    Raises ClusterError as well when no demo ever used the folder: it may hold somebody's real tasks. A folder with
    nothing but keys is what a demo leaves that ended well, or that could not start.
    """
    worlds = [path.parent for pattern in ("*", "*/*") for path in data_dir.glob(f"{pattern}/{_STATE}")]
    if not worlds and any(path.is_file() and path.name not in _KEYS for path in data_dir.rglob("*")):
        raise ClusterError(f"{data_dir} is not the data folder of a demo")
    for folder in worlds:
        World(folder).remove()
    shutil.rmtree(data_dir)


def main(argv: list[str]) -> int:
    """`clean DATA_DIR`: remove a demo that does not run."""
    if len(argv) != 2 or argv[0] != "clean":
        sys.stderr.write("usage: python -m migrations_app.demo.world clean DATA_DIR\n")
        return 2
    try:
        clean(Path(argv[1]).resolve())
    except ClusterError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
