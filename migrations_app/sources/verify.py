"""Judges what was chosen for one side as a whole: every link of the chain, and the manual's rule of the same region.

A list that a page offered proves nothing: the values of a POST are looked up again here, link by link.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from typing import Any

from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.utils.translation import gettext as _

from ..engine.values import frozen
from ..models import Resource
from .kinds import DIRECTORY_FIELDS, KINDS_OF, fields_of


@frozen
class Choice:
    """What stands in the fields of one side; empty = not chosen."""

    side: str
    kind: str
    region: str = ""
    network: str = ""
    vpn_type: str = ""
    gateway_id: str = ""
    vpc_id: str = ""
    subnet_id: str = ""
    instance_id: str = ""
    host: str = ""
    port: int | None = None


@frozen
class Judgement:
    """`choice` with fields of other types emptied and the address filled in, or `errors` by field."""

    choice: Choice
    errors: dict[str, str] = field(default_factory=dict)
    other_region: bool = False  # the manual's advice applies: use the public address instead
    provider: str = ""
    public_address: str = ""  # of the chosen instance, when the directory knows one
    port: int | None = None


def known(kind: str, **fields: str) -> QuerySet[Resource]:
    """Return the resources of a kind; a row of ours comes before a cloud's answer of the same id."""
    own_first = Case(When(provider="local", then=Value(0)), default=Value(1), output_field=IntegerField())
    return Resource.objects.filter(kind=kind, **fields).annotate(own=own_first).order_by("own", "name", "external_id")


def find(kind: str, external_id: str, **fields: str) -> Resource | None:
    """Return the resource with this id, or None when it is unknown or stands in several regions."""
    rows = list(known(kind, external_id=external_id, **fields)[:20])
    return rows[0] if rows and len({row.region for row in rows}) == 1 else None


def judge(choice: Choice, *, target: Choice | None = None) -> Judgement:
    """Look every chosen thing up again. `target` is the other side, for the rule of the same region."""
    if choice.kind not in KINDS_OF.get(choice.side, ()):
        return Judgement(choice=choice, errors={"kind": _("Choose one of the offered types.")})
    chosen = _only_own_fields(choice)
    judgement = _JUDGES[chosen.kind](chosen)
    if "region" not in judgement.errors and is_elsewhere(chosen, target):
        return replace(judgement, errors={**judgement.errors, "region": advice(chosen.kind)}, other_region=True)
    return judgement


def is_elsewhere(choice: Choice, target: Choice | None) -> bool:
    """Say whether a source that has to stand in the target's region stands in another one."""
    if choice.kind not in ("cvm", "vpn") or target is None or target.kind != "tencentdb":
        return False
    return bool(choice.region and target.region and choice.region != target.region)


def advice(kind: str) -> str:
    """Return what the manual says about another region."""
    if kind == "vpn":
        return _(
            "Only VPN services in the same region as the target TencentDB instance are supported. "
            "Use the server's public network access: choose PostgreSQL with public IP."
        )
    return _(
        "A CVM-based PostgreSQL can be migrated to a TencentDB instance only in the same region. "
        "Use the CVM instance's public network access: choose PostgreSQL with public IP."
    )


def _only_own_fields(choice: Choice) -> Choice:
    own = fields_of(choice.side, choice.kind, network=choice.network, vpn_type=choice.vpn_type)
    foreign: dict[str, Any] = {name: "" for name in (*DIRECTORY_FIELDS, "host") if name not in own}
    return replace(choice, **foreign)


def _public_ip(choice: Choice) -> Judgement:
    return Judgement(choice=choice)


def _need_region(choice: Choice, errors: dict[str, str]) -> None:
    if not choice.region:
        errors["region"] = _("Choose the region.")
    elif find("region", choice.region) is None:
        errors["region"] = _("There is no region %(id)s in the resource directory.") % {"id": choice.region}


def _need(choice: Choice, name: str, kind: str, errors: dict[str, str], **within: str) -> Resource | None:
    """Return the resource that field `name` names; a missing or foreign one becomes an error of that field."""
    value = getattr(choice, name)
    if not value:
        errors[name] = _missing(name)
        return None
    if any(parent in errors for parent in ("region", "gateway_id", "vpc_id", "subnet_id") if parent != name):
        return None
    row = find(kind, value, **within)
    if row is None:
        errors[name] = _("%(id)s is not among what was chosen above. Choose one of the list.") % {"id": value}
    return row


