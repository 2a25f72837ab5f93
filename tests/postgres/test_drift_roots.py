"""A partitioned table gets another name on the source: its partitions go on, it is followed where that is allowed."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from migrations_app.engine.drift import ChangeKind, Drift
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import NEVER, Ports
from migrations_app.engine.replication.names_followed import TableRenamed
from migrations_app.engine.states import StepName
from tests.fakes import FakeStore
from tests.postgres import complete_kit, drift_kit
from tests.postgres.complete_kit import begin, rows
from tests.postgres.drift_kit import allow, leave, stopped
from tests.postgres.sync_kit import Pair
from tests.postgres.test_drift_renamed import asked_at_complete, complete

# Fixtures that stand in the kits.
pair = drift_kit.pair
plan = complete_kit.plan
ports = complete_kit.ports
source = complete_kit.source
target = complete_kit.target

TREE = (
    "CREATE TABLE m (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);"
    " CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);"
    " CREATE TABLE m11 PARTITION OF m1 FOR VALUES FROM (0) TO (10);"
    " CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (10) TO (20)"
)


def asked(pair: Pair) -> Drift:
    """Press Complete, and return what stops it."""
    pair.control.complete = True
    with pytest.raises(SchemaChanged) as caught:
        pair.look()
    pair.control.complete = False
    assert caught.value.drift is not None
    return caught.value.drift


def told(pair: Pair) -> list[str]:
    return [message for _, code, message in pair.look() if code == "SRC-DDL"]


@pytest.mark.parametrize("name", ["m", "m1"])
def test_a_partitioned_table_of_another_name_is_told_while_its_rows_go_on_and_followed_when_that_is_allowed(
    pair: Pair, name: str
) -> None:
    pair.build(TREE)
    pair.at_source(f"ALTER TABLE {name} RENAME TO n", "INSERT INTO m2 VALUES (11, 'x'); INSERT INTO m11 VALUES (1)")
    (said,) = told(pair)
    assert f'ALTER TABLE "public"."{name}" RENAME TO "n"' in said
    pair.catch_up()
    pair.assert_equal()
    drift = asked(pair)
    assert (drift.changes[0].kind, drift.name, drift.lsn) == (ChangeKind.ROOT_RENAMED, name, NEVER)
    allow(pair, drift)
    with pytest.raises(TableRenamed):
        pair.look()
    assert pair.value("SELECT array_agg(relname::text ORDER BY 1) FROM pg_class WHERE relkind = 'p'", "target") == (
        pair.value("SELECT array_agg(relname::text ORDER BY 1) FROM pg_class WHERE relkind = 'p'")
    )
    assert told(pair) == []
    assert "DDL-APPLIED" in [code for _, code, _ in pair.store.events]


def test_a_new_partition_of_a_table_of_another_name_comes_once_that_is_followed(pair: Pair) -> None:
    pair.selection = replace(pair.selection, follow="additions")
    pair.build(TREE)
    pair.at_source("CREATE SCHEMA s; ALTER TABLE m SET SCHEMA s")
    pair.at_source("CREATE TABLE m3 PARTITION OF s.m FOR VALUES FROM (20) TO (30)", "INSERT INTO s.m VALUES (21), (12)")
    drift = stopped(pair)
    assert drift.statements == ('CREATE SCHEMA "s"', 'ALTER TABLE "public"."m" SET SCHEMA "s"')
    allow(pair, drift)
    with pytest.raises(TableRenamed):
        pair.catch_up()
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize(
    ("ddl", "theirs", "words"),
    [
        ("ALTER TABLE m RENAME TO n", "CREATE VIEW n AS SELECT 1 AS one", ["cannot be followed there"]),
        (
            "CREATE TABLE n (LIKE m INCLUDING ALL) PARTITION BY RANGE (id); ALTER TABLE m DETACH PARTITION m2;"
            " ALTER TABLE n ATTACH PARTITION m2 FOR VALUES FROM (10) TO (20)",
            "",
            [],
        ),
    ],
    ids=["the name is taken", "partitions moved"],
)
def test_what_cannot_be_followed_holds_nothing_up(pair: Pair, ddl: str, theirs: str, words: list[str]) -> None:
    pair.build(TREE)
    pair.at_source(ddl, "INSERT INTO m2 VALUES (11, 'x')")
    if theirs:
        pair.at_target(theirs)
    said = told(pair)
    assert len(said) == len(words)
    assert all(word in message for word, message in zip(words, said, strict=True))
    pair.control.complete = True
    assert [message for _, code, message in pair.look() if code == "SRC-DDL"] == []
    pair.assert_equal()


@pytest.mark.long
def test_complete_asks_about_a_partitioned_table_of_another_name_and_succeeds_once_it_may_follow(
    plan: Plan, ports: Ports, source: psycopg.Connection, target: psycopg.Connection
) -> None:
    for statement in (TREE, "INSERT INTO m VALUES (1, 'a'), (11, 'b')"):
        source.execute(statement.encode())
    source.execute(b"CREATE TRIGGER counted AFTER INSERT ON m FOR EACH ROW EXECUTE FUNCTION count_order()")
    begin(plan, ports)
    source.execute(b"ALTER TABLE m RENAME TO n")
    drift = asked_at_complete(plan, ports)
    store = ports.store
    assert isinstance(store, FakeStore)
    store.may_change[drift.database] = [leave(drift)]
    with pytest.raises(TableRenamed), Executor(plan, ports) as executor:
        executor.run(StepName.SYNC)
    complete(plan, ports)
    for query in (
        "SELECT * FROM n ORDER BY 1",
        "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2",
        "SELECT inhrelid::regclass::text, inhparent::regclass::text FROM pg_inherits ORDER BY 1",
    ):
        assert rows(source, query) == rows(target, query), query
