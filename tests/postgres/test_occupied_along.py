"""What comes along although nobody has selected it is used as the target has it, whatever was chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import checks
from migrations_app.engine.checks import CheckResult, CheckStatus
from migrations_app.engine.errors import ConflictError
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, fake_ports
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.occupied_kit import choose, migrate

STRUCTURE = """
CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE SCHEMA other; CREATE SEQUENCE other.tickets;
CREATE TABLE base (id int PRIMARY KEY, m mood); CREATE TABLE shape (a int, b int);
CREATE TABLE special (extra text, PRIMARY KEY (id)) INHERITS (base);
CREATE TABLE holder (id serial PRIMARY KEY, s shape, m mood);
"""
ROWS = """
INSERT INTO base VALUES (1, 'ok'); INSERT INTO special VALUES (2, 'sad', 'x'), (3, 'ok', 'y');
INSERT INTO holder (s, m) VALUES ((1, 2), 'ok'); SELECT setval('other.tickets', 7);
"""
THEIRS = "INSERT INTO base VALUES (77, 'sad'); INSERT INTO shape VALUES (5, 6); SELECT setval('other.tickets', 500);"
KEPT = (
    "SELECT (SELECT array_agg(id) FROM ONLY base), (SELECT array_agg(a) FROM shape), last_value FROM other.tickets",
    ([77], [5], 500),
)


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Any) -> Plan:
    """Two tables are selected; both need what is not."""
    with source_cluster.connect(source_db) as connection:
        connection.execute((STRUCTURE + ROWS).encode())
    with target_cluster.connect(target_db) as connection:
        connection.execute((STRUCTURE + THEIRS).encode())
    rules = {(source_db, "public", name): True for name in ("special", "holder")}
    selection = Selection(rules=rules, targets={source_db: target_db})  # type: ignore[arg-type]
    near, far = server(source_cluster), server(target_cluster)
    return plan_for(near, far, source_db, target_db, selection=selection, work_dir=tmp_path)


def look(plan: Plan) -> CheckResult:
    only = frozenset({"target-conflicts"})
    (result,) = checks.run_checks(plan, FakeControl(), report=lambda result: None, only=only)
    return result


@pytest.mark.parametrize("policy", ["keep", "truncate", "recreate"])
def test_what_nobody_has_selected_keeps_what_is_in_it(plan: Plan, target_cluster: Cluster, policy: str) -> None:
    chosen = choose(plan, policy)
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        if policy != "keep":
            connection.execute("INSERT INTO special VALUES (9); INSERT INTO holder (m) VALUES ('sad')")
        result = look(chosen)
        assert result.status is CheckStatus.WARNING
        assert "4 objects that nobody has selected will be used as they are" in result.found
        migrate(chosen)
        assert connection.execute(KEPT[0].encode()).fetchone() == KEPT[1]
        assert connection.execute("SELECT id, m::text, extra FROM special ORDER BY 1").fetchall() == [
            (2, "sad", "x"),
            (3, "ok", "y"),
        ]
        assert connection.execute("SELECT s::text, m::text FROM holder").fetchall() == [("(1,2)", "ok")]


@pytest.mark.parametrize("policy", ["keep", "truncate"])
def test_a_table_of_which_only_the_structure_moves_keeps_its_rows(
    plan: Plan, target_cluster: Cluster, policy: str
) -> None:
    (database,) = plan.databases
    rules = {(database.source_name,): True, (database.source_name, "public", "shape"): "structure"}
    selection = replace(plan.selection, rules=rules, existing=policy)  # type: ignore[arg-type]
    chosen = replace(plan, selection=selection)
    with target_cluster.connect(database.target_name) as connection:
        connection.execute("DELETE FROM ONLY base")
        if policy == "truncate":
            connection.execute("INSERT INTO holder (m) VALUES ('sad')")
        result = look(chosen)
        assert result.status is CheckStatus.WARNING
        assert "public.shape" not in result.found.partition("will be used as they are")[0]
        migrate(chosen)
        assert connection.execute("SELECT a, b FROM shape").fetchall() == [(5, 6)]
        assert connection.execute("SELECT id FROM ONLY base").fetchall() == [(1,)]


def test_without_a_choice_the_check_refuses_what_the_run_would(plan: Plan, target_cluster: Cluster) -> None:
    with target_cluster.connect(plan.databases[0].target_name) as connection:
        connection.execute("DROP TABLE special, holder")
        result = look(plan)
        assert result.status is CheckStatus.FAILED
        assert "public.base" in result.found
        assert "sequence other.tickets" in result.found
        assert "type public.mood" in result.found
        assert result.sql == ""  # dropping any of it would mend nothing
        with Executor(plan, fake_ports()) as executor, pytest.raises(ConflictError, match="already has"):
            executor.run(StepName.SCHEMA)
        assert connection.execute(KEPT[0].encode()).fetchone() == KEPT[1]


def test_what_needs_an_object_that_is_made_anew_is_made_anew_with_it(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    needing = "CREATE VIEW other.seen AS SELECT id{0} FROM holder; CREATE VIEW other.again AS SELECT * FROM other.seen;"
    apart = "CREATE VIEW other.apart AS SELECT {0} AS n; CREATE FUNCTION other.f() RETURNS int RETURN {0};"
    with source_cluster.connect(database.source_name) as source:
        source.execute((needing.format(", m") + apart.format(1)).encode())
    with target_cluster.connect(database.target_name) as target:
        target.execute((needing.format("") + apart.format(2)).encode())
        store = migrate(choose(plan, "recreate"))
        assert target.execute("SELECT id, m::text FROM other.again").fetchall() == [(1, "ok")]
        assert target.execute("SELECT n, other.f() FROM other.apart").fetchone() == (2, 2)
    told = next(text for _, code, text in store.events if code == "DST-DROPPED")
    assert "other.seen" in told
    assert "other.apart" not in told


def test_the_schemas_of_a_database_move_one_task_after_the_other(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    name = database.source_name
    with source_cluster.connect(name) as source:
        source.execute("CREATE TABLE other.t (id int PRIMARY KEY, m public.mood); INSERT INTO other.t VALUES (1, 'ok')")
    with target_cluster.connect(database.target_name) as target:
        target.execute("DROP SCHEMA other CASCADE; DROP TABLE special, holder, base, shape; DROP TYPE mood")
        for schema, existing in (("public", "refuse"), ("other", "keep")):
            rules = {(name, schema): True}
            migrate(replace(plan, selection=replace(plan.selection, rules=rules, existing=existing)))
        assert target.execute("SELECT id, m::text FROM other.t").fetchall() == [(1, "ok")]
        assert target.execute("SELECT count(*) FROM base").fetchone() == (3,)
        assert target.execute("SELECT last_value FROM other.tickets").fetchone() == (7,)


def test_partitions_that_only_the_target_has_are_told_before_they_go_with_their_table(
    plan: Plan, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    (database,) = plan.databases
    parted = (
        "CREATE TABLE part (id int) PARTITION BY LIST (id); CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);"
    )
    more = "CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2); INSERT INTO part VALUES (2)"
    with source_cluster.connect(database.source_name) as source:
        source.execute(parted.encode())
    with target_cluster.connect(database.target_name) as target:
        target.execute((parted + more).encode())
    rules = {(database.source_name, "public", "part"): True}
    chosen = choose(replace(plan, selection=replace(plan.selection, rules=rules)), "recreate")
    found = look(chosen).found
    assert "Tables with rows among them: public.part_2." in found
    assert "With them go 1 partition that the source does not have: public.part_2." in found
    store = migrate(chosen)
    assert "public.part_2" in next(text for _, code, text in store.events if code == "DST-DROPPED")
