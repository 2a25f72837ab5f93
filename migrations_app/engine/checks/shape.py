"""Items about the shape of the selected tables: keys, sizes, names, families, and what their definitions call."""

from __future__ import annotations

from collections import defaultdict

import psycopg
from psycopg import generators
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from ..catalog import Table
from ..connect import Connection
from ..names import qualified
from ..plan import DatabasePlan, Side
from ..sql import query
from ..wording import NOTHING, Sentence, count, listing, pair, say
from .bodies import Body, same_everywhere
from .context import Context
from .layout import other_layouts
from .objects import followed_tables
from .registry import MOST_STATEMENTS, ON_SOURCE, Finding, Group, failed, item, lines, passed, warning

WIDE_KEY_BYTES = 256
_HASH_PARTITIONS_SINCE = 110000
_WIDE_TYPES = frozenset({"text", "character varying", "character", "bpchar", "bytea", "jsonb"})


_UNCHECKED = say(
    " Do not write into the target: an account that may set session_replication_role syncs without a check of them, so "
    "that a row of others stays there beside the source's row of the same key."
)


def chosen_tables(context: Context, database: DatabasePlan) -> dict[int, Table]:
    """Return the selected tables by oid."""
    return {table.oid: table for table in context.tables(database.source_name)}


def table_name(table: Table) -> str:
    """Return a table as an operator reads it."""
    return f"{table.schema}.{table.name}"


@item(
    "deferrable-keys",
    "Deferrable keys",
    Group.SYNC,
    "A deferrable primary key does not let PostgreSQL recognise a row in the WAL.",
    incremental_only=True,
    per_database=True,
    sides=ON_SOURCE,
)
def deferrable_keys(context: Context, database: DatabasePlan) -> Finding:
    """List selected tables whose primary key is deferrable and which have no other identity."""
    chosen = chosen_tables(context, database)
    rows = context.source(database.source_name).execute(query("check_deferrable")).fetchall()
    known = [(chosen[int(str(oid))], bool(primary)) for oid, _name, primary in rows if oid in chosen]
    followed = {table.oid for table in followed_tables(context, database)}
    bare = [t for t, primary in known if primary and t.replica_identity == "d" and t.oid in followed]
    if not bare:
        kept = (
            say(
                "Kept as they are: {number}.",
                number=count(len(known), "{number} deferrable constraint", "{number} deferrable constraints"),
            )
            + _UNCHECKED
            if known
            else say("No selected table has a deferrable key.")
        )
        return passed(kept)
    hint = say(
        "REPLICA IDENTITY FULL is set there during the migration and put back afterwards, as "
        "for tables without a key; updates and deletes there are slower to follow."
    )
    found = say(
        "{number} with a deferrable primary key: {names}.",
        number=count(len(bare), "{number} table", "{number} tables"),
        names=listing(map(table_name, bare)),
    )
    identities = (f"ALTER TABLE {qualified(t.schema, t.name)} REPLICA IDENTITY FULL;" for t in bare)
    statements = lines(identities, MOST_STATEMENTS)
    if any(not table.is_owner for table in bare):
        return failed(found, say("Only their owners can give them another identity. ") + hint, statements)
    tables = [[t.schema, t.name, "", t.replica_identity] for t in bare]
    finding = warning(found, hint, statements)
    return finding.fixed_by("replica-identity", database=database.source_name, tables=tables)


@item(
    "wide-keys",
    "Keys of a reasonable width",
    Group.SYNC,
    "A key is sent and looked up with every update and delete; a long text as a key makes that slow.",
    incremental_only=True,
    per_database=True,
    sides=ON_SOURCE,
)
def wide_keys(context: Context, database: DatabasePlan) -> Finding:
    """List primary-key columns whose values are long on average, as far as the statistics tell."""
    keys = {
        (table.schema, table.name, column.name): table
        for table in context.tables(database.source_name)
        for column in table.columns
        if column.name in table.primary_key and column.type_name.partition("(")[0] in _WIDE_TYPES
    }
    text, least = query("check_key_widths"), {"least": WIDE_KEY_BYTES}
    rows = context.source(database.source_name).execute(text, least).fetchall()
    wide = [
        say(
            "{table}.{column} ({width} bytes on average)",
            table=table_name(table),
            column=place[-1],
            width=width,
        )
        for *place, width in rows
        if (table := keys.get((str(place[0]), str(place[1]), str(place[2])))) is not None
    ]
    if wide:
        return warning(
            say(
                "{number} of great width: {names}.",
                number=count(len(wide), "{number} key column", "{number} key columns"),
                names=listing(wide),
            ),
            say("The migration works, but following and comparing these tables takes longer. A short key avoids that."),
        )
    return passed(say("No key is of great width, as far as the statistics tell."))


