"""Changes a table of the target at the place of the stream where it changed on the source, where that is allowed.

The statements run in the transaction that moves the bookmark, after everything that came before the first row of the
new shape and before that row. So they happen exactly once, whenever a worker dies: before the commit the target has
the old shape and the bookmark stands before that row; after it both are new.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace

from ..drift import ChangeKind, Drift, Leave, Place
from ..errors import EngineError, SchemaChanged
from ..mapping import renaming_of
from ..names import qualified, quote
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import Kind, LedgerItem, TableState, TableStatus
from ..rows_file import with_columns
from ..silencing import asked, silence_statement, triggers_among
from ..wording import Sentence, listing, say
from . import names_followed, tops_followed
from .deciding import ShapeAllowed
from .explained import changed
from .failures import is_lost, lease_lost
from .listed import list_partitions
from .moves import PlaceOf
from .pipeline import Pipeline, StatementFailed

_LOCK_TIMEOUT = b"SET LOCAL lock_timeout = '10s'"
_AS_BEFORE = b"SET LOCAL lock_timeout TO DEFAULT"


class Reshaping:
    """The leaves to change tables of one database during one session. One thread only."""

    def __init__(
        self, run: Run, database: DatabasePlan, leaves: Iterable[Leave], place: PlaceOf, *, position: int
    ) -> None:
        """`place`: what tables are called on the source now; `position`: where the session begins, durable."""
        self._place = place
        self._run, self._database = run, database
        self._store, self._ledger = run.ports.store, run.ports.ledger
        self._name, self._renaming, self._target = (
            database.source_name,
            renaming_of(run, database),
            database.target_name,
        )
        self._waiting = list(leaves)
        self._by_itself = run.plan.selection.follow == "additions"
        self._done: set[str] = set()
        self._taken: list[tuple[int, Drift]] = []
        self._came: list[tuple[int, int, list[tuple[str, int]]]] = []  # likewise: columns of tables (oids)
        self.durable(position)

    @property
    def took(self) -> bool:
        """Whether a table was changed, and the change is not on the target for good."""
        return bool(self._taken)

    def verdict(self, drift: Drift) -> SchemaChanged | ShapeAllowed:
        """Return what to raise for a table whose shape is another one: leave to change it, or an error."""
        place = (drift.schema, drift.name, drift.digest)
        asked = any((one.schema, one.name, one.digest) == place for one in self._waiting)
        alone = self._by_itself and drift.harmless
        if drift.statements and drift.digest not in self._done and (asked or alone):
            return ShapeAllowed(drift)
        return changed(drift)

    def renamed(self, table: TableState, now: Place, there: Callable[[Place], bool]) -> EngineError:
        """Return what to raise for a table that is called `now` on the source; `there`: of names on the target."""
        return names_followed.verdict(self._run, self._database, table, now, there, self._place)

    def of_types(self, types: Iterable[tuple[str, str]]) -> EngineError | None:
        """Return what to raise when types of columns (the target's, the source's) are the same, in a schema that has
        another name on the source; None when they are not."""
        return names_followed.types_verdict(self._run, self._database, types)

    def of_tops(self) -> EngineError | None:
        """Return what to raise when a partitioned table has another name on the source; None when none has."""
        return next(iter(tops_followed.renamed_tops(self._run, self._database)), None)

    def states(self) -> list[TableState]:
        """Return the tables of the task with what is remembered of them now."""
        return self._store.tables(self._name)

    def state_of(self, drift: Drift, final: int) -> TableState:
        """Return the table that a new partition is to the task from the source's transaction at `final` on."""
        return TableState(
            database=self._name,
            schema=drift.schema,
            name=drift.name,
            oid=drift.oid,
            status=TableStatus.DONE,
            watermark=final,
        )

    def _item(self, drift: Drift) -> LedgerItem:
        return replace(self._part((drift.schema, drift.name)), detail={"partition": drift.oid})

    def _part(self, place: Place) -> LedgerItem:
        schema, name = self._renaming.place(place)
        return LedgerItem(side=Side.TARGET, database=self._target, kind=Kind.TABLE, schema=schema, name=name)

    def made(self, drift: Drift) -> TableState | None:
        """Return the state of a new partition that is on the target when a worker made it, and died before it could
        write that down; None when it is somebody else's.

        It was made in the transaction that moved the bookmark, so that it holds exactly what came before.
        """
        wanted = self._item(drift)
        found = [item for item in self._ledger.items(Side.TARGET, self._target, {Kind.TABLE}) if item == wanted]
        if not found or found[0].detail != wanted.detail:
            return None
        state = self.state_of(drift, 0)
        self._store.save_tables(state)
        return state

    def table_at(self, place: Place) -> TableState | None:
        """Return the task's table whose rows go to this table of the target."""
        synced = (one for one in self._store.tables(self._name) if not one.set_aside)
        return next((one for one in synced if self._renaming.place((one.schema, one.name)) == place), None)

    def came(self, table: int, numbers: Sequence[tuple[str, int]]) -> None:
        """Remember these columns, with their places (attnum), of a table (oid). Durable, once the target has them for
        good."""
        if self._taken:
            self._came.append((self._taken[-1][0], table, list(numbers)))
        else:
            self._remember(table, numbers)

    def _remember(self, table: int, numbers: Sequence[tuple[str, int]]) -> None:
        known = [one for one in self._store.tables(self._name) if one.oid == table]
        fresh = [(one, [pair for pair in numbers if pair[0] not in dict(one.numbers)]) for one in known]
        self._store.save_tables(*(replace(one, numbers=with_columns(one.numbers, came)) for one, came in fresh if came))

    def settled(self, tables: Sequence[int], names: Container[str]) -> None:
        """Forget which columns of these tables (oids) had these names. Durable."""
        for _, table, numbers in self._came:
            if table in tables:
                numbers[:] = [pair for pair in numbers if pair[0] not in names]
        known = [one for one in self._store.tables(self._name) if one.oid in set(tables)]
        rest = [(one, [pair for pair in one.numbers if pair[0] not in names]) for one in known]
        self._store.save_tables(*(replace(one, numbers=left) for one, left in rest if len(left) < len(one.numbers)))

    def run(self, pipeline: Pipeline, drift: Drift, final: int) -> None:
        """Run the statements of a drift in the open transaction; `final`: of the source's transaction at hand.

        Raises SchemaChanged when the target refuses one; StatementFailed when it is to be tried again as a whole.
        """
        self._done.add(drift.digest)
        if drift.oid:
            self._ledger.intend(*(self._part(place) for place in drift.above), self._item(drift))
        self._ledger.intend(*self._renamed_identities(drift))
        doing = say("changing the columns of {schema}.{name}", schema=drift.schema, name=drift.name)
        try:
            pipeline.command(_LOCK_TIMEOUT, context=doing)
            for statement in drift.statements:
                pipeline.command(statement.encode(pipeline.encoding, "surrogateescape"), context=doing)
            if drift.oid:
                self._silence(pipeline, drift, doing)
            pipeline.command(_AS_BEFORE, context=doing)
            pipeline.sync()
            pipeline.drain()
        except StatementFailed as failure:
            if lease_lost(failure) or failure.error is None or is_lost(failure.error):
                raise
            raise _refused(drift, failure.error.diag.message_primary or str(failure.error)) from failure
        self._taken.append((final, drift))

    def _silence(self, pipeline: Pipeline, drift: Drift, doing: Sentence) -> None:
        """Let no trigger act on the rows of a new partition: it has those of its table."""
        encoding, role = pipeline.encoding, self._store.database(self._name).replica_role
        places = [self._renaming.place(one) for one in (*drift.above, (drift.schema, drift.name))]
        found = pipeline.query(asked(places, replica_role=role).encode(encoding, "surrogateescape"), context=doing)
        rows = [
            [(found.get_value(row, column) or b"").decode(encoding, "surrogateescape") for column in range(5)]
            for row in range(found.ntuples)
        ]
        items = triggers_among(self._database, rows)
        self._ledger.intend(*items)
        for item in items:
            pipeline.command(silence_statement(item).encode(encoding, "surrogateescape"), context=doing)

    def _renamed_identities(self, drift: Drift) -> list[LedgerItem]:
        """Return identity columns that get another name, by which Complete has to make them what they were."""
        names = {change.old: change.new for change in drift.changes if change.kind is ChangeKind.RENAMED}
        items = self._ledger.items(Side.TARGET, self._target, {Kind.IDENTITY_STATE}) if names else []
        found = []
        for item in items:
            old, table = item.detail["name"], item.detail["table"]
            start = f"ALTER TABLE {qualified(item.schema, table)} RENAME COLUMN {quote(old)} TO "
            if any(statement.startswith(start) for statement in drift.statements):
                new = names[old]
                found.append(replace(item, name=f"{table}.{new}", detail={**item.detail, "name": new}))
        return found

    def durable(self, position: int) -> None:
        """Use up the leaves before `position`, and tell what was changed: all of that is on the target for good."""
        for leave in [one for one in self._waiting if one.lsn < position]:
            self._store.leave_used(leave)
            self._waiting.remove(leave)
        now = [one for one in self._taken if one[0] < position]
        for final, drift in now:
            if drift.oid:
                self._store.save_tables(self.state_of(drift, final))
            self._tell(drift)
        self._taken = [one for one in self._taken if one[0] >= position]
        for _, table, numbers in [one for one in self._came if one[0] < position]:
            self._remember(table, numbers)
        self._came = [one for one in self._came if one[0] >= position]
        list_partitions(self._run, self._database, [drift.oid for _, drift in now if drift.oid])

    def _tell(self, drift: Drift) -> None:
        told = say(
            "Table {schema}.{name} of {database} was changed on the target as on the source: {statements}. "
            "The sync goes on.",
            schema=drift.schema,
            name=drift.name,
            database=self._name,
            statements=listing(drift.statements, 5),
        )
        self._store.event("warning", "DDL-APPLIED", told)


def _refused(drift: Drift, words: str) -> SchemaChanged:
    error = SchemaChanged(
        say(
            "The target refused to change table {schema}.{name} as on the source: {words}",
            schema=drift.schema,
            name=drift.name,
            words=words,
        ),
        hint=say(
            "Nothing was changed. The statement was: {statements}. Remove on the target what refuses it and press "
            "Retry; or press Copy again or Drop from task.",
            statements=listing(drift.statements, 5),
        ),
    )
    error.drift = drift
    return error
