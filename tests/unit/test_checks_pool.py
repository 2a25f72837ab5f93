"""How the sessions of a check are lent, without any server."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from psycopg import pq

from migrations_app.engine.checks import pool as pools
from migrations_app.engine.checks.pool import Loan, Pool, Unavailable
from migrations_app.engine.errors import CancelRequested, ConnectFailed
from migrations_app.engine.plan import Side
from tests.fakes import FakeControl

SHOP = (Side.SOURCE, "shop")


class Session:
    """Looks like an idle session."""

    def __init__(self) -> None:
        self.closed = False
        self.info = SimpleNamespace(transaction_status=pq.TransactionStatus.IDLE)
        self._ours, self._servers = socket.socketpair()

    def fileno(self) -> int:
        return self._ours.fileno()

    def close(self) -> None:
        self.closed = True

    def __del__(self) -> None:
        self._ours.close()
        self._servers.close()


class Server:
    """Opens sessions until its answers are used up; an answer that is an error is raised."""

    def __init__(self, *answers: Exception) -> None:
        self.answers = list(answers)
        self.opened: list[Any] = []

    def __call__(self, side: Side, database: str) -> Any:
        self.opened.append(Session())
        if self.answers and (answer := self.answers.pop(0)) is not None:
            raise answer
        return self.opened[-1]


def full() -> ConnectFailed:
    return ConnectFailed("full", code="CONNECT-FULL")


def test_a_session_is_lent_to_one_at_a_time_and_used_again() -> None:
    server = Server()
    pool, first, second = Pool(FakeControl(), server), Loan(), Loan()
    one = pool.take(SHOP, first)
    assert pool.take(SHOP, first) is one
    assert pool.take(SHOP, second) is not one
    pool.give_back(first)
    assert pool.take(SHOP, Loan()) is one


def test_where_connections_are_scarce_a_session_is_shared_and_stays_until_the_last_gives_it_back() -> None:
    server = Server()
    pool, first, second = Pool(FakeControl(), server), Loan(), Loan()
    pool.spare(Side.SOURCE)
    one = pool.take(SHOP, first)
    assert pool.take(SHOP, second) is one
    pool.give_back(first)
    assert pool.busy() == [one]
    pool.give_back(second)
    assert pool.busy() == []
    assert len(server.opened) == 1


def test_where_connections_are_scarce_one_that_was_disturbed_shares_its_session_with_nobody() -> None:
    server = Server()
    pool, first, alone = Pool(FakeControl(), server), Loan(), Loan(alone=True)
    pool.spare(Side.SOURCE)
    shared = pool.take(SHOP, first)
    own = pool.take(SHOP, alone)
    assert own is not shared
    assert pool.take(SHOP, Loan()) is shared
    pool.give_back(first)
    assert (first.shared, alone.shared) == (True, False)


def test_a_full_server_lends_what_is_open_even_to_one_that_was_disturbed() -> None:
    server = Server(None, full())  # type: ignore[arg-type]
    pool, first, alone = Pool(FakeControl(), server), Loan(), Loan(alone=True)
    assert pool.take(SHOP, first) is pool.take(SHOP, alone)
    assert alone.shared


def test_a_session_that_is_about_to_be_ended_is_lent_to_nobody_and_ended_once() -> None:
    server = Server()
    pool, late = Pool(FakeControl(), server), Loan()
    pool.spare(Side.SOURCE)
    ended = pool.take(SHOP, late)
    assert pool.retire([ended]) == {ended}
    assert pool.retire([ended]) == set()
    assert pool.take(SHOP, Loan()) is not ended
    pool.give_back(late)
    assert ended.closed


def test_a_full_server_lends_what_is_open_to_several() -> None:
    server = Server(None, full())  # type: ignore[arg-type]
    pool, first, second = Pool(FakeControl(), server), Loan(), Loan()
    assert pool.take(SHOP, first) is pool.take(SHOP, second)


def test_a_full_server_without_any_session_is_a_failure_that_is_remembered() -> None:
    server = Server(full())
    pool = Pool(FakeControl(), server)
    for _ in range(2):
        with pytest.raises(Unavailable, match="full"):
            pool.take(SHOP, Loan())
    assert len(server.opened) == 1
    assert pool.take((Side.SOURCE, "other"), Loan())


def test_an_unreachable_server_is_tried_once_for_all_its_databases() -> None:
    server = Server(ConnectFailed("gone", code="CONNECT-TIMEOUT"))
    pool = Pool(FakeControl(), server)
    for name in ("shop", "other"):
        with pytest.raises(Unavailable, match="gone"):
            pool.take((Side.SOURCE, name), Loan())
    assert pool.take((Side.TARGET, "shop"), Loan())


def test_one_who_goes_through_many_databases_gives_the_first_sessions_back_and_they_are_closed() -> None:
    server = Server()
    pool, loan = Pool(FakeControl(), server), Loan()
    for number in range(30):
        pool.take((Side.SOURCE, f"db{number}"), loan)
    assert len(loan.held) == pools.MOST_HELD
    assert sum(not session.closed for session in server.opened) <= pools.MOST_SESSIONS


def test_a_session_that_was_lost_is_replaced_and_one_in_a_transaction_is_not_used_again() -> None:
    server = Server()
    pool, loan = Pool(FakeControl(), server), Loan()
    lost: Any = pool.take(SHOP, loan)
    lost.close()
    again: Any = pool.take(SHOP, loan)
    assert again is not lost
    again.info.transaction_status = pq.TransactionStatus.INTRANS
    pool.give_back(loan)
    assert again.closed
    assert pool.take(SHOP, loan) is not again


def test_after_the_end_nothing_is_lent_and_everything_is_closed() -> None:
    server = Server()
    pool = Pool(FakeControl(), server)
    pool.take(SHOP, Loan())
    pool.close()
    with pytest.raises(Unavailable, match="over"):
        pool.take((Side.SOURCE, "other"), Loan())
    assert all(session.closed for session in server.opened)


def test_nobody_waits_for_a_session_once_the_check_must_stop() -> None:
    control = FakeControl()
    control.cancel()
    with pytest.raises(CancelRequested):
        Pool(control, Server()).take(SHOP, Loan())
