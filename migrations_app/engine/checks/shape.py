"""Items about the shape of the selected tables: keys, sizes, names, families, and what their definitions call."""

from __future__ import annotations

from collections import defaultdict

from ..catalog import Table
from ..names import qualified, quote
from ..plan import DatabasePlan, Side
from ..sql import query
from .context import Context
from .registry import ON_SOURCE, Finding, Group, count, failed, item, lines, listing, passed, size, warning

WIDE_KEY_BYTES = 256
LARGE_VALUE_BYTES = 100 << 20


def _chosen(context: Context, database: DatabasePlan) -> dict[int, Table]:
    return {table.oid: table for table in context.tables(database.source_name)}


def _words(table: Table) -> str:
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
    chosen = _chosen(context, database)
    rows = context.source(database.source_name).execute(query("check_deferrable")).fetchall()
    known = [(chosen[int(str(oid))], bool(primary)) for oid, _name, primary in rows if oid in chosen]
    bare = [table for table, primary in known if primary and table.replica_identity == "d"]
    if not bare:
        kept = f"{count(len(known), 'deferrable constraint')} is kept as it is." if known else ""
        return passed(kept or "No selected table has a deferrable key.")
    hint = (
        "REPLICA IDENTITY FULL is set for them during the migration and put back afterwards, as for tables without a"
        " key; updates and deletes there are slower to follow."
    )
    found = f"{count(len(bare), 'table')} with a deferrable primary key: {listing(map(_words, bare))}."
    statements = lines(f"ALTER TABLE {qualified(t.schema, t.name)} REPLICA IDENTITY FULL;" for t in bare)
    if any(not table.is_owner for table in bare):
        return failed(found, "Only their owners can give them another identity. " + hint, statements)
    tables = [[t.schema, t.name, "", t.replica_identity] for t in bare if t.has_rows and t.persistence == "p"]
    finding = warning(found, hint, statements)
    return finding.fixed_by("replica-identity", database=database.source_name, tables=tables) if tables else finding


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
    chosen = _chosen(context, database)
    rows = context.source(database.source_name).execute(query("check_key_widths")).fetchall()
    wide = [
        f"{_words(chosen[int(str(oid))])}.{column} ({width} bytes on average)"
        for oid, column, width in rows
        if oid in chosen and int(str(width)) > WIDE_KEY_BYTES
    ]
    if wide:
        return warning(
            f"{count(len(wide), 'key column')} of great width: {listing(wide)}.",
            "The migration works, but following and comparing these tables takes longer. A short key avoids that.",
        )
    return passed("No key is of great width, as far as the statistics tell.")


