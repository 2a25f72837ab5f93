"""Lists partitions that came with the stream in the publication by themselves, or a detached one would leave it."""

from __future__ import annotations

from collections.abc import Collection

import psycopg

from ..errors import EngineError
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..publishing import list_too

_not_ours: set[tuple[str, int]] = set()  # by publication: what this process tried in vain and need not try again


def list_partitions(run: Run, database: DatabasePlan, oids: Collection[int]) -> None:
    """List partitions (oids) that the publication brings with the partitioned tables above them.

    One try that waits no longer than two seconds for a lock. Where it fails the next session tries again, and a look at
    the publication finds what is missing when one is detached before.
    """
    if not oids:
        return
    publication = run.ports.store.database(database.source_name).publication
    wanted = [oid for oid in oids if (publication, oid) not in _not_ours]
    if not publication or not wanted:
        return
    try:
        with run.sessions.session(Side.SOURCE, database.source_name, lock_timeout="2s") as connection:
            list_too(connection, publication, wanted)
    except psycopg.errors.InsufficientPrivilege:
        _not_ours.update((publication, oid) for oid in wanted)
    except (EngineError, psycopg.Error):
        run.ports.control.check()
