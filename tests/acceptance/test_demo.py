"""`make demo` and `make demo ARGS=--once`, as they are typed; the commands are the Makefile's."""

from __future__ import annotations

import contextlib
import http.cookiejar
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from migrations_app.demo.clusters import free_port
from migrations_app.demo.world import clean
from tests.fakes import wait_until
from tests.installation import ROOT, Installation

_CLEAN = ["-m", "migrations_app.demo.world", "clean"]


@dataclass
class Demo:
    """A demo in a folder of its own, with what it printed since its last start."""

    installation: Installation
    folder: Path

    def start(self, port: int) -> subprocess.Popen[bytes]:
        """Start the demo; it is up when it has told its address."""
        process = self.installation.start("demo", "--scale", "0.01", "--port", str(port))
        wait_until(lambda: "Ctrl-C stops everything" in self.printed() or process.poll(), 60, "the demo's address")
        return process

    def printed(self) -> str:
        """Return what the demo that was started last has printed."""
        number = len(self.installation.processes) - 1
        return (self.installation.folder / f"demo-{number}.log").read_text()

    def tasks(self) -> list[tuple[str, str]]:
        """Return id and status of every task."""
        rows = self.installation.query("SELECT id, status FROM migrations_app_migrationtask")
        return [(str(key), str(status)) for key, status in rows]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    folder = tmp_path / "demo"
    installation = Installation(tmp_path, TOWPATH_DEMO_DIR=str(folder), TOWPATH_DATA_DIR=str(folder))
    yield Demo(installation, folder)
    installation.stop()
    if any(folder.glob("**/world.json")):
        clean(folder)


def _says(demo: Demo, pattern: str) -> str:
    found = re.search(pattern, demo.printed())
    assert found, demo.printed()
    return found[1]


def _sign_in(address: str, user: str, password: str) -> str:
    """Sign in as a browser does and return the page that comes."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return bool(opener.open(address, timeout=5).status == 200)
        return False

    wait_until(answers, 60, "the console")
    with opener.open(address) as form:
        where, text = form.url, form.read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', text)
    assert token, text
    fields = {"csrfmiddlewaretoken": token[1], "username": user, "password": password}
    request = urllib.request.Request(where, urllib.parse.urlencode(fields).encode(), {"Referer": where})  # noqa: S310
    with opener.open(request) as answer:
        return str(answer.read().decode())


@pytest.mark.slow
def test_the_demo_shows_a_migration_that_is_ready_survives_a_stop_and_is_removed_without_a_trace(demo: Demo) -> None:
    port = free_port()
    process = demo.start(port)
    address = _says(demo, r"Towpath +(http://\S+)")
    user, password = _says(demo, r"login +(\S+) /"), _says(demo, r"login +\S+ / (\S+)")
    assert _says(demo, r"choose (\S+) for TLS") == "Off"
    assert address == f"http://127.0.0.1:{port}/"
    page = _sign_in(address, user, password)
    assert "Demo: the shop moves from 16 to 18" in page
    assert "Sign out" in page
    wait_until(lambda: [status for _, status in demo.tasks()] == ["ready"], 60, "the task being ready")
    before = demo.tasks()
    process.terminate()
    assert process.wait(40) == 0, demo.installation.logs()[-4000:]

    process = demo.start(port)
    assert _says(demo, r"login +\S+ / (\S+)") == password
    epoch = "SELECT epoch FROM migrations_app_migrationtask WHERE status = 'ready' AND worker <> ''"
    wait_until(lambda: demo.installation.query(epoch), 60, "a worker that goes on with the task")
    assert [key for key, _ in demo.tasks()] == [key for key, _ in before]
    process.terminate()
    assert process.wait(40) == 0, demo.installation.logs()[-4000:]

    done = subprocess.run([sys.executable, *_CLEAN, str(demo.folder)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not demo.folder.exists()


@pytest.mark.long
def test_the_application_of_the_demo_stops_writing_when_complete_is_pressed(demo: Demo) -> None:
    demo.start(free_port())
    wait_until(lambda: [status for _, status in demo.tasks()] == ["ready"], 60, "the task being ready")
    pressed = demo.installation.manage("task", "complete", demo.tasks()[0][0])
    assert pressed.returncode == 0, pressed.stderr
    wait_until(lambda: [status for _, status in demo.tasks()] == ["completed"], 90, "the end of the task")
    codes = [code for (code,) in demo.installation.query("SELECT code FROM migrations_app_event")]
    assert "CMP-EQUAL" in codes
    assert "SRC-LATE" not in codes


def test_one_migration_without_a_browser_ends_equal_and_leaves_nothing(demo: Demo) -> None:
    done = demo.installation.manage("demo", "--once", "--scale", "0.01", "--sync-seconds", "1")
    said = done.stdout
    assert done.returncode == 0, said + done.stderr
    assert re.search(r"comparison of shop: equal, \d+ tables", said), said
    assert re.search(r"structure of shop: arrived, [\d,]+ objects compared", said), said
    assert re.search(r"second opinion on shop: \d+ tables and sequences, [\d,]+ rows, \d+ large objects, equal", said)
    assert re.search(r"the application committed [1-9][\d,]* transactions and saw 0 errors", said), said
    assert not (demo.folder / "once").exists()


def test_the_makefile_types_the_commands_that_are_tried_here() -> None:
    text = (ROOT / "Makefile").read_text()
    assert "manage.py demo $(ARGS)" in text
    assert f"{' '.join(_CLEAN)} " in text
