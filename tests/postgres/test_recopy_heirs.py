"""A table that is copied again has got a column, and rows of other tables get that column with it on the target."""

from __future__ import annotations

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Ports
from tests.postgres import test_recopy
from tests.postgres.test_recopy import ask, begin, complete

plan = test_recopy.plan
ports = test_recopy.ports

HEIR = "CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (other); INSERT INTO heir SELECT generate_series(1, 50)"
PARTS = (
    "CREATE TABLE m (id int PRIMARY KEY) PARTITION BY RANGE (id);"
    " CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (50);"
    " CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (50) TO (100); INSERT INTO m SELECT generate_series(0, 99)"
)
DROPPED = "ALTER TABLE {0} ADD c int DEFAULT 5; ALTER TABLE {0} ALTER c DROP DEFAULT"


def run(cluster: Cluster, plan: Plan, *statements: str) -> None:
    with cluster.connect(plan.databases[0].source_name) as source:
        for statement in statements:
            source.execute(statement.encode())


def copy_again(plan: Plan, ports: Ports, name: str) -> None:
    ask(plan, ports, name)
    with Executor(plan, ports) as executor:
        assert executor.recopy().done


@pytest.mark.parametrize(("made", "table", "other"), [(HEIR, "other", "other"), (PARTS, "m", "m1")])
def test_they_get_what_the_source_remembers(
    plan: Plan, ports: Ports, source_cluster: Cluster, made: str, table: str, other: str
) -> None:
    run(source_cluster, plan, made)
    begin(plan, ports)
    run(source_cluster, plan, DROPPED.format(table))
    copy_again(plan, ports, other)
    complete(plan, ports)


@pytest.mark.parametrize(
    ("made", "table", "copied", "rewritten", "words"),
    [
        (HEIR, "other", "other", "heir", "Other tables inherit from public.other"),
        (PARTS, "m", "m1", "m2", "public.m1 is a partition"),
    ],
)
def test_nothing_is_changed_where_nobody_knows_what_they_hold(
    plan: Plan,
    ports: Ports,
    source_cluster: Cluster,
    target_cluster: Cluster,
    made: str,
    table: str,
    copied: str,
    rewritten: str,
    words: str,
) -> None:
    run(source_cluster, plan, made)
    begin(plan, ports)
    run(source_cluster, plan, DROPPED.format(table), f"VACUUM FULL {rewritten}")
    with pytest.raises(SchemaChanged, match=words):
        copy_again(plan, ports, copied)
    with target_cluster.connect(plan.databases[0].target_name) as target:
        target.execute(DROPPED.format(table).encode())
    copy_again(plan, ports, copied)
    complete(plan, ports)


def test_a_column_that_became_another_type_is_not_emptied_in_what_inherits(
    plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    run(source_cluster, plan, HEIR)
    begin(plan, ports)
    run(source_cluster, plan, "ALTER TABLE other ALTER n TYPE bigint USING n * 2")
    with pytest.raises(SchemaChanged, match=r"would lose what they have on the source in n\."):
        copy_again(plan, ports, "other")


def test_a_column_becomes_another_type_in_a_table_and_all_that_inherits_from_it_when_all_are_copied_again(
    plan: Plan, ports: Ports, source_cluster: Cluster
) -> None:
    run(source_cluster, plan, "ALTER TABLE other ALTER n DROP NOT NULL", HEIR)
    run(
        source_cluster,
        plan,
        "CREATE TABLE grandchild (PRIMARY KEY (id)) INHERITS (heir); INSERT INTO grandchild VALUES (1, 2)",
    )
    begin(plan, ports)
    run(source_cluster, plan, "ALTER TABLE other ALTER n TYPE bigint USING n * 2")
    ask(plan, ports, "other", "heir")
    with Executor(plan, ports) as executor, pytest.raises(SchemaChanged, match=r"would lose what they have on the"):
        executor.recopy()
    ask(plan, ports, "other", "heir", "grandchild")
    with Executor(plan, ports) as executor:
        assert executor.recopy().done
    complete(plan, ports)
