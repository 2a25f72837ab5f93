"""The copy of a task in a process of its own, which then says how much memory it has had at most.

Reads (plan, databases, tables, ledger's items) as a pickle on stdin; prints the kilobytes of the resident set's peak.
Indexes are not built: they need no memory of ours.
"""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import cast

from migrations_app.engine import index_lanes
from migrations_app.engine.connect import Sessions
from migrations_app.engine.outcome import Run
from migrations_app.engine.steps import copy
from tests.fakes import FakeStore, fake_ports

ROOT = Path(__file__).parents[2]


def peak_bytes(run: Run) -> int:
    """Copy what `run` has to copy in another process; return the most memory that this had at any moment."""
    store = cast(FakeStore, run.ports.store)
    state = (run.plan, store.databases, store.table_rows, run.ports.ledger.items())
    done = subprocess.run(
        [sys.executable, "-m", "tests.postgres.copy_worker"],
        input=pickle.dumps(state),
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return int(done.stdout) * 1024


def main() -> None:
    plan, databases, tables, items = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own test wrote it
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    store.databases.update(databases)
    store.table_rows.update(tables)
    ports.ledger.intend(*items)
    setattr(index_lanes, "build_tables", lambda *_: None)  # noqa: B010 - the same
    setattr(index_lanes, "build_table", lambda *_: None)  # noqa: B010 - mypy takes an assignment for a mistake
    with Sessions(plan, ports.control) as sessions:
        copy.run(Run(plan=plan, ports=ports, sessions=sessions))
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    print(found[1])


if __name__ == "__main__":
    main()
