"""Servers before 10, whose pg_dump reads every sequence, and an account that may not read all of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.archive import open_archive
from migrations_app.engine.errors import SourceError
from migrations_app.engine.plan import Plan
from migrations_app.engine.selection import Selection
from tests.matrix.conftest import Servers
from tests.postgres.checks_kit import login, plan
from tests.postgres.compare_kit import running
from tests.servers import why_unavailable

pytestmark = pytest.mark.matrix

SCHEMA = """
CREATE TABLE mine (id int PRIMARY KEY); CREATE SEQUENCE own; CREATE TABLE theirs (id serial PRIMARY KEY);
CREATE SCHEMA closed; CREATE TABLE closed.t (id serial); CREATE SEQUENCE closed.free; CREATE SEQUENCE free;
"""


@pytest.fixture(params=["9.3", "9.6"])
def task(
    request: pytest.FixtureRequest, versions: Servers, target_cluster: Cluster, tmp_path: Path
) -> Iterator[tuple[Plan, str]]:
    """A source whose account may read one table and one sequence; the task selects the table."""
    if reason := why_unavailable(request.param):
        pytest.skip(reason)
    server, mark = versions.of(request.param, "source"), secrets.token_hex(3)
    name, user = f"closed_{mark}", f"mover_{mark}"
    with server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'given'".encode())
    with server.connect(name) as connection:
        connection.execute(SCHEMA.encode())
        connection.execute(f"GRANT SELECT ON mine, own TO {user}".encode())
    made = plan(replace(login(server), user=user, password="given"), login(target_cluster), [(name, name)])
    yield replace(made, work_dir=tmp_path, selection=Selection(rules={(name, "public", "mine"): True})), name
    with server.connect() as connection:
        connection.execute(f"DROP DATABASE {name}".encode())
        connection.execute(f"DROP ROLE {user}".encode())


def test_a_sequence_that_nobody_has_selected_and_that_cannot_be_read_is_left_out(task: tuple[Plan, str]) -> None:
    with running(task[0]) as run:
        entries = open_archive(run, run.plan.databases[0]).entries
    assert {one.tag for one in entries if one.type in ("TABLE", "SEQUENCE")} == {"mine", "own"}


def test_a_selected_sequence_that_cannot_be_read_stops_the_dump(task: tuple[Plan, str]) -> None:
    made, name = task
    rules = {(name, "public"): True, (name, "public", "theirs"): False}
    selection = Selection(rules=rules)  # type: ignore[arg-type]
    with running(replace(made, selection=selection)) as run, pytest.raises(SourceError, match="free"):
        open_archive(run, run.plan.databases[0])
