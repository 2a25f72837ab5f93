"""Other migrations on the target: what they have there is neither used, nor emptied, nor dropped by this one.

Tasks of this console are known by their ledger, whatever address their target was entered with; tasks of other consoles
by the positions and sessions that they have in the database, and of those nobody knows here which tables are theirs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from .connect import Connection
from .errors import ConflictError
from .layouts import descendants, read_branches
from .names import literal
from .outcome import Run
from .plan import DatabasePlan, Others, Side
from .replication.bookmark import LOCK
from .sql import query
from .values import frozen
from .wording import Sentence, listing, say

_WAIT_SECONDS = 0.3
_READABLE = (
    "SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'towpath' AND c.relname = 'bookmark'"
)
Relation = tuple[str, str]
"""Schema and name of a table, a view or a sequence, as the target calls it."""


@frozen
class Claim:
    """A task that has some of the relations in question; of one without a name nobody knows which."""

    key: str
    name: str = ""
    relations: tuple[str, ...] = ()

    @property
    def words(self) -> Sentence:
        """The task as an operator reads it."""
        if not self.name:
            return say("task {key} of another console, whose tables are not known here", key=self.key)
        return say("task {key} ({name}) has {tables}", key=self.key, name=self.name, tables=listing(self.relations))


def keys_in(connection: Connection, database: str) -> set[str]:
    """Return the keys of the tasks that keep a position in the connected database or have a session in it."""
    rows = connection.execute(query("check_other_tasks")).fetchall()
    keys = {str(name).split(":")[1] for name, where in rows if str(where) == database}
    readable = connection.execute(_READABLE.encode()).fetchone()
    if readable and readable[0]:
        # A table that is copied once more has a row below the task's own.
        marks = connection.execute("SELECT pg_catalog.split_part(task, '/', 1) FROM towpath.bookmark").fetchall()
        keys |= {str(row[0]) for row in marks}
    return keys


def claims(others: Others, own: str, database: str, keys: Collection[str], wanted: Collection[Relation]) -> list[Claim]:
    """Return the tasks besides our `own` that have some of the `wanted` relations, or may have. `keys`: `keys_in`."""
    found = []
    for one in others.neighbours:
        if one.database == database and (one.near or one.key in keys):
            shared = sorted(".".join(relation) for relation in one.relations.intersection(wanted))
            found += [Claim(key=one.key, name=one.name, relations=tuple(shared))] if shared else []
    strangers = set(keys) - others.known - {one.key for one in others.neighbours} - {own}
    return found + [Claim(key=key) for key in sorted(strangers)]


def told(found: Collection[Claim], database: str) -> tuple[Sentence, Sentence]:
    """Return what is said of these tasks, and what helps."""
    what = say(
        "Other migrations have what this task would use, empty or drop in {target_name}: {names}.",
        target_name=database,
        names=listing(one.words for one in found),
    )
    hint = say("Complete or cancel the other one first, leave its tables out, or choose another target database.")
    if strangers := [one.key for one in found if not one.name]:
        gone = say(
            " If the console of a task is gone for good, delete its row on the target: {statement}",
            statement=f"DELETE FROM towpath.bookmark WHERE task = {literal(strangers[0])};",  # noqa: S608 - quoted
        )
        hint = hint + gone
    return what, hint


@contextlib.contextmanager
def kept_away(run: Run, database: DatabasePlan, wanted: set[Relation]) -> Iterator[None]:
    """Hold the block until no other task does the same in this database, and keep others out of it meanwhile.

    Whoever comes next sees what the block has written into the ledger. Raises ConflictError, before the block, when
    another task has one of these relations, with the partitions of those that are tables.
    """
    with run.sessions.session(Side.TARGET, database.target_name) as connection, connection.transaction():
        while connection.execute("SELECT pg_catalog.pg_try_advisory_xact_lock(%s)", (LOCK,)).fetchone() != (True,):
            run.ports.control.sleep(_WAIT_SECONDS)
        keys = keys_in(connection, database.target_name)
        wanted = wanted | descendants(read_branches(connection), wanted)
        found = claims(run.ports.ledger.others(), run.plan.key, database.target_name, keys, wanted)
        if found:
            what, hint = told(found, database.target_name)
            raise ConflictError(what, hint=hint, code="DST-OTHERTASK")
        yield


def of_others(run: Run, connection: Connection, database: str) -> set[Relation]:
    """Return the relations of the connected target database that other tasks of this console have by their ledgers."""
    keys = keys_in(connection, database)
    neighbours = run.ports.ledger.others().neighbours
    there = [one for one in neighbours if one.database == database and (one.near or one.key in keys)]
    return {relation for one in there for relation in one.relations}
