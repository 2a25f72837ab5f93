"""Large objects in the copy step over real servers: their contents, and who owns and may read them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import large_objects
from migrations_app.engine.errors import ConflictError
from migrations_app.engine.outcome import Run
from migrations_app.engine.steps import copy
from tests.fakes import wait_until
from tests.postgres import copy_kit
from tests.postgres.copy_kit import execute
from tests.postgres.engine_runs import fakes

# Fixtures that stand in the kit.
built = copy_kit.built
run = copy_kit.run


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


def test_large_objects_need_the_whole_database(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    execute(source_cluster, source_db, "SELECT lo_from_bytea(70001, 'ours')")
    run.plan = replace(run.plan, selection=run.plan.selection.toggle((source_db, "public", "moods"), False))
    assert large_objects.sync_large_objects(run, run.plan.databases[0]) == 0
    assert _objects(target_cluster, target_db) == []


def test_the_cap_holds_for_large_objects_too_and_the_progress_counts_their_bytes(
    run: Run, source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    execute(source_cluster, source_db, "SELECT lo_from_bytea(80000, convert_to(repeat('x', 12000000), 'UTF8'))")
    _, store, control = fakes(run.ports)
    control.turned = replace(run.plan.knobs, bytes_per_second=1000)
    standing: list[tuple[float, float, str]] = []

    def more_when_it_stands() -> None:
        try:
            wait_until(lambda: any("8 MB of large objects" in note for _, _, note in store.steps), what="a held copy")
            standing.append(store.steps[-1])
            control.turned = None
        except BaseException:
            control.cancel()
            raise

    thread = threading.Thread(target=more_when_it_stands)
    thread.start()
    try:
        copy.run(run)
    finally:
        thread.join()
    done, total, _ = standing[0]
    assert 0 < done < total
    assert store.steps[-1][2] == "10 of 10 tables, 12 MB of large objects"
    assert store.steps[-1][0] == store.steps[-1][1]
    assert _objects(source_cluster, source_db) == _objects(target_cluster, target_db)
