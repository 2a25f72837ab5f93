"""Columns that are others by the same name, and keys by another: sources of every kind of stream tell them."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.drift import Doubt
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.fakes import FakeStore
from tests.matrix import test_adding
from tests.postgres.adding_kit import at, begin, complete, look

pytestmark = pytest.mark.matrix

# Fixtures that stand elsewhere.
source = test_adding.source
plan = test_adding.plan
ports = test_adding.ports

WIDE = (
    "CREATE TABLE wide (id int PRIMARY KEY, a text, b text)",
    "INSERT INTO wide SELECT g, 'a' || g, 'b' || g FROM generate_series(1, 99) g",
)
SWAP = "ALTER TABLE wide RENAME a TO x; ALTER TABLE wide RENAME b TO a; ALTER TABLE wide RENAME x TO b"


@pytest.mark.parametrize("ddl", [SWAP, "ALTER TABLE wide DROP COLUMN b; ALTER TABLE wide ADD COLUMN b text"])
def test_another_column_by_the_same_name_stops_the_sync_and_is_copied_again(
    ddl: str, plan: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    name = plan.databases[0].source_name
    at(source, name, *WIDE)
    begin(plan, ports)
    at(source, name, ddl, "UPDATE wide SET a = 'after' WHERE id < 9")
    with pytest.raises(SchemaChanged) as caught:
        look(plan, ports)
    assert caught.value.drift is not None
    assert caught.value.drift.doubt is Doubt.REMADE
    cast(FakeStore, ports.store).asked_again[name] = [("public", "wide")]
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
        for step in (StepName.COMPLETE, StepName.CLEANUP):
            assert executor.run(step).done
    assert all(comparison.equal for comparison in cast(FakeStore, ports.store).comparisons)
    rows = "SELECT id, a, b FROM wide ORDER BY id"  # where a column stands among the others is another matter
    with source.connect(name) as one, target_cluster.connect(plan.databases[0].target_name) as other:
        assert one.execute(rows).fetchall() == other.execute(rows).fetchall()


@pytest.mark.parametrize("source", ["9.4", "9.5", "9.6"], indirect=True)
def test_rows_from_before_a_key_was_renamed_come_once_it_has_its_former_name(
    plan: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    name = plan.databases[0].source_name
    at(source, name, *WIDE)
    begin(plan, ports)
    at(source, name, "UPDATE wide SET a = 'before' WHERE id < 9", "ALTER TABLE wide RENAME id TO key")
    with pytest.raises(SchemaChanged, match="its key had other columns: key is of the key now"):
        look(plan, ports)
    at(source, name, "ALTER TABLE wide RENAME key TO id")
    look(plan, ports)
    complete(plan, ports, source, target_cluster)


@pytest.mark.parametrize("source", ["9.4", "9.5", "9.6"], indirect=True)
@pytest.mark.parametrize("more", ["UPDATE wide SET a = 'after' WHERE key = 3", "DELETE FROM wide WHERE key = 4"])
def test_a_new_copy_gets_past_rows_from_before_a_key_was_renamed(
    more: str, plan: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    name, store = plan.databases[0].source_name, cast(FakeStore, ports.store)
    at(source, name, *WIDE)
    begin(plan, ports)
    at(source, name, "UPDATE wide SET a = 'before' WHERE id < 9", "DELETE FROM wide WHERE id = 1")
    at(source, name, "ALTER TABLE wide RENAME id TO key", more, "INSERT INTO old VALUES (1000)")
    with pytest.raises(SchemaChanged, match="its key had other columns: key is of the key now"):
        look(plan, ports)
    store.asked_again[name] = [("public", "wide")]
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
    at(source, name, "UPDATE wide SET b = 'later' WHERE key > 90")
    look(plan, ports)
    complete(plan, ports, source, target_cluster)


@pytest.mark.parametrize("source", ["9.5", "9.6"], indirect=True)
def test_a_table_that_the_source_makes_unlogged_is_told_and_comes_with_a_new_copy(
    plan: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    name, store = plan.databases[0].source_name, cast(FakeStore, ports.store)
    at(source, name, *WIDE)
    begin(plan, ports)
    at(source, name, "ALTER TABLE wide SET UNLOGGED", "UPDATE wide SET a = 'never told' WHERE id < 9")
    look(plan, ports)
    ((level, code, said),) = [event for event in store.events if "unlogged" in event[2]]
    assert (level, code) == ("error", "SRC-DDL")
    assert 'Run on the source: ALTER TABLE "public"."wide" SET LOGGED. Then press Copy again' in said
    at(source, name, "ALTER TABLE wide SET LOGGED", "UPDATE wide SET b = 'told' WHERE id > 90")
    store.asked_again[name] = [("public", "wide")]
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
    complete(plan, ports, source, target_cluster)


LOGGED_AGAIN = (
    "ALTER TABLE wide SET UNLOGGED",
    "UPDATE wide SET a = 'never told' WHERE id < 9",
    "ALTER TABLE wide SET LOGGED",
)
COMPUTED = ("ALTER TABLE wide ALTER a TYPE text USING a || '!'",)


@pytest.mark.parametrize("source", ["9.5", "9.6"], indirect=True)
@pytest.mark.parametrize(
    "ddl",
    [LOGGED_AGAIN, COMPUTED, ("ALTER TABLE wide SET WITH OIDS", "ALTER TABLE wide SET WITHOUT OIDS")],
    ids=["unlogged for a moment", "computed anew", "the hidden column oid"],
)
def test_rows_that_were_written_anew_in_the_same_columns_stop_the_sync_and_are_copied_again(
    ddl: tuple[str, ...], plan: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    name, store = plan.databases[0].source_name, cast(FakeStore, ports.store)
    at(source, name, *WIDE)
    begin(plan, ports)
    at(source, name, "UPDATE wide SET b = 'before' WHERE id > 90", *ddl, "UPDATE wide SET b = 'after' WHERE id < 3")
    with pytest.raises(SchemaChanged, match="written anew") as caught:
        look(plan, ports)
    drift = caught.value.drift
    assert drift is not None
    assert (drift.doubt, drift.name, drift.statements) == (Doubt.REWRITTEN, "wide", ())
    assert "Press Copy again" in caught.value.hint
    with pytest.raises(SchemaChanged, match="written anew"):
        look(plan, ports)
    store.asked_again[name] = [("public", "wide")]
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
    look(plan, ports)
    complete(plan, ports, source, target_cluster)


@pytest.mark.parametrize("source", ["9.6"], indirect=True)
def test_a_column_that_somebody_adds_to_the_target_as_well_is_no_rewriting_of_rows(
    plan: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    name, add = plan.databases[0].source_name, "ALTER TABLE wide ADD c int DEFAULT 5"
    at(source, name, *WIDE)
    begin(plan, ports)
    at(source, name, f"{add}; UPDATE wide SET b = 'after' WHERE id < 3")
    with pytest.raises(SchemaChanged, match="same columns"):
        look(plan, ports)
    at(target_cluster, plan.databases[0].target_name, add)
    look(plan, ports)
    at(source, name, *LOGGED_AGAIN)
    with pytest.raises(SchemaChanged, match="written anew"):
        look(plan, ports)


@pytest.mark.parametrize("source", ["9.6"], indirect=True)
def test_written_rows_are_asked_about_where_the_source_has_another_column_by_now(
    plan: Plan, ports: Ports, source: Cluster
) -> None:
    name = plan.databases[0].source_name
    at(source, name, *WIDE)
    begin(plan, ports)
    at(source, name, *LOGGED_AGAIN, "ALTER TABLE wide ADD c int", "UPDATE wide SET b = 'after' WHERE id < 3")
    with pytest.raises(SchemaChanged, match="written anew"):
        look(plan, ports)


@pytest.mark.parametrize("source", ["9.5", "9.6"], indirect=True)
@pytest.mark.parametrize(
    "ddl",
    [
        ("VACUUM FULL wide", "CLUSTER wide USING wide_pkey"),
        ("ALTER TABLE wide ADD c int DEFAULT 5", "ALTER TABLE wide DROP c"),
        ("CREATE TABLE pg_temp_1 (id int PRIMARY KEY)", "INSERT INTO pg_temp_1 VALUES (1)"),
    ],
    ids=["by maintenance", "for a column that is gone", "a table of such a name"],
)
def test_what_loses_no_rows_does_not_stop_the_sync(
    ddl: tuple[str, ...], plan: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    name = plan.databases[0].source_name
    at(source, name, *WIDE)
    begin(plan, ports)
    at(source, name, *ddl, "UPDATE wide SET b = 'after' WHERE id < 3")
    look(plan, ports)
    with source.connect(name) as one, target_cluster.connect(plan.databases[0].target_name) as other:
        rows = "SELECT id, a, b FROM wide ORDER BY id"
        assert one.execute(rows).fetchall() == other.execute(rows).fetchall()


@pytest.mark.parametrize("ddl", ["c int", "c int DEFAULT 5", "c int DEFAULT trunc(random() + 5)"])
def test_a_default_that_is_gone_again_is_told_from_none(
    ddl: str, plan: Plan, ports: Ports, source: Cluster, target_cluster: Cluster
) -> None:
    plan = replace(plan, selection=replace(plan.selection, follow="additions"))
    name = plan.databases[0].source_name
    at(source, name, *WIDE)
    begin(plan, ports)
    at(source, name, "UPDATE wide SET a = 'before' WHERE id < 9")
    at(source, name, f"ALTER TABLE wide ADD COLUMN {ddl}", "ALTER TABLE wide ALTER c DROP DEFAULT")
    at(source, name, "UPDATE wide SET a = 'after' WHERE id < 5")
    if ddl == "c int":
        look(plan, ports)
    else:
        with pytest.raises(SchemaChanged) as caught:
            look(plan, ports)
        drift = caught.value.drift
        assert drift is not None
        assert not drift.harmless
        cast(FakeStore, ports.store).asked_again[name] = [("public", "wide")]
        with Executor(plan, ports) as executor:
            assert executor.recopy().done
    complete(plan, ports, source, target_cluster)
