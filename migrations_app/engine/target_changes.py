"""Changes tables of the target as the source's were changed: all statements or none, and says what it refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import psycopg

from .connect import Connection, translate
from .drift import Drift
from .errors import EngineError, SchemaChanged
from .failpoints import durable
from .plan import Side
from .wording import Sentence, listing, say

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '10s'"


@durable("target.align")
def change_target(
    connection: Connection, statements: Sequence[str], defaults: Sequence[str] = (), *, silent: bool = False
) -> None:
    """Run statements on the target in one transaction, then those of `defaults`, each of which may fail for itself.

    `silent`: without triggers and rules. Waits 10 s for a lock at most. psycopg's errors rise, and nothing was done.
    """
    with connection.transaction():
        connection.execute(_LOCK_TIMEOUT)
        if silent:
            connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            connection.execute(statement.encode("utf-8", "surrogateescape"))
        # Rows are copied without defaults; one that is missing is told with the structure at the end.
        for statement in defaults:
            with contextlib.suppress(psycopg.errors.ProgrammingError), connection.transaction():
                connection.execute(statement.encode("utf-8", "surrogateescape"))


def refused(
    error: psycopg.Error, doing: Sentence, statements: Sequence[str], drift: Drift | None = None
) -> EngineError:
    """Return the error for what the target does not do: SchemaChanged, unless it is to be tried again.

    `drift`: what the choices are offered for.
    """
    general = translate(error, Side.TARGET, doing)
    if general.retryable:
        return general
    found = SchemaChanged(
        general.message,
        hint=say(
            "Nothing was changed. The statement was: {statements}. Remove on the target what refuses it and press "
            "Retry; or drop the table from the task.",
            statements=listing(statements, 5),
        ),
    )
    found.drift = drift
    return found
