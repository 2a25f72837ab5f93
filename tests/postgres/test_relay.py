"""The relay between real servers: rows, errors on either side, cancel, dead peers, and libpq's own TLS path."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine.connect import Sessions
from migrations_app.engine.errors import CancelRequested, ConnectionLost, SourceError, TargetError
from migrations_app.engine.onlooker import Onlooker
from migrations_app.engine.patience import at_work
from migrations_app.engine.plan import Side
from migrations_app.engine.relay import Copied, Relay, Stream
from migrations_app.engine.wire import Patience
from tests.fakes import FakeControl, wait_until
from tests.postgres.engine_runs import make_plan
from tests.unit.test_relay import READY, error

Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture
def pair(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str
) -> Iterator[tuple[Connection, Connection]]:
    with closing(source_cluster.connect(source_db)) as source, closing(target_cluster.connect(target_db)) as target:
        source.execute("SET client_min_messages = error")
        target.execute("CREATE TABLE t (id bigint, note text)")
        yield source, target


@pytest.fixture(params=[True, False], ids=["raw", "joined"])
def raw(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def copy(
    pair: tuple[Connection, Connection],
    raw: bool,
    text: str,
    check: Callable[[], None] = lambda: None,
    options: str = "FORMAT binary",
    moved: list[int] | None = None,
    patience: Patience | None = None,
) -> Copied:
    with Relay(*pair, patience or Patience(check), (moved if moved is not None else []).append) as relay:
        relay.raw = raw
        return relay.copy(f"COPY ({text}) TO STDOUT ({options})", f"COPY t FROM STDIN ({options})", "copying t")


def rows(connection: Connection) -> object:
    return connection.execute("SELECT count(*), sum(id), max(length(note)) FROM t").fetchone()


@pytest.mark.parametrize("options", ["FORMAT binary", "ENCODING 'UTF8'"])
def test_all_rows_arrive_and_are_counted(pair: tuple[Connection, Connection], raw: bool, options: str) -> None:
    moved: list[int] = []
    text = "SELECT n::bigint, repeat('x', (n % 700)::int) FROM generate_series(1, 20000) n"
    copied = copy(pair, raw, text, options=options, moved=moved)
    assert copied.rows == 20000
    assert copied.bytes == sum(moved) > 5_000_000
    assert [str(value) for value in rows(pair[1])] == ["20000", "200010000", "699"]  # type: ignore[attr-defined]


def test_both_sessions_serve_on_after_a_copy(pair: tuple[Connection, Connection], raw: bool) -> None:
    for _ in range(3):
        assert copy(pair, raw, "SELECT 1::bigint, 'x'").rows == 1
    assert pair[0].execute("SELECT 1").fetchone() == (1,)
    assert rows(pair[1])[0] == 3  # type: ignore[index]


def test_no_rows_is_no_error(pair: tuple[Connection, Connection], raw: bool) -> None:
    assert copy(pair, raw, "SELECT 1::bigint, 'x' WHERE false").rows == 0


def test_a_huge_row_passes(pair: tuple[Connection, Connection], raw: bool) -> None:
    assert copy(pair, raw, "SELECT 1::bigint, repeat('x', 50000000)").rows == 1
    assert rows(pair[1])[2] == 50_000_000  # type: ignore[index]


def test_a_row_that_looks_like_an_error_and_then_silence_is_a_row(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server sends 8192 bytes at once: the row ends with them, and the next but one takes its time."""
    asked: list[bool | None] = []
    at_work = Onlooker.at_work
    monkeypatch.setattr(Onlooker, "at_work", lambda self: [asked.append(at_work(self)), asked[-1]][1])
    hostile = error() + READY
    parts = [
        f"SELECT repeat('x', {8141 - len(hostile)})::bytea",
        f"SELECT '\\x{hostile.hex()}'::bytea",
        "SELECT 'pushes'::bytea",
        "SELECT 'late'::bytea FROM pg_sleep(1)",
    ]
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)
    with Sessions(plan, FakeControl()) as sessions:
        both = sessions.open(Side.SOURCE, source_db), sessions.open(Side.TARGET, target_db)
        both[1].execute("CREATE TABLE public.t (v bytea)")
        text = f"COPY ({' UNION ALL '.join(parts)}) TO STDOUT (FORMAT binary)"
        with Relay(*both, Patience(lambda: None), lambda size: None) as relay:
            assert relay.copy(text, "COPY public.t FROM STDIN (FORMAT binary)", "copying t").rows == 4
        assert both[1].execute("SELECT count(*) FROM public.t WHERE v = %s", (hostile,)).fetchone() == (1,)
    assert asked == [True]


