"""TLS and SSH connections that short sessions share: one forwarder per server, ended when it was idle for a while.

A check or a reading of the object tree opens many sessions one after the other; each with an SSH login of its own would
take seconds and look like an attack to the bastion. Slices of a sync are short, too, and to start a process for each
would take longer than many of them. A run that begins right after its check goes on with the check's, which no other
run gets meanwhile: each carries its rows in a process of its own (`carrying.Forwarders`).
"""

from __future__ import annotations

import atexit
import os
import threading
from dataclasses import replace

from .forwarder import Forwarder
from .plan import Server

IDLE_SECONDS = 20.0
_MOST_FOR_SLICES = 4
"""Each is a process: with more servers than that to go round, the slices start what they need themselves."""

_lock = threading.Lock()
_started = threading.Condition(_lock)
_known: dict[Server, Forwarder] = {}
_starting: set[Server] = set()
_claimed: set[Forwarder] = set()
_owner = os.getpid()


def shared_forwarder(server: Server, timeout_seconds: int) -> Forwarder:
    """Return the running forwarder to a server behind its bastion; starts it when there is none.

    Raises ConnectFailed when the process cannot be started. Dials nothing yet.
    """
    key = _key(server)
    with _lock:
        _forget_ended()
        _started.wait_for(lambda: key not in _starting)
        if key in _known:
            return _known[key]
        _starting.add(key)
    try:
        forwarder = Forwarder.start(key, timeout_seconds, idle_seconds=IDLE_SECONDS)  # those of two servers at once
        with _lock:
            _known[key] = forwarder
        return forwarder
    finally:
        with _lock:
            _starting.discard(key)
            _started.notify_all()


def running_forwarder(server: Server) -> Forwarder | None:
    """Return the shared forwarder to a server if there is one now."""
    with _lock:
        _forget_ended()
        return _known.get(_key(server))


def claim_forwarder(server: Server) -> Forwarder | None:
    """Return the shared forwarder to a server, for one run; None when there is none, or another run has it.

    It does not end when it is idle before it was given back with `release_forwarder`.
    """
    with _lock:
        _forget_ended()
        found = _known.get(_key(server))
        if found is None or found in _claimed:
            return None
        _claimed.add(found)
        found.stay(True)
        return found


def release_forwarder(forwarder: Forwarder) -> None:
    """Let a forwarder end once nobody uses it; one that was not claimed does that anyway."""
    with _lock:
        if forwarder in _claimed:
            _claimed.discard(forwarder)
            forwarder.stay(False)


def room_for_another() -> bool:
    """Say whether a slice may leave one more forwarder to the next ones."""
    with _lock:
        _forget_ended()
        return len(_known) < _MOST_FOR_SLICES


def _key(server: Server) -> Server:
    return replace(server, user="", password="", database="", require_auth=None)


def _forget_ended() -> None:
    global _owner
    if _owner != os.getpid():  # a fork: those children are not ours
        _known.clear()
        _starting.clear()
        _claimed.clear()
        _owner = os.getpid()
    for ended in [one for one, forwarder in _known.items() if not forwarder.alive()]:
        _claimed.discard(_known[ended])
        _known.pop(ended).stop()


def close_shared() -> None:
    """End all of them. Idempotent."""
    with _lock:
        if _owner == os.getpid():
            for forwarder in _known.values():
                forwarder.stop()
        _known.clear()
        _claimed.clear()


atexit.register(close_shared)
