"""The comparison as a step of its own: before Complete in a full-only task, or on request while the sync goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from ..compare import compare_database, raise_if_different, record
from ..comparing.follower import Follower, following
from ..comparing.moment import Moment, TableName, standing, while_syncing
from ..outcome import DONE, Outcome, Run
from ..plan import DatabasePlan
from ..ports import Comparison

_LATER_WRITES = (
    "The source was read after the copy had ended, so rows that were written on it in between show as differences;"
    " compare again while nobody writes, or migrate with incremental sync."
)


def run(run: Run) -> Outcome:
    """Compare every database and store the results. Changes nothing on either server.

    Incremental: compares when it was asked for and the sync goes on meanwhile; what is found does not stop anything.
    On the way to Complete nothing is done here, since Complete compares after it has drained the source. Full-only:
    raises CompareDiffers when anything differs or could not be compared.
    """
    if run.plan.incremental:
        if not run.ports.control.complete_requested():
            with following(run) as followers:
                compare_all_while_syncing(run, followers)
        return DONE
    comparisons = [_compare_standing(run, database) for database in run.databases()]
    raise_if_different(
        comparisons, "Repair the target, or cancel and start again with a new copy. Details are in the comparison."
    )
    return DONE


def compare_all_while_syncing(run: Run, followers: dict[str, Follower]) -> list[Comparison]:
    """Compare each database at a consistent point of its own while all of them keep syncing. Leaves them paused."""

    def check() -> None:
        run.ports.control.check()
        for follower in followers.values():
            follower.check()

    for follower in followers.values():
        follower.resume()
    comparisons = []
    for database in run.databases():
        comparison = _compare_syncing(run, database, followers[database.source_name], check)
        record(run, comparison)
        comparisons.append(comparison)
    for follower in followers.values():
        follower.pause()
    return comparisons


def _compare_syncing(run: Run, database: DatabasePlan, follower: Follower, check: Callable[[], None]) -> Comparison:
    def point(lock: Sequence[TableName]) -> contextlib.AbstractContextManager[Moment]:
        return while_syncing(run, database, follower, lock)

    # Unlogged tables are not in the stream: Complete copies them again, and compares them then.
    without = frozenset((t.schema, t.name) for t in run.ports.store.tables(database.source_name) if t.unlogged)
    return compare_database(run, database, point, check=check, without=without)


def _compare_standing(run: Run, database: DatabasePlan) -> Comparison:
    """Compare under the snapshot that the rows were copied under while it is held, else under a new one."""
    held = run.snapshots.get(database.source_name)
    snapshot = held.export_id if held is not None and held.alive() else ""

    def point(lock: Sequence[TableName]) -> contextlib.AbstractContextManager[Moment]:
        nonlocal snapshot
        if lock and held is not None:
            # Somebody's TRUNCATE waits for the holder's locks, and our reading waits behind it.
            held.close()
            snapshot = ""
        return standing(run, database, snapshot, lock)

    comparison = compare_database(run, database, point, check=run.ports.control.check)
    record(run, comparison, "" if snapshot else _LATER_WRITES)
    if held is not None:
        held.close()
        del run.snapshots[database.source_name]
    return comparison