@item(
    "large-values",
    "Values that fit into a message",
    Group.SELECTION,
    "PostgreSQL cannot send a row of more than 1 GB.",
    per_database=True,
    sides=ON_SOURCE,
)
def large_values(context: Context, database: DatabasePlan) -> Finding:
    """List tables whose rows keep very much outside themselves, on average. Single rows cannot be seen this way."""
    chosen = _chosen(context, database)
    rows = context.source(database.source_name).execute(query("check_large_values")).fetchall()
    found = []
    for oid, held in rows:
        table = chosen.get(int(str(oid)))
        mean = int(str(held)) // max(1, table.rows_estimate) if table else 0
        if table and mean >= LARGE_VALUE_BYTES:
            found.append(f"{_words(table)} ({size(mean)} in a row on average)")
    if found:
        return warning(
            f"{count(len(found), 'table')} with very large rows: {listing(found)}.",
            "A row of more than 1 GB, or a bytea of more than 500 MB that is sent as text, cannot be migrated; the copy"
            " names it. Look for such rows and split them, or leave the table out. ANALYZE makes this estimate better.",
        )
    return passed("No table has very large rows on average.")


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
        twins[_words(table).lower()].append(_words(table))
        odd += [_words(table)] if not _words(table).isprintable() else []
        columns: dict[str, list[str]] = defaultdict(list)
        for column in table.columns:
            columns[column.name.lower()].append(f"{_words(table)}.{column.name}")
            odd += [f"{_words(table)}.{column.name}"] if not column.name.isprintable() else []
        twins.update((key, names) for key, names in columns.items() if len(names) > 1)
    same = [" and ".join(names) for names in twins.values() if len(names) > 1]
    if same or odd:
        words = [
            *(f"{names} differ only in case" for names in same),
            *(f"{name} has control characters" for name in odd),
        ]
        return warning(
            f"{listing(words)}.",
            "They are migrated exactly as they are. Make sure that scripts run on the target quote these names.",
        )
    return passed("No name of a selected table or column is easily mistaken for another.")


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
    chosen = _chosen(context, database)
    rows = context.source(database.source_name).execute(query("check_called_functions")).fetchall()
    found = {str(name): str(statement) for oid, name, statement in rows if oid in chosen}
    generated = sum(1 for table in chosen.values() for column in table.columns if column.generated)
    if found:
        return warning(
            f"{count(len(found), 'function')} called by table definitions depends on the caller's search_path:"
            f" {listing(found)}.",
            "If a function names tables or functions without their schema, building the table or an index on the target"
            " fails, and the objects are listed. Give the functions a search_path of their own to be sure.",
            lines(found.values()),
        )
    words = f" {count(generated, 'generated column')} will be computed by the target." if generated else ""
    return passed(f"No table definition depends on the caller's search_path.{words}")


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
    chosen = _chosen(context, database)
    rows = context.source(database.source_name).execute(query("check_family")).fetchall()
    orphans, doubts = [], []
    for child, child_words, kind, partition, parent, parent_words, detaching in rows:
        if child in chosen and parent not in chosen and not partition:
            orphans.append(f"{parent_words} (parent of {child_words})")
        elif parent in chosen and kind == "f":
            doubts.append(f"{child_words} is a foreign table, whose rows stay where they are")
        elif parent in chosen and child not in chosen:
            doubts.append(f"{child_words} inherits from {parent_words} but is not selected")
        elif child in chosen and detaching:
            doubts.append(f"{child_words} is being detached from {parent_words}")
    if orphans:
        return failed(
            f"{count(len(orphans), 'table')} that selected tables inherit from "
            f"{'is' if len(orphans) == 1 else 'are'} not selected: {listing(orphans)}.",
            "Go back to the objects step and select the parents as well.",
        )
    if doubts:
        return warning(
            f"{listing(doubts)}.",
            "Queries of the parent will show fewer rows on the target. Select what is missing, and finish a DETACH"
            " (ALTER TABLE ... DETACH PARTITION ... FINALIZE), unless this is meant.",
        )
    roots = sum(1 for table in chosen.values() if table.kind == "p")
    leaves = sum(1 for table in chosen.values() if table.is_partition and table.has_rows)
    if roots:
        return passed(
            f"{count(roots, 'partitioned table')} with {count(leaves, 'partition')}, at any depth, is complete."
        )
    return passed("No selected table is partitioned or lacks a parent.")


@item(
    "materialized-views",
    "Materialized views",
    Group.SELECTION,
    "The rows of a materialized view are computed anew on the target.",
    per_database=True,
    sides=ON_SOURCE,
)
def materialized_views(context: Context, database: DatabasePlan) -> Finding:
    """Count selected materialized views and those that hold no rows yet."""
    rows = (
        context.source(database.source_name)
        .execute(
            "SELECT n.nspname::text, c.relname::text, pg_catalog.pg_relation_size(c.oid)"
            " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'm' ORDER BY 1, 2"
        )
        .fetchall()
    )
    includes = context.plan.selection.includes
    chosen = [(f"{a}.{b}", int(str(held))) for a, b, held in rows if includes(database.source_name, str(a), str(b))]
    if not chosen:
        return passed("No materialized view is selected.")
    return warning(
        f"{count(len(chosen), 'materialized view')} selected ({size(sum(held for _name, held in chosen))}):"
        f" {listing(name for name, _held in chosen)}.",
        "Their rows are computed on the target from the migrated tables, which takes as long as a REFRESH; they may"
        " differ from those of the source, whose last REFRESH is older. Nothing needs to be done.",
    )


