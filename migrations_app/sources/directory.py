"""Where a server is now: what was stored when the form was saved is compared with what the directory says today."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..models import Endpoint, ProviderAccount, Resource
from . import local
from .tencent import Found, ProviderError, Tencent

_RESOLVED = {"cvm": "cvm", "tencentdb": "tencentdb"}
_NAMES = {"cvm": "CVM instance", "tencentdb": "TencentDB instance"}


class Directory(Protocol):
    """What each provider answers. `find` looks now, never into a cache."""

    def listed(self, kind: str, region: str) -> Sequence[Found | Resource]:
        """Return everything of one kind in one region."""

    def find(self, kind: str, region: str, external_id: str) -> Found | Resource | None:
        """Return one thing, or None when it is gone."""


class Resolved(NamedTuple):
    """What is dialled."""

    host: str
    port: int


class Vanished(Exception):
    """The instance of an endpoint is gone, or has another address than the one that was saved."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def resolve(endpoint: Endpoint) -> Resolved:
    """Return the address of an endpoint; types with an instance are asked for again where they came from.

    Asks the cloud for instances that came from there (about 5 seconds at most); when it does not answer, the stored
    address counts: an outage of the directory is not the server's. Raises Vanished.
    """
    try:
        return look_up(endpoint)
    except ProviderError:
        return Resolved(endpoint.host, endpoint.port)


def look_up(endpoint: Endpoint) -> Resolved:
    """Return the address of an endpoint as `resolve` does. Raises Vanished, and ProviderError when nobody answers."""
    stored = Resolved(endpoint.host, endpoint.port)
    kind = _RESOLVED.get(endpoint.kind)
    if kind is None or not endpoint.instance_id:
        return stored
    return _same(endpoint, _current(endpoint, kind), stored)


def _same(endpoint: Endpoint, found: Found | Resource | None, stored: Resolved) -> Resolved:
    name = f"{_NAMES[endpoint.kind]} {endpoint.instance_id}"
    if found is None:
        raise Vanished(
            f"The {name} is not in the resource directory of {endpoint.region} any more.",
            "Open the settings of the task and choose another instance, or its address as PostgreSQL with public IP.",
        )
    if endpoint.kind == "cvm" and (found.vpc_id, found.subnet_id) != (endpoint.vpc_id, endpoint.subnet_id):
        raise Vanished(
            f"The {name} has moved to another network: {found.vpc_id or 'basic network'} {found.subnet_id}".rstrip()
            + ".",
            "Open the settings of the task, choose its network again and save.",
        )
    port = stored.port if endpoint.kind == "cvm" else found.port or 5432
    if (found.address, port) != tuple(stored):
        raise Vanished(
            f"The address of the {name} is {found.address or 'unknown'}:{port} now; "
            f"{stored.host}:{stored.port} was saved.",
            "Open the settings of the task and save them again: the password is asked for anew.",
        )
    return stored


def _current(endpoint: Endpoint, kind: str) -> Found | Resource | None:
    """Return the instance as its provider knows it now, or None. Raises ProviderError."""
    return directory_of(endpoint.provider).find(kind, endpoint.region, endpoint.instance_id)


def directory_of(provider: str) -> Directory:
    """Return the directory of a provider. Raises ProviderError when its account is not set up."""
    if provider in ("", local.PROVIDER):
        return local.LocalDirectory()
    account = ProviderAccount.objects.filter(provider=provider).first()
    if account is None:
        raise ProviderError("NoAccount", "There is no account of this provider.", "")
    return Tencent(account)
