"""One thread that does all writing of a run to our own database.

The engine works in many threads; each would open a Django connection of its own, and SQLite takes one writer anyway.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from django.db import close_old_connections, connections

from ..own_database import GONE, lost

_AGAIN_SECONDS = 0.3
T = TypeVar("T")


class Recorder:
    """Runs functions one after another in its own thread. Use as a context manager.

    While our own database is away they wait for it, as long as `check` raises nothing. What was being written when it
    went away is written again, and may then be there twice.
    """

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self._check = check
        self._closing = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recorder")

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._pool.submit(connections.close_all).result()
        self._pool.shutdown()

    def start(self, function: Callable[[], T]) -> Future[T]:
        """Run `function()` in the recorder's thread after what waits there already; does not wait for it."""

        def guarded() -> T:
            while True:
                close_old_connections()
                try:
                    return function()
                except GONE:
                    if not lost() or self._closing.wait(_AGAIN_SECONDS):
                        raise
                    self._check()

        return self._pool.submit(guarded)

    def call(self, function: Callable[[], T]) -> T:
        """Run `function()` in the recorder's thread and return what it returns, or raise what it raises."""
        return self.start(function).result()
