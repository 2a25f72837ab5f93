"""The README's preparation of source and target, taken at its word: its SQL and its pg_hba.conf, and a whole task."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.shop import load_shop
from tests.comparator import differences
from tests.folders import public_folder
from tests.installation import ROOT, Installation

README = (ROOT / "README.md").read_text()
ACCOUNT = "on the source, as a superuser; shop_owner stands for each role that owns tables"
SOURCE, TARGET = "secret-of-the-source", "secret-of-the-target"


def sql(comment: str) -> str:
    """Return the SQL of the README's block whose first line is this comment."""
    found = re.search(rf"```sql\n-- {re.escape(comment)}\n(.*?)```", README, re.DOTALL)
    assert found, comment
    return found[1].replace("choose one", SOURCE).replace("choose another", TARGET)


def access() -> str:
    """Return the README's lines of pg_hba.conf, for a server on this machine and without TLS."""
    found = re.search(r"```\n# type   database.*?\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1].replace("hostssl", "host").replace("192.0.2.10/32", "127.0.0.1/32")


@pytest.fixture
def prepared_source() -> Iterator[Cluster]:
    """A PostgreSQL 16 as it comes from initdb, with a shop of its own owner, prepared as the README says."""
    with public_folder("readme") as folder:
        cluster = Cluster(folder=folder / "server", major=16)
        cluster.create()
        cluster.start()
        try:
            with cluster.connect() as connection:
                connection.execute("CREATE ROLE shop_owner NOLOGIN")
                connection.execute("CREATE DATABASE shop OWNER shop_owner")
                for statement in sql("on the source, as a superuser").split(";"):
                    connection.execute(statement.encode())
                connection.execute(sql(ACCOUNT).encode())
            with cluster.connect("shop") as connection:
                connection.execute("SET ROLE shop_owner")
                load_shop(connection, 0.02)
            rules = access() + "host all postgres 127.0.0.1/32 scram-sha-256\n"
            (cluster.data / "pg_hba.conf").write_text(rules)
            cluster.stop()
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def prepared_target(target_cluster: Cluster) -> Iterator[Cluster]:
    """The shared PostgreSQL 18 with what the README makes there, taken away again afterwards."""
    with target_cluster.connect() as connection:
        for statement in sql("on the target, as a superuser").split(";\n"):
            connection.execute(statement.encode())
    yield target_cluster
    with target_cluster.connect() as connection:
        connection.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")
        connection.execute("REVOKE SET ON PARAMETER session_replication_role FROM towpath")
        connection.execute("DROP ROLE towpath")
        connection.execute("DROP ROLE shop_owner")


@pytest.mark.long
def test_the_accounts_of_the_readme_are_enough_for_a_whole_task(
    prepared_source: Cluster, prepared_target: Cluster, tmp_path: Path
) -> None:
    addresses = {
        name: f"postgresql://towpath@127.0.0.1:{cluster.port}/postgres?sslmode=disable"
        for name, cluster in (("source", prepared_source), ("target", prepared_target))
    }
    command = ["--source", addresses["source"], "--target", addresses["target"], "--database", "shop", "--json"]
    done = Installation(tmp_path).manage(
        "task",
        "run",
        *command,
        "--mode",
        "full+sync",
        "--complete",
        TOWPATH_SOURCE_PASSWORD=SOURCE,
        TOWPATH_TARGET_PASSWORD=TARGET,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads(done.stdout)["status"] == "completed"
    with prepared_source.connect("shop") as source, prepared_target.connect("shop") as target:
        owners = (
            "SELECT oid::regclass::text, relkind FROM pg_class WHERE oid >= 16384 AND relowner <> 'shop_owner'::regrole"
        )
        assert target.execute(owners).fetchall() == []
        assert differences(source, target) == []
