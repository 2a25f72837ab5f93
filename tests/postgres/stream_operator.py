"""Does what an operator does where the sync of a random stream stops and asks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from migrations_app.engine.drift import Doubt, Drift, Leave
from migrations_app.engine.errors import SchemaChanged, TargetError
from migrations_app.engine.ports import NEVER, TableState, TableStatus
from tests.postgres.sync_kit import Pair

_RETRY = "Press Retry: "
_YOURSELF = "Change the partitioned table on the target yourself and press Retry"
_REFUSED = "The target refused to change table "


class Operator:
    """Presses Apply and resume, Copy again, Drop from task, Retry, Add or Ignore.

    `stops`: what was asked. `answers`: how often each of them was pressed.
    """

    def __init__(self, pair: Pair, *, copy_again: bool, ignore: bool) -> None:
        """`copy_again`: press that where a statement is offered as well. `ignore`: let new tables be."""
        self.pair, self._copy_again, self._ignore = pair, copy_again, ignore
        self.stops: list[str] = []
        self.answers: Counter[str] = Counter()
        self._ignored: set[str] = set()

    def settle(self, error: SchemaChanged) -> None:
        drift = error.drift
        if drift is None and error.hint.startswith(_RETRY):
            self._press("Retry", error.message)
            return
        if drift is None and error.hint.startswith(_YOURSELF):
            self._press("by hand, and Copy again", error.message)
            self._copy(error.message.split()[0].partition(".")[2])
            return
        assert drift is not None, f"nothing can be pressed: {error.message}"
        assert drift.database == self.pair.source_db
        asked = f"{drift.schema}.{drift.name} {drift.doubt.value} {drift.statements}"
        if drift.renames:
            self._press("Retry", asked)  # it has its own name again by now
        elif drift.doubt is Doubt.GONE:
            self._press("Drop from task", asked)
            self._drop(drift.name)
        elif drift.oid and (drift.doubt or self._copy_again):
            self._press("Copy again, a partition", asked)
            self._take_in(drift)
        elif drift.statements and not self._rather_copied(drift, error):
            self._press("Apply and resume", asked)
            self._allow(drift)
        else:
            self._press("Copy again", asked)
            self._copy(drift.name)

    def _press(self, answer: str, asked: str) -> None:
        self.answers[answer] += 1
        self.stops.append(f"{asked}: {answer}")

    def _rather_copied(self, drift: Drift, error: SchemaChanged) -> bool:
        """Say whether a table is copied again although a statement is offered: because the target refused that, too."""
        if error.message.startswith(_REFUSED):
            return True
        return self._copy_again and not drift.oid and "_" not in drift.name

    def decide(self) -> None:
        """Press Add or Ignore for every new table that the sync has found."""
        store, database = self.pair.store, self.pair.source_db
        for table in store.newcomers.get(database, {}).values():
            if table in store.additions(database):
                self._press("nothing, it is added by itself", table.name)
            elif self._ignore and not table.partition:
                self._press("Ignore", table.name)
                self._ignored.add(table.name)
            else:
                self._press("Add", table.name)
                self._ignored.discard(table.name)
                store.to_add.setdefault(database, []).append(table)

    def is_left_out(self, name: str) -> bool:
        """Say whether a table was ignored, or dropped from the task."""
        states = {state.name: state for state in self.pair.store.tables(self.pair.source_db)}
        if name in states:
            return states[name].status is TableStatus.DROPPED
        return name in self._ignored or name.partition("_")[0] in self._ignored

    def _take_in(self, drift: Drift) -> None:
        """Let a partition be made on the target and copied."""
        state = TableState(
            database=self.pair.source_db,
            schema=drift.schema,
            name=drift.name,
            oid=drift.oid,
            status=TableStatus.QUARANTINED,
            watermark=NEVER,
        )
        self.pair.store.save_tables(state)
        self.pair.store.asked_again.setdefault(self.pair.source_db, []).append((drift.schema, drift.name))

    def _allow(self, drift: Drift) -> None:
        leaves = self.pair.store.may_change.setdefault(self.pair.source_db, [])
        leaf = Leave(number=len(self.stops), schema=drift.schema, name=drift.name, digest=drift.digest, lsn=drift.lsn)
        leaves.append(leaf)  # a transaction may need several

    def _drop(self, name: str) -> None:
        states = self.pair.store.tables(self.pair.source_db)
        self.pair.store.save_tables(
            *(replace(one, status=TableStatus.DROPPED, watermark=NEVER) for one in states if one.name == name)
        )

    def _copy(self, name: str) -> None:
        """Press Copy again; a partition's columns are first changed by hand, which is what the sync asks for."""
        table, _, part = name.partition("_")
        group = [one.name for one in self.pair.store.tables(self.pair.source_db) if one.name.startswith(f"{table}_")]
        if part:
            self.pair.at_target(*_by_hand(self.pair, table))
        asked = self.pair.store.asked_again.setdefault(self.pair.source_db, [])
        asked += [("public", one) for one in (group if part else [name]) if ("public", one) not in asked]

    def mend(self, error: TargetError) -> None:
        """Give the target's type the labels that it lacks: there is nothing else on the target that may be missing."""
        self._press("by hand", error.message)
        labels = "SELECT array_agg(enumlabel::text ORDER BY enumsortorder) FROM pg_enum"
        missing = [one for one in self.pair.value(labels) if one not in self.pair.value(labels, "target")]
        if not missing:
            raise error
        self.pair.at_target(*(f"ALTER TYPE mood ADD VALUE '{label}'" for label in missing))


def _by_hand(pair: Pair, table: str) -> list[str]:
    """Return what gives a partitioned table of the target the columns of the source's."""
    query = (
        "SELECT coalesce(array_agg(attname || ' ' || format_type(atttypid, atttypmod)), '{}') FROM pg_attribute"
        f" WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
    )
    here, there = pair.value(query), pair.value(query, "target")
    gone = [f"DROP COLUMN {one.split()[0]}" for one in there if one not in here]
    new = [f"ADD COLUMN {one}" for one in here if one not in there]
    return [f"ALTER TABLE {table} {', '.join([*gone, *new])}"] if gone or new else []
