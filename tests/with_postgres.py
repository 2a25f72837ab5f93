"""Runs a command with DATABASE_URL set to a fresh embedded PostgreSQL 18: the console's own database on PostgreSQL.

usage: python -m tests.with_postgres COMMAND...
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from migrations_app.demo.clusters import Cluster
from tests.folders import public_folder


def main(command: list[str]) -> int:
    """Return the exit code of the command; the server is gone afterwards."""
    with public_folder("own") as folder:
        cluster = Cluster(folder=folder / "server", major=18, settings={"scram_iterations": "1"})
        cluster.create()
        cluster.start()
        # Ctrl-C is for the command; we end after it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, "DATABASE_URL": cluster.uri()},
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            return process.wait()
        finally:
            cluster.stop()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
