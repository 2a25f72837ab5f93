"""The source's own reader of its log fails with an internal error: that is tried again, and nothing is passed by."""

from __future__ import annotations

import pytest

from migrations_app.engine.errors import EngineError, SourceStumbled
from migrations_app.engine.replication.stream import stream_error
from tests.postgres import drift_kit
from tests.postgres.drift_kit import TABLE
from tests.postgres.sync_kit import Pair
from tests.postgres.undecodable import refuses_its_log, spoil_the_log

pair = drift_kit.pair

# A state function of an aggregate, given something else than its state, fails with an internal error (XX000).
STUMBLES = 'ALTER PUBLICATION "{}" SET TABLE t WHERE (id < 100 OR int8_avg(ARRAY[id::int8]) > 0)'


def test_an_internal_error_of_the_source_ends_the_session_for_another_try_and_passes_nothing_by(pair: Pair) -> None:
    pair.build(TABLE)
    with pair.syncing() as session:
        pair.at_source(
            STUMBLES.format(pair.state.publication), "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (100)"
        )
        pair.at_source("INSERT INTO t VALUES (2)")
        with pytest.raises(SourceStumbled, match="expected 2-element int8 array") as caught:
            session.advance(until=pair.insert_lsn())
        reached = session.position
    assert (caught.value.retryable, caught.value.code, caught.value.sqlstate) == (True, "SRC-DECODING", "XX000")
    assert "press Restart with new copy" in caught.value.hint
    assert pair.value("SELECT array_agg(id) FROM t", "target") in (None, [1])
    assert reached < pair.insert_lsn()


def test_a_transaction_that_the_source_can_never_read_stops_each_session_and_is_not_passed_by(pair: Pair) -> None:
    pair.build(TABLE)
    assert not refuses_its_log(pair)
    spoil_the_log(pair)
    pair.at_source("INSERT INTO t VALUES (1)")
    for _ in range(3):
        with pair.syncing() as session, pytest.raises(SourceStumbled, match="unexpected duplicate") as caught:
            session.advance(until=pair.insert_lsn())
        assert "took that back to a savepoint" in caught.value.hint
    assert pair.value("SELECT count(*) FROM t", "target") == 0


@pytest.mark.parametrize(
    ("state", "words"),
    [("XX000", "invalid memory alloc request size 1200000003"), ("XX001", "invalid page in block 7")],
)
def test_what_no_new_session_gets_past_is_not_tried_again(state: str, words: str) -> None:
    error = stream_error(state, words, "slot")
    assert isinstance(error, EngineError)
    assert not error.retryable


def test_what_the_source_cannot_do_for_another_reason_says_so_as_before() -> None:
    error = stream_error("53100", "could not write to file: No space left on device", "slot")
    assert (error.code, error.retryable) == ("SRC-FULL", False)
