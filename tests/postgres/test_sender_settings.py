"""The session that sends changes is opened with what makes it cheap for the source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.connect import Sessions
from migrations_app.engine.plan import Side
from migrations_app.engine.replication import sender_settings
from tests.postgres.sync_kit import Pair


@pytest.fixture
def pair(source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str) -> Pair:
    return Pair(source_cluster, target_cluster, source_db, target_db)


@pytest.fixture
def sessions(pair: Pair) -> Iterator[Sessions]:
    with Sessions(pair.plan(), pair.control) as sessions:
        yield sessions


def test_a_sender_may_use_as_much_memory_as_its_server_has_buffers(
    pair: Pair, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender_settings, "_UNCHOSEN_BYTES", 32 << 20)  # the servers here have buffers of 64 MB only
    pair.at_source(f"ALTER DATABASE {pair.source_db} SET logical_decoding_work_mem = '32MB'")
    with sessions.session(Side.SOURCE, pair.source_db) as ordinary:
        settings = sender_settings.sender_settings(ordinary)
    with sessions.open(Side.SOURCE, pair.source_db, replication=True, **settings) as sender:
        shown = [sender.execute(f"SHOW {name}".encode()).fetchone() for name in sorted(settings)]
    assert shown == [("64MB",), ("5min",)]


@pytest.mark.parametrize("chosen", ["31MB", "33MB"])
def test_what_somebody_chose_for_the_database_stays(
    pair: Pair, sessions: Sessions, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setattr(sender_settings, "_UNCHOSEN_BYTES", 32 << 20)
    pair.at_source(f"ALTER DATABASE {pair.source_db} SET logical_decoding_work_mem = '{chosen}'")
    with sessions.session(Side.SOURCE, pair.source_db) as ordinary:
        assert "logical_decoding_work_mem" not in sender_settings.sender_settings(ordinary)
