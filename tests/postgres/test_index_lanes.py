"""Indexes of large tables: built side by side while rows are copied, keys last, and all of it again after a kill."""

from __future__ import annotations

from dataclasses import replace

import pytest

from migrations_app.engine import index_lanes, indexes
from migrations_app.engine.archive import open_archive
from migrations_app.engine.errors import EngineError
from migrations_app.engine.names import qualified, quote
from migrations_app.engine.plan import Side
from migrations_app.engine.selection import Selection
from migrations_app.engine.steps import copy, schema
from tests.postgres.engine_runs import fakes, running
from tests.postgres.schema_kit import compare, finish, migrate, tables_of

# Keys that nothing else hangs on: no foreign key, no partition, no other object.
_FREE_KEYS = b"""
SELECT n.nspname, c.relname, k.conname FROM pg_constraint k
  JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype IN ('p', 'u') AND c.relkind = 'r' AND NOT c.relispartition AND k.coninhcount = 0
   AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.confrelid = c.oid)
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.refobjid = k.oid AND d.deptype = 'n')
"""


@pytest.fixture
def large(monkeypatch):
    """Treat every table as a large one, and note what is built apart."""
    built = []
    original = index_lanes.build_apart

    def noted(run, database, entry, connection, **options):
        built.append(entry)
        original(run, database, entry, connection, **options)

    monkeypatch.setattr(index_lanes, "SMALL_TABLE_BYTES", -1)
    monkeypatch.setattr(indexes, "SMALL_TABLE_BYTES", -1)
    monkeypatch.setattr(index_lanes, "_TOGETHER_BYTES", -1)
    monkeypatch.setattr(index_lanes, "build_apart", noted)
    return built


def test_small_tables_are_built_together_and_one_that_fails_does_not_hold_up_the_others(
    source_cluster, target_cluster, awkward_plan, monkeypatch
):
    (database,) = awkward_plan.databases
    together = []
    original = index_lanes.build_tables

    def noted(run, database, tables, session):
        together.append([table.name for table in tables])
        if "parcel" in together[-1] and len(together[-1]) > 1:
            session.execute(b"CREATE INDEX parcel_stands_already ON public.parcel (id)")
        original(run, database, tables, session)

    with source_cluster.connect(database.source_name) as connection:
        for name in ("parcel", "pallet", "crate"):
            connection.execute(
                f"CREATE TABLE {name} (id int PRIMARY KEY, words text);"
                f"INSERT INTO {name} SELECT i, md5(i::text) FROM generate_series(1, 20) i;"
                f"CREATE INDEX {name}_stands_already ON {name} (id); CREATE INDEX {name}_words ON {name} (words)"
            )
    monkeypatch.setattr(index_lanes, "build_tables", noted)
    with running(awkward_plan) as run:
        schema.run(run)
        copy.run(run)
        finish(run)
    assert any(len(names) > 1 and "parcel" in names for names in together), "it was built alone"
    assert compare(source_cluster, target_cluster, awkward_plan) == []


def test_every_index_and_key_arrives_when_they_are_built_side_by_side(
    source_cluster, target_cluster, awkward_plan, large
):
    with running(awkward_plan) as run:
        schema.run(run)
        copy.run(run)
        finish(run)
        warnings = [text for level, _, text in fakes(run.ports)[1].events if level == "warning" and "index" in text]
    assert compare(source_cluster, target_cluster, awkward_plan) == []
    kinds = {entry.type for entry in large}
    assert kinds == {"INDEX", "CONSTRAINT"}, "nothing was built side by side"
    assert not warnings


