"""A job whose runs can be counted from outside: each writes a line, and may be held until the test lets it go."""

from __future__ import annotations

import os
import time
from pathlib import Path

JOB = "tests.counted.job"


def job(name: str, held: bool = False) -> None:
    """Write one line that says who ran what; if `held`, go on until `release` was called. Runs in a worker."""
    folder = Path(os.environ["TOWPATH_DATA_DIR"])
    with (folder / "runs.txt").open("a") as lines:
        lines.write(f"{name} {os.getpid()}\n")
    while held and not (folder / "release").exists():
        time.sleep(0.05)


def release(folder: Path) -> None:
    """Let every held job of this installation end, also those that begin later."""
    (folder / "release").touch()


def runs(folder: Path) -> list[tuple[str, int]]:
    """Return name and process of every run so far, in the order in which they began."""
    path = folder / "runs.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(name, int(pid)) for name, pid in (line.split() for line in lines)]
