"""Statistics for the target's planner, by stages: rough ones as soon as a table has its rows, full ones at the end.

A large table can be queried with sensible plans, by foreign keys that look at its rows above all, long before its
indexes stand. The rough stages read a hundredth and a tenth of the sample, so that they cost next to nothing; the full
one waits until no index does. Small tables get theirs with their indexes, in the same round trip.
"""

from __future__ import annotations

import psycopg

from .archive import Archive
from .connect import Connection
from .failpoints import durable
from .foreign_keys import in_parallel
from .names import qualified
from .outcome import Run
from .plan import DatabasePlan, Side
from .restore import raise_unless_refused
from .wording import say

ROUGH, BETTER = 1, 10
"""Statistics targets of the first two stages; the third is the server's own, 100 by default."""
_ONLY_SINCE = 180000
_MANY_ENTRIES = 5000
_CATALOGS = ("pg_namespace", "pg_class", "pg_attribute", "pg_attrdef", "pg_type", "pg_inherits", "pg_depend")
_HAS_OWN_TARGETS = (
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = %s::pg_catalog.regclass AND attnum > 0"
    " AND NOT attisdropped AND attstattarget > 0)"
)
# What autovacuum never looks at (parents by their children), or only in time (contents of views).
_WITHOUT_ROWS_OF_THEIR_OWN = (
    "SELECT n.nspname, c.relname, c.relkind::text FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE CASE c.relkind WHEN 'p' THEN NOT coalesce((pg_catalog.row_to_json(c) ->> 'relispartition')::boolean, false)"
    " OR %s WHEN 'r' THEN EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = c.oid)"
    " WHEN 'm' THEN c.relispopulated ELSE false END"
)


def analyze(run: Run, connection: Connection, schema: str, name: str, *, target: int | None = None) -> None:
    """Make the statistics of a table that holds rows itself; with `target` rough ones. What is refused is left out.

    A column that has a target of its own would be read as thoroughly each time: then there is no rough stage.
    """
    run.ports.control.check()
    table = qualified(schema, name)
    text = f"ANALYZE {table}"
    if target is not None:
        row = connection.execute(_HAS_OWN_TARGETS, (table,)).fetchone()
        if row and row[0]:
            return
        text = f"SET default_statistics_target = {target}; {text}; RESET default_statistics_target"
    _run(run, connection, text, schema, name)


def covers_partitions(connection: Connection) -> bool:
    """Say whether the ANALYZE of a partitioned table makes the statistics of all its partitions too, as before 18."""
    return connection.info.server_version < _ONLY_SINCE


def analyze_catalogs(run: Run, database: DatabasePlan, archive: Archive) -> None:
    """Tell the target's planner what its catalogs hold by now, when that is very much.

    Autovacuum comes only after a minute, and queries that join names to objects take many times as long until then. An
    account without the right leaves it at that: the server warns, and does nothing.
    """
    if len(archive.entries) < _MANY_ENTRIES:
        return
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        for name in _CATALOGS:
            _run(run, connection, f"ANALYZE pg_catalog.{name}", "pg_catalog", name)


def analyze_parents(run: Run, database: DatabasePlan, connection: Connection, archive: Archive) -> None:
    """Make the statistics of partitioned tables, and of parents together with their children, in parallel."""
    tables = {(entry.schema, entry.tag) for entry in archive.of_type("TABLE")}
    _analyze_all(run, database, connection, tables, "pr")


def analyze_matviews(run: Run, database: DatabasePlan, connection: Connection, archive: Archive) -> None:
    """Make the statistics of the materialized views that hold rows, in parallel."""
    views = {(entry.schema, entry.tag) for entry in archive.of_type("MATERIALIZED VIEW")}
    _analyze_all(run, database, connection, views, "m")


def _analyze_all(
    run: Run, database: DatabasePlan, connection: Connection, ours: set[tuple[str, str]], kinds: str
) -> None:
    only = "" if covers_partitions(connection) else "ONLY "
    rows = connection.execute(_WITHOUT_ROWS_OF_THEIR_OWN, (bool(only),)).fetchall()
    names = [(str(schema), str(name)) for schema, name, kind in rows if str(kind) in kinds]

    def work(session: Connection, item: tuple[str, str]) -> None:
        _run(run, session, f"ANALYZE {only}{qualified(*item)}", *item)

    in_parallel(run, database, sorted(ours.intersection(names)), work)


@durable("target.analyze")
def _run(run: Run, connection: Connection, text: str, schema: str, name: str) -> None:
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        raise_unless_refused(run, error, say("analyzing {schema}.{name}", schema=schema, name=name))
