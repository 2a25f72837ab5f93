"""`manage.py up`: everything that one machine needs, in one command."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles import finders
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import close_old_connections, connections

from ... import clock, queue, services
from ...models import WorkerBeat
from ...supervisor import Child, Supervisor

PARTS = ("web", "console", "migrate", "sync", "dispatcher")
DEFAULT_PORT = 8600
GRACE_SECONDS = 20
SILENT_SECONDS = 60


def stack(host: str, port: int, only: Sequence[str] = PARTS) -> list[Child]:
    """Return the processes of the product, those named in `only`."""
    base = Path(settings.BASE_DIR)
    manage = [sys.executable, str(base / "manage.py")]
    children = [Child("web", _gunicorn(host, port), {"TOWPATH_STATIC_MANIFEST": "1"}, base)]
    children += [
        Child(name, [*manage, "qcluster"], {"Q_CLUSTER_NAME": name}, base) for name in ("console", "migrate", "sync")
    ]
    children.append(Child("dispatcher", [*manage, "dispatch"], {}, base))
    # Workers without a web server beside them do not know who can reach the console: they keep what they were told.
    listen = {"TOWPATH_LISTEN": host} if "web" in only else {}
    return [replace(child, env={**child.env, **listen}) for child in children if child.name in only]


def prepare(only: Sequence[str] = PARTS) -> None:
    """Bring our own database and the static files up to date. Repeatable; several machines may do it at once."""
    call_command("migrate", interactive=False, verbosity=0)
    refuse_unfit_installation()
    call_command("clearsessions")
    connections.close_all()
    if "web" in only and not _static_files_are_fresh():
        collect = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "collectstatic", "--noinput", "-v", "0"]
        subprocess.run(collect, check=True, env={**os.environ, "TOWPATH_STATIC_MANIFEST": "1"})


def refuse_unfit_installation() -> None:
    """Raise CommandError when this installation could not work: above all when stored passwords cannot be opened."""
    problems = [message for message in run_checks(databases=["default"]) if message.is_serious()]
    if problems:
        texts = "\n".join(f"{problem.msg}. {problem.hint or ''}".strip() for problem in problems)
        raise CommandError(f"Towpath does not start:\n{texts}")


def port_is_free(host: str, port: int) -> bool:
    """Say whether the web server could listen there. Raises CommandError when the address itself is wrong."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise CommandError(f"{host} is not an address of this machine: {error.strerror}") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


def shown_address(host: str, port: int) -> str:
    """Return the address under which a browser on this machine finds the console, with a slash at its end."""
    name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104 - compared
    return f"http://{name}:{port}/"


def silent_parts() -> list[str]:
    """Return the queue clusters of this host that gave no sign of life for a minute: they hang."""
    late = clock.now() - timedelta(seconds=SILENT_SECONDS)
    beats = WorkerBeat.objects.filter(host=socket.gethostname()[:120], at__gt=late)
    heard = set(beats.values_list("cluster", flat=True))
    return [name for name in (*queue.CLUSTERS, "dispatcher") if name not in heard]


def _watch() -> list[str]:
    close_old_connections()
    return silent_parts()


def supervisor(children: list[Child], grace: float = GRACE_SECONDS, logs: Path | None = None) -> Supervisor:
    """Return a supervisor for parts of the product."""
    stop_file = Path(settings.DATA_DIR) / f"stop-{os.getpid()}"
    return Supervisor(children, grace, logs=logs, stop_file=stop_file, watch=_watch)


def _gunicorn(host: str, port: int) -> list[str]:
    bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    workers = settings.WEB_WORKERS
    # Loaded before the workers are forked: they share the memory of it. Nothing opens a database until then.
    size = [
        "--preload",
        "--worker-class",
        "gthread",
        "--workers",
        str(workers),
        "--threads",
        str(4 if workers > 1 else 8),
    ]
    times = ["--timeout", "60", "--graceful-timeout", "10"]
    # The control socket would be one more door; nothing uses it.
    gunicorn = [sys.executable, "-m", "gunicorn", "console.wsgi:application", "--no-control-socket"]
    return [*gunicorn, "--bind", bind, *size, *times, "--log-level", "warning"]


def _source_files() -> Iterator[Path]:
    for finder in finders.get_finders():
        for name, storage in finder.list([]):
            yield Path(storage.path(name))


def _static_files_are_fresh() -> bool:
    manifest = Path(settings.STATIC_ROOT) / "staticfiles.json"
    if not manifest.exists():
        return False
    collected = manifest.stat().st_mtime
    return all(path.stat().st_mtime < collected for path in _source_files())


class Command(BaseCommand):
    """Runs until SIGTERM or Ctrl-C."""

    help = "Apply schema migrations, then run the web server, the queue clusters and the dispatcher."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
        parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"port to listen on ({DEFAULT_PORT})")
        parser.add_argument("--only", default=",".join(PARTS), help=f"comma-separated parts of {','.join(PARTS)}")
        parser.add_argument("--grace", type=float, default=GRACE_SECONDS, help="seconds that a clean stop may take")
        parser.add_argument("--logs", type=Path, help="folder for one log file per part; default: the terminal")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the parts. Exits 1 when something had to be ended by force."""
        only = [part.strip() for part in options["only"].split(",") if part.strip()]
        unknown = [part for part in only if part not in PARTS]
        if unknown or not only:
            raise CommandError(f"--only takes parts of {', '.join(PARTS)}, not {', '.join(unknown) or 'nothing'}")
        host, port = options["host"], options["port"]
        if "web" in only and not port_is_free(host, port):
            raise CommandError(f"port {port} on {host} is in use; choose another with --port")
        os.umask(0o077)
        prepare(only)
        if "web" in only:
            self._introduce(shown_address(host, port))
        code = supervisor(stack(host, port, only), options["grace"], options["logs"]).run()
        if code:
            raise SystemExit(code)

    def _introduce(self, address: str) -> None:
        self.stdout.write(f"Towpath listens on {address} (Ctrl-C stops it)")
        token = services.new_setup_token()
        if token:
            hours = services.SETUP_HOURS
            self.stdout.write("Nobody administers this installation yet. Make the first administrator here:")
            self.stdout.write(f"  {address}setup/{token}/")
            self.stdout.write(f"The address works once, within {hours} hours; the next start prints a new one.")
        self.stdout.flush()
        connections.close_all()
