"""A plan whose full copy has been made, for tests of what stops its sync; cleaned up afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from migrations_app.engine.cleaning import clean_up
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, fake_ports
from tests.postgres.compare_kit import running


@contextlib.contextmanager
def copied(plan: Plan) -> Iterator[Ports]:
    """Run all steps before the sync; Complete has been asked for already."""
    ports = fake_ports()
    with Executor(plan, ports) as executor:
        for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
            assert executor.run(step).done
    cast(FakeControl, ports.control).complete = True
    yield ports
    with running(replace(plan, epoch=99), Ports(control=FakeControl(), ledger=ports.ledger, store=ports.store)) as run:
        clean_up(run, keep_target_objects=True)
