"""The demo's application: it keeps writing to the shop while the shop is migrated, and reports every error it sees.

In tests a thread (`Writer.start`, `Writer.stop`), in the demo a process of its own: `python -m
migrations_app.demo.writer STATE_FILE`, which reads address and password from that file.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors

from ..engine.values import frozen
from .operations import Operation, operations

_WORDS = (
    "Zürich",
    "50 %",
    "it's",
    "",
    " trailing ",
    "tab\there",
    "back\\slash",
    "new\nline",
    "日本語",
    '"q"',
    "NULL",
    "\\N",
)
RESTS = "rests"
"""File beside a world's state: while it is there, the writer's process writes nothing."""
_CONFLICTS = (errors.IntegrityError, errors.TransactionRollback, errors.LockNotAvailable)


@frozen(kw_only=False)
class WriterStats:
    """What a writer did so far. `errors` holds what an application must never see: `operation: SQLSTATE message`."""

    committed: int = 0
    rolled_back: int = 0
    conflicts: int = 0
    reconnects: int = 0
    slowest_seconds: float = 0.0
    errors: tuple[str, ...] = ()
    operations: Mapping[str, int] = field(default_factory=dict)


class Writer:
    """Commits about `rate` transactions a second to the shop until stopped, in rounds that touch every table.

    `arguments` are psycopg keywords. The choices depend on `seed` alone. A lost server is waited for. With
    `large_objects` it writes those too. Several writers may work on one shop; their conflicts are counted, and so is a
    TRUNCATE that gave up waiting; a `patient` one waits for ever. While `resting()` it writes nothing.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        seed: int = 0,
        rate: float = 50.0,
        *,
        large_objects: bool = False,
        patient: bool = False,
        resting: Callable[[], bool] = lambda: False,
    ) -> None:
        self._resting = resting
        self._arguments = dict(arguments)
        self._random = random.Random(seed)  # noqa: S311 - sample data
        self._rate = rate
        self._left_out = "SET LOCAL lock_timeout" if patient else "\0"
        self._pool = [o for o in operations() if large_objects or not o.large_object for _ in range(o.weight)]
        self._round: list[Operation] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self._stats = WriterStats()
        self._done: Counter[str] = Counter()

    def start(self) -> Writer:
        """Begin to write in a thread. Returns itself."""
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="shop-writer", daemon=True)
        self._thread.start()
        return self

    def stop(self, wait_seconds: float = 10.0) -> WriterStats:
        """Finish the current transaction and stop. A statement that hangs longer than that is cancelled. Idempotent."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(wait_seconds)
            if self._thread.is_alive() and self._connection is not None:
                self._connection.cancel_safe(timeout=5)
                self._thread.join(wait_seconds)
            self._thread = None
        return self.stats()

    def stats(self) -> WriterStats:
        """Return a copy of the counts so far."""
        return replace(self._stats, operations=dict(self._done))

    def __enter__(self) -> Writer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while not self._stopping.is_set():
                if not self._resting():
                    self._step()
                due = max(due + 1 / self._rate, time.monotonic() - 1)
                self._stopping.wait(max(0.0, due - time.monotonic()))
        finally:
            self._disconnect()

    def _step(self) -> None:
        operation = self._next()
        values = self._values()
        started = time.monotonic()
        try:
            self._commit(self._connect(), operation, values)
        except _CONFLICTS:
            self._count(conflicts=1)
        except psycopg.Error as error:
            self._failed(operation, error)
        else:
            self._done[operation.name] += 1
            self._count(committed=int(operation.commits), rolled_back=int(not operation.commits))
        slowest = max(self._stats.slowest_seconds, time.monotonic() - started)
        self._stats = replace(self._stats, slowest_seconds=slowest)

    def _next(self) -> Operation:
        if not self._round:
            self._round = self._random.sample(self._pool, len(self._pool))
        return self._round.pop()

    def _values(self) -> dict[str, Any]:
        chance = self._random
        return {
            "u": chance.random(),
            "v": chance.random(),
            "n": chance.randrange(1, 1 << 40),
            "word": chance.choice(_WORDS) + str(chance.randrange(1000)),
            "blob": chance.randbytes(chance.randrange(10, 9000)),
        }

    def _commit(self, connection: psycopg.Connection[Any], operation: Operation, values: dict[str, Any]) -> None:
        with connection.transaction(force_rollback=not operation.commits):
            for statement in operation.statements:
                if statement.startswith(self._left_out):
                    continue
                # Values are sent only where they are used: the server must be able to tell their types.
                used = {name: value for name, value in values.items() if f"%({name})s" in statement}
                connection.execute(statement.encode(), used)

    def _connect(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            connection = psycopg.connect(**{"application_name": "shop", **self._arguments}, autocommit=True)
            connection.execute("SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'; SET search_path = pg_catalog")
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _failed(self, operation: Operation, error: psycopg.Error) -> None:
        if self._connection is None or self._connection.broken or isinstance(error, errors.OperatorIntervention):
            self._disconnect()
            self._count(reconnects=1)
            self._stopping.wait(0.2)
        elif not (self._stopping.is_set() and isinstance(error, errors.QueryCanceled)):
            message = f"{operation.name}: {error.sqlstate} {error}"
            self._stats = replace(self._stats, errors=(*self._stats.errors, message)[-50:])

    def _count(self, **more: int) -> None:
        self._stats = replace(self._stats, **{name: getattr(self._stats, name) + add for name, add in more.items()})


def main(argv: list[str]) -> int:
    """Write until SIGTERM or SIGINT; the file in argv is the state of a demo world. Prints the counts as JSON."""
    file = Path(argv[0])
    state, rests = json.loads(file.read_text())["source"], file.with_name(RESTS).exists
    login = {"host": "127.0.0.1", "port": state["port"], "user": "postgres", "password": state["password"]}
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before the thread starts, which inherits it
    writer = Writer({**login, "dbname": "shop", "connect_timeout": 5}, seed=os.getpid(), resting=rests).start()
    signal.sigwait(ends)
    sys.stdout.write(json.dumps(asdict(writer.stop())) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
