"""What tests of the spool share: a pair whose changes go through a spool, and a target that stands still."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.lsn import parse_lsn
from migrations_app.engine.plan import Plan
from migrations_app.engine.replication.receiving import SpoolTurn
from migrations_app.engine.replication.session import SyncSession
from migrations_app.engine.replication.spooled import Turns, open_session
from tests.fakes import wait_until
from tests.postgres.sync_kit import Pair


class SpoolPair(Pair):
    """Its plans name a work folder that outlives every run. `most_bytes` of the spool."""

    work_dir: Path
    most_bytes = 10**9

    def plan(self, **more: object) -> Plan:
        return super().plan(work_dir=self.work_dir, spool_bytes=self.most_bytes, spool_free_bytes=1, **more)

    @property
    def folder(self) -> Path:
        return self.work_dir / "spool" / self.state.slot

    @contextlib.contextmanager
    def syncing(self) -> Iterator[SyncSession]:
        with self.running() as run, open_session(run, self.database) as session:
            yield session

    def slice(self, seconds: float, over: threading.Event | None = None) -> None:
        """Sync as the step does: until the time is over, or the session has to be opened anew."""
        over = over or threading.Event()
        timer = threading.Timer(seconds, over.set)
        timer.start()
        try:
            with self.running() as run:
                turns, opened = Turns(run, self.database), list[SyncSession]()

                def check() -> None:
                    run.ports.control.check()
                    turns.check(opened[0] if opened else None)

                with contextlib.suppress(SpoolTurn), open_session(run, self.database, check) as session:
                    opened.append(session)
                    session.advance(stop=lambda: over.is_set() or turns.over(session))
        finally:
            timer.cancel()

    def confirmed(self) -> int:
        """Up to where the source has been told that it may forget."""
        query = f"SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{self.state.slot}'"
        return parse_lsn(self.value(query))

    def bookmark(self) -> int:
        return parse_lsn(self.value("SELECT lsn::text FROM towpath.bookmark", "target"))

    def spooled(self) -> int:
        """How many bytes of the spool wait to be applied."""
        known = self.store.spool(self.source_db)
        return known.size if known else 0

    def until_confirmed(self) -> None:
        """Wait until the source has been told to forget everything that is committed on it now."""
        self.at_source("SELECT pg_logical_emit_message(true, 'test', 'last')")
        wanted = self.insert_lsn()
        self.at_source("SELECT pg_logical_emit_message(true, 'test', 'flush')")
        wait_until(lambda: self.confirmed() >= wanted, 30, "the source forgetting what is in the spool")

    def settle(self) -> None:
        """Have everything applied, and the spool removed, without receiving any more."""
        self.control.spool = False
        self.catch_up()
        self.catch_up()


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path) -> SpoolPair:
    made = SpoolPair(source_cluster, target_cluster, source_db, target_db)
    made.work_dir = tmp_path / "work"
    made.work_dir.mkdir()
    return made


@contextlib.contextmanager
def standing_still(pair: Pair, table: str = "t") -> Iterator[None]:
    """Keep a table of the target from everybody for as long as the block runs."""
    with pair.target.connect(pair.target_db) as connection, connection.transaction():
        connection.execute(f"LOCK TABLE {table}".encode())
        yield


@contextlib.contextmanager
def working(pair: SpoolPair) -> Iterator[list[BaseException]]:
    """Sync in the background, slice after slice, until the block ends. Yields what went wrong."""
    over, turn, failures = threading.Event(), threading.Event(), list[BaseException]()

    def work() -> None:
        nonlocal turn
        while not over.is_set() and not failures:
            turn = threading.Event()
            try:
                pair.slice(3, turn)
            except BaseException as error:
                if not over.is_set():  # else it was cut
                    failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield failures
    finally:
        over.set()
        turn.set()
        thread.join(1.5)
        if thread.is_alive():  # it waits for the target, which stands still
            pair.control.pause()
            thread.join(60)
            type(pair.control).__init__(pair.control)