@item(
    "with-oids",
    "Tables with oids",
    Group.SELECTION,
    "The hidden column oid, which servers before 12 may have, cannot be migrated.",
    per_database=True,
    sides=ON_SOURCE,
)
def with_oids(context: Context, database: DatabasePlan) -> Finding:
    """List selected tables that were made WITH OIDS."""
    chosen = _chosen(context, database)
    rows = context.source(database.source_name).execute(query("check_with_oids")).fetchall()
    found = [chosen[int(str(row[0]))] for row in rows if row[0] in chosen]
    if found:
        return warning(
            f"{count(len(found), 'table')} WITH OIDS: {listing(map(_words, found))}.",
            "The values of the hidden column oid stay behind. If the application uses them, store them in an ordinary"
            " column first.",
            lines(f"ALTER TABLE {qualified(t.schema, t.name)} SET WITHOUT OIDS;" for t in found),
        )
    return passed("No selected table has a hidden column oid.")


@item(
    "money-columns",
    "Money is shown alike",
    Group.SELECTION,
    "Values of the type money are shown by the server's lc_monetary; their digits are migrated exactly.",
    per_database=True,
)
def money_columns(context: Context, database: DatabasePlan) -> Finding:
    """Compare lc_monetary of both ends when a selected table has a column of the type money."""
    columns = [
        f"{_words(table)}.{column.name}"
        for table in context.tables(database.source_name)
        for column in table.columns
        if column.type_name in ("money", "money[]")
    ]
    if not columns:
        return passed("No selected table has a column of the type money.")
    target = database.target_name if context.target_exists(database) else ""
    source_words = _lc_monetary(context, Side.SOURCE, database.source_name)
    target_words = _lc_monetary(context, Side.TARGET, target)
    if source_words and source_words == target_words:
        return passed(f"{count(len(columns), 'column')} of the type money; both ends use {source_words}.")
    return warning(
        f"{count(len(columns), 'column')} of the type money: {listing(columns)}. lc_monetary is"
        f" {source_words or 'unknown'} on the source and {target_words or 'unknown'} on the target.",
        "The numbers are migrated exactly, but shown with the target's currency and number of decimals. Make both"
        " settings alike.",
        f"ALTER DATABASE {quote(database.target_name)} SET lc_monetary = '...';",
    )


def _lc_monetary(context: Context, side: Side, database: str) -> str:
    """Return the setting of a database or of the server's files; '' where the account may not read it."""
    connection = context.session(side, database)
    row = connection.execute(
        "SELECT pg_catalog.substr(line, 13) FROM pg_catalog.pg_db_role_setting s"
        " JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c(line)"
        " WHERE s.setrole = 0 AND d.datname = pg_catalog.current_database() AND line LIKE 'lc\\_monetary=%'"
    ).fetchone()
    if row is None and context.is_superuser(side):
        row = connection.execute(
            "SELECT setting FROM pg_catalog.pg_file_settings WHERE name = 'lc_monetary' ORDER BY seqno DESC LIMIT 1"
        ).fetchone()
    return str(row[0]) if row else ""


@item(
    "security-labels",
    "Security labels",
    Group.TARGET,
    "Security labels belong to the policy of one server and are not migrated.",
    per_database=True,
    sides=ON_SOURCE,
)
def security_labels(context: Context, database: DatabasePlan) -> Finding:
    """Count security labels of the source database."""
    rows = context.source(database.source_name).execute(query("check_security_labels")).fetchall()
    if not rows:
        return passed("The database has no security labels.")
    return warning(
        f"The database has security labels: {listing(f'{number} of {provider}' for provider, number in rows)}.",
        "They are not migrated. Set them on the target, where the label provider must be loaded.",
    )
