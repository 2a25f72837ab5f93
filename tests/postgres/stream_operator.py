"""Does what an operator does where the sync of a random stream stops and asks."""

from __future__ import annotations

from dataclasses import replace

from migrations_app.engine.drift import Doubt, Drift, Leave
from migrations_app.engine.errors import SchemaChanged, TargetError
from migrations_app.engine.ports import NEVER, TableStatus
from tests.postgres.sync_kit import Pair


class Operator:
    """Presses Apply and resume, Copy again or Retry. `stops`: what was asked."""

    def __init__(self, pair: Pair, *, copy_again: bool) -> None:
        """`copy_again`: press that where a statement is offered as well."""
        self.pair, self._copy_again = pair, copy_again
        self.stops: list[str] = []

    def settle(self, error: SchemaChanged) -> None:
        drift = error.drift
        assert drift is not None, f"nothing can be pressed: {error.message}"
        assert drift.database == self.pair.source_db
        self.stops.append(f"{drift.schema}.{drift.name} {drift.doubt.value} {drift.statements}")
        if drift.doubt is Doubt.OTHER_NAME:
            return  # it has its own name again by now: Retry
        if drift.doubt is Doubt.GONE:
            self._drop(drift.name)
        elif drift.statements and not (self._copy_again and not drift.oid and "_" not in drift.name):
            self._allow(drift)
        else:
            self._copy(drift.name)

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
        self.stops.append(error.message)
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
