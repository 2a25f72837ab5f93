"""The check as a report that can be kept or sent: the same facts as data, as text, and for the template. No secrets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from ..engine.selection import Selection
from ..models import CheckItem, MigrationTask
from .checkview import CheckView, check_view
from .wording import Tell, in_english


def check_report(task: MigrationTask, tell: Tell = in_english) -> dict[str, Any]:
    """Return the last check of a task as plain data: who, when, counts, and every result, worst group first.

    `tell` chooses the language of what was found: English for programs, the reader's for people.
    """
    view = check_view(task)
    return {
        "report": "towpath check",
        "made_at": _time(timezone.now()),
        "task": {"id": str(task.pk), "name": task.name, "incremental": task.incremental},
        "source": _side(task.source),
        "target": _side(task.target),
        "selection": Selection.from_json(task.selection).to_json(),
        "checked_at": _time(task.checked_at),
        "valid_until": _time(view.valid_until),
        "holds": view.valid,
        "draft": task.checked_hash,
        "counts": _counts(view),
        "groups": [
            {
                "name": group.name,
                "items": [_item(row.item, entry.looks_at, tell) for entry in group.entries for row in entry.rows],
            }
            for group in view.groups
        ],
    }


def _counts(view: CheckView) -> dict[str, int]:
    return {
        "failed": view.failed + view.unseen,
        "warning": view.warnings,
        "acknowledged": view.acknowledged,
        "passed": view.passed,
        "waiting": view.waiting,
    }


def _side(endpoint: Any) -> dict[str, Any]:
    """Return where a server is and as whom we sign in: never a secret."""
    if endpoint is None:
        return {}
    return {
        "host": endpoint.host,
        "port": endpoint.port,
        "account": endpoint.account,
        "database": endpoint.database,
        "tls": endpoint.tls_mode,
    }


def _item(item: CheckItem, looks_at: str, tell: Tell) -> dict[str, Any]:
    return {
        "code": item.code,
        "title": item.title,
        "looks_at": looks_at,
        "database": item.database,
        "status": item.status,
        "found": tell(item, "found"),
        "hint": tell(item, "hint"),
        "sql": item.sql,
        "needs_restart": item.needs_restart,
        "seconds": item.seconds,
        "checked_at": _time(item.checked_at),
        "acknowledged": {
            "by": item.acknowledged_by,
            "at": _time(item.acknowledged_at),
            "reason": item.acknowledged_reason,
        }
        if item.acknowledged_at
        else None,
    }


def _time(moment: datetime | None) -> str | None:
    """Return a time as both reports of a task write it: in UTC."""
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None


def as_text(report: dict[str, Any]) -> str:
    """Return the report as plain text. Names from a server are on one line each: none can pass for a line of ours."""
    counts = report["counts"]
    lines = [
        f"Check of {_one_line(report['task']['name'])}",
        f"{_address(report['source'])} -> {_address(report['target'])}",
        f"Checked {report['checked_at'] or 'never'}, valid until {report['valid_until'] or '-'}"
        + ("" if report["holds"] else " (does not hold any more)"),
        f"{counts['failed']} Failed, {counts['warning']} Warning ({counts['acknowledged']} acknowledged),"
        f" {counts['passed']} Passed" + (f", {counts['waiting']} not run" if counts["waiting"] else ""),
    ]
    for group in report["groups"]:
        lines += ["", group["name"], "-" * len(group["name"])]
        for item in group["items"]:
            lines += _text_item(item)
    return "\n".join(lines) + "\n"


def _text_item(item: dict[str, Any]) -> list[str]:
    where = f" ({_one_line(item['database'])})" if item["database"] else ""
    lines = [f"{item['status'].capitalize():8} {item['title']}{where}"]
    lines += _indented("Found: ", item["found"])
    if item["status"] in ("failed", "warning"):
        lines += _indented("To do: ", item["hint"])
        lines += _indented("SQL:   ", item["sql"])
        if item["needs_restart"]:
            lines += _indented("Needs a restart of the server.", "", always=True)
    if item["acknowledged"]:
        known = item["acknowledged"]
        lines += _indented("Acknowledged: ", f"{known['by'] or '-'}, {known['at']}: {known['reason']}")
    return lines


def _indented(label: str, text: str, *, always: bool = False) -> list[str]:
    if not text and not always:
        return []
    first, *rest = (_one_line(line) for line in text.split("\n"))
    return [f"         {label}{first}".rstrip(), *(f"         {' ' * len(label)}{line}" for line in rest)]


def _address(side: dict[str, Any]) -> str:
    return f"{_one_line(str(side['host']))}:{side['port']}" if side else "-"


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)
