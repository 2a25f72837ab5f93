"""Names in every log line of a worker the task and the step that it is at: one process works on one task at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .engine.wording import one_line

_marks = {"task": "", "step": "", "action": ""}


class TaskMarks(logging.Filter):
    """Give each record `marks`: `task=… step=… action=…` with a blank behind, or nothing outside of a task."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, marked."""
        record.marks = "".join(f"{name}={value} " for name, value in _marks.items() if value)
        return True


class OneLine(logging.Formatter):
    """Write each record's message on one line: names that servers told cannot begin a line, or move a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line of a record without what it tells of an error."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """Return the lines of an error."""
        return "\n".join(one_line(line) for line in super().formatException(ei).split("\n"))


@contextmanager
def marked(*, task: object, action: str) -> Iterator[None]:
    """Mark what this process, with all its threads, logs inside the block."""
    _marks.update(task=str(task), step="", action=action)
    try:
        yield
    finally:
        _marks.update(task="", step="", action="")


def at_step(step: str) -> None:
    """Tell which step of the task it is from now on."""
    _marks["step"] = step
