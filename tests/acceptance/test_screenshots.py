"""Every page of the console as a picture, light, dark, and as wide as a phone: `make screenshots` runs this.

What is drawn is the real console over rows that the gallery makes; nothing is proven here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Page, expect

from migrations_app import services
from migrations_app.models import MigrationTask, User, WorkerBeat
from tests import factories
from tests.acceptance import gallery, stopped_gallery, surroundings
from tests.pictures import folder, take

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(folder() is None, reason="make screenshots takes the pictures"),
]
LOOKS = {"light": ("light", 1280, 800), "dark": ("dark", 1280, 800), "narrow": ("light", 390, 844)}
PATIENCE = 60_000  # milliseconds
Act = Callable[[Page], object]


class Camera:
    """Takes each page in three looks."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        page.set_default_timeout(PATIENCE)

    def shoot(self, name: str, path: str, act: Act | None = None) -> None:
        """Open a page three times, do what it takes to show the thing, and write name-<look>.png."""
        for look, (theme, width, height) in LOOKS.items():
            WorkerBeat.objects.update(at=timezone.now())  # or the pages say that no worker is alive
            self.page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.goto(path if ":" in path else self.url + path)
            if act:
                act(self.page)
            take(self.page, f"{name}-{look}")

    def sign_in(self, user: User) -> None:
        client = Client()
        client.force_login(user)
        name = settings.SESSION_COOKIE_NAME
        self.page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": self.url}])


@pytest.fixture
def camera(page: Page, live_server: Any) -> Camera:
    return Camera(page, live_server.url)


@pytest.fixture
def anna(transactional_db: None) -> User:
    """An administrator, with everything that stands beside the tasks."""
    user = factories.user("anna", role="admin")
    surroundings.around(user)
    return user


def _url(name: str, task: MigrationTask, *more: Any) -> str:
    return reverse(f"tasks:{name}", args=[task.pk, *more])


def test_before_signing_in(camera: Camera) -> None:
    camera.shoot("first-administrator", reverse("setup", args=[services.new_setup_token()]))
    anna = factories.user("anna", role="operator")
    camera.shoot("sign-in", reverse("login"))
    camera.sign_in(anna)
    factories.workers()
    camera.shoot("list-empty", "/")
    camera.shoot("error-missing", "/nothing-here/")
    camera.shoot("error-forbidden", reverse("audit:list"))


# Without a font for Chinese every sign is drawn as the same box.
_SIGNS_DIFFER = """
() => {
  const drawn = (sign) => {
    const context = new OffscreenCanvas(40, 40).getContext("2d");
    context.font = "30px sans-serif";
    context.fillText(sign, 2, 32);
    return context.getImageData(0, 0, 40, 40).data.join();
  };
  return drawn("\u4e00") !== drawn("\u56fd");
}
"""


def test_lists_and_bulk_actions(camera: Camera, anna: User) -> None:
    assert camera.page.evaluate(_SIGNS_DIFFER), "pictures in Chinese need a font: apt-get install fonts-wqy-zenhei"
    made = gallery.the_list(anna)
    camera.sign_in(anna)
    camera.shoot("list", "/")
    picked = "&".join(f"pick={made[name].pk}" for name in ("passed", "draft", "copying"))
    camera.shoot("bulk", reverse("tasks:many-confirm", args=["start"]) + "?" + picked)
    User.objects.filter(pk=anna.pk).update(language="zh-hans")
    camera.shoot("list-chinese", "/")
    camera.shoot("check-chinese", _url("check", made["problems"]))


