"""Adds new tables of the source to a task that syncs: each comes in under a snapshot with a watermark of its own."""

from __future__ import annotations

from ..additions import finish, make, note, read_tree, unfinished
from ..aligning import change_parent, parents_change
from ..catalog import Table
from ..comparing.follower import Follower, following
from ..drift import Drift, NewTable
from ..errors import EngineError, PlanError, SchemaChanged, SourceError, TargetError
from ..indexes import build_table
from ..lsn import before_page_header
from ..outcome import DONE, Outcome, Run
from ..partition_making import detach_former
from ..plan import DatabasePlan
from ..replication.names_followed import following_names
from ..replication.single import TableSession
from ..snapshot import Snapshot
from ..wording import Sentence, count, say
from .recopy import OneTable, Shown, let_catch_up


def run(run: Run) -> Outcome:
    """Add the tables that are asked for, one by one; the sync of all others goes on meanwhile.

    Repeatable after a kill at any moment: a table is left out of the stream, and the request stays, until its rows
    stand at exactly the place of the main stream. One that a server refuses to make is given back to whoever decides.
    Raises EngineError.
    """
    for database in run.databases():
        for table in run.ports.store.additions(database.source_name):
            run.ports.control.check()
            _add(run, database, table)
    return DONE


def _add(run: Run, database: DatabasePlan, table: NewTable) -> None:
    store, label = run.ports.store, f"{table.schema}.{table.name}"
    store.step_progress(0, 1, say("adding {label}", label=label))
    refusal = _make(run, database, table)
    if refusal is not None:
        _give_back(run, database, table, refusal)
        return
    rows = _fill(run, database, table)
    finish(run, database, table)
    store.added(database.source_name, table)
    told = say(
        "{label} of {source_name} has been added to the task with {rows}, and is in sync.",
        label=label,
        source_name=database.source_name,
        rows=count(rows, "{number} row", "{number} rows"),
    )
    store.event("info", "TABLE-ADDED", told)


def _make(run: Run, database: DatabasePlan, table: NewTable) -> EngineError | None:
    """Make the table on both servers while everything else syncs; return the error of one that refuses.

    Partitions that were made meanwhile, maybe before the table was published, come along.
    """
    done: set[int] = set()
    while True:
        try:
            tree = note(run, database, table)
        except SchemaChanged as error:
            return error
        if done.issuperset(one.oid for one in tree):
            return None
        with following(run) as followers:
            _resume(followers)
            change = _change_above(run, database, followers, tree[0]) if tree[0].is_partition else None
            try:
                if change is not None:
                    change_parent(run, database, change)
                detach_former(run, database, table)
                make(run, database, tree)
            except (PlanError, SourceError, TargetError) as error:
                if error.retryable:
                    raise
                return error
        done = {one.oid for one in tree}


def _change_above(run: Run, database: DatabasePlan, followers: dict[str, Follower], part: Table) -> Drift | None:
    """Return how the table above a partition is other than on the target, with the sync at or behind that place.

    What a row of another partition tells meanwhile, the sync does or asks by itself. Raises what ends it.
    """

    def check() -> None:
        run.ports.control.check()
        for follower in followers.values():
            follower.check()

    known: Drift | None = None
    while (change := parents_change(run, database, part.oid)) != known:
        known = change
        let_catch_up(run, followers[database.source_name], check)
    return known


def _give_back(run: Run, database: DatabasePlan, table: NewTable, error: EngineError) -> None:
    why = error.public_message
    run.ports.store.not_added(database.source_name, table, why)
    told = say(
        "{schema}.{name} of {source_name} cannot be added to the task: {why}",
        schema=table.schema,
        name=table.name,
        source_name=database.source_name,
        why=why,
    )
    run.ports.store.event("error", "TABLE-NOTADDED", told)


def _resume(followers: dict[str, Follower]) -> None:
    for follower in followers.values():
        follower.resume()


def _fill(run: Run, database: DatabasePlan, table: NewTable) -> int:
    """Copy what holds rows, one table after the other; return how many rows there were.

    The streams are opened anew for each. Some servers forget for the rest of a stream that a table was published while
    others wrote to it; those transactions have all ended before the table's snapshot, and so before the next stream.
    """
    rows = 0
    shown = Shown(run)
    tree = read_tree(run, database, table)
    while waiting := unfinished(run, database, tree):
        with following_names(run), following(run) as followers:
            one = _Arriving(run, database, followers, shown, waiting[0].schema, waiting[0].name)
            one.leave_out()
            _resume(followers)
            one.copy()
        rows += one.rows
    return rows


class _Arriving(OneTable):
    """A table that comes into the stream for the first time."""

    @property
    def rows(self) -> int:
        """How many rows its copy had."""
        return self._state.rows_done

    def copy(self) -> None:
        """Copy the table, build its indexes, bring it to where the main stream is, and give it to that."""
        self._copy_and_follow()

    def _fill(self, snapshot: Snapshot, *, held: bool) -> None:
        super()._fill(snapshot, held=held)
        if self._work is not None:
            self._shown.show(self.bytes, say("building the indexes of {label}", label=self._label))
            build_table(self._run, self._database, self._work.table)

    def _meet(self, session: TableSession, since: int) -> None:
        goal = before_page_header(since)
        session.advance(stop=lambda: self._main.session.position >= goal)
        super()._meet(session, since)

    def _handed_over(self) -> None:
        """Leave the main stream where it is: the next one takes the table."""

    def _doing(self) -> Sentence:
        return say("copying {label}", label=self._label)
