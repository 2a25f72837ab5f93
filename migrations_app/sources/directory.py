"""Where a server is now: what was stored when the form was saved is compared with what the directory says today."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from ..engine.wording import Sentence, noun, say, template, together, verbatim
from ..models import Endpoint, ProviderAccount, Resource
from . import local
from .tencent import Found, ProviderError, Tencent

_RESOLVED = {"cvm": "cvm", "tencentdb": "tencentdb"}
_NAMES = {"cvm": template("CVM instance {name}"), "tencentdb": template("TencentDB instance {name}")}


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

    def __init__(self, message: Sentence, hint: Sentence) -> None:
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
    name = say(_NAMES[endpoint.kind], name=endpoint.instance_id)
    if found is None:
        raise Vanished(
            say("The {name} is not in the resource directory of {region} any more.", name=name, region=endpoint.region),
            say(
                "Open the settings of the task and choose another instance, or its address as PostgreSQL with public"
                " IP."
            ),
        )
    if endpoint.kind == "cvm" and (found.vpc_id, found.subnet_id) != (endpoint.vpc_id, endpoint.subnet_id):
        raise Vanished(
            say("The {name} has moved to another network: {network}.", name=name, network=_network(found)),
            say("Open the settings of the task, choose its network again and save."),
        )
    port = stored.port if endpoint.kind == "cvm" else found.port or 5432
    if (found.address, port) != tuple(stored):
        raise Vanished(
            say(
                "The address of the {name} is {now} now; {saved} was saved.",
                name=name,
                now=together([found.address or noun("unknown"), str(port)], ":"),
                saved=f"{stored.host}:{stored.port}",
            ),
            say("Open the settings of the task and save them again: the password is asked for anew."),
        )
    return stored


def _network(found: Found | Resource) -> Sentence:
    if not found.vpc_id:
        return say("basic network")
    return verbatim(f"{found.vpc_id} {found.subnet_id}".rstrip())


def _current(endpoint: Endpoint, kind: str) -> Found | Resource | None:
    """Return the instance as its provider knows it now, or None. Raises ProviderError."""
    return directory_of(endpoint.provider).find(kind, endpoint.region, endpoint.instance_id)


def directory_of(provider: str) -> Directory:
    """Return the directory of a provider. Raises ProviderError when its account is not set up."""
    if provider in ("", local.PROVIDER):
        return local.LocalDirectory()
    account = ProviderAccount.objects.filter(provider=provider).first()
    if account is None:
        raise ProviderError("NoAccount", say("There is no account of this provider."), "")
    return Tencent(account)
