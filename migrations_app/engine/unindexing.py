"""Takes the indexes off tables that are copied once more: rows that go into a bare table are written only once.

Only what the copy builds anew afterwards: the archive's indexes and keys, on tables that this task made. What something
else depends on stays, and is kept up to date by the copy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence

import psycopg

from .archive import Archive, open_archive
from .connect import Connection, translate
from .failpoints import durable
from .indexes import Index, read_indexes
from .names import qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .restore import raise_unless_refused
from .table_work import TableWork
from .unmoved import TableName
from .wording import say

_REFERRED = (
    "SELECT n.nspname, c.relname, bool_or(coalesce(pg_catalog.row_to_json(k) ->> 'conenforced', 'true') = 'true')"
    " FROM pg_catalog.pg_constraint k"
    " JOIN pg_catalog.pg_class c ON c.oid = k.confrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE k.contype = 'f' AND k.conrelid <> k.confrelid GROUP BY 1, 2"
)


def take_off_indexes(run: Run, database: DatabasePlan, works: Sequence[TableWork]) -> None:
    """Drop what the archive builds on these tables, which are all to be copied, as far as nothing depends on it.

    Idempotent, and nothing is lost by a kill in between: whatever is missing is built once the rows are there. A table
    that a foreign key of another one refers to is marked, because it cannot be truncated. Raises EngineError.
    """
    ours = {work.place: work for work in works if work.ours and not work.adopted}
    if not ours:
        return
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        try:
            standing = _standing(connection, ours)
            rows = connection.execute(_REFERRED.encode()).fetchall()
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.TARGET, say("reading the tables of the target")) from error
        enforced = {(str(schema), str(name)): bool(acts) for schema, name, acts in rows}
        for place in ours.keys() & enforced.keys():
            ours[place].referred, ours[place].unenforced = True, not enforced[place]
        for place, indexes in standing.items():
            _drop(run, connection, place, _drops(open_archive(run, database), place, indexes))


def _standing(connection: Connection, tables: Container[TableName]) -> dict[TableName, dict[str, Index]]:
    """Return the indexes that stand on these tables, by table and name; not those that are part of a parent's."""
    found: dict[TableName, dict[str, Index]] = defaultdict(dict)
    for (schema, table, name), index in read_indexes(connection).items():
        if (schema, table) in tables and not index.attached:
            found[schema, table][name] = index
    return found


def _drops(archive: Archive, place: TableName, indexes: dict[str, Index]) -> list[str]:
    """Return the statements that drop those of a table's indexes that the archive builds."""
    texts = []
    for entry in archive.by_table.get(place, ()):
        at = archive.place(entry)
        index = indexes.get(at.name) if at and entry.type != "STATISTICS" else None
        if at and index and index.is_constraint:
            texts.append(f"ALTER TABLE ONLY {qualified(*place)} DROP CONSTRAINT {quote(at.name)}")
        elif at and index:
            texts.append(f"DROP INDEX {qualified(at.schema, at.name)}")
    return texts


def _drop(run: Run, connection: Connection, place: TableName, texts: list[str]) -> None:
    """Run the statements as one transaction; one by one when the target refuses one of them."""
    if texts and not _done(run, connection, place, "; ".join(texts)):
        for text in texts:
            _done(run, connection, place, text)


@durable("target.index.drop")
def _done(run: Run, connection: Connection, place: TableName, text: str) -> bool:
    run.ports.control.check()
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        raise_unless_refused(run, error, say("taking the indexes off {label}", label=".".join(place)))
        return False
    return True