def _missing(name: str) -> str:
    return {
        "gateway_id": _("Choose the gateway."),
        "vpc_id": _("Choose the VPC."),
        "subnet_id": _("Choose the subnet."),
        "instance_id": _("Choose the instance."),
    }[name]


def _cvm(choice: Choice) -> Judgement:
    errors: dict[str, str] = {}
    _need_region(choice, errors)
    if choice.network not in ("basic", "vpc"):
        errors["network"] = _("Choose the network of the CVM instance: basic network or VPC.")
    elif choice.network == "vpc":
        _need(choice, "vpc_id", "vpc", errors, region=choice.region)
        _need(choice, "subnet_id", "subnet", errors, region=choice.region, vpc_id=choice.vpc_id)
    place = {"region": choice.region, "vpc_id": choice.vpc_id, "subnet_id": choice.subnet_id}
    row = _need(choice, "instance_id", "cvm", errors, **place) if "network" not in errors else None
    return _at(choice, row, errors)


def _direct_connect(choice: Choice) -> Judgement:
    errors: dict[str, str] = {}
    gateway = _need(choice, "gateway_id", "direct_connect_gateway", errors)
    if gateway is not None:
        choice = replace(choice, region=gateway.region)
        _vpc_of(choice, gateway, errors)
    elif not choice.vpc_id:
        errors["vpc_id"] = _missing("vpc_id")
    return Judgement(choice=choice, errors=errors, provider=gateway.provider if gateway else "")


def _vpn(choice: Choice) -> Judgement:
    errors: dict[str, str] = {}
    gateway = None
    _need_region(choice, errors)
    if choice.vpn_type not in ("connections", "cvm"):
        errors["vpn_type"] = _("Choose the type of VPN: VPN Connections, or CVM-based self-created VPN.")
    elif choice.vpn_type == "connections":
        gateway = _need(choice, "gateway_id", "vpn_gateway", errors, region=choice.region)
    vpc = _vpc_of(choice, gateway, errors)
    return Judgement(choice=choice, errors=errors, provider=vpc.provider if vpc else "")


def _vpc_of(choice: Choice, gateway: Resource | None, errors: dict[str, str]) -> Resource | None:
    """Judge the VPC: it lies in the region and, when the gateway belongs to one, it is the gateway's."""
    row = _need(choice, "vpc_id", "vpc", errors, region=choice.region)
    if row is not None and gateway is not None and gateway.vpc_id not in ("", choice.vpc_id):
        errors["vpc_id"] = _("The gateway %(gateway)s is in the VPC %(vpc)s. Choose that one.") % {
            "gateway": gateway.external_id,
            "vpc": gateway.vpc_id,
        }
    return row


def _tencentdb(choice: Choice) -> Judgement:
    errors: dict[str, str] = {}
    if choice.side == "target":
        _need_region(choice, errors)
    within = {"region": choice.region} if choice.side == "target" else {}
    row = _need(choice, "instance_id", "tencentdb", errors, **within)
    judgement = _at(choice, row, errors)
    if row is None or errors:
        return judgement
    return replace(judgement, choice=replace(judgement.choice, region=row.region, port=row.port or 5432))


def _at(choice: Choice, row: Resource | None, errors: dict[str, str]) -> Judgement:
    """Fill in the address of an instance."""
    if row is None:
        return Judgement(choice=choice, errors=errors)
    if not row.address:
        errors["instance_id"] = _("The resource directory knows no private address of %(id)s.") % {
            "id": row.external_id
        }
    return Judgement(
        choice=replace(choice, host=row.address),
        errors=errors,
        provider=row.provider,
        public_address=str(row.attrs.get("public_address") or ""),
        port=row.port,
    )


_JUDGES: dict[str, Callable[[Choice], Judgement]] = {
    "public_ip": _public_ip,
    "cvm": _cvm,
    "direct_connect": _direct_connect,
    "vpn": _vpn,
    "tencentdb": _tencentdb,
}
