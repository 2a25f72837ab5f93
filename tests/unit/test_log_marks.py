"""Log lines of a worker tell which task and step they belong to."""

from __future__ import annotations

import logging

from migrations_app.log_marks import TaskMarks, at_step, marked


def _marks() -> str:
    record = logging.LogRecord("towpath", logging.INFO, __file__, 1, "told", None, None)
    assert TaskMarks().filter(record)
    return str(record.__dict__["marks"])


def test_a_line_inside_a_task_names_task_step_and_action() -> None:
    with marked(task="7", action="migrate"):
        at_step("copy")
        assert _marks() == "task=7 step=copy action=migrate "


def test_a_line_outside_of_a_task_has_no_marks() -> None:
    with marked(task="7", action="check"):
        pass
    assert _marks() == ""
