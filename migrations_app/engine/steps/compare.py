"""The comparison as a step of its own: before Complete in a full-only task, or on request while the sync goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from ..compare import compare_database, raise_if_different, record
from ..comparing.follower import Follower, following
from ..comparing.moment import Moment, TableName, standing, while_syncing
from ..copy_plan import copy_again
from ..draining import drain, stop_if_wanted
from ..foreign_keys import validate_pending
from ..outcome import DONE, Outcome, Run
from ..plan import DatabasePlan
from ..ports import Comparison
from ..snapshot import Snapshot
from ..structure import look_at_structure
from ..target_history import settle
from ..wording import say

_SYNC_GOES_ON = say(
    "The sync goes on and nothing was changed for good. Copy the tables that differ once more (on the command line: "
    "task recopy), or repair their rows on the target; then press Complete again."
)
_LATER_WRITES = say(
    "The source was read after the copy had ended, so rows that were written on it in "
    "between show as differences; compare again while nobody writes, or migrate with "
    "incremental sync."
)


def run(run: Run) -> Outcome:
    """Compare every database, its rows and its structure, and store the results. Changes nothing on either server.

    Incremental: compares while the sync goes on. On request, what is found does not stop anything; on the way to
    Complete the source is drained first, and CompareDiffers is raised when anything differs or could not be compared.
    Full-only: raises CompareDiffers too, and compares the structure only then: else Complete follows at once, fills
    what is left, and does that at its end. With `plan.compare` off nothing is compared, and an event says so.
    """
    if run.plan.incremental:
        with following(run) as followers:
            if run.ports.control.complete_requested():
                run.proof = prove_equal(run, followers)
            else:
                compare_all_while_syncing(run, followers)
        return DONE
    for database in run.databases():
        _copy_again(run, database)  # first: this is what helps where a standby that took over lacks rows
        settle(run, database, copying=False)
    if not run.plan.compare:
        _leave_out(run)
        return DONE
    comparisons = [_compare_standing(run, database) for database in run.databases()]
    if not all(comparison.equal for comparison in comparisons):
        for database in run.databases():
            look_at_structure(run, database)
    raise_if_different(
        comparisons, say("Repair the target, or cancel and start again with a new copy. Details are in the comparison.")
    )
    return DONE


def _leave_out(run: Run) -> None:
    """Say that nothing was compared: whoever left it out must never read "equal"."""
    run.ports.store.step_progress(0, 0, say("not compared"))
    run.ports.store.event(
        "warning",
        "CMP-SKIPPED",
        say(
            "Not compared: the comparison was left out when the task was made. Nothing proves that the target equals"
            " the source."
        ),
    )
    while run.snapshots:
        run.snapshots.popitem()[1].close()


def _copy_again(run: Run, database: DatabasePlan) -> None:
    """Copy the tables that somebody asked for once more, as the source has them now: a full copy follows no changes."""
    wanted = run.ports.store.recopies(database.source_name)
    if wanted:
        copy_again(run, database, lambda state: (state.schema, state.name) in wanted)
        for schema, name in wanted:
            run.ports.store.recopied(database.source_name, schema, name)
            label = f"{schema}.{name}"
            run.ports.store.event("info", "RECOPY-DONE", say("{label} has been copied once more.", label=label))


def prove_equal(run: Run, followers: dict[str, Follower]) -> list[Comparison]:
    """Drain the source to a marker, then compare. Raises CompareDiffers; everything is in place for the sync then."""
    drain(run, followers, say("waiting for the last changes"))
    comparisons = compare_all_while_syncing(run, followers)
    raise_if_different(comparisons, _SYNC_GOES_ON)
    return comparisons


def compare_all_while_syncing(run: Run, followers: dict[str, Follower]) -> list[Comparison]:
    """Compare each database at a consistent point of its own while all of them keep syncing. Leaves them paused."""

    def check() -> None:
        run.ports.control.check()
        stop_if_wanted(run)
        for follower in followers.values():
            follower.check()

    for follower in followers.values():
        follower.resume()
    comparisons = []
    for database in run.databases():
        validate_pending(run, database)  # those that had to wait until the sync had passed every watermark
        comparison = _compare_syncing(run, database, followers[database.source_name], check)
        record(run, comparison, later=sorted(_unlogged(run, database)))
        comparisons.append(comparison)
        look_at_structure(run, database)
    for follower in followers.values():
        follower.pause(check)
    return comparisons


def _compare_syncing(run: Run, database: DatabasePlan, follower: Follower, check: Callable[[], None]) -> Comparison:
    def point(lock: Sequence[TableName]) -> contextlib.AbstractContextManager[Moment]:
        return while_syncing(run, database, follower, check, lock)

    return compare_database(run, database, point, check=check, without=_unlogged(run, database))


def _unlogged(run: Run, database: DatabasePlan) -> frozenset[TableName]:
    """Return the tables that are not in the stream: Complete copies them again, and compares them then."""
    tables = run.ports.store.tables(database.source_name)
    return frozenset((t.schema, t.name) for t in tables if t.unlogged and not t.set_aside)


def _compare_standing(run: Run, database: DatabasePlan) -> Comparison:
    """Compare under the snapshot that the rows were copied under while it is held, else under a new one."""
    held: Snapshot | None = run.snapshots.get(database.source_name)
    snapshot = held if held is not None and held.alive() else None

    def point(lock: Sequence[TableName]) -> contextlib.AbstractContextManager[Moment]:
        nonlocal snapshot
        if lock and held is not None:
            # Somebody's TRUNCATE waits for the holder's locks, and our reading waits behind it.
            held.close()
            snapshot = None
        return standing(run, database, snapshot, lock)

    comparison = compare_database(run, database, point, check=run.ports.control.check)
    record(run, comparison, "" if snapshot else _LATER_WRITES)
    if held is not None:
        held.close()
        del run.snapshots[database.source_name]
    return comparison
