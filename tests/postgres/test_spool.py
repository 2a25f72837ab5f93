"""Changes that go through a spool on the worker's disk while the target stands still: none is lost or comes twice."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from migrations_app.engine.errors import EngineError, SlotLost, WorkerFull
from migrations_app.engine.ports import Kind
from migrations_app.engine.replication import spool
from tests.fakes import wait_until
from tests.postgres import spool_kit
from tests.postgres.spool_kit import SpoolPair, standing_still, working
from tests.postgres.test_sync_kills import BAG, Writing
from tests.postgres.test_sync_kills import writing as _writing

# Fixtures that stand elsewhere.
pair = spool_kit.pair
writing = _writing


@pytest.mark.long
def test_a_source_is_relieved_while_the_target_stands_still(pair: SpoolPair, writing: Writing) -> None:
    pair.build(BAG)
    pair.catch_up()
    before = pair.bookmark()
    with working(pair) as failures:
        with standing_still(pair):
            writing.start(pair)
            pair.at_source("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1000000, 1002000) g")
            pair.control.spool = True
            pair.until_confirmed()
            assert pair.bookmark() == before
            wait_until(lambda: pair.spooled() > 1_000_000, 30, "the size being told")
        wait_until(lambda: pair.value("SELECT count(*) FROM t WHERE id > 999999", "target") == 2001, 30, "the rows")
        writing.stop()
    assert failures == []
    pair.settle()
    pair.assert_equal()
    assert not pair.folder.exists()
    assert (pair.store.spools, [item for item in pair.ledger.items() if item.kind is Kind.FILE]) == ({}, [])
    told = [code for _, code, _ in pair.store.events if code.startswith("SPOOL")]
    assert (told[0], told[-1]) == ("SPOOL-BEGUN", "SPOOL-DRAINED")


@pytest.mark.long
def test_what_is_kept_in_many_files_is_applied_by_another_session(
    pair: SpoolPair, monkeypatch: pytest.MonkeyPatch, writing: Writing
) -> None:
    """Tables are described once a stream, and most files do not hold its begin."""
    monkeypatch.setattr(spool, "FILE_BYTES", 20_000)
    pair.build(BAG)
    pair.catch_up()
    writing.start(pair)
    with standing_still(pair), working(pair) as failures:
        pair.control.spool = True
        wait_until(lambda: len(list(pair.folder.glob("*.spool"))) > 8, 30, "many files")
        pair.at_source("INSERT INTO t SELECT g, 'large' FROM generate_series(1000000, 1020000) g")
        pair.until_confirmed()
    assert failures == []
    pair.control.spool = False
    writing.stop()
    pair.settle()
    pair.assert_equal()
    assert not pair.folder.exists()


@pytest.mark.long
def test_a_spool_without_room_leaves_the_rest_to_the_source(pair: SpoolPair, writing: Writing) -> None:
    pair.build(BAG)
    pair.catch_up()
    pair.most_bytes = 8_000_000
    with working(pair) as failures:
        with standing_still(pair):
            writing.start(pair)
            pair.control.spool = True
            for number in range(12):
                first = 1000000 * (number + 1)
                pair.at_source(
                    f"INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series({first}, {first + 2000}) g"
                )
            wait_until(lambda: "SPOOL-FULL" in [code for _, code, _ in pair.store.events], 30, "the end of the room")
            used = sum(file.stat().st_size for file in pair.folder.iterdir())
            assert used < 9_000_000
        wait_until(
            lambda: pair.value("SELECT count(*) FROM t WHERE id > 999999", "target") == 12 * 2001, 60, "the rows"
        )
        writing.stop()
    assert failures == []
    pair.settle()
    pair.assert_equal()


def test_a_full_disk_is_told_and_what_was_half_written_is_not_used(
    pair: SpoolPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.build(BAG)
    pair.catch_up()
    left = [300_000]
    write = os.write

    def full(handle: int, data: bytes) -> int:
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(handle, bytes(data)[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(spool.os, "write", full)
    pair.control.spool = True
    pair.at_source(
        *(f"INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series({n}000, {n}500) g" for n in (1, 2))
    )
    with standing_still(pair), pytest.raises(WorkerFull) as caught:
        pair.slice(30)
    assert str(pair.folder) in caught.value.message
    monkeypatch.undo()
    pair.slice(1)
    pair.settle()
    pair.assert_equal()


def spooled(pair: SpoolPair) -> int:
    """Leave changes in a spool that the target has not; return the position that the source was confirmed."""
    pair.build(BAG)
    pair.catch_up()
    with standing_still(pair), working(pair) as failures:
        pair.control.spool = True
        for number in range(20):
            pair.at_source(f"INSERT INTO t SELECT g, 'x' FROM generate_series({number}000, {number}500) g")
        pair.until_confirmed()
    assert failures == []
    pair.control.spool = False
    return pair.confirmed()


@pytest.mark.sample(1)
@pytest.mark.parametrize("receiving", [False, True])
def test_a_spool_that_is_gone_is_said_plainly(pair: SpoolPair, receiving: bool) -> None:
    spooled(pair)
    before = pair.rows("target")
    shutil.rmtree(pair.folder)
    pair.control.spool = receiving
    with pytest.raises(SlotLost) as caught:
        pair.catch_up()
    assert caught.value.code == "SPOOL-GONE"
    assert "in the spool alone" in caught.value.message
    assert f"{pair.folder} on here" in caught.value.message
    assert pair.rows("target") == before


def damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    if how == "cut":
        del data[middle:]
    elif how == "changed":
        data[middle] ^= 1
    path.write_bytes(data)


@pytest.mark.sample(1)
@pytest.mark.parametrize("how", ["cut", "changed"])
def test_a_damaged_spool_is_never_applied_beyond_the_damage(pair: SpoolPair, how: str) -> None:
    spooled(pair)
    largest = max(pair.folder.glob("*.spool"), key=lambda path: path.stat().st_size)
    damaged(largest, how)
    with pytest.raises(EngineError) as caught:
        pair.catch_up()
    assert caught.value.code == "SPOOL-GONE"
    kept = set(pair.rows("target")["public.t"])
    assert kept <= set(pair.rows("source")["public.t"])


def test_what_stands_behind_the_last_whole_transaction_comes_from_the_source(pair: SpoolPair) -> None:
    spooled(pair)
    last = max(pair.folder.glob("*.spool"))
    with last.open("ab") as file:
        file.write(b"\x00\x00\x01\x00" + os.urandom(300))
    pair.at_source("INSERT INTO t VALUES (-1, 'after')")
    pair.settle()
    pair.assert_equal()
