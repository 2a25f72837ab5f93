"""Every way in which a connection fails has a code and words of its own."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster, free_port
from migrations_app.engine.errors import ConnectFailed, EngineError
from migrations_app.engine.plan import Server, Side, TlsMode
from migrations_app.engine.probe import probe
from tests import impostors


def at(port: int, **more: object) -> Server:
    values: dict[str, object] = {"host": "127.0.0.1", "port": port, "user": "postgres", "password": "canary-secret"}
    return Server(**{**values, **more})  # type: ignore[arg-type]


def failure(server: Server) -> EngineError:
    with pytest.raises(EngineError) as caught:
        probe(server, Side.SOURCE)
    assert caught.value.hint
    assert server.password not in caught.value.message + caught.value.hint
    return caught.value


@pytest.fixture
def server(source_cluster: Cluster) -> Server:
    return at(source_cluster.port, password=source_cluster.password)


@pytest.fixture
def account(source_cluster: Cluster) -> Iterator[str]:
    with source_cluster.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS diag_user")
        connection.execute("CREATE ROLE diag_user LOGIN PASSWORD 'pw-ä✓'")
    yield "diag_user"
    with source_cluster.connect() as connection:
        connection.execute("DROP ROLE diag_user")


def test_a_name_that_does_not_exist_is_said() -> None:
    assert failure(at(5432, host="nothing.invalid")).code == "CONNECT-DNS"


def test_a_port_where_nothing_listens_is_said_and_worth_another_try() -> None:
    error = failure(at(free_port()))
    assert (error.code, error.retryable) == ("CONNECT-REFUSED", True)


@pytest.mark.long
def test_a_silent_port_is_given_up_after_five_seconds() -> None:
    started = time.monotonic()
    with impostors.listening(impostors.silent) as port:
        error = failure(at(port))
    assert (error.code, error.retryable) == ("CONNECT-TIMEOUT", True)
    assert time.monotonic() - started < 7


def test_a_web_server_is_not_postgresql() -> None:
    with impostors.listening(impostors.saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        assert failure(at(port)).code == "NOT-POSTGRES"


def test_a_web_server_is_not_postgresql_with_tls_either() -> None:
    with impostors.listening(impostors.saying(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        assert failure(at(port, tls=TlsMode.REQUIRE)).code == "NOT-POSTGRES"


def test_an_ssh_greeting_is_not_taken_for_the_answer_to_the_tls_request() -> None:
    with impostors.listening(impostors.saying(b"SSH-2.0-OpenSSH_9.2\r\n")) as port:
        assert failure(at(port, tls=TlsMode.REQUIRE)).code == "NOT-POSTGRES"


@pytest.mark.parametrize(
    "chunk",
    [
        impostors.message(b"N", b"SNOTICE\0\0"),
        b"E" + struct.pack("!i", 1 << 30) + b"x" * 65536,
        b"R" + struct.pack("!i", -5),
        b"\x00" * 1024,
    ],
    ids=["endless notices", "giant error", "negative length", "zeros"],
)
def test_a_hostile_server_cannot_hold_us_up(chunk: bytes) -> None:
    started = time.monotonic()
    with impostors.listening(impostors.endless(chunk)) as port:
        assert failure(at(port)).code in ("NOT-POSTGRES", "CONNECT-TIMEOUT")
    assert time.monotonic() - started < 12


def test_a_password_challenge_that_asks_for_years_of_hashing_is_refused() -> None:
    def talk(client: object) -> None:
        client.recv(4096)  # type: ignore[attr-defined]
        client.sendall(impostors.message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"))  # type: ignore[attr-defined]
        first = client.recv(4096)  # type: ignore[attr-defined]
        nonce = first.rpartition(b"r=")[2]
        client.sendall(  # type: ignore[attr-defined]
            impostors.message(b"R", struct.pack("!i", 11) + b"r=" + nonce + b"x,s=c2FsdA==,i=2000000000")
        )

    from migrations_app.engine.dialling import Reason
    from migrations_app.engine.handshake import attempt

    with impostors.listening(talk) as port:  # type: ignore[arg-type]
        answer = attempt(at(port), "postgres", seconds=3)
    assert answer.reason is Reason.NOT_POSTGRES


def test_a_clear_text_password_is_never_sent() -> None:
    heard: list[bytes] = []

    def talk(client: object) -> None:
        client.recv(4096)  # type: ignore[attr-defined]
        client.sendall(impostors.message(b"R", struct.pack("!i", 3)))  # type: ignore[attr-defined]
        heard.append(client.recv(4096))  # type: ignore[attr-defined]

    with impostors.listening(talk) as port:  # type: ignore[arg-type]
        assert failure(at(port)).code == "AUTH-WEAK"
    assert not any(b"canary-secret" in data for data in heard)


@pytest.mark.parametrize(
    ("sqlstate", "code", "retryable"),
    [
        ("53300", "CONNECT-FULL", True),
        ("57P01", "CONNECT-STARTING", True),
        ("57P02", "CONNECT-STARTING", True),
        ("57P03", "CONNECT-STARTING", True),
        ("28000", "HBA-REFUSED", False),
        ("28P01", "AUTH-FAILED", False),
        ("3D000", "DATABASE-MISSING", False),
        ("42501", "RIGHTS-MISSING", False),
        ("55000", "DATABASE-CLOSED", False),
        ("08P01", "POOLER-REFUSED", False),
        ("XX000", "CONNECT-FAILED", False),
    ],
)
def test_a_refusal_is_told_by_its_sqlstate_whatever_the_language(sqlstate: str, code: str, retryable: bool) -> None:
    with impostors.listening(impostors.refusing(sqlstate)) as port:
        error = failure(at(port))
    assert (error.code, error.retryable) == (code, retryable)


def test_a_server_without_tls_is_told_from_a_bad_certificate(server: Server) -> None:
    assert failure(replace(server, tls=TlsMode.REQUIRE)).code == "TLS-REFUSED"


def test_a_certificate_of_an_unknown_issuer_is_refused(source_cluster: Cluster, server: Server, tmp_path: Path) -> None:
    pem, key = impostors.certificate(tmp_path, "localhost")
    other, _ = impostors.certificate(tmp_path, "other")
    with impostors.listening(impostors.tls_in_front_of(source_cluster.port, pem, key)) as port:
        error = failure(replace(server, host="localhost", port=port, tls=TlsMode.VERIFY_CA, ca_file=str(other)))
    assert error.code == "TLS-SELF-SIGNED"


def test_a_certificate_of_another_host_is_refused(source_cluster: Cluster, server: Server, tmp_path: Path) -> None:
    pem, key = impostors.certificate(tmp_path, "elsewhere")
    with impostors.listening(impostors.tls_in_front_of(source_cluster.port, pem, key)) as port:
        error = failure(replace(server, host="localhost", port=port, tls=TlsMode.VERIFY_FULL, ca_file=str(pem)))
    assert error.code == "TLS-NAME"


def test_a_missing_ca_file_is_said(source_cluster: Cluster, server: Server, tmp_path: Path) -> None:
    pem, key = impostors.certificate(tmp_path, "localhost")
    with impostors.listening(impostors.tls_in_front_of(source_cluster.port, pem, key)) as port:
        error = failure(replace(server, port=port, tls=TlsMode.VERIFY_CA, ca_file=str(tmp_path / "none.pem")))
    assert error.code == "TLS-FILES"


def test_a_wrong_password_is_said(server: Server) -> None:
    assert failure(replace(server, password="not-the-one")).code == "AUTH-FAILED"


def test_an_unknown_account_is_said(server: Server) -> None:
    assert failure(replace(server, user="nobody_here")).code == "AUTH-FAILED"


def test_a_missing_password_is_said(server: Server) -> None:
    with pytest.raises(ConnectFailed) as caught:
        probe(replace(server, password=""), Side.TARGET)
    assert caught.value.code == "PASSWORD-NEEDED"


def test_a_missing_database_is_told_from_a_wrong_password(server: Server) -> None:
    assert failure(replace(server, database="no such 'database'")).code == "DATABASE-MISSING"


def test_a_password_with_other_letters_is_understood(server: Server, account: str) -> None:
    known = replace(server, user=account, password="pw-ä✓")
    assert probe(known, Side.SOURCE).user == account
    assert failure(replace(known, database="nowhere")).code == "DATABASE-MISSING"


def test_a_missing_connect_right_is_said(source_cluster: Cluster, server: Server, account: str, source_db: str) -> None:
    with source_cluster.connect() as connection:
        connection.execute(f'REVOKE CONNECT ON DATABASE "{source_db}" FROM PUBLIC')
    assert failure(replace(server, user=account, password="pw-ä✓", database=source_db)).code == "RIGHTS-MISSING"


def test_a_closed_database_is_said(source_cluster: Cluster, server: Server, source_db: str) -> None:
    with source_cluster.connect() as connection:
        connection.execute(f'ALTER DATABASE "{source_db}" ALLOW_CONNECTIONS false')
    try:
        assert failure(replace(server, database=source_db)).code == "DATABASE-CLOSED"
    finally:
        with source_cluster.connect() as connection:
            connection.execute(f'ALTER DATABASE "{source_db}" ALLOW_CONNECTIONS true')


def test_an_account_that_may_not_log_in_is_said(source_cluster: Cluster, server: Server, account: str) -> None:
    with source_cluster.connect() as connection:
        connection.execute(f"ALTER ROLE {account} NOLOGIN")
    assert failure(replace(server, user=account, password="pw-ä✓")).code == "AUTH-FAILED"


def test_an_account_whose_connections_are_used_up_is_said(
    source_cluster: Cluster, server: Server, account: str
) -> None:
    with source_cluster.connect() as connection:
        connection.execute(f"ALTER ROLE {account} CONNECTION LIMIT 0")
    assert failure(replace(server, user=account, password="pw-ä✓")).code == "CONNECT-FULL"


def test_a_bad_address_is_refused_before_anything_is_dialled() -> None:
    assert failure(at(5432, host="127.0.0.1,127.0.0.2")).code == "ADDRESS-BAD"


@pytest.mark.parametrize(("said", "words"), [("9.2.24", "9.2.24"), ("19.1", "19.1"), ("8.0.2", "8.0.2")])
def test_a_version_out_of_range_is_said(said: str, words: str) -> None:
    with impostors.listening(impostors.pretending(said)) as port:
        error = failure(at(port))
    assert error.code == "VERSION-OUT-OF-RANGE"
    assert words in error.message
