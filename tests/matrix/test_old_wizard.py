"""Old servers as an operator moves them: every click from the wizard to Complete, under an application that writes.

The application empties tables as well, of which servers before 11 tell nothing in their stream.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.acceptance.clicks import Console, confirm, fill, serving, signed_in
from tests.acceptance.places import Place, nothing_of_ours, refresh
from tests.comparator import differences
from tests.fakes import wait_until
from tests.matrix.conftest import Servers
from tests.matrix.old_writer import keep_writing
from tests.servers import Server, older, why_unavailable

pytestmark = [pytest.mark.matrix, pytest.mark.browser]
_SHOP = Path(__file__).with_name("old_shop.sql")
_TO_BE_WRITTEN = 300
"""Transactions in sync."""
_PATIENCE = 120_000  # milliseconds


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with serving(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def operator(page: Page, console: Console) -> Iterator[Page]:
    with signed_in(page, console):
        yield page


@contextmanager
def _moved(versions: Servers, pair: tuple[str, str], name: str) -> Iterator[tuple[Place, Place]]:
    for version in pair:
        if reason := why_unavailable(version):
            pytest.skip(reason)
    source, target = versions.of(pair[0], "source"), versions.of(pair[1], "target")
    places = Place(source, name), Place(target, name)
    with source.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0".encode())
    with places[0].connect() as connection:
        connection.execute(_SHOP.read_bytes())
    if pair[0] != "9.3":  # where nothing identifies a row in a stream, as there is none
        places[0].remember()
    try:
        yield places
    finally:
        for place in places:
            with place.cluster.connect() as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())


class _Application:
    """Writes into the source until it is stopped."""

    def __init__(self, place: Place, seed: int) -> None:
        self._place, self._seed = place, seed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.error: BaseException | None = None
        self.asked = 0

    def start(self) -> _Application:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        if self.error:
            raise self.error

    def _run(self) -> None:
        try:
            with self._place.connect() as connection:
                keep_writing(connection, self._seed, self._ended)
        except BaseException as error:
            self.error = error

    def _ended(self) -> bool:
        self.asked += 1  # once before each transaction
        return self._stop.is_set()


def _settings(page: Page, name: str, source: Server, target: Server) -> None:
    page.get_by_role("link", name="Create Task").first.click()
    page.get_by_label("Task name").fill(name)
    page.get_by_role("radio", name="Now").check()
    expect(page.get_by_role("checkbox", name="Incremental sync")).to_be_checked()
    for side, server in (("Source", source), ("Target", target)):
        part = page.get_by_role("region", name=side)
        fill(part, server)
        if older(server.version, "10"):
            part.locator("summary").click()
            part.get_by_label("Accepted sign-in methods").select_option("password")
        part.get_by_role("button", name="Test connection").click()
        expect(part.get_by_text("Connected", exact=True)).to_be_visible(timeout=_PATIENCE)
        expect(part.get_by_text(f"PostgreSQL {server.version}")).to_be_visible()
    page.get_by_role("button", name="Next: Objects").click()


def _checked(page: Page, name: str) -> None:
    whole, chosen = (page.get_by_role("checkbox", name=one, exact=True) for one in ("Whole instance", name))
    whole.click(timeout=_PATIENCE)
    if chosen.get_attribute("aria-checked") != "true":
        chosen.click()
    expect(chosen).to_have_attribute("aria-checked", "true")
    page.get_by_role("button", name="Next: Check Task").click()


def _unequal(source: Place, target: Place) -> list[str]:
    refresh(source)
    with source.connect() as here, target.connect() as there:
        return differences(here, there)


@pytest.mark.parametrize("pair", [("9.5", "13"), ("9.6", "18"), ("10", "16")], ids="-to-".join)
def test_an_operator_moves_an_old_server_while_its_tables_are_written_and_emptied(
    operator: Page, versions: Servers, pair: tuple[str, str], seed: int
) -> None:
    page, name = operator, f"old_{random.SystemRandom().randrange(1 << 30)}"
    print(f"TOWPATH_MATRIX_SEED={seed}")
    with _moved(versions, pair, name) as (source, target):
        application = _Application(source, seed).start()
        try:
            _settings(page, name, source.cluster, target.cluster)  # type: ignore[arg-type]
            _checked(page, name)
            expect(page.get_by_role("link", name="Start", exact=True)).to_be_visible(timeout=_PATIENCE)
            expect(page.get_by_text(re.compile(r"^\d+ Failed$"))).to_have_count(0)
            confirm(page, "Start", "Start this migration?")
            status = page.locator("#status")
            expect(status).to_have_text("In sync, ready to complete", timeout=_PATIENCE)
            before = application.asked
            wait_until(lambda: application.asked > before + _TO_BE_WRITTEN, 120, "changes in sync")
        finally:
            application.stop()
        expect(status).to_have_text("In sync, ready to complete", timeout=_PATIENCE)
        confirm(page, "Complete", "Stop writing to the source first")
        expect(status).to_have_text("Completed", timeout=_PATIENCE)
        nothing_of_ours(source, target)
        assert _unequal(source, target) == []


def test_an_operator_is_told_that_the_source_can_only_be_copied_and_copies_it(
    operator: Page, versions: Servers
) -> None:
    page, name = operator, f"old_{random.SystemRandom().randrange(1 << 30)}"
    with _moved(versions, ("9.3", "16"), name) as (source, target):
        _settings(page, name, source.cluster, target.cluster)  # type: ignore[arg-type]
        _checked(page, name)
        refused = page.get_by_role("paragraph").filter(
            has_text=re.compile(r"PostgreSQL 9\.3\S* knows no logical decoding")
        )
        expect(refused).to_be_visible(timeout=_PATIENCE)
        expect(page.get_by_role("link", name="Start", exact=True)).to_have_count(0)
        page.get_by_role("button", name="Continue without incremental sync").click()
        expect(page.get_by_role("link", name="Start", exact=True)).to_be_visible(timeout=_PATIENCE)
        confirm(page, "Start", "Start this migration?")
        expect(page.locator("#status")).to_have_text("Completed", timeout=_PATIENCE)
        assert _unequal(source, target) == []
