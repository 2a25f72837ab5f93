"""Django's `migrate`, one at a time: who comes second waits, and finds everything done."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from django.core.management.commands import migrate
from django.db import connections

_LOCK = 0x746F7770617468  # "towpath"; a number that nobody else in this database is likely to take


class Command(migrate.Command):
    """Applies schema migrations while nobody else does that in the same database."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Wait for whoever is at it, then do what is left."""
        with _alone(options["database"]):
            super().handle(*args, **options)


@contextlib.contextmanager
def _alone(alias: str) -> Iterator[None]:
    """Hold off everybody else, on this machine for a file, on all machines for a server. Ends with the process."""
    connection = connections[alias]
    if connection.vendor == "sqlite":
        file = file_of(str(connection.settings_dict["NAME"]))
        with contextlib.nullcontext() if file is None else _locked(file.with_name(f"{file.name}.migrating")):
            yield
        return
    holder = connection.copy()
    try:  # a lock of a transaction: one of a session would stay with a pooler that lends sessions
        holder.set_autocommit(False)
        with holder.cursor() as cursor:
            cursor.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", [_LOCK])
        yield
    finally:
        holder.close()


def file_of(name: str) -> Path | None:
    """Return the file of an SQLite database by its name, which may be an address (`file:…`); None for one in memory."""
    if name.startswith("file:"):
        address = urlsplit(name)
        if "memory" in parse_qs(address.query).get("mode", ()):
            return None
        name = unquote(address.path)
    return None if name in ("", ":memory:") else Path(name)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is(path, file.fileno()):
                continue  # who had it has taken it away: somebody may hold the next one
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is(path: Path, descriptor: int) -> bool:
    try:
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False
