"""A real standby takes over from the source: the sync goes on there when nothing can be missing, and never else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import keeping_step
from migrations_app.engine.connect import Connection
from migrations_app.engine.errors import ConnectionLost, SlotLost, SourceError
from migrations_app.engine.failover import Offer
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.ports import TableState
from migrations_app.engine.replication.spooled import open_session
from migrations_app.engine.snapshot import open_again, open_first
from migrations_app.engine.wording import say
from tests.fakes import wait_until
from tests.postgres import failover_kit
from tests.postgres.failover_kit import NAME, SECONDS
from tests.postgres.sync_kit import Pair

replicated = failover_kit.replicated  # a fixture that stands in the kit
_TABLE = "CREATE TABLE notes (id int PRIMARY KEY, note text)"


@dataclass
class Standing:
    """A source with a standby that keeps failover slots in step, and a target."""

    primary: Cluster
    standby: Cluster
    pair: Pair

    def replayed(self) -> None:
        """Wait until the standby has everything that the primary has written."""
        until = self.pair.value("SELECT pg_current_wal_lsn()::text")
        with self.standby.connect() as connection:
            caught = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            wait_until(lambda: connection.execute(caught, (until,)).fetchone() == (True,), SECONDS, "the replay")

    def promote(self) -> None:
        """Let the standby take over; the primary is gone."""
        with self.standby.connect() as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
        self.pair.source = self.standby

    def slot_is_in_step(self) -> bool:
        """Write, apply, and say whether the standby has the slot for good by now."""
        self.pair.at_source("SELECT pg_log_standby_snapshot()", "UPDATE notes SET note = note || '.' WHERE id = 1")
        self.pair.catch_up()
        with self.standby.connect() as connection:
            query = "SELECT synced AND NOT temporary FROM pg_replication_slots WHERE slot_name = %s"
            return connection.execute(query, (self.pair.state.slot,)).fetchone() == (True,)


def _opened(pair: Pair, **plan: bool) -> None:
    """Make equal, empty databases, and let the engine itself open publication and slot."""
    pair.at_source(_TABLE)
    pair.at_target(_TABLE)
    with pair.running(**plan) as run:
        open_first(run, pair.database).close()
    table = pair.tables()[0]
    point = pair.state.consistent_point
    pair.store.save_tables(
        TableState(database=pair.source_db, schema="public", name=table.name, oid=table.oid, watermark=point)
    )


@pytest.fixture
def standing(
    replicated: tuple[Cluster, Cluster], target_cluster: Cluster, target_db: str, monkeypatch: pytest.MonkeyPatch
) -> Standing:
    monkeypatch.setattr(keeping_step, "_SECONDS", 0)  # the test itself sees to it, and looks at the standby
    primary, standby = replicated
    pair = Pair(primary, target_cluster, NAME, target_db)
    _opened(pair)
    pair.at_source("INSERT INTO notes VALUES (1, 'first')")
    made = Standing(primary, standby, pair)
    wait_until(made.slot_is_in_step, SECONDS, "the slot on the standby")
    return made


def test_the_sync_goes_on_at_the_standby_that_took_over(standing: Standing) -> None:
    pair = standing.pair
    assert pair.value(f"SELECT failover FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'") is True
    assert "SRC-FAILOVERSLOT" in [event[1] for event in pair.store.events]
    pair.at_source("INSERT INTO notes SELECT g, 'not applied yet' FROM generate_series(2, 500) g")
    standing.replayed()
    standing.primary.stop()
    standing.promote()
    pair.at_source("INSERT INTO notes VALUES (1000, 'after')", "DELETE FROM notes WHERE id = 2")
    pair.catch_up()
    pair.assert_equal()
    assert pair.state.timeline == 2
    assert "SRC-FAILEDOVER" in [event[1] for event in pair.store.events]
    pair.at_source("INSERT INTO notes VALUES (1001, 'later')")
    pair.catch_up()
    pair.assert_equal()


@pytest.mark.long
def test_a_standby_that_was_not_promoted_yet_is_waited_for(standing: Standing, tmp_path: Path) -> None:
    pair = standing.pair
    pair.at_source("INSERT INTO notes VALUES (2, 'before')")
    standing.replayed()
    standing.primary.stop()
    pair.source = standing.standby
    with pytest.raises(SourceError, match="not promoted yet") as caught, pair.syncing():
        pass
    assert (caught.value.code, caught.value.retryable) == ("SRC-READONLY", True)
    with pair.running() as run, pytest.raises(SourceError, match="not promoted yet"):
        open_again(run, pair.database)
    pair.control.spool = True
    refused = pytest.raises(SourceError, match="not promoted yet")
    with pair.running(work_dir=tmp_path) as run, refused as caught, open_session(run, pair.database):
        pass
    assert caught.value.retryable
    pair.control.spool = False
    standing.promote()
    pair.catch_up()
    pair.assert_equal()


def test_without_its_slot_changes_may_be_missing(standing: Standing) -> None:
    pair = standing.pair
    standing.replayed()
    standing.primary.stop()
    standing.promote()
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
    with pytest.raises(SlotLost, match="may be missing") as caught:
        pair.catch_up()
    assert caught.value.code == "SRC-FAILOVER"
    assert "Restart with new copy" in caught.value.hint
    assert pair.state.timeline == 1


@pytest.mark.long
def test_a_slot_that_is_ahead_of_the_target_is_refused(standing: Standing) -> None:
    pair = standing.pair
    standing.replayed()
    standing.primary.stop()
    standing.promote()
    pair.at_source("INSERT INTO notes VALUES (7, 'skipped')")
    pair.at_source(f"SELECT pg_replication_slot_advance('{pair.state.slot}', pg_current_wal_lsn())")
    with pytest.raises(SlotLost, match=r"begins at .* may be missing"):
        pair.catch_up()


def test_a_target_that_holds_what_the_new_source_never_had_is_refused(standing: Standing) -> None:
    pair = standing.pair
    standing.replayed()
    standing.standby.stop()
    pair.at_source("INSERT INTO notes VALUES (8, 'never replicated')")
    pair.catch_up()
    standing.primary.stop()
    standing.standby.start()
    standing.promote()
    with pytest.raises(SlotLost, match="changes that the new one never had") as caught:
        pair.catch_up()
    assert caught.value.code == "SRC-FAILOVER"


@pytest.mark.parametrize("asked", [False, True])
def test_without_such_a_standby_a_failover_slot_is_made_only_when_asked_for(
    target_cluster: Cluster, target_db: str, source_db: str, source_cluster: Cluster, asked: bool
) -> None:
    """The target's cluster is an 18 without any standby, so it serves as the source here."""
    pair = Pair(target_cluster, source_cluster, target_db, source_db)
    _opened(pair, failover_slots=asked)
    failover = pair.value(f"SELECT failover FROM pg_replication_slots WHERE slot_name = '{pair.state.slot}'")
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
    assert failover is asked
    assert "SRC-FAILOVERSLOT" not in [event[1] for event in pair.store.events]


