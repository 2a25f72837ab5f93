"""Rows that many tests need."""

from __future__ import annotations

from typing import Any

import pytest

from migrations_app import services
from migrations_app.draft_facts import draft_hash
from migrations_app.models import CheckItem, MigrationTask, SourceObject, User
from migrations_app.services import work

CANARY = "canary-s3cr3t-5b1c"


def endpoint(**changes: Any) -> services.EndpointData:
    """Return an endpoint with a password that must never be seen again."""
    values: dict[str, Any] = {"host": "db.example", "port": 5432, "account": "mover", "password": CANARY}
    return services.EndpointData(**{**values, **changes})


@pytest.fixture
def alice(db: None) -> User:
    """An operator."""
    return User.objects.create_user("alice", password="correct horse battery", role="operator")


@pytest.fixture
def draft(alice: User) -> MigrationTask:
    """A task in status draft whose source has one database with two tables."""
    task = services.create_draft(
        actor=alice,
        name="shop to 18",
        scheduled_at=None,
        incremental=True,
        source=endpoint(),
        target=endpoint(host="new.example"),
    )
    SourceObject.objects.create(task=task, database="shop", kind="database", bytes=1000)
    SourceObject.objects.create(task=task, database="shop", schema="public", kind="schema")
    for name, parents in (("orders", [["public", "customers"]]), ("customers", [])):
        SourceObject.objects.create(
            task=task, database="shop", schema="public", name=name, kind="table", bytes=500, fk_parents=parents
        )
    return task


@pytest.fixture
def checked(draft: MigrationTask, alice: User) -> MigrationTask:
    """A task whose check has passed."""
    return pass_check(draft, alice)


def pass_check(task: MigrationTask, actor: User) -> MigrationTask:
    """Let the check of a task end without a failed item."""
    services.request_check(task_id=task.pk, actor=actor)
    CheckItem.objects.create(task=task, code="wal-level", title="wal_level", group="Sync", status="passed")
    work.finish_check(str(task.pk), hash_checked=draft_hash(task))
    task.refresh_from_db()
    return task
