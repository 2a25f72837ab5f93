"""Where the full migration is measured: two servers, the tools, and the workload that is in the source now."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from migrations_app.demo.clusters import Cluster, source_settings
from tests.certificates import Authority
from tests.installation import Installation

from . import memory
from .binaries import bench_binaries
from .hop import Hop
from .workloads import WORKLOADS, fingerprint

JOBS = 2
_SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "maintenance_work_mem": "256MB",
    "fsync": "on",
    "max_locks_per_transaction": "256",
    "log_min_duration_statement": "10",
    "log_line_prefix": "%n %p ",
}


class Field:
    """Two servers, the tools, and the workload that is in the source now."""

    def __init__(
        self, folder: Path, majors: tuple[int, int], pgcopydb: str, *, tls: bool = False, ssh: bool = False
    ) -> None:
        self.folder, self.pgcopydb, self.tls = folder, pgcopydb, tls
        more = {**_SETTINGS, **({"ssl": "on"} if tls else {})}
        here, there = map(bench_binaries, majors)
        self.source = Cluster(folder / "source", majors[0], settings={**source_settings(), **more}, binaries=here)
        self.target = Cluster(folder / "target", majors[1], settings={**more, "max_wal_senders": "0"}, binaries=there)
        for cluster in (self.source, self.target):
            cluster.create()
            if tls:
                _certify(cluster)
            cluster.start()
        self.hop = Hop(folder / "ssh", [self.source, self.target]) if ssh else None
        self._aside = 0
        self.tools = bench_binaries(max(majors))
        self.pass_file = folder / "pgpass"
        lines = [f"127.0.0.1:{self._port(one)}:*:postgres:{one.password}\n" for one in (self.source, self.target)]
        self.pass_file.write_text("".join(lines))
        self.pass_file.chmod(0o600)
        data = folder / "console"
        data.mkdir()
        # As installed: modules are compiled once. Some surroundings forbid it to Python, which then compiles each time.
        compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
        self.installation = Installation(data, TOWPATH_LOG_LEVEL="ERROR", **compiled)
        self.installation.migrate()
        # Compiles what is imported: once, as an installation does it.
        self.installation.manage("task", "list")
        self.installation.shell("import migrations_app.management.cli.foreground")
        self.wanted: Any = None

    def environment(self) -> dict[str, str]:
        """Return what the peers are started with: logins from a file, the newer server's tools first."""
        path = f"{self.tools}:{os.environ.get('PATH', '/usr/bin:/bin')}"
        return {"PATH": path, "PGPASSFILE": str(self.pass_file), "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}

    def fill(self, workload: str, scale: float) -> None:
        """Make the workload on the source, as the database `bench`."""
        self.fresh(self.source)
        with self.source.connect("bench") as connection:
            WORKLOADS[workload](connection, scale)
            connection.execute("VACUUM (FREEZE, ANALYZE)")
            self.wanted = fingerprint(connection)
            connection.execute("CHECKPOINT")

    def fresh(self, cluster: Cluster) -> None:
        """Make an empty database `bench`, with nothing left to write from before.

        One that is there is put aside until `tidy`: a file system leaves out what was freed a moment ago (ext4 its
        inodes, for minutes), and whoever makes files next pays for the search.
        """
        with cluster.connect() as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = 'bench'").fetchone():
                self._aside += 1
                connection.execute(f"ALTER DATABASE bench RENAME TO bench_aside_{self._aside}".encode())
            connection.execute("CREATE DATABASE bench TEMPLATE template0")
            connection.execute("CHECKPOINT")
        memory.occupy(self.folder)

    def tidy(self) -> None:
        """Drop what was put aside. Not right before a run."""
        for cluster in (self.source, self.target):
            with cluster.connect() as connection:
                names = "SELECT datname FROM pg_database WHERE datname LIKE 'bench\\_aside\\_%'"
                for (name,) in connection.execute(names).fetchall():
                    connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
                connection.execute("CHECKPOINT")

    def _port(self, cluster: Cluster) -> int:
        return self.hop.ports[cluster.port] if self.hop else cluster.port

    def uri(self, cluster: Cluster) -> str:
        """Return the address of the workload's database for the peers, which find the password in a file."""
        uri = cluster.uri("bench", with_password=False).replace(f":{cluster.port}/", f":{self._port(cluster)}/")
        return uri + ("?sslmode=require" if self.tls else "")

    def ends(self) -> list[str]:
        """Return the options of `task run` that say where both databases are."""
        options = self.hop.options() if self.hop else []
        for side, cluster in (("--source", self.source), ("--target", self.target)):
            options += [side, cluster.uri("bench") + ("?sslmode=require" if self.tls else "")]
        return options

    def call(self, *command: str | Path, **environment: str) -> str:
        """Run a command to its end, as a child whose CPU time counts as the client's."""
        done = subprocess.run(
            [str(part) for part in command],
            env={**self.environment(), **environment},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr[-1500:]}")
        return done.stdout

    def stop(self) -> None:
        """Stop everything."""
        if self.hop:
            self.hop.stop()
        self.installation.stop()
        self.source.stop()
        self.target.stop()


def _certify(cluster: Cluster) -> None:
    """Give a server a certificate where it looks for one."""
    pair = Authority(cluster.folder).issue("server", host="127.0.0.1")
    for made, name in ((pair.cert, "server.crt"), (pair.key, "server.key")):
        place = cluster.data / name
        shutil.copy(made, place)
        shutil.chown(place, user=cluster.data.owner(), group=cluster.data.group())
        place.chmod(0o600)
