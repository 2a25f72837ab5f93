"""Folders for test servers: in memory where there is room; on disk, making databases takes most of the tests' time."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
_PREFIX = "towpath-test-"
_ROOM = 6 * 2**30
"""Bytes that have to be free: all servers of a run together take a third of it."""


@contextlib.contextmanager
def public_folder(name: str) -> Iterator[Path]:
    """A folder that `nobody` can enter, for servers started by root; pytest's own folders belong to one run only."""
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{name}-{os.getpid()}-", dir=_memory()))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path | None:
    """Return the folder in memory; None: the usual one for temporary files, on disk."""
    try:
        _remove_orphans()
        return _MEMORY if shutil.disk_usage(_MEMORY).free >= _ROOM and os.access(_MEMORY, os.W_OK) else None
    except OSError:
        return None


def _remove_orphans() -> None:
    """Remove what runs have left that were killed: it would take memory until the machine is started anew."""
    for left in _MEMORY.glob(f"{_PREFIX}*"):
        pid = left.name.split("-")[-2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)
