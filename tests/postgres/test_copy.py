"""The copy step over real servers: rows of every kind, resume, conflicts, parts, large objects, interruption."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import copy_plan, index_lanes, large_objects, snapshot
from migrations_app.engine.copying import Lane
from migrations_app.engine.errors import CancelRequested, ConflictError, ConnectionLost, SourceError, TargetError
from migrations_app.engine.outcome import DONE, Run
from migrations_app.engine.plan import DatabasePlan, Side
from migrations_app.engine.ports import Kind, TableStatus
from migrations_app.engine.steps import copy
from tests.fakes import wait_until
from tests.postgres.engine_runs import fakes, make_plan, register_tables, running

SCHEMA = """
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, note text, at timestamptz, n numeric,
                     twice int GENERATED ALWAYS AS (3) STORED);
CREATE TABLE "od d %s "" \\ {}" ("co""l %s" text, "select" int);
CREATE TABLE empty_one (a int);
CREATE TABLE no_columns ();
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE TABLE moods (m mood, j jsonb, b bytea, a int[]);
CREATE UNLOGGED TABLE scratch (id int);
CREATE TABLE root (id int, v text) PARTITION BY RANGE (id);
CREATE TABLE root_low PARTITION OF root FOR VALUES FROM (0) TO (50);
CREATE TABLE root_rest PARTITION OF root DEFAULT;
CREATE TABLE parent (id int); CREATE TABLE child (extra text) INHERITS (parent);
"""
ROWS = """
INSERT INTO orders (note, at, n) SELECT 'note ' || n, '2020-01-01'::timestamptz + n * interval '1 s', n / 7.0
  FROM generate_series(1, 5000) n;
INSERT INTO "od d %s "" \\ {}" VALUES (E'tab\\t new\\nline \\\\ N', 1), (NULL, NULL), ('\\N', 2);
INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;
INSERT INTO moods VALUES ('sad', '{"a": [1, null]}', '\\x00ff', '{1,NULL,3}'), (NULL, NULL, NULL, NULL);
INSERT INTO scratch VALUES (1), (2);
INSERT INTO root SELECT n, 'v' || n FROM generate_series(1, 100) n;
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 'c');
"""


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the builder of indexes, which needs an archive; remembers the tables that it was given."""
    names: list[str] = []

    def build(run: Run, database: DatabasePlan, table: Any, session: Any) -> None:
        names.append(table.name)
        session.execute("SELECT 1")

    monkeypatch.setattr(index_lanes, "build_table", build)
    return names


@pytest.fixture
def run(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> Iterator[Run]:
    execute(source_cluster, source_db, SCHEMA)
    execute(target_cluster, target_db, SCHEMA)
    execute(source_cluster, source_db, ROWS)
    with running(make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)) as made:
        register_tables(made, source_cluster)
        yield made


def execute(cluster: Cluster, database: str, text: str) -> None:
    with cluster.connect(database) as connection:
        connection.execute(text.encode())


def contents(cluster: Cluster, database: str) -> dict[str, list[str]]:
    with cluster.connect(database) as connection:
        names = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        found = {}
        for (name,) in names:
            quoted = '"' + name.replace('"', '""') + '"'
            rows = connection.execute(f"SELECT q::text FROM ONLY {quoted} q ORDER BY 1".encode()).fetchall()
            found[name] = [row[0] for row in rows]
        return found


def assert_equal(source: Cluster, source_db: str, target: Cluster, target_db: str) -> None:
    left, right = contents(source, source_db), contents(target, target_db)
    assert left == right
    assert any(left.values())


def states(run: Run) -> set[TableStatus]:
    return {state.status for state in run.ports.store.tables(run.plan.databases[0].source_name)}


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
    monkeypatch.setattr(copy_plan, "_SMALL_TABLE_BYTES", 1000)
    monkeypatch.setattr(copy_plan, "part_size", lambda total, jobs: 50_000)
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


