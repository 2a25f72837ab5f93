"""Test connection tells what answers."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.errors import ConnectFailed
from migrations_app.engine.plan import Server, Side, TlsMode
from migrations_app.engine.policy import AddressPolicy
from migrations_app.engine.probe import bounded, open_session, probe
from tests import impostors
from tests.fakes import wait_until
from tests.faults.proxy import fault_proxy


def server(cluster: Cluster, **more: object) -> Server:
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": cluster.port,
        "user": "postgres",
        "password": cluster.password,
    }
    return Server(**{**values, **more})  # type: ignore[arg-type]


def test_a_probe_tells_version_latency_and_system(source_cluster: Cluster) -> None:
    found = probe(server(source_cluster), Side.SOURCE)

    assert found.version // 10000 == 16
    assert found.version_text.startswith("16.")
    assert found.latency_ms >= 0
    assert found.tls == "none"
    assert found.system_id
    assert not found.is_standby
    assert found.is_superuser
    assert found.server_encoding == "UTF8"


def test_two_servers_have_different_system_identifiers(source_cluster: Cluster, target_cluster: Cluster) -> None:
    assert probe(server(source_cluster), Side.SOURCE).system_id != probe(server(target_cluster), Side.TARGET).system_id


def test_a_verified_tls_connection_is_told(source_cluster: Cluster, tmp_path: Path) -> None:
    pem, key = impostors.certificate(tmp_path, "localhost")
    with impostors.listening(impostors.tls_in_front_of(source_cluster.port, pem, key)) as port:
        found = probe(
            server(source_cluster, host="localhost", port=port, tls=TlsMode.VERIFY_FULL, ca_file=str(pem)), Side.SOURCE
        )
    assert found.tls != "none"


def test_a_probe_leaves_no_session_behind(source_cluster: Cluster) -> None:
    def sessions() -> set[int]:
        with source_cluster.connect() as connection:
            rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'towpath:probe'")
            return {int(row[0]) for row in rows.fetchall()}

    before = sessions()  # a session that another test left hanging may take its time to end
    probe(server(source_cluster), Side.SOURCE)
    wait_until(lambda: sessions() <= before, 10)


def test_a_session_that_hangs_is_cut(source_cluster: Cluster) -> None:
    connection = open_session(server(source_cluster), Side.SOURCE)
    pid = connection.info.backend_pid  # afterwards libpq says 0
    with connection, pytest.raises(psycopg.OperationalError), bounded(connection, 0.3):
        connection.execute("SELECT pg_sleep(30)")
    with source_cluster.connect() as admin:  # the server notices a cut only when it has something to send
        ended = admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,)).fetchone()
    assert ended == (True,)


def test_a_server_that_goes_silent_after_the_login_is_given_up(source_cluster: Cluster) -> None:
    with impostors.listening(impostors.pretending("16.1")) as port, pytest.raises(ConnectFailed):
        probe(Server(host="127.0.0.1", port=port, user="x"), Side.SOURCE, seconds=1)


def test_an_address_that_has_accepted_a_session_is_not_tried_before_the_next_one(source_cluster: Cluster) -> None:
    accepting: set[str] = set()
    with fault_proxy(source_cluster.port) as proxy:
        for _ in range(3):
            open_session(server(source_cluster, port=proxy.port), Side.SOURCE, accepting=accepting).close()
        wait_until(lambda: len(proxy.opened) >= 4, 5)
        assert len(proxy.opened) == 1 + 3
    assert accepting == {"127.0.0.1"}


def test_an_address_that_accepts_no_session_any_more_is_tried_again(source_cluster: Cluster) -> None:
    accepting: set[str] = set()
    with fault_proxy(source_cluster.port) as proxy:
        through = server(source_cluster, port=proxy.port)
        open_session(through, Side.SOURCE, accepting=accepting).close()
        proxy.refuse()
        with pytest.raises(ConnectFailed):
            open_session(through, Side.SOURCE, accepting=accepting)
        assert accepting == set()
        proxy.refuse(False)
        open_session(through, Side.SOURCE, accepting=accepting).close()
    assert accepting == {"127.0.0.1"}


def test_what_has_accepted_a_session_is_judged_again(source_cluster: Cluster) -> None:
    accepting = {"127.0.0.1"}
    forbidden = server(source_cluster, policy=AddressPolicy(loopback=False))
    with pytest.raises(ConnectFailed) as caught:
        open_session(forbidden, Side.SOURCE, accepting=accepting)
    assert caught.value.code == "POLICY-DENIED"
