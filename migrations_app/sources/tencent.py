"""Asks the cloud's API for regions, networks, gateways and instances, and keeps only the few facts that we use.

Answers are whitelisted field by field: a VPN connection's pre-shared key, for example, is never looked at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.conf import settings

from ..engine.dialling import HandshakeEnded, Reason, allowed_addresses
from ..engine.policy import AddressPolicy, parse_networks
from ..engine.values import frozen
from ..engine.wording import Sentence, say, verbatim
from ..models import ProviderAccount

if TYPE_CHECKING:
    from tencentcloud.common.common_client import CommonClient

PROVIDER = "tencent"
TIMEOUT_SECONDS = 5
PAGE = 100
MOST_PAGES = 100
_NO_ANSWER = "ClientNetworkError"
NETWORK_CODES = (_NO_ANSWER, "ServerNetworkError")
"""Codes of the SDK for what the provider has not said: nothing answered, or something else than its API."""

Answer = dict[str, Any]


class ProviderError(Exception):
    """The API refused, did not answer, or answered nonsense. `message`: as it said it, or what we found wrong."""

    def __init__(self, code: str, message: Sentence, request_id: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.request_id = code, message, request_id


@frozen
class Found:
    """One thing that the API listed."""

    external_id: str
    name: str = ""
    vpc_id: str = ""
    subnet_id: str = ""
    gateway_id: str = ""
    address: str = ""
    port: int | None = None
    attrs: dict[str, str] = field(default_factory=dict)


def _text(item: Answer, name: str) -> str:
    value = item.get(name)
    return str(value)[:120] if isinstance(value, str | int) else ""


def _region(item: Answer) -> Found:
    return Found(external_id=_text(item, "Region"), name=_text(item, "RegionName"))


def _vpc(item: Answer) -> Found:
    return Found(
        external_id=_text(item, "VpcId"), name=_text(item, "VpcName"), attrs=_attrs(cidr=_text(item, "CidrBlock"))
    )


def _subnet(item: Answer) -> Found:
    return Found(
        external_id=_text(item, "SubnetId"),
        name=_text(item, "SubnetName"),
        vpc_id=_text(item, "VpcId"),
        attrs=_attrs(cidr=_text(item, "CidrBlock"), zone=_text(item, "Zone")),
    )


def _cvm(item: Answer) -> Found:
    network = item.get("VirtualPrivateCloud") or {}
    return Found(
        external_id=_text(item, "InstanceId"),
        name=_text(item, "InstanceName"),
        vpc_id=_text(network, "VpcId"),
        subnet_id=_text(network, "SubnetId"),
        address=_first(item.get("PrivateIpAddresses")),
        attrs=_attrs(state=_text(item, "InstanceState"), public_address=_first(item.get("PublicIpAddresses"))),
    )


def _direct_connect_gateway(item: Answer) -> Found:
    # A gateway of a CCN belongs to no VPC, although the field may hold the CCN's id.
    vpc_id = _text(item, "VpcId") if _text(item, "NetworkType") != "CCN" else ""
    return Found(
        external_id=_text(item, "DirectConnectGatewayId"),
        name=_text(item, "DirectConnectGatewayName"),
        vpc_id=vpc_id,
        address=_text(item, "DirectConnectGatewayIp"),
        attrs=_attrs(network_type=_text(item, "NetworkType"), gateway_type=_text(item, "GatewayType")),
    )


def _vpn_gateway(item: Answer) -> Found:
    return Found(
        external_id=_text(item, "VpnGatewayId"),
        name=_text(item, "VpnGatewayName"),
        vpc_id=_text(item, "VpcId"),
        address=_text(item, "PublicIpAddress"),
        attrs=_attrs(state=_text(item, "State"), zone=_text(item, "Zone")),
    )


def _vpn_connection(item: Answer) -> Found:
    return Found(
        external_id=_text(item, "VpnConnectionId"),
        name=_text(item, "VpnConnectionName"),
        vpc_id=_text(item, "VpcId"),
        gateway_id=_text(item, "VpnGatewayId"),
        attrs=_attrs(state=_text(item, "State"), net_status=_text(item, "NetStatus")),
    )


def _tencentdb(item: Answer) -> Found:
    # Only the private address of the instance's own network; a public one may be there as well.
    nets = [net for net in item.get("DBInstanceNetInfo") or [] if _text(net, "NetType") == "private"]
    net: Answer = next((net for net in nets if _text(net, "Ip")), {})
    port = net.get("Port")
    return Found(
        external_id=_text(item, "DBInstanceId"),
        name=_text(item, "DBInstanceName"),
        vpc_id=_text(item, "VpcId"),
        subnet_id=_text(item, "SubnetId"),
        address=_text(net, "Ip"),
        port=port if isinstance(port, int) and 1 <= port <= 65535 else None,
        attrs=_attrs(version=_text(item, "DBVersion"), state=_text(item, "DBInstanceStatus")),
    )


def _first(values: Any) -> str:
    return str(values[0])[:120] if isinstance(values, list) and values else ""


def _attrs(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


@dataclass
class _Pages:
    """What the last page said about all of them."""

    total: int = 0
    request_id: str = ""


@frozen
class _Listing:
    """How one kind is asked for. `text_paging`: this action takes Limit and Offset as strings."""

    product: str
    action: str
    items: str
    read: Callable[[Answer], Found]
    filter: str = ""
    text_paging: bool = False
    paged: bool = True


_VERSION = "2017-03-12"
_LISTINGS: dict[str, _Listing] = {
    "region": _Listing(product="cvm", action="DescribeRegions", items="RegionSet", read=_region, paged=False),
    "vpc": _Listing(product="vpc", action="DescribeVpcs", items="VpcSet", read=_vpc, filter="vpc-id", text_paging=True),
    "subnet": _Listing(
        product="vpc", action="DescribeSubnets", items="SubnetSet", read=_subnet, filter="subnet-id", text_paging=True
    ),
    "cvm": _Listing(product="cvm", action="DescribeInstances", items="InstanceSet", read=_cvm, filter="instance-id"),
    "direct_connect_gateway": _Listing(
        product="vpc",
        action="DescribeDirectConnectGateways",
        items="DirectConnectGatewaySet",
        read=_direct_connect_gateway,
        filter="direct-connect-gateway-id",
    ),
    "vpn_gateway": _Listing(
        product="vpc", action="DescribeVpnGateways", items="VpnGatewaySet", read=_vpn_gateway, filter="vpn-gateway-id"
    ),
    "vpn_connection": _Listing(
        product="vpc",
        action="DescribeVpnConnections",
        items="VpnConnectionSet",
        read=_vpn_connection,
        filter="vpn-connection-id",
    ),
    "tencentdb": _Listing(
        product="postgres",
        action="DescribeDBInstances",
        items="DBInstanceSet",
        read=_tencentdb,
        filter="db-instance-id",
    ),
}


class Tencent:
    """One account's view of the cloud. Every call takes about 5 seconds at most, and raises ProviderError."""

    def __init__(self, account: ProviderAccount) -> None:
        self._account = account

    def listed(self, kind: str, region: str) -> list[Found]:
        """Return everything of one kind in one region, over all pages. An id is never returned twice.

        Things may come and go while the pages are read, and shift others out of sight: read once more, then refused.
        """
        listing = _LISTINGS[kind]
        found: dict[str, Found] = {}
        for _ in range(2):
            pages = _Pages()
            for item in self._items(listing, region, {}, pages):
                one = listing.read(item)
                if one.external_id:
                    found[one.external_id] = one
            if len(found) >= pages.total:
                return list(found.values())
        said = say(
            "{action}: {announced} are announced, {listed} were listed. Refresh to ask again.",
            action=listing.action,
            announced=pages.total,
            listed=len(found),
        )
        raise ProviderError("InconsistentPages", said, pages.request_id)

    def find(self, kind: str, region: str, external_id: str) -> Found | None:
        """Return one thing as it is now, or None when it is gone."""
        listing = _LISTINGS[kind]
        asked = {"Filters": [{"Name": listing.filter, "Values": [external_id]}]}
        read = (listing.read(item) for item in self._items(listing, region, asked, _Pages()))
        return next((one for one in read if one.external_id == external_id), None)

    def _items(self, listing: _Listing, region: str, asked: Answer, pages: _Pages) -> Iterator[Answer]:
        """Yield over all pages: only an empty page or the announced count ends them."""
        offset = 0
        for _ in range(MOST_PAGES if listing.paged else 1):
            answer = self._call(listing, region, asked | self._paging(listing, offset))
            items = answer.get(listing.items) or []
            pages.request_id = _text(answer, "RequestId")
            if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
                raise ProviderError(
                    "UnexpectedAnswer",
                    say("{action}: the answer holds no list.", action=listing.action),
                    pages.request_id,
                )
            yield from items
            offset += len(items)
            total = answer.get("TotalCount")
            pages.total = total if isinstance(total, int) and listing.paged else 0
            if not items or offset >= pages.total:
                return

    @staticmethod
    def _paging(listing: _Listing, offset: int) -> Answer:
        if not listing.paged:
            return {}
        paging = {"Limit": PAGE, "Offset": offset}
        return {name: str(value) for name, value in paging.items()} if listing.text_paging else dict(paging)

    def _call(self, listing: _Listing, region: str, parameters: Answer) -> Answer:
        # The SDK is imported where it is used: most processes never ask the cloud, and it takes a quarter of a second.
        from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

        try:
            answer = self._client(listing, region).call_json(listing.action, parameters)
        except TencentCloudSDKException as error:
            if error.get_code() in NETWORK_CODES:  # what the SDK says then is Python's, and names no remedy
                raise ProviderError(
                    error.get_code(), _unreached(self._account, listing, error.get_code()), ""
                ) from error
            raise ProviderError(
                str(error.get_code() or "Unknown"),
                verbatim(str(error.get_message() or "")),
                str(error.get_request_id() or ""),
            ) from error
        except (ValueError, KeyError, TypeError) as error:  # the SDK lets an answer that is not JSON through like this
            said = say("{action}: the answer is not JSON, or not what it should be.", action=listing.action)
            raise ProviderError("UnexpectedAnswer", said, "") from error
        body = answer.get("Response") if isinstance(answer, dict) else None
        if not isinstance(body, dict):
            said = say("{action} answered {answer}.", action=listing.action, answer=json.dumps(answer)[:200])
            raise ProviderError("UnexpectedAnswer", said, "")
        return body

    def _client(self, listing: _Listing, region: str) -> CommonClient:
        from tencentcloud.common.common_client import CommonClient
        from tencentcloud.common.credential import Credential
        from tencentcloud.common.profile.client_profile import ClientProfile
        from tencentcloud.common.profile.http_profile import HttpProfile

        account = self._account
        _refuse_forbidden(account, listing.product)
        http = HttpProfile(
            protocol="https" if account.use_https else "http",
            endpoint=account.endpoint or None,
            rootDomain=account.root_domain or None,
            reqTimeout=TIMEOUT_SECONDS,
        )
        credential = Credential(account.secret_id, str(account.secret_key))
        profile = ClientProfile(httpProfile=http, language="en-US")
        return CommonClient(listing.product, _VERSION, credential, region, profile)


