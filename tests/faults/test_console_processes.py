"""What kills and stops do beside the sync: to a comparison, to requests of the web, in an upgrade, to two tasks."""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import os
import random
import re
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrations_app.demo.clusters import Cluster
from migrations_app.demo.writer import Writer
from tests.acceptance.kit import Migration, World, ends_well, finish, open_world, until_taken_over
from tests.acceptance.places import Place
from tests.bench.console import serve
from tests.fakes import wait_until
from tests.faults.conftest import SEED, Record
from tests.installation import descendants

APP = "migrations_app"


@pytest.fixture(scope="module")
def world(
    source_cluster: Cluster, target_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """An installation of these tests alone, because it is stopped as a whole."""
    with open_world(source_cluster, target_cluster, tmp_path_factory.mktemp("console")) as opened:
        yield opened


def codes(migration: Migration) -> list[str]:
    return [code for code, _ in migration.events()]


@pytest.mark.fault("A6", "kill -9 of the worker again and again while it compares, beside the application")
def test_a_comparison_whose_worker_is_killed_is_done_again(
    migration: Migration, writer: Writer, record_property: Record
) -> None:
    dice = random.Random(SEED)  # noqa: S311 - moments
    migration.start()
    migration.until("ready")
    migration.press("compare_task")
    hit = 0
    for _ in range(3):
        worker, epoch = migration.until_step("sync"), migration.epoch
        time.sleep(dice.uniform(0, 0.4))
        hit += bool(migration.column("compare_requested"))
        os.kill(worker, signal.SIGKILL)
        until_taken_over(migration, epoch)
    wait_until(lambda: not migration.column("compare_requested"), 60, "the end of the comparison")
    told = [text for code, text in migration.events() if code == "RUN-RESUMED" and "comparison begins again" in text]
    record_property(
        "seen", f"{hit} of 3 kills met it, {len(told)} times told; epoch {migration.epoch}; equal in the end"
    )
    assert hit, "no kill met the comparison"
    assert told, "nobody learns that the tables that were compared are compared again"
    assert "CMP-EQUAL" in codes(migration)
    assert "CMP-DIFF" not in codes(migration)
    finish(migration, writer)


@pytest.mark.fault("C11", "two tasks for one target, both checked, both started at once")
def test_of_two_tasks_for_one_target_the_second_changes_nothing(
    world: World, migration: Migration, pair: tuple[Place, Place], writer: Writer, record_property: Record
) -> None:
    other = Migration(world, *pair)
    try:
        for one in (migration, other):
            one.check()
        for one in (migration, other):
            one.press("start_task")
        first, second = (migration, other)
        first.until("ready")
        second.until("failed", "check_failed", seconds=90)
        refused = f"{second.status}: {second.column('error_code')} {second.column('error_message')}"
        record_property("seen", refused)
        assert second.status == "check_failed" or second.column("error_code") == "DST-EXISTS", refused
        assert second.ledger("target") == []
        second.press("cancel_task")
        second.until("cancelled")
        finish(first, writer)
    finally:
        other.close()


@pytest.mark.fault("O8", "stopped in the sync, the tables of the console set back one version and moved up again")
def test_an_upgrade_with_a_task_in_sync_goes_on(
    world: World, migration: Migration, writer: Writer, record_property: Record
) -> None:
    migration.start()
    migration.until("ready")
    world.up.send_signal(signal.SIGTERM)
    assert world.up.wait(40) == 0
    names = sorted(row[0] for row in world.installation.query("SELECT name FROM django_migrations WHERE app = ?", APP))
    for target in (names[-2], names[-1]):
        done = world.installation.manage("migrate", APP, target, "-v0")
        assert done.returncode == 0, done.stderr
    known = writer.stats().committed + 40
    wait_until(lambda: writer.stats().committed > known, 30, "more transactions")
    world.start()
    record_property("seen", f"{names[-2]} to {names[-1]}")
    finish(migration, writer)


@pytest.mark.fault("A10", "kill -9 of everything in the copy and in the sync, then started again")
def test_a_host_that_went_down_goes_on_at_its_start(
    world: World, migration: Migration, writer: Writer, record_property: Record
) -> None:
    migration.start()
    for step in ("copy", "sync"):
        migration.until_step(step)
        epoch = migration.epoch
        family = [world.up.pid, *descendants(world.up.pid)]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        world.up.wait(20)
        world.start()
        until_taken_over(migration, epoch, 60)
    record_property("seen", f"epoch {migration.epoch}; {codes(migration).count('RUN-RESUMED')} times told")
    finish(migration, writer)


@pytest.mark.fault("A10", "kill -9 of everything in Complete, then started again")
def test_a_host_that_went_down_in_complete_ends_it_at_its_start(
    world: World, migration: Migration, writer: Writer, record_property: Record
) -> None:
    migration.start()
    migration.until("ready")
    assert writer.stop().errors == ()
    migration.press("complete_task")
    migration.until_step("complete")
    epoch = migration.epoch
    for pid in [world.up.pid, *descendants(world.up.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    world.up.wait(20)
    assert migration.status == "completing"
    world.start()
    until_taken_over(migration, epoch, 60)
    record_property("seen", f"epoch {migration.epoch}; {codes(migration).count('RUN-RESUMED')} times told")
    if migration.until("completed", "ready") == "ready":
        migration.complete()
    ends_well(migration)


class Browser:
    """Signed in as an operator; posts forms. One thread."""

    def __init__(self, port: int, account: str, password: str) -> None:
        self._base = f"http://127.0.0.1:{port}"
        jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        self.post("/login/", username=account, password=password)

    def post(self, path: str, **fields: str) -> None:
        """Post a form with the token of its page, or of the list."""
        with self._opener.open(self._base + (path if path == "/login/" else "/"), timeout=10) as page:
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.read().decode())
        assert token
        body = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1], **fields}).encode()
        request = urllib.request.Request(self._base + path, body, {"Referer": self._base + path})  # noqa: S310
        with self._opener.open(request, timeout=10) as answer:
            answer.read()

    def try_post(self, path: str) -> None:
        """Post a form to a server that may be killed meanwhile."""
        with contextlib.suppress(http.client.HTTPException, OSError):
            try:
                self.post(path)
            except urllib.error.HTTPError as error:
                error.close()


