"""A worker of its own process that syncs until it is killed. Reads (plan, databases, tables) as a pickle on stdin,
and a fourth part if there are permissions to take the source's row.

With the argument "batches" everything goes by small batches, which end within transactions too.
"""

from __future__ import annotations

import pickle
import sys
from typing import cast

from migrations_app.engine.connect import Sessions
from migrations_app.engine.outcome import Run
from migrations_app.engine.replication import apply, batch_path
from migrations_app.engine.replication.session import SyncSession
from tests.fakes import FakeStore, fake_ports


def main() -> None:
    if "batches" in sys.argv:
        apply._FEW_CHANGES, apply._WORTH_CHANGES, apply._MOST_CHANGES, batch_path._COPY_ROWS = -1, 20, 60, 2
    plan, databases, tables, *allowed = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own test wrote it
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    store.databases.update(databases)
    store.table_rows.update(tables)
    for permissions in allowed:
        store.allowed.update(permissions)
    with Sessions(plan, ports.control) as sessions:
        run = Run(plan=plan, ports=ports, sessions=sessions)
        with SyncSession(run, plan.databases[0]) as session:
            print("syncing", flush=True)
            session.advance()


if __name__ == "__main__":
    main()
