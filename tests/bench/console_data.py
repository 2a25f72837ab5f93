"""Rows for `make bench-console`: drafts with very many objects. Runs inside the measured installation."""

from __future__ import annotations

import json
from collections.abc import Iterator

from django.test import Client
from django.utils import timezone

from migrations_app import services
from migrations_app.models import ConnectionTest, MigrationTask, SourceObject, User

BATCH = 2000


def fill_trees() -> dict[str, str]:
    """Make two drafts: 50,000 tables in one schema, and 2,000 schemas of 25 tables. Returns their ids."""
    actor = User.objects.create(username="bench", role="operator")
    one, many = _draft(actor, "one schema"), _draft(actor, "many schemas")
    SourceObject.objects.bulk_create(_objects(one, 1, 50_000), batch_size=BATCH)
    SourceObject.objects.bulk_create(_objects(many, 2_000, 25), batch_size=BATCH)
    return {"one": str(one.pk), "many": str(many.pk), "session": _session(actor)}


def _draft(actor: User, name: str) -> MigrationTask:
    side = services.EndpointData(host="db.example", port=5432, account="mover", password="not a real one")
    task = services.create_draft(actor=actor, name=name, scheduled_at=None, incremental=True, source=side, target=side)
    now = timezone.now()
    ConnectionTest.objects.create(
        task=task, side="source", kind="inventory", state="passed", created_at=now, finished_at=now
    )
    return task


def _objects(task: MigrationTask, schemas: int, tables: int) -> Iterator[SourceObject]:
    """Each fifth table refers to another one; every tenth has a view beside it."""
    yield SourceObject(task=task, database="shop", kind="database", bytes=schemas * tables * 900_000)
    for number in range(schemas):
        schema = f"s_{number:04}"
        yield SourceObject(task=task, database="shop", schema=schema, kind="schema")
        for table in range(tables):
            yield SourceObject(
                task=task,
                database="shop",
                schema=schema,
                name=f"{'app' if table % 3 else 'log'}_{table:05}",
                kind="table",
                bytes=1_000 * (1 + table % 977),
                rows_estimate=table,
                fk_parents=[[schema, f"app_{table - 1:05}"]] if table % 5 == 2 else [],
                needs=[["sequence", schema, f"t_{table}_id_seq"]],
            )
            if table % 10 == 0:
                yield SourceObject(task=task, database="shop", schema=schema, name=f"v_{table:05}", kind="view")


def _session(user: User) -> str:
    client = Client(SERVER_NAME="127.0.0.1")
    client.get("/healthz")  # loads the middleware that notes when a session begins
    client.force_login(user)
    return client.cookies["sessionid"].value


def main() -> None:
    """Fill the installation and print what the clients need."""
    print(json.dumps(fill_trees()))
