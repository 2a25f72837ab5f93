"""A whole installation of the console in a folder of its own: its database, its processes, seen from outside."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

_LIBC = ctypes.CDLL(None)  # before any fork: importing is not safe in a new child
_PR_SET_PDEATHSIG = 1
ROOT = Path(__file__).resolve().parent.parent


class Rows:
    """A session in the console's own database, SQLite or PostgreSQL; both take `?` for a value here."""

    def __init__(self, data: Path, url: str = "") -> None:
        self._data, self._postgres = data, url
        self._session = self._connect()

    def _connect(self) -> Any:
        if self._postgres:
            return psycopg.connect(self._postgres, autocommit=True)
        return sqlite3.connect(self._data / "console.sqlite3", timeout=20, isolation_level=None)

    def again(self) -> None:
        """Open the session anew, after a restart of the server."""
        self._session.close()
        self._session = self._connect()

    def read(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query as they are now."""
        if self._postgres:
            sql = sql.replace("%", "%%").replace("?", "%s")
        return list(self._session.execute(sql, values).fetchall())

    def has_table(self, name: str) -> bool:
        """Say whether a table has been made."""
        catalog = "pg_catalog.pg_class WHERE relname" if self._postgres else "sqlite_master WHERE name"
        return bool(self.read(f"SELECT 1 FROM {catalog} = ?", name))

    def close(self) -> None:
        """End the session."""
        self._session.close()


class Installation:
    """Runs manage.py commands against its own data folder, and looks into its database."""

    _tables = b""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TOWPATH_", "DATABASE_URL"))},
            "TOWPATH_DATA_DIR": str(folder),
            "TOWPATH_LISTEN": "127.0.0.1",  # the servers of the tests are on loopback
            "DJANGO_SETTINGS_MODULE": "console.settings",
            **environment,
        }
        self.data = Path(self.environment["TOWPATH_DATA_DIR"])
        self.processes: list[subprocess.Popen[bytes]] = []

    def manage(self, *arguments: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and return what it printed."""
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        variables = {**self.environment, **environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=variables, cwd=ROOT)

    def migrate(self) -> None:
        """Create the tables; in SQLite only once per process of the tests, and then from a copy."""
        made, sqlite = self.data / "console.sqlite3", "DATABASE_URL" not in self.environment
        if sqlite and Installation._tables:
            self.data.mkdir(parents=True, exist_ok=True)
            made.touch(mode=0o600)
            made.write_bytes(Installation._tables)
            return
        done = self.manage("migrate", "-v0")
        assert done.returncode == 0, done.stderr
        if sqlite:
            Installation._tables = made.read_bytes()

    def shell(self, code: str) -> str:
        """Run Python inside the installation and return what it printed."""
        done = self.manage("shell", "-v0", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command that goes on; its output goes to a log in the folder."""
        log = (self.folder / f"{arguments[0]}-{len(self.processes)}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), *arguments],
            env={**self.environment, **environment},
            cwd=ROOT,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_end_with_us if threading.current_thread() is threading.main_thread() else None,
        )
        log.close()
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """End everything that was started, with all its descendants."""
        for process in self.processes:
            family = [process.pid, *descendants(process.pid)]
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
            for pid in family:
                if alive(pid) and pid != process.pid:
                    os.kill(pid, signal.SIGKILL)
            process.wait(10)

    def rows(self) -> Rows:
        """Return a session in the installation's own database."""
        return Rows(self.data, self.environment.get("DATABASE_URL", ""))

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read once from the installation's own database."""
        with contextlib.closing(self.rows()) as rows:
            return rows.read(sql, *values)

    def logs(self) -> str:
        """Return everything that the started commands printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.rglob("*.log")))


def _end_with_us() -> None:
    """Runs in a new child: ask the kernel for a SIGTERM when the thread that started it is gone, by SIGKILL or else."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _parents() -> Iterator[tuple[int, int, str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            yield int(entry.name), int(fields[1]), fields[0]


def alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    return any(known == pid and state not in "ZX" for known, _, state in _parents())


def descendants(pid: int) -> list[int]:
    """Return the pids below a process, children before grandchildren."""
    table = list(_parents())
    found: list[int] = []
    edge = {pid}
    while edge:
        edge = {child for child, parent, _ in table if parent in edge} - set(found)
        found += sorted(edge)
    return found
