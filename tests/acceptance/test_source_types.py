"""The five source types in a browser: fields and lists that follow each other, to a saved first step."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from django.urls import reverse
from playwright.sync_api import Error, Locator, Page, Request, Route, expect

from migrations_app import runner, services
from migrations_app.demo.clusters import Cluster
from migrations_app.demo.inventory import inventory_text
from migrations_app.models import ConnectionTest, Endpoint, MigrationTask
from migrations_app.runner import asking
from tests import factories
from tests.fakes import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.django_db(transaction=True)]
SignIn = Callable[[], Page]
WAIT = 30_000  # milliseconds; only a machine with much else to do needs them


@pytest.fixture(autouse=True)
def _inventory(transactional_db: None) -> None:
    services.import_inventory(actor=None, text=inventory_text(source_port=5431, target_port=5433), apply=True)


def _shot(page: Page, name: str) -> None:
    if folder := os.environ.get("TOWPATH_SHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True, caret="initial")


def _side(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def _list(part: Locator, label: str) -> Locator:
    return part.get_by_role("combobox", name=re.compile(f"^{label}"))


def _text(part: Locator, label: str) -> Locator:
    return part.get_by_role("textbox", name=re.compile(f"^{label}"))


def _account(part: Locator) -> None:
    _text(part, "Account").fill("mover")
    part.locator("input[type=password]").first.fill(factories.CANARY)


def _begin(page: Page, live_server: Any, kind: str) -> Locator:
    """Open a new task with a filled target, and choose the type of its source."""
    page.goto(live_server.url + reverse("tasks:create"))
    page.get_by_role("textbox", name=re.compile("^Task name")).fill("shop to 18")
    target = _side(page, "Target")
    _text(target, "Server address").fill("10.0.4.9")
    _account(target)
    source = _side(page, "Source")
    _account(source)
    source.get_by_role("radio", name=re.compile(f"^{kind}")).check()
    return source


def _next(page: Page) -> Endpoint:
    page.get_by_role("button", name="Next: Objects", exact=True).last.click()
    page.wait_for_url("**/objects/")
    task = MigrationTask.objects.get()
    assert task.source is not None
    assert str(task.source.password) == factories.CANARY
    return task.source


# Each step waits for what the one before brings: a choice made meanwhile would break off the former question.
def _cvm(source: Locator) -> None:
    source.get_by_role("radio", name=re.compile("^VPC")).check()
    expect(_list(source, "Subnet")).to_be_visible(timeout=WAIT)
    _list(source, "Region").select_option("demo-east")
    _list(source, "VPC").select_option("vpc-shop")
    _list(source, "Subnet").select_option("subnet-data")
    _list(source, "CVM instance ID").select_option("ins-shop")
    _text(source, "Port").fill("5431")


def _cvm_in_the_basic_network(source: Locator) -> None:
    expect(_list(source, "CVM instance ID")).to_contain_text("Choose first: Region", timeout=WAIT)
    _list(source, "Region").select_option("demo-east")
    expect(_list(source, "CVM instance ID")).to_contain_text("Choose first: CVM network", timeout=WAIT)
    source.get_by_role("radio", name=re.compile("^Basic network")).check()
    _list(source, "CVM instance ID").select_option("ins-classic")
    expect(_text(source, "Port")).not_to_have_value("5432", timeout=WAIT)  # the directory knows a closer one


def _direct_connect(source: Locator) -> None:
    _list(source, "Direct Connect gateway").select_option("dcg-office")
    _list(source, "VPC").select_option("vpc-office")
    _text(source, "Server address").fill("127.0.0.1")


def _vpn(source: Locator) -> None:
    source.get_by_role("radio", name=re.compile("^VPN Connections")).check()
    expect(_list(source, "VPN gateway")).to_be_visible(timeout=WAIT)
    _list(source, "Region").select_option("demo-east")
    _list(source, "VPN gateway").select_option("vpngw-office")
    _list(source, "VPC").select_option("vpc-office")
    _text(source, "Server address").fill("127.0.0.1")


def _vpn_on_a_cvm(source: Locator) -> None:
    source.get_by_role("radio", name=re.compile("^CVM-based self-created VPN")).check()
    _list(source, "Region").select_option("demo-east")
    _list(source, "VPC").select_option("vpc-office")
    expect(_list(source, "VPN gateway")).to_have_count(0)
    _text(source, "Server address").fill("127.0.0.1")


TYPES: dict[str, tuple[str, Callable[[Locator], object]]] = {
    "public_ip": (
        "PostgreSQL with public IP",
        lambda source: _text(source, "Server address").fill("127.0.0.1"),
    ),
    "cvm": ("CVM-based self-created PostgreSQL", _cvm),
    "cvm, basic network": ("CVM-based self-created PostgreSQL", _cvm_in_the_basic_network),
    "direct_connect": ("Direct Connect-based PostgreSQL", _direct_connect),
    "vpn": ("VPN-based PostgreSQL", _vpn),
    "vpn, on a CVM": ("VPN-based PostgreSQL", _vpn_on_a_cvm),
    "tencentdb": (
        "TencentDB for PostgreSQL",
        lambda source: _list(source, "Instance ID").select_option("postgres-source"),
    ),
}


@pytest.mark.parametrize("name", TYPES)
def test_a_source_type_leads_to_a_checked_task(
    name: str, sign_in: SignIn, live_server: Any, source_cluster: Cluster, target_cluster: Cluster
) -> None:
    text = inventory_text(source_port=source_cluster.port, target_port=target_cluster.port)
    services.import_inventory(actor=None, text=text, apply=True)
    page = sign_in()
    label, fill = TYPES[name]
    kind = name.partition(",")[0]
    source = _begin(page, live_server, label)
    fill(source)
    target = _side(page, "Target")
    target.get_by_role("radio", name=re.compile("^TencentDB")).check()
    _list(target, "Region").select_option("demo-east")
    _list(target, "Instance ID").select_option("postgres-target")
    for side, cluster in ((source, source_cluster), (target, target_cluster)):
        if side is source and kind != "tencentdb":
            _text(side, "Port").fill(str(cluster.port))
        _text(side, "Account").fill("postgres")
        side.locator("input[type=password]").first.fill(cluster.password)
        _list(side, "TLS").select_option("disable")
    _shot(page, f"source-{name}")
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    page.get_by_role("button", name="Next: Objects", exact=True).click()
    page.wait_for_url("**/objects/")
    for reading in ConnectionTest.objects.filter(state="waiting"):
        asking.run_connection_test(str(reading.pk))
    expect(page.locator("[data-poll]")).to_have_count(0, timeout=WAIT)
    page.get_by_role("button", name="Next: Check Task", exact=True).click()
    page.wait_for_url("**/check/")
    task = MigrationTask.objects.get()
    assert task.source is not None
    assert (task.source.kind, task.source.host, task.source.port) == (kind, "127.0.0.1", source_cluster.port)
    runner.run_check(str(task.pk))
    expect(page.get_by_text("The target's instance is where it was", exact=True)).to_be_attached(timeout=WAIT)
    expect(page.locator("[data-poll]")).to_have_count(0, timeout=WAIT)
    passed = set(task.check_items.filter(status="passed").values_list("code", flat=True))
    assert {"source-reachable", "source-login", "target-reachable", "target-login", "instance-target"} <= passed
    assert ("instance-source" in passed) is (kind in ("cvm", "tencentdb"))


def test_another_region_is_advised_against_and_one_click_switches_to_the_public_address(
    sign_in: SignIn, live_server: Any
) -> None:
    page = sign_in()
    source = _begin(page, live_server, "CVM-based self-created PostgreSQL")
    target = _side(page, "Target")
    target.get_by_role("radio", name=re.compile("^TencentDB")).check()
    _list(target, "Region").select_option("demo-east")
    _list(target, "Instance ID").select_option("postgres-target")
    _list(source, "Region").select_option("demo-west")
    expect(source.get_by_text("only in the same region")).to_be_visible(timeout=WAIT)
    source.get_by_role("radio", name=re.compile("^VPC")).check()
    _list(source, "VPC").select_option("vpc-west")
    _list(source, "Subnet").select_option("subnet-west")
    _list(source, "CVM instance ID").select_option("ins-west")
    _text(source, "Port").fill("5431")
    _shot(page, "source-other-region")
    source.get_by_role("button", name="Use public IP instead", exact=True).click()
    expect(_text(source, "Server address")).to_have_value("localhost", timeout=WAIT)
    expect(_text(source, "Port")).to_have_value("5431", timeout=WAIT)
    stored = _next(page)
    assert (stored.kind, stored.host, stored.port) == ("public_ip", "localhost", 5431)


def test_the_public_address_is_taken_though_the_lists_are_still_on_their_way(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    source = _begin(page, live_server, "CVM-based self-created PostgreSQL")
    target = _side(page, "Target")
    target.get_by_role("radio", name=re.compile("^TencentDB")).check()
    _list(target, "Region").select_option("demo-east")
    _list(target, "Instance ID").select_option("postgres-target")
    _list(source, "Region").select_option("demo-west")
    source.get_by_role("radio", name=re.compile("^VPC")).check()
    _list(source, "VPC").select_option("vpc-west")
    _list(source, "Subnet").select_option("subnet-west")
    expect(_list(source, "CVM instance ID").get_by_text("ins-west")).to_be_attached(timeout=WAIT)
    page.wait_for_load_state("networkidle")
    held: list[Route] = []
    over: list[Request] = []
    page.route("**/fields/source/**", lambda route: held.append(route))
    page.on("requestfinished", lambda request: over.append(request))
    page.on("requestfailed", lambda request: over.append(request))
    _list(source, "CVM instance ID").select_option("ins-west")
    source.get_by_role("button", name="Use public IP instead", exact=True).click()
    wait_until(lambda: (page.wait_for_timeout(20), len(held) == 2)[1], 20, "both questions")
    for route in held:  # the answer to the first one would put away what the second one is to replace
        with contextlib.suppress(Error):  # the page has given it up
            route.continue_()
        wait_until(lambda route=route: (page.wait_for_timeout(20), route.request in over)[1], 20, "its end")
    expect(_text(source, "Server address")).to_be_visible(timeout=WAIT)


def test_what_was_typed_is_kept_when_the_type_changes_and_changes_back(sign_in: SignIn, live_server: Any) -> None:
    page = sign_in()
    source = _begin(page, live_server, "PostgreSQL with public IP")
    _text(source, "Server address").fill("db1.internal")
    source.get_by_role("radio", name=re.compile("^TencentDB")).check()
    expect(_text(source, "Server address")).to_have_count(0, timeout=WAIT)
    source.get_by_role("radio", name=re.compile("^PostgreSQL with public IP")).check()
    expect(_text(source, "Server address")).to_have_value("db1.internal", timeout=WAIT)
    expect(_text(source, "Account")).to_have_value("mover", timeout=WAIT)
    expect(source.locator("input[type=password]").first).to_have_value(factories.CANARY, timeout=WAIT)
    expect(source.get_by_role("radio", name=re.compile("^PostgreSQL with public IP"))).to_be_focused(timeout=WAIT)


def test_a_saved_endpoint_is_used_in_place(sign_in: SignIn, live_server: Any) -> None:
    factories.endpoint(saved_name="shop server", host="db7.internal")
    page = sign_in()
    source = _begin(page, live_server, "PostgreSQL with public IP")
    _list(source, "Use a saved endpoint").select_option(label="shop server")
    source.get_by_role("button", name="Use as source", exact=True).click()
    expect(_text(source, "Server address")).to_have_value("db7.internal", timeout=WAIT)
    _shot(page, "source-saved")
    assert _next(page).host == "db7.internal"


SCENES = ("settings", "endpoints", "endpoint", "resources", "resource", "import", "account")


def _scene(name: str) -> str:
    if name == "settings":
        task = factories.task(source=factories.endpoint(ssh_host="bastion.internal", ssh_user="jump", ssh_password="x"))
        unknown = factories.connection_test(
            task,
            state="failed",
            code="SSH-HOST-KEY-UNKNOWN",
            message="The SSH host bastion.internal is not known yet.",
            detail={
                "host_key": "ssh-ed25519 AAAA",
                "fingerprint": "SHA256:W0rGk8bQ2mB8ePp4mYh1Zf0rN8mQ2hH2x7h1N5pWk5s",
            },
        )
        passed = factories.connection_test(
            task, "target", state="passed", detail={"version": "16.4", "latency_ms": 3, "tls": "TLSv1.3, not verified"}
        )
        return reverse("tasks:settings", args=[task.id]) + f"?source={unknown.id}&target={passed.id}"
    saved = factories.endpoint(saved_name="shop server")
    factories.endpoint(saved_name="office", kind="vpn", region="demo-east", vpc_id="vpc-office", ssh_host="jump")
    if name in ("endpoints", "endpoint"):
        return reverse("endpoints:list") if name == "endpoints" else reverse("endpoints:edit", args=[saved.id])
    if name == "resource":
        return reverse("resources:create")
    return reverse(f"resources:{'list' if name == 'resources' else name}")


@pytest.mark.parametrize("scene", SCENES)
def test_a_page_is_accessible_in_both_themes_and_widths(scene: str, watched: Page, live_server: Any) -> None:
    page = watched
    client = Client()
    client.force_login(factories.user("root", role="admin"))
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    page.context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": cookie, "url": live_server.url}])
    url = live_server.url + _scene(scene)
    for theme, width in (("light", 1280), ("dark", 390)):
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(url)
        _shot(page, f"{scene}-{width}-{theme}")
        result = Axe().run(page)
        assert result.violations_count == 0, result.generate_report()
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{scene} scrolls sideways at {width} px by {wide}"
