"""Drafts: the settings of a task, its selection, its check. All of it can be left and taken up on another day."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import transaction
from django.utils.translation import gettext as _

from .. import queue
from ..draft_facts import draft_hash, settings_mark, way_to
from ..engine.selection import Selection
from ..engine.states import Action, Status
from ..engine.wording import noun, say
from ..models import ConnectionTest, Endpoint, MigrationTask, SourceObject, User
from ..refusals import stands_on
from .base import Actor, Refused, TaskId, locked, move, note, refuse_stale, require, require_filled, touch
from .endpoint_tests import HOST_KEY_UNKNOWN, is_key_of
from .endpoints import EndpointData, store_endpoint
from .limits import count_test


@transaction.atomic
def create_draft(
    *,
    actor: Actor,
    name: str,
    scheduled_at: datetime | None,
    incremental: bool,
    source: EndpointData | None,
    target: EndpointData | None,
    foreground: bool = False,
    copy_jobs: int | None = None,
    copy_mb_per_second: int | None = None,
    skip_compare: bool = False,
) -> MigrationTask:
    """Create a task in status draft with the whole instance selected. `foreground`: no queue worker takes it.

    A side may follow later (None). `skip_compare`: a task without incremental sync ends without its comparison, and
    says so.
    """
    task = MigrationTask.objects.create(
        name=name,
        owner=actor if isinstance(actor, User) else None,
        scheduled_at=scheduled_at,
        incremental=incremental,
        source=store_endpoint(None, source, side="source", target=target) if source else None,
        target=store_endpoint(None, target, side="target") if target else None,
        selection=Selection.everything().to_json(),
        foreground=foreground,
        copy_jobs=copy_jobs,
        copy_mb_per_second=copy_mb_per_second,
        skip_compare=skip_compare and not incremental,
    )
    note(task, say("Task {name} created.", name=name), actor=actor, code="TASK-CREATED")
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
    seen: str | None = None,
) -> MigrationTask:
    """Change a task that has not been started; a check result that no longer fits is void. Raises Refused.

    `seen`: the `settings_mark` that the form was drawn from. Raises Changed when it is another one by now.
    """
    task = locked(task_id)
    require(Action.EDIT, task)
    refuse_stale(seen, settings_mark(task))
    before = draft_hash(task)
    task.name, task.scheduled_at, task.incremental = name, scheduled_at, incremental
    _store_sides(task, source=source, target=target)
    void_check(task, before, actor)
    touch(task)
    task.refresh_from_db()
    return task


@transaction.atomic
def leave_out_sync(*, task_id: TaskId, actor: Actor) -> MigrationTask:
    """Make a task that has not been started one that copies once; its check is void. Idempotent. Raises Refused."""
    task = locked(task_id)
    require(Action.EDIT, task)
    if task.incremental:
        before = draft_hash(task)
        task.incremental = False
        task.save(update_fields=["incremental"])
        note(task, say("Incremental sync is switched off: rows are copied once."), actor=actor, code="TASK-FULL-ONLY")
        void_check(task, before, actor)
        touch(task)
    return task


@transaction.atomic
def try_side(
    *,
    task_id: TaskId | None,
    actor: Actor,
    side: str,
    endpoint: EndpointData,
    name: str,
    incremental: bool = True,
    confirm: uuid.UUID | None = None,
    seen: str | None = None,
) -> ConnectionTest:
    """Save one side alone and ask a worker to test it; the other side may be empty, and stays as it is.

    Without a task a draft `name` is made first. `confirm`: the test whose SSH host key is to be trusted before, as
    confirm_host_key does. `seen`: as in save_settings. Raises Refused, and has saved nothing then.
    """
    if task_id is None:
        source, target = (endpoint if side == each else None for each in ("source", "target"))
        draft = create_draft(
            actor=actor, name=name, scheduled_at=None, incremental=incremental, source=source, target=target
        )
        task_id = draft.pk
    else:
        task = locked(task_id)
        require(Action.EDIT, task)
        refuse_stale(seen, settings_mark(task))
        before = draft_hash(task)
        _store_sides(task, **{side: endpoint})
        void_check(task, before, actor)
        touch(task)
    if confirm is not None:
        confirm_host_key(task_id=task_id, actor=actor, side=side, test_id=confirm)
    return request_test(task_id=task_id, actor=actor, side=side)


def _store_sides(
    task: MigrationTask, *, source: EndpointData | None = None, target: EndpointData | None = None
) -> None:
    """Save the given sides, and forget what was found out about a server that is another one now."""
    former, former_target = way_to(task.source), way_to(task.target)
    bastions = [_bastion(task.source), _bastion(task.target)]
    if source is not None:
        task.source = store_endpoint(task.source, source, side="source", target=target)
    if target is not None:
        task.target = store_endpoint(task.target, target, side="target")
    task.save()
    for side, before, endpoint in (("source", former, task.source), ("target", former_target, task.target)):
        if before and before != way_to(endpoint) and stands_on(task, side):
            raise Refused(
                _(
                    "An earlier run of this task has made objects on this %(side)s, which are found by their names "
                    "alone, so it cannot be another server now. Clone the task, and enter the other server there."
                )
                % {"side": _("source") if side == "source" else _("target")}
            )
    if former != way_to(task.source):
        SourceObject.objects.filter(task=task).delete()
        MigrationTask.objects.filter(pk=task.pk).update(objects_read=None)
        # A worker still reads the former source and will throw that away; the next request must not wait for it.
        ConnectionTest.objects.filter(task=task, side="source", kind="inventory", state="running").delete()
    for side, bastion, endpoint in zip(("source", "target"), bastions, (task.source, task.target), strict=True):
        if bastion != _bastion(endpoint):  # what an older test found belongs to another SSH host
            ConnectionTest.objects.filter(task=task, side=side, kind="test").delete()


def _bastion(endpoint: Endpoint | None) -> tuple[str, int]:
    return (endpoint.ssh_host, endpoint.ssh_port) if endpoint and endpoint.ssh_host else ("", 0)


@transaction.atomic
def confirm_host_key(*, task_id: TaskId, actor: Actor, side: str, test_id: uuid.UUID | str) -> MigrationTask:
    """Trust the SSH host key that a test of this side found, for as long as the SSH host stays the same.

    Raises Refused when the test found none, or belongs to another SSH host than the one that is saved now.
    """
    task = locked(task_id)
    require(Action.EDIT, task)
    before = draft_hash(task)
    test = ConnectionTest.objects.filter(pk=test_id, task=task, side=side, code=HOST_KEY_UNKNOWN).first()
    endpoint = task.source if side == "source" else task.target
    key = str(test.detail.get("host_key", "")).strip() if test is not None else ""
    if test is None or endpoint is None or not endpoint.ssh_host or not is_key_of(key, test.detail.get("fingerprint")):
        raise Refused(_("There is no SSH host key to confirm any more. Test the connection again."))
    endpoint.ssh_host_key = key
    endpoint.save(update_fields=["ssh_host_key"])
    shown = test.detail["fingerprint"]
    said = say("SSH host key of {host} confirmed: {fingerprint}.", host=endpoint.ssh_host, fingerprint=shown)
    note(task, said, actor=actor, code="SSH-HOST-KEY-CONFIRMED")
    void_check(task, before, actor)
    return task


def void_check(task: MigrationTask, before: str, actor: Actor) -> None:
    """Lead a checked task back to draft when its fingerprint is no longer `before`."""
    if draft_hash(task) != before and task.status != Status.DRAFT:
        move(
            task,
            Status.DRAFT,
            actor=actor,
            code="TASK-EDITED",
            message=say("Settings changed; the check has to run again."),
        )


@transaction.atomic
def request_test(*, task_id: TaskId, actor: Actor, side: str) -> ConnectionTest:
    """Ask a worker to test the connection of one side; the page polls the row. Raises Refused: too many of late."""
    task = locked(task_id)
    endpoint = task.source if side == "source" else task.target
    message = say("{side} {address}", side=noun(side), address=endpoint) if endpoint else noun(side)
    count_test(actor, task.name, message, task)
    return _request(task_id, actor, side, "test")


@transaction.atomic
def request_inventory(*, task_id: TaskId, actor: Actor, side: str = "source") -> ConnectionTest:
    """Ask a worker to read the source's objects into our rows, or only what the target has under their names there.

    A reading that has not begun is not asked for twice.
    """
    states = ["waiting", "running"] if side == "source" else ["waiting"]
    waiting = ConnectionTest.objects.filter(task=locked(task_id), kind="inventory", side=side, state__in=states).first()
    return waiting or _request(task_id, actor, side, "inventory")


def _request(task_id: TaskId, actor: Actor, side: str, kind: str) -> ConnectionTest:
    task = locked(task_id)
    require(Action.EDIT, task)
    if side not in ("source", "target"):
        raise Refused(_("A connection test needs a side: source or target."))
    require_filled(task, side)
    test = ConnectionTest.objects.create(task=task, side=side, kind=kind)
    queue.wake("test", str(test.pk))
    return test
