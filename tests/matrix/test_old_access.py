"""The line of pg_hba.conf that a source before 10 needs for replication, as the check writes it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.plan import Plan, TlsMode
from tests.fakes import wait_until
from tests.folders import public_folder
from tests.postgres.checks_kit import check, login, plan
from tests.servers import Server, server, why_unavailable

pytestmark = pytest.mark.matrix


@pytest.fixture(scope="module")
def old() -> Iterator[Server]:
    """PostgreSQL 9.6 that listens for IPv6 as well, and lets nobody replicate."""
    if reason := why_unavailable("9.6"):
        pytest.skip(reason)
    settings = {"listen_addresses": "127.0.0.1,::1", "wal_level": "logical", "max_wal_senders": "5"}
    with public_folder("old-access") as folder:
        one = server(folder / "server", "9.6", {**settings, "max_replication_slots": "5"}, package=True)
        one.create()
        one.start()
        with one.connect() as connection:
            connection.execute("CREATE ROLE \"Sync\" LOGIN REPLICATION PASSWORD 'x'")
        yield one
        one.stop()


@pytest.mark.parametrize(("host", "told"), [("::1", "::1/128"), ("127.0.0.1", "127.0.0.1/32")])
def test_the_line_is_for_the_address_that_the_server_sees(
    host: str, told: str, old: Server, target_cluster: Cluster
) -> None:
    source = login(old, host=host, user="Sync", password="x", tls=TlsMode.PREFER)  # which this server does not have
    task = plan(source, login(target_cluster), [("postgres", "none")])
    file = old.data / "pg_hba.conf"
    kept = file.read_text()
    lines = [line for line in kept.splitlines() if not line.startswith("host replication")]
    reload(old, "\n".join(lines) + "\n", task, "failed")
    result = check(task, "replication-login")
    assert result.sql.split() == ["host", "replication", '"Sync"', told, "md5"]
    assert "above" in result.hint
    try:
        reload(old, f"{result.sql}\n" + "\n".join(lines) + "\n", task, "passed")
    finally:
        file.write_text(kept)


def reload(old: Server, text: str, task: Plan, wanted: str) -> None:
    """Let the server read another pg_hba.conf."""
    (old.data / "pg_hba.conf").write_text(text)
    with old.connect() as connection:
        connection.execute("SELECT pg_reload_conf()")
    wait_until(lambda: check(task, "replication-login").status == wanted, what=f"the item has {wanted}")
