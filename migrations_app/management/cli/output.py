"""What the `task` command prints: a report as text or JSON, and the progress line of a foreground run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Protocol

from django.utils import timezone

from ... import selectors
from ...engine.lsn import format_lsn
from ...engine.mapping import renamed_schemas
from ...engine.ports import SET_ASIDE
from ...engine.selection import Selection
from ...engine.source_setup import age
from ...engine.states import Status
from ...engine.wording import in_lines, one_line
from ...models import CheckItem, ComparisonResult, Event, MigrationTask, TableCopy


class Out(Protocol):
    """Somewhere to print: Django's wrapper of stdout, or a stream."""

    def write(self, text: str, /) -> Any:
        """Print; every text that is passed ends with a newline."""


class _Visible:
    """Writes each text as one line, and what a terminal would obey, such as an escape sequence in a name, as text."""

    def __init__(self, out: Out) -> None:
        self._out = out

    def write(self, text: str, /) -> Any:
        """Print one line, control and invisible characters as escapes."""
        return self._out.write(one_line(text.removesuffix("\n")) + "\n")


def _indented(lines: Iterable[str], depth: int, out: Out) -> None:
    """Print lines that belong together, such as those of a statement, all equally deep."""
    for line in lines:
        out.write(f"{' ' * depth}{line}\n")


_STAYS_BEHIND = frozenset({"EXTENSION-ROWS"})
_RATES = ("rows_per_second", "applied_bytes_per_second", "wal_bytes_per_second")


def report(task: MigrationTask) -> dict[str, Any]:
    """Return everything about a task that a script may want, as plain data. Sizes in bytes, times in seconds."""
    comparisons = list(selectors.comparisons(task))
    since = selectors.applied_since(task, comparisons)
    error = {"code": task.error_code, "message": task.error_message, "hint": task.error_hint}
    return {
        "id": str(task.pk),
        "name": task.name,
        "status": task.status,
        "step": task.current_step,
        "incremental": task.incremental,
        "compared": not task.skip_compare or task.incremental,
        "error": error if task.error_code else None,
        "conflict": task.conflict if task.status == Status.FAILED and task.conflict else None,
        "drift": task.drift if task.status == Status.FAILED and task.drift else None,
        "steps": [
            {"name": line.name, "state": line.state, "seconds": line.seconds, "note": line.note}
            for line in selectors.steps(task)
        ],
        "tables": _tables(task),
        "new_tables": _new_tables(task),
        "lag": {"bytes": task.lag_bytes, "seconds": task.lag_seconds},
        "rates": {name: getattr(task, name) for name in _RATES},
        "eta": task.eta_at.isoformat() if task.eta_at else None,
        "catching_up": task.catching_up,
        "snapshot": _snapshot(task),
        "databases": _databases(task),
        "check": [
            {name: getattr(item, name) for name in ("code", "status", "database", "found", "hint", "sql")}
            for item in CheckItem.objects.filter(task=task).exclude(status="passed")
        ],
        "structure": _structure(task),
        "comparisons": [_comparison(row, since.get(row.pk)) for row in comparisons],
        "differences": [
            {"database": row.database, **selectors.told_difference(difference, selectors.in_english)}
            for row in comparisons
            for difference in row.differences
        ],
        "left": _left(task),
    }


def _structure(task: MigrationTask) -> list[dict[str, Any]]:
    return [
        {
            "database": line.database,
            "objects": line.objects,
            "notes": [
                {"object": note.title, "what": note.what, "statement": note.statement, "words": note.words}
                for note in line.notes
            ],
        }
        for line in selectors.structure(task, limit=10_000)
    ]


def _tables(task: MigrationTask) -> list[dict[str, Any]]:
    return [
        {
            "database": table.database,
            "schema": table.schema,
            "name": table.name,
            "status": table.status,
            "rows": table.rows_done,
            "bytes": table.bytes_done,
        }
        for table in TableCopy.objects.filter(task=task).order_by("database", "schema", "name")
    ]


