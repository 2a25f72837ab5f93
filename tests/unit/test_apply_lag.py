"""How lag is told from samples of the source."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import pytest

from migrations_app.engine.errors import SlotLost
from migrations_app.engine.lsn import before_page_header
from migrations_app.engine.ports import DatabaseState
from migrations_app.engine.replication.behind import known_before
from migrations_app.engine.replication.lag import SlotState, SourceWatch, require_slot
from migrations_app.engine.replication.stream import start_command

SAMPLE = SlotState(
    insert_lsn=1000, source_time=50.0, at=0.0, exists=True, active_pid=None, confirmed=500, database="d",
    wal_status="reserved", safe_bytes=None,
)  # fmt: skip


def watching(*samples: tuple[int, float], before: Sequence[tuple[int, float]] = ()) -> SourceWatch:
    watch = SourceWatch(cast(Any, None), "slot", cast(Any, None), lambda: None, before)
    for lsn, source_time in samples:
        watch._samples.append(SAMPLE._replace(insert_lsn=lsn, source_time=source_time, at=time.monotonic()))
    return watch


@pytest.mark.parametrize(("lsn", "expected"), [(8192, 8192), (8192 + 24, 8192), (8192 + 40, 8192), (8192 + 41, 8233)])
def test_a_position_just_behind_a_page_header_is_the_pages_start(lsn: int, expected: int) -> None:
    assert before_page_header(lsn) == expected


def test_nothing_is_lag_when_all_that_was_seen_is_applied() -> None:
    assert watching((1000, 50.0)).lag_seconds(1000, None) == 0.0
    assert watching((1000, 50.0)).lag_bytes(1200) == 0


def test_lag_counts_from_the_last_moment_that_is_applied_whole() -> None:
    watch = watching((1000, 50.0), (2000, 52.0), (3000, 54.0))
    assert watch.lag_seconds(2500, None) == pytest.approx(2.0, abs=0.5)
    assert watch.lag_bytes(2500) == 500


def test_lag_counts_from_the_commit_at_hand_when_that_is_later() -> None:
    watch = watching((1000, 50.0), (3000, 54.0))
    assert watch.lag_seconds(1500, 53.0) == pytest.approx(1.0, abs=0.5)
    assert watch.lag_seconds(10, 53.0) == pytest.approx(1.0, abs=0.5)


def test_lag_goes_on_from_what_the_session_before_knew() -> None:
    state = DatabaseState(
        source_name="a", target_name="a", bookmark=900, lag_seconds=2.0, source_lsn=1200, source_at=100.0
    )
    watch = watching((90000, 10900.0), before=known_before(state))
    assert watch.lag_seconds(900, None) == pytest.approx(10802.0, abs=0.5)
    assert watch.lag_seconds(1200, None) == pytest.approx(10800.0, abs=0.5)
    assert watch.lag_seconds(1500, 10890.0) == pytest.approx(10.0, abs=0.5)


def test_a_task_that_has_never_synced_knows_nothing_of_before() -> None:
    assert known_before(DatabaseState(source_name="a", target_name="a", bookmark=900)) == []


def test_lag_is_never_negative_when_a_clock_is_set_back() -> None:
    assert watching((1000, 50.0), (3000, 20.0)).lag_seconds(1500, 90.0) == 0.0


@pytest.mark.parametrize(
    ("state", "position", "code"),
    [
        (SAMPLE._replace(exists=False), 900, "SRC-SLOTGONE"),
        (SAMPLE._replace(wal_status="lost"), 900, "SRC-SLOTLOST"),
        (SAMPLE, 499, "SRC-SLOTLOST"),
    ],
)
def test_a_slot_without_our_changes_is_lost(state: SlotState, position: int, code: str) -> None:
    with pytest.raises(SlotLost) as caught:
        require_slot(state, "slot", position)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("why", "setting"),
    [
        ("", "max_slot_wal_keep_size"),
        ("wal_removed", "max_slot_wal_keep_size"),
        ("idle_timeout", "idle_replication_slot_timeout"),
        ("wal_level_insufficient", "wal_level"),
        ("rows_removed", "hot_standby_feedback"),
    ],
)
def test_the_reason_why_a_slot_was_given_up_names_the_setting_to_change(why: str, setting: str) -> None:
    with pytest.raises(SlotLost) as caught:
        require_slot(SAMPLE._replace(wal_status="lost", why_lost=why), "slot", 900)
    assert setting in str(caught.value.hint)


def test_a_slot_that_was_confirmed_less_far_is_right() -> None:
    require_slot(SAMPLE, "slot", 500)


def test_names_are_quoted_in_the_command_that_starts_the_stream() -> None:
    assert start_command("s", "p'\"", 0x16B3748) == (
        "START_REPLICATION SLOT \"s\" LOGICAL 0/16B3748 (proto_version '1', publication_names '\"p''\"\"\"')"
    )
