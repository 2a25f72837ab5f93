"""Everything that is known about one task as plain values, for a file that leaves the house. No secret is in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..engine.lsn import format_lsn
from ..engine.selection import Selection
from ..models import CheckItem, ComparisonResult, Endpoint, Event, MigrationTask, RowPermission
from .checkview import check_view
from .conflicts import conflict, rows_taken
from .drift import drift
from .new_tables import NewTableLine, new_table_lines
from .notes import StructureLine, structure
from .pages import DatabaseLine, LedgerLine, applied_since, databases, left_behind
from .rows import StepLine, step_lines, task_row
from .standing import late_writes
from .tables import TableLine, TableView
from .wording import Tell, in_english, told_difference

_MOST_EVENTS = 5000
_MOST_COMPARISONS = 200
_MOST_NOTES = 10_000
_ENDPOINT = [
    "kind",
    "region",
    "network",
    "vpc_id",
    "subnet_id",
    "instance_id",
    "gateway_id",
    "vpn_type",
    "host",
    "port",
    "account",
    "database",
    "tls_mode",
    "require_auth",
    "ssh_host",
    "ssh_port",
    "ssh_user",
]


def task_report(task: MigrationTask, *, tables: int = 1_000_000, tell: Tell = in_english) -> dict[str, Any]:
    """Return settings, check, steps, tables, comparison, events and leftovers. `tables`: how many are listed at most.
    `tell` chooses the language of messages: English for programs, the reader's for people.

    Where a list is cut, a number `…_total` beside it says how many there are. Times are ISO 8601 in UTC.
    Endpoints are copied by a list of names: a secret cannot slip in with a new column.
    """
    view = TableView(task)
    counts = view.counts()
    left = left_behind(task, limit=10_000)
    comparisons = list(task.comparisons.all()[:_MOST_COMPARISONS])
    since = applied_since(task, comparisons)
    return {
        "format": 1,
        "task": _task(task, tell),
        "settings": {
            "source": _endpoint(task.source),
            "target": _endpoint(task.target),
            "incremental": task.incremental,
            "copy_jobs": task.copy_jobs,
            "selection": Selection.from_json(task.selection).to_json(),
        },
        "check": _check(task, tell),
        "steps": [_step(line) for line in step_lines(task)],
        "databases": [_database(state) for state in databases(task)],
        "totals": {
            "tables": counts.total,
            "tables_done": counts.done,
            "bytes": counts.bytes_done,
            "rows": counts.rows_done,
            "states": counts.states,
        },
        "tables": [_table(line) for line in view.lines(tables)],
        "conflict": _conflict(task),
        "drift": _drift(task),
        "new_tables": [_new_table(line) for line in new_table_lines(task)],
        "rows_taken": [_taken(row) for row in rows_taken(task)],
        "comparisons": [_comparison(result, since.get(result.pk), tell) for result in comparisons],
        "comparisons_total": task.comparisons.count(),
        "structure": [_structure(line, tell) for line in structure(task, limit=_MOST_NOTES)],
        "late_writes": [_event(event, tell) for event in late_writes(task)],
        "events": [_event(event, tell) for event in Event.objects.filter(task=task)[:_MOST_EVENTS]],
        "events_total": Event.objects.filter(task=task).count(),
        "left": {"source": _left(left.source), "target": _left(left.target)},
        "left_total": len(left.source) + left.target_count,
    }


def _time(value: datetime | None) -> str | None:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if value else None


def _task(task: MigrationTask, tell: Tell) -> dict[str, Any]:
    row = task_row(task)
    return {
        "id": str(task.pk),
        "name": task.name,
        "status": task.status,
        "status_label": row.status_label,
        "tags": row.tags,
        "created_at": _time(task.created_at),
        "started_at": _time(task.started_at),
        "finished_at": _time(task.finished_at),
        "scheduled_at": _time(task.scheduled_at),
        "error_code": task.error_code,
        "error": tell(task, "error_message"),
        "error_hint": tell(task, "error_hint"),
    }


def _new_table(line: NewTableLine) -> dict[str, Any]:
    names = ("database", "schema", "name", "tables", "partition", "choice", "decided_by")
    return {name: getattr(line, name) for name in names}


def _step(line: StepLine) -> dict[str, Any]:
    return {
        "name": line.name,
        "label": line.label,
        "state": line.state,
        "started_at": _time(line.started_at),
        "finished_at": _time(line.finished_at),
        "seconds": line.seconds,
        "note": line.note,
    }


def _database(state: DatabaseLine) -> dict[str, Any]:
    return {
        "source": state.source,
        "target": state.target,
        "in_sync": state.in_sync,
        "rows_applied": state.rows_applied,
        "lag_bytes": state.lag_bytes,
        "lag_seconds": state.lag_seconds,
        "position": format_lsn(state.position) if state.position is not None else None,
        "spool_bytes": state.spool_bytes,
    }


def _table(line: TableLine) -> dict[str, Any]:
    return {
        "database": line.database,
        "schema": line.schema,
        "name": line.name,
        "state": line.state,
        "label": line.label,
        "rows": line.rows_done,
        "bytes": line.bytes_total,
        "seconds": line.seconds,
    }


def _conflict(task: MigrationTask) -> dict[str, Any] | None:
    """Without the row's key, which is user data."""
    view = conflict(task)
    return {"database": view.database, "table": view.table, **_kinds(task)} if view else None