def _host(account: ProviderAccount, product: str) -> str:
    return account.endpoint or f"{product}.{account.root_domain or 'tencentcloudapi.com'}"


def _unreached(account: ProviderAccount, listing: _Listing, code: str) -> Sentence:
    """Return what is to be said of an address that does not answer, or that answers something else."""
    host = _host(account, listing.product)
    if code == _NO_ANSWER:
        return say(
            "{host} could not be reached, or did not answer within {seconds} seconds. Check the addresses of the "
            "provider account under Resources, and that the machine of this console may reach them.",
            host=host,
            seconds=TIMEOUT_SECONDS,
        )
    return say(
        "{host} answers, but not as the provider's API does. Check the addresses of the provider account under "
        "Resources, and what stands between.",
        host=host,
    )


def _refuse_forbidden(account: ProviderAccount, product: str) -> None:
    """Raise ProviderError when an address of our own choice leads where nothing is ever dialled (`engine.policy`).

    The list of what databases may be dialled does not count here; loopback does no harm: a gateway may stand there.
    A name that cannot be looked up is left to the SDK, which may have a proxy that knows it.
    """
    if not account.endpoint and not account.root_domain:
        return
    host = _host(account, product)
    name, colon, port = host.rpartition(":") if host.count(":") == 1 or "]:" in host else (host, "", "")
    policy = AddressPolicy(deny=parse_networks(settings.DENY_ADDRESSES), loopback=True)
    try:
        allowed_addresses(name.strip("[]"), int(port) if colon and port.isdecimal() else 443, policy, TIMEOUT_SECONDS)
    except HandshakeEnded as ended:
        if ended.answer.reason is Reason.POLICY:
            said = say(
                "The address {host} is not allowed by the policy of this console, so it was not asked.", host=host
            )
            raise ProviderError("AddressNotAllowed", said, "") from ended
