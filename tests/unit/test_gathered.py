"""A transaction is given on only when it is complete, however large it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrations_app.engine.errors import EngineError
from migrations_app.engine.replication import gathered
from migrations_app.engine.replication.gathered import Gathered, Gathering
from migrations_app.engine.replication.test_decoding import MalformedMessage

BEGIN = b"BEGIN 5"
CHANGE = b"table s.t: INSERT: id[integer]:1"
COMMIT = b"COMMIT 5 (at 2000-01-01 00:00:01+00)"


def gather(gathering: Gathering, *messages: bytes) -> Gathered:
    """Give all messages to it; the last one must complete a transaction, and no other."""
    *first, last = [gathering.take(message, 0x100 * at) for at, message in enumerate(messages, 1)]
    assert first == [None] * len(first)
    assert last is not None
    return last


def test_a_transaction_comes_with_its_end_and_its_time(tmp_path: Path) -> None:
    whole = gather(Gathering(tmp_path), BEGIN, CHANGE, COMMIT)

    assert (whole.xid, whole.end_lsn, whole.final_lsn, whole.timestamp) == (5, 0x300, 0x2FF, 1_000_000)
    assert list(whole.messages()) == [CHANGE]


def test_nothing_is_given_on_before_the_end(tmp_path: Path) -> None:
    gathering = Gathering(tmp_path)

    assert gathering.take(BEGIN, 1) is None
    assert gathering.take(CHANGE, 2) is None
    assert gathering.midway

    assert list(gather(gathering, CHANGE, COMMIT).messages()) == [CHANGE, CHANGE]
    assert not gathering.midway


def test_what_somebody_emitted_is_passed_over_wherever_it_stands(tmp_path: Path) -> None:
    emitted = b"message: transactional: 0 prefix: a, sz: 1 content:b"

    assert list(gather(Gathering(tmp_path), emitted, BEGIN, emitted, CHANGE, COMMIT).messages()) == [CHANGE]


@pytest.mark.parametrize("messages", [[CHANGE], [COMMIT], [BEGIN, BEGIN], [BEGIN, b"COMMIT 6"], [b"nonsense"]])
def test_what_is_no_transaction_is_refused(tmp_path: Path, messages: list[bytes]) -> None:
    with pytest.raises(MalformedMessage):
        gather(Gathering(tmp_path), *messages)


def test_a_large_transaction_waits_in_a_file_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "MEMORY_BYTES", 200)
    sent = [f"table s.t: INSERT: id[integer]:{number}".encode() for number in range(50)]

    whole = gather(Gathering(tmp_path / "work"), BEGIN, *sent, COMMIT)

    assert list(whole.messages()) == sent
    assert list((tmp_path / "work").iterdir()) == []
    whole.close()
    whole.close()


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered, "MEMORY_BYTES", 0)
    (tmp_path / "file").write_text("")

    with pytest.raises(EngineError, match="could not be kept"):
        gather(Gathering(tmp_path / "file"), BEGIN, CHANGE)


def test_a_transaction_that_is_not_complete_is_forgotten(tmp_path: Path) -> None:
    gathering = Gathering(tmp_path)
    gathering.take(BEGIN, 1)
    gathering.take(CHANGE, 2)

    gathering.close()

    assert not gathering.midway
