"""Endpoints: how one side is stored, and saved ones that later tasks can take.

One rule guards every secret: it never follows to another place. Whoever may change an address, a protection or an SSH
host must not thereby get a password sent to where they like.
"""

from __future__ import annotations

import uuid
from dataclasses import field, fields

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from .. import sources
from ..draft_facts import endpoint_mark
from ..engine.values import frozen
from ..models import Endpoint
from .audit import record
from .base import Actor, NotFound, Refused, actor_name, refuse_stale

_TLS_STRENGTH = [mode for mode, _label in Endpoint.TLS_MODES]
_SIGN_IN_WEAKNESS = [name for name, _label in Endpoint.SIGN_INS]
_PLACE = ("kind", *sources.DIRECTORY_FIELDS)
_OWN = {"id", "saved_name", "saved_from"}
_OPTIONS = ("ca_pem", "client_cert_pem", "client_key_pem", "require_auth", "ssh_host", "ssh_port", "ssh_user")


@frozen
class EndpointData:
    """What the wizard or a URI says about one side. None keeps what is stored; an empty text removes it.

    `ssh_host_key`: the key of the SSH host, where somebody vouches for it already, as the command line's known hosts.
    `saved_id`: take this saved endpoint, with its secrets, before the other values are looked at.
    """

    host: str
    port: int
    account: str
    password: str | None = field(default=None, repr=False)
    database: str = "postgres"
    tls_mode: str = "require"
    kind: str = "public_ip"
    region: str = ""
    network: str = ""
    vpn_type: str = ""
    gateway_id: str = ""
    vpc_id: str = ""
    subnet_id: str = ""
    instance_id: str = ""
    ca_pem: str | None = None
    client_cert_pem: str | None = None
    client_key_pem: str | None = field(default=None, repr=False)
    require_auth: str | None = None
    ssh_host: str | None = None
    ssh_port: int | None = None
    ssh_user: str | None = None
    ssh_password: str | None = field(default=None, repr=False)
    ssh_private_key: str | None = field(default=None, repr=False)
    ssh_host_key: str | None = None
    saved_id: uuid.UUID | None = None
    save_as: str = ""

    def choice(self, side: str) -> sources.Choice:
        """Return what the resource directory judges."""
        place = {name: getattr(self, name) for name in _PLACE}
        return sources.Choice(side=side, host=self.host, port=self.port, **place)


def keeps_password(stored: Endpoint, data: EndpointData) -> bool:
    """Say whether the stored password may stay: the same server and account, the same way there, nothing weaker."""
    there = (stored.host, stored.port, stored.account) == (data.host, data.port, data.account)
    return there and not _is_weaker(stored, data) and not _bastion_moves(stored, data)


def _is_weaker(stored: Endpoint, data: EndpointData) -> bool:
    if _TLS_STRENGTH.index(data.tls_mode) < _TLS_STRENGTH.index(stored.tls_mode):
        return True
    if data.require_auth and _SIGN_IN_WEAKNESS.index(data.require_auth) > _SIGN_IN_WEAKNESS.index(stored.require_auth):
        return True
    trusts_another = data.ca_pem is not None and data.ca_pem != stored.ca_pem
    return trusts_another and stored.tls_mode.startswith("verify")


def _bastion_moves(stored: Endpoint, data: EndpointData) -> bool:
    if data.ssh_host is None:
        return False
    before = (stored.ssh_host, stored.ssh_port) if stored.ssh_host else ("", 0)
    return before != ((data.ssh_host, data.ssh_port or 22) if data.ssh_host else ("", 0))


def keeps_ssh_secrets(stored: Endpoint, data: EndpointData) -> bool:
    """Say whether the stored SSH password and key may stay: the same SSH host and user."""
    return not _bastion_moves(stored, data) and data.ssh_user in (None, stored.ssh_user)


def store_endpoint(
    endpoint: Endpoint | None, data: EndpointData, *, side: str, target: EndpointData | None = None
) -> Endpoint:
    """Create or change an endpoint; must run inside a transaction. `target`: the other side, of a source.

    The chain of chosen networks is looked up again and the address of an instance is taken from the directory.
    Raises Refused.
    """
    endpoint = endpoint or Endpoint()
    if data.saved_id is not None:
        _take_saved(endpoint, data.saved_id, side)
    judgement = sources.judge(data.choice(side), target=target.choice("target") if target else None)
    if judgement.errors:
        raise Refused(" ".join(judgement.errors.values()))
    data = _resolved(data, judgement)
    _store_secrets(endpoint, data)
    for name in (*_PLACE, "host", "port", "account", "database", "tls_mode"):
        setattr(endpoint, name, getattr(data, name))
    for name in _OPTIONS:
        if getattr(data, name) is not None:
            setattr(endpoint, name, getattr(data, name))
    endpoint.provider = judgement.provider
    _write(endpoint)
    if data.save_as:
        _save_copy(endpoint, data.save_as)
    return endpoint


