"""A worker of its own process that copies while changes go into the spool, until it is killed.

Reads (plan, store, ledger's items) as a pickle on stdin.
"""

from __future__ import annotations

import pickle
import sys
from typing import cast

from migrations_app.engine.executor import Executor
from migrations_app.engine.ports import Ports
from migrations_app.engine.replication import beside, spool
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeLedger


def main() -> None:
    plan, store, items = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own test wrote it
    spool.FILE_BYTES = 200_000
    setattr(beside, "_LOOK_SECONDS", 0.05)  # noqa: B010 - mypy takes an assignment for a mistake
    ports = Ports(control=FakeControl(), ledger=FakeLedger(), store=store)
    ports.ledger.intend(*items)
    cast(FakeControl, ports.control).spool = True
    with Executor(plan, ports) as executor:
        print("copying", flush=True)
        executor.run(StepName.COPY)


if __name__ == "__main__":
    main()
