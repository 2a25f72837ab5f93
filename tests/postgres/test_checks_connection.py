"""Check items about getting there, passed and failed on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster, free_port
from migrations_app.engine.checks import CheckResult, connectivity, items_for, run_checks
from migrations_app.engine.names import quote
from migrations_app.engine.plan import TlsMode
from tests import impostors
from tests.fakes import FakeControl, wait_until
from tests.folders import public_folder
from tests.postgres.checks_kit import check, check_all, login, plan


@pytest.fixture(scope="module")
def standby() -> Iterator[Cluster]:
    """A server that waits for a primary for ever: a standby in every respect that an operator can see."""
    with public_folder("standby") as folder:
        cluster = Cluster(folder=folder / "server", major=16, settings={"max_connections": "100"})
        cluster.create()
        (cluster.data / "standby.signal").touch()
        cluster.start()
        yield cluster
        cluster.stop()


def test_a_sound_pair_of_servers_passes_every_item(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    with source_cluster.connect(source_db) as connection:
        connection.execute("CREATE TABLE orders (id int PRIMARY KEY, total numeric)")
    results = check_all(plan(login(source_cluster), login(target_cluster), [(source_db, target_db)]))
    assert {code: result.found for code, result in results.items() if result.status != "passed"} == {}
    assert len(results) > 45


def test_a_source_that_cannot_be_reached_fails_and_its_login_says_why(target_cluster: Cluster) -> None:
    task = plan(login(target_cluster, port=free_port()), login(target_cluster), [("a", "b")])
    assert check(task, "source-reachable").status == "failed"
    assert check(task, "target-reachable").status == "passed"
    assert "could not be looked at because" in check(task, "source-login").found


def test_a_target_that_cannot_be_reached_fails(source_cluster: Cluster) -> None:
    task = plan(login(source_cluster), login(source_cluster, port=free_port()), [("a", "b")])
    assert check(task, "target-reachable").status == "failed"
    assert check(task, "target-login").status == "failed"


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_password_that_expires_is_told_before_and_after(
    side: str, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    cluster = source_cluster if side == "source" else target_cluster
    task = plan(login(source_cluster), login(target_cluster), [("postgres", "b")])
    soon = replace(task, **{side: login(cluster, user="passing", password="x")})
    with cluster.connect() as connection:
        connection.execute("CREATE ROLE passing LOGIN PASSWORD 'x' VALID UNTIL 'infinity'")
        try:
            assert check(soon, f"{side}-login").status == "passed"
            row = connection.execute("SELECT (now() + '2 days')::text, (now() + '40 days')::text").fetchone() or ()
            connection.execute(f"ALTER ROLE passing VALID UNTIL '{row[1]}'")
            assert check(soon, f"{side}-login").status == "passed"
            connection.execute(f"ALTER ROLE passing VALID UNTIL '{row[0]}'")
            result = check(soon, f"{side}-login")
            assert (result.status, "expires" in result.found) == ("warning", True)
            connection.execute(result.sql)
            assert check(soon, f"{side}-login").status == "passed"
            connection.execute("ALTER ROLE passing VALID UNTIL '2001-01-01'")
            result = check(soon, f"{side}-login")
            assert (result.status, "VALID UNTIL" in result.hint) == ("failed", True)
        finally:
            connection.execute("DROP ROLE passing")


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_wrong_password_fails_the_login_but_not_the_reachability(
    side: str, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    wrong = {side: "not-the-one"}
    task = plan(
        login(source_cluster, password=wrong.get("source", source_cluster.password)),
        login(target_cluster, password=wrong.get("target", target_cluster.password)),
        [("a", "b")],
    )
    assert check(task, f"{side}-reachable").status == "passed"
    result = check(task, f"{side}-login")
    assert result.status == "failed"
    assert "password is wrong" in result.found


def test_a_missing_source_database_fails_the_login(source_cluster: Cluster, target_cluster: Cluster) -> None:
    task = plan(login(source_cluster, database="nowhere"), login(target_cluster), [("nowhere", "b")])
    assert "no database nowhere" in check(task, "source-login").found


@pytest.mark.parametrize("side", ["source", "target"])
def test_tls_that_the_server_does_not_offer_fails(side: str, source_cluster: Cluster, target_cluster: Cluster) -> None:
    modes = {side: TlsMode.REQUIRE}
    task = plan(
        login(source_cluster, tls=modes.get("source", TlsMode.DISABLE)),
        login(target_cluster, tls=modes.get("target", TlsMode.DISABLE)),
        [("a", "b")],
    )
    result = check(task, f"{side}-tls")
    assert result.status == "failed"
    assert "does not offer TLS" in result.found


def test_tls_as_asked_for_passes(source_cluster: Cluster, target_cluster: Cluster, tmp_path: Path) -> None:
    pem, key = impostors.certificate(tmp_path, "localhost")
    with impostors.listening(impostors.tls_in_front_of(source_cluster.port, pem, key)) as port:
        source = login(source_cluster, host="localhost", port=port, tls=TlsMode.VERIFY_FULL, ca_file=str(pem))
        result = check(plan(source, login(target_cluster), [("a", "b")]), "source-tls")
    assert (result.status, "verify-full" in result.found) == ("passed", True)


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> str:
    """Sessions are real ones to loopback, but what they are connected to is taken for a public address."""
    address = "93.184.216.34"
    monkeypatch.setattr(connectivity, "peer_address", lambda connection: address)
    return address


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("mode", [TlsMode.DISABLE, TlsMode.PREFER])
def test_a_plain_connection_is_a_warning_when_the_address_is_public(
    side: str, mode: TlsMode, source_cluster: Cluster, target_cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    task = plan(login(source_cluster, tls=mode), login(target_cluster, tls=mode), [("a", "b")])
    result = check(task, f"{side}-tls")
    assert (result.status, "not encrypted" in result.found) == ("passed", True)
    address = request.getfixturevalue("public")
    result = check(task, f"{side}-tls")
    assert (result.status, address in result.found) == ("warning", True)
    assert "clear text" in result.hint


def test_tls_without_verification_is_a_warning_when_the_address_is_public(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pem, key = impostors.certificate(tmp_path, "localhost")
    with impostors.listening(impostors.tls_in_front_of(source_cluster.port, pem, key)) as port:
        known = login(source_cluster, host="localhost", port=port, tls=TlsMode.VERIFY_FULL, ca_file=str(pem))
        unknown = login(source_cluster, host="localhost", port=port, tls=TlsMode.REQUIRE)
        assert check(plan(unknown, login(target_cluster), [("a", "b")]), "source-tls").status == "passed"
        request.getfixturevalue("public")
        assert check(plan(known, login(target_cluster), [("a", "b")]), "source-tls").status == "passed"
        result = check(plan(unknown, login(target_cluster), [("a", "b")]), "source-tls")
    assert (result.status, "not verified" in result.found) == ("warning", True)


@pytest.mark.parametrize(("side", "said"), [("source", "9.2.24"), ("target", "9.6.24"), ("target", "19.1")])
def test_a_version_out_of_range_fails(side: str, said: str, source_cluster: Cluster, target_cluster: Cluster) -> None:
    with impostors.listening(impostors.pretending(said)) as port:
        ports = {side: port}
        task = plan(
            login(source_cluster, port=ports.get("source", source_cluster.port)),
            login(target_cluster, port=ports.get("target", target_cluster.port)),
            [("a", "b")],
        )
        result = check(task, f"{side}-version")
        assert check(task, f"{side}-login").status == "passed"
        assert said in check(task, "version-order").found
    assert result.status == "failed"
    assert said in result.found


def test_a_source_before_logical_decoding_fails_only_where_changes_are_to_be_followed(target_cluster: Cluster) -> None:
    with impostors.listening(impostors.pretending("9.3.25")) as port:
        task = plan(login(target_cluster, port=port), login(target_cluster), [("a", "b")])
        result = check(task, "logical-decoding")
        assert (result.status, "9.3.25 knows no logical decoding" in result.found) == ("failed", True)
        codes = {info.code for info in items_for(replace(task, incremental=False))}
    assert "logical-decoding" not in codes


def test_an_older_target_fails(source_cluster: Cluster, target_cluster: Cluster) -> None:
    assert check(plan(login(target_cluster), login(source_cluster), [("a", "b")]), "version-order").status == "failed"
    assert check(plan(login(source_cluster), login(target_cluster), [("a", "b")]), "version-order").status == "passed"


def test_a_database_cannot_be_copied_onto_itself_even_through_another_address(source_cluster: Cluster) -> None:
    task = plan(login(source_cluster), login(source_cluster, host="localhost"), [("shop", "shop")])
    result = check(task, "different-servers")
    assert result.status == "failed"
    assert "shop" in result.found


def test_another_database_of_the_same_server_is_a_warning(source_cluster: Cluster) -> None:
    task = plan(login(source_cluster), login(source_cluster), [("shop", "shop_copy")])
    assert check(task, "different-servers").status == "warning"


def test_two_servers_pass_as_different(source_cluster: Cluster, target_cluster: Cluster) -> None:
    assert (
        check(plan(login(source_cluster), login(target_cluster), [("a", "a")]), "different-servers").status == "passed"
    )


def test_a_standby_is_no_source_for_incremental_sync_and_no_target(standby: Cluster, target_cluster: Cluster) -> None:
    from_standby = plan(login(standby), login(target_cluster), [("postgres", "b")])
    assert check(from_standby, "source-primary").status == "failed"
    to_standby = plan(login(target_cluster), login(standby), [("postgres", "b")])
    assert check(to_standby, "target-writable").status == "failed"
    assert check(to_standby, "source-primary").status == "passed"
    assert check(from_standby, "target-writable").status == "passed"


def test_a_target_that_is_read_only_by_default_passes_but_one_that_insists_at_login_fails(
    source_cluster: Cluster, target_cluster: Cluster, target_db: str
) -> None:
    task = plan(login(source_cluster), login(target_cluster, database=target_db), [("a", target_db)])
    with target_cluster.connect(target_db) as there:
        there.execute(f"ALTER DATABASE {quote(target_db)} SET default_transaction_read_only = on")
        assert check(task, "target-writable").status == "passed"
        there.execute(
            "CREATE FUNCTION insist() RETURNS event_trigger LANGUAGE plpgsql"
            " AS $$BEGIN PERFORM pg_catalog.set_config('default_transaction_read_only', 'on', false); END$$"
        )
        there.execute("CREATE EVENT TRIGGER insist ON login EXECUTE FUNCTION insist()")
    result = check(task, "target-writable")
    assert (result.status, "read-only" in result.found) == ("failed", True)


@pytest.mark.parametrize("other", ["source", "target"])
def test_accounts_that_may_not_read_the_system_identifier_are_told_apart_by_the_servers_start(
    other: str, source_cluster: Cluster, target_cluster: Cluster, source_db: str
) -> None:
    source = login(source_cluster, database=source_db, user="blind", password="x")
    with source_cluster.connect(source_db) as shop:
        shop.execute("CREATE ROLE blind LOGIN PASSWORD 'x'")
        try:
            shop.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
            target = source if other == "source" else login(target_cluster)
            result = check(plan(source, target, [(source_db, source_db)]), "different-servers")
        finally:
            shop.execute("DROP ROLE blind")
    assert result.status == ("failed" if other == "source" else "passed")


def test_a_standby_may_be_the_source_of_a_full_migration(standby: Cluster, target_cluster: Cluster) -> None:
    task = plan(login(standby), login(target_cluster), [("postgres", "b")], incremental=False)
    result = check(task, "source-primary")
    assert result.status == "warning"
    with standby.connect() as connection:
        try:
            for statement in result.sql.splitlines():
                connection.execute(statement)
            wait_until(lambda: check(task, "source-primary").status == "passed", what="the feedback is on")
        finally:
            connection.execute("ALTER SYSTEM RESET hot_standby_feedback")


def test_a_check_leaves_nothing_on_either_server(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> None:
    def objects(cluster: Cluster, database: str) -> list[tuple[object, ...]]:
        with cluster.connect(database) as connection:
            return connection.execute(
                "SELECT 'class', relname::text FROM pg_class UNION ALL SELECT 'db', datname::text FROM pg_database"
                " UNION ALL SELECT 'slot', slot_name::text FROM pg_replication_slots"
                " UNION ALL SELECT 'pub', pubname::text FROM pg_publication"
                " UNION ALL SELECT 'role', rolname::text FROM pg_roles ORDER BY 1, 2"
            ).fetchall()

    before = objects(source_cluster, source_db), objects(target_cluster, target_db)
    check_all(plan(login(source_cluster), login(target_cluster), [(source_db, target_db)]))
    assert (objects(source_cluster, source_db), objects(target_cluster, target_db)) == before


def test_a_task_of_many_databases_opens_few_sessions(source_cluster: Cluster, target_cluster: Cluster) -> None:
    names = [f"many_{number}" for number in range(20)]
    with source_cluster.connect() as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name}")
        peak: list[int] = []

        def count(result: CheckResult) -> None:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'towpath:0badcafe:%'"
            ).fetchone()
            peak.append(int(row[0]) if row else 0)

        try:
            task = plan(login(source_cluster), login(target_cluster), [(name, name) for name in names])
            codes = frozenset({"table-keys", "extensions"})
            results = run_checks(task, FakeControl(), only=codes, report=count)
            assert [result.database for result in results] == names * 2
            assert max(peak) <= 15
        finally:
            for name in names:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
