"""Parts of a giant table that a full copy has finished are kept as long as its snapshot stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.engine import copy_waits, snapshot
from migrations_app.engine.copying import Lane
from migrations_app.engine.errors import ConnectionLost, TargetError
from migrations_app.engine.outcome import Run
from migrations_app.engine.parts import Part
from migrations_app.engine.plan import Side
from migrations_app.engine.ports import Kind, LedgerItem, TableState, TableStatus
from migrations_app.engine.steps import copy
from migrations_app.engine.table_work import Busy, TableWork
from tests.postgres import copy_kit
from tests.postgres.copy_kit import assert_equal, built, execute  # noqa: F401 - a fixture
from tests.postgres.engine_runs import fakes, make_plan, register_tables, running

ROWS = 6000
END = "SELECT pg_terminate_backend(pg_backend_pid())"


@pytest.fixture(params=["", "UNLOGGED"], ids=["logged", "unlogged"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(
    source_cluster: Cluster,
    target_cluster: Cluster,
    source_db: str,
    target_db: str,
    tmp_path: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Run]:
    """A task without sync whose only table is copied in parts."""
    for cluster, database in ((source_cluster, source_db), (target_cluster, target_db)):
        execute(cluster, database, f"CREATE {kind} TABLE giant (id int, note text)")
    execute(source_cluster, source_db, f"INSERT INTO giant SELECT n, md5(n::text) FROM generate_series(1, {ROWS}) n")
    copy_kit.in_parts(monkeypatch)
    monkeypatch.setattr("migrations_app.engine.copy_board.TRIES", 1)
    monkeypatch.setattr(copy_waits, "_LONGEST_PAUSE_SECONDS", 0.0)
    plan = make_plan(source_cluster, target_cluster, [(source_db, target_db)], tmp_path, incremental=False)
    with running(replace(plan, copy_jobs=1), None) as made:
        register_tables(made, source_cluster)
        yield made


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The conditions of the parts whose rows have passed, in order."""
    noted: list[str] = []
    real = Lane._copy

    def copying(lane: Lane, work: TableWork, part: Part, *, freeze: bool) -> int:
        rows = real(lane, work, part, freeze=freeze)
        noted.append(part.where)
        return rows

    monkeypatch.setattr(Lane, "_copy", copying)
    return noted


def failing(monkeypatch: pytest.MonkeyPatch, sent: list[str], fail: Callable[[Lane], None], after: int = 3) -> None:
    """Let `fail` happen once in the midst of a part, when `after` of them have passed."""
    left = Counter(times=1)
    real = Lane._copy_alone

    def breaking(lane: Lane, *arguments: Any) -> None:
        if len(sent) >= after and left["times"]:
            left["times"] -= 1
            fail(lane)
        real(lane, *arguments)

    monkeypatch.setattr(Lane, "_copy_alone", breaking)


def finished_beside(run: Run, source_cluster: Cluster, target_cluster: Cluster) -> None:
    """Add a table that is done, so that something is lost if the run ends."""
    database = run.plan.databases[0]
    for cluster, name in ((source_cluster, database.source_name), (target_cluster, database.target_name)):
        execute(cluster, name, "CREATE TABLE small (id int)")
    state = TableState(database=database.source_name, schema="public", name="small", oid=0, status=TableStatus.DONE)
    run.ports.store.save_tables(state)


def finish(run: Run, source_cluster: Cluster, source_db: str, target_cluster: Cluster, target_db: str) -> list[str]:
    """Copy what is left; returns the codes of what was told."""
    copy.run(run)
    assert_equal(source_cluster, source_db, target_cluster, target_db)
    state = next(one for one in run.ports.store.tables(source_db) if one.name == "giant")
    assert state.rows_done == ROWS
    return [code for _, code, _ in fakes(run.ports)[1].events]


