"""SSH connections that short sessions share: one per server and bastion, ended when nothing has used it for a while.

A check or a reading of the object tree opens many sessions one after the other; each with an SSH login of its own would
take seconds and look like an attack to the bastion. Runs have forwarders of their own (`connect.Sessions`).
"""

from __future__ import annotations

import atexit
import os
import threading
from dataclasses import replace

from .forwarder import Forwarder
from .plan import Server

IDLE_SECONDS = 20.0

_lock = threading.Lock()
_known: dict[Server, Forwarder] = {}
_owner = os.getpid()


def shared_forwarder(server: Server, timeout_seconds: int) -> Forwarder:
    """Return the running forwarder to a server behind its bastion; starts it when there is none.

    Raises ConnectFailed when the process cannot be started. Dials nothing yet.
    """
    global _owner
    key = replace(server, user="", password="", database="", require_auth=None)
    with _lock:
        if _owner != os.getpid():  # a fork: those children are not ours
            _known.clear()
            _owner = os.getpid()
        for ended in [one for one, forwarder in _known.items() if not forwarder.alive()]:
            _known.pop(ended).stop()
        if key not in _known:
            _known[key] = Forwarder.start(key, timeout_seconds, idle_seconds=IDLE_SECONDS)
        return _known[key]


def close_shared() -> None:
    """End all of them. Idempotent."""
    with _lock:
        if _owner == os.getpid():
            for forwarder in _known.values():
                forwarder.stop()
        _known.clear()


atexit.register(close_shared)
