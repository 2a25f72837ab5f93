"""A worker of its own process that syncs through a spool until it is killed.

Reads (plan, databases, tables, spools) as a pickle on stdin. With the argument "receiving" changes go into the spool,
else what is in it is applied. Works off slice after slice, each in an epoch of its own as after a claim.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
from dataclasses import replace
from typing import cast

from migrations_app.engine.connect import Sessions
from migrations_app.engine.outcome import Run
from migrations_app.engine.replication import spool
from migrations_app.engine.replication.receiving import SpoolTurn
from migrations_app.engine.replication.spooled import Turns, open_session
from tests.fakes import FakeControl, FakeStore, fake_ports


def main() -> None:
    plan, databases, tables, spools = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own test wrote it
    spool.FILE_BYTES = 200_000
    ports = fake_ports()
    store = cast(FakeStore, ports.store)
    store.databases.update(databases)
    store.table_rows.update(tables)
    store.spools.update(spools)
    cast(FakeControl, ports.control).spool = "receiving" in sys.argv
    while True:
        with Sessions(plan, ports.control) as sessions:
            run = Run(plan=plan, ports=ports, sessions=sessions)
            turns = Turns(run, plan.databases[0])
            with contextlib.suppress(SpoolTurn), open_session(run, plan.databases[0]) as session:
                print("syncing", flush=True)
                session.advance(stop=lambda: turns.over(session))  # noqa: B023 - called within this turn
        plan = replace(plan, epoch=plan.epoch + 1)


if __name__ == "__main__":
    main()
