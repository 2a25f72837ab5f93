"""A worker of its own process that syncs until it is killed. Reads (plan, databases, tables) as a pickle on stdin,
a fourth part if there are permissions to take the source's row, and a fifth for leaves to change tables.

With the argument "batches" everything goes by small batches, which end within transactions too. With "changing" or
"changed" it stops for ever, having said so, when a table of the target has been changed: before that is committed, or
before the leave for it is used up. With "peak" and an LSN it ends there, and prints the kilobytes of the resident set's
peak.
"""

from __future__ import annotations

import pickle
import re
import sys
import threading
from pathlib import Path
from typing import Any, cast

from migrations_app.engine.connect import Sessions
from migrations_app.engine.outcome import Run
from migrations_app.engine.replication import apply, batch_path
from migrations_app.engine.replication.reshaping import Reshaping
from migrations_app.engine.replication.session import SyncSession
from tests.fakes import FakeStore, fake_ports


def stop_at(word: str) -> None:
    print(word, flush=True)
    threading.Event().wait()


def stop_when_changing() -> None:
    run = Reshaping.run

    def changed(shapes: Reshaping, *arguments: Any) -> None:
        run(shapes, *arguments)
        stop_at("changing")

    Reshaping.run = changed  # type: ignore[method-assign,assignment]


def main() -> None:
    if "batches" in sys.argv:
        apply._FEW_CHANGES, apply._WORTH_CHANGES, apply._MOST_CHANGES, batch_path._COPY_ROWS = -1, 20, 60, 2
    plan, databases, tables, *allowed = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own test wrote it
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    store.databases.update(databases)
    store.table_rows.update(tables)
    for permissions in allowed[:1]:
        store.allowed.update(permissions)
    for leaves in allowed[1:]:
        store.may_change.update(leaves)
    if "changing" in sys.argv:
        stop_when_changing()
    if "changed" in sys.argv:
        store.leave_used = lambda leave: stop_at("changed")  # type: ignore[method-assign]
    with Sessions(plan, ports.control) as sessions:
        run = Run(plan=plan, ports=ports, sessions=sessions)
        with SyncSession(run, plan.databases[0]) as session:
            print("syncing", flush=True)
            if "peak" in sys.argv:
                session.advance(until=int(sys.argv[-1]))
                print(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0])
                return
            session.advance()


if __name__ == "__main__":
    main()