def _drift(task: MigrationTask) -> dict[str, Any] | None:
    view = drift(task)
    return {"database": view.database, "table": view.table, "changes": _changes(task), **_run(task)} if view else None


def _changes(task: MigrationTask) -> list[dict[str, str]]:
    return [{name: change[name] for name in ("kind", "name", "old", "new")} for change in task.drift["changes"]]


def _run(task: MigrationTask) -> dict[str, Any]:
    return {"statements": task.drift["statements"], "doubt": task.drift["doubt"]}


def _kinds(task: MigrationTask) -> dict[str, Any]:
    facts = task.conflict
    return {"kind": facts["kind"], "change": facts["change"], "position": format_lsn(facts["lsn"])}


def _taken(row: RowPermission) -> dict[str, Any]:
    return {
        "database": row.database,
        "table": f"{row.schema}.{row.name}",
        "change": row.change,
        "position": format_lsn(row.lsn),
        "asked_by": row.asked_by,
        "asked_at": _time(row.asked_at),
        "used_at": _time(row.used_at),
        "use": row.use,
    }


def _endpoint(endpoint: Endpoint | None) -> dict[str, Any]:
    if endpoint is None:
        return {}
    names = [name for name in _ENDPOINT if endpoint.ssh_host or not name.startswith("ssh_")]
    return {name: getattr(endpoint, name) for name in names}


def _check(task: MigrationTask, tell: Tell) -> dict[str, Any]:
    view = check_view(task)
    return {
        "checked_at": _time(task.checked_at),
        "failed": view.failed + view.unseen,
        "warnings": view.warnings,
        "passed": view.passed,
        "results": [_item(item, tell) for item in CheckItem.objects.filter(task=task)],
    }


def _item(item: CheckItem, tell: Tell) -> dict[str, Any]:
    return {
        "code": item.code,
        "title": item.title,
        "group": item.group,
        "status": item.status,
        "database": item.database,
        "found": tell(item, "found"),
        "hint": tell(item, "hint"),
        "acknowledged_by": item.acknowledged_by,
        "acknowledged_reason": item.acknowledged_reason,
        "acknowledged_at": _time(item.acknowledged_at),
    }


def _comparison(result: ComparisonResult, applied_since: int | None, tell: Tell) -> dict[str, Any]:
    return {
        "database": result.database,
        "equal": result.equal,
        "started_at": _time(result.started_at),
        "finished_at": _time(result.finished_at),
        "position": format_lsn(result.lsn) if result.lsn is not None else None,
        "tables": result.tables_count,
        "rows": result.source_rows,
        "applied_since": applied_since,
        "differences": [told_difference(item, tell) for item in result.differences],
    }


def _structure(line: StructureLine, tell: Tell) -> dict[str, Any]:
    return {
        "database": line.database,
        "compared_at": _time(line.compared_at),
        "objects": line.objects,
        "notes": [
            {
                "object": tell(note, "title"),
                "kind": note.kind,
                "what": tell(note, "what"),
                "statement": note.statement,
                "words": tell(note, "words"),
            }
            for note in line.notes
        ],
        "notes_total": line.total,
    }


def _event(event: Event, tell: Tell) -> dict[str, Any]:
    return {
        "at": _time(event.at),
        "actor": event.actor,
        "level": event.level,
        "code": event.code,
        "message": tell(event, "message"),
        "from": event.from_status,
        "to": event.to_status,
    }


def _left(lines: list[LedgerLine]) -> list[dict[str, str]]:
    return [{"kind": line.kind, "name": line.name, "database": line.database, "removal": line.sql} for line in lines]