def test_a_servers_word_on_a_session_says_whether_it_works(
    source_cluster: Cluster, target_cluster: Cluster, source_db: str, target_db: str, tmp_path: Path
) -> None:
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path)
    with Sessions(plan, FakeControl()) as sessions:
        watched = sessions.open(Side.SOURCE, source_db)
        assert at_work(watched) is False
        watched.pgconn.send_query(b"SELECT pg_sleep(60)")
        wait_until(lambda: at_work(watched), what="a statement that runs")
        watched.cancel()
        wait_until(lambda: at_work(watched) is False, what="the end of the statement")
        lost = sessions.open(Side.TARGET, target_db)
        with target_cluster.connect() as other:
            other.execute("SELECT pg_terminate_backend(%s, 10000)", (lost.info.backend_pid,))
            assert at_work(lost) is False
            other.execute(f'ALTER DATABASE "{target_db}" ALLOW_CONNECTIONS false')
            assert at_work(lost) is None
            other.execute(f'ALTER DATABASE "{target_db}" ALLOW_CONNECTIONS true')


@pytest.mark.parametrize("count", [10, 300_000])
def test_a_source_error_in_mid_stream_is_the_sources(
    pair: tuple[Connection, Connection], raw: bool, count: int
) -> None:
    text = f"SELECT 1 / ({count} - n)::bigint, repeat('y', 50) FROM generate_series(1, {count}) n"
    with pytest.raises(SourceError, match="22012"):
        copy(pair, raw, text)
    pair[1].close()


def test_a_source_error_before_the_first_row_is_the_sources(pair: tuple[Connection, Connection], raw: bool) -> None:
    with pytest.raises(SourceError, match="42P01"):
        copy(pair, raw, "SELECT * FROM nothing_here")


def test_a_target_error_in_mid_stream_is_noticed_at_once(pair: tuple[Connection, Connection], raw: bool) -> None:
    pair[1].execute("ALTER TABLE t ADD CHECK (id < 1000)")
    moved: list[int] = []
    with pytest.raises(TargetError, match="23514"):
        copy(pair, raw, "SELECT generate_series(1, 2000000000)::bigint, repeat('z', 200)", moved=moved)
    assert sum(moved) < 100_000_000


def test_a_target_error_before_the_first_row_is_the_targets(pair: tuple[Connection, Connection], raw: bool) -> None:
    pair[1].execute("DROP TABLE t")
    with pytest.raises(TargetError, match="42P01"):
        copy(pair, raw, "SELECT 1::bigint, 'x'")
    assert pair[0].execute("SELECT 1").fetchone() == (1,)


def test_rows_that_the_target_drops_are_noticed(pair: tuple[Connection, Connection], raw: bool) -> None:
    pair[1].execute(
        "CREATE FUNCTION drop_some() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF new.id % 2 = 0 THEN RETURN NULL; END IF; RETURN new; END';"
        "CREATE TRIGGER drops BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION drop_some()"
    )
    with pytest.raises(TargetError, match="kept 5"):
        copy(pair, raw, "SELECT n::bigint, 'x' FROM generate_series(1, 10) n")


@pytest.mark.parametrize("victim", [0, 1], ids=["source", "target"])
def test_a_terminated_session_is_retryable(
    pair: tuple[Connection, Connection],
    raw: bool,
    victim: int,
    source_cluster: Cluster,
    target_cluster: Cluster,
) -> None:
    moved: list[int] = []
    pid = pair[victim].info.backend_pid

    def kill() -> None:
        wait_until(lambda: moved, what="the first bytes")
        with (source_cluster, target_cluster)[victim].connect() as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(ConnectionLost):
        copy(pair, raw, "SELECT generate_series(1, 2000000000)::bigint, repeat('z', 500)", moved=moved)
    thread.join()


