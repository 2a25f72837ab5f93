"""Objects without number, as programs make them: schemas by the thousand, partitions on five levels, 200 indexes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.checks import CheckStatus, is_startable, items_for, run_checks
from migrations_app.engine.executor import Executor
from migrations_app.engine.inventory import InventorySchema, InventoryTable, read_inventory
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from migrations_app.engine.states import StepName
from tests.comparator import differences
from tests.fakes import FakeControl, FakeStore, fake_ports
from tests.folders import public_folder
from tests.postgres.compare_kit import plan_for, server

pytestmark = pytest.mark.long

SCHEMAS, INDEXES = 5000, 200
AT_ONCE = 100
BRANCHES = (5, 5, 5, 8)
"""Four levels of branches under the root, the last of them the leaves: 1,000."""
EVERY_LEAF = "INSERT INTO tree SELECT a, b, c, d, a + b + c + d FROM " + ", ".join(
    f"generate_series(0, {number - 1}) {name}" for name, number in zip("abcd", BRANCHES, strict=True)
)


def schemas() -> list[str]:
    """Return statements for schemas that hold a table each; of the same name, as tenants have it."""
    return [
        f"CREATE SCHEMA tenant_{n}; CREATE TABLE tenant_{n}.account (id int PRIMARY KEY, owner text);"
        f" INSERT INTO tenant_{n}.account VALUES ({n}, 'o{n}')"
        for n in range(SCHEMAS)
    ]


def tree() -> list[str]:
    """Return statements for a partitioned table with partitions of partitions."""
    keys = "abcd"
    texts = ["CREATE TABLE tree (a int, b int, c int, d int, v int, PRIMARY KEY (a, b, c, d)) PARTITION BY LIST (a)"]

    def grow(parent: str, level: int) -> None:
        for value in range(BRANCHES[level]):
            name, leaf = f"{parent}_{value}", level + 1 == len(BRANCHES)
            below = "" if leaf else f" PARTITION BY LIST ({keys[level + 1]})"
            texts.append(f"CREATE TABLE {name} PARTITION OF {parent} FOR VALUES IN ({value}){below}")
            if not leaf:
                grow(name, level + 1)

    grow("tree", 0)
    return [*texts, "CREATE INDEX tree_v ON tree (v)", EVERY_LEAF]


def indexed() -> list[str]:
    """Return statements for a table with as many indexes as nobody should have."""
    columns = ", ".join(f"c{n} int" for n in range(20))
    made = [f"CREATE INDEX i_{n:03} ON indexed (c{n % 20}, (c{n // 20} + {n}))" for n in range(INDEXES - 1)]
    values = ", ".join(f"n + {n}" for n in range(20))
    return [
        f"CREATE TABLE indexed (id int PRIMARY KEY, {columns})",
        *made,
        f"INSERT INTO indexed SELECT n, {values} FROM generate_series(1, 500) n",
    ]


@pytest.fixture(scope="module")
def crowded() -> Iterator[Cluster]:
    """A server with the usual room for locks: for some 6,400, a good part of which so many tables would take."""
    with public_folder("crowded") as folder:
        cluster = Cluster(folder=folder / "server", major=16, settings={"wal_level": "logical", "fsync": "off"})
        cluster.create()
        cluster.start()
        with cluster.connect() as connection:
            connection.execute("CREATE DATABASE crowd")
        texts = [*schemas(), *tree(), *indexed()]
        with cluster.connect("crowd") as connection:
            for start in range(0, len(texts), AT_ONCE):
                connection.execute("; ".join(texts[start : start + AT_ONCE]).encode())
            connection.execute("ANALYZE")
        yield cluster
        cluster.stop()


@pytest.fixture
def plan(crowded: Cluster, target_cluster: Cluster, target_db: str, tmp_path: Path) -> Plan:
    return plan_for(server(crowded), server(target_cluster), "crowd", target_db, incremental=True, work_dir=tmp_path)


def run_to_the_sync(plan: Plan) -> Ports:
    ports = fake_ports()
    with Executor(plan, ports) as executor:
        for step in (StepName.SCHEMA, StepName.COPY, StepName.INDEX):
            assert executor.run(step).done
    return ports


def warnings(ports: Ports) -> list[str]:
    return [text for level, _, text in cast(FakeStore, ports.store).events if level == "warning"]


def test_the_check_looks_at_all_of_them_and_lets_them_start(plan: Plan) -> None:
    results = list(run_checks(plan, FakeControl(), report=lambda result: None))
    assert {result.code for result in results} == {info.code for info in items_for(plan)}
    assert [(one.code, one.found) for one in results if one.status is CheckStatus.FAILED] == []
    assert is_startable(results)


def test_the_list_of_objects_holds_all_of_them(crowded: Cluster) -> None:
    found = Counter(type(row) for row in read_inventory(server(crowded), FakeControl()))
    assert (found[InventorySchema], found[InventoryTable]) == (SCHEMAS + 1, SCHEMAS + 1 + 1 + 5 + 25 + 125 + 1000)


def test_all_of_them_arrive_and_stay_in_sync(plan: Plan, crowded: Cluster, target_cluster: Cluster) -> None:
    ports = run_to_the_sync(plan)
    with crowded.connect("crowd") as source:
        source.execute("UPDATE tree SET v = -v WHERE (a + b + c + d) % 7 = 0")
        source.execute("DELETE FROM tree WHERE b = 3")
        source.execute("UPDATE tree SET b = 3 WHERE b = 2 AND d % 2 = 0")  # from leaf to leaf
        source.execute("UPDATE indexed SET c0 = -c0, c19 = id WHERE id % 2 = 0")
        source.execute("; ".join(f"UPDATE tenant_{n}.account SET owner = 'new'" for n in range(0, SCHEMAS, 50)))
    cast(FakeControl, ports.control).complete = True
    with Executor(plan, ports) as executor:
        for step in (StepName.SYNC, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP):
            assert executor.run(step).done
    store = cast(FakeStore, ports.store)
    assert ports.ledger.items() == []
    assert warnings(ports) == []
    assert [note.what for notes in store.notes.values() for note in notes] == []
    assert len(store.tables("crowd")) == SCHEMAS + 1000 + 1
    with crowded.connect("crowd") as source, target_cluster.connect(plan.databases[0].target_name) as target:
        assert differences(source, target) == []
