"""`manage.py demo`: the product at work on two sample servers, or one whole migration without a browser."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection, connections

from ... import runner, services
from ...demo.clusters import ClusterError, free_port
from ...demo.fingerprint import LARGE_OBJECTS, fingerprint, unlike
from ...demo.inventory import inventory_text
from ...demo.world import Endpoint, World, clean
from ...demo.writer import WriterStats
from ...engine.selection import Selection
from ...engine.states import Status
from ...models import Endpoint as EndpointRow
from ...models import MigrationTask
from ..cli.asked import RunOptions
from ..cli.foreground import ForegroundRun
from .up import DEFAULT_PORT, GRACE_SECONDS, port_is_free, prepare, stack, supervisor

_TASK = "Demo: the shop moves from 16 to 18"
_DATABASES = ("shop", "analytics")
_DIFFERENT = 4


class Command(BaseCommand):
    """Runs until Ctrl-C, or with --once until the migration has ended."""

    help = "Run the product with two sample servers and a live writer; --once: one migration, checked, no browser."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--once", action="store_true", help="migrate once without a browser; exit 0 when equal")
        parser.add_argument("--port", type=int, help=f"port of the console (default {DEFAULT_PORT}, or a free one)")
        parser.add_argument("--scale", type=float, default=1.0, help="size of the shop: 1 = 1.5 million rows")
        parser.add_argument("--sync-seconds", type=float, default=5, help="with --once: how long to follow the writer")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the demo. Exits 4 when source and target differ, else as `task run` does."""
        runner.trust_command_line()
        try:
            code = self._once(options) if options["once"] else self._serve(options)
        except ClusterError as error:
            raise CommandError(str(error)) from error
        if code:
            raise SystemExit(code)

    def _serve(self, options: dict[str, Any]) -> int:
        port = _console_port(options["port"])
        self._say("Starting two PostgreSQL servers and loading the shop …")
        with World(Path(settings.DATA_DIR) / "world", options["scale"]) as world:
            prepare()
            login = _login(world)
            _inventory(world)
            _task(world)
            self._introduce(port, login, world)
            connections.close_all()
            _Switch(world).start()
            children = [*stack("127.0.0.1", port), world.writer_child()]
            return supervisor(children, GRACE_SECONDS, Path(settings.DATA_DIR) / "logs").run()

    def _introduce(self, port: int, login: tuple[str, str], world: World) -> None:
        self._say("")
        self._say(f"  Towpath   http://127.0.0.1:{port}/")
        self._say(f"  login     {login[0]} / {login[1]}")
        for name, endpoint in world.endpoints().items():
            self._say(f"  {name}    127.0.0.1:{endpoint.port}  account {endpoint.user} / {endpoint.password}")
        self._say("  In a task of your own choose Off for TLS: these two servers have none.")
        self._say("")
        self._say(
            "A task is under way: open it, watch it, press Complete when it is ready. An application keeps writing"
        )
        self._say(f"to the source until then. Logs: {Path(settings.DATA_DIR) / 'logs'}. Ctrl-C stops everything.")

    def _once(self, options: dict[str, Any]) -> int:
        data_dir = Path(settings.DATA_DIR)
        World(data_dir / "world").remove()  # what an earlier run kept because it failed
        for database in data_dir.glob("console.sqlite3*"):
            database.unlink()
        prepare(only=())
        self._say("Starting two PostgreSQL servers and loading the shop …")
        with World(data_dir / "world", options["scale"]) as world:
            world.start_writer()
            run = ForegroundRun(_run_options(world), self.stdout, self.stderr)
            closing = _Closing(run, world, options["sync_seconds"])
            closing.start()
            code = run.run()
            stats = closing.finish()
            self._say(
                f"  the application committed {stats.committed:,} transactions and saw {len(stats.errors)} errors"
            )
            for line in stats.errors:
                self._say(f"    {line}")
            code = code or self._second_opinion(world, run) or int(bool(stats.errors))
        if code:
            self._say(f"  everything is kept in {data_dir} until the next run or `make demo-clean`")
        else:
            clean(data_dir)
        return code

    def _second_opinion(self, world: World, run: ForegroundRun) -> int:
        """Compare both sides by plain SQL, without the engine. Returns the exit code."""
        if run.task().status != Status.COMPLETED:
            self._say("  the task did not complete")
            return 1
        code = 0
        for name in _DATABASES:
            with world.source.connect(name) as source, world.target.connect(name) as target:
                here, there = fingerprint(source), fingerprint(target)
            differing = unlike(here, there)
            large, _ = here.pop(LARGE_OBJECTS)
            rows = sum(count for count, _ in here.values())
            what = f"{len(here)} tables and sequences, {rows:,} rows, {large:,} large objects"
            verdict = f"NOT equal: {', '.join(differing)}" if differing else "equal"
            self._say(f"  second opinion on {name}: {what}, {verdict}")
            code = _DIFFERENT if differing else code
        return code

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


