"""Partitions come, go and stand apart while the sync runs: no row of theirs is lost without a word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.engine.drift import Doubt, Drift
from migrations_app.engine.errors import SchemaChanged
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import NEVER, Kind, LedgerItem, TableState, TableStatus
from migrations_app.engine.steps import recopy
from tests.postgres import drift_kit
from tests.postgres.drift_kit import allow, stopped
from tests.postgres.sync_kit import Pair, force_path

# A fixture that stands in the kit.
pair = drift_kit.pair

PARTED = (
    "CREATE TABLE m (id int PRIMARY KEY, v text) PARTITION BY LIST (id);"
    " CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)"
)
NEW = ("CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2, 3)", "INSERT INTO m VALUES (2, 'y')")
APART = (
    "ALTER TABLE m DETACH PARTITION m2",
    "UPDATE m2 SET v = 'z'; INSERT INTO m2 VALUES (3, 'apart')",
    "ALTER TABLE m ATTACH PARTITION m2 FOR VALUES IN (2, 3)",
)
LISTED = (
    "SELECT array_agg(c.relname::text ORDER BY c.relname) FROM pg_publication_rel r"
    " JOIN pg_class c ON c.oid = r.prrelid WHERE c.relname LIKE 'm%'"
)


@pytest.fixture
def following(pair: Pair) -> Pair:
    pair.selection = replace(pair.selection, follow="additions")
    return pair


@pytest.mark.parametrize("columns", ["(id int PRIMARY KEY, v text)", "(v text, id int NOT NULL)", "(LIKE m)"])
def test_a_table_that_was_made_filled_and_attached_in_one_transaction_stops_the_sync(
    following: Pair, columns: str
) -> None:
    following.build(PARTED)
    following.at_source(
        f"BEGIN; CREATE TABLE m2 {columns}; INSERT INTO m2 (id, v) VALUES (2, 'before');"
        " ALTER TABLE m ATTACH PARTITION m2 FOR VALUES IN (2, 3); INSERT INTO m VALUES (3, 'after'); COMMIT"
    )
    drift = stopped(following)
    assert (drift.name, drift.doubt, drift.statements) == ("m2", Doubt.ATTACHED, ())


@pytest.mark.parametrize(
    ("root", "more"),
    [
        ("(id int PRIMARY KEY)", ""),
        ("(id int PRIMARY KEY DEFAULT 7)", ""),
        ("(id int NOT NULL, v text NOT NULL DEFAULT 'd', PRIMARY KEY (id))", "ALTER TABLE m2 ALTER v DROP DEFAULT"),
        ("(id int PRIMARY KEY, v text, twice int GENERATED ALWAYS AS (id * 2) STORED)", "CREATE INDEX ON m2 (v)"),
    ],
)
def test_a_partition_that_was_made_as_one_is_followed_whatever_is_done_to_it_at_once(
    following: Pair, root: str, more: str
) -> None:
    following.build(f"CREATE TABLE m {root} PARTITION BY LIST (id); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)")
    following.at_source(
        f"BEGIN; CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2); INSERT INTO m (id) VALUES (2); {more}; COMMIT"
    )
    following.catch_up()
    following.assert_equal()


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_new_partition_of_a_table_that_has_another_name_by_now_stops_the_sync_instead_of_being_left_out(
    following: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    following.build(PARTED)
    following.at_source("INSERT INTO m VALUES (1, 'x')", "ALTER TABLE m RENAME TO away")
    following.at_source("CREATE TABLE m2 PARTITION OF away FOR VALUES IN (2)", "INSERT INTO away VALUES (2, 'y')")
    with pytest.raises(SchemaChanged, match=r"m2 is a new partition of .* public\.away"):
        following.catch_up()
    following.at_source("ALTER TABLE away RENAME TO m")
    following.catch_up()
    following.assert_equal()


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_a_partition_that_was_apart_when_its_first_row_was_read_is_asked_about_once_it_is_attached_again(
    following: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    following.build(PARTED)
    with following.syncing() as session:
        following.at_source(*NEW, APART[0])
        session.advance(until=following.insert_lsn())
        following.at_source(APART[2], "INSERT INTO m VALUES (3, 'z')")
        with pytest.raises(SchemaChanged) as caught:
            session.advance(until=following.insert_lsn())
    assert caught.value.drift is not None
    assert (caught.value.drift.name, caught.value.drift.doubt) == ("m2", Doubt.ATTACHED)


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_rows_written_to_a_partition_that_came_with_the_stream_arrive_also_while_it_is_detached(
    following: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    following.build(PARTED)
    following.at_source(*NEW)
    following.catch_up()
    following.at_source(*APART)
    following.catch_up()
    following.assert_equal()


def test_a_partition_that_was_applied_when_that_was_allowed_stays_in_the_stream_while_it_is_detached(
    pair: Pair,
) -> None:
    pair.build(PARTED)
    pair.at_source(*NEW)
    allow(pair, stopped(pair))
    pair.catch_up()
    pair.at_source(*APART)
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.parametrize("path", ["rows", "batches"])
@pytest.mark.parametrize("first", ["INSERT INTO m VALUES (2, 'y', 1)", "TRUNCATE m2", "TRUNCATE m"])
def test_a_new_partition_may_have_a_new_column_too(
    following: Pair, monkeypatch: pytest.MonkeyPatch, path: str, first: str
) -> None:
    force_path(monkeypatch, path)
    following.build(PARTED)
    following.at_source("ALTER TABLE m ADD COLUMN c int", "CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2, 3)")
    following.at_source(first, "INSERT INTO m VALUES (1, 'x', 5), (3, 'z', 7)")
    following.catch_up()
    following.assert_equal()


def test_a_partition_that_is_locked_when_it_comes_is_listed_by_the_next_session(following: Pair) -> None:
    following.build(PARTED)
    following.at_source(*NEW)
    with following.source.connect(following.source_db) as other, other.transaction():
        other.execute("LOCK TABLE m2 IN SHARE UPDATE EXCLUSIVE MODE")
        following.catch_up()
        assert following.value(LISTED) == ["m", "m1"]
    following.catch_up()
    assert following.value(LISTED) == ["m", "m1", "m2"]


def test_a_partition_that_a_worker_made_before_it_died_is_listed_by_the_next_one(
    following: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    following.build(PARTED)
    following.at_source(*NEW)
    with monkeypatch.context() as patched:
        patched.setattr("migrations_app.engine.replication.reshaping.list_partitions", lambda *_: None)
        following.catch_up()
    assert following.value(LISTED) == ["m", "m1"]
    following.catch_up()
    assert following.value(LISTED) == ["m", "m1", "m2"]


def drop_from_task(pair: Pair, drift: Drift) -> None:
    """Do what the operator's choice does."""
    states = [state for state in pair.store.tables(pair.source_db) if state.name == drift.name]
    pair.store.save_tables(*(replace(state, status=TableStatus.DROPPED, watermark=NEVER) for state in states))


