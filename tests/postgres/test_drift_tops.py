"""A partitioned table gets another name on the source: its partitions keep theirs, and no row of the stream tells."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import psycopg
import pytest

from migrations_app.engine.drift import ChangeKind, Doubt, Drift
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan, Side
from migrations_app.engine.ports import NEVER, Kind, LedgerItem, Ports, TableState
from migrations_app.engine.replication import polling
from migrations_app.engine.replication.names_followed import TableRenamed
from migrations_app.engine.states import StepName
from migrations_app.engine.steps import sync
from tests.fakes import FakeControl, FakeStore
from tests.postgres import complete_kit, drift_kit
from tests.postgres.complete_kit import begin, migrate, rows
from tests.postgres.drift_kit import allow, leave, stopped
from tests.postgres.sync_kit import Pair, force_path

# Fixtures that stand in the kits.
pair = drift_kit.pair
plan = complete_kit.plan
ports = complete_kit.ports
source = complete_kit.source
target = complete_kit.target

PARTED = (
    "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY LIST (id);"
    " CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)"
)
RENAME = "ALTER TABLE m RENAME TO away"
STATEMENT = 'ALTER TABLE "public"."m" RENAME TO "away"'
NEW = ("CREATE TABLE m2 PARTITION OF away FOR VALUES IN (2)", "INSERT INTO away VALUES (2, 'y')")
TOP = "SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = 'm1'::regclass"


class WorkerDied(BaseException):
    """What nothing catches, as little as a kill."""


def made(pair: Pair, *names: str) -> None:
    """Let these tables of the target be the task's."""
    for name in names:
        detail = {"type": "TABLE", "drop": f'DROP TABLE "public"."{name}"', "tag": name}
        pair.ledger.intend(
            LedgerItem(
                side=Side.TARGET, database=pair.target_db, kind=Kind.TABLE, schema="public", name=name, detail=detail
            )
        )


@pytest.fixture
def parted(pair: Pair) -> Pair:
    pair.selection = replace(pair.selection, follow="additions")
    pair.build(PARTED)
    made(pair, "m", "m1")
    return pair


def told(pair: Pair) -> list[str]:
    return [message for _, code, message in pair.look() if code == "SRC-DDL"]


def followed(pair: Pair) -> None:
    """Let a worker look, which gives the table its new name, and another one go on."""
    polling._looked.clear()
    pair.control.yields = True
    with pytest.raises(TableRenamed), pair.running(slice_seconds=1.5) as run:
        sync.run(run)
    pair.catch_up()
    pair.assert_equal()


def ours(pair: Pair) -> dict[str, str]:
    """The statements that would remove the tables that the task made, by their names."""
    items = pair.ledger.items(Side.TARGET, pair.target_db, {Kind.TABLE})
    return {item.name: item.detail.get("drop", "") for item in items}


def asked_at_complete(pair: Pair) -> Drift:
    polling._looked.clear()
    pair.control.complete = True
    with pytest.raises(SchemaChanged) as caught, pair.running() as run:
        sync.run(run)
    pair.control.complete = False
    assert caught.value.drift is not None
    return caught.value.drift


def test_the_look_beside_the_stream_tells_it_with_the_statement_and_the_sync_goes_on(parted: Pair) -> None:
    assert told(parted) == []
    parted.at_source(RENAME, "INSERT INTO away VALUES (1, 'x')")
    (said,) = told(parted)
    assert "Partitioned table public.m of" in said
    assert "now called public.away" in said
    assert STATEMENT in said
    assert told(parted) == []
    parted.catch_up()
    parted.assert_equal()


