"""Random corruptions are all found, a clean target never is one, and a comparison that was cut says nothing."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.comparing.hashing import Dialect, Shape
from migrations_app.engine.errors import CancelRequested, CompareDiffers, ConnectionLost
from migrations_app.engine.executor import Executor
from migrations_app.engine.plan import Plan
from migrations_app.engine.ports import Comparison
from migrations_app.engine.snapshot import open_first
from migrations_app.engine.states import StepName
from tests.fakes import FakeControl, FakeStore, fake_ports, wait_until
from tests.postgres.compare_kit import compare_now, plan_for, running, server

SCRIPT = """
CREATE TABLE keyed (id int PRIMARY KEY, d float8, t text, c char(8), b bytea, n numeric,
  a int[], j json, ts timestamptz, i interval, r real, jb jsonb);
INSERT INTO keyed SELECT g, g / 3.0, CASE WHEN g % 9 = 0 THEN '' WHEN g % 7 > 0 THEN 'text ' || g END, 'c' || g,
  decode(md5(g::text), 'hex'), g / 8.0, ARRAY[g, g + 1], ('{"a": ' || g || '}')::json,
  '2020-01-01'::timestamptz + g * '1 s'::interval, '30 days', 'NaN', jsonb_build_object('n', 1.0)
  FROM generate_series(1, 3000) g;
UPDATE keyed SET d = 0 WHERE id % 10 = 0;
CREATE TABLE loose (a int, t text);
INSERT INTO loose SELECT g % 200, 'x' FROM generate_series(1, 2000) g;
"""
CORRUPTIONS = [
    "UPDATE keyed SET b = set_bit(b, {bit}, 1 - get_bit(b, {bit})) WHERE id = {row}",
    "UPDATE keyed SET d = '-0' WHERE id = {ten}",
    "UPDATE keyed SET d = d + 4.5e-13 WHERE id = {row}",
    "UPDATE keyed SET t = NULL WHERE id = {nine}",
    "UPDATE keyed SET t = coalesce(t, '') || ' ' WHERE id = {row}",
    "UPDATE keyed SET c = 'z' WHERE id = {row}",
    "UPDATE keyed SET n = round(n, 25) WHERE id = {row}",
    "UPDATE keyed SET a = array_append(a, NULL) WHERE id = {row}",
    "UPDATE keyed SET j = (j::text || ' ')::json WHERE id = {row}",
    "UPDATE keyed SET i = '1 month' WHERE id = {row}",
    "UPDATE keyed SET r = NULL WHERE id = {row}",
    "UPDATE keyed SET r = 0 WHERE id = {row}",
    "UPDATE keyed SET jb = jsonb_build_object('n', 1.00) WHERE id = {row}",
    "UPDATE keyed SET ts = ts + '1 us'::interval WHERE id = {row}",
    "DELETE FROM keyed WHERE id = {row}",
    "UPDATE keyed SET id = -id WHERE id = {row}",
    "INSERT INTO loose SELECT * FROM loose OFFSET {row} % 2000 LIMIT 1",
    "DELETE FROM loose WHERE ctid = (SELECT ctid FROM loose OFFSET {row} % 2000 LIMIT 1)",
    "UPDATE loose SET a = a + 1 WHERE ctid = (SELECT ctid FROM loose OFFSET {row} % 2000 LIMIT 1)",
]


@pytest.fixture
def plan(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Plan:
    return plan_for(server(source_cluster), server(target_cluster), source_db, target_db)


@pytest.fixture
def filled(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> None:
    for cluster, name in ((source_cluster, source_db), (target_cluster, target_db)):
        with cluster.connect(name) as connection:
            connection.execute(SCRIPT.encode())


@pytest.fixture
def source(source_cluster: Cluster, source_db: str, filled: None) -> Iterator[psycopg.Connection[Any]]:
    with source_cluster.connect(source_db) as connection:
        yield connection


@pytest.fixture
def target(target_cluster: Cluster, target_db: str, filled: None) -> Iterator[psycopg.Connection[Any]]:
    with target_cluster.connect(target_db) as connection:
        yield connection


@pytest.fixture
def watcher(target_cluster: Cluster) -> Iterator[psycopg.Connection[Any]]:
    """A session outside the others' transactions: inside one, the list of sessions does not change."""
    with target_cluster.connect() as connection:
        yield connection