def test_a_part_whose_commit_is_in_doubt_is_not_copied_twice(
    run: Run,
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copy_plan, "_SMALL_TABLE_BYTES", 1000)
    monkeypatch.setattr(copy_plan, "part_size", lambda total, jobs: 50_000)
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
    assert {code for _, code, _ in fakes(run.ports)[1].events} == {"RUN-RETRY"}


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


def test_a_failing_index_ends_the_copy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(run: Run, database: DatabasePlan, table: Any, session: Any) -> None:
        raise TargetError("could not create unique index")

    monkeypatch.setattr(index_lanes, "build_table", build)
    with pytest.raises(TargetError, match="unique index"):
        copy.run(run)


def _while_copying(run: Run, source: Cluster, act: Callable[[], None]) -> None:
    """Run the copy of a table that takes minutes; `act` once its rows move."""

    def wait_and_act() -> None:
        def moving() -> bool:
            with source.connect() as connection:
                row = connection.execute("SELECT count(*) FROM pg_stat_progress_copy").fetchone()
            return bool(row and row[0])

        wait_until(moving, what="a running COPY")
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        copy.run(run)
    finally:
        thread.join()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "migrations_app.engine.copying.copy_statements",
        lambda work, part, encodings, freeze: (
            "COPY (SELECT n FROM generate_series(1, 2000000000) n) TO STDOUT",
            "COPY public.empty_one FROM STDIN",
        ),
    )


def _while_held_back(run: Run, act: Callable[[], None]) -> None:
    """Run the copy at a rate at which it would take an hour; `act`, which changes that, once it has begun."""
    _turn(run, bytes_per_second=1000)

    def wait_and_act() -> None:
        try:
            wait_until(lambda: TableStatus.COPYING in states(run), what="a table that is being copied")
            act()
        except BaseException:
            fakes(run.ports)[2].cancel()
            raise

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        copy.run(run)
    finally:
        thread.join()


def _turn(run: Run, **knobs: Any) -> None:
    fakes(run.ports)[2].turned = replace(run.plan.knobs, **knobs)


def test_a_cap_slows_the_copy_down(run: Run, source_cluster: Cluster, source_db: str) -> None:
    execute(
        source_cluster, source_db, "INSERT INTO orders (note) SELECT repeat('x', 1000) FROM generate_series(1, 2000)"
    )
    _turn(run, bytes_per_second=1_000_000)
    started = time.monotonic()
    copy.run(run)
    assert time.monotonic() - started > 1.5


def test_a_cap_that_is_taken_back_frees_a_copy_under_way(run: Run, source_cluster: Cluster, source_db: str) -> None:
    execute(
        source_cluster, source_db, "INSERT INTO orders (note) SELECT repeat('x', 1000) FROM generate_series(1, 4000)"
    )
    _while_held_back(run, lambda: _turn(run, bytes_per_second=None))
    assert set(states(run)) == {TableStatus.DONE}


def test_lanes_come_and_go_while_rows_are_copied(run: Run, source_cluster: Cluster, source_db: str) -> None:
    execute(
        source_cluster, source_db, "INSERT INTO orders (note) SELECT repeat('x', 1000) FROM generate_series(1, 3000)"
    )
    seen: list[int] = []

    def more() -> None:
        for number in (4, 1):
            _turn(run, copy_jobs=number, index_jobs=number, bytes_per_second=1000)
            seen.append(number)
        _turn(run, copy_jobs=2, index_jobs=2)

    _while_held_back(run, more)
    assert seen == [4, 1]
    assert set(states(run)) == {TableStatus.DONE}


@pytest.mark.usefixtures("endless")
def test_cancel_stops_all_lanes_at_once(run: Run, source_cluster: Cluster) -> None:
    with pytest.raises(CancelRequested):
        _while_copying(run, source_cluster, fakes(run.ports)[2].cancel)
    assert TableStatus.COPYING in states(run)