def _snapshot(task: MigrationTask) -> dict[str, Any] | None:
    """Return since when a snapshot of the source is held, with the limit from which that is a warning."""
    view = selectors.held(task)
    if view is None:
        return None
    return {
        "since": view.since.isoformat(),
        "seconds": view.seconds,
        "limit_seconds": view.limit_seconds,
        "level": "warning" if view.long else "normal",
    }


def _print_snapshot(data: dict[str, Any] | None, out: Out) -> None:
    if data is None:
        return
    since = datetime.fromisoformat(data["since"]).astimezone(UTC)
    held = f"held since {since:%Y-%m-%d %H:%M:%S} UTC, {age(int(data['seconds']))} by now"
    out.write(f"  snapshot of the source: {held}\n")
    if data["level"] == "warning":
        limit = age(int(data["limit_seconds"]))
        out.write(f"    WARNING: longer than {limit}: the source cannot remove dead rows until it is closed\n")


def _left(task: MigrationTask) -> dict[str, list[dict[str, str]]]:
    left = selectors.left_behind(task, limit=10_000)
    return {
        side: [{"kind": line.kind, "name": line.name, "database": line.database, "removal": line.sql} for line in lines]
        for side, lines in (("source", left.source), ("target", left.target))
    }


def _databases(task: MigrationTask) -> list[dict[str, Any]]:
    selection = Selection.from_json(task.selection)
    return [
        {
            "source": row.source,
            "target": row.target,
            "schemas": renamed_schemas(selection, row.source),
            "rows_applied": row.rows_applied,
            "position": format_lsn(row.position) if row.position else None,
            "spool_bytes": row.spool_bytes,
        }
        for row in selectors.databases(task)
    ]


def _comparison(row: ComparisonResult, applied_since: int | None) -> dict[str, Any]:
    return {
        "database": row.database,
        "equal": row.equal,
        "tables": row.tables_count,
        "rows": row.source_rows,
        "applied_since": applied_since,
        "seconds": (row.finished_at - row.started_at).total_seconds(),
    }


def print_report(task: MigrationTask, out: Out) -> None:
    """Print the report for people."""
    out = _Visible(out)
    data = report(task)
    out.write("\n")
    out.write(f"{data['name']}  {data['status']}  {data['id']}\n")
    for step in data["steps"]:
        seconds = f"{step['seconds']:8.1f} s" if step["seconds"] is not None else "         –"
        out.write(f"  {step['name']:<10}{step['state']:<9}{seconds}  {step['note']}\n")
    rows, size = sum(table["rows"] for table in data["tables"]), sum(table["bytes"] for table in data["tables"])
    out.write(f"  {len(data['tables'])} tables, {rows:,} rows, {bytes_text(size)} copied\n")
    if standing := _sync_standing(selectors.task_row(task)):
        out.write(f"  {' · '.join(standing)}\n")
    for database in data["databases"]:
        applied = f": {database['rows_applied']:,} changes applied" if data["incremental"] else ""
        out.write(f"  {database['source']} → {database['target']}{applied}\n")
        for old, new in database["schemas"].items():
            out.write(f"    schema {old} → {new}\n")
    _print_snapshot(data["snapshot"], out)
    _print_comparisons(data["comparisons"], out)
    if not data["compared"]:
        out.write("  comparison: not compared (--no-compare)\n")
    _print_differences(data["differences"], out)
    _print_structure(data["structure"], out)
    if task.status in (Status.CANCELLED, Status.COMPLETED):
        print_left(task, out)
    if data["error"]:
        first, *more = in_lines(data["error"]["message"], task.words.get("error_message"))
        out.write(f"  {data['error']['code']}: {first}\n")
        _indented([*more, *in_lines(data["error"]["hint"], task.words.get("error_hint"))], 2, out)
    print_conflict(task, out)
    _print_tables(task, data, out)


