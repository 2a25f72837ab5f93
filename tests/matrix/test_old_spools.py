"""A spool between a source whose stream is translated and its target: what the translation tells survives in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.drift import Doubt
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from tests.fakes import FakeControl, FakeStore
from tests.matrix import test_adding
from tests.matrix.test_changed_columns import COMPUTED, LOGGED_AGAIN, WIDE
from tests.postgres.adding_kit import at, begin, complete, look

pytestmark = pytest.mark.matrix

# Fixtures that stand elsewhere.
source = test_adding.source
plan = test_adding.plan
ports = test_adding.ports


@pytest.fixture
def spooling(plan: Plan, ports: Ports, source: Cluster) -> Iterator[Plan]:
    """A task in its sync whose changes go through a spool from now on."""
    made = replace(plan, spool_bytes=10**9, spool_free_bytes=1)
    at(source, made.databases[0].source_name, *WIDE)
    begin(made, ports)
    cast(FakeControl, ports.control).spool = True
    yield made
    cast(FakeControl, ports.control).spool = False


@pytest.mark.parametrize("source", ["9.6", "10"], indirect=True)
def test_changes_of_an_old_source_go_through_a_spool(
    spooling: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    at(source, spooling.databases[0].source_name, "UPDATE wide SET b = 'spooled' WHERE id < 9")
    look(spooling, ports)
    assert "SPOOL-BEGUN" in [code for _, code, _ in cast(FakeStore, ports.store).events]
    cast(FakeControl, ports.control).spool = False
    look(spooling, ports)
    complete(spooling, ports, source, target_cluster)


@pytest.mark.parametrize("source", ["9.6"], indirect=True)
@pytest.mark.parametrize("ddl", [LOGGED_AGAIN, COMPUTED], ids=["unlogged for a moment", "computed anew"])
def test_rows_that_were_written_anew_are_asked_about_behind_a_spool_as_well(
    ddl: tuple[str, ...], spooling: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    name, store = spooling.databases[0].source_name, cast(FakeStore, ports.store)
    at(source, name, "UPDATE wide SET b = 'before' WHERE id > 90", *ddl, "UPDATE wide SET b = 'after' WHERE id < 3")
    for wanted in (True, False):
        cast(FakeControl, ports.control).spool = wanted
        with pytest.raises(SchemaChanged, match="written anew") as caught:
            look(spooling, ports)
        assert caught.value.drift is not None
        assert (caught.value.drift.doubt, caught.value.drift.name) == (Doubt.REWRITTEN, "wide")
    store.asked_again[name] = [("public", "wide")]
    with Executor(spooling, ports) as executor:
        assert executor.recopy().done
    look(spooling, ports)
    complete(spooling, ports, source, target_cluster)