@pytest.mark.usefixtures("endless")
def test_a_failing_lane_stops_the_others(run: Run, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    boards: list[Any] = []
    original = copy.Board.__init__

    def noted(self: Any, *arguments: Any) -> None:
        boards.append(self)
        original(self, *arguments)

    monkeypatch.setattr(copy.Board, "__init__", noted)
    with pytest.raises(TargetError, match="elsewhere"):
        _while_copying(run, source_cluster, lambda: boards[0].fail(TargetError("elsewhere")))


def test_a_table_that_vanished_is_named(run: Run, source_cluster: Cluster, source_db: str) -> None:
    execute(source_cluster, source_db, "DROP TABLE moods")
    with pytest.raises(SourceError, match=r"public\.moods"):
        copy.run(run)


def test_many_small_tables_of_two_databases_share_the_lanes(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path, run: Run
) -> None:
    other = source_db + "_b"
    with source_cluster.connect() as connection:
        connection.execute(f'CREATE DATABASE "{other}"')
    with target_cluster.connect() as connection:
        connection.execute(f'CREATE DATABASE "{other}"')
    try:
        made = "".join(f"CREATE TABLE t{n} (id int PRIMARY KEY);" for n in range(120))
        execute(source_cluster, other, made + "".join(f"INSERT INTO t{n} VALUES ({n});" for n in range(120)))
        execute(target_cluster, other, made)
        plan = make_plan(source_cluster, target_cluster, [(source_db, target_db), (other, other)], tmp_path)
        with running(plan) as both:
            register_tables(both, source_cluster)
            copy.run(both)
        assert_equal(source_cluster, other, target_cluster, other)
        assert_equal(source_cluster, source_db, target_cluster, target_db)
    finally:
        with source_cluster.connect() as connection:
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", (other,)
            )
            connection.execute(f'DROP DATABASE "{other}" WITH (FORCE)')
        with target_cluster.connect() as connection:
            connection.execute(f'DROP DATABASE "{other}" WITH (FORCE)')


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
        "CREATE TABLE dated (m mood, d date, f float8);"
        "INSERT INTO dated VALUES ('sad', '2024-03-04', 0.1::float8 + 0.2);"
        f"ALTER DATABASE {source_db} SET datestyle = 'SQL, DMY';"
        f"ALTER DATABASE {source_db} SET extra_float_digits = -15",
    )
    execute(target_cluster, target_db, "CREATE TABLE dated (m mood, d date, f float8)")
    register_tables(run, source_cluster)
    copy.run(run)
    with target_cluster.connect(target_db) as connection:
        row = connection.execute("SELECT d::text, f FROM dated").fetchone()
    assert row == ("2024-03-04", 0.1 + 0.2)


def _objects(cluster: Cluster, database: str) -> list[tuple[Any, ...]]:
    with cluster.connect(database) as connection:
        return connection.execute(
            "SELECT oid::bigint, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1"
        ).fetchall()


