"""Tables that are new on the source, as pages show them: what was decided, and what can be."""

from __future__ import annotations

from ..engine.states import Action, Status, StepName, allowed_actions
from ..engine.values import frozen
from ..models import MigrationTask, NewTable
from .wording import told

_SHOWN = 50
_ENDED = (Status.COMPLETED, Status.CANCELLING, Status.CANCELLED)


@frozen
class NewTableLine:
    """One new table. `choices`: names of the actions that are possible now."""

    key: str
    database: str
    schema: str
    name: str
    tables: int
    partition: bool
    choice: str  # '' undecided, add, ignored
    problem: str
    decided_by: str
    choices: tuple[str, ...]


@frozen
class NewTables:
    """The new tables of a task: those that wait for somebody, those that are coming, and those that are ignored.

    The first of each; `undecided_count` and `ignored_count` count all of them.
    """

    undecided: list[NewTableLine]
    coming: list[NewTableLine]
    ignored: list[NewTableLine]
    undecided_count: int
    ignored_count: int


def new_tables(task: MigrationTask) -> NewTables | None:
    """Return the tables that appeared on the source of a task during its sync, None when there are none to show."""
    if task.status in _ENDED:
        return None
    rows = list(task.new_tables.all()[:5000])
    if not rows:
        return None
    possible = allowed_actions(Status(task.status)) if task.current_step == StepName.SYNC else []
    lines = [_line(row, possible) for row in rows]
    undecided, ignored = ([one for one in lines if one.choice == choice] for choice in ("", "ignored"))
    return NewTables(
        undecided=undecided[:_SHOWN],
        coming=[one for one in lines if one.choice == "add"][:_SHOWN],
        ignored=ignored[:_SHOWN],
        undecided_count=len(undecided),
        ignored_count=len(ignored),
    )


def new_table_lines(task: MigrationTask) -> list[NewTableLine]:
    """Return the new tables of a task, as far as pages show them."""
    found = new_tables(task)
    return [*found.undecided, *found.coming, *found.ignored] if found else []


def _line(row: NewTable, possible: list[Action]) -> NewTableLine:
    wanted = {"": (Action.ADD_TABLE, Action.IGNORE_TABLE), "ignored": (Action.ADD_TABLE,)}.get(row.choice, ())
    offered = [one for one in wanted if one in possible and not (row.partition and one is Action.IGNORE_TABLE)]
    return NewTableLine(
        key=f"n{row.pk}",
        database=row.database,
        schema=row.schema,
        name=row.name,
        tables=row.tables,
        partition=row.partition,
        choice=row.choice,
        problem=told(row, "problem"),
        decided_by=row.decided_by,
        choices=tuple(one.value for one in offered),
    )
