"""Foreign keys and waiting applications while tables are copied at different moments."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.shop import load_shop
from migrations_app.demo.writer import Writer
from migrations_app.engine import foreign_keys, postdata
from migrations_app.engine.steps import copy, index, schema
from tests.comparator import differences
from tests.postgres import moving_kit
from tests.postgres.engine_runs import make_plan, running
from tests.postgres.moving_kit import PATIENCE_SECONDS, catch_up, events, execute

# Fixtures that stand in the kit.
simple = moving_kit.simple
run = moving_kit.run


STREAMED = "SELECT format('%s.%I', relnamespace::regnamespace, relname) FROM pg_class WHERE {} AND oid >= 16384"
STREAMED = STREAMED.format("relkind = 'r' AND relpersistence = 'p'")
UNPROVED = "SELECT conname FROM pg_constraint WHERE contype = 'f' AND NOT convalidated ORDER BY 1"


def names(cluster: Cluster, database: str, query: str) -> list[str]:
    with cluster.connect(database) as connection:
        return [row[0] for row in connection.execute(query.encode()).fetchall()]


@pytest.mark.long
def test_an_impatient_shop_never_waits_for_its_migration(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    with source_cluster.connect(source_db) as connection:
        load_shop(connection, 0.2)
    unproved = names(source_cluster, source_db, UNPROVED)
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)
    with running(plan) as run:
        with Writer(source_cluster.arguments(source_db), seed=5, rate=50, patient=True) as writer:
            schema.run(run)
            copy.run(run)
            stats = writer.stop()
        index.run(run)
        catch_up(run, source_cluster)
        foreign_keys.validate_pending(run, plan.databases[0])
    assert stats.errors == ()
    assert stats.slowest_seconds < PATIENCE_SECONDS, stats
    assert names(target_cluster, target_db, UNPROVED) == unproved
    tables = names(source_cluster, source_db, STREAMED)
    with source_cluster.connect(source_db) as one, target_cluster.connect(target_db) as other:
        assert differences(one, other, tables=tables) == []


FAMILY = """
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent_id int CONSTRAINT to_parent REFERENCES parent);
CREATE TABLE parted (id int PRIMARY KEY, parent_id int, CONSTRAINT parted_key FOREIGN KEY (parent_id) REFERENCES parent)
  PARTITION BY RANGE (id);
CREATE TABLE parted_all PARTITION OF parted DEFAULT;
COMMENT ON CONSTRAINT parted_key ON parted IS 'comes late';
INSERT INTO parent SELECT generate_series(1, 100);
INSERT INTO child SELECT n, n FROM generate_series(1, 100) n;
INSERT INTO parted SELECT n, n FROM generate_series(1, 9) n;
"""


@pytest.mark.parametrize(("not_valid_on_partitioned", "early"), [(180000, True), (990000, True), (990000, False)])
def test_keys_between_tables_of_different_moments_are_proved_after_the_sync(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    not_valid_on_partitioned: int,
    early: bool,
) -> None:
    monkeypatch.setattr(foreign_keys, "_NOT_VALID_ON_PARTITIONED", not_valid_on_partitioned)
    execute(source_cluster, source_db, FAMILY)
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)
    with running(plan) as run:
        schema.run(run)
        execute(
            source_cluster,
            source_db,
            "TRUNCATE child, parted; INSERT INTO parent VALUES (777); INSERT INTO child VALUES (1, 777);"
            "INSERT INTO parted VALUES (1, 777)",
        )
        copy.run(run)
        index.run(run)
        assert "to_parent" in names(target_cluster, target_db, UNPROVED)
        assert set(events(run)) == {"COPY-ASIDE"}
        catch_up(run, source_cluster)
        if early:
            assert foreign_keys.validate_pending(run, plan.databases[0]) >= 2
            assert foreign_keys.validate_pending(run, plan.databases[0]) == 0
        postdata.restore_deferred(run, plan.databases[0])
        assert set(events(run)) == {"COPY-ASIDE"}
    with source_cluster.connect(source_db) as one, target_cluster.connect(target_db) as other:
        assert differences(one, other) == []


def test_a_key_that_the_sync_did_not_mend_is_reported(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    execute(source_cluster, source_db, FAMILY)
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)
    with running(plan) as run:
        schema.run(run)
        execute(source_cluster, source_db, "TRUNCATE child; INSERT INTO child VALUES (1, 5)")
        copy.run(run)
        index.run(run)
        catch_up(run, source_cluster)
        execute(target_cluster, target_db, "SET session_replication_role = replica; DELETE FROM parent WHERE id = 5")
        foreign_keys.validate_pending(run, plan.databases[0])
        assert "to_parent" in events(run)["FK-NOT-VALID"]
    assert names(target_cluster, target_db, UNPROVED) != []