def _print_tables(task: MigrationTask, data: dict[str, Any], out: Out) -> None:
    """Print the tables that are set aside, and those that are new on the source."""
    for table in data["tables"]:
        if table["status"] in SET_ASIDE:
            out.write(f"  {table['status']}: {table['schema']}.{table['name']} of {table['database']}\n")
    for table in data["new_tables"]:
        said = {"": "undecided", "add": "being added", "ignored": "ignored"}[table["choice"]]
        out.write(f"  new on the source: {table['schema']}.{table['name']} of {table['database']}, {said}\n")
    if any(not table["choice"] for table in data["new_tables"]):
        out.write(f"  decide: manage.py task add {task.pk} SCHEMA.TABLE, or ignore\n")


def _new_tables(task: MigrationTask) -> list[dict[str, Any]]:
    lines = selectors.new_table_lines(task)
    names = ("database", "schema", "name", "tables", "choice", "problem")
    return [{name: getattr(line, name) for name in names} for line in lines]


def _print_comparisons(comparisons: list[dict[str, Any]], out: Out) -> None:
    for comparison in comparisons:
        verdict = "equal" if comparison["equal"] else "DIFFERS"
        out.write(
            f"  comparison of {comparison['database']}: {verdict}, "
            f"{comparison['tables']} tables, {comparison['rows']:,} rows\n"
        )
        if comparison["applied_since"]:
            out.write(f"    older than the last change: {comparison['applied_since']:,} changes applied since\n")


def print_left(task: MigrationTask, out: Out) -> None:
    """Print what of a task is on either server now, the source first, with the statement that removes it."""
    out = _Visible(out)
    for side, lines in _left(task).items():
        if lines:
            out.write(f"  left on the {side}: {len(lines):,}\n")
        for line in lines[:50]:
            place = f" in {line['database']}" if line["database"] else ""
            out.write(f"    {line['kind']} {line['name']}{place}\n")
            _indented(line["removal"].split("\n") if line["removal"] else (), 6, out)
        if len(lines) > 50:
            out.write(f"    … and {len(lines) - 50:,} more; --json lists all\n")


def print_conflict(task: MigrationTask, out: Out) -> bool:
    """Print the conflict or changed table that stopped a task and how it is decided; False when there is none."""
    out = _Visible(out)
    row = selectors.task_row(task)
    if row.conflict:
        view = row.conflict
        out.write(f"  conflict: {view.change} of {view.table} in {view.database} ({view.key}): {view.kind}\n")
        if view.obstacle:
            out.write(f"  {view.obstacle}\n")
    elif row.drift:
        _print_drift(row.drift, out)
    stopped = row.conflict or row.drift
    if stopped is None:
        return False
    options = [f"--{choice.name.replace('_', '-')}" for choice in stopped.choices]
    out.write(f"  decide: manage.py task conflict {task.pk} {' | '.join(options)}\n")
    return True


def _print_drift(view: selectors.DriftView, out: Out) -> None:
    out.write(f"  changed on the source: {view.table} of {view.database}\n")
    for line in view.lines:
        out.write(f"    {line.what}: {line.name}: {line.old} <-> {line.new}\n")
    for statement in view.statements:
        _indented(f"{statement};".split("\n"), 4, out)
    if view.doubt:
        out.write(f"  {view.doubt}\n")


def _print_differences(differences: list[dict[str, Any]], out: Out) -> None:
    for difference in differences[:50]:
        place = f"{difference['schema']}.{difference['name']}".strip(".")
        keys = ", ".join(difference["sample_keys"][:5])
        out.write(f"    {difference['database']} {place}: {difference['verdict']} {difference['reason']} {keys}\n")


