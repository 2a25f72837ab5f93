"""The partitions of tables that are gathered on the target (see `layouts`): which they are, kept in the ledger.

A partition that is detached is no part of its table any more, and yet what was written to it before belongs to that.
"""

from __future__ import annotations

from dataclasses import replace

from .catalog import Table
from .layouts import LAYOUT, Place, layouts_of, noted
from .outcome import Run
from .plan import DatabasePlan

_PARTS = "parts"


def note_parts(run: Run, database: DatabasePlan, table: Table) -> None:
    """Remember in the ledger which partitions a gathered table is copied from: theirs are the changes that count."""
    for item in noted(run, database):
        if tuple(item.detail[LAYOUT]["of"]) == (table.schema, table.name):
            parts = {str(one.oid): [one.schema, one.name] for one in table.parts}
            run.ports.ledger.amend(replace(item, detail={**item.detail, _PARTS: parts}))


class Parts:
    """The partitions of gathered tables whose changes belong to the task, as the ledger knows them. One thread only."""

    def __init__(self, run: Run, database: DatabasePlan) -> None:
        self._run, self._database = run, database
        self._gathers = bool(layouts_of(run, database).gathered)
        self.tops: dict[int, Place] = {}
        """The gathered table, by its name on the source, by the oid of each of its partitions."""
        self.names: dict[int, Place] = {}
        self.reload()

    def __bool__(self) -> bool:
        return self._gathers

    def reload(self) -> None:
        """Read them anew: a copy has others than the one before."""
        if not self._gathers:
            return
        self.tops, self.names = {}, {}
        for item in noted(self._run, self._database):
            schema, name = item.detail[LAYOUT]["of"]
            for oid, (part_schema, part) in item.detail.get(_PARTS, {}).items():
                self.tops[int(oid)] = (schema, name)
                self.names[int(oid)] = (part_schema, part)

    def gathers(self, place: Place) -> bool:
        """Say whether a table of the source, by its name there, is gathered."""
        return self._gathers and place in layouts_of(self._run, self._database).gathered

    def of(self, place: Place) -> set[int]:
        """Return the oids of the partitions of a gathered table."""
        return {oid for oid, top in self.tops.items() if top == place}

    def add(self, top: Place, oid: int, place: Place) -> None:
        """Remember one more partition. Idempotent."""
        self.tops[oid], self.names[oid] = top, place
        for item in noted(self._run, self._database):
            if tuple(item.detail[LAYOUT]["of"]) == top:
                parts = {**item.detail.get(_PARTS, {}), str(oid): list(place)}
                self._run.ports.ledger.amend(replace(item, detail={**item.detail, _PARTS: parts}))
