"""The table of types: which fields a source or target of each type has, in the order in which they are filled in.

Account, password, login database and TLS belong to every type and are not named here. Forms, validation and
resolving all read this one table.
"""

from __future__ import annotations

from ..engine.values import frozen

KINDS_OF: dict[str, tuple[str, ...]] = {
    "source": ("public_ip", "cvm", "direct_connect", "vpn", "tencentdb"),
    "target": ("public_ip", "tencentdb"),
}
DIRECTORY_FIELDS = ("region", "network", "vpn_type", "gateway_id", "vpc_id", "subnet_id", "instance_id")


@frozen
class ListOf:
    """A field that offers a list: `resource` is the kind listed, `within` the fields that have to be chosen before."""

    resource: str
    within: tuple[str, ...] = ()


_REGION = ListOf(resource="region")
LISTS: dict[tuple[str, str], dict[str, ListOf]] = {
    ("source", "cvm"): {
        "region": _REGION,
        "vpc_id": ListOf(resource="vpc", within=("region",)),
        "subnet_id": ListOf(resource="subnet", within=("region", "vpc_id")),
        "instance_id": ListOf(resource="cvm", within=("region", "network", "vpc_id", "subnet_id")),
    },
    ("source", "direct_connect"): {
        "gateway_id": ListOf(resource="direct_connect_gateway"),
        "vpc_id": ListOf(resource="vpc", within=("gateway_id",)),
    },
    ("source", "vpn"): {
        "region": _REGION,
        "gateway_id": ListOf(resource="vpn_gateway", within=("region",)),
        "vpc_id": ListOf(resource="vpc", within=("region", "gateway_id")),
    },
    ("source", "tencentdb"): {"instance_id": ListOf(resource="tencentdb")},
    ("target", "tencentdb"): {
        "region": _REGION,
        "instance_id": ListOf(resource="tencentdb", within=("region",)),
    },
}


def fields_of(side: str, kind: str, *, network: str = "", vpn_type: str = "") -> tuple[str, ...]:
    """Return the fields of a type on one side. Raises KeyError for a type that this side does not have."""
    if kind not in KINDS_OF[side]:
        raise KeyError(kind)
    if kind == "cvm":
        inside = ("vpc_id", "subnet_id") if network == "vpc" else ()
        return ("region", "network", *inside, "instance_id", "port")
    if kind == "vpn":
        gateway = ("gateway_id",) if vpn_type == "connections" else ()
        return ("region", "vpn_type", *gateway, "vpc_id", "host", "port")
    return {
        "public_ip": ("host", "port"),
        "direct_connect": ("gateway_id", "vpc_id", "host", "port"),
        "tencentdb": ("region", "instance_id") if side == "target" else ("instance_id",),
    }[kind]
