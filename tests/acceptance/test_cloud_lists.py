"""The lists of step 1 when they come from a cloud: through its real SDK, in a browser; also when it answers errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.urls import reverse
from playwright.sync_api import Locator, Page, expect

from migrations_app import services
from migrations_app.models import MigrationTask
from tests import factories
from tests.cloud import SECRET_ID, SECRET_KEY, Cloud, cloud_server, error

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.django_db(transaction=True)]
SignIn = Callable[[], Page]
WAIT = 60_000  # milliseconds
_GUANGZHOU = "ap-guangzhou"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> Iterator[Cloud]:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    cache.clear()
    with cloud_server() as served:
        served.items["DescribeRegions", ""] = [
            {"Region": _GUANGZHOU, "RegionName": "Guangzhou", "RegionState": "AVAILABLE"},
            {"Region": "ap-shanghai", "RegionName": "Shanghai", "RegionState": "AVAILABLE"},
        ]
        served.items["DescribeVpcs", _GUANGZHOU] = [
            {"VpcId": f"vpc-{number}", "VpcName": f"net {number}", "CidrBlock": "10.0.0.0/16"} for number in (1, 2)
        ]
        served.items["DescribeSubnets", _GUANGZHOU] = [
            {"VpcId": f"vpc-{number}", "SubnetId": f"subnet-{number}", "SubnetName": "data"} for number in (1, 2)
        ]
        served.items["DescribeInstances", _GUANGZHOU] = [
            {
                "InstanceId": f"ins-{number}",
                "InstanceName": "shop",
                "VirtualPrivateCloud": {"VpcId": f"vpc-{number}", "SubnetId": f"subnet-{number}"},
                "PrivateIpAddresses": [f"10.0.0.{number}"],
            }
            for number in (1, 2)
        ]
        services.set_account(
            actor=None,
            secret_id=SECRET_ID,
            secret_key=SECRET_KEY,
            root_domain="",
            endpoint=served.address,
            use_https=False,
        )
        yield served


def _list(part: Locator, label: str) -> Locator:
    return part.get_by_role("combobox", name=re.compile(f"^{label}"))


def _offers(part: Locator, label: str, *wanted: str) -> None:
    """Wait until a list offers exactly these."""
    values = _list(part, label).locator("option:not([value=''])")
    expect(values).to_have_count(len(wanted), timeout=WAIT)
    assert [one.get_attribute("value") for one in values.all()] == list(wanted)


def _source(page: Page, url: str) -> Locator:
    """Open a new task whose source is a CVM in a VPC."""
    page.goto(url + reverse("tasks:create"))
    page.get_by_role("textbox", name=re.compile("^Task name")).fill("shop")
    source = page.get_by_role("region", name="Source", exact=True)
    source.get_by_role("radio", name=re.compile("^CVM-based")).check()
    source.get_by_role("radio", name=re.compile("^VPC")).check()
    expect(_list(source, "Subnet")).to_be_visible(timeout=WAIT)
    return source


def test_each_list_of_the_cloud_brings_the_next_one(cloud: Cloud, sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    source = _source(page, live_server.url)
    _offers(source, "Region", _GUANGZHOU, "ap-shanghai")
    _list(source, "Region").select_option(_GUANGZHOU)
    _offers(source, "VPC", "vpc-1", "vpc-2")
    _list(source, "VPC").select_option("vpc-2")
    _offers(source, "Subnet", "subnet-2")
    _list(source, "Subnet").select_option("subnet-2")
    _offers(source, "CVM instance ID", "ins-2")
    _list(source, "CVM instance ID").select_option("ins-2")
    expect(source.get_by_text("Lists as of")).to_be_visible(timeout=WAIT)
    page.wait_for_load_state("networkidle")
    for side in ("Source", "Target"):
        part = page.get_by_role("region", name=side, exact=True)
        part.get_by_role("textbox", name=re.compile("^Account")).fill("mover")
        part.locator("input[type=password]").first.fill(factories.CANARY)
    target = page.get_by_role("region", name="Target", exact=True)
    target.get_by_role("textbox", name=re.compile("^Server address")).fill("10.0.4.9")
    page.get_by_role("button", name="Next: Objects", exact=True).last.click()
    page.wait_for_url("**/objects/", timeout=WAIT)
    stored = MigrationTask.objects.get().source
    assert stored is not None
    assert (stored.instance_id, stored.host, stored.provider) == ("ins-2", "10.0.0.2", "tencent")


def test_an_error_of_the_cloud_shows_code_and_request_id_and_the_old_lists_stay(
    cloud: Cloud, sign_in: SignIn, live_server: Any
) -> None:
    page = sign_in()
    source = _source(page, live_server.url)
    _list(source, "Region").select_option(_GUANGZHOU)
    _offers(source, "VPC", "vpc-1", "vpc-2")
    page.wait_for_load_state("networkidle")
    cloud.answers["DescribeVpcs"] = lambda asked: error("RequestLimitExceeded", "Too many requests.")
    source.get_by_role("button", name="Refresh", exact=True).click()
    said = source.get_by_text("The provider answered RequestLimitExceeded: Too many requests. (r-error)")
    expect(said.first).to_be_visible(timeout=WAIT)
    expect(source.get_by_text("Lists as of")).to_be_visible()
    _offers(source, "VPC", "vpc-1", "vpc-2")
    assert SECRET_KEY not in page.content()


def test_pages_that_never_fit_together_are_said_in_the_form(cloud: Cloud, sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    source = _source(page, live_server.url)
    one = {"VpcSet": [{"VpcId": "vpc-1"}], "TotalCount": 500, "RequestId": "r-odd"}
    cloud.answers["DescribeVpcs"] = lambda asked: one
    _list(source, "Region").select_option(_GUANGZHOU)
    expect(source.get_by_text(re.compile(r"500 are announced, 1 were listed.*\(r-odd\)")).first).to_be_visible(
        timeout=WAIT
    )
    _offers(source, "VPC")