def test_a_key_whose_index_was_built_before_a_kill_is_adopted(source_cluster, target_cluster, awkward_plan, large):
    (database,) = awkward_plan.databases
    with running(awkward_plan) as run:
        migrate(run)
        archive = open_archive(run, database)
        keys = [entry for entry in archive.entries if indexes._key_index(entry)]
        dropped, standing = [], {}
        with run.sessions.session(Side.TARGET, database.target_name) as connection:
            free = {tuple(row) for row in connection.execute(_FREE_KEYS).fetchall()}
            for entry in keys:
                place = archive.place(entry)
                if (place.schema, place.table, place.name) not in free:
                    continue
                table = qualified(place.schema, place.table)
                connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {quote(place.name)}".encode())
                connection.execute(indexes._key_index(entry))
                dropped.append(entry)
                standing[place.name] = _oid(connection, place)
            assert dropped
            for each in tables_of(run):
                indexes.build_table(run, database, each)
            after = {archive.place(entry).name: _oid(connection, archive.place(entry)) for entry in dropped}
    assert after == standing, "an index that was whole was built again"
    assert compare(source_cluster, target_cluster, awkward_plan) == []


def _oid(connection, place):
    rows = connection.execute(
        "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relname = %s",
        (place.schema, place.name),
    ).fetchall()
    return rows[0][0]