@pytest.mark.parametrize("kind", [""], ids=["logged"], indirect=True)
def test_finished_parts_are_not_sent_again_after_the_target_was_away(
    run: Run,
    source_cluster: Cluster,
    source_db: str,
    target_cluster: Cluster,
    target_db: str,
    sent: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cut(lane: Lane) -> None:
        lane.target.execute(END)

    failing(monkeypatch, sent, cut)
    told = finish(run, source_cluster, source_db, target_cluster, target_db)
    assert "COPY-WAITS" in told
    assert len(sent) == len(set(sent)) >= 5


@pytest.mark.parametrize("kind", [""], ids=["logged"], indirect=True)
@pytest.mark.parametrize("took_place", [True, False], ids=["committed", "lost"])
def test_a_part_whose_commit_was_in_doubt_is_sent_again_only_if_it_did_not_take_place(
    run: Run,
    source_cluster: Cluster,
    source_db: str,
    target_cluster: Cluster,
    target_db: str,
    sent: list[str],
    monkeypatch: pytest.MonkeyPatch,
    took_place: bool,
) -> None:
    real, left = Lane._command, Counter(commits=1)

    def breaking(lane: Lane, text: str, doing: str) -> None:
        if text == "COMMIT" and len(sent) == 3 and left["commits"]:
            left["commits"] -= 1
            if took_place:
                real(lane, text, doing)
            raise TargetError("away at the commit", retryable=True)
        real(lane, text, doing)

    monkeypatch.setattr(Lane, "_command", breaking)
    told = finish(run, source_cluster, source_db, target_cluster, target_db)
    assert "COPY-WAITS" in told
    assert len(sent) - len(set(sent)) == (0 if took_place else 1)


def test_parts_that_are_gone_on_the_target_are_sent_again(
    run: Run,
    source_cluster: Cluster,
    source_db: str,
    target_cluster: Cluster,
    target_db: str,
    sent: list[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    def emptied(lane: Lane) -> None:
        lane.target.execute("COMMIT")
        if kind:  # what a crash does to an unlogged table leaves its file's name as it is
            finished_beside(run, source_cluster, target_cluster)
        else:
            execute(target_cluster, target_db, "TRUNCATE giant")
        lane.target.execute(END)

    failing(monkeypatch, sent, emptied)
    copy.run(run)
    assert_equal(source_cluster, source_db, target_cluster, target_db)
    assert sorted(Counter(where for where in sent if where).values())[-1] == 2


@pytest.mark.parametrize("kind", [""], ids=["logged"], indirect=True)
def test_a_worker_that_died_leaves_nothing_because_its_snapshot_is_gone(
    run: Run,
    source_cluster: Cluster,
    source_db: str,
    target_cluster: Cluster,
    target_db: str,
    sent: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def died(lane: Lane) -> None:
        raise RuntimeError("the worker died")

    with monkeypatch.context() as patched:
        failing(patched, sent, died)
        with pytest.raises(RuntimeError):
            copy.run(run)
    first = len(sent)
    assert first >= 3
    run.sessions.close()
    execute(source_cluster, source_db, "UPDATE giant SET note = 'newer' WHERE id < 100")
    with running(replace(run.plan, epoch=2), run.ports) as second:
        told = finish(second, source_cluster, source_db, target_cluster, target_db)
    assert len(set(sent[first:])) == len(sent) - first >= 5
    assert "COPY-WAITS" not in told


@pytest.mark.parametrize("kind", [""], ids=["logged"], indirect=True)
@pytest.mark.parametrize("by_row", [False, True], ids=["truncated", "emptied by row"])
def test_a_table_that_is_left_for_another_snapshot_is_copied_whole_whatever_fails_next(
    run: Run,
    source_cluster: Cluster,
    source_db: str,
    target_cluster: Cluster,
    target_db: str,
    sent: list[str],
    monkeypatch: pytest.MonkeyPatch,
    by_row: bool,
) -> None:
    """Its finished parts would be counted though the next pass has emptied the table."""
    monkeypatch.setattr("migrations_app.engine.copy_board._WAIT_SECONDS", ())
    if by_row:
        known = LedgerItem(side=Side.TARGET, database=target_db, kind=Kind.ADOPTED, schema="public", name="giant")
        run.ports.ledger.intend(known)
    real = Lane._copy_part
    first = run.snapshots[source_db] = snapshot.open_now(run, run.plan.databases[0])
    begun: Counter[bool] = Counter()

    def breaking(lane: Lane, work: TableWork, part: Part) -> None:
        again = lane.snapshot is not first
        begun[again] += 1
        if begun[again] == 4 and not again:
            raise Busy
        if begun[again] == 4:
            finished_beside(run, source_cluster, target_cluster)
            raise ConnectionLost("away")
        real(lane, work, part)

    monkeypatch.setattr(Lane, "_copy_part", breaking)
    told = finish(run, source_cluster, source_db, target_cluster, target_db)
    assert "COPY-MOVED" in told
    assert "COPY-WAITS" in told