def _print_structure(lines: list[dict[str, Any]], out: Out) -> None:
    for line in lines:
        notes = line["notes"]
        said = f"{len(notes)} NOTE{'S' * (len(notes) > 1)}" if notes else "arrived"
        if line["database"]:
            out.write(f"  structure of {line['database']}: {said}, {line['objects']:,} objects compared\n")
        else:
            out.write(f"  roles of the target: {said}\n")
        for note in notes[:50]:
            out.write(f"    {note['object']}: {note['what']}\n")
            if note["words"]:
                out.write(f"      the target said: {note['words']}\n")
            _indented(note["statement"].splitlines()[:10], 6, out)


def print_check(task: MigrationTask, out: Out) -> None:
    """Print the check's items: all that are not passed, those that say the same once, and the counts."""
    out = _Visible(out)
    items = list(CheckItem.objects.filter(task=task))
    alike: dict[tuple[str, ...], list[CheckItem]] = {}
    for item in items:
        if item.status != "passed":
            alike.setdefault((item.status, item.found, item.hint, item.sql), []).append(item)
    for (status, found, hint, sql), group in alike.items():
        first, *others = (f"{item.title} [{item.database}]" if item.database else item.title for item in group)
        words = group[0].words
        said, *more = in_lines(found, words.get("found"))
        out.write(f"  {status.upper():<8}{first}: {said}\n")
        told = [*more, *in_lines(hint, words.get("hint")), *selectors.first_lines(sql).split("\n")]
        _indented((line for line in told if line), 10, out)
        if others:
            out.write(f"          The same holds for {len(others)} more: {'; '.join(others)}\n")
    counts = {status: sum(1 for item in items if item.status == status) for status in ("failed", "warning", "passed")}
    warned = "1 warning" if counts["warning"] == 1 else f"{counts['warning']} warnings"
    out.write(f"  check: {counts['failed']} failed, {warned}, {counts['passed']} passed\n")


def progress_line(task: MigrationTask) -> str:
    """Return one line that says where the task is."""
    row = selectors.task_row(task)
    parts = [row.status_label]
    if row.step_position:
        parts.append(f"step {row.step_position} of {row.step_count}: {row.step_label}")
    if row.percent is not None and row.live:
        parts.append(f"{row.percent} %")
    if row.note:
        parts.append(row.note)
    if task.failing_since is not None:  # it may be tried again for hours: whoever watches wants to know why
        parts.append(row.error_message)
    if row.bytes_per_second:
        parts.append(f"{bytes_text(row.bytes_per_second)}/s")
    parts += _sync_standing(row)
    view = selectors.held(task)
    if view is not None and view.long:
        parts.append(f"snapshot held {age(int(view.seconds))}")
    return one_line(" · ".join(parts))


def told_since(task_id: str, last: int) -> tuple[int, list[str]]:
    """Return the number of the last event of a task, and lines for the errors among those after `last`.

    What ends the task is left out: the report says it. What stays behind and stands in no report is told as well.
    """
    events = Event.objects.filter(task__pk=task_id, pk__gt=last).order_by("pk")
    lines = [
        one_line(f"{event.level.upper()} {event.code}: {event.message}")
        for event in events
        if (event.level == "error" and not event.to_status) or event.code in _STAYS_BEHIND
    ]
    return max((event.pk for event in events), default=last), lines


def _sync_standing(row: selectors.TaskRow) -> list[str]:
    """Return how far behind the sync is, what is written on the source, and how it comes along when it is behind."""
    parts = []
    if row.lag_bytes is not None:
        parts.append(f"lag {bytes_text(row.lag_bytes)}, {row.lag_seconds or 0:.1f} s")
    if row.wal_bytes_per_second is not None:
        parts.append(f"source writes {bytes_text(row.wal_bytes_per_second)}/s of WAL")
    if row.catching_up is False:
        parts.append(f"not catching up, applies {bytes_text(row.applied_bytes_per_second or 0)}/s")
    if row.catching_up and row.eta_at:
        left = max(0, int((row.eta_at - timezone.now()).total_seconds()))
        parts.append(f"caught up in about {age(left)}")
    return parts


def bytes_text(size: float) -> str:
    """Return a size in the powers that people use: B, kB, MB, GB, TB (of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
