"""The consumer of `make bench-sync` in a process of its own. Reads (plan, databases, tables) as a pickle on stdin."""

from __future__ import annotations

import gc
import pickle
import sys
from typing import cast

from migrations_app.engine.connect import Sessions
from migrations_app.engine.outcome import Run
from migrations_app.engine.replication.session import SyncSession
from tests.fakes import FakeStore, fake_ports


def main() -> None:
    """Sync until killed, from the moment that a line comes."""
    gc.set_threshold(50_000, 20, 20)  # as manage.py has it
    plan, databases, tables = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own process wrote it
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    store.databases.update(databases)
    store.table_rows.update(tables)
    print("ready", flush=True)
    sys.stdin.buffer.readline()
    with Sessions(plan, ports.control) as sessions:
        run = Run(plan=plan, ports=ports, sessions=sessions)
        with SyncSession(run, plan.databases[0]) as session:
            session.advance()


if __name__ == "__main__":
    main()
