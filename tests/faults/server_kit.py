"""Ways to harm a server, each undone at the end of its block where it can be."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from migrations_app.demo.clusters import Cluster
from tests.faults.conftest import SEED
from tests.faults.engine_kit import Driver, Scene
from tests.faults.proxy import FaultProxy, fault_proxy
from tests.folders import public_folder

FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT


def restart(cluster: Cluster, how: signal.Signals) -> None:
    """Stop and start from this thread, which is the main one: a server dies with the thread that started it."""
    cluster.stop(how)
    cluster.start()


def set_up(cluster: Cluster, **settings: str) -> None:
    with cluster.connect() as connection:
        for name, value in settings.items():
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        connection.execute("SELECT pg_reload_conf()")


@contextlib.contextmanager
def slowed(scene: Scene, rate: int, **more: Any) -> Iterator[tuple[Driver, dict[str, FaultProxy]]]:
    """A driver whose bytes pass slowly, so that a fault meets the copy in its midst."""
    with fault_proxy(scene.source.port, SEED) as source, fault_proxy(scene.target.port, SEED) as target:
        source.rate = target.rate = rate
        with Driver(scene.plan(source_port=source.port, target_port=target.port, **more)) as driver:
            yield driver, {"source": source, "target": target}


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Hold a process still for the time of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """Mount a file system of its own in memory; skipped, loudly, where that is not allowed."""
    owner = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()  # the server's own user
    with public_folder("disk") as folder:
        options = f"size={megabytes}m,uid={owner},mode=0777"
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if mounted.returncode:
            pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def rss_kilobytes() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@contextlib.contextmanager
def fill_up(folder: Path) -> Iterator[None]:
    """Leave no room on a file system for the time of the block."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * (1 << 20))
    try:
        yield
    finally:
        filler.unlink()


@contextlib.contextmanager
def moved(folder: Path, to: Path) -> Iterator[None]:
    """Keep a folder elsewhere for the time of the block, behind a symbolic link."""
    subprocess.run(["cp", "-a", str(folder), str(to)], check=True)
    shutil.rmtree(folder)
    folder.symlink_to(to)
    try:
        yield
    finally:
        folder.unlink()
        subprocess.run(["cp", "-a", str(to), str(folder)], check=True)


def used_up(cluster: Cluster, driver: Driver, seconds: float) -> str:
    """Take every connection that a server has until a run is refused one, and give them back; returns its words."""
    with contextlib.ExitStack() as held, cluster.connect() as boss:

        def refused() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    held.enter_context(cluster.connect())
            boss.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'towpath:%'"
            )
            return any(one.code == "CONNECT-FULL" for one in driver.failures)

        driver.until(refused, "the refusal", seconds)
    return next(one.message for one in driver.failures if one.code == "CONNECT-FULL")