def copy_again(pair: Pair, drift: Drift, work_dir: Path) -> None:
    """Do what the operator's choice does, and then the worker."""
    state = TableState(
        database=pair.source_db,
        schema=drift.schema,
        name=drift.name,
        oid=drift.oid,
        status=TableStatus.QUARANTINED,
        watermark=NEVER,
    )
    pair.store.save_tables(state)
    pair.store.asked_again[pair.source_db] = [("public", drift.name)]
    with pair.running(work_dir=work_dir) as run:
        recopy.run(run)


@pytest.fixture
def replaced(pair: Pair) -> Pair:
    """A partition was dropped, and another one of its name has rows."""
    pair.build(PARTED)
    item = LedgerItem(side=Side.TARGET, database=pair.target_db, kind=Kind.TABLE, schema="public", name="m1")
    pair.ledger.intend(item)
    pair.at_source("INSERT INTO m VALUES (1, 'old')")
    pair.catch_up()
    pair.at_source(
        "DROP TABLE m1", "CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)", "INSERT INTO m VALUES (1, 'new')"
    )
    return pair


def test_a_new_partition_by_the_name_of_one_that_is_gone_is_asked_about_and_not_left_out(
    replaced: Pair, tmp_path: Path
) -> None:
    drift = stopped(replaced)
    assert drift.doubt is Doubt.GONE
    drop_from_task(replaced, drift)
    drift = stopped(replaced)
    assert (drift.name, drift.doubt, drift.statements) == ("m1", Doubt.REPLACED, ())
    copy_again(replaced, drift, tmp_path)
    replaced.at_source("UPDATE m SET v = v || '!'")
    replaced.catch_up()
    replaced.assert_equal()


def test_a_new_partition_by_the_name_of_one_that_is_gone_can_be_left_out(replaced: Pair) -> None:
    drop_from_task(replaced, stopped(replaced))
    drift = stopped(replaced)
    (state,) = [one for one in replaced.store.tables(replaced.source_db) if one.name == "m1"]
    replaced.store.save_tables(replace(state, oid=drift.oid, status=TableStatus.DROPPED, watermark=NEVER))
    replaced.at_source("INSERT INTO m VALUES (1, 'left out') ON CONFLICT (id) DO UPDATE SET v = 'left out'")
    replaced.catch_up()
    assert replaced.value("SELECT v FROM m", "target") == "old"


def test_a_partition_that_is_copied_with_a_new_column_waits_for_the_others_to_come_to_it(
    pair: Pair, tmp_path: Path
) -> None:
    pair.build(PARTED)
    pair.at_source(
        "CREATE TABLE m2 (id int PRIMARY KEY, v text); INSERT INTO m2 VALUES (2, 'before')",
        "ALTER TABLE m ATTACH PARTITION m2 FOR VALUES IN (2, 3)",
        "INSERT INTO m VALUES (3, 'after')",
    )
    attached = stopped(pair)
    assert attached.doubt is Doubt.ATTACHED
    pair.at_source(
        "INSERT INTO m VALUES (1, 'old columns')",
        "ALTER TABLE m ADD COLUMN c int DEFAULT 7",
        "UPDATE m SET c = id WHERE id <> 3",
    )
    with pytest.raises(SchemaChanged) as caught:
        copy_again(pair, attached, tmp_path)
    changed = caught.value.drift
    assert changed is not None
    assert (changed.name, [change.name for change in changed.changes]) == ("m1", ["c"])
    allow(pair, changed)
    copy_again(pair, attached, tmp_path)
    pair.at_source("INSERT INTO m VALUES (2, 'new', 2) ON CONFLICT (id) DO UPDATE SET v = 'newer'")
    pair.catch_up()
    pair.assert_equal()
