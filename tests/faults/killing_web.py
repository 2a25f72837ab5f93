"""Settings of a web server that kills itself after a chosen row of a request: DJANGO_SETTINGS_MODULE names this.

The file in TOWPATH_TEST_KILL holds a number: the process that writes the row with this number, counted from then on
over all processes, dies as soon as the row is written, and the file is gone. Without the file nothing happens.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db.backends.signals import connection_created

from console.settings import *  # noqa: F403 - all of them

_ORDER = Path(os.environ["TOWPATH_TEST_KILL"])
_ROWS = ("INSERT INTO", "UPDATE", "DELETE FROM")
_OURS = '"migrations_app_'


def _count(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
    done = execute(sql, parameters, many, context)
    if sql.startswith(_ROWS) and _OURS in sql.partition("(")[0]:
        _written()
    return done


def _written() -> None:
    try:
        with _ORDER.open("r+") as order:
            fcntl.flock(order, fcntl.LOCK_EX)
            left = int(order.read()) - 1
            order.seek(0)
            order.truncate()
            order.write(str(left))
    except FileNotFoundError:
        return
    if not left:
        _ORDER.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _watch(connection: Any, **_: Any) -> None:
    if _count not in connection.execute_wrappers:
        connection.execute_wrappers.append(_count)


connection_created.connect(_watch)
