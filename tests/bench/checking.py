"""A real check of very many tables on two real servers, timed."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

from migrations_app.demo.clusters import Cluster, source_settings
from tests.bench.load import cpu_seconds
from tests.installation import Installation

_SCHEMAS = 20
_AT_ONCE = 100


def check_of(tables: int, folder: Path) -> None:
    """Make `tables` tables with keys on a source, check a task that moves them, and print how long that takes."""
    locks = {"max_locks_per_transaction": "512"}
    source = Cluster(folder=folder / "source", major=16, settings={**source_settings(), **locks})
    target = Cluster(folder=folder / "target", major=18, settings={**locks, "max_wal_senders": "0"})
    data = folder / "data"
    data.mkdir()
    installation = Installation(data, TOWPATH_LOG_LEVEL="ERROR")
    try:
        for cluster in (source, target):
            cluster.create()
            cluster.start()
            with cluster.connect() as connection:
                connection.execute("CREATE DATABASE big")
        _fill(source, tables)
        _check(installation, source, target, tables)
    finally:
        installation.stop()
        source.stop()
        target.stop()


def _fill(source: Cluster, tables: int) -> None:
    with source.connect("big") as connection:
        for schema in range(_SCHEMAS):
            connection.execute(f"CREATE SCHEMA s{schema}")
        for first in range(0, tables, _AT_ONCE):
            connection.execute(
                ";".join(
                    f"CREATE TABLE s{number % _SCHEMAS}.t{number} (id bigint PRIMARY KEY, name text, at timestamptz);"
                    f"CREATE INDEX ON s{number % _SCHEMAS}.t{number} (name)"
                    for number in range(first, min(first + _AT_ONCE, tables))
                )
            )
        connection.execute("ANALYZE")


def _check(installation: Installation, source: Cluster, target: Cluster, tables: int) -> None:
    made = installation.manage("task", "create", "--source", source.uri("big"), "--target", target.uri("big"), "--json")
    if made.returncode:
        raise SystemExit(f"the task was not made:\n{made.stderr}")
    key = json.loads(made.stdout.splitlines()[-1])["id"]
    started, before = time.monotonic(), _spent(source, target)
    checked = installation.manage("task", "check", key, "--json", timeout=1800)
    seconds = time.monotonic() - started
    ours, there, here = (now - then for now, then in zip(_spent(source, target), before, strict=True))
    items = installation.query("SELECT status, count(*) FROM migrations_app_checkitem GROUP BY 1 ORDER BY 1")
    slowest = installation.query("SELECT code, seconds FROM migrations_app_checkitem ORDER BY seconds DESC LIMIT 3")
    if not items or any(status == "waiting" for status, _ in items):
        raise SystemExit(f"the check did not run:\n{checked.stdout[-2000:]}{checked.stderr[-2000:]}")
    print(f"check of {tables:,} tables: {seconds:.1f} s, reading the objects and the program's start included;")
    print(f"  CPU time of the program {ours:.1f} s, of the source {there:.1f} s, of the target {here:.1f} s;")
    print(f"  items: {', '.join(f'{number} {status}' for status, number in items)}", end="; ")
    print(f"slowest: {', '.join(f'{code} {spent:.1f} s' for code, spent in slowest)}")


def _spent(*clusters: Cluster) -> list[float]:
    """Return the CPU seconds of programs of ours that have ended, and of each server so far."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return [
        ended.ru_utime + ended.ru_stime,
        *(cpu_seconds(cluster.process.pid) for cluster in clusters if cluster.process is not None),
    ]
