"""TLS for everything that needs a plain socket: a private forwarder process (placeholder until it is built)."""

from __future__ import annotations

from .plan import Server


class Forwarder:
    """Forwarder process of one server."""

    @classmethod
    def start(cls, server: Server, timeout_seconds: int) -> Forwarder:
        """Start it."""
        raise NotImplementedError

    def plain(self, server: Server) -> Server:
        """Return the address on which the server is reachable without TLS."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop it. Idempotent."""
