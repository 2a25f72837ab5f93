"""The copy step over real servers: rows of every kind, resume, conflicts, parts, text of other encodings."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import copy_plan, snapshot
from migrations_app.engine.copying import Lane
from migrations_app.engine.errors import ConflictError, ConnectionLost, SourceError
from migrations_app.engine.outcome import DONE, Run
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import Kind, LedgerItem, TableStatus
from migrations_app.engine.steps import copy
from tests.postgres import copy_kit
from tests.postgres.copy_kit import assert_equal, contents, execute, states
from tests.postgres.engine_runs import fakes, make_plan, register_tables, running

# Fixtures that stand in the kit.
built = copy_kit.built
run = copy_kit.run


def test_every_table_arrives_exactly(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, built: list[str]
) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    lsn = opened.lsn
    execute(source_cluster, source_db, "CREATE TABLE reference AS TABLE orders")
    assert copy.run(run) == DONE
    execute(source_cluster, source_db, "DROP TABLE reference")
    assert_equal(source_cluster, source_db, target_cluster, target_db)
    assert states(run) == {TableStatus.DONE}
    assert {state.watermark for state in run.ports.store.tables(source_db)} == {lsn}
    assert sorted(built) == sorted(contents(target_cluster, target_db))
    assert sum(state.rows_done for state in run.ports.store.tables(source_db)) == 5000 + 3 + 2 + 2 + 2 + 100 + 2


def test_a_table_that_is_copied_alone_needs_no_vacuum_afterwards(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    table = "CREATE TABLE large (v text) WITH (autovacuum_enabled = off)"
    execute(target_cluster, target_db, table)
    execute(
        source_cluster, source_db, f"{table}; INSERT INTO large SELECT repeat('x', 900) FROM generate_series(1, 9000)"
    )
    register_tables(run, source_cluster)
    copy.run(run)
    with target_cluster.connect(target_db) as connection:
        connection.execute("ANALYZE large")
        pages = "SELECT relpages, relallvisible, relallfrozen FROM pg_class WHERE oid = 'large'::regclass"
        every, visible, frozen = connection.execute(pages).fetchone() or (0, 0, 0)
        assert every > 1000
        assert visible == frozen > 0.95 * every  # the server leaves out a page that two of its batches share


def test_later_rows_are_not_in_the_copy(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    execute(source_cluster, source_db, "INSERT INTO parent VALUES (99); UPDATE orders SET note = 'later'")
    copy.run(run)
    there = contents(target_cluster, target_db)
    assert there["parent"] == ["(1)"]
    assert not any("later" in row for row in there["orders"])


def test_the_snapshot_is_closed_after_the_copy(run: Run, source_db: str) -> None:
    opened = snapshot.open_first(run, run.plan.databases[0])
    copy.run(run)
    assert opened.holder.closed
    assert run.snapshots == {}


def test_a_full_copy_keeps_its_snapshot_for_the_comparison(run: Run, source_db: str) -> None:
    run.plan = replace(run.plan, incremental=False)
    opened = snapshot.open_first(run, run.plan.databases[0])
    copy.run(run)
    assert run.snapshots[source_db] is opened
    assert opened.alive()


def test_progress_ends_at_everything(run: Run) -> None:
    copy.run(run)
    done, total, note = fakes(run.ports)[1].steps[-1]
    assert done == total
    assert note == "10 of 10 tables"


def test_the_plan_reads_the_ledger_no_more_often_for_many_tables(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    asked, items = [], run.ports.ledger.items
    monkeypatch.setattr(run.ports.ledger, "items", lambda *of: [asked.append(of), items(*of)][1])
    planned = copy_plan.plan_database(run, run.plan.databases[0])
    assert len(planned.to_copy) == 10
    assert len(asked) == 2


def test_every_plan_knows_which_tables_were_there_before(run: Run, target_db: str) -> None:
    there = LedgerItem(side=Side.TARGET, database=target_db, kind=Kind.ADOPTED, schema="public", name="moods")
    run.ports.ledger.intend(there)
    database = run.plan.databases[0]
    opened = snapshot.open_first(run, database)
    planned = copy_plan.plan_database(run, database).to_copy
    alone = [copy_plan.work_on(run, database, one.state, opened) for one in planned]
    for works in (planned, alone):
        assert [one.state.name for one in works if one.adopted] == ["moods"]


def test_an_interrupted_copy_goes_on_under_a_new_snapshot(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, built: list[str]
) -> None:
    first = snapshot.open_first(run, run.plan.databases[0])
    first_lsn = first.lsn
    copy.run(run)
    run.sessions.close()
    finished = {state.name: state for state in run.ports.store.tables(source_db)}
    torn = replace(finished["orders"], status=TableStatus.COPYING, watermark=None)
    copied = replace(finished["parent"], status=TableStatus.COPIED)
    run.ports.store.save_tables(torn, copied)
    execute(target_cluster, target_db, "DELETE FROM orders WHERE id % 2 = 0")
    execute(source_cluster, source_db, "UPDATE orders SET note = 'newer' WHERE id < 10")
    built.clear()
    with running(replace(run.plan, epoch=2), run.ports) as second:
        assert copy.run(second) == DONE
    assert_equal(source_cluster, source_db, target_cluster, target_db)
    after = {state.name: state for state in run.ports.store.tables(source_db)}
    assert after["parent"].watermark == first_lsn
    assert after["orders"].watermark > first_lsn  # type: ignore[operator]
    assert sorted(built) == ["orders", "parent"]


def test_a_full_copy_that_lost_its_snapshot_starts_over(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    run.plan = replace(run.plan, incremental=False)
    copy.run(run)
    run.sessions.close()
    state = run.ports.store.tables(source_db)[0]
    run.ports.store.save_tables(replace(state, status=TableStatus.COPYING))
    execute(source_cluster, source_db, "UPDATE orders SET note = 'newer' WHERE id < 10; DELETE FROM parent")
    with running(replace(run.plan, epoch=2), run.ports) as second:
        copy.run(second)
    assert_equal(source_cluster, source_db, target_cluster, target_db)
    assert [code for _, code, _ in fakes(run.ports)[1].events] == ["COPY-AGAIN"]


def test_a_filled_table_that_is_not_ours_is_never_emptied(run: Run, target_cluster: Cluster, target_db: str) -> None:
    execute(target_cluster, target_db, "INSERT INTO parent VALUES (-1)")
    run.ports.ledger.removed(
        *(item for item in run.ports.ledger.items(Side.TARGET) if item.kind is Kind.TABLE and item.name == "parent")
    )
    with pytest.raises(ConflictError, match=r"public\.parent"):
        copy.run(run)
    assert contents(target_cluster, target_db)["parent"] == ["(-1)"]


def test_an_empty_table_that_is_not_ours_is_filled(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    run.ports.ledger.removed(*(item for item in run.ports.ledger.items() if item.kind is Kind.TABLE))
    copy.run(run)
    assert_equal(source_cluster, source_db, target_cluster, target_db)


@pytest.mark.parametrize("by", ["pages", "key"])
def test_a_large_table_is_copied_in_parts(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    execute(target_cluster, target_db, "INSERT INTO orders (note) VALUES ('left by a killed run')")
    copy_kit.in_parts(monkeypatch)
    if by == "key":
        execute(source_cluster, source_db, "ANALYZE")
        monkeypatch.setattr("migrations_app.engine.parts._TID_RANGE_SCAN_SINCE", 990000)
    parts: list[str] = []
    original = Lane.copy_part

    def noted(self: Lane, work: Any, part: Any) -> None:
        parts.append(part.where)
        original(self, work, part)

    monkeypatch.setattr(Lane, "copy_part", noted)
    copy.run(run)
    assert len(parts) >= 5
    assert ("ctid" in parts[0]) == (by == "pages")
    assert_equal(source_cluster, source_db, target_cluster, target_db)


def test_autovacuum_is_kept_away_from_a_table_whose_parts_are_copied(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, target_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_kit.in_parts(monkeypatch)
    held: list[int] = []
    original = Lane._copy

    def noted(self: Lane, work: Any, part: Any, *, freeze: bool) -> int:
        if part.where:
            with target_cluster.connect(target_db) as connection:
                row = connection.execute(
                    "SELECT count(*) FROM pg_locks WHERE relation = 'public.orders'::regclass AND granted"
                    " AND mode = 'ShareUpdateExclusiveLock'"
                ).fetchone()
            held.append(int(row[0]) if row else -1)
        return original(self, work, part, freeze=freeze)

    monkeypatch.setattr(Lane, "_copy", noted)
    copy.run(run)
    assert max(held) == 1
    assert held.count(0) < len(held) / 2, "most of the time nobody kept it away"


def test_parts_are_copied_also_while_somebody_else_holds_that_lock(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy_kit.in_parts(monkeypatch)
    original = Lane._alone
    parts: list[str] = []

    @contextlib.contextmanager
    def beside(self: Lane, work: Any) -> Iterator[None]:
        with target_cluster.connect(target_db, autocommit=False) as other:
            other.execute("LOCK TABLE orders IN SHARE UPDATE EXCLUSIVE MODE")
            with original(self, work):
                parts.append(work.label)
                yield

    monkeypatch.setattr(Lane, "_alone", beside)
    copy.run(run)
    assert len(parts) >= 5
    assert_equal(source_cluster, source_db, target_cluster, target_db)


def test_a_part_whose_commit_is_in_doubt_is_not_copied_twice(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy_kit.in_parts(monkeypatch)
    monkeypatch.setattr("migrations_app.engine.copy_board._BACK_OFF_SECONDS", (0.0, 0.0))
    lost = iter(["after", "before"])
    original = Lane._command

    def breaking(self: Lane, text: str, doing: str) -> None:
        how = next(lost, "") if text == "COMMIT" and "orders" in doing else ""
        if how != "before":
            original(self, text, doing)
        if how:
            raise ConnectionLost("cut at the commit")

    monkeypatch.setattr(Lane, "_command", breaking)
    copy.run(run)
    assert_equal(source_cluster, source_db, target_cluster, target_db)
    assert next(lost, None) is None


def test_a_lost_connection_is_tried_again(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("migrations_app.engine.copy_board._BACK_OFF_SECONDS", (0.0, 0.0))
    failures = iter([0, 1])
    original = Lane.copy_whole

    def failing(self: Lane, works: Any) -> None:
        if next(failures, None) is not None:
            self.target.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        original(self, works)

    monkeypatch.setattr(Lane, "copy_whole", failing)
    copy.run(run)
    assert_equal(source_cluster, source_db, target_cluster, target_db)
    events = fakes(run.ports)[1].events
    assert {code for _, code, _ in events} == {"RUN-RETRY"}
    assert all(re.search(r"[^.]\. Trying .* again\.$", text) for _, _, text in events), events


def test_an_error_of_the_source_ends_the_copy_with_its_table(
    run: Run, source_cluster: Cluster, source_db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot.open_first(run, run.plan.databases[0])
    monkeypatch.setattr(
        "migrations_app.engine.copying.copy_statements",
        lambda work, part, encodings, freeze: ("COPY (SELECT 1/0) TO STDOUT", 'COPY public."parent" FROM STDIN'),
    )
    with pytest.raises(SourceError, match="copying public"):
        copy.run(run)


def test_a_table_that_vanished_is_named(run: Run, source_cluster: Cluster, source_db: str) -> None:
    execute(source_cluster, source_db, "DROP TABLE moods")
    with pytest.raises(SourceError, match=r"public\.moods"):
        copy.run(run)


def test_text_of_another_encoding_is_converted(
    source_cluster: Cluster, target_cluster: Cluster, target_db: str, tmp_path: Path
) -> None:
    with source_cluster.connect() as connection:
        connection.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        with source_cluster.connect("latin") as connection:
            connection.execute("SET client_encoding = 'UTF8'; CREATE TABLE words (w text)")
            connection.execute("INSERT INTO words VALUES ('Käse'), ('æøå')")
        execute(target_cluster, target_db, "CREATE TABLE words (w text)")
        with running(make_plan(source_cluster, target_cluster, [("latin", target_db)], tmp_path)) as run:
            register_tables(run, source_cluster)
            copy.run(run)
        with target_cluster.connect(target_db) as connection:
            assert connection.execute("SELECT w FROM words ORDER BY 1").fetchall() == [("Käse",), ("æøå",)]
    finally:
        with source_cluster.connect() as connection:
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = 'latin'"
            )
            connection.execute("DROP DATABASE latin WITH (FORCE)")


def test_hostile_date_styles_do_not_change_values(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    execute(
        source_cluster,
        source_db,
        "CREATE TABLE dated (m aclitem, d date, f float8);"  # without a binary form: the table goes as text
        "INSERT INTO dated VALUES ('postgres=r/postgres', '2024-03-04', 0.1::float8 + 0.2);"
        f"ALTER DATABASE {source_db} SET datestyle = 'SQL, DMY';"
        f"ALTER DATABASE {source_db} SET extra_float_digits = -15",
    )
    execute(target_cluster, target_db, "CREATE TABLE dated (m aclitem, d date, f float8)")
    register_tables(run, source_cluster)
    copy.run(run)
    with target_cluster.connect(target_db) as connection:
        row = connection.execute("SELECT d::text, f FROM dated").fetchone()
    assert row == ("2024-03-04", 0.1 + 0.2)


def test_settings_of_the_target_do_not_change_what_is_read(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    table = "CREATE TABLE listed (m aclitem, a text[])"  # without a binary form: the table goes as text
    execute(
        source_cluster,
        source_db,
        f"{table}; INSERT INTO listed VALUES ('postgres=r/postgres', ARRAY['NULL', NULL, E'\\\\'])",
    )
    execute(target_cluster, target_db, table)
    for setting in ("array_nulls = off", "standard_conforming_strings = off", "transform_null_equals = on"):
        execute(target_cluster, target_db, f"ALTER DATABASE {target_db} SET {setting}")
    register_tables(run, source_cluster)
    copy.run(run)
    with target_cluster.connect(target_db) as connection:
        row = connection.execute("SELECT a FROM listed").fetchone()
    assert row == (["NULL", None, "\\"],)


def test_unlogged_tables_are_copied_again_over_their_indexes_and_keys(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    copy.run(run)
    execute(
        target_cluster,
        target_db,
        "CREATE UNIQUE INDEX ON scratch (id); CREATE UNLOGGED TABLE refers (id int REFERENCES scratch (id));"
        "INSERT INTO refers VALUES (1)",
    )
    execute(source_cluster, source_db, "UPDATE scratch SET id = 7 WHERE id = 2; INSERT INTO scratch VALUES (8)")
    assert copy_plan.copy_again(run, run.plan.databases[0], lambda state: state.unlogged) == 1
    there = contents(target_cluster, target_db)
    assert there["scratch"] == ["(1)", "(7)", "(8)"]
    assert there["refers"] == ["(1)"]
