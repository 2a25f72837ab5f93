"""Says why a connection failed, in words that an operator can act on (placeholder until it is built)."""

from __future__ import annotations

import psycopg

from .errors import ConnectFailed
from .plan import Server, Side


def explain_connect_failure(server: Server, side: Side, database: str, error: psycopg.OperationalError) -> ConnectFailed:
    """Return the typed reason of a failed connection attempt."""
    return ConnectFailed(f"Cannot connect to the {side} {server.host}:{server.port}: {error}")
