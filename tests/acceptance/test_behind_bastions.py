"""A whole migration whose two servers are reached through SSH, the source with verified TLS inside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from tests import impostors
from tests.acceptance.kit import Operator
from tests.bastions import PASSWORD, USER, ssh_host
from tests.certificates import Authority
from tests.installation import Installation

_ROWS = """
CREATE TABLE things (id int PRIMARY KEY, v text);
CREATE INDEX ON things (v);
INSERT INTO things SELECT g, repeat('t', g % 300) FROM generate_series(1, 20000) g;
"""

_RUN = """
import io
from migrations_app.engine.selection import Selection
from migrations_app.management.cli.asked import RunOptions
from migrations_app.management.cli.foreground import ForegroundRun

facts = json.loads({facts!r})

def end(side):
    return services.EndpointData(**facts[side])

class Run(ForegroundRun):
    def create(self):
        super().create()
        task = self.task()
        for endpoint in (task.source, task.target):  # what the operator does on the page
            endpoint.ssh_host_key = facts["host_key"]
            endpoint.save()
        return self.task_id

said, told = io.StringIO(), io.StringIO()
code = Run(
    RunOptions(
        source=end("source"),
        target=end("target"),
        name="behind",
        selection=Selection(targets={{facts["from"]: facts["into"]}}).toggle((facts["from"],), True),
        incremental=True,
        complete=True,
        jobs=None,
        as_json=False,
    ),
    said,
    told,
).run()
print(json.dumps([code, said.getvalue() + told.getvalue()]))
"""


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    installation = Installation(tmp_path / "installation")
    installation.migrate()
    one = Operator(installation)
    yield one
    one.stop()
    installation.stop()


@pytest.mark.long
def test_a_migration_with_sync_goes_through_bastions_on_both_sides(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    operator: Operator,
    tmp_path: Path,
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute(_ROWS)
    authority = Authority(tmp_path)
    shown = authority.issue("shown", host="localhost")
    front = impostors.tls_in_front_of(source_cluster.port, shown.cert, shown.key)
    with impostors.listening(front) as port, ssh_host(("localhost", port), ("127.0.0.1", target_cluster.port)) as host:
        way = {"ssh_host": "127.0.0.1", "ssh_port": host.port, "ssh_user": USER, "ssh_password": PASSWORD}
        source = {"host": "localhost", "port": port, "password": source_cluster.password, "tls_mode": "verify-full"}
        target = {"host": "127.0.0.1", "port": target_cluster.port, "password": target_cluster.password}
        facts = {
            "source": {**source, **way, "account": "postgres", "ca_pem": authority.file.read_text()},
            "target": {**target, **way, "account": "postgres", "tls_mode": "disable"},
            "host_key": host.host_key,
            "from": source_db,
            "into": target_db,
        }
        code, printed = json.loads(operator.do(_RUN.format(facts=json.dumps(facts))))
        assert code == 0, printed
        assert {("localhost", port), ("127.0.0.1", target_cluster.port)} == set(host.forwards)
    totals = "SELECT count(*), sum(length(v)) FROM things"
    with source_cluster.connect(source_db) as before, target_cluster.connect(target_db) as after:
        assert before.execute(totals).fetchone() == after.execute(totals).fetchone()