def _resolved(data: EndpointData, judgement: sources.Judgement) -> EndpointData:
    choice = judgement.choice
    values = {item.name: getattr(data, item.name) for item in fields(data)}
    values |= {name: getattr(choice, name) for name in (*_PLACE, "host")}
    return EndpointData(**values | {"port": choice.port or data.port})


def _store_secrets(endpoint: Endpoint, data: EndpointData) -> None:
    """Take new secrets, and drop stored ones that would follow to another place."""
    is_new = endpoint._state.adding and not endpoint.host
    if data.password is not None:
        endpoint.password = data.password
    elif not is_new and not keeps_password(endpoint, data):
        endpoint.password = ""
    keeps_ssh = keeps_ssh_secrets(endpoint, data)
    for name in ("ssh_password", "ssh_private_key"):
        value = getattr(data, name)
        if value is not None:
            setattr(endpoint, name, value)
        elif not keeps_ssh:
            setattr(endpoint, name, "")
    if _bastion_moves(endpoint, data):
        endpoint.ssh_host_key = ""
    if data.ssh_host_key is not None:
        endpoint.ssh_host_key = data.ssh_host_key


def _take_saved(endpoint: Endpoint, saved_id: uuid.UUID, side: str) -> None:
    saved = get_saved(saved_id)
    if saved.kind not in sources.KINDS_OF[side]:
        raise Refused(misfit(saved, side))
    _copy(saved, endpoint)
    endpoint.saved_from = saved


def _copy(source: Endpoint, destination: Endpoint) -> None:
    for column in Endpoint._meta.concrete_fields:
        if column.name not in _OWN:
            setattr(destination, column.attname, getattr(source, column.attname))


def misfit(saved: Endpoint, side: str) -> str:
    """Return why a saved endpoint cannot be used on this side."""
    return _("%(name)s is a %(kind)s, which cannot be a %(side)s. Choose another saved endpoint.") % {
        "name": saved.saved_name,
        "kind": saved.get_kind_display(),
        "side": _("source") if side == "source" else _("target"),
    }


def _save_copy(endpoint: Endpoint, name: str) -> Endpoint:
    _refuse_taken(name)
    saved = Endpoint(saved_name=name)
    _copy(endpoint, saved)
    _write(saved)
    endpoint.saved_from = saved
    endpoint.save(update_fields=["saved_from"])
    return saved


def _write(endpoint: Endpoint) -> None:
    try:
        with transaction.atomic():
            endpoint.save()
    except IntegrityError:  # somebody took the name in this moment
        raise _taken(str(endpoint.saved_name)) from None


def _taken(name: str) -> Refused:
    return Refused(_("There is a saved endpoint with the name %(name)s already.") % {"name": name})


def _refuse_taken(name: str, but: uuid.UUID | None = None) -> None:
    taken = Endpoint.objects.filter(saved_name=name)
    if but is not None:
        taken = taken.exclude(pk=but)
    if taken.exists():
        raise _taken(name)


def get_saved(saved_id: uuid.UUID | str) -> Endpoint:
    """Return a saved endpoint, never one that belongs to a task. Raises NotFound."""
    endpoint = Endpoint.objects.filter(pk=saved_id).exclude(saved_name=None).first()
    if endpoint is None:
        raise NotFound(_("There is no such saved endpoint."))
    return endpoint


def _locked(saved_id: uuid.UUID) -> Endpoint:
    """Return a saved endpoint, locked for the rest of the transaction. Raises NotFound."""
    return Endpoint.objects.select_for_update().get(pk=get_saved(saved_id).pk)


@transaction.atomic
def save_endpoint(
    *,
    actor: Actor,
    name: str,
    data: EndpointData,
    saved_id: uuid.UUID | None = None,
    side: str = "source",
    seen: str | None = None,
) -> Endpoint:
    """Create or change a saved endpoint. Tasks that took it keep what they took. Raises Refused, NotFound.

    `seen`: the `endpoint_mark` that the form was drawn from. Raises Changed when it is another one by now.
    """
    stored = _locked(saved_id) if saved_id else Endpoint()
    if saved_id:
        refuse_stale(seen, endpoint_mark(stored))
    _refuse_taken(name, stored.pk)
    stored.saved_name = name
    store_endpoint(stored, data, side=side)
    stored.tests.all().delete()  # what they found belongs to what was stored before
    verb = "endpoint-changed" if saved_id else "endpoint-saved"
    record(actor=actor_name(actor), action=verb, subject=name, message=str(stored))
    return stored


@transaction.atomic
def delete_endpoint(*, actor: Actor, saved_id: uuid.UUID) -> str:
    """Delete a saved endpoint with its secrets; returns its name. Tasks keep their own copies. Raises NotFound."""
    stored = get_saved(saved_id)
    name = str(stored.saved_name)
    stored.delete()
    record(actor=actor_name(actor), action="endpoint-deleted", subject=name)
    return name
