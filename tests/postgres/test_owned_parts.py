"""What a partition of another owner has from its whole table on the target is not told as lacking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from migrations_app.demo.clusters import Cluster
from tests.postgres.checks_kit import check
from tests.postgres.compare_kit import plan_for, server
from tests.postgres.occupied_kit import choose

TABLES = (
    "CREATE TABLE p (id int NOT NULL, x int) PARTITION BY RANGE (id);"
    "CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (1) TO (9);"
)


def test_keys_and_indexes_may_come_from_the_whole_table(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    mover, owner = f"mover_{target_db}", f"owner_{target_db}"
    here = "ALTER TABLE p_1 ADD PRIMARY KEY (id); CREATE INDEX ON p_1 (x); CREATE INDEX lacking ON p_1 (x, id);"
    there = (
        f"ALTER TABLE p ADD PRIMARY KEY (id); CREATE INDEX ON p (x); GRANT ALL ON p, p_1 TO {mover};"
        f"ALTER TABLE p OWNER TO {owner}; ALTER TABLE p_1 OWNER TO {owner};"
    )
    plan = plan_for(server(source_cluster), server(target_cluster), source_db, target_db, work_dir=tmp_path)
    asked = choose(replace(plan, target=replace(plan.target, user=mover, password="given")), "keep")
    with source_cluster.connect(source_db) as connection:
        connection.execute((TABLES + here).encode())
    with target_cluster.connect(target_db) as connection:
        connection.execute(
            f"CREATE ROLE {owner}; CREATE ROLE {mover} LOGIN PASSWORD 'given'; GRANT ALL ON SCHEMA public TO {mover};"
            f"GRANT CREATE ON DATABASE {target_db} TO {mover}; {TABLES} {there}".encode()
        )
        try:
            result = check(asked, "target-conflicts")
            assert (result.status, "public.p_1 (index lacking)" in result.found) == ("warning", True)
        finally:
            connection.execute(f"DROP OWNED BY {owner}, {mover}; DROP ROLE {owner}, {mover}".encode())
