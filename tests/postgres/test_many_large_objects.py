"""Very many large objects: several lanes, portion by portion, and another try goes on where the last one ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import large_object_numbers, large_object_units, large_objects
from migrations_app.engine.connect import Connection
from migrations_app.engine.errors import ConflictError
from migrations_app.engine.large_object_numbers import Span
from migrations_app.engine.outcome import Run
from migrations_app.engine.plan import DatabasePlan
from migrations_app.engine.ports import Kind
from migrations_app.engine.snapshot import Snapshot
from migrations_app.engine.steps import copy
from tests.fakes import wait_until
from tests.postgres import copy_kit
from tests.postgres.copy_kit import execute
from tests.postgres.engine_runs import fakes
from tests.postgres.test_copy_large_objects import _objects, roles

# Fixtures that stand in the kit.
built = copy_kit.built
run = copy_kit.run

MANY = "SELECT lo_from_bytea(70000 + 3 * n, decode(repeat('ab', n % 50), 'hex')) FROM generate_series(1, 500) n"


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_objects, "PORTION", 100)
    monkeypatch.setattr(large_objects, "_AT_ONCE", 16)
    monkeypatch.setattr(large_object_numbers, "WINDOW", 30)


def test_several_lanes_take_a_portion_each(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[Span] = []
    carry: Callable[..., int] = large_objects.copy_span

    def counted(
        run: Run, database: DatabasePlan, span: Span, snapshot: Snapshot | None, told: large_objects.Told
    ) -> int:
        taken.append(span)
        return carry(run, database, span, snapshot, told)

    monkeypatch.setattr(large_object_units, "copy_span", counted)
    execute(source_cluster, source_db, MANY)
    copy.run(run)
    assert len(taken) == 5
    assert _objects(source_cluster, source_db) == _objects(target_cluster, target_db)
    items = [item for item in run.ports.ledger.items() if item.kind is Kind.LARGE_OBJECTS]
    assert len(items) == 20
    assert large_objects.drop_large_objects(run, target_db) == 500
    assert _objects(target_cluster, target_db) == []


def test_with_a_sync_no_snapshot_is_held_for_them(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_objects, "PORTION", 10_000)
    carry: Callable[..., int] = large_objects.copy_span

    def when_it_is_closed(*given: Any) -> int:
        wait_until(lambda: source_db not in run.snapshots, what="the end of the snapshot")
        return carry(*given)

    monkeypatch.setattr(large_object_units, "copy_span", when_it_is_closed)
    execute(source_cluster, source_db, MANY)
    copy.run(run)
    assert _objects(source_cluster, source_db) == _objects(target_cluster, target_db)


def test_another_try_goes_on_where_the_last_one_ended(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(large_objects, "PORTION", 10_000)
    compared: Counter[int] = Counter()
    failed: list[int] = []
    carry = large_objects._Work._carry

    def cut_once(
        work: large_objects._Work, source: Connection, target: Connection, oids: list[int], here: frozenset[int]
    ) -> int:
        if oids[0] > 71_000 and not failed:
            failed.append(oids[0])
            target.close()
        compared.update(oids)
        return carry(work, source, target, oids, here)

    monkeypatch.setattr(large_objects._Work, "_carry", cut_once)
    execute(source_cluster, source_db, MANY)
    copy.run(run)
    assert failed
    assert _objects(source_cluster, source_db) == _objects(target_cluster, target_db)
    assert sum(1 for times in compared.values() if times > 1) <= 30
    _, store, _ = fakes(run.ports)
    done, total, _ = store.steps[-1]
    assert done == total


def test_what_others_have_is_found_before_anything_is_made(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    execute(source_cluster, source_db, MANY)
    execute(target_cluster, target_db, "SELECT lo_from_bytea(71500, 'theirs'), lo_from_bytea(71497, 'theirs too')")
    with pytest.raises(ConflictError, match=r"2 large objects of the source: 71497, 71500\."):
        copy.run(run)
    assert [oid for oid, _ in _objects(target_cluster, target_db)] == [71497, 71500]


def test_a_change_between_many_is_found(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    execute(source_cluster, source_db, MANY)
    copy.run(run)
    execute(target_cluster, target_db, "SELECT lo_from_bytea(69000 + n, 'theirs') FROM generate_series(1, 100) n")
    execute(
        source_cluster,
        source_db,
        "SELECT lo_unlink(70003), lo_put(71497, 0, 'changed');"
        "SELECT lo_from_bytea(70004, 'new'), lo_from_bytea(99999, 'last')",
    )
    with source_cluster.connect(source_db) as source, target_cluster.connect(target_db) as target:
        found = large_objects.differences(source, target, lambda: None)
    assert {number: str(words) for number, words in found.items()} == {
        70004: "missing on the target",
        71497: "different",
        99999: "missing on the target",
    }
    assert large_objects.sync_large_objects(run, run.plan.databases[0]) == 4
    there = [one for one in _objects(target_cluster, target_db) if one[0] > 69100]
    assert there == _objects(source_cluster, source_db)


def test_one_owner_that_is_refused_does_not_keep_the_others_back(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    with roles(source_cluster, "lo_one", "lo_other"), roles(target_cluster, "lo_one", "lo_other"):
        execute(source_cluster, source_db, "SELECT lo_from_bytea(70001, 'a'), lo_from_bytea(70002, 'b')")
        execute(
            source_cluster,
            source_db,
            "ALTER LARGE OBJECT 70001 OWNER TO lo_one; ALTER LARGE OBJECT 70002 OWNER TO lo_other",
        )
        with target_cluster.connect() as boss:
            boss.execute("CREATE ROLE lo_mover LOGIN PASSWORD 'lo_mover'")
            boss.execute("GRANT lo_one TO lo_mover WITH SET FALSE; GRANT lo_other TO lo_mover")
            boss.execute(f'GRANT CONNECT ON DATABASE "{target_db}" TO lo_mover'.encode())
        try:
            with (
                source_cluster.connect(source_db) as source,
                psycopg.connect(
                    host="127.0.0.1",
                    port=target_cluster.port,
                    dbname=target_db,
                    user="lo_mover",
                    password="lo_mover",
                    autocommit=True,
                ) as target,
            ):
                target.execute("SELECT lo_from_bytea(70001, 'a'), lo_from_bytea(70002, 'b')")
                large_objects.carry_rights(source, target, [70001, 70002], lambda: None)
                owners = target.execute(
                    "SELECT oid::bigint, pg_get_userbyid(lomowner)::text FROM pg_largeobject_metadata ORDER BY 1"
                ).fetchall()
                assert owners == [(70001, "lo_mover"), (70002, "lo_other")]
        finally:
            execute(source_cluster, source_db, "SELECT lo_unlink(70001), lo_unlink(70002)")
            execute(target_cluster, target_db, "SELECT lo_unlink(70001), lo_unlink(70002)")
            with target_cluster.connect(target_db) as boss:
                boss.execute("DROP OWNED BY lo_mover")
                boss.execute("DROP ROLE lo_mover")


def test_a_portion_ends_where_the_next_one_begins(source_cluster: Cluster, source_db: str) -> None:
    execute(source_cluster, source_db, MANY)
    with source_cluster.connect(source_db) as connection:
        spans = large_object_numbers.divided(connection, large_object_numbers.how_many(connection), 4)
    assert [span.after for span in spans] == [0, 70375, 70750, 71125]
    assert [span.last for span in spans] == [70375, 70750, 71125, large_object_numbers.HIGHEST]
    assert replace(spans[0]) == Span(last=70375)
