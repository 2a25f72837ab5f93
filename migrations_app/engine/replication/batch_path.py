"""The batch path: the folded changes of a batch, at most one statement per table and kind of change.

Nothing here decides what is right: the server counts the rows of each statement, and anything but the expected number,
and any error, is for the caller to undo and to do again on the row path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ..ports import NEVER
from .batch import SKIPPED, Batch
from .batch_statements import BatchStatements, masks
from .coalesce import Appended, Folding, Keyed
from .pipeline import Pipeline, StatementFailed
from .prepared import Prepared
from .relations import Member, Relations
from .tuples import Cut, Row, cutters

_COPY_ROWS = 100
_LONGEST_REST = 6  # doublings


class Set(NamedTuple):
    """What a statement of the batch path stands for."""

    oid: int
    kind: str


class _Plan(NamedTuple):
    member: Member
    statements: BatchStatements
    cut: Cut
    cut_key: Cut


class _Statement(NamedTuple):
    """One execution on the target. `key` names the statement among those of the table; None: a COPY."""

    plan: _Plan
    what: Set
    key: object
    sql: Callable[[], str]
    values: list[bytes]
    rows: int


class Built(NamedTuple):
    """The statements that a batch comes to, or what makes it impossible."""

    statements: list[_Statement]
    surprises: list[StatementFailed]


class BatchPath:
    """Folds changes and sends what they come to into the open transaction."""

    def __init__(self, pipeline: Pipeline, relations: Relations, prepared: Prepared, *, binary: bool) -> None:
        self._pipeline = pipeline
        self._relations = relations
        self._prepared = prepared
        self._binary = binary
        self._plans: dict[int, _Plan] = {}
        self._failures: dict[int, int] = {}
        self._resting: dict[int, int] = {}  # how many batches a table sits out

    def folding(self, oid: int, final: int, batch: Batch) -> Folding:
        """Return what takes the changes of a table in this batch. `final`: of the transaction at hand.

        Raises EngineError as `Relations.member` does.
        """
        watermark = self._relations.watermark(oid)
        if watermark == NEVER:
            batch.tables[oid] = SKIPPED  # for the whole batch: nobody asks again
        if watermark > final:
            return SKIPPED
        known = batch.tables.get(oid)
        if known is not None:
            return known
        member = self._relations.member(oid)
        if member is None:
            made: Folding = SKIPPED
        elif batch.rows_only or oid in self._resting:
            made = batch.take_by_rows(oid)
        else:
            made = self._new_folding(self._plan(oid, member), oid, batch)
        batch.tables[oid] = made
        return made

    def _plan(self, oid: int, member: Member) -> _Plan:
        plan = self._plans.get(oid)
        if plan is None or plan.member is not member:
            statements = BatchStatements(member.statements, member.table, binary=self._binary)
            plan = _Plan(member, statements, *cutters(member.statements.relation, binary=self._binary))
            self._plans[oid] = plan
        return plan

    @staticmethod
    def _new_folding(plan: _Plan, oid: int, batch: Batch) -> Folding:
        statements = plan.statements
        if statements.keyed:
            return Keyed(plan.cut, plan.cut_key, plan.member.statements.identity, updates=statements.updates)
        if statements.inserts:
            return Appended(plan.cut)
        return batch.take_by_rows(oid)

    def build(self, batch: Batch, built: Built) -> Iterator[None]:
        """Build what the batch comes to, which frees what was folded.

        Nothing is sent, and it yields after each table: what is under way may go on meanwhile.
        """
        for oid in list(batch.tables):
            folding = batch.tables.pop(oid)
            try:
                if isinstance(folding, Keyed):
                    built.statements.extend(self._keyed(oid, folding))
                elif isinstance(folding, Appended) and folding.rows:
                    built.statements.append(self._inserts(self._plans[oid], oid, folding.rows))
            except StatementFailed as failure:
                built.surprises.append(failure)
            yield

    def send(self, built: Built) -> Iterator[None]:
        """Send what was built and read all answers, yielding whenever the server has to be waited for.

        Raises StatementFailed; its context is a Set where that is known.
        """
        self._rest_less()
        if built.surprises:
            raise built.surprises[0]
        for one in built.statements:
            if one.key is not None:
                name = self._prepared.name(one.plan.member, one.key, one.sql, one.what)
                self._pipeline.send(name, one.values, one.rows, one.what, 0, [1] * len(one.values))
        self._pipeline.sync()
        while not self._pipeline.progress():
            yield
        for one in built.statements:
            if one.key is None:
                sql = one.sql().encode(self._pipeline.encoding, "surrogateescape")
                yield from self._pipeline.copy(sql, one.values, one.rows, one.what)

    def failed(self, failure: StatementFailed) -> None:
        """Take note of which table made the batch fail: it sits out the next batches, each time twice as many."""
        if isinstance(failure.context, Set):
            oid = failure.context.oid
            self._failures[oid] = min(self._failures.get(oid, 0) + 1, _LONGEST_REST)
            self._resting[oid] = 2 ** self._failures[oid]

    def _rest_less(self) -> None:
        self._resting = {oid: left - 1 for oid, left in self._resting.items() if left > 1}

    def _keyed(self, oid: int, folding: Keyed) -> Iterator[_Statement]:
        plan = self._plans[oid]
        statements = plan.statements
        if folding.deletes:
            what = Set(oid, "delete")
            keys = _built(what, lambda: statements.key_parameters(folding.deletes))
            yield _Statement(plan, what, "delete", statements.delete_sql, keys, len(folding.deletes))
        if folding.ghosts:
            what = Set(oid, "ghosts")
            keys = _built(what, lambda: statements.key_parameters(folding.ghosts))
            yield _Statement(plan, what, "ghosts", statements.ghosts_sql, keys, 0)
        if folding.updates:
            what = Set(oid, "update")
            updates = list(folding.updates.values())
            for mask, rows in (masks(updates) if folding.holes else {(): updates}).items():
                values = _built(what, partial(statements.parameters, rows, statements.update_positions(mask)))
                sql = partial(statements.update_sql, mask)
                yield _Statement(plan, what, ("update-set", mask), sql, values, len(rows))
        if folding.inserts:
            yield self._inserts(plan, oid, list(folding.inserts.values()))

    @staticmethod
    def _inserts(plan: _Plan, oid: int, rows: Sequence[Row]) -> _Statement:
        statements, what = plan.statements, Set(oid, "insert")
        if statements.copies and (len(rows) >= _COPY_ROWS or not statements.unnests):
            data = _built(what, partial(statements.copy_data, rows))
            return _Statement(plan, what, None, statements.copy_sql, data, len(rows))
        values = _built(what, partial(statements.parameters, rows, range(len(plan.member.statements.columns))))
        return _Statement(plan, what, "insert-set", statements.insert_sql, values, len(rows))


def _built(what: Set, build: Callable[[], list[bytes]]) -> list[bytes]:
    """Build parameters; a value that is not known where it must be is a surprise like any other."""
    try:
        return build()
    except TypeError as error:
        raise StatementFailed(what, None, 0) from error
