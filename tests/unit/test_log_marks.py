"""Log lines of a worker tell which task and step they belong to."""

from __future__ import annotations

import logging
import sys

from migrations_app.log_marks import OneLine, TaskMarks, at_step, marked


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


def test_what_a_server_said_stays_on_its_line_of_the_log_and_moves_no_terminal() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "read %s", ("t\n2026 ERROR forged\x1b[2J",), None)
    assert OneLine("%(message)s").format(record) == "read t\\n2026 ERROR forged\\x1b[2J"


def test_the_lines_of_an_error_stay_lines_of_the_log() -> None:
    try:
        raise ValueError("no \x1b[2Jkey")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "it failed", (), sys.exc_info())
    first, second, *_, last = OneLine("%(message)s").format(record).split("\n")
    assert (first, second) == ("it failed", "Traceback (most recent call last):")
    assert last == "ValueError: no \\x1b[2Jkey"