@pytest.mark.fault("A9", "kill -9 of the web after each row that a request writes, a task in sync beside it")
def test_a_request_whose_process_is_killed_is_recorded_whole_or_not_at_all(
    world: World, migration: Migration, writer: Writer, tmp_path: Path, record_property: Record
) -> None:
    password = world.operator.do(
        "from migrations_app.services import accounts\n"
        "user = User.objects.create_superuser('walter', password='long enough for it')\n"
        "user.role = 'admin'; user.save()\nprint('long enough for it')"
    )
    migration.start()
    migration.until("ready")
    epoch, order = migration.epoch, tmp_path / "kill"
    settings = {"DJANGO_SETTINGS_MODULE": "tests.faults.killing_web", "TOWPATH_TEST_KILL": str(order)}
    port, _ = serve(world.installation, **settings)
    browser = Browser(port, "walter", password)
    clone = f"/tasks/{uuid.UUID(migration.id)}/clone/"
    recorded = []
    for row in range(1, 100):
        order.write_text(str(row))
        browser.try_post(clone)
        if order.exists():  # that many rows were not written: the request was through before
            break
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/healthz"), 60, "the web being back")
        recorded.append(_recorded(world, migration))
    made, kills = _recorded(world, migration), len(recorded)
    assert recorded == sorted(recorded)
    assert 0 in recorded, "no kill met what belongs together"
    assert made > recorded[-1] > 0, "no kill met a request whose task stood"
    assert kills >= 6, "a task with two sides and what is told of it has more rows"
    assert _noted(world) == made + recorded.count(0) - 1, "each but the one that was killed when this was being noted"
    assert migration.epoch == epoch
    record_property("seen", f"{made - 1} of {kills} recorded, all of them whole, each after another row")
    finish(migration, writer)


def _recorded(world: World, migration: Migration) -> int:
    """Return how many tasks there are that were made so. Each is whole, and there is nothing of any other."""
    whole = world.operator.do(
        f"copies = MigrationTask.objects.filter(cloned_from={migration.id!r})\n"
        f"told = Event.objects.filter(task={migration.id!r}, code='TASK-CLONED').count()\n"
        "sides = all(one.source_id and one.target_id and one.events.filter(code='TASK-CREATED').count() == 1"
        " for one in copies)\n"
        "alone = Endpoint.objects.filter(source_of=None, target_of=None, saved_name='').count()\n"
        "print(copies.count(), told, sides, alone)"
    ).split()
    assert whole == [whole[0], whole[0], "True", "0"], "clones, told, all with sides, sides of no task"
    return int(whole[0])


def _noted(world: World) -> int:
    """Return how many clones the audit trail tells of, once what was only asked for has become an entry too."""
    entries = world.operator.do(
        "from datetime import timedelta\nfrom migrations_app import clock\n"
        "from migrations_app.models import AuditEntry\nfrom migrations_app.services import work\n"
        "work.dispatch(clock.now() + timedelta(minutes=6))\n"
        "print(AuditEntry.objects.filter(actor='walter', action='tasks:clone').count())"
    )
    return int(entries)


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - our own
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
    return False
