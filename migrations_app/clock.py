"""The one clock by which workers of several hosts judge leases and deadlines: that of the console's own database."""

from __future__ import annotations

from datetime import datetime

from django.db import connection
from django.utils import timezone


def now() -> datetime:
    """Return the time by the server of the console's own database, so that hosts whose clocks differ agree.

    With SQLite all workers are on one host, and its clock is the one. Raises what a query raises.
    """
    if connection.vendor != "postgresql":
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.clock_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment
