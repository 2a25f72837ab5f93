"""The forwarders of one run: which it starts, which it shares with the runs before and after it, and their end."""

from __future__ import annotations

import threading
from dataclasses import replace

from .bastions import claim_forwarder, release_forwarder, room_for_another, running_forwarder, shared_forwarder
from .forwarder import Forwarder, offers_tls
from .plan import Server, Side, TlsMode
from .reaching import reached


class Forwarders:
    """One for each side that needs it. Thread-safe.

    `in_slices`: whether the run is one of many short ones, which leave TLS and SSH connections to each other.
    """

    def __init__(self, timeout_seconds: int) -> None:
        self._timeout = timeout_seconds
        self._lock = threading.Lock()  # starting a process takes long: `Sessions.interrupt` must not wait for it
        self._known: dict[Side, Forwarder | None] = {}
        self._shared: set[Forwarder] = set()
        self.in_slices = False

    def needed(self, server: Server, side: Side) -> Forwarder | None:
        """Return the running forwarder to a server, None when it needs none. Raises ConnectFailed."""
        if server.tls is TlsMode.DISABLE and server.bastion is None:
            return None
        with self._lock:
            known = self._known.get(side)
            if side not in self._known or (known and not known.alive()):
                if known:
                    known.stop()
                self._known[side] = self._left_over(server) or self._start(server, side)
            return self._known[side]

    def known(self, side: Side) -> Forwarder | None:
        """Return what `needed` has returned last."""
        return self._known.get(side)

    def _left_over(self, server: Server) -> Forwarder | None:
        """Return what an earlier slice has left, or the check's SSH connection; TLS does where it is only preferred."""
        found = None
        if self.in_slices:
            found = running_forwarder(_as_dialled(server))
        elif server.bastion:
            found = claim_forwarder(_as_dialled(server))
        if found:
            self._shared.add(found)
        return found

    def _start(self, server: Server, side: Side) -> Forwarder | None:
        """Start one; `prefer` is decided here, once: a later answer must not lower the protection."""
        reached(server, side, self._timeout)
        if server.tls is TlsMode.PREFER and server.bastion is None and not offers_tls(server, self._timeout):
            return None
        if not self.in_slices or not room_for_another():
            return Forwarder.start(_as_dialled(server), self._timeout)
        shared = shared_forwarder(_as_dialled(server), self._timeout)
        self._shared.add(shared)
        return shared

    def close(self) -> None:
        """Stop those that are this run's alone. Idempotent."""
        with self._lock:
            known, self._known = self._known, {}
        for forwarder in known.values():
            if forwarder in self._shared:
                release_forwarder(forwarder)
            elif forwarder:
                forwarder.stop()


def _as_dialled(server: Server) -> Server:
    """Return the server as its forwarder dials it. Behind a bastion the forwarder decides what `prefer` means."""
    return replace(server, tls=TlsMode.REQUIRE) if server.tls is TlsMode.PREFER and not server.bastion else server
