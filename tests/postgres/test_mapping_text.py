"""Other names inside SQL text: what is changed, what cannot be changed safely, and what belongs to an extension."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.ports import Ports
from tests.comparator import differences
from tests.postgres import mapping_kit
from tests.postgres.mapping_kit import FULL, HOSTILE, SYNC, execute, migrate, plan_of, rename, store_of, told

# Fixtures that stand in the kit.
ports = mapping_kit.ports
app = mapping_kit.app
plans = mapping_kit.plans
target = mapping_kit.target


VIEWS = """
CREATE SCHEMA data;
CREATE TYPE data.kind AS ENUM ('x');
CREATE TABLE data.amount (v int, created timestamptz, k data.kind);
CREATE TABLE data.data (data int, amount int);
CREATE TABLE public.data (amount int, other int, created timestamptz);
CREATE TABLE public.t (data int, other int);
CREATE FUNCTION data.amount(int) RETURNS int RETURN $1 + 1;
CREATE FUNCTION public.data(data.kind, kind data.kind DEFAULT 'x'::data.kind) RETURNS bigint
  BEGIN ATOMIC SELECT count(*) FROM public.data, data.amount a WHERE data.amount = a.v; END;
CREATE VIEW v1 AS SELECT data.other, data.amount, data.amount + 1 AS more FROM public.data, data.amount AS a;
CREATE VIEW v2 AS SELECT extract(year FROM data.created) AS y, data.amount(data.amount), 'x'::data.kind AS data
  FROM (public.data JOIN (data.amount a CROSS JOIN data.data d) ON data.amount IS DISTINCT FROM a.v), data.amount b;
CREATE VIEW v3 AS SELECT t.data, data.amount FROM t, LATERAL (SELECT data.amount FROM data.data, public.t u) data
  WHERE EXISTS (SELECT FROM data.amount WHERE amount.v = data.amount) ORDER BY data.amount, data.amount + 2;
CREATE VIEW v4 AS WITH data AS (SELECT v AS amount FROM data.amount) SELECT data.amount, sum(data.amount) OVER
  (PARTITION BY data.amount ORDER BY data.amount) FROM data GROUP BY data.amount;
CREATE VIEW v5 AS SELECT data.created AT TIME ZONE 'UTC' AS a, CASE data.amount WHEN data.amount(1) THEN data.other END
  FROM public.data UNION SELECT NULL, data.amount FROM data.data data;
CREATE RULE r AS ON UPDATE TO public.t DO ALSO DELETE FROM public.data USING data.amount a WHERE data.amount = a.v;
CREATE POLICY p ON public.data USING (EXISTS (SELECT FROM data.amount, data.data d WHERE data.other = d.amount));
"""


def test_an_alias_with_the_name_of_the_schema_stays_an_alias(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    ports: Ports,
    target: psycopg.Connection[Any],
) -> None:
    plan = plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path, schemas={"data": "facts"})
    with source_cluster.connect(source_db) as source:
        execute(source, VIEWS)
        migrate(plan, ports, *FULL)
        rename(source, {"data": "facts"})
        assert differences(source, target) == []
    assert "SCHEMA-REFUSED" not in told(ports)


def test_what_cannot_be_renamed_safely_is_left_out_and_named(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    ports: Ports,
    target: psycopg.Connection[Any],
) -> None:
    with source_cluster.connect(source_db) as source:
        execute(source, "CREATE TABLE t (id int); CREATE VIEW v AS SELECT '{public.t}'::regclass[] AS names")
        execute(source, "CREATE VIEW above AS SELECT names FROM v")
    plan = plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path, schemas={"public": HOSTILE})
    migrate(plan, ports, *SYNC)
    assert "VIEW public.v: a list of names cannot be changed" in told(ports)["SCHEMA-RENAME"]
    assert "above" in told(ports)["SCHEMA-REFUSED"]


@pytest.mark.parametrize(("there", "home"), [("", "app"), ("elsewhere", "elsewhere")])
def test_what_belongs_to_an_extension_is_looked_for_where_the_target_has_it(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    ports: Ports,
    target: psycopg.Connection[Any],
    there: str,
    home: str,
) -> None:
    with source_cluster.connect(source_db) as source:
        execute(
            source,
            "CREATE EXTENSION vector; CREATE TABLE words (id int PRIMARY KEY, v vector(3), CHECK (v <> '[1,1,1]'));"
            " CREATE INDEX near ON words USING hnsw (v vector_l2_ops); INSERT INTO words VALUES (1, '[1,2,3]');"
            " CREATE FUNCTION far(vector) RETURNS float8 RETURN $1 <-> '[0,0,0]'::vector",
        )
    if there:
        execute(target, f"CREATE SCHEMA {there}; CREATE EXTENSION vector SCHEMA {there}")
    plan = plan_of(source_cluster, target_cluster, (source_db, target_db), tmp_path, schemas={"public": "app"})
    migrate(plan, ports, *FULL)
    assert store_of(ports).comparisons[-1].equal
    types = "SELECT atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'app.words'::regclass AND attname = 'v'"
    assert execute(target, types) == [f"{home}.vector"]
    assert execute(target, f"SELECT app.far(v::{home}.vector) > 3 FROM app.words") == [True]
