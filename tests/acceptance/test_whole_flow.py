"""The whole product as an operator meets it: `manage.py up`, a browser, two servers, an application that keeps writing.

With TOWPATH_SHOTS=folder the same run takes the pictures that the README shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.shop import load_shop
from migrations_app.demo.writer import Writer
from tests.acceptance.clicks import PATIENCE, Console, confirm, fill, serving, signed_in
from tests.acceptance.places import Place, drop_database, nothing_of_ours, refresh
from tests.comparator import differences
from tests.pictures import folder, take

pytestmark = pytest.mark.browser
# Rows that take some seconds to arrive on a PostgreSQL 18, so that the copy can be watched.
_SLOW = """
CREATE FUNCTION warehouse.is_plausible(value int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql AS $$
  DECLARE slept text; BEGIN
  IF current_setting('server_version_num')::int >= 180000 THEN slept := pg_sleep(0.004)::text; END IF;
  RETURN true; END $$;
CREATE TABLE warehouse.scans (id int PRIMARY KEY, code text, CHECK (warehouse.is_plausible(id)));
INSERT INTO warehouse.scans SELECT g, repeat('scan ', 20) FROM generate_series(1, 1500) g;
"""


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with serving(tmp_path_factory.mktemp("console"), TOWPATH_COPY_JOBS="1", TOWPATH_INDEX_JOBS="1") as running:
        yield running


@pytest.fixture
def shop(source_cluster: Cluster, target_cluster: Cluster) -> Iterator[tuple[Place, Place]]:
    """The shop on the source, and the database on the target that is going to be made."""
    places = Place(source_cluster, "shop"), Place(target_cluster, "shop")
    for place in places:
        drop_database(place)
    with source_cluster.connect() as connection:
        connection.execute("CREATE DATABASE shop")
    with places[0].connect() as connection:
        load_shop(connection, 0.2)
        connection.execute(_SLOW)
        connection.execute("ANALYZE")
    places[0].remember()
    yield places
    for place in places:
        drop_database(place)


@pytest.fixture
def operator(page: Page, console: Console) -> Iterator[Page]:
    """A signed-in operator at the list."""
    with signed_in(page, console):
        yield page


def picture(page: Page, name: str, height: int = 800, part: str = "") -> None:
    """Take a picture of the page or a part of it for the README, when pictures are wanted."""
    if folder():
        page.set_viewport_size({"width": 1280, "height": height})
        take(page.locator(part) if part else page, name)
        page.set_viewport_size({"width": 1280, "height": 800})


def tab_to(page: Page, what: Locator) -> None:
    """Move the focus there with the keyboard alone."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if what.evaluate("node => node === document.activeElement"):
            return
    pytest.fail(f"{what} is not reached by the keyboard")


def create_task(page: Page, name: str, source: Cluster, target: Cluster) -> None:
    """Step 1: settings of the task and both sides, each tried by Test connection."""
    page.get_by_role("link", name="Create Task").first.click()
    page.get_by_label("Task name").fill(name)
    page.get_by_role("radio", name="Now").check()
    expect(page.get_by_role("checkbox", name="Incremental sync")).to_be_checked()
    for side, cluster in (("Source", source), ("Target", target)):
        fill(page.get_by_role("region", name=side), cluster)
    for side, version in (("Source", "PostgreSQL 16."), ("Target", "PostgreSQL 18.")):
        part = page.get_by_role("region", name=side)
        part.get_by_role("button", name="Test connection").click()
        expect(part.get_by_text("Connected", exact=True)).to_be_visible(timeout=PATIENCE)
        expect(part.get_by_text(version)).to_be_visible()
    picture(page, "1-source-and-target", 1000, "main")
    page.get_by_role("button", name="Next: Objects").click()


def box(page: Page, *path: str) -> Locator:
    return page.get_by_role("checkbox", name=".".join(path), exact=True)


def choose_the_shop(page: Page) -> None:
    """Step 2: the tree, a search, one table left out and put back."""
    box(page, "Whole instance").click(timeout=PATIENCE)
    expect(box(page, "shop")).to_have_attribute("aria-checked", "false")
    box(page, "shop").click()
    expect(box(page, "Whole instance")).to_have_attribute("aria-checked", "mixed")
    for name in ("shop", "sales"):
        page.locator("summary").filter(has=page.get_by_text(name, exact=True)).click()
    box(page, "shop", "sales", "customers").click()
    notice = page.get_by_text("foreign keys point at tables that are left out")
    expect(notice).to_be_visible()
    expect(box(page, "shop")).to_have_attribute("aria-checked", "mixed")
    picture(page, "2-objects", 900)
    page.get_by_role("link", name="Include parents, or go without", exact=True).click()
    expect(page.get_by_role("rowheader", name="shop.sales.customers", exact=True)).to_be_visible()
    page.get_by_role("button", name="Include parents", exact=True).click()
    expect(notice).to_be_hidden()
    expect(box(page, "shop")).to_have_attribute("aria-checked", "true")
    page.get_by_role("searchbox").press_sequentially("order_it")
    expect(page.locator(".leaf", has_text="shop.sales.order_items")).to_be_visible()
    expect(page.locator(".leaf", has_text="customers")).to_have_count(0)
    page.get_by_role("button", name="Next: Check Task").click()


def read_the_check(page: Page) -> None:
    """Step 3: everything judged, hints by keyboard."""
    expect(page.get_by_role("link", name="Start", exact=True)).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text(re.compile(r"^\d+ Passed$"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"^\d+ Failed$"))).to_have_count(0)
    mark = page.locator(".mark").first
    page.locator("body").press("Home")
    tab_to(page, mark)
    expect(page.get_by_role("tooltip").first).to_be_visible()
    picture(page, "3-check", 900)
    page.keyboard.press("Escape")
    expect(page.get_by_role("tooltip").first).to_be_hidden()