def test_memory_and_processors_follow_what_the_target_says(target_cluster, awkward_plan):
    with target_cluster.connect(awkward_plan.databases[0].target_name) as connection:
        facts = connection.execute(indexes._FACTS.encode()).fetchone()
    with (
        running(replace(awkward_plan, index_jobs=1)) as run,
        run.sessions.session(Side.TARGET, awkward_plan.databases[0].target_name) as connection,
    ):
        connection.execute(indexes.build_settings(run, run.plan.databases[0], connection))
        alone = connection.execute(
            "SELECT pg_size_bytes(current_setting('maintenance_work_mem')) / 1024,"
            " current_setting('max_parallel_maintenance_workers')::int"
        ).fetchone()
    buffers, cache, maintenance, parallel, own = facts
    share = max(4 * buffers, cache * 4 // 3) // 4
    assert alone == (max(maintenance, min(share, 2 << 20)), min(max(own, min(4, parallel // 4)), parallel))


def _memory(run):
    """Return the kilobytes that a build gets."""
    name = run.plan.databases[0].target_name
    with run.sessions.session(Side.TARGET, name) as connection:
        connection.execute(indexes.build_settings(run, run.plan.databases[0], connection))
        asked = "SELECT pg_size_bytes(current_setting('maintenance_work_mem')) / 1024"
        return connection.execute(asked).fetchone()[0]


def test_only_an_idea_of_the_cache_that_somebody_has_set_counts_as_memory(target_cluster, awkward_plan):
    name = awkward_plan.databases[0].target_name
    with target_cluster.connect(name) as connection:
        row = connection.execute("SELECT setting::int * 8 FROM pg_settings WHERE name = 'shared_buffers'").fetchone()
        own = connection.execute("SELECT setting::int FROM pg_settings WHERE name = 'maintenance_work_mem'").fetchone()
        with running(replace(awkward_plan, index_jobs=1)) as run:
            assert _memory(run) == max(row[0], own[0])
        connection.execute(f"ALTER DATABASE \"{name}\" SET effective_cache_size = '3GB'")
    with running(replace(awkward_plan, index_jobs=1)) as run:
        assert _memory(run) == 1 << 20


def test_the_memory_is_shared_by_as_many_lanes_as_are_wanted_now(target_cluster, awkward_plan):
    name = awkward_plan.databases[0].target_name
    with target_cluster.connect(name) as connection:
        connection.execute(f"ALTER DATABASE \"{name}\" SET effective_cache_size = '3GB'")
    with running(replace(awkward_plan, index_jobs=1)) as run:
        assert _memory(run) == 1 << 20
        fakes(run.ports)[2].turned = replace(run.plan.knobs, index_jobs=4)
        assert _memory(run) == 1 << 18


def test_builds_side_by_side_share_the_processors_of_one(target_cluster, awkward_plan):
    for jobs, wanted in ((1, 2), (2, 0), (3, 0)):
        with (
            running(replace(awkward_plan, index_jobs=jobs)) as run,
            run.sessions.session(Side.TARGET, awkward_plan.databases[0].target_name) as connection,
        ):
            connection.execute("SET max_parallel_maintenance_workers = 2")
            connection.execute(indexes.build_settings(run, run.plan.databases[0], connection, apart=True))
            assert connection.execute("SHOW max_parallel_maintenance_workers").fetchone() == (str(wanted),)


def test_the_index_that_is_begun_last_may_take_the_processors_that_the_others_leave(
    source_cluster, awkward_plan, large, monkeypatch
):
    (database,) = awkward_plan.databases
    allowed = {}
    original = index_lanes.build_apart

    def noted(run, database, entry, connection, **options):
        original(run, database, entry, connection, **options)
        (workers,) = connection.execute("SHOW max_parallel_maintenance_workers").fetchone()
        allowed[entry.tag] = workers, options["last"]

    with source_cluster.connect(database.source_name) as connection:
        connection.execute(
            "CREATE TABLE lasting AS SELECT i, repeat(md5(i::text), 8) words FROM generate_series(1, 2000) i;"
            "CREATE INDEX lasting_words ON lasting (words); CREATE INDEX lasting_number ON lasting (i);"
            "CREATE INDEX lasting_none ON lasting (i) WHERE false"
        )
    monkeypatch.setattr(index_lanes, "build_apart", noted)
    chosen = Selection(rules={(database.source_name, "public", "lasting"): True})
    with running(replace(awkward_plan, index_jobs=2, selection=chosen)) as run:
        schema.run(run)
        copy.run(run)
    assert allowed == {"lasting_words": ("0", False), "lasting_number": ("0", False), "lasting_none": ("2", True)}


def test_the_largest_index_of_a_table_is_built_first(source_cluster, awkward_plan, large):
    (database,) = awkward_plan.databases
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(
            "CREATE TABLE ranked (id int PRIMARY KEY, flag boolean, words text);"
            "INSERT INTO ranked SELECT i, true, repeat(md5(i::text), 8) FROM generate_series(1, 2000) i;"
            "CREATE INDEX ranked_flag ON ranked (flag); CREATE INDEX ranked_words ON ranked (words)"
        )
    with running(replace(awkward_plan, index_jobs=1)) as run:
        schema.run(run)
        copy.run(run)
    names = [entry.tag.split()[-1] for entry in large if entry.tag.startswith("ranked")]
    assert names == ["ranked_words", "ranked_pkey", "ranked_flag"]


def test_a_limit_on_temporary_files_is_told_at_once_and_nothing_else_is_lost(
    source_cluster, target_cluster, awkward_plan
):
    (database,) = awkward_plan.databases
    quoted = quote(database.target_name)
    with source_cluster.connect(database.source_name) as connection:
        connection.execute(
            "CREATE TABLE sorted (words text); CREATE INDEX sorted_words ON sorted (words);"
            "INSERT INTO sorted SELECT md5(i::text) FROM generate_series(1, 50000) i"
        )
    with target_cluster.connect() as boss:
        boss.execute(f"ALTER DATABASE {quoted} SET temp_file_limit = 0".encode())
    with running(awkward_plan) as run:
        run.building.update(buffers=0, cache=0, maintenance=1024, parallel=0, own=0)
        schema.run(run)
        with pytest.raises(EngineError) as refused:
            copy.run(run)
        ports = run.ports
    assert (refused.value.code, refused.value.retryable, refused.value.sqlstate) == ("DST-LIMIT", False, "53400")
    assert "SET temp_file_limit = -1" in refused.value.hint
    with target_cluster.connect() as boss:
        boss.execute(f"ALTER DATABASE {quoted} RESET temp_file_limit".encode())
    with running(replace(awkward_plan, epoch=2), ports) as run:
        copy.run(run)
        finish(run)
    assert compare(source_cluster, target_cluster, awkward_plan) == []