@item(
    "odd-names",
    "Names that are easily mistaken",
    Group.SELECTION,
    "Names that differ only in case, or hold control characters, are migrated exactly but invite mistakes.",
    per_database=True,
    sides=ON_SOURCE,
)
def odd_names(context: Context, database: DatabasePlan) -> Finding:
    """Look at names of selected tables and of their columns."""
    twins: dict[str, list[str]] = defaultdict(list)
    odd = []
    for table in context.tables(database.source_name):
        twins[table_name(table).lower()].append(table_name(table))
        odd += [table_name(table)] if not table_name(table).isprintable() else []
        columns: dict[str, list[str]] = defaultdict(list)
        for column in table.columns:
            columns[column.name.lower()].append(f"{table_name(table)}.{column.name}")
            odd += [f"{table_name(table)}.{column.name}"] if not column.name.isprintable() else []
        twins.update((key, names) for key, names in columns.items() if len(names) > 1)
    same = [pair(names) for names in twins.values() if len(names) > 1]
    if same or odd:
        words = [
            *(say("{names} differ only in case", names=names) for names in same),
            *(say("{name} has control characters", name=name) for name in odd),
        ]
        return warning(
            say("{names}.", names=listing(words)),
            say("They are migrated exactly as they are. Make sure that scripts run on the target quote these names."),
        )
    return passed(say("No name of a selected table or column is easily mistaken for another."))


@item(
    "called-functions",
    "Functions in table definitions",
    Group.SELECTION,
    "Generated columns, checks and indexes call functions while rows are copied, when no search_path is set.",
    per_database=True,
    sides=ON_SOURCE,
)
def called_functions(context: Context, database: DatabasePlan) -> Finding:
    """List functions without a search_path of their own that definitions of selected tables call."""
    chosen = chosen_tables(context, database)
    source = context.source(database.source_name)
    rows = [row for row in source.execute(query("check_called_functions")).fetchall() if row[0] in chosen]
    harmless = same_everywhere(source, {Body.of(*row[1:]) for row in rows})
    found = {str(name): str(statement) for _oid, name, statement, *_body in rows if str(name) not in harmless}
    generated = sum(1 for table in chosen.values() for column in table.columns if column.generated)
    if found:
        return warning(
            say(
                "Table definitions call {number} whose result depends on the caller's search_path: {names}.",
                number=count(len(found), "{number} function", "{number} functions"),
                names=listing(found),
            ),
            say(
                "If a function names tables or functions without their schema, building the table or an "
                "index on the target fails, and the objects are listed. Give the functions a search_path "
                "of their own to be sure."
            ),
            lines(found.values()),
        )
    words = (
        say(
            " {number} will be computed by the target.",
            number=count(generated, "{number} generated column", "{number} generated columns"),
        )
        if generated
        else NOTHING
    )
    return passed(say("No table definition depends on the caller's search_path.") + words)