TYPES = {
    "public-ip": "PostgreSQL with public IP",
    "cvm": "CVM-based self-created PostgreSQL",
    "direct-connect": "Direct Connect-based PostgreSQL",
    "vpn": "VPN-based PostgreSQL",
    "tencentdb": "TencentDB for PostgreSQL",
}
# What is chosen, in this order: each list brings the next one.
_CHOSEN = {
    "public-ip": {},
    "cvm": {"Region": "demo-east", "VPC": "vpc-shop", "Subnet": "subnet-data", "CVM instance ID": "ins-shop"},
    "direct-connect": {"Direct Connect gateway": "dcg-office", "VPC": "vpc-office"},
    "vpn": {"Region": "demo-east", "VPN gateway": "vpngw-office", "VPC": "vpc-office"},
    "tencentdb": {"Instance ID": "postgres-source"},
}
_SWITCH = {"cvm": "VPC", "vpn": "VPN Connections"}


def _choose(kind: str) -> Act:
    def act(page: Page) -> None:
        page.get_by_role("textbox", name=re.compile("^Task name")).fill("Shop to PostgreSQL 18")
        source = page.get_by_role("region", name="Source", exact=True)
        source.get_by_role("radio", name=re.compile(f"^{TYPES[kind]}")).check()
        if switch := _SWITCH.get(kind):
            source.get_by_role("radio", name=re.compile(f"^{switch}")).check()
        for label, value in _CHOSEN[kind].items():
            chosen = source.get_by_role("combobox", name=re.compile(f"^{label}"))
            expect(chosen.locator(f"option[value='{value}']")).to_be_attached(timeout=PATIENCE)
            chosen.select_option(value)
        address = source.get_by_role("textbox", name=re.compile("^Server address"))
        if address.count():
            address.fill("shop-db.example.net" if kind == "public-ip" else "10.20.0.5")
        source.get_by_role("textbox", name=re.compile("^Account")).fill("towpath")
        page.wait_for_load_state("networkidle")
        page.mouse.move(0, 0)
        _show(page, "#h-source")

    return act


def _to_the_end(page: Page) -> None:
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")


def _show(page: Page, what: str) -> None:
    """Scroll so that this stands near the top."""
    page.locator(what).first.evaluate("node => window.scrollTo(0, node.getBoundingClientRect().top + scrollY - 24)")


def test_the_first_step_for_each_type_of_source(camera: Camera, anna: User) -> None:
    camera.sign_in(anna)
    for kind in TYPES:
        camera.shoot(f"source-{kind}", reverse("tasks:create"), _choose(kind))
    tested = gallery.the_list(anna)["draft"]
    camera.shoot("source-tested", _url("settings", tested) + gallery.shown_tests(tested), _to_the_end)


def test_the_pages_beside_the_tasks(camera: Camera, anna: User) -> None:
    camera.sign_in(anna)
    ben = User.objects.get(username="ben")
    pages = {
        "endpoints": reverse("endpoints:list"),
        "endpoint": reverse("endpoints:edit", args=[surroundings.saved("ERP behind the bastion").pk]),
        "resources": reverse("resources:list"),
        "resource": reverse("resources:create"),
        "resources-import": reverse("resources:import"),
        "provider-account": reverse("resources:account"),
        "users": reverse("users:list"),
        "user": reverse("users:detail", args=[ben.pk]),
        "audit": reverse("audit:list"),
        "profile": reverse("profile"),
    }
    for name, path in pages.items():
        camera.shoot(name, path)


def _unfold(page: Page) -> None:
    for name in ("shop", "shop.sales"):
        page.locator("summary").filter(has=page.get_by_text(name.rpartition(".")[2], exact=True)).first.click()
        expect(page.locator(f"ul[aria-label='{name}'] > li .pick").first).to_be_visible(timeout=PATIENCE)


def _search(page: Page) -> None:
    page.get_by_role("searchbox", name="Search table or schema", exact=True).fill("order*")
    expect(page.locator("#level")).to_contain_text("2 tables match")


def test_objects(camera: Camera, anna: User) -> None:
    camera.sign_in(anna)
    task = gallery.the_list(anna)["draft"]
    camera.shoot("objects", _url("objects", task), _unfold)
    camera.shoot("objects-search", _url("objects", task), _search)
    camera.shoot("objects-parents", _url("closure", task))
    camera.shoot("objects-names", _url("mapping", task))


