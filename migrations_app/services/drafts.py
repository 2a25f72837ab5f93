"""Drafts: the settings of a task, its selection, its check. All of it can be left and taken up on another day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from .. import queue
from ..draft_facts import draft_hash, missing_parents
from ..engine.plan import DatabasePlan
from ..engine.selection import Selection
from ..engine.states import Action, Status
from ..models import ConnectionTest, Endpoint, MigrationTask, SourceObject, User
from .base import Actor, Refused, TaskId, locked, move, note, require, touch

_TLS_STRENGTH = ["disable", "prefer", "require", "verify-ca", "verify-full"]


@dataclass(frozen=True, kw_only=True)
class EndpointData:
    """What the wizard or a URI says about one side. `password=None` keeps the stored one."""

    host: str
    port: int
    account: str
    password: str | None = field(default=None, repr=False)
    database: str = "postgres"
    tls_mode: str = "require"
    kind: str = "public_ip"


def _store_endpoint(endpoint: Endpoint | None, data: EndpointData) -> Endpoint:
    """Create or change an endpoint. A stored password never follows to another address, account or weaker TLS."""
    endpoint = endpoint or Endpoint()
    moved = (endpoint.host, endpoint.port, endpoint.account) != (data.host, data.port, data.account)
    weaker = _TLS_STRENGTH.index(data.tls_mode) < _TLS_STRENGTH.index(endpoint.tls_mode)
    if data.password is not None:
        endpoint.password = data.password
    elif moved or weaker:
        endpoint.password = ""
    endpoint.kind, endpoint.host, endpoint.port = data.kind, data.host, data.port
    endpoint.account, endpoint.database, endpoint.tls_mode = data.account, data.database, data.tls_mode
    endpoint.save()
    return endpoint


@transaction.atomic
def create_draft(
    *,
    actor: Actor,
    name: str,
    scheduled_at: datetime | None,
    incremental: bool,
    source: EndpointData,
    target: EndpointData,
    foreground: bool = False,
    copy_jobs: int | None = None,
) -> MigrationTask:
    """Create a task in status draft with the whole instance selected. `foreground`: no queue worker takes it."""
    task = MigrationTask.objects.create(
        name=name,
        owner=actor if isinstance(actor, User) else None,
        scheduled_at=scheduled_at,
        incremental=incremental,
        source=_store_endpoint(None, source),
        target=_store_endpoint(None, target),
        selection=Selection.everything().to_json(),
        foreground=foreground,
        copy_jobs=copy_jobs,
    )
    note(task, f"Task {name} created.", actor=actor, code="TASK-CREATED")
    return task


@transaction.atomic
def save_settings(
    *,
    task_id: TaskId,
    actor: Actor,
    name: str,
    scheduled_at: datetime | None,
    incremental: bool,
    source: EndpointData,
    target: EndpointData,
) -> MigrationTask:
    """Change a task that has not been started; a check result that no longer fits is void. Raises Refused."""
    task = locked(task_id)
    require(Action.EDIT, task)
    before = draft_hash(task)
    old_source = (task.source.host, task.source.port) if task.source else None
    task.name, task.scheduled_at, task.incremental = name, scheduled_at, incremental
    task.source = _store_endpoint(task.source, source)
    task.target = _store_endpoint(task.target, target)
    task.save()
    if old_source != (source.host, source.port):
        SourceObject.objects.filter(task=task).delete()
    _void_check(task, before, actor)
    touch(task)
    task.refresh_from_db()
    return task


def _void_check(task: MigrationTask, before: str, actor: Actor) -> None:
    if draft_hash(task) != before and task.status != Status.DRAFT:
        move(
            task, Status.DRAFT, actor=actor, code="TASK-EDITED", message="Settings changed; the check has to run again."
        )


@transaction.atomic
def set_selection(*, task_id: TaskId, actor: Actor, selection: Selection) -> MigrationTask:
    """Replace the whole selection. Raises Refused when the task was started."""
    task = locked(task_id)
    require(Action.EDIT, task)
    before = draft_hash(task)
    task.selection = selection.to_json()
    task.save(update_fields=["selection"])
    _void_check(task, before, actor)
    touch(task)
    return task


def set_selected(*, task_id: TaskId, actor: Actor, path: Iterable[str], selected: bool) -> MigrationTask:
    """Select or leave out the whole subtree at `path`: (), (database,), (database, schema), (…, table)."""
    with transaction.atomic():
        current = Selection.from_json(locked(task_id).selection)
        return set_selection(task_id=task_id, actor=actor, selection=current.toggle(tuple(path), selected))


@transaction.atomic
def include_parents(*, task_id: TaskId, actor: Actor) -> int:
    """Select the foreign-key parents that are left out, and their parents. Returns how many tables were added."""
    task = locked(task_id)
    selection, added = Selection.from_json(task.selection), 0
    while missing := missing_parents(task, selection):
        for parent in {parent for _, parent in missing}:
            selection = selection.toggle(parent, True)
            added += 1
    set_selection(task_id=task_id, actor=actor, selection=selection)
    return added


def planned_databases(task: MigrationTask) -> list[DatabasePlan]:
    """Return the databases that the selection touches, by the stored object list. Raises Refused without one."""
    selection = Selection.from_json(task.selection)
    known = SourceObject.objects.filter(task=task, schema="", name="", selectable=True).values_list(
        "database", flat=True
    )
    chosen = [name for name in known if selection.touches(name)]
    named = [path[0] for path, value in selection.rules.items() if path and value and path[0] not in chosen]
    names = sorted({*chosen, *(name for name in named if not known)})
    if not names and not known:
        raise Refused("The objects of the source have not been read yet. Open the Objects step first.")
    return [DatabasePlan(source_name=name, target_name=selection.target_name(name)) for name in names]


@transaction.atomic
def request_test(*, task_id: TaskId, actor: Actor, side: str) -> ConnectionTest:
    """Ask a worker to test the connection of one side; the page polls the row."""
    return _request(task_id, actor, side, "test")


@transaction.atomic
def request_inventory(*, task_id: TaskId, actor: Actor) -> ConnectionTest:
    """Ask a worker to read the source's objects into our rows; an unfinished reading is not asked for twice."""
    waiting = ConnectionTest.objects.filter(
        task=locked(task_id), kind="inventory", state__in=["waiting", "running"]
    ).first()
    return waiting or _request(task_id, actor, "source", "inventory")


def _request(task_id: TaskId, actor: Actor, side: str, kind: str) -> ConnectionTest:
    task = locked(task_id)
    require(Action.EDIT, task)
    if side not in ("source", "target"):
        raise Refused("A connection test needs a side: source or target.")
    test = ConnectionTest.objects.create(task=task, side=side, kind=kind)
    queue.wake("test", str(test.pk))
    return test