def watch_the_list(page: Page) -> None:
    """Step, percent, what comes next; until the task is in sync."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Migrations").click()
    expect(page.get_by_text(re.compile(r"Step 2 of 7 · Copy data\s[1-9]\d*\s%"))).to_be_visible(timeout=PATIENCE)
    page.get_by_role("button", name="Remaining steps").hover()
    tip = page.get_by_role("tooltip")
    expect(tip).to_contain_text("Incremental sync until you press Complete")
    expect(tip).to_contain_text("Clean-up")
    picture(page, "4-list", 560)
    page.mouse.move(0, 0)
    expect(page.get_by_role("cell", name="In sync, ready to complete")).to_be_visible(timeout=PATIENCE)


def test_an_operator_moves_the_shop_while_it_is_written(
    operator: Page, shop: tuple[Place, Place], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    page, (source, target) = operator, shop
    writer = Writer(source_cluster.arguments("shop"), seed=1).start()
    try:
        create_task(page, "The shop moves to 18", source_cluster, target_cluster)
        choose_the_shop(page)
        read_the_check(page)
        confirm(page, "Start", "Start this migration?")
        watch_the_list(page)
        page.get_by_role("link", name="The shop moves to 18").click()
        confirm(page, "Compare now", "the sync goes on")
        compared = page.get_by_role("region", name="Last comparison")
        expect(compared.get_by_text("Equal", exact=True)).to_be_visible(timeout=PATIENCE)
        expect(page.get_by_role("link", name="Compare now")).to_be_visible(timeout=PATIENCE)
        picture(page, "5-in-sync", 900)
    finally:
        stats = writer.stop()
    assert (stats.errors, stats.committed > 100) == ((), True)
    page.get_by_role("link", name="Complete", exact=True).click()
    expect(page.get_by_role("dialog")).to_contain_text("Stop writing to the source first")
    picture(page, "6-complete")
    page.get_by_role("dialog").get_by_role("button", name="Complete").click()
    expect(page.locator("#status")).to_have_text("Completed", timeout=PATIENCE)
    expect(page.get_by_text("Point the application at the target.")).to_be_visible()
    picture(page, "7-completed", 900)
    nothing_of_ours(source, target)
    assert unequal(source, target) == []


def unequal(source: Place, target: Place) -> list[str]:
    """Return how the two differ, by the tests' own oracle; Complete fills views from the rows as they are now."""
    refresh(source)
    with source.connect() as here, target.connect() as there:
        return differences(here, there)


@pytest.mark.long
def test_an_operator_cancels_and_starts_again_with_a_cleared_target(
    operator: Page, shop: tuple[Place, Place], source_cluster: Cluster, target_cluster: Cluster
) -> None:
    page, (source, target) = operator, shop
    create_task(page, "Second try", source_cluster, target_cluster)
    box(page, "Whole instance").click(timeout=PATIENCE)
    box(page, "shop").click()
    expect(box(page, "Whole instance")).to_have_attribute("aria-checked", "mixed")
    page.get_by_role("button", name="Next: Check Task").click()
    expect(page.get_by_role("link", name="Start", exact=True)).to_be_visible(timeout=PATIENCE)
    confirm(page, "Start", "Start this migration?")
    expect(page.locator("#steps").get_by_text(re.compile(r"^\d+ %, since"))).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#table-rows").get_by_text("Copying").first).to_be_visible(timeout=PATIENCE)
    confirm(page, "Cancel", "Tables that were made on the target stay there and are listed.")
    expect(page.locator("#status")).to_have_text("Cancelled", timeout=30_000)
    left = page.get_by_role("region", name="What this task left on the servers")
    expect(left.get_by_text("Table warehouse.scans", exact=True)).to_be_visible()
    expect(left.get_by_text("Source", exact=True)).to_have_count(0)
    nothing_of_ours(source, target)
    page.get_by_role("link", name="Start again").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("checkbox", name=re.compile("Clear the .* made on the target first")).check()
    dialog.get_by_role("textbox", name=re.compile("type the name of the task")).fill("Second try")
    dialog.get_by_role("button", name="Start again").click()
    expect(page.get_by_role("heading", name="Check task")).to_be_visible()
    expect(page.get_by_role("link", name="Start", exact=True)).to_be_visible(timeout=PATIENCE)
    confirm(page, "Start", "Start this migration?")
    expect(page.locator("#status")).to_have_text("In sync, ready to complete", timeout=PATIENCE)
    confirm(page, "Complete", "Stop writing to the source first")
    expect(page.locator("#status")).to_have_text("Completed", timeout=PATIENCE)
    nothing_of_ours(source, target)
    assert unequal(source, target) == []
