"""Sources of older versions: what they let an account see, and how they write values, hides no difference."""

from __future__ import annotations

import platform
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from tests.postgres.compare_kit import compare_now, plan_for, structure_now
from tests.postgres.compare_kit import server as endpoint
from tests.servers import Server, started

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="npm has PostgreSQL 10 to 13 for x86-64 only")


@pytest.fixture(params=["10", "13"])
def older(request: pytest.FixtureRequest) -> Iterator[Server]:
    with started(f"older-{request.param}", request.param) as one:
        yield one


def test_an_ordinary_account_of_a_source_before_14_is_told_what_is_missing(
    older: Server, target_cluster: Cluster, target_db: str, tmp_path: Path
) -> None:
    password = secrets.token_urlsafe()
    with older.connect() as connection:
        connection.execute(f"CREATE ROLE ordinary LOGIN PASSWORD '{password}'".encode())
        connection.execute("CREATE DATABASE shop OWNER ordinary")
    with older.connect("shop", user="ordinary", password=password) as connection:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY); CREATE VIEW v AS SELECT id FROM t")
    plan = plan_for(endpoint(older), endpoint(target_cluster), "shop", target_db, work_dir=tmp_path)
    plan = replace(plan, source=replace(plan.source, user="ordinary", password=password))
    with target_cluster.connect(target_db) as connection:
        connection.execute("CREATE TABLE t (id int PRIMARY KEY)")
    notes = structure_now(plan)
    assert [note.title for note in notes if note.what.startswith("missing")] == ["view public.v"]
    assert not [note for note in notes if note.kind == "structure"]


_DOMAINS = """
CREATE DOMAIN d AS float8; CREATE DOMAIN dd AS d; CREATE DOMAIN r AS real; CREATE DOMAIN a AS float8[];
CREATE TABLE plain (id int PRIMARY KEY, v d); CREATE TABLE twice (id int PRIMARY KEY, v dd);
CREATE TABLE small (id int PRIMARY KEY, v r); CREATE TABLE list (id int PRIMARY KEY, v d[]);
CREATE TABLE "of a" (id int PRIMARY KEY, v a); CREATE TABLE same (id int PRIMARY KEY, v d, w a, l d[]);
INSERT INTO same VALUES (1, 0.1, '{0.1,NaN}', '{0.1,NULL}'), (2, 'NaN', NULL, '{}');
"""


def test_floats_in_domains_differ_in_their_last_digits_where_servers_print_them_apart(
    target_cluster: Cluster, target_db: str, tmp_path: Path
) -> None:
    with started("older-11", "11") as older:
        values = (("0.30000000000000004", "0.10000001"), ("0.3", "0.1"))
        with older.connect() as connection:
            connection.execute("CREATE DATABASE shop")
        with older.connect("shop") as source, target_cluster.connect(target_db) as target:
            target.execute("CREATE TYPE other AS ENUM ()")  # numbers of types are other ones
            for side, (double, real) in zip((source, target), values, strict=True):
                side.execute(
                    f"{_DOMAINS} INSERT INTO plain VALUES (1, {double}); INSERT INTO twice VALUES (1, {double});"
                    f"INSERT INTO small VALUES (1, {real}); INSERT INTO list VALUES (1, '{{{double}}}');"
                    f"INSERT INTO \"of a\" VALUES (1, '{{{double}}}')".encode()
                )
        plan = plan_for(endpoint(older), endpoint(target_cluster), "shop", target_db, work_dir=tmp_path)
        found = {one.name: one.verdict for one in compare_now(plan).tables}
    assert found == dict.fromkeys(["plain", "twice", "small", "list", "of a"], "differs") | {"same": "equal"}
