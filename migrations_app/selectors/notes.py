"""What the structure comparisons of a task have found."""

from __future__ import annotations

from datetime import datetime

from ..engine.selection import Selection
from ..engine.values import frozen
from ..models import MigrationTask, StructureNote, TaskDatabase

SHOWN = 100


@frozen
class StructureLine:
    """One database: when its structure was compared, how many objects that were, and what was found."""

    database: str
    compared_at: datetime | None
    objects: int
    notes: list[StructureNote]
    total: int

    @property
    def more(self) -> int:
        """How many notes are not in `notes`."""
        return self.total - len(self.notes)


def selection_of(task: MigrationTask) -> Selection:
    """Return what the task migrates, and with which options."""
    return Selection.from_json(task.selection)


def structure(task: MigrationTask, limit: int = SHOWN) -> list[StructureLine]:
    """Return one line for each database whose structure was compared, and one without a name for notes on the server.

    `limit`: notes of a database at most.
    """
    lines = []
    for row in TaskDatabase.objects.filter(task=task).exclude(structure_at=None):
        notes = StructureNote.objects.filter(task=task, database=row.source_name)
        total = notes.count()
        lines.append(
            StructureLine(
                database=row.source_name,
                compared_at=row.structure_at,
                objects=row.structure_count,
                notes=list(notes[:limit]) if total else [],
                total=total,
            )
        )
    server = StructureNote.objects.filter(task=task, database="")
    if total := server.count():
        shown = list(server[:limit])
        lines.append(StructureLine(database="", compared_at=shown[0].at, objects=total, notes=shown, total=total))
    return lines