def _acknowledge(page: Page) -> None:
    box = page.locator("[id^=ack-]").first
    box.locator("summary").click()
    box.get_by_label("Why may it stay?", exact=True).fill("The report ends at eight; we start after it.")
    box.evaluate("node => node.scrollIntoView({ block: 'end' })")


def _look(task: MigrationTask) -> Act:
    def act(page: Page) -> None:
        if task.tests.filter(kind="prepare", state="passed").exists():
            return
        page.get_by_role("button", name="Look at the source", exact=True).click()
        expect(page.get_by_text("A worker looks at the source").first).to_be_visible(timeout=PATIENCE)
        task.tests.filter(kind="prepare").update(
            state="passed", detail=gallery.prepared(task), finished_at=timezone.now()
        )
        expect(page.locator("#conf")).to_contain_text("wal_level = logical")

    return act


def _fix(page: Page) -> None:
    page.locator("[id^=fix-]").filter(visible=True).first.click()
    expect(page.get_by_role("dialog")).to_be_visible(timeout=PATIENCE)


def test_the_check(camera: Camera, anna: User) -> None:
    camera.sign_in(anna)
    made = gallery.the_list(anna)
    task = made["problems"]
    camera.shoot("check", _url("check", task))
    camera.shoot("check-problems", _url("check", task) + "?show=problems", _acknowledge)
    camera.shoot("check-fix", _url("check", task), _fix)
    camera.shoot("prepare", _url("prepare", task), _look(task))


def _press(label: str) -> Act:
    def act(page: Page) -> None:
        page.get_by_role("link", name=label, exact=True).first.click()
        expect(page.get_by_role("dialog")).to_be_visible(timeout=PATIENCE)

    return act


def test_tasks(camera: Camera, anna: User, tmp_path: Path) -> None:
    camera.sign_in(anna)
    made = gallery.the_list(anna)
    camera.shoot("confirm-start", _url("check", made["passed"]), _press("Start"))
    camera.shoot("confirm-complete", _url("detail", made["sync"]), _press("Complete"))
    camera.shoot("confirm-cancel", _url("detail", made["copying"]), _press("Cancel"))
    for name in ("copying", "sync", "completed", "failed"):
        camera.shoot(f"task-{name}", _url("detail", made[name]))
    camera.shoot("task-completing", _url("detail", stopped_gallery.completing()))
    camera.shoot("task-tables", _url("detail", made["copying"]), lambda page: _show(page, "#charts"))
    camera.shoot("access", _url("access", made["failed"]))
    report = tmp_path / "report.html"
    report.write_bytes(camera.page.request.get(camera.url + _url("report", made["completed"])).body())
    camera.shoot("report", report.as_uri())


def test_tasks_that_need_somebody(camera: Camera, anna: User) -> None:
    camera.sign_in(anna)
    stopped = {"conflict": stopped_gallery.conflict(), "drift": stopped_gallery.drift()}
    for name, task in stopped.items():
        camera.shoot(f"task-{name}", _url("detail", task))
    camera.shoot("confirm-take-source", _url("detail", stopped["conflict"]), _press("Take the source's row"))
    camera.shoot("confirm-apply", _url("detail", stopped["drift"]), _press("Apply and resume"))
    aside = stopped_gallery.quarantined(anna)
    camera.shoot("task-quarantined", _url("detail", aside))
    camera.shoot("task-quarantined-tables", _url("detail", aside), lambda page: _show(page, "#h-tables"))
    lost = stopped_gallery.slot_lost()
    camera.shoot("task-slot-lost", _url("detail", lost))
    camera.shoot("confirm-new-copy", _url("detail", lost), _press("Restart with new copy"))
    for level in ("warning", "alarm", "reached"):
        camera.shoot(f"task-wal-{level}", _url("detail", stopped_gallery.wal(level)))
    camera.shoot("list-attention", "/")
