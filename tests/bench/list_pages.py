"""The list of 10,000 tasks and the page of a task with 50,000 tables: their rows, and what `bench-console` asks for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from tests.bench.load import Page

TASKS, TABLES, ROWS = 10_000, 50_000, 30
_LIKELY = [("completed", 60), ("ready", 10), ("draft", 8), ("cancelled", 8), ("check_passed", 5), ("failed", 4)]
_STEPS = ["schema", "copy", "index", "sync", "compare", "complete", "cleanup"]


def fill_tasks() -> dict[str, str]:
    """Make the tasks, their steps, databases and tags, and one task with many tables, events and samples."""
    from migrations_app.models import Endpoint, MigrationTask, Step, Tag, TaskDatabase
    from tests.bench.rows import for_each, store

    chance, now = random.Random(7), timezone.now()  # noqa: S311 - the same rows every time, no secret
    states = [state for state, weight in [*_LIKELY, ("queued", 3), ("running", 2)] for _ in range(weight)]
    ends = [Endpoint(host=f"db{n}.internal", account="mover", database="shop") for n in range(2 * TASKS)]
    store(ends)
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
    store(tasks)
    every = MigrationTask._meta.db_table
    for_each(every, TaskDatabase(source_name="shop", target_name="shop"), task_id="id")
    for position, name in enumerate(_STEPS, start=1):
        state = "done" if position < 4 else "pending"
        for_each(every, Step(name=name, position=position, state=state, started_at=now), task_id="id")
    through = MigrationTask.tags.through
    store(through(migrationtask_id=task.pk, tag_id=chance.choice(tags).pk) for task in tasks[::3])
    shown = "&".join(f"known={task.pk}%3A3%3A{task.status}" for task in tasks[:ROWS])
    return {"known": shown, "big": str(_fill_big(tasks[0].pk))}


def _fill_big(key: object) -> object:
    from migrations_app.models import Event, MigrationTask, Sample, TableCopy
    from tests.bench.rows import multiply, store

    now = timezone.now()
    MigrationTask.objects.filter(pk=key).update(status="running", current_step="copy")
    multiply(
        TableCopy(task_id=key, database="shop", oid=1, started_at=now),
        TABLES,
        schema="'s' || n % 50",
        name="printf('table_%05d', n)",
        status="CASE n % 4 WHEN 2 THEN 'copying' WHEN 3 THEN 'waiting' ELSE 'done' END",
        bytes_total="1000 * (n % 997)",
        bytes_done="500 * (n % 997)",
        rows_done="n",
    )
    store(Event(task_id=key, message=f"event {number}") for number in range(2000))
    store(
        Sample(task_id=key, at=now - timedelta(seconds=5 * number), copy_bytes_per_second=4e7, wal_kept_bytes=number)
        for number in range(500)
    )
    return key


def pages_of_tasks(ids: dict[str, str]) -> Iterator[Page]:
    """The list, its polls, and the pages of one task."""
    yield Page("list, 10,000 tasks", "/")
    yield Page("list, 10,000 tasks: page 200", "/?page=200")
    yield Page("list, 10,000 tasks: search", "/?q=billing+07")
    yield Page("list, 10,000 tasks: status and tag", "/?status=waiting&tag=wave+7")
    yield Page("list, 10,000 tasks: queued", "/?status=queued")
    for column in ("name", "status", "-lag", "-progress"):
        yield Page(f"list, 10,000 tasks: by {column}", f"/?sort={column}")
    yield Page("list, 10,000 tasks: poll, a row or two changed", f"/live/?{ids['known']}")
    yield Page("list, 10,000 tasks: poll, all rows changed", f"/live/?{ids['known'].replace('%3A3%3A', '%3A2%3A')}")
    base = f"/tasks/{ids['big']}/"
    yield Page("task, 50,000 tables", base)
    yield Page("task, 50,000 tables: last page by name", f"{base}?sort=name&page=2000")
    yield Page("task, 50,000 tables: search", f"{base}?q=table_04")
    yield Page("task, 50,000 tables: copying", f"{base}?state=copying")
    yield Page("task, 50,000 tables: poll", f"{base}progress/?seen=x")
    yield Page("task, 50,000 tables: report, HTML", f"{base}report.html", file=True)
    yield Page("task, 50,000 tables: report, JSON", f"{base}report.json", file=True)