@pytest.mark.long
def test_every_random_corruption_is_found_and_no_clean_run_raises_an_alarm(
    plan: Plan, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    chance = random.Random(20260101)  # noqa: S311 - the same corruptions in each run
    missed = []
    for number in range(3 * len(CORRUPTIONS)):
        values = {"row": chance.randint(1, 3000), "bit": chance.randint(0, 127)}
        values |= {"ten": chance.randint(1, 300) * 10, "nine": chance.randint(1, 300) * 9}
        statement = CORRUPTIONS[number % len(CORRUPTIONS)].format(**values)
        before = compare_now(plan)
        assert before.equal, statement
        target.execute(
            "CREATE TABLE IF NOT EXISTS undo_k AS TABLE keyed; CREATE TABLE IF NOT EXISTS undo_l AS TABLE loose"
        )
        assert target.execute(statement.encode()).rowcount == 1, statement
        if compare_now(plan).equal:
            missed.append(statement)
        target.execute("TRUNCATE keyed, loose; INSERT INTO keyed TABLE undo_k; INSERT INTO loose TABLE undo_l")
    assert missed == []


def test_values_that_two_rows_have_exchanged_are_found(plan: Plan, target: psycopg.Connection[Any]) -> None:
    target.execute("UPDATE keyed SET n = CASE id WHEN 7 THEN 9 ELSE 7 END / 8.0 WHERE id IN (7, 9)")
    [keyed] = [one for one in compare_now(plan).tables if one.name == "keyed"]
    assert (keyed.verdict, keyed.source_rows, keyed.target_rows) == ("differs", 3000, 3000)


def compared(plan: Plan, *, held: bool, source: psycopg.Connection[Any]) -> tuple[Comparison, list[Any]]:
    ports = fake_ports()
    store = ports.store
    assert isinstance(store, FakeStore)
    with Executor(plan, ports) as executor:
        if held:
            assert executor._run is not None
            open_first(executor._run, plan.databases[0])
        source.execute("UPDATE keyed SET t = 'written later' WHERE id = 5")
        try:
            executor.run(StepName.COMPARE)
        except CompareDiffers:
            assert not store.comparisons[-1].equal
        else:
            assert store.comparisons[-1].equal
    return store.comparisons[-1], store.events


def test_a_full_copy_is_compared_under_the_snapshot_that_it_was_copied_under(
    plan: Plan, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    comparison, _ = compared(plan, held=True, source=source)
    assert comparison.equal


def test_without_that_snapshot_a_difference_may_be_a_later_write_and_is_told_so(
    plan: Plan, source: psycopg.Connection[Any], target: psycopg.Connection[Any], tmp_path: Path
) -> None:
    comparison, events = compared(replace(plan, work_dir=tmp_path), held=False, source=source)
    assert not comparison.equal
    assert any(code == "CMP-DIFF" and "after the copy had ended" in text for _, code, text in events)


def test_cancel_cuts_a_running_comparison(
    plan: Plan,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    watcher: psycopg.Connection[Any],
) -> None:
    target.autocommit = False
    target.execute("LOCK TABLE keyed IN ACCESS EXCLUSIVE MODE")
    ports = fake_ports()
    control = ports.control
    assert isinstance(control, FakeControl)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with Executor(plan, ports) as executor:
                executor.run(StepName.COMPARE)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    blocked = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'towpath:%' AND wait_event_type = 'Lock'"
    wait_until(lambda: watcher.execute(blocked).fetchone())
    began = time.monotonic()
    control.cancel()
    thread.join(15)
    assert time.monotonic() - began < 10
    assert [type(error) for error in errors] == [CancelRequested]
    target.rollback()


@pytest.mark.long
def test_a_table_that_stays_locked_is_not_compared(
    plan: Plan, source: psycopg.Connection[Any], target: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("migrations_app.engine.compare._ROUNDS", 2)
    target.autocommit = False
    target.execute("LOCK TABLE loose IN ACCESS EXCLUSIVE MODE")
    comparison = compare_now(plan)
    target.rollback()
    assert {item.name: item.verdict for item in comparison.tables} == {"keyed": "equal", "loose": "not_compared"}
    assert not comparison.equal


def test_a_lost_session_ends_the_comparison_and_can_be_tried_again(
    plan: Plan,
    source: psycopg.Connection[Any],
    target: psycopg.Connection[Any],
    watcher: psycopg.Connection[Any],
) -> None:
    target.autocommit = False
    target.execute("LOCK TABLE keyed IN ACCESS EXCLUSIVE MODE")
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with Executor(plan, fake_ports()) as executor:
                executor.run(StepName.COMPARE)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    waiting = "FROM pg_stat_activity WHERE application_name LIKE 'towpath:%' AND wait_event_type = 'Lock'"
    wait_until(lambda: watcher.execute(f"SELECT 1 {waiting}".encode()).fetchone())
    watcher.execute(f"SELECT pg_terminate_backend(pid) {waiting}".encode())
    thread.join(15)
    target.rollback()
    [error] = errors
    assert isinstance(error, ConnectionLost)
    assert "target" in error.message
    assert compare_now(replace(plan, epoch=2)).equal


def test_a_comparison_leaves_no_session_behind(
    plan: Plan, source: psycopg.Connection[Any], target: psycopg.Connection[Any]
) -> None:
    with running(plan):
        compare_now(plan)
    ours = "FROM pg_stat_activity WHERE application_name LIKE 'towpath:%' AND datname = current_database()"

    def alone() -> bool:
        return all(one.execute(f"SELECT 1 {ours}".encode()).fetchone() is None for one in (source, target))

    wait_until(alone)


@pytest.mark.parametrize("type_name", ["double precision", "real"])
def test_every_nan_is_one_and_every_other_bit_of_a_float_counts(type_name: str, target_cluster: Cluster) -> None:
    shape = Shape(schema="public", name="floats", columns=(("v", type_name),), key=(), sent=frozenset({"v"}))
    values = ", ".join(f"('{one}'::{type_name})" for one in ("NaN", "0", "-0", "1.5", "Infinity"))
    with target_cluster.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute(
            f"CREATE TABLE public.floats AS SELECT v FROM (VALUES {values}, (-('NaN'::{type_name})), (NULL)) t (v)"
        )
        rows = connection.execute("SELECT h " + shape.rows(Dialect(binary=True))).fetchall()
    assert rows[0] == rows[5]
    assert len(set(rows)) == 6


@pytest.mark.parametrize("type_name", ["double precision", "real", "double precision[]"])
def test_both_binary_forms_of_nan_count_as_one_where_floats_are_compared_in_binary(
    type_name: str, target_cluster: Cluster
) -> None:
    shown = Dialect(send_floats=True).column("v", type_name)
    element = type_name.removesuffix("[]")
    given = "ARRAY[%s]" if type_name.endswith("[]") else "%s"
    values = ", ".join(f"({given % one})" for one in (f"'NaN'::{element}", f"-('NaN'::{element})", f"1.5::{element}"))
    with target_cluster.connect() as connection:
        rows = connection.execute(f"SELECT {shown} FROM (VALUES {values}) t (v)").fetchall()
    assert rows[0] == rows[1] != rows[2]


@pytest.mark.parametrize("dialect", [Dialect(), Dialect(md5=True), Dialect(convert=True)])
def test_a_large_bytea_stands_in_the_text_of_its_row_by_a_digest_that_every_byte_changes(
    dialect: Dialect, target_cluster: Cluster
) -> None:
    shape = Shape(schema="public", name="files", columns=(("v", "bytea"),), key=(), sent=frozenset({"v"}))
    large = "decode(repeat('ab', 1100000), 'hex')"
    values = (large, large, f"set_byte({large}, 1099999, 0)", f"{large} || 'x'", "'\\xab'", "''", "NULL")
    with target_cluster.connect() as connection, connection.transaction(force_rollback=True):
        connection.execute("CREATE TABLE public.files (v bytea)")
        for value in values:
            connection.execute(f"INSERT INTO public.files VALUES ({value})".encode())
        rows = connection.execute("SELECT h " + shape.rows(dialect)).fetchall()
        text = f"SELECT max(octet_length(ROW({dialect.large('v')})::text)) < 100 FROM public.files"
        assert connection.execute(text.encode()).fetchone() == (True,)
    assert rows[0] == rows[1]
    assert len(set(rows)) == 6


def test_a_bytea_that_is_of_another_type_on_the_target_is_compared_by_its_text() -> None:
    shape = Shape(schema="public", name="files", columns=(("v", "bytea"),), key=())
    assert "digest" not in shape.rows(Dialect())
