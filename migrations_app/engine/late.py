"""Checks of tables and domains whose functions read other tables, and those that tell the time: the rows come
without them, and they are put back when all tables are full, with a sync at Complete: its rows come later than on the
source, and in another order. One that old rows break stays unproved, which is told.

Indexes of that kind are kept apart by the archive itself: one that is built too early has wrong entries, without an
error.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace

import psycopg

from .archive import Archive
from .connect import Connection
from .failpoints import durable
from .late_checks import LateCheck, present_checks
from .mapping import renaming_of
from .names import qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind
from .refused_checks import CheckKey, RefusedCheck, keep_refusals, owner_of, refused_check
from .restore import raise_unless_refused
from .toc import Entry
from .unmoved import TableName
from .wording import say

_STANDING = (
    "SELECT n.nspname::text, c.relname::text, k.conname::text, k.coninhcount > 0"
    " FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'c'"
    " UNION ALL SELECT n.nspname::text, t.typname::text, k.conname::text, false"
    " FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_type t ON t.oid = k.contypid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE k.contype = 'c'"
)
_BY_VALIDITY = (
    "SELECT o.kind, n.nspname::text, o.name::text, k.conname::text FROM pg_catalog.pg_constraint k"
    " JOIN (SELECT 'TABLE' AS kind, c.oid AS relation, 0::oid AS type, c.relname AS name, c.relnamespace AS space"
    " FROM pg_catalog.pg_class c UNION ALL SELECT 'DOMAIN', 0::oid, t.oid, t.typname, t.typnamespace"
    " FROM pg_catalog.pg_type t WHERE t.typtype = 'd') o ON o.relation = k.conrelid AND o.type = k.contypid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = o.space"
    " WHERE k.contype = 'c' AND k.convalidated = %s AND n.nspname <> 'information_schema'"
)
_BELOW = (
    "WITH RECURSIVE below(oid, name) AS (SELECT c.oid, w.name FROM unnest(%s::text[], %s::text[], %s::text[])"
    " w(schema, owner, name) JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema"
    " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.owner"
    " UNION SELECT i.inhrelid, b.name FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.oid)"
    " SELECT n.nspname::text, c.relname::text, b.name FROM below b JOIN pg_catalog.pg_class c ON c.oid = b.oid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
)
_THERE = (
    "SELECT n.nspname::text, o.name::text FROM unnest(%s::text[], %s::text[]) w(schema, name)"
    " JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema"
    " JOIN (SELECT c.relname AS name, c.relnamespace AS space FROM pg_catalog.pg_class c UNION"
    " SELECT t.typname, t.typnamespace FROM pg_catalog.pg_type t WHERE t.typtype = 'd') o"
    " ON o.space = n.oid AND o.name = w.name"
)


def take_off_checks(run: Run, database: DatabasePlan, archive: Archive) -> None:
    """Drop such checks of what the restore has just made. The tables are empty. Idempotent."""
    wanted = _of_ours(run, database, archive)
    if wanted:
        with run.sessions.session(Side.TARGET, database.target_name) as connection:
            _take_off(run, connection, wanted)


def take_off_checks_of(run: Run, connection: Connection, archive: Archive, made: Iterable[Entry]) -> None:
    """Drop such checks of tables and domains that these entries have made, in the transaction that has made them."""
    owners = {(entry.type, entry.schema, entry.tag) for entry in made}
    _take_off(run, connection, [one for one in archive.late_checks if (one.kind, one.schema, one.owner) in owners])


def _take_off(run: Run, connection: Connection, checks: Sequence[LateCheck]) -> None:
    wanted = {one.key: one for one in checks}
    # One that a child has from its parent cannot go before the parent's.
    while free := sorted(
        key for key, inherited in (_standing(connection).items() if wanted else ()) if key in wanted and not inherited
    ):
        for key in free:
            run.ports.control.check()
            text = f"{_altering(wanted[key])} DROP CONSTRAINT {quote(wanted[key].name)}"
            with durable("target.drop", "check"):
                connection.execute(text.encode())


def waiting_checks(run: Run, database: DatabasePlan, archive: Archive) -> frozenset[tuple[str, str, str]]:
    """Return the keys of the checks that come back only at Complete, and of what tables below have of them."""
    wanted = _of_ours(run, database, archive) if run.plan.incremental else []
    found = {one.key for one in wanted}
    handed_down = [one for one in wanted if one.kind == "TABLE"]
    if handed_down:
        asked = [list(words) for words in zip(*(one.key for one in handed_down), strict=True)]
        with run.sessions.session(Side.TARGET, database.target_name) as connection:
            rows = connection.execute(_BELOW, asked).fetchall()
        found |= {(str(schema), str(table), str(name)) for schema, table, name in rows}
    return frozenset(found)


def comments_on_late(archive: Archive) -> set[int]:
    """Return the dump ids of the comments on such checks; an archive says of them only that they hang on the table."""
    tags = {
        (one.schema, f"CONSTRAINT {name} ON {domain}{owner}")
        for one in archive.late_checks
        for domain in ("DOMAIN " if one.kind == "DOMAIN" else "",)
        for name in (one.name, quote(one.name))
        for owner in (one.owner, quote(one.owner))
    }
    return {entry.dump_id for entry in archive.of_type("COMMENT") if (entry.schema, entry.tag) in tags}


def put_back_checks(run: Run, database: DatabasePlan, connection: Connection, archive: Archive) -> None:
    """Make them again, not proved yet. Idempotent. What the target refuses is kept, and told by the structure
    comparison.

    At the end of a sync they are those that the source has by then.
    """
    former = _of_ours(run, database, archive)
    wanted = _by_now(run, database, connection, former) if run.plan.incremental else former
    standing = _standing(connection) if wanted else {}
    refused: dict[CheckKey, RefusedCheck] = {}
    for one in wanted:
        if one.key in standing:
            continue
        run.ports.control.check()
        text = f"{_altering(one)} ADD CONSTRAINT {quote(one.name)} {one.definition}"
        try:
            with durable("target.entry", "check"):
                connection.execute(f"{text} NOT VALID".encode())
        except psycopg.Error as error:
            raise_unless_refused(run, error, say("restoring {label}", label=f"{one.schema}.{one.owner}.{one.name}"))
            refused[one.kind, *one.key] = refused_check(text, error)
    keep_refusals(run, database, {(one.kind, *one.key) for one in (*former, *wanted)}, refused)


def _by_now(
    run: Run, database: DatabasePlan, connection: Connection, former: Sequence[LateCheck]
) -> Sequence[LateCheck]:
    """Return the checks as the source has them now, each of the table or domain that the target has for it."""
    if not former:
        return former
    with run.sessions.session(Side.SOURCE, database.source_name) as source:
        now = present_checks(source, renaming_of(run, database), former)
    owners = {one.oid: one.owner for one in former}
    moved = [one for one in now if one.owner != owners[one.oid]]
    rows = connection.execute(_THERE, ([one.schema for one in moved], [one.owner for one in moved])).fetchall()
    there = {(str(schema), str(name)) for schema, name in rows}
    return [
        one if one.key[:2] in there else replace(one, owner=owners[one.oid])  # renamed on the source alone
        for one in now
    ]


def prove_checks(
    run: Run,
    database: DatabasePlan,
    connection: Connection,
    archive: Archive,
    only: Container[TableName] | None = None,
) -> None:
    """Prove the checks that the source has proved: one of a parent that is NOT VALID makes those of its children so.

    Only those of the task's own tables and domains, less what the archive says is untouched. `only`: those of these
    tables, by their names on the target. What the target refuses is told by the structure comparison.
    """
    renaming = renaming_of(run, database)
    ours = _of_task(run, database, archive)
    open_here = {one for one in _checks(connection, valid=False) if one[:3] in ours}
    if only is not None:
        open_here = {one for one in open_here if one[0] == "TABLE" and one[1:3] in only}
    if not open_here:
        return
    with run.sessions.session(Side.SOURCE, database.source_name) as source:
        proved = {
            (kind, *renaming.place((schema, owner)), name) for kind, schema, owner, name in _checks(source, valid=True)
        }
    refused: dict[CheckKey, RefusedCheck] = {}
    for kind, schema, owner, name in sorted(open_here & proved):
        run.ports.control.check()
        statement = f"ALTER {kind} {qualified(schema, owner)} VALIDATE CONSTRAINT {quote(name)}"
        try:
            with durable("target.validate", "check"):
                connection.execute(statement.encode())
        except psycopg.Error as error:
            doing = say("proving {name} of {schema}.{table}", name=name, schema=schema, table=owner)
            raise_unless_refused(run, error, doing)
            refused[kind, schema, owner, name] = refused_check(statement, error)
    keep_refusals(run, database, open_here & proved, refused)


def _of_task(run: Run, database: DatabasePlan, archive: Archive) -> set[tuple[str, str, str]]:
    """Return (kind, schema, name) of the tables and domains of the task, also of those that came after the dump."""
    entries = archive.of_type("TABLE", "FOREIGN TABLE", "DOMAIN")
    known = {
        (one.type.rpartition(" ")[2], one.schema, one.tag) for one in entries if one.dump_id not in archive.untouched
    }
    items = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.TABLE, Kind.ADOPTED})
    return known | {("TABLE", item.schema, item.name) for item in items}


def _checks(connection: Connection, *, valid: bool) -> set[CheckKey]:
    rows = connection.execute(_BY_VALIDITY, (valid,)).fetchall()
    return {(str(kind), str(schema), str(owner), str(name)) for kind, schema, owner, name in rows}


def _of_ours(run: Run, database: DatabasePlan, archive: Archive) -> list[LateCheck]:
    if not archive.late_checks:
        return []
    items = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.TABLE, Kind.OBJECT})
    ours = {owner_of(item) for item in items}
    return [one for one in archive.late_checks if (one.kind, one.schema, one.owner) in ours]


def _altering(one: LateCheck) -> str:
    return f"ALTER {one.kind} {qualified(one.schema, one.owner)}"


def _standing(connection: Connection) -> dict[tuple[str, str, str], bool]:
    """Return the checks of the target's tables and domains, and whether a parent has given them."""
    rows = connection.execute(_STANDING).fetchall()
    return {(str(schema), str(table), str(name)): bool(inherited) for schema, table, name, inherited in rows}
