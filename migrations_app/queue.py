"""The only room that knows the queue library: wake-up messages, and guards against its known weaknesses.

A message carries an id and means "look at your rows now"; losing one, or getting it twice, changes nothing, because a
job first claims its row and the dispatcher wakes up whatever waits too long. What the guards answer:

* a worker deletes a message before its job begins, so a job that runs longer than the broker's lock is not handed out
  again; a message that is gone by then was handed out twice, as it lay in a busy cluster for too long: it is dropped;
* an idle worker never holds the shared queue's read lock while it waits: killed there, it would wedge the cluster;
* workers, pusher and monitor end with their parent, so a killed cluster leaves no orphans that go on taking work.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from . import clock

CONSOLE, MIGRATE, SYNC = "console", "migrate", "sync"
CLUSTERS = (CONSOLE, MIGRATE, SYNC)

_JOBS = {
    "check": (CONSOLE, "migrations_app.jobs.check"),
    "test": (CONSOLE, "migrations_app.jobs.test_connection"),
    "migrate": (MIGRATE, "migrations_app.jobs.migrate"),
    "sync": (SYNC, "migrations_app.jobs.sync"),
    "wal": (CONSOLE, "migrations_app.jobs.wal"),
    "canary": (CONSOLE, "migrations_app.jobs.canary"),
}
_GUARDED_VERSION = "1.11.1"
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
BEAT_SECONDS = 5.0


def wake(job: str, *ids: str) -> None:
    """Queue a wake-up. Inside a transaction it is part of it: rolled back, nobody is woken."""
    from django_q.tasks import async_task

    cluster, function = _JOBS[job]
    async_task(
        function, *ids, q_options={"cluster": cluster, "task_name": f"{job} {' '.join(ids)}"[:90], "save": False}
    )


def job_paths() -> list[str]:
    """Return the dotted names of all jobs: a test asserts that each resolves."""
    return [function for _, function in _JOBS.values()]


def waiting_messages() -> int:
    """Return how many wake-ups are in the queue now, over all clusters."""
    from django_q.models import OrmQ

    return int(OrmQ.objects.count())


def beat(cluster: str = "") -> None:
    """Write this process's sign of life. Never raises: a beat that is missed is a beat that is missed."""
    from .models import WorkerBeat

    name = cluster or os.environ.get("Q_CLUSTER_NAME", "")
    if not name:  # a run in the foreground is no worker: nobody may rely on it
        return
    try:
        WorkerBeat.objects.update_or_create(
            cluster=name, host=socket.gethostname()[:120], pid=os.getpid(), defaults={"at": clock.now()}
        )
    except (DatabaseError, InterfaceError):
        connection.close()


@contextlib.contextmanager
def beating() -> Iterator[None]:
    """Give signs of life while a job without a lease runs, however long it takes."""
    end = threading.Event()

    def keep() -> None:
        while not end.wait(BEAT_SECONDS):
            beat()
        connection.close()

    thread = threading.Thread(target=keep, name="beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(BEAT_SECONDS)


def install_guards() -> None:
    """Put the guards in place. Called once in the process whose children are the cluster, when all apps are loaded."""
    from django_q import queues
    from django_q.signals import post_spawn

    if metadata.version("django-q2") != _GUARDED_VERSION:  # pragma: no cover - the pin says so
        raise RuntimeError(f"the queue's guards are written for django-q2 {_GUARDED_VERSION}; review them first")
    queues.Queue.get = _get_without_holding_the_lock
    post_spawn.connect(_die_with_parent, weak=False, dispatch_uid="towpath-die")
    _guard_auxiliaries()


def _guard_auxiliaries() -> None:
    """Let pusher and monitor, which send no signal of their own, end with the sentinel too."""
    from django_q import cluster, queues

    def guarded(target: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            _die_with_parent()
            for argument in args:
                if isinstance(argument, queues.Queue):  # nobody may take the monitor for a worker
                    argument._towpath_worker = False
            return target(*args, **kwargs)

        run.__name__ = target.__name__
        return run

    if not getattr(cluster, "_towpath_guarded", False):
        cluster.pusher = guarded(cluster.pusher)
        cluster.monitor = guarded(cluster.monitor)
        sentinel = cluster.Sentinel

        class GuardedSentinel(sentinel):  # type: ignore[misc, valid-type]
            """The sentinel ends with the cluster's main process."""

            def start(self) -> None:
                _die_with_parent()
                super().start()

        cluster.Sentinel = GuardedSentinel
        cluster._towpath_guarded = True


def _die_with_parent(**_: Any) -> None:
    parent = os.getppid()
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent == 1 or os.getppid() != parent:  # it died before we asked
        os._exit(1)


def _take(message: Any) -> bool:
    """Delete a message from the broker for good. False: it was gone, so another worker has its job."""
    from django_q.models import OrmQ

    key = message.get("ack_id") if isinstance(message, dict) else None
    if key is None:  # the order to stop
        return True
    close_old_connections()
    deleted, _ = OrmQ.objects.filter(pk=key).delete()
    return bool(deleted)


def _get_without_holding_the_lock(self: Any, block: bool = True, timeout: float | None = None) -> Any:
    """Replace `Queue.get`: poll first, take the reader's lock only for the moment of reading."""
    from multiprocessing.queues import Queue

    if not block or timeout is not None:
        value = Queue.get(self, block, timeout)
        self.size.increment(-1)
        return value
    is_worker = getattr(self, "_towpath_worker", True)
    while True:
        message = _receive(self, beats=is_worker)
        if not is_worker or _take(message):
            return message


def _receive(queue: Any, *, beats: bool) -> Any:
    from multiprocessing.reduction import ForkingPickler

    last_beat = 0.0
    while True:
        if queue._reader.poll(1.0) and queue._rlock.acquire(timeout=1.0):
            try:
                if queue._reader.poll(0):
                    raw = queue._reader.recv_bytes()
                    queue._sem.release()
                    break
            finally:
                queue._rlock.release()
        if beats and time.monotonic() - last_beat > BEAT_SECONDS:
            last_beat = time.monotonic()
            beat()
    queue.size.increment(-1)
    return ForkingPickler.loads(raw)


def host_name() -> str:
    """Return this host's name as leases write it, without colons."""
    return as_host_name(socket.gethostname())


def as_host_name(name: str) -> str:
    """Return a host's name as leases and rows of spools write it."""
    return name.replace(":", "-")[:80]


def worker_name() -> str:
    """Return what a lease says about its holder: host, pid and cluster."""
    return f"{host_name()}:{os.getpid()}:{os.environ.get('Q_CLUSTER_NAME', 'foreground')}"[:120]


def process_exists(pid: int) -> bool:
    """Say whether a process with this pid lives on this host (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in ("Z", "X")


def migration_slots() -> int:
    """Return how many full migrations may run at once."""
    return int(settings.MIGRATION_SLOTS)