def test_a_cancelled_run_stops_within_a_second(pair: tuple[Connection, Connection], raw: bool) -> None:
    control = FakeControl()
    moved: list[int] = []

    def cancel() -> None:
        wait_until(lambda: moved, what="the first bytes")
        control.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    text = "SELECT generate_series(1, 2000000000)::bigint, repeat('z', 500)"
    with pytest.raises(CancelRequested):
        copy(pair, raw, text, check=control.check, moved=moved)
    thread.join()
    for one in pair:
        one.close()


def test_a_notice_inside_the_stream_does_not_reach_the_target(pair: tuple[Connection, Connection], raw: bool) -> None:
    pair[0].execute(
        "CREATE FUNCTION chatty(n bigint) RETURNS bigint LANGUAGE plpgsql AS"
        " 'BEGIN RAISE NOTICE $$hello %$$, n; RETURN n; END'"
    )
    assert copy(pair, raw, "SELECT chatty(n), 'x' FROM generate_series(1, 500) n").rows == 500


@pytest.mark.parametrize("victim", [0, 1], ids=["source", "target"])
def test_a_frozen_backend_is_given_up(pair: tuple[Connection, Connection], raw: bool, victim: int) -> None:
    moved: list[int] = []
    pid = pair[victim].info.backend_pid

    def freeze() -> None:
        wait_until(lambda: moved, what="the first bytes")
        os.kill(pid, signal.SIGSTOP)

    thread = threading.Thread(target=freeze)
    thread.start()
    text = "SELECT generate_series(1, 2000000000)::bigint, repeat('z', 500)"
    try:
        with pytest.raises(ConnectionLost, match="No data"):
            copy(pair, raw, text, moved=moved, patience=Patience(lambda: None, lambda: "ClientWrite", seconds=1.5))
    finally:
        thread.join()
        os.kill(pid, signal.SIGCONT)
        for one in pair:
            one.close()


def _streams(*texts: str) -> list[Stream]:
    return [
        Stream(f"COPY ({text}) TO STDOUT (FORMAT binary)", "COPY t FROM STDIN (FORMAT binary)", f"copying number {at}")
        for at, text in enumerate(texts)
    ]


def _numbers(first: int, count: int) -> str:
    return f"SELECT n::bigint, 'n'::text FROM generate_series({first}, {first + count - 1}) n"


def test_several_small_copies_share_their_waits(pair: tuple[Connection, Connection]) -> None:
    begun: list[int] = []
    with Relay(*pair, Patience(lambda: None), lambda size: None) as relay:
        texts = [_numbers(0, 100), _numbers(100, 0), _numbers(200, 5000), _numbers(9000, 1)]
        copied = relay.copy_many(_streams(*texts), begun.append)
        again = relay.copy_many(_streams(_numbers(10_000, 7)), begun.append)
    assert [one.rows for one in (*copied, *again)] == [100, 0, 5000, 1, 7]
    assert begun == [0, 1, 2, 3, 0]
    assert rows(pair[1]) == (5108, sum([*range(100), *range(200, 5200), 9000, *range(10_000, 10_007)]), 1)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_failing_one_of_several_copies_is_named(pair: tuple[Connection, Connection], at: int) -> None:
    good = [_numbers(1, 10)] * 3
    bad = [*good[:at], "SELECT (1 / (n - 3000))::bigint, 'n'::text FROM generate_series(1, 5000) n", *good[at + 1 :]]
    with (
        Relay(*pair, Patience(lambda: None), lambda size: None) as relay,
        pytest.raises(SourceError, match=f"copying number {at}: division by zero"),
    ):
        relay.copy_many(_streams(*bad), lambda number: None)


def test_a_refusing_target_is_named_among_several_copies(pair: tuple[Connection, Connection]) -> None:
    pair[1].execute("ALTER TABLE t ADD CHECK (id <> 7)")
    with (
        Relay(*pair, Patience(lambda: None), lambda size: None) as relay,
        pytest.raises(TargetError, match=r"copying number 1: .*check constraint"),
    ):
        relay.copy_many(_streams(_numbers(100, 10), _numbers(1, 10), _numbers(200, 10)), lambda number: None)