def test_large_objects_are_copied_and_kept_equal(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    execute(
        source_cluster,
        source_db,
        "SELECT lo_from_bytea(70000 + n, decode(repeat('ab', n), 'hex')) FROM generate_series(0, 150) n;"
        "SELECT lo_from_bytea(80000, decode(repeat('0123456789', 700000), 'hex'))",
    )
    copy.run(run)
    assert _objects(source_cluster, source_db) == _objects(target_cluster, target_db)
    assert len(_objects(target_cluster, target_db)) == 152
    execute(
        source_cluster,
        source_db,
        "SELECT lo_unlink(70003); SELECT lo_put(80000, 3400000, 'changed'); SELECT lo_from_bytea(90000, 'new')",
    )
    assert large_objects.sync_large_objects(run, run.plan.databases[0]) == 3
    assert _objects(source_cluster, source_db) == _objects(target_cluster, target_db)
    assert large_objects.sync_large_objects(run, run.plan.databases[0]) == 0


def test_large_objects_of_others_are_left_alone(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    execute(source_cluster, source_db, "SELECT lo_from_bytea(70001, 'ours'); SELECT lo_from_bytea(70002, 'ours too')")
    execute(target_cluster, target_db, "SELECT lo_from_bytea(60000, 'theirs')")
    large_objects.sync_large_objects(run, run.plan.databases[0])
    assert large_objects.drop_large_objects(run, target_db) == 2
    assert [oid for oid, _ in _objects(target_cluster, target_db)] == [60000]
    execute(target_cluster, target_db, "SELECT lo_from_bytea(70002, 'theirs')")
    with pytest.raises(ConflictError, match="70002"):
        large_objects.sync_large_objects(run, run.plan.databases[0])


def test_large_objects_keep_owner_grants_and_comment_for_roles_that_the_target_has(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    with roles(source_cluster, "lo_owner", "lo_reader", "lo_stranger"), roles(target_cluster, "lo_owner", "lo_reader"):
        execute(
            source_cluster,
            source_db,
            "SELECT lo_from_bytea(70001, 'one'), lo_from_bytea(70002, 'two');"
            "COMMENT ON LARGE OBJECT 70001 IS 'it''s \\ %s';"
            "ALTER LARGE OBJECT 70002 OWNER TO lo_owner; GRANT SELECT ON LARGE OBJECT 70001 TO PUBLIC, lo_stranger;"
            "GRANT UPDATE ON LARGE OBJECT 70001 TO lo_reader WITH GRANT OPTION",
        )
        large_objects.sync_large_objects(run, run.plan.databases[0])
        assert _rights(target_cluster, target_db) == [
            (70001, "postgres", "it's \\ %s", ["lo_reader UPDATE true", "public SELECT false"]),
            (70002, "lo_owner", None, []),
        ]
        execute(
            source_cluster,
            source_db,
            "REVOKE ALL ON LARGE OBJECT 70001 FROM lo_reader; COMMENT ON LARGE OBJECT 70001 IS NULL;"
            "SELECT lo_put(70002, 0, 'new')",
        )
        large_objects.sync_large_objects(run, run.plan.databases[0])
        assert _rights(target_cluster, target_db) == [
            (70001, "postgres", None, ["public SELECT false"]),
            (70002, "lo_owner", None, []),
        ]
        for cluster, database in ((source_cluster, source_db), (target_cluster, target_db)):
            execute(cluster, database, "SELECT lo_unlink(70001), lo_unlink(70002)")


def _rights(cluster: Cluster, database: str) -> list[tuple[Any, ...]]:
    with cluster.connect(database) as connection:
        return connection.execute(
            "SELECT m.oid::bigint, pg_get_userbyid(lomowner)::text, obj_description(m.oid, 'pg_largeobject'), ARRAY("
            "SELECT concat_ws(' ', CASE WHEN grantee = 0 THEN 'public' ELSE pg_get_userbyid(grantee)::text END,"
            " privilege_type, is_grantable::text) FROM aclexplode(lomacl) WHERE grantee <> lomowner ORDER BY 1)"
            " FROM pg_largeobject_metadata m ORDER BY 1"
        ).fetchall()


@contextlib.contextmanager
def roles(cluster: Cluster, *names: str) -> Iterator[None]:
    """Roles for as long as the block runs."""
    with cluster.connect() as connection:
        for name in names:
            connection.execute(f"CREATE ROLE {name}")
        try:
            yield
        finally:
            for name in names:
                connection.execute(f"DROP ROLE {name}")


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


def test_large_objects_need_the_whole_database(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    execute(source_cluster, source_db, "SELECT lo_from_bytea(70001, 'ours')")
    run.plan = replace(run.plan, selection=run.plan.selection.toggle((source_db, "public", "moods"), False))
    assert large_objects.sync_large_objects(run, run.plan.databases[0]) == 0
    assert _objects(target_cluster, target_db) == []
