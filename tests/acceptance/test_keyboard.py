"""The console by keyboard alone: on every page everything that can be operated gets the focus in order, and shows it.

The walk is generated: a page without a line in PAGES fails a test. On the way each page is looked at with the rules of
axe, and everything that it names has a hostile name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from console import access
from migrations_app.models import MigrationTask, User, WorkerBeat
from tests import factories
from tests.acceptance import gallery, hostile, surroundings
from tests.acceptance.every_page import ANSWERS, NO_PAGES, PAGES, show

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.django_db(transaction=True)]
PATIENCE = 20_000  # milliseconds
# Number the stops, and note each element that gets the focus, whether it can be seen, and how it shows the focus.
WATCH = """() => {
  const all = document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]");
  const wanted = [...all].filter((node) => !node.disabled && node.type !== "hidden" && node.tabIndex >= 0
    && node.checkVisibility({ visibilityProperty: true }));
  const groups = new Set();
  const stops = wanted.filter((node) => {
    if (node.type !== "radio") return true;
    const key = node.form + node.name;
    const chosen = document.querySelector(`input[type=radio][name="${CSS.escape(node.name)}"]:checked`);
    if (groups.has(key) || (chosen && chosen !== node)) return false;
    groups.add(key);
    return true;
  });
  stops.forEach((node, at) => { node.dataset.stop = at; });
  const shows = (node) => {
    const style = getComputedStyle(node);
    return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
  };
  window.walked = [];
  document.addEventListener("focusin", (event) => {
    const node = event.target, box = node.getBoundingClientRect();
    const around = node.closest(".segment");
    window.walked.push({
      stop: node.dataset.stop === undefined ? null : Number(node.dataset.stop),
      seen: (box.width > 0 && box.height > 0) || !!around,
      shown: shows(node) || (around && shows(around)),
      what: node.outerHTML.slice(0, 160),
    });
  });
  return stops.map((node) => node.outerHTML.slice(0, 160));
}"""


# A hidden tab does not ask, from its first moment on: an answer would replace what is being counted.
HIDDEN = 'Object.defineProperty(document, "hidden", { get: () => true });'


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """One page for the whole walk."""
    context = browser.new_context(reduced_motion="reduce", viewport={"width": 1280, "height": 900})
    context.add_init_script(HIDDEN)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield page
    expect.set_options(timeout=5_000)
    context.close()


def _sign_out(page: Page) -> None:
    page.goto("about:blank")  # a page that polls would bring a cookie back
    page.context.clear_cookies()


def _sign_in(page: Page, url: str, user: User) -> None:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    _sign_out(page)
    page.context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": url}])


# Pages on which nothing has a name that somebody gave, and forms that are empty.
NAMELESS = {"setup", "login", "400", "403", "500"}


@dataclass
class Walked:
    """What was seen of one page."""

    name: str
    axe: list[str]
    keyboard: list[str]
    harm: list[str]
    named: bool


def _look(name: str, page: Page, said: list[str]) -> Walked:
    """Look at the page that is open; `said` is what the browser complained about meanwhile."""
    found = Axe().run(page).response["violations"]
    axe = [f"{name}: {one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]
    foreign = "[...document.scripts].filter((one) => !one.src.startsWith(location.origin)).map((one) => one.outerHTML)"
    harm = [f"{name}: {one}" for one in [*page.evaluate(foreign), *said]]
    named = hostile.MARK in page.evaluate(
        "document.body.textContent + [...document.querySelectorAll('input')].map((one) => one.value)"
    )
    keyboard = _faults(name, page)
    said.clear()
    return Walked(name, axe, keyboard, harm, named)


@pytest.fixture(scope="module")
def walk(tab: Page, django_db_setup: None, django_db_blocker: Any, live_server: Any) -> list[Walked]:
    """Every page once, with hostile names wherever a page names something."""
    said: list[str] = []
    tab.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("console", lambda message: said.append(message.text) if "Content Security" in message.text else None)
    with django_db_blocker.unblock():
        return list(_walked(tab, live_server.url, said))


def _walked(tab: Page, url: str, said: list[str]) -> Iterator[Walked]:
    _sign_out(tab)
    for name in ("setup", "login"):  # while nobody has an account: afterwards nobody is let in there
        tab.goto(url + PAGES[name]({}))
        yield _look(name, tab, said)
    anna = factories.user("anna", role="admin")
    surroundings.around(anna)
    made = gallery.the_list(anna)
    addresses = {name: address(made) for name, address in PAGES.items() if name not in ("login", "setup")}
    hostile.rename_everything()
    anna.refresh_from_db()
    _sign_in(tab, url, anna)
    for name, address in addresses.items():
        WorkerBeat.objects.update(at=timezone.now())
        answer = tab.goto(url + address)
        assert answer is not None
        assert answer.status == 200, name
        yield _look(name, tab, said)
    for name, (status, get) in ANSWERS.items():
        response = get(anna, made)
        assert response.status_code == status, name
        show(tab, f"{url}/-/", response)
        yield _look(name, tab, said)


def _walk(page: Page) -> tuple[list[str], list[dict[str, Any]]]:
    """Press Tab until everything was met. Returns what there is, and what got the focus."""
    stops: list[str] = page.evaluate(WATCH)
    for _ in range(len(stops) + 12):  # a date has several stops inside
        page.keyboard.press("Tab")
    return stops, page.evaluate("window.walked")


def _faults(name: str, page: Page) -> list[str]:
    stops, walked = _walk(page)
    met = list(dict.fromkeys(each["stop"] for each in walked if each["stop"] is not None))
    faults = [f"{name}: never gets the focus: {stops[at]}" for at in sorted(set(range(len(stops))) - set(met))]
    begin = met.index(min(met)) if met else 0  # a form may begin at its first field
    if met[begin:] + met[:begin] != sorted(met):
        faults.append(f"{name}: out of order: {met}")
    for each in walked:
        if not each["seen"]:
            faults.append(f"{name}: has the focus and cannot be seen: {each['what']}")
        elif not each["shown"]:
            faults.append(f"{name}: does not show the focus: {each['what']}")
    return faults


def test_every_page_of_the_console_is_walked() -> None:
    known = {name for name, rule in access.RULES.items() if "GET" in rule.roles}
    assert known == set(PAGES) | (set(ANSWERS) & known) | NO_PAGES


def test_on_every_page_everything_gets_the_focus_in_order_and_shows_it(walk: list[Walked]) -> None:
    faults = [fault for page in walk for fault in page.keyboard]
    assert faults == [], "\n".join(faults)


def test_every_page_is_accessible(walk: list[Walked]) -> None:
    faults = [fault for page in walk for fault in page.axe]
    assert faults == [], "\n".join(faults)


def test_hostile_names_are_only_text_on_every_page(walk: list[Walked]) -> None:
    faults = [fault for page in walk for fault in page.harm]
    assert faults == [], "\n".join(faults)
    silent = {page.name for page in walk if not page.named}
    assert silent == NAMELESS, "pages that show no name, and those that should not"


def test_signing_in_and_the_menu_take_no_mouse(tab: Page, live_server: Any) -> None:
    factories.user("anna")
    _sign_out(tab)
    tab.goto(f"{live_server.url}/")
    tab.get_by_label("Account").focus()
    tab.keyboard.type("anna")
    tab.keyboard.press("Tab")
    tab.keyboard.type(factories.PASSWORD)
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="Migrations", exact=True)).to_be_visible()
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("link", name="Skip to content")).to_be_focused()
    tab.keyboard.press("Enter")
    expect(tab.locator("main")).to_be_focused()
    menu = tab.get_by_label("Your account", exact=True)
    menu.focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("link", name="Profile and password")).to_be_visible()
    tab.keyboard.press("Tab")
    expect(tab.get_by_role("link", name="Profile and password")).to_be_focused()
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("link", name="Profile and password")).to_be_hidden()
    expect(menu).to_be_focused()


def test_bulk_actions_and_dialogs_take_no_mouse_and_give_the_focus_back(tab: Page, live_server: Any) -> None:
    task = factories.checked_task(name="warehouse")
    _sign_in(tab, live_server.url, factories.user("anna"))
    tab.goto(f"{live_server.url}/")
    tab.get_by_role("checkbox", name="Tick warehouse").focus()
    tab.keyboard.press("Space")
    button = tab.get_by_role("button", name="Start ticked")
    button.focus()
    tab.keyboard.press("Enter")
    dialog = tab.get_by_role("dialog")
    expect(dialog).to_be_visible()
    tab.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    start = tab.locator(f"#start-{task.pk}")
    start.focus()
    tab.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Start")).to_be_visible()
    inside = "document.activeElement.closest('dialog') !== null || document.activeElement === document.body"
    for _ in range(6):
        tab.keyboard.press("Tab")
        assert tab.evaluate(inside), "the focus leaves the dialog"
    dialog.get_by_role("button", name="Start").focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_text("Start pressed. The task runs when its turn comes.")).to_be_visible()
    task.refresh_from_db()
    assert task.status == "queued"


def test_the_wizard_takes_no_mouse(tab: Page, live_server: Any) -> None:
    _sign_in(tab, live_server.url, factories.user("anna"))
    tab.goto(live_server.url + reverse("tasks:create"))
    for side, host in (("Source", "db1.internal"), ("Target", "10.0.4.9")):
        part = tab.get_by_role("region", name=side, exact=True)
        for label, value in (("Server address", host), ("Account", "mover"), (r"^\s*Password", factories.CANARY)):
            part.get_by_label(re.compile(label)).first.focus()
            tab.keyboard.type(value)
    tab.get_by_role("radio", name="Now").focus()
    tab.keyboard.press("ArrowDown")
    expect(tab.get_by_label("Start at")).to_be_visible()
    tab.keyboard.press("ArrowUp")
    expect(tab.get_by_label("Start at")).to_be_hidden()
    tab.get_by_label("Task name").focus()
    tab.keyboard.type("shop to 18")
    tab.get_by_role("button", name="Next: Objects").focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_text("Reading objects from db1.internal:5432")).to_be_visible()
    task = MigrationTask.objects.get()
    task.tests.all().delete()
    factories.inventory(task, tables=2)
    tab.goto(live_server.url + reverse("tasks:objects", args=[task.pk]))
    tab.locator("summary", has_text="shop").focus()
    tab.keyboard.press("Enter")
    box = tab.get_by_role("checkbox", name="shop.public", exact=True)
    box.focus()
    tab.keyboard.press("Space")
    expect(box).to_have_attribute("aria-checked", "false")
    expect(box).to_be_focused()
    tab.keyboard.press("Enter")
    expect(box).to_have_attribute("aria-checked", "true")
    tab.get_by_role("button", name="Next: Check Task").focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_role("heading", name="Check task")).to_be_visible()


def test_hints_and_folds_of_the_check_take_no_mouse(tab: Page, live_server: Any) -> None:
    task = factories.task(status="check_failed", checked_at=timezone.now())
    factories.check_item(task, status="failed", found="Found replica.", hint="Set it to logical.")
    factories.check_item(task, "reach", title="Source answers", group="Connectivity")
    _sign_in(tab, live_server.url, factories.user("anna"))
    tab.goto(live_server.url + reverse("tasks:check", args=[task.pk]))
    mark = tab.get_by_role("button", name="What was found: wal_level is logical", exact=True)
    mark.focus()
    expect(tab.get_by_role("tooltip").first).to_contain_text("Found Found replica.")
    expect(tab.get_by_role("tooltip").first).to_contain_text("What to do Set it to logical.")
    tab.keyboard.press("Escape")
    expect(tab.get_by_role("tooltip").first).to_be_hidden()
    fold = tab.locator("summary", has_text="Connectivity")
    fold.focus()
    tab.keyboard.press("Enter")
    expect(tab.get_by_text("Source answers")).to_be_visible()
    tab.keyboard.press("Space")
    expect(tab.get_by_text("Source answers")).to_be_hidden()


def test_the_walk_sees_what_is_wrong_with_a_page(tab: Page) -> None:
    tab.goto("about:blank")
    tab.set_content(
        "<a href='#a'>fine</a><button style='outline: none'>no sign</button><a href='#b' tabindex='5'>first</a>"
        "<a href='#c' style='display: inline-block; width: 0; height: 0; overflow: hidden'>gone</a>"
        "<button id='jumps'>jumps</button><script>jumps.onfocus = () => jumps.blur()</script><input>"
    )
    found = " ".join(fault.partition(":")[0] + fault.partition(":")[2] for fault in _faults("page", tab))
    for fault in ("does not show the focus", "out of order", "cannot be seen"):
        assert fault in found, found
