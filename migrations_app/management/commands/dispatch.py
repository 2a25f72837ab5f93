"""`manage.py dispatch`: ticks every second for scheduled times and for tasks that wait without a worker."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, InterfaceError, close_old_connections, connection

from ... import queue
from ...services import work

log = logging.getLogger(__name__)
_CANARY_SECONDS = 10


class Command(BaseCommand):
    """The dispatcher: one process, any number may run, none of them decides anything that a row does not say."""

    help = "Queues scheduled tasks at their time and wakes up tasks whose worker is gone."

    def handle(self, *args: Any, **options: Any) -> None:
        """Tick until SIGTERM or Ctrl-C."""
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        ticks = 0
        while not stop.wait(1.0):
            try:
                close_old_connections()
                work.dispatch()
                queue.beat("dispatcher")
                if ticks % _CANARY_SECONDS == 0:
                    queue.wake("canary")
            except (DatabaseError, InterfaceError):
                log.exception("the console's database cannot be reached; trying again")
                connection.close()
            ticks += 1
