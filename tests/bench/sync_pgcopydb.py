"""`pgcopydb follow` as a consumer of `make bench-sync`, where it runs: it needs wal2json on the source."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psycopg

from tests.bench.sync_servers import Bench, Workload
from tests.postgres.sync_kit import Pair

_PLUGIN = "wal2json"
_SLOT = "bench_pgcopydb"
_PATIENCE_SECONDS = 300.0


class CannotRun(Exception):
    """It does not run here, or it applied nothing. The text is its own, or the server's."""


def probe(bench: Bench) -> None:
    """Raise CannotRun unless it is on this machine, and the source has the plugin that it reads by."""
    if shutil.which("pgcopydb") is None:
        raise CannotRun("there is no pgcopydb on this machine")
    try:
        with bench.source.connect() as connection:
            connection.execute(f"SELECT pg_create_logical_replication_slot('{_SLOT}', '{_PLUGIN}')")
            connection.execute(f"SELECT pg_drop_replication_slot('{_SLOT}')")
    except psycopg.Error as error:
        raise CannotRun(f"the source says: {str(error).strip()}") from error


def drain(bench: Bench, workload: Workload, scale: float) -> float:
    """Make the workload's changes once more and let it apply them; return the seconds. Raises CannotRun."""

    def load(bench: Bench, name: str, scale: float) -> None:
        with bench.source.connect(name) as connection:
            connection.execute(f"SELECT pg_create_logical_replication_slot('{_SLOT}', '{_PLUGIN}')")
        workload.load(bench, name, scale)

    pair = bench.prepare(replace(workload, load=load), scale)
    try:
        bench.fresh(bench.target, pair.target_db, pair.source_db)
        return _follow(pair)
    finally:
        for slot in (_SLOT, pair.state.slot):
            pair.at_source(f"SELECT pg_drop_replication_slot('{slot}')")


def _follow(pair: Pair) -> float:
    end = str(pair.value("SELECT pg_current_wal_flush_lsn()::text"))
    with tempfile.TemporaryDirectory(prefix="towpath-pgcopydb-") as name:
        secrets = Path(name) / "passwords"
        secrets.touch(0o600)
        secrets.write_text(
            "".join(f"127.0.0.1:{one.port}:*:postgres:{one.password}\n" for one in (pair.source, pair.target))
        )
        env = {**os.environ, "PGPASSFILE": str(secrets)}
        source, target = ["--source", _line(pair, "source")], ["--target", _line(pair, "target")]
        named = ["--slot-name", _SLOT, "--origin", "bench", "--dir", str(Path(name) / "work"), "--not-consistent"]
        _run(["stream", "setup", *source, *target, *named], env)
        _run(["stream", "sentinel", "set", "apply", *source], env)
        started = time.monotonic()
        said = _run(["follow", *source, *target, *named, "--endpos", end, "--resume"], env)
        seconds = time.monotonic() - started
    if pair.value("SELECT count(*) FROM mark", "target") != 1:
        raise CannotRun(f"it ended, and the last change is not on the target: {said}")
    return seconds


def _line(pair: Pair, side: str) -> str:
    cluster, name = (pair.source, pair.source_db) if side == "source" else (pair.target, pair.target_db)
    return f"host=127.0.0.1 port={cluster.port} user=postgres dbname={name}"


def _run(arguments: list[str], env: dict[str, str]) -> str:
    """Run it and return its last line."""
    try:
        done = subprocess.run(
            ["pgcopydb", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE_SECONDS,
            env=env,
        )
    except subprocess.TimeoutExpired as late:
        raise CannotRun(f"pgcopydb {arguments[0]} did not end within {_PATIENCE_SECONDS:.0f} s") from late
    words = (done.stderr or done.stdout).strip().splitlines()
    last = words[-1] if words else "it said nothing"
    if done.returncode:
        raise CannotRun(f"pgcopydb {arguments[0]} ended with code {done.returncode}: {last}")
    return last
