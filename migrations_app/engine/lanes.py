"""Threads of a copy, as many of a kind as are wanted at the moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

AGAIN_SECONDS = 5.0
"""After which a thread that has withdrawn is replaced."""


class Lanes:
    """Starts threads that run `body()` until their number is what `wanted()` says; too many end when they ask.

    `over` is released each time one has ended, and `failed` gets what a body raised. `busy()` says whether anything is
    left for a new one. Thread-safe but for `man`, which belongs to one thread.
    """

    def __init__(
        self,
        body: Callable[[], None],
        *,
        wanted: Callable[[], int],
        busy: Callable[[], bool],
        failed: Callable[[BaseException], None],
        over: threading.Semaphore,
    ) -> None:
        self._body, self._wanted, self._busy = body, wanted, busy
        self._failed, self._over = failed, over
        self._lock = threading.Lock()
        self._number = 0
        self._not_before = 0.0
        self._threads: list[threading.Thread] = []

    def man(self) -> int:
        """Start those that are missing; returns how many."""
        if time.monotonic() < self._not_before or not self._busy():
            return 0
        with self._lock:
            missing = max(0, max(self._wanted(), 1) - self._number)
            self._number += missing
        for _ in range(missing):
            thread = threading.Thread(target=self._run, daemon=True)
            self._threads.append(thread)
            thread.start()
        return missing

    def spare(self) -> bool:
        """Ask whether the calling thread is one too many; after a yes it must end."""
        with self._lock:
            if self._number <= max(self._wanted(), 1):
                return False
            self._number -= 1
            return True

    def withdraw(self) -> None:
        """Let the calling thread end for now, as what it needs is not to be had; another takes its place later."""
        with self._lock:
            self._number -= 1
            self._not_before = time.monotonic() + AGAIN_SECONDS

    def join(self) -> None:
        """Wait for all threads, which have ended or are about to."""
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        try:
            self._body()
        except BaseException as error:  # carried to the thread that waits for the lanes
            self._failed(error)
        finally:
            self._over.release()