@pytest.mark.parametrize("looked", [True, False], ids=["looked before", "never looked"])
def test_complete_asks_about_it_and_it_is_followed_once_that_is_allowed(parted: Pair, looked: bool) -> None:
    if looked:
        assert told(parted) == []
    parted.at_source(RENAME, "INSERT INTO away VALUES (1, 'x')")
    drift = asked_at_complete(parted)
    assert (drift.changes[0].kind, drift.statements, drift.lsn) == (ChangeKind.TOP_RENAMED, (STATEMENT,), NEVER)
    allow(parted, drift)
    followed(parted)
    assert parted.value(TOP, "target") == "away"
    assert ours(parted)["away"] == 'DROP TABLE "public"."away"'
    assert "m" not in ours(parted)
    assert told(parted) == []
    assert parted.store.leaves(parted.source_db) == []


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_new_partition_of_it_stops_the_sync_and_comes_once_the_table_is_followed(
    parted: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    parted.at_source(RENAME, *NEW)
    drift = stopped(parted)
    assert (drift.name, drift.statements) == ("m", (STATEMENT,))
    allow(parted, drift)
    followed(parted)
    assert {state.name for state in parted.store.tables(parted.source_db)} == {"m1", "m2"}


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_column_that_it_got_meanwhile_is_added_after_its_name(
    parted: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    parted.at_source(RENAME, "ALTER TABLE away ADD COLUMN c int", "INSERT INTO away VALUES (1, 'x', 7)")
    drift = stopped(parted)
    assert drift.statements == (STATEMENT,)
    allow(parted, drift)
    followed(parted)


def test_who_renamed_it_on_the_target_himself_is_not_asked(parted: Pair) -> None:
    rules = {(parted.source_db, "public", "m"): True}
    parted.selection = replace(parted.selection, rules=rules)
    assert told(parted) == []
    parted.at_source(RENAME)
    parted.at_target(RENAME)
    followed(parted)
    assert ours(parted)["away"] == 'DROP TABLE "public"."away"'


def test_its_new_partitions_are_not_left_out_though_the_task_selects_it_by_its_former_name(parted: Pair) -> None:
    parted.selection = replace(parted.selection, rules={(parted.source_db, "public", "m"): True})
    assert told(parted) == []
    parted.at_source(RENAME)
    parted.at_target(RENAME)
    parted.at_source(*NEW)
    with pytest.raises(TableRenamed):
        parted.catch_up()
    parted.selection = parted.selection.renamed(
        (parted.source_db, "public", "m"), (parted.source_db, "public", "away")
    )  # as the store does
    parted.catch_up()
    assert parted.value("SELECT count(*) FROM away", "target") == 1


@pytest.mark.parametrize("looked", [True, False], ids=["looked before", "never looked"])
@pytest.mark.parametrize("dies_at", ["removed", "renamed"])
def test_a_worker_that_dies_after_the_rename_is_followed_by_one_that_ends_it(
    parted: Pair, monkeypatch: pytest.MonkeyPatch, dies_at: str, looked: bool
) -> None:
    parted.selection = replace(parted.selection, rules={(parted.source_db, "public", "m"): True})
    called: list[tuple[str, str]] = []
    known = parted.store.renamed

    def renamed(table: TableState, schema: str, name: str) -> None:
        known(table, schema, name)
        called.append((table.name, name))

    def died(*_: object) -> NoReturn:
        raise WorkerDied

    monkeypatch.setattr(parted.store, "renamed", renamed)
    if looked:
        assert told(parted) == []
    parted.at_source(RENAME)
    allow(parted, asked_at_complete(parted))
    polling._looked.clear()
    parted.control.yields = True
    with monkeypatch.context() as dying:
        dying.setattr(parted.ledger if dies_at == "removed" else parted.store, dies_at, died)
        with pytest.raises(WorkerDied), parted.running(slice_seconds=1.5) as run:
            sync.run(run)
    assert parted.value(TOP, "target") == "away"
    followed(parted)
    assert called[-1] == ("m", "away")
    assert "m" not in ours(parted)
    assert ours(parted)["away"] == 'DROP TABLE "public"."away"'
    assert told(parted) == []


def test_one_whose_new_name_is_in_use_on_the_target_is_asked_about_after_the_others(pair: Pair) -> None:
    pair.build(PARTED + "; " + PARTED.replace(" m1 ", " a1 ").replace(" m ", " a "))
    made(pair, "a", "a1", "m", "m1")
    assert told(pair) == []
    pair.at_target("CREATE TABLE taken (id int)")
    pair.at_source("ALTER TABLE a RENAME TO taken", RENAME)
    drift = asked_at_complete(pair)
    assert (drift.name, drift.statements) == ("m", (STATEMENT,))
    allow(pair, drift)
    followed(pair)
    drift = asked_at_complete(pair)
    assert (drift.name, drift.doubt) == ("a", Doubt.OTHER_NAME)


def test_a_new_partition_of_a_table_that_is_none_of_the_task_s_asks_about_no_other_one(parted: Pair) -> None:
    parted.selection = replace(parted.selection, rules={(parted.source_db, "public", "m"): True})
    parted.at_source(
        RENAME,
        "CREATE TABLE theirs (id int PRIMARY KEY) PARTITION BY LIST (id)",
        "CREATE TABLE theirs1 PARTITION OF theirs FOR VALUES IN (1)",
        f'ALTER PUBLICATION "{parted.state.publication}" ADD TABLE ONLY theirs1',
        "INSERT INTO theirs VALUES (1)",
    )
    parted.catch_up()


def test_one_that_is_a_partition_itself_is_followed_too(pair: Pair) -> None:
    pair.build(
        "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY LIST (id)",
        "CREATE TABLE s PARTITION OF m FOR VALUES IN (1, 2) PARTITION BY LIST (id)",
        "CREATE TABLE m1 PARTITION OF s FOR VALUES IN (1)",
    )
    made(pair, "m", "s", "m1")
    pair.at_source("ALTER TABLE s RENAME TO aside", "ALTER TABLE m RENAME TO away")
    for _ in range(2):
        allow(pair, asked_at_complete(pair))
        followed(pair)
    assert pair.value(TOP, "target") == "aside"
    assert told(pair) == []


def test_it_may_go_to_a_schema_that_the_target_lacks(parted: Pair) -> None:
    parted.at_source("CREATE SCHEMA s; ALTER TABLE m SET SCHEMA s")
    drift = asked_at_complete(parted)
    assert drift.statements == ('CREATE SCHEMA "s"', 'ALTER TABLE "public"."m" SET SCHEMA "s"')
    allow(parted, drift)
    followed(parted)
    assert parted.value(TOP, "target") == "s.m"


def test_one_that_got_the_former_name_meanwhile_is_another_table(parted: Pair) -> None:
    assert told(parted) == []
    parted.at_source(RENAME, "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY LIST (id)")
    drift = asked_at_complete(parted)
    assert (drift.name, drift.statements) == ("m", (STATEMENT,))


MOVED = (
    "CREATE TABLE away (id int PRIMARY KEY, v text) PARTITION BY LIST (id);"
    " ALTER TABLE m DETACH PARTITION m1; ALTER TABLE away ATTACH PARTITION m1 FOR VALUES IN (1)"
)


@pytest.mark.parametrize(
    ("looked", "more"), [(True, ""), (True, "; DROP TABLE m"), (False, "")], ids=["both", "one", "never looked"]
)
def test_partitions_that_went_to_another_table_are_no_other_name(parted: Pair, looked: bool, more: str) -> None:
    if looked:
        assert told(parted) == []
    parted.at_source(MOVED + more)
    assert told(parted) == []


def test_what_is_partitioned_on_the_target_by_somebody_else_is_left_alone(pair: Pair) -> None:
    pair.build(PARTED, target=PARTED.replace(" m ", " theirs "))
    made(pair, "m1")
    assert told(pair) == []


def test_two_that_exchanged_their_names_are_told_before_complete(parted: Pair) -> None:
    more = (
        "CREATE TABLE n (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE n1 PARTITION OF n FOR VALUES IN (1)"
    )
    parted.at_source(more)
    parted.at_target(more)
    known = [one for one in parted.tables() if one.name == "n1"]
    parted.store.save_tables(
        *(replace(parted.store.tables(parted.source_db)[0], name=one.name, oid=one.oid, numbers=()) for one in known)
    )
    parted.at_source(f'ALTER PUBLICATION "{parted.state.publication}" ADD TABLE ONLY n1')
    made(parted, "n", "n1")
    parted.look()
    parted.at_source("ALTER TABLE m RENAME TO x; ALTER TABLE n RENAME TO m; ALTER TABLE x RENAME TO n")
    drift = asked_at_complete(parted)
    assert (drift.statements, drift.doubt) == ((), Doubt.OTHER_NAME)
    swap = "ALTER TABLE m RENAME TO x; ALTER TABLE n RENAME TO m; ALTER TABLE x RENAME TO n"
    parted.at_target(swap)
    assert told(parted) == []


@pytest.mark.long
def test_a_whole_task_follows_it(
    plan: Plan, ports: Ports, source: psycopg.Connection, target: psycopg.Connection
) -> None:
    source.execute(PARTED.encode())
    begin(plan, ports)
    source.execute(RENAME.encode())
    control, store = FakeControl(), ports.store
    control.complete = True
    assert isinstance(store, FakeStore)
    with pytest.raises(SchemaChanged) as caught:
        migrate(plan, Ports(control=control, ledger=ports.ledger, store=store), StepName.SYNC)
    assert caught.value.drift is not None
    store.may_change[caught.value.drift.database] = [leave(caught.value.drift)]
    with pytest.raises(TableRenamed), Executor(plan, ports) as executor:
        executor.run(StepName.SYNC)
    source.execute("INSERT INTO away VALUES (1, 'x')")
    steps = [StepName.SYNC, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP]
    migrate(plan, Ports(control=control, ledger=ports.ledger, store=store), *steps)
    assert rows(target, "SELECT * FROM away") == [(1, "x")]
    assert store.comparisons[-1].equal
    assert [note for notes in store.notes.values() for note in notes if "away" in (note.name, note.table)] == []