@item(
    "table-families",
    "Partitions and inherited tables are complete",
    Group.SELECTION,
    "Partitions come with their root; a table that inherits from another one needs it, and holds rows of its own.",
    per_database=True,
    sides=ON_SOURCE,
)
def table_families(context: Context, database: DatabasePlan) -> Finding:
    """Look for parents that are not selected, children that are left out, foreign partitions, unfinished DETACHes."""
    chosen = chosen_tables(context, database)
    rows = context.source(database.source_name).execute(query("check_family")).fetchall()
    orphans, doubts = _torn(rows, chosen)
    if orphans:
        return failed(
            say(
                "{number} that selected tables inherit from must be selected too: {names}.",
                number=count(len(orphans), "{number} table", "{number} tables"),
                names=listing(orphans),
            ),
            say("Go back to the objects step and select the parents as well."),
        )
    if spread := _spread_by_enum(context, database):
        return failed(
            say(
                "{number} spread by the hash of an enum: {names}.",
                number=count(len(spread), "{number} partitioned table", "{number} partitioned tables"),
                names=listing(spread),
            ),
            say(
                "That hash is of numbers that each server gives the enum's values itself: the rows belong in other "
                "partitions on the target. Leave these tables out and carry them over with pg_dump "
                "--load-via-partition-root, or partition them by something else on the source."
            ),
        )
    if doubts:
        return warning(
            say("{names}.", names=listing(doubts)),
            say(
                "Queries of the parent will show fewer rows on the target. Select what is missing, and "
                "finish a DETACH (ALTER TABLE ... DETACH PARTITION ... FINALIZE), unless this is meant."
            ),
        )
    roots = sum(1 for table in chosen.values() if table.kind == "p")
    leaves = sum(1 for table in chosen.values() if table.is_partition and table.has_rows)
    if roots:
        return passed(
            say(
                "Complete: {number} with {number_2}, at any depth.",
                number=count(roots, "{number} partitioned table", "{number} partitioned tables"),
                number_2=count(leaves, "{number} partition", "{number} partitions"),
            )
        )
    return passed(say("No selected table is partitioned or lacks a parent."))


def _spread_by_enum(context: Context, database: DatabasePlan) -> list[str]:
    if context.version(Side.SOURCE) < _HASH_PARTITIONS_SINCE:
        return []
    source = context.source(database.source_name)
    rows = source.execute(query("check_enum_hash")).fetchall()
    moving = {table.oid for table in context.moving(database.source_name)}
    if rows:  # rows that go by the name of a whole table are spread by the target itself
        moving -= {table.oid for one in other_layouts(context, database) for table in (one.table, *one.below)}
    return [
        f"{schema}.{name}"
        for oid, schema, name, expressions, own in rows
        if oid in moving
        and (not expressions or _give_enums(source, qualified(str(schema), str(name)), str(expressions), own))
    ]


def _give_enums(source: Connection, table: str, expressions: str, own: object) -> bool:
    """Say whether one of the expressions gives enums or what holds some; one that an own class hashes does not count.

    The server only reads the statement: even planning it would run functions of the source with our rights.
    """
    wire = source.pgconn
    wire.send_prepare(b"", f"SELECT {expressions} FROM ONLY {table}".encode())  # noqa: S608 - the server's own text
    _answer(source)
    wire.send_describe_prepared(b"")
    columns = _answer(source)
    theirs = own if isinstance(own, list) else []
    types = [columns.ftype(number) for number, apart in enumerate(theirs) if not apart]
    return bool(source.execute(query("check_enum_types"), {"types": types}).fetchall())


def _answer(connection: Connection) -> PGresult:
    answers: list[PGresult] = connection.wait(generators.execute(connection.pgconn))
    (answer,) = answers
    if answer.status == ExecStatus.FATAL_ERROR:
        raise psycopg.errors.error_from_result(answer)
    return answer


def _torn(rows: list[tuple[object, ...]], chosen: dict[int, Table]) -> tuple[list[Sentence], list[Sentence]]:
    """Return the parents that are missing, and what will make a parent show fewer rows."""
    orphans: list[Sentence] = []
    doubts: list[Sentence] = []
    for child, child_words, kind, partition, parent, parent_words, detaching, comes_anyway in rows:
        if comes_anyway:
            continue  # whatever is selected, and it has no rows that the task moves
        if child in chosen and parent not in chosen and not partition:
            orphans.append(
                say("{parent_words} (parent of {child_words})", parent_words=parent_words, child_words=child_words)
            )
        elif parent in chosen and kind == "f":
            doubts.append(
                say("{child_words} is a foreign table, whose rows stay where they are", child_words=child_words)
            )
        elif parent in chosen and child not in chosen:
            doubts.append(
                say(
                    "{child_words} inherits from {parent_words} but is not selected",
                    child_words=child_words,
                    parent_words=parent_words,
                )
            )
        elif child in chosen and detaching:
            doubts.append(
                say(
                    "{child_words} is being detached from {parent_words}",
                    child_words=child_words,
                    parent_words=parent_words,
                )
            )
    return orphans, doubts