def test_a_run_that_ends_while_the_slot_moves_is_followed_by_one_with_a_new_slot(
    target_cluster: Cluster, target_db: str, source_db: str, source_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target's cluster serves as the source; that no standby takes the slot does not matter here."""
    monkeypatch.setattr(keeping_step, "_SECONDS", 0)
    monkeypatch.setattr(keeping_step, "offer", lambda _: Offer(possible=True, kept=True))
    real = keeping_step._move_on
    pair = Pair(target_cluster, source_cluster, target_db, source_db)

    def dies(connection: Connection, slot: str) -> None:
        pair.at_source("SELECT pg_logical_emit_message(true, 'test', 'between', true)")
        real(connection, slot)
        raise ConnectionLost(say("cut"))

    monkeypatch.setattr(keeping_step, "_move_on", dies)
    with pytest.raises(ConnectionLost):
        _opened(pair, failover_slots=True)
    assert pair.state.consistent_point is None
    monkeypatch.setattr(keeping_step, "_move_on", real)
    with pair.running(failover_slots=True) as run:
        snapshot = open_first(run, pair.database)
        snapshot.close()
    slots = "FROM pg_replication_slots WHERE database = current_database() AND NOT temporary"
    confirmed = parse_lsn(pair.value(f"SELECT confirmed_flush_lsn::text {slots}"))
    assert pair.value(f"SELECT count(*) {slots}") == 1
    assert pair.store.databases[pair.source_db].consistent_point == confirmed
    assert confirmed <= (snapshot.lsn or 0)
    assert ("warning", "SRC-FAILOVERSLOT") in [event[:2] for event in pair.store.events]
    pair.at_source(f"SELECT pg_drop_replication_slot('{pair.state.slot}')")
