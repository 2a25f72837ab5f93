"""Looks at what the publication brings, and lists partitions that came with the stream by themselves: a detached one
would leave it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import psycopg

from ..errors import ConflictError, EngineError, SchemaChanged
from ..layout_parts import Parts
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import DatabaseState, TableState
from ..publishing import list_too
from .continuing import require_publication
from .lag import SourceWatch

_not_ours: set[tuple[str, int]] = set()  # by publication: what this process tried in vain and need not try again


def require_listed(
    run: Run,
    database: DatabasePlan,
    watch: SourceWatch,
    state: DatabaseState,
    tables: Sequence[TableState],
    *,
    compares: bool = True,
    running: bool = False,
) -> bool:
    """Look at the publication as `require_publication` does, which says what is raised, and list what it should list.

    `compares` False: not with what was before. Returns whether tables have been quarantined.
    """
    store, parts = run.ports.store if compares else None, Parts(run, database)
    found = require_publication(store, watch, state, tables, parts, running=running)
    aside = found.set_aside
    if list_partitions(run, database, found.alone) and store is not None:
        # At once: who is detached before the next look would seem to have come by other entries only.
        tables = store.tables(database.source_name)
        aside |= require_publication(store, watch, state, tables, parts, running=running).set_aside
    return aside


def require_published(run: Run, database: DatabasePlan, watch: SourceWatch, error: EngineError) -> None:
    """Raise SourceError when somebody edited the publication, which `error` may have come of.

    Changes that it kept back leave a target that later ones do not fit, and columns that it leaves out look dropped:
    neither is the target's fault, nor what is offered for such an error the remedy.
    """
    state = run.ports.store.database(database.source_name)
    if not state.publication or not isinstance(error, ConflictError | SchemaChanged):
        return
    try:
        require_listed(run, database, watch, state, run.ports.store.tables(database.source_name), running=True)
    except EngineError as found:
        if found.code == "SRC-PUBLICATION":
            raise found from error
        run.ports.control.check()  # who cannot be asked now is asked by the next session


def list_partitions(run: Run, database: DatabasePlan, oids: Collection[int]) -> bool:
    """List partitions (oids) that the publication brings with the partitioned tables above them.

    One try that waits no longer than two seconds for a lock. Where it fails the next session tries again, and a look at
    the publication finds what is missing when one is detached before. Returns whether one was listed.
    """
    if not oids:
        return False
    publication = run.ports.store.database(database.source_name).publication
    wanted = [oid for oid in oids if (publication, oid) not in _not_ours]
    if not publication or not wanted:
        return False
    try:
        with run.sessions.session(Side.SOURCE, database.source_name, lock_timeout="2s") as connection:
            return list_too(connection, publication, wanted)
    except psycopg.errors.InsufficientPrivilege:
        _not_ours.update((publication, oid) for oid in wanted)
    except (EngineError, psycopg.Error):
        run.ports.control.check()
    return False
