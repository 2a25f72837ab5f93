"""Complete: the target gets the last change, is proven equal to the source, and becomes an ordinary database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from ..compare import raise_if_different, record
from ..comparing.follower import following
from ..connect import end_older_sessions
from ..connection_limit import limit_connections
from ..draining import drain
from ..finishing import Finisher
from ..late_writes import tell_late_writes
from ..opening import note_opening, note_stage, opening_began, stages_over
from ..outcome import DONE, Outcome, Run
from ..plan import Side
from ..ports import Comparison
from ..row_security import release_binding
from ..structure import look_at_structure
from ..unstreamed import tell_unstreamed
from ..wording import say
from .compare import prove_equal

_STILL_WRITTEN = say(
    "Stop whatever still writes on the source: these are not in the stream of changes. What is missing on the target, "
    "such as a sequence that is new on the source, has to be made there by hand. Then press Complete again."
)
_MISSING = say(
    "What is missing on the target, such as a sequence that is new on the source, has to be made there by hand. Then "
    "press Retry."
)
_TOLD = "told"


def run(run: Run) -> Outcome:
    """Complete every database of the task. Repeatable after a kill at any moment.

    Once a target was opened, the application may write there: from then on no row is written, compared or found
    missing any more, also when this is repeated. Only the rest of the opening is done, and nothing leads back.
    Incremental: drains what was written during the comparison, and carries over what is not in the stream. Raises
    CompareDiffers, with everything still in place for the sync, when that differs or could not be compared.
    Full-only: sets sequences and fills views; the rows were compared before. At the end the structures are compared,
    of a full-only task also when it ends with CompareDiffers: what did not arrive is noted, and stops nothing. Nor does
    what was written on the source meanwhile, which is told: it came too late.
    """
    finishers = [Finisher(run, database) for database in run.databases()]
    if opening_began(run):
        _go_on(run)
    else:
        _bring_up(run, finishers)
        note_opening(run)
        _tell_opening(run)
    for finisher in finishers:
        finisher.open_target()
    for database in run.databases():
        limit_connections(run, database)
    for database in run.databases():
        look_at_structure(run, database, final=True)
    if run.plan.incremental:
        tell_late_writes(run, _positions(run))
        for finisher, database in zip(finishers, run.databases(), strict=True):
            tell_unstreamed(run, database, finisher.seen)
    return DONE


def _tell_opening(run: Run) -> None:
    text = say("The target is opened to the application from here on.")
    if run.plan.incremental:  # without a sync nothing has arrived since the copy
        text = say(
            "The target is opened to the application from here on: nothing leads back, and what is written on the"
            " source now does not arrive any more."
        )
    run.ports.store.event("info", "COMPLETE-OPENING", text)


def _go_on(run: Run) -> None:
    """Take up the opening of targets where it ended, as the only one who does. Told once, however often it is tried."""
    first = run.databases()[0]
    with run.sessions.session(Side.TARGET, first.target_name) as connection:
        end_older_sessions(connection, run.plan.key, run.plan.epoch)
    if _TOLD in stages_over(run, first):
        return
    text = say(
        "Complete goes on where it stopped. It had opened the target before, and the application may have written"
        " to it since: no row is copied or compared there any more, and the comparison from before the opening"
        " counts. Of the structure, what the application has changed since is told as a difference too."
    )
    if not (run.plan.incremental or run.plan.compare):
        text = say(
            "Complete goes on where it stopped. It had opened the target before, and the application may have written"
            " to it since: no row is copied there any more. Of the structure, what the application has changed since"
            " is told as a difference too."
        )
    run.ports.store.event("warning", "COMPLETE-RESUMED", text)
    note_stage(run, first, _TOLD)  # last: a death in between tells it twice, not never


def _bring_up(run: Run, finishers: list[Finisher]) -> None:
    """Bring the targets to where the source is, and prove it. Raises CompareDiffers."""
    comparisons: list[Comparison] = []
    for database in run.databases():
        release_binding(run, database)
    if run.plan.incremental:
        with following(run) as followers:
            # A run that was killed after its comparison proves the equality again: nothing else vouches for it.
            comparisons = run.proof or prove_equal(run, followers)
            drain(run, followers, say("applying the changes that were made during the comparison"))
    _carry_rest(run, finishers, comparisons)


def _positions(run: Run) -> dict[str, int]:
    """Return, by source database, up to where the target has what was written on the source: stored by the drain."""
    names = [database.source_name for database in run.databases()]
    return {name: run.ports.store.database(name).bookmark or 0 for name in names}


def _carry_rest(run: Run, finishers: list[Finisher], comparisons: list[Comparison]) -> None:
    """Carry over the rest of each database, and add the verdicts to its stored comparison."""
    final = []
    known = {comparison.database: comparison for comparison in comparisons}
    for finisher, database in zip(finishers, run.databases(), strict=True):
        tables, other = finisher.carry_rest()
        before = known.get(database.source_name) or _empty(database.source_name)
        whole = replace(before, tables=(*before.tables, *tables), other=(*before.other, *other))
        final.append(whole)
        if comparisons or not whole.equal:
            record(run, whole, final=True)
    if not (run.plan.incremental or all(one.equal for one in final)):
        for database in run.databases():  # with sync the comparison that went before has told it
            look_at_structure(run, database)
    raise_if_different(final, _STILL_WRITTEN if run.plan.incremental else _MISSING)


def _empty(database: str) -> Comparison:
    now = datetime.now(UTC)
    return Comparison(database=database, lsn=None, started_at=now, finished_at=now, tables=())
