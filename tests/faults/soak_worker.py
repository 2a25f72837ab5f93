"""Workers that sync until they are killed, forked from a process that has everything loaded: a thousand take minutes.

Reads (plan, databases, tables, path) as pickles on stdin. For each it prints the pid of a worker, then, once that has
ended, its exit code; -9 when it was killed.
"""

from __future__ import annotations

import os
import pickle
import sys
import traceback
from typing import Any, cast

from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import EngineError
from migrations_app.engine.outcome import Run
from migrations_app.engine.replication import apply, batch_path
from migrations_app.engine.replication.session import SyncSession
from tests.fakes import FakeStore, fake_ports

MAY_PASS, FOR_GOOD = 3, 4
"""Exit codes: an error after which the runner tries again by itself, and one after which it does not."""


def sync(plan: Any, databases: Any, tables: Any, path: str) -> None:
    """Sync as a slice does, without an end. `path`: batches, or as the product decides."""
    if path == "batches":
        apply._FEW_CHANGES, apply._WORTH_CHANGES, apply._MOST_CHANGES, batch_path._COPY_ROWS = -1, 20, 60, 2
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    store.databases.update(databases)
    store.table_rows.update(tables)
    with Sessions(plan, ports.control) as sessions:
        run = Run(plan=plan, ports=ports, sessions=sessions)
        with SyncSession(run, plan.databases[0]) as session:
            session.advance()


def work(job: tuple[Any, ...]) -> int:
    """Sync, and say how it ended."""
    try:
        sync(*job)
    except EngineError as error:
        if error.retryable:
            return MAY_PASS
        traceback.print_exc()
    except BaseException:
        traceback.print_exc()
    return FOR_GOOD


def main() -> None:
    """Fork a worker for each job, one after another."""
    while True:
        try:
            job = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own test wrote it
        except EOFError:
            return
        pid = os.fork()
        if pid == 0:
            os._exit(work(job))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
