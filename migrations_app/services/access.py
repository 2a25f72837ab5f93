"""How a started task reaches its servers: that may change, as long as it is another way to the same server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import TypeVar

from django.db import transaction
from django.utils.translation import gettext as _

from .. import queue
from ..engine.states import Action
from ..engine.values import frozen
from ..engine.wording import Sentence, listing, noun, say
from ..models import ConnectionTest, Endpoint, MigrationTask, TaskDatabase
from . import audit
from .base import Actor, Refused, TaskId, actor_name, locked, note, require
from .endpoints import EndpointData, keeps_password, keeps_ssh_secrets
from .limits import count_test

Value = TypeVar("Value")
TYPED_ADDRESS = ("public_ip", "direct_connect", "vpn")
_OF_SSH = ("ssh_user", "ssh_password", "ssh_private_key", "ssh_host_key")
_OF_SERVER = ("host", "port", "account", "password", "tls_mode", "ca_pem", "client_cert_pem", "client_key_pem")
_STORED = (*_OF_SERVER, *_OF_SSH)


@frozen
class Access:
    """How one side is reached. None keeps what is stored when the change is made; an empty certificate removes it.

    `ssh_host_key`: an OpenSSH public key line for which somebody vouches. The SSH host itself stays.
    """

    host: str | None = None
    port: int | None = None
    account: str | None = None
    password: str | None = field(default=None, repr=False)
    tls_mode: str | None = None
    ca_pem: str | None = None
    client_cert_pem: str | None = None
    client_key_pem: str | None = field(default=None, repr=False)
    ssh_user: str | None = None
    ssh_password: str | None = field(default=None, repr=False)
    ssh_private_key: str | None = field(default=None, repr=False)
    ssh_host_key: str | None = None


def movable_sides(task: MigrationTask) -> set[str]:
    """Return the sides whose address may change.

    The source: when every database of the task knows which server it began on, because the engine refuses another one.
    The target: never, because what was copied stands there and no other server would be recognised as wrong.
    """
    states = list(TaskDatabase.objects.filter(task=task))
    known = bool(states) and all(state.system_id for state in states)
    return {"source"} if known and task.source and task.source.kind in TYPED_ADDRESS else set()


@transaction.atomic
def change_access(*, task_id: TaskId, actor: Actor, side: str, access: Access) -> MigrationTask:
    """Change how one side of a failed or paused task is reached; it stays so until Retry or Resume. Raises Refused.

    A stored password never follows to another address or account, to an SSH host with another key, over weaker TLS, or
    to whom another certificate authority vouches for. The history tells what was changed, never its value.
    """
    task = locked(task_id)
    require(Action.ACCESS, task)
    endpoint = _endpoint(task, side)
    changed = listing(_store(task, endpoint, side, access))
    said = say("Access to the {side} changed: {what}. Press Retry or Resume to go on.", side=noun(side), what=changed)
    if not changed:
        said = say("Access to the {side} saved; nothing of it is new.", side=noun(side))
    note(task, said, actor=actor, code="TASK-ACCESS")
    if actor is None:
        audit.from_command_line(action="tasks:access", message=said, task=task)
    else:  # by itself: the entry of a test that is asked for with it would take its place
        audit.record(actor=actor_name(actor), action="tasks:access", subject=task.name, message=said, task=task)
    task.refresh_from_db()
    return task


@transaction.atomic
def request_access_test(*, task_id: TaskId, actor: Actor, side: str) -> ConnectionTest:
    """Ask a worker to test the way to one side as it is saved, and whether it is the server that the task began on.

    Raises Refused, also when the user asked for too many of late.
    """
    task = locked(task_id)
    require(Action.ACCESS, task)
    endpoint = _endpoint(task, side)
    count_test(actor, task.name, say("{side} {address}", side=noun(side), address=endpoint), task)
    test = ConnectionTest.objects.create(task=task, side=side, kind="test")
    queue.wake("test", str(test.pk))
    return test


def _endpoint(task: MigrationTask, side: str) -> Endpoint:
    endpoint = task.source if side == "source" else task.target if side == "target" else None
    if endpoint is None:
        raise Refused(_("Choose a side: source or target."))
    return endpoint


def _store(task: MigrationTask, endpoint: Endpoint, side: str, access: Access) -> list[Sentence]:
    """Store what is new, and return what that is, in words."""
    host, port = _or_stored(access.host, endpoint.host), _or_stored(access.port, endpoint.port)
    if (endpoint.host, endpoint.port) != (host, port) and side not in movable_sides(task):
        said = _(
            "The address of the %(side)s cannot change any more: nothing would tell whether it is the same server. "
            "Cancel the task and clone it for another server."
        )
        raise Refused(said % {"side": _("source") if side == "source" else _("target")})
    if not endpoint.uses_bastion and any(getattr(access, name) for name in _OF_SSH):
        raise Refused(_("No SSH host stands before this server, and none can be put there once the task has begun."))
    _refuse_to_follow(endpoint, access)
    changed = list(_changes(endpoint, access))
    for name in _STORED:
        if getattr(access, name) is not None:
            setattr(endpoint, name, getattr(access, name))
    endpoint.save()
    return changed


def _or_stored(given: Value | None, stored: Value) -> Value:
    return stored if given is None else given


def _refuse_to_follow(endpoint: Endpoint, access: Access) -> None:
    """Raise Refused where a stored secret would be sent to whom it was not typed for."""
    data = EndpointData(
        host=_or_stored(access.host, endpoint.host),
        port=_or_stored(access.port, endpoint.port),
        account=_or_stored(access.account, endpoint.account),
        tls_mode=_or_stored(access.tls_mode, endpoint.tls_mode),
        ca_pem=access.ca_pem,
        ssh_user=access.ssh_user,
    )
    another_host = access.ssh_host_key is not None and access.ssh_host_key != endpoint.ssh_host_key
    if endpoint.password and access.password is None and (another_host or not keeps_password(endpoint, data)):
        raise Refused(
            _(
                "Enter the password: a stored one never follows to another address, account or certificate authority, "
                "to an SSH host with another key, or over weaker TLS."
            )
        )
    typed = access.ssh_password or access.ssh_private_key
    if not typed and ((another_host and endpoint.ssh_password) or not keeps_ssh_secrets(endpoint, data)):
        raise Refused(
            _("Enter the SSH password or choose the key: a stored one never follows to another user or host key.")
        )


def _changes(endpoint: Endpoint, access: Access) -> Iterator[Sentence]:
    words = {
        "host": say("address"),
        "port": say("port"),
        "account": say("account"),
        "password": say("password"),
        "tls_mode": say("TLS mode"),
        "ca_pem": say("certificate authority"),
        "client_cert_pem": say("client certificate"),
        "client_key_pem": say("key of the client certificate"),
        "ssh_user": say("SSH user"),
        "ssh_password": say("SSH password"),
        "ssh_private_key": say("SSH key"),
        "ssh_host_key": say("key of the SSH host"),
    }
    for name, told in words.items():
        value = getattr(access, name)
        if value is not None and value != getattr(endpoint, name):
            yield told