class _Switch(threading.Thread):
    """Stops the application's writing once Complete is pressed, as its operators would; not when it is taken back."""

    def __init__(self, world: World) -> None:
        super().__init__(name="switch", daemon=True)
        self._world = world

    def run(self) -> None:
        """Look twice a second, for as long as the demo runs."""
        while True:
            try:
                closed = MigrationTask.objects.filter(name=_TASK, status__in=(Status.COMPLETING, Status.COMPLETED))
                self._world.rest_writer(rests=closed.exists())
            except (DatabaseError, OSError):
                connection.close()  # the console's database is busy, or being removed with the demo
            time.sleep(0.5)


class _Closing(threading.Thread):
    """Lets the migration follow the writer for a while, then stops the writer and presses Complete."""

    def __init__(self, run: ForegroundRun, world: World, sync_seconds: float) -> None:
        super().__init__(name="closing", daemon=True)
        self._drive, self._world, self._seconds = run, world, sync_seconds
        self._over = threading.Event()
        self._stats = WriterStats()

    def run(self) -> None:
        """Wait for `ready`, follow, complete."""
        try:
            if self._wait_for_ready() and not self._over.wait(self._seconds):
                self._stats = self._world.stop_writer()
                self._complete()
        finally:
            connection.close()

    def finish(self) -> WriterStats:
        """End the thread and the writer; return what the writer did."""
        self._over.set()
        self.join(60)
        if not self._stats.committed:
            self._stats = self._world.stop_writer()
        return self._stats

    def _wait_for_ready(self) -> bool:
        while not self._over.wait(0.2):
            if self._drive.task_id and self._drive.task().status == Status.READY:
                return True
        return False

    def _complete(self) -> None:
        """Press Complete as soon as it is allowed: a task may leave `ready` for a moment."""
        deadline = time.monotonic() + 60
        while not self._over.wait(0.1) and time.monotonic() < deadline:
            try:
                services.complete_task(task_id=self._drive.task_id, actor=None)
            except services.Refused:
                continue
            return


def _console_port(wanted: int | None) -> int:
    if wanted is None:
        return DEFAULT_PORT if port_is_free("127.0.0.1", DEFAULT_PORT) else free_port()
    if not port_is_free("127.0.0.1", wanted):
        raise CommandError(f"port {wanted} is in use; choose another with --port, or none for a free one")
    return wanted


def _login(world: World) -> tuple[str, str]:
    """Make the demo's administrator, with a password that is generated once."""
    password = world.facts().get("password") or secrets.token_urlsafe(12)
    world.remember(password=password)
    user, _ = get_user_model().objects.get_or_create(username="demo", defaults={"role": "admin"})
    if not user.check_password(password):
        user.set_password(password)
        user.save()
    return "demo", password


def _inventory(world: World) -> None:
    """Fill the resource directory, so that all five source types can be tried; ports follow the servers."""
    ports = {f"{name}_port": endpoint.port for name, endpoint in world.endpoints().items()}
    logging.getLogger("towpath.audit").setLevel(logging.WARNING)  # what is printed is for people
    services.import_inventory(actor=None, text=inventory_text(**ports), apply=True)


def _data(endpoint: Endpoint) -> services.EndpointData:
    return services.EndpointData(
        host=endpoint.host,
        port=endpoint.port,
        account=endpoint.user,
        password=endpoint.password,
        database="postgres",
        tls_mode="disable",
    )


def _selection() -> Selection:
    selection = Selection()
    for name in _DATABASES:
        selection = selection.toggle((name,), True)
    return selection


def _task(world: World) -> None:
    """Create, check and start the demo's task once; on a later start let it find the servers where they are now."""
    endpoints = world.endpoints()
    for name, endpoint in endpoints.items():
        former = world.facts().get(f"{name}_port")
        if former and int(former) != endpoint.port:
            EndpointRow.objects.filter(host=endpoint.host, port=int(former)).update(port=endpoint.port)
        world.remember(**{f"{name}_port": str(endpoint.port)})
    if MigrationTask.objects.filter(name=_TASK).exists():
        return
    owner = get_user_model().objects.get(username="demo")
    task = services.create_draft(
        actor=owner,
        name=_TASK,
        scheduled_at=None,
        incremental=True,
        source=_data(endpoints["source"]),
        target=_data(endpoints["target"]),
    )
    services.set_selection(task_id=task.pk, actor=owner, selection=_selection())
    services.request_check(task_id=task.pk, actor=owner)
    runner.run_check(str(task.pk))
    task.refresh_from_db()
    if task.status == Status.CHECK_PASSED:
        services.start_task(task_id=task.pk, actor=owner)


def _run_options(world: World) -> RunOptions:
    endpoints = world.endpoints()
    return RunOptions(
        source=_data(endpoints["source"]),
        target=_data(endpoints["target"]),
        name="Demo: one migration without a browser",
        selection=_selection(),
        incremental=True,
        complete=False,
        jobs=None,
        as_json=False,
    )
