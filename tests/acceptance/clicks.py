"""A console with all that `manage.py up` starts, and what an operator does in its pages again and again."""

from __future__ import annotations

import contextlib
import re
import secrets
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Dialog, Locator, Page, expect

from migrations_app.demo.clusters import Cluster, free_port
from tests.fakes import wait_until
from tests.installation import Installation

PATIENCE = 60_000  # milliseconds
_PASSWORD = secrets.token_urlsafe(12)
_USER = "from migrations_app.models import User; User.objects.create_superuser('operator', password={!r})"


@dataclass
class Console:
    """A console that serves on a port, with everything that `manage.py up` starts."""

    url: str
    installation: Installation

    def healthy(self) -> bool:
        """Say whether it answers that it is ready."""
        asked = f"{self.url}/readyz"
        with contextlib.suppress(OSError), urllib.request.urlopen(asked, timeout=2) as answer:  # noqa: S310 - http
            return bool(answer.status == 200)
        return False


@contextlib.contextmanager
def serving(folder: Path, **environment: str) -> Iterator[Console]:
    """Run a console in this folder, with one operator."""
    port, installation = free_port(), Installation(folder, **environment)
    installation.start("up", "--port", str(port), "--logs", str(folder / "logs"))
    running = Console(f"http://127.0.0.1:{port}", installation)
    try:
        wait_until(running.healthy, 60, "the console")
        installation.shell(_USER.format(_PASSWORD))
        yield running
    finally:
        installation.stop()


@contextlib.contextmanager
def signed_in(page: Page, console: Console) -> Iterator[None]:
    """Sign the operator in, at the list; fail at the end on anything that the browser complained about."""
    faults: list[str] = []

    def refuse(dialog: Dialog) -> None:
        faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", refuse)
    page.on("request", lambda asked: None if asked.url.startswith((console.url, "data:")) else faults.append(asked.url))
    page.set_viewport_size({"width": 1280, "height": 800})
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.goto(console.url)
    page.get_by_label("Account").fill("operator")
    page.get_by_label("Password").fill(_PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Migrations", exact=True)).to_be_visible()
    yield
    assert faults == []


def fill(part: Locator, cluster: Cluster) -> None:
    """Fill in one side of a task."""
    part.get_by_label("Server address").fill("127.0.0.1")
    part.get_by_role("textbox", name="Port").fill(str(cluster.port))
    part.get_by_label("Account").fill("postgres")
    part.get_by_label(re.compile(r"^\s*Password")).fill(cluster.password)
    part.get_by_label("TLS").select_option("disable")


def confirm(page: Page, label: str, words: str) -> None:
    """Press an operation, read what it asks, and agree."""
    page.get_by_role("link", name=label, exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(words)
    dialog.get_by_role("button", name=label, exact=True).click()
    expect(dialog).to_be_hidden()
