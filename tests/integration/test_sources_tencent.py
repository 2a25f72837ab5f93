"""The cloud's directory through its real SDK, against a stand-in that verifies every signature."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django.asserts import assertContains, assertNotContains

from console.forms.resource import AccountForm
from migrations_app import selectors, services, sources
from migrations_app.engine.checks.registry import CheckStatus
from migrations_app.engine.plan import Side
from migrations_app.models import Endpoint, ProviderAccount, Resource, ResourceListing
from migrations_app.runner import standing
from migrations_app.sources import tencent
from tests import factories
from tests.cloud import SECRET_ID, SECRET_KEY, Cloud, cloud_server, error

pytestmark = pytest.mark.django_db


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    cache.clear()
    with cloud_server() as served:
        served.items["DescribeRegions", ""] = [
            {"Region": "ap-guangzhou", "RegionName": "Guangzhou", "RegionState": "AVAILABLE"},
            {"Region": "ap-shanghai", "RegionName": "Shanghai", "RegionState": "AVAILABLE"},
        ]
        yield served


@pytest.fixture
def account(cloud: Cloud) -> ProviderAccount:
    return services.set_account(
        actor=None,
        secret_id=SECRET_ID,
        secret_key=SECRET_KEY,
        root_domain="",
        endpoint=cloud.address,
        use_https=False,
    )


def _vpcs(number: int) -> list[dict[str, Any]]:
    return [{"VpcId": f"vpc-{i}", "VpcName": f"net {i}", "CidrBlock": "10.0.0.0/16"} for i in range(number)]


def _ids(kind: str, region: str = "ap-guangzhou") -> list[str]:
    return sorted(Resource.objects.filter(kind=kind, region=region).values_list("external_id", flat=True))


def test_a_list_is_asked_for_with_a_valid_signature_and_stored(account: ProviderAccount, cloud: Cloud) -> None:
    cloud.items["DescribeVpcs", "ap-guangzhou"] = _vpcs(2)
    services.freshen([("vpc", "ap-guangzhou")])
    assert _ids("region", "") == ["ap-guangzhou", "ap-shanghai"]
    assert _ids("vpc") == ["vpc-0", "vpc-1"]
    assert Resource.objects.get(external_id="vpc-1").attrs == {"cidr": "10.0.0.0/16"}


def test_a_wrong_key_is_an_error_with_code_and_request_id(account: ProviderAccount) -> None:
    account.secret_key = "wrong"
    with pytest.raises(sources.ProviderError) as refused:
        sources.Tencent(account).listed("region", "")
    assert (refused.value.code, refused.value.request_id) == ("AuthFailure.SignatureFailure", "r-error")


@pytest.mark.parametrize(
    ("kind", "action", "key"), [("vpc", "DescribeVpcs", "VpcId"), ("cvm", "DescribeInstances", "InstanceId")]
)
def test_all_pages_are_read_with_limits_of_the_type_that_the_action_takes(
    kind: str, action: str, key: str, account: ProviderAccount, cloud: Cloud
) -> None:
    cloud.items[action, "ap-guangzhou"] = [{key: f"id-{number}"} for number in range(230)]
    assert len(sources.Tencent(account).listed(kind, "ap-guangzhou")) == 230
    assert [int(asked["Offset"]) for _, _, asked in cloud.calls] == [0, 100, 200]


def test_only_the_private_address_of_a_database_counts(account: ProviderAccount, cloud: Cloud) -> None:
    nets = [
        {"Ip": "203.0.113.9", "Port": 60001, "NetType": "public", "Status": "opened"},
        {"Ip": "10.0.4.9", "Port": 5433, "NetType": "private", "Status": "opened"},
    ]
    cloud.items["DescribeDBInstances", "ap-guangzhou"] = [
        {"DBInstanceId": "postgres-1", "DBVersion": "16.2", "DBInstanceNetInfo": nets}
    ]
    (found,) = sources.Tencent(account).listed("tencentdb", "ap-guangzhou")
    assert (found.address, found.port, found.attrs) == ("10.0.4.9", 5433, {"version": "16.2"})


def test_a_database_without_a_private_address_has_none(account: ProviderAccount, cloud: Cloud) -> None:
    nets = [{"Ip": "203.0.113.9", "Port": 60001, "NetType": "public"}, {"Ip": "", "Port": 0, "NetType": "private"}]
    cloud.items["DescribeDBInstances", "ap-guangzhou"] = [{"DBInstanceId": "postgres-1", "DBInstanceNetInfo": nets}]
    (found,) = sources.Tencent(account).listed("tencentdb", "ap-guangzhou")
    assert (found.address, found.port) == ("", None)


def test_a_pre_shared_key_is_never_stored(account: ProviderAccount, cloud: Cloud) -> None:
    cloud.items["DescribeVpnConnections", "ap-guangzhou"] = [
        {"VpnConnectionId": "vpnx-1", "VpnGatewayId": "vpngw-1", "PreShareKey": factories.CANARY}
    ]
    services.freshen([("region", ""), ("vpn_connection", "ap-guangzhou")])
    row = Resource.objects.get(external_id="vpnx-1")
    assert row.gateway_id == "vpngw-1"
    assert factories.CANARY not in str(vars(row))


def test_a_machine_without_a_network_stands_in_the_basic_network(account: ProviderAccount, cloud: Cloud) -> None:
    cloud.items["DescribeInstances", "ap-guangzhou"] = [
        {"InstanceId": "ins-1", "PrivateIpAddresses": ["10.1.1.1"], "PublicIpAddresses": None},
        {
            "InstanceId": "ins-2",
            "PrivateIpAddresses": ["10.0.4.5"],
            "PublicIpAddresses": ["203.0.113.5"],
            "VirtualPrivateCloud": {"VpcId": "vpc-1", "SubnetId": "subnet-1"},
        },
    ]
    basic, inside = sources.Tencent(account).listed("cvm", "ap-guangzhou")
    assert (basic.address, basic.vpc_id, basic.subnet_id) == ("10.1.1.1", "", "")
    assert (inside.vpc_id, inside.subnet_id, inside.attrs["public_address"]) == ("vpc-1", "subnet-1", "203.0.113.5")


def test_a_gateway_of_a_wide_network_belongs_to_no_vpc(account: ProviderAccount, cloud: Cloud) -> None:
    cloud.items["DescribeDirectConnectGateways", "ap-guangzhou"] = [
        {"DirectConnectGatewayId": "dcg-1", "VpcId": "vpc-1", "NetworkType": "VPC"},
        {"DirectConnectGatewayId": "dcg-2", "VpcId": "ccn-9", "NetworkType": "CCN"},
    ]
    found = sources.Tencent(account).listed("direct_connect_gateway", "ap-guangzhou")
    assert [one.vpc_id for one in found] == ["vpc-1", ""]


def test_pages_that_shift_once_are_read_again(account: ProviderAccount, cloud: Cloud) -> None:
    rounds = iter([(_vpcs(100), 101), (_vpcs(100)[-1:], 101), (_vpcs(101)[:100], 101), (_vpcs(101)[100:], 101)])

    def shifting(asked: dict[str, Any]) -> dict[str, Any]:
        items, total = next(rounds)
        return {"VpcSet": items, "TotalCount": total, "RequestId": "r"}

    cloud.answers["DescribeVpcs"] = shifting
    assert len(sources.Tencent(account).listed("vpc", "ap-guangzhou")) == 101


def test_pages_that_never_fit_together_are_refused_and_the_old_list_stays(
    account: ProviderAccount, cloud: Cloud
) -> None:
    cloud.items["DescribeVpcs", "ap-guangzhou"] = _vpcs(3)
    lists = [("region", ""), ("vpc", "ap-guangzhou")]
    services.freshen(lists)
    cloud.answers["DescribeVpcs"] = lambda asked: {"VpcSet": _vpcs(1), "TotalCount": 500, "RequestId": "r-odd"}
    services.freshen(lists, force=True)
    assert len(_ids("vpc")) == 3
    listing = ResourceListing.objects.get(kind="vpc")
    assert (listing.error_code, listing.request_id) == ("InconsistentPages", "r-odd")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"VpcSet": [{"VpcId": "vpc-1"}], "TotalCount": 500, "RequestId": "r-odd"}, "声明有 500 项，实际列出 1 项"),
        ({"VpcSet": {"a": 1}, "RequestId": "r-odd"}, "应答中没有列表"),
        ("<html>busy</html>", "应答不是 JSON"),
    ],
)
def test_what_we_find_wrong_with_an_answer_is_told_in_the_language_of_the_reader(
    answer: Any, words: str, account: ProviderAccount, cloud: Cloud
) -> None:
    cloud.answers["DescribeVpcs"] = lambda asked: answer
    services.freshen([("region", ""), ("vpc", "ap-guangzhou")])
    client = Client()
    client.force_login(factories.user("lin", role="admin", language="zh-hans"))
    response = client.get(reverse("resources:list"))
    assertContains(response, words)
    assertContains(response, "DescribeVpcs")


def test_an_endless_list_ends(account: ProviderAccount, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tencent, "MOST_PAGES", 5)
    cloud.answers["DescribeVpcs"] = lambda asked: {"VpcSet": _vpcs(1), "TotalCount": 10**9, "RequestId": "r"}
    with pytest.raises(sources.ProviderError, match="InconsistentPages"):
        sources.Tencent(account).listed("vpc", "ap-guangzhou")
    assert len(cloud.calls) == 10


@pytest.mark.parametrize(
    "answer", ["<html>busy</html>", "[]", '{"Response": []}', '{"Response": {"VpcSet": {"a": 1}}}', "null"]
)
def test_an_answer_that_is_none_is_an_error(answer: str, account: ProviderAccount, cloud: Cloud) -> None:
    cloud.answers["DescribeVpcs"] = lambda asked: answer
    with pytest.raises(sources.ProviderError):
        sources.Tencent(account).listed("vpc", "ap-guangzhou")


def test_a_directory_that_does_not_answer_is_given_up(
    account: ProviderAccount, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tencent, "TIMEOUT_SECONDS", 0.3)
    cloud.hang = threading.Event()
    services.freshen([("region", "")])
    listing = ResourceListing.objects.get(kind="region")
    assert listing.error_code == "ClientNetworkError"
    said = f"{cloud.address} could not be reached, or did not answer within 0.3 seconds."
    (shown,) = selectors.listing_problems()
    assert shown.startswith(f"Region: {said}")
    assert "HTTPConnectionPool" not in shown
    asked = len(cloud.calls)
    cloud.hang.set()
    services.freshen([("region", "")])  # not asked again at once: pages stay quick
    assert len(cloud.calls) <= asked + 1
    assert ResourceListing.objects.get(kind="region").refreshed_at is None


def test_a_directory_that_refuses_the_connection_is_told_with_the_remedy(account: ProviderAccount) -> None:
    account.endpoint = "127.0.0.1:9"
    with pytest.raises(sources.ProviderError) as failed:
        sources.Tencent(account).listed("region", "")
    assert str(failed.value.message).startswith("127.0.0.1:9 could not be reached")


def test_answers_are_kept_for_five_minutes(account: ProviderAccount, cloud: Cloud) -> None:
    for _ in range(3):
        services.freshen([("region", "")])
    assert len(cloud.calls) == 1
    ResourceListing.objects.update(refreshed_at=timezone.now() - timedelta(minutes=6))
    services.freshen([("region", "")])
    assert len(cloud.calls) == 2
    services.freshen([("region", "")], force=True)
    assert len(cloud.calls) == 3


def test_a_list_without_a_region_is_asked_for_in_every_region(account: ProviderAccount, cloud: Cloud) -> None:
    for region in ("ap-guangzhou", "ap-shanghai"):
        cloud.items["DescribeDBInstances", region] = [{"DBInstanceId": f"postgres-{region}"}]
    services.freshen([("tencentdb", "")])
    offered = [value for value, _ in selectors.field_list("source", "tencentdb", "instance_id", {}).options]
    assert offered == ["postgres-ap-guangzhou", "postgres-ap-shanghai"]


def test_a_region_that_nobody_knows_is_not_asked_about(account: ProviderAccount, cloud: Cloud) -> None:
    services.freshen([("region", ""), ("vpc", "ap-nowhere")])
    assert [action for action, _, _ in cloud.calls] == ["DescribeRegions"]


def test_another_account_forgets_what_the_former_one_listed(account: ProviderAccount, cloud: Cloud) -> None:
    services.freshen([("region", "")])
    with pytest.raises(services.Refused, match="secret key"):
        services.set_account(
            actor=None, secret_id="AKIDother", secret_key=None, root_domain="", endpoint=cloud.address, use_https=False
        )
    assert Resource.objects.exists()
    services.remove_account(actor=None)
    assert not Resource.objects.exists()
    assert not ProviderAccount.objects.exists()


def _instance(cloud: Cloud, address: str = "10.0.4.9") -> None:
    nets = [{"Ip": address, "Port": 5433, "NetType": "private"}]
    cloud.items["DescribeDBInstances", "ap-guangzhou"] = [
        {"DBInstanceId": "postgres-1", "DBInstanceNetInfo": nets, "db-instance-id": "postgres-1"}
    ]


def _stored(**fields: Any) -> Endpoint:
    defaults = {"kind": "tencentdb", "provider": "tencent", "region": "ap-guangzhou", "instance_id": "postgres-1"}
    return factories.endpoint(**(defaults | {"host": "10.0.4.9", "port": 5433} | fields))


def test_an_instance_is_asked_for_again_at_the_check(account: ProviderAccount, cloud: Cloud) -> None:
    _instance(cloud)
    assert sources.resolve(_stored()) == ("10.0.4.9", 5433)
    assert cloud.calls[-1][2]["Filters"] == [{"Name": "db-instance-id", "Values": ["postgres-1"]}]


def test_an_instance_that_vanished_or_moved_is_said_so(account: ProviderAccount, cloud: Cloud) -> None:
    _instance(cloud, "10.0.4.77")
    with pytest.raises(sources.Vanished, match=r"10\.0\.4\.77:5433 now; 10\.0\.4\.9:5433 was saved"):
        sources.resolve(_stored())
    cloud.items.clear()
    with pytest.raises(sources.Vanished, match="not in the resource directory"):
        sources.resolve(_stored())


def test_an_outage_of_the_directory_is_not_the_servers(account: ProviderAccount, cloud: Cloud) -> None:
    cloud.answers["DescribeDBInstances"] = lambda asked: error("InternalError", "busy")
    assert sources.resolve(_stored()) == ("10.0.4.9", 5433)


@pytest.mark.parametrize(
    "place",
    [{"endpoint": "169.254.169.254"}, {"endpoint": "100.100.100.200:80"}, {"endpoint": "[fd00:ec2::254]:80"}],
)
def test_an_endpoint_that_leads_to_a_metadata_service_is_not_asked(account: ProviderAccount, place: Any) -> None:
    services.set_account(
        actor=None, secret_id=SECRET_ID, secret_key=SECRET_KEY, root_domain="", use_https=False, **place
    )
    services.freshen([("region", "")], force=True)
    assert ResourceListing.objects.get(kind="region").error_code == "AddressNotAllowed"


def test_a_denied_range_holds_for_the_providers_endpoint_too(
    account: ProviderAccount, cloud: Cloud, settings: Any
) -> None:
    settings.DENY_ADDRESSES = ["127.0.0.0/8"]
    services.freshen([("region", "")], force=True)
    assert ResourceListing.objects.get(kind="region").error_code == "AddressNotAllowed"
    assert not cloud.calls


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("secret_id", "", "Fill in this field."),
        ("secret_id", "x" * 5000, "too long"),
        ("secret_key", "x" * 201, "at most 200 characters"),
        ("root_domain", "https://tencentcloudapi.com/", "one host name"),
        ("root_domain", "a b.example", "one host name"),
        ("root_domain", "x" * 201, "too long"),
        ("endpoint", "user:pass@gateway", "one host name"),
        ("endpoint", "gateway/path", "one host name"),
        ("endpoint", "one,two", "one host name"),
        ("endpoint", "x\ny", "one host name"),
    ],
)
def test_each_wrong_value_of_the_provider_account_is_said_at_its_field(field: str, value: str, said: str) -> None:
    typed = {"secret_id": "AKID", "secret_key": "k", "root_domain": "", "endpoint": "", "use_https": "on"}
    form = AccountForm({**typed, field: value})
    assert not form.is_valid()
    assert list(form.errors) == [field]
    assert said in form.errors[field][0]
    assert value[:20] not in "".join(form.errors[field]) or field != "secret_key"


def test_a_provider_account_without_a_key_asks_for_it(account: ProviderAccount) -> None:
    stored = {"secret_id": SECRET_ID, "root_domain": "", "endpoint": account.endpoint}
    assert AccountForm(stored, stored=account).is_valid()
    for changes in ({"endpoint": "other.example"}, {"root_domain": "other.example"}, {"use_https": "on"}):
        assert "secret_key" in AccountForm({**stored, **changes}, stored=account).errors
    assert "secret_key" in AccountForm({**stored, "secret_id": "AKIDother"}, stored=account).errors
    assert "secret_key" in AccountForm(stored).errors


def test_an_instance_that_nobody_could_look_up_is_warned_about_and_never_passed(
    account: ProviderAccount, cloud: Cloud
) -> None:
    cloud.answers["DescribeDBInstances"] = lambda asked: error("InternalError", "busy")
    task = factories.task(source=_stored())
    assert task.source is not None
    asked = partial(standing._judge, Side.SOURCE, "instance-source", task.source, lambda result: None)
    result = asked()
    assert (result.code, result.status) == ("instance-source", CheckStatus.WARNING)
    assert "the provider answered InternalError: busy" in result.found
    assert "Request: " in result.found
    ProviderAccount.objects.all().delete()
    result = asked()
    assert (result.status, "NoAccount" in result.found) == (CheckStatus.WARNING, True)


def test_pages_show_what_the_provider_said_and_never_the_key(
    account: ProviderAccount, cloud: Cloud, client: Client
) -> None:
    client.force_login(factories.user(role="admin"))
    cloud.answers["DescribeRegions"] = lambda asked: error("UnauthorizedOperation", "not <b>allowed</b>")
    cache.clear()
    page = client.get(reverse("endpoints:fields", args=["target"]), {"target-kind": "tencentdb"})
    for words in ("UnauthorizedOperation", "not &lt;b&gt;allowed", "r-error"):
        assertContains(page, words)
    for name in ("list", "account"):
        shown = client.get(reverse(f"resources:{name}"))
        assertContains(shown, SECRET_ID)
        assertNotContains(shown, SECRET_KEY)
    assertContains(client.get(reverse("resources:list")), "UnauthorizedOperation")


def test_the_form_shows_as_of_and_refreshes_on_demand(account: ProviderAccount, cloud: Cloud, client: Client) -> None:
    client.force_login(factories.user())
    url = reverse("endpoints:fields", args=["target"])
    assertContains(client.get(url, {"target-kind": "tencentdb"}), "Lists as of")
    before = len(cloud.calls)
    client.get(url, {"target-kind": "tencentdb", "refresh": "1"})
    assert len(cloud.calls) == before + 1
