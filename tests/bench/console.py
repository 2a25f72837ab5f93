"""`make bench-console`: how long the console's pages take on a real web server, alone and with eight clients at once.

Prints for each page the median and the 95th percentile in milliseconds, answers per second, and the CPU time of the
server for one answer, which says the same on a busy machine; then how long a real check of 10,000 tables takes. Twenty
tasks "run" meanwhile: their rows change every second. Nothing here passes or fails. A page is one line in `pages_of_*`;
its rows are made beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from migrations_app.demo.clusters import free_port
from tests.bench.check_pages import pages_of_checks
from tests.bench.checking import check_of
from tests.bench.console_data import pages_of_trees
from tests.bench.list_pages import pages_of_tasks
from tests.bench.load import Figures, Page, measure
from tests.installation import Installation

RUNNING = 20


def serve(installation: Installation, **environment: str) -> tuple[int, int]:
    """Start the web server as `manage.py up` does, and return its port and the pid of `up` once it answers."""
    port = free_port()
    process = installation.start("up", "--only", "web", "--port", str(port), **environment)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
                connection.request("GET", "/healthz")
                with connection.getresponse() as answer:
                    if answer.status == 200:
                        return port, process.pid
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"the web server did not start:\n{installation.logs()[-2000:]}")


@contextlib.contextmanager
def tasks_that_run(folder: Path) -> Iterator[None]:
    """Change the rows of twenty running tasks every second, as workers do."""
    ended = threading.Event()

    def work() -> None:
        connection = sqlite3.connect(folder / "console.sqlite3", timeout=20, isolation_level=None)
        rows = connection.execute(
            "SELECT id FROM migrations_app_migrationtask WHERE status = 'running' ORDER BY created_at DESC LIMIT ?",
            (RUNNING,),
        ).fetchall()
        change = "UPDATE migrations_app_migrationtask SET version = version + 1, lag_seconds = 2 WHERE id = ?"
        while not ended.wait(1.0):
            for row in rows:
                connection.execute(change, row)
        connection.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def line(page: Page, alone: Figures, many: Figures | None) -> str:
    """Return a page's figures as one line of the table."""
    first = f"{page.name:58} {alone.median:7.0f} {alone.slow:7.0f}"
    if many is None:
        return f"{first}    {'–':>7} {'–':>7} {alone.per_second:8.1f} {alone.cpu:8.0f}"
    return f"{first}    {many.median:7.0f} {many.slow:7.0f} {many.per_second:8.0f} {many.cpu:8.0f}"


def measure_pages(installation: Installation, options: argparse.Namespace) -> None:
    """Fill an installation, start its web server, and print the table."""
    started = time.monotonic()
    installation.migrate()
    code = "from tests.bench.filling import main; main()"
    ids = json.loads(installation.shell(code).splitlines()[-1])
    port, server = serve(installation)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"filled in {time.monotonic() - started:.0f} s; {os.cpu_count()} cores, load before: {load}")
    print(f"{'milliseconds':58}   alone: p50  p95    {options.clients} clients: p50  p95    per s   CPU ms", flush=True)
    trees = pages_of_trees(ids)
    pages = trees if options.trees else [*pages_of_tasks(ids), *trees, *pages_of_checks(ids)]
    with tasks_that_run(installation.folder):
        for page in pages:
            if options.only not in page.name:
                continue
            asking = partial(measure, port, server, ids["session"], page)
            if page.file:
                print(line(page, asking(1, 3), None), flush=True)
                continue
            asking(options.clients, 1)  # each process of the web server has loaded what the page needs
            print(line(page, asking(1, options.requests), asking(options.clients, options.requests)), flush=True)


def _end(*_: object) -> None:
    raise SystemExit("ended by a signal")


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench-console", description=__doc__)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=10, help="of each client for each page")
    parser.add_argument("--only", default="", help="pages whose name holds this text, and no check of many tables")
    parser.add_argument("--trees", action="store_true", help="the object tree alone, and no check of many tables")
    parser.add_argument("--tables", type=int, default=10_000, help="of the check; 0: no check")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _end)  # or nobody would end the web server
    signal.signal(signal.SIGHUP, _end)
    with tempfile.TemporaryDirectory(prefix="towpath-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        pages = folder / "pages"
        pages.mkdir()
        installation = Installation(pages, TOWPATH_LOG_LEVEL="ERROR")
        try:
            measure_pages(installation, options)
        finally:
            installation.stop()
        if options.tables and not options.only and not options.trees:
            check_of(options.tables, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
