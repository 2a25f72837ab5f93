"""The list of 10,000 tasks and the page of a task with 50,000 tables: their rows, and what `bench-console` asks for."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

TASKS, TABLES, ROWS = 10_000, 50_000, 30
_LIKELY = [("completed", 60), ("ready", 10), ("draft", 8), ("cancelled", 8), ("check_passed", 5), ("failed", 4)]
_STEPS = ["schema", "copy", "index", "sync", "compare", "complete", "cleanup"]


def fill_tasks() -> dict[str, str]:
    """Make the tasks, their steps, databases and tags, and one task with many tables, events and samples."""
    from migrations_app.models import Endpoint, MigrationTask, Step, Tag, TaskDatabase

    chance, now = random.Random(7), timezone.now()  # noqa: S311 - the same rows every time, no secret
    states = [state for state, weight in [*_LIKELY, ("queued", 3), ("running", 2)] for _ in range(weight)]
    ends = [Endpoint(host=f"db{n}.internal", account="mover", database="shop") for n in range(2 * TASKS)]
    Endpoint.objects.bulk_create(ends, batch_size=500)
    tags = Tag.objects.bulk_create([Tag(name=f"wave {number}") for number in range(20)])
    tasks = [
        MigrationTask(
            name=f"{chance.choice(['shop', 'billing', 'crm', 'wiki'])} {number:05}",
            status=chance.choice(states),
            created_at=now - timedelta(minutes=number),
            queued_at=now - timedelta(minutes=number),
            started_at=now - timedelta(minutes=number),
            source=ends[2 * number],
            target=ends[2 * number + 1],
            selection={"rules": [[["shop"], True]], "targets": {}},
            current_step="sync",
            lag_seconds=chance.random() * 100,
            lag_bytes=chance.randrange(1_000_000),
            version=3,
        )
        for number in range(TASKS)
    ]
    MigrationTask.objects.bulk_create(tasks, batch_size=500)
    TaskDatabase.objects.bulk_create(
        (TaskDatabase(task=task, source_name="shop", target_name="shop") for task in tasks), batch_size=500
    )
    Step.objects.bulk_create(
        (
            Step(task=task, name=name, position=n, state="done" if n < 4 else "pending", started_at=now)
            for task in tasks
            for n, name in enumerate(_STEPS, start=1)
        ),
        batch_size=500,
    )
    through = MigrationTask.tags.through
    through.objects.bulk_create(
        (through(migrationtask_id=task.pk, tag_id=chance.choice(tags).pk) for task in tasks[::3]), batch_size=500
    )
    shown = "&".join(f"known={task.pk}%3A3%3A{task.status}" for task in tasks[:ROWS])
    return {"known": shown, "big": str(_fill_big(tasks[0].pk))}


def _fill_big(key: object) -> object:
    from migrations_app.models import Event, MigrationTask, Sample, TableCopy

    now = timezone.now()
    MigrationTask.objects.filter(pk=key).update(status="running", current_step="copy")
    TableCopy.objects.bulk_create(
        (
            TableCopy(
                task_id=key,
                database="shop",
                schema=f"s{number % 50}",
                name=f"table_{number:05}",
                oid=number,
                status=["done", "done", "copying", "waiting"][number % 4],
                bytes_total=1000 * (number % 997),
                bytes_done=500 * (number % 997),
                rows_done=number,
                started_at=now,
            )
            for number in range(TABLES)
        ),
        batch_size=1000,
    )
    Event.objects.bulk_create(Event(task_id=key, message=f"event {number}") for number in range(2000))
    Sample.objects.bulk_create(
        Sample(task_id=key, at=now - timedelta(seconds=5 * number), copy_bytes_per_second=4e7, wal_kept_bytes=number)
        for number in range(500)
    )
    return key


def main() -> None:
    """Fill the installation and print what the clients need."""
    print(json.dumps(fill_tasks()))


def pages_of_tasks(ids: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Name and address of each page that is measured."""
    yield "list, 10,000 tasks", "/"
    yield "list, 10,000 tasks: page 200", "/?page=200"
    yield "list, 10,000 tasks: search", "/?q=billing+07"
    yield "list, 10,000 tasks: status and tag", "/?status=waiting&tag=wave+7"
    yield "list, 10,000 tasks: queued", "/?status=queued"
    for column in ("name", "status", "-lag", "-progress"):
        yield f"list, 10,000 tasks: by {column}", f"/?sort={column}"
    yield "list, 10,000 tasks: poll without changes", f"/live/?{ids['known']}"
    yield "list, 10,000 tasks: poll with changes", f"/live/?{ids['known'].replace('%3A3%3A', '%3A2%3A')}"
    base = f"/tasks/{ids['big']}/"
    yield "task, 50,000 tables", base
    yield "task, 50,000 tables: last page by name", f"{base}?sort=name&page=2000"
    yield "task, 50,000 tables: search", f"{base}?q=table_04"
    yield "task, 50,000 tables: copying", f"{base}?state=copying"
    yield "task, 50,000 tables: poll", f"{base}progress/?seen=x"
    yield "task, 50,000 tables: report", f"{base}report.html"
