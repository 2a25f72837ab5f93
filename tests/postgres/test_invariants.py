"""What holds whatever happens: promises that are about no single fault."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator

import pytest

from migrations_app.engine.errors import EngineError, TargetError
from migrations_app.engine.plan import Server
from migrations_app.engine.replication.session import SyncSession
from tests.fakes import wait_until
from tests.postgres import drift_kit
from tests.postgres.batches_kit import small_batches
from tests.postgres.drift_kit import TABLE
from tests.postgres.sync_kit import Pair, force_path

# A fixture that stands in the kit.
pair = drift_kit.pair

ACCOUNTS = (
    "CREATE TABLE account (id int PRIMARY KEY, amount int NOT NULL);"
    " INSERT INTO account SELECT g, 100 FROM generate_series(1, 60) g"
)
ALL_PAY = "UPDATE account SET amount = amount + CASE WHEN id % 2 = 0 THEN 1 ELSE -1 END"
TWO_PAY = "UPDATE account SET amount = amount - 7 WHERE id = {0}; UPDATE account SET amount = amount + 7 WHERE id = {1}"


@pytest.mark.parametrize("path", ["rows", "batches"])
def test_whoever_reads_the_target_never_sees_half_a_transaction(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    force_path(monkeypatch, path)
    small_batches(monkeypatch)  # they end within transactions
    pair.build(ACCOUNTS)
    for number in range(1, 60):
        pair.at_source(ALL_PAY if number % 2 else TWO_PAY.format(number, number + 1))
    over, seen = threading.Event(), set[int]()

    def read() -> None:
        with pair.target.connect(pair.target_db) as connection:
            while not over.is_set():
                row = connection.execute("SELECT sum(amount)::int FROM account").fetchone()
                seen.add(row[0] if row else 0)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        wait_until(lambda: seen, what="the first reading")
        pair.catch_up()
    finally:
        over.set()
        reader.join()
    assert seen == {6000}
    pair.assert_equal()


def sessions(pair: Pair, side: str) -> set[int]:
    """The sessions of the first epoch."""
    named = f"towpath:{pair.key}:1"
    query = f"SELECT array_agg(pid) FROM pg_stat_activity WHERE application_name = '{named}'"
    return set(pair.value(query, side) or ())


def test_nothing_of_an_older_epoch_is_left_on_either_server_once_a_newer_one_has_begun(pair: Pair) -> None:
    pair.build(TABLE)
    shown = False
    with contextlib.suppress(EngineError), pair.running() as old, SyncSession(old, pair.database) as first:
        assert all(sessions(pair, side) for side in ("source", "target"))
        with pair.syncing():
            wait_until(
                lambda: not any(sessions(pair, side) for side in ("source", "target")),
                what="the end of the older sessions on both servers",
            )
        with pytest.raises(EngineError):
            first.advance(until=pair.insert_lsn() + 1_000_000)
        shown = True
    assert shown, "only the end of the older session may fail"


@pytest.fixture
def limited(pair: Pair) -> Iterator[Server]:
    """An account of the target that owns tables, and is bound by their policies where those are forced."""
    name, password = f"bound-{pair.target_db}", secrets.token_hex(8)
    pair.at_target(
        f"CREATE ROLE \"{name}\" LOGIN PASSWORD '{password}'",
        f'GRANT CREATE ON DATABASE "{pair.target_db}" TO "{name}"',
        f'GRANT CREATE, USAGE ON SCHEMA public TO "{name}"',
        f'GRANT SET ON PARAMETER session_replication_role TO "{name}"',
    )
    yield Server(host="127.0.0.1", port=pair.target.port, user=name, password=password)
    pair.at_target(
        f'REVOKE SET ON PARAMETER session_replication_role FROM "{name}"; DROP OWNED BY "{name}"; DROP ROLE "{name}"'
    )


def test_forced_row_security_of_the_target_hides_no_row_from_the_sync_but_stops_it(pair: Pair, limited: Server) -> None:
    pair.build(TABLE, "INSERT INTO t VALUES (1, 'there'), (2, 'there')")
    pair.at_target(
        f'ALTER TABLE t OWNER TO "{limited.user}"; ALTER TABLE other OWNER TO "{limited.user}"',
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY",
        "CREATE POLICY none ON t USING (false) WITH CHECK (true)",
    )
    pair.at_source("INSERT INTO t VALUES (3, 'new')", "UPDATE t SET v = v || '!'", "DELETE FROM t WHERE id = 2")

    def catch_up() -> None:
        with pair.running(target=limited) as run, SyncSession(run, pair.database) as session:
            session.advance(until=pair.insert_lsn())

    with pytest.raises(TargetError, match="row-level security"):
        catch_up()
    assert pair.value("SELECT string_agg(v, ',' ORDER BY id) FROM t", "target") == "there,there"
    pair.at_target("ALTER TABLE t NO FORCE ROW LEVEL SECURITY")
    catch_up()
    pair.assert_equal()


def test_the_order_of_changes_within_a_transaction_is_that_of_the_source_whatever_the_batches(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    force_path(monkeypatch, "batches")
    small_batches(monkeypatch)
    pair.build(TABLE)
    pair.at_source(
        "DO $$ BEGIN FOR n IN 1..300 LOOP INSERT INTO t VALUES (1, n::text); UPDATE t SET id = 2; DELETE FROM t;"
        " INSERT INTO other VALUES (n); END LOOP; INSERT INTO t VALUES (1, 'last'); END $$"
    )
    pair.catch_up()
    pair.assert_equal()
