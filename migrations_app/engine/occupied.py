"""What a task does with objects of the target that have the names of its own: the policy that was chosen for them.

`refuse` stops before anything is made. `keep` uses them as they are, tables only when they are empty. `truncate`
empties the tables, and uses everything else as it is. `recreate` drops them, all or none, and never with CASCADE.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable

import psycopg

from .connect import Connection, first_line, translate
from .errors import ConflictError
from .failpoints import durable
from .layouts import Layouts, descendants, detail_of, layouts_of, read_branches
from .names import qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem
from .silencing import may_silence_triggers, put_back, refused, silence
from .sql import query
from .toc import Entry
from .truncating import marking, overlooked_sql
from .wording import Sentence, count, listing, say, template, together

_HANGING = frozenset({"DEFAULT", "SEQUENCE OWNED BY", "TABLE ATTACH", "COMMENT", "ACL", "CHECK CONSTRAINT"})
_GONE = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedObject,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.InvalidSchemaName,
)
_ROUTINE = re.compile(r"DROP (?:FUNCTION|PROCEDURE|AGGREGATE) ")
_NO_ARGUMENTS = re.compile(r"\(\*\)(?=(?: CASCADE)?;?\s*$)")
_ROUTINES_SINCE = 110000
_AT_ONCE = 200
_TO_EMPTY = "to_empty"
_NOT_EMPTIED = template("Objects of {target_name} cannot be emptied: {words}.")
_NOT_DROPPED = template("Objects of {target_name} cannot be dropped: {words}.")


def adopted(run: Run, database: DatabasePlan) -> set[tuple[str, str]]:
    """Return (schema, name) of the tables that were there before and that the task may empty."""
    items = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.ADOPTED})
    return {(item.schema, item.name) for item in items}


def _taken_over(run: Run, database: DatabasePlan) -> set[tuple[str, str]]:
    """Return the adopted tables, but for those that were to be emptied by a run that was killed before it had."""
    items = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.ADOPTED})
    return {(item.schema, item.name) for item in items if not item.detail.get(_TO_EMPTY)}


def use_as_it_is(run: Run, database: DatabasePlan, connection: Connection, taken: list[Entry]) -> None:
    """Take over the tables that are there, empty: they are emptied first if that was chosen. Idempotent.

    Their triggers keep silent from here on, until Complete. Raises ConflictError, before anything is changed, when a
    table has rows that are to be kept, or when a table of others refers to one that is to be emptied; TargetError when
    triggers cannot be silenced.
    """
    run.adopted.clear()
    layouts = layouts_of(run, database)
    tables = _with_storage(connection, [(entry.schema, entry.tag) for entry in taken if entry.type == "TABLE"], layouts)
    before = _taken_over(run, database)
    new = [table for table in tables if table not in before]
    if not new:
        return
    if run.plan.selection.existing == "truncate":
        _empty(run, database, connection, new)
        return
    if filled := _with_rows(run, connection, new, layouts):
        raise ConflictError(
            say(
                "The target database {target_name} has rows in {names}, which are to be kept.",
                target_name=database.target_name,
                names=_some(filled),
            ),
            hint=say("Empty these tables yourself, leave them out, or let the task truncate what it finds."),
            code="DST-EXISTS",
        )
    _silence(run, database, connection, new, replica_role=may_silence_triggers(connection))
    run.ports.ledger.intend(*_items(run, database, new))


def _silence(
    run: Run, database: DatabasePlan, connection: Connection, tables: list[tuple[str, str]], *, replica_role: bool
) -> list[LedgerItem]:
    try:
        return silence(run, database, connection, tables, replica_role=replica_role)
    except psycopg.Error as error:
        run.ports.control.check()
        raise refused(database, error) from error


def _with_storage(connection: Connection, tables: list[tuple[str, str]], layouts: Layouts) -> list[tuple[str, str]]:
    """Return those that rows go into by their name: not partitioned tables, unless the source's layout is another."""
    rows = connection.execute(
        "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'"
    ).fetchall()
    known = {(str(schema), str(name)) for schema, name in rows}
    return [table for table in tables if table in known or table in layouts.kept]


def _items(run: Run, database: DatabasePlan, tables: Iterable[tuple[str, str]], **detail: bool) -> list[LedgerItem]:
    side, name, layouts = Side.TARGET, database.target_name, layouts_of(run, database)
    return [
        LedgerItem(
            side=side,
            database=name,
            kind=Kind.ADOPTED,
            schema=schema,
            name=table,
            detail={**detail, **detail_of(layouts, (schema, table))},
        )
        for schema, table in tables
    ]


def _read_by(layouts: Layouts, table: tuple[str, str]) -> str:
    """Return how a statement names a table with all its rows, of which a partitioned one holds none itself."""
    return qualified(*table) if table in layouts.kept else "ONLY " + qualified(*table)


def _with_rows(
    run: Run, connection: Connection, tables: list[tuple[str, str]], layouts: Layouts
) -> list[tuple[str, str]]:
    filled = []
    for start in range(0, len(tables), _AT_ONCE):
        run.ports.control.check()
        part = tables[start : start + _AT_ONCE]
        asked = ", ".join(f"EXISTS (SELECT FROM {_read_by(layouts, table)})" for table in part)
        row = connection.execute(f"SELECT {asked}".encode()).fetchone() or ()
        filled += [table for table, has_rows in zip(part, row, strict=True) if has_rows]
    return filled


def _empty(run: Run, database: DatabasePlan, connection: Connection, tables: list[tuple[str, str]]) -> None:
    """Empty all of them at once, so that those that refer to each other do not stand in each other's way."""
    layouts = layouts_of(run, database)
    filled = _with_rows(run, connection, tables, layouts)
    role = may_silence_triggers(connection)
    silenced = _silence(run, database, connection, tables, replica_role=role)
    run.ports.ledger.intend(*_items(run, database, tables, **{_TO_EMPTY: True}))
    try:
        with durable("target.emptied"), connection.transaction():
            if role:
                connection.execute("SET LOCAL session_replication_role = replica")
            roots = [qualified(*root) for root in _roots(connection, tables)]
            names = [*(qualified(*table) for table in tables), *roots]
            for schema, name in connection.execute(overlooked_sql(names).encode()).fetchall():
                for text in marking(str(schema), str(name)):
                    connection.execute(text.encode())
            names = [*(_read_by(layouts, table) for table in tables), *roots]
            connection.execute(("TRUNCATE " + ", ".join(names)).encode())
    except psycopg.Error as error:
        if not connection.closed:
            put_back(run, connection, silenced)
        run.ports.ledger.removed(*_items(run, database, tables))
        raise _in_the_way(run, database, error, _NOT_EMPTIED) from error
    run.ports.ledger.amend(*_items(run, database, tables))
    run.ports.store.event(
        "warning",
        "DST-EMPTIED",
        say(
            "{tables} of {target_name} were there before; {number} of them had rows and were emptied, as was"
            " confirmed: {names}.",
            tables=count(len(tables), "{number} table", "{number} tables"),
            target_name=database.target_name,
            number=len(filled),
            names=_some(filled or tables),
        ),
        objects=[".".join(table) for table in tables[:500]],
    )


def _roots(connection: Connection, tables: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the partitioned tables whose rows all lie in `tables`: a foreign key may lead from one of those to another
    one's partitions, and both have to be emptied together."""
    below: dict[tuple[str, str], set[tuple[str, str, str]]] = {}
    for schema, name, leaf_schema, leaf, kind in connection.execute(query("partition_roots")).fetchall():
        below.setdefault((str(schema), str(name)), set()).add((str(leaf_schema), str(leaf), str(kind)))
    ours = {(*table, "r") for table in tables}
    return [root for root, leaves in below.items() if leaves <= ours]


def drop_taken(
    run: Run,
    database: DatabasePlan,
    connection: Connection,
    taken: list[Entry],
    along: Collection[Entry] = (),
    standing: Callable[[], set[int]] = set,
) -> None:
    """Drop these objects of the target in one transaction: all of them, or none. Never cascades, but partitions go with
    their tables, also those that the source does not have, and those of `along` that need what is dropped.

    `standing` says which of `along` are there (dump ids). Raises ConflictError when something that is not to be dropped
    depends on one of them.
    """
    tables = {(entry.schema, entry.tag) for entry in taken if entry.type == "TABLE"}
    if not taken:
        return
    with_them = sorted(descendants(read_branches(connection), tables) - tables) if tables else []
    try:
        with durable("target.drop", "taken"), connection.transaction():
            for schema, table, name in _keys_between(connection, tables):
                _try(connection, f"ALTER TABLE {qualified(schema, table)} DROP CONSTRAINT {quote(name)}")
            drops = [entry.drop.decode(errors="replace").strip() for entry in reversed(taken)]
            _drop_all(
                run,
                connection,
                drops,
                lambda: [*_dependants(connection, drops, along, standing), *_parts_of(connection, tables)],
            )
    except psycopg.Error as error:
        raise _in_the_way(run, database, error, _NOT_DROPPED) from error
    left = standing()
    _tell_dropped(run, database, [*taken, *(entry for entry in along if entry.dump_id not in left)], with_them)


def _tell_dropped(run: Run, database: DatabasePlan, taken: list[Entry], with_them: list[tuple[str, str]]) -> None:
    run.ports.store.event(
        "warning",
        "DST-DROPPED",
        say(
            "{objects} of {target_name} were there before and were dropped, as was confirmed: {names}.",
            objects=count(len(taken) + len(with_them), "{number} object", "{number} objects"),
            target_name=database.target_name,
            names=_some([*with_them, *((entry.schema, entry.tag) for entry in taken)]),
        ),
        objects=[*(".".join(place) for place in with_them), *(entry.label for entry in taken)][:500],
    )


def _dependants(
    connection: Connection, drops: Iterable[str], along: Collection[Entry], standing: Callable[[], set[int]]
) -> list[str]:
    """Return what drops those of `along` that go when these statements cascade; they are only tried, and undone."""
    if not along:
        return []
    with connection.transaction(force_rollback=True):
        for drop in drops:
            with contextlib.suppress(psycopg.Error):  # not every kind of object has something that depends on it
                _try(connection, drop.removesuffix(";").removesuffix(" CASCADE") + " CASCADE")
        left = standing()
    gone = [entry for entry in along if entry.dump_id not in left]
    return [entry.drop.decode(errors="replace").strip() for entry in reversed(gone)]


def _drop_all(run: Run, connection: Connection, statements: list[str], parts: Callable[[], list[str]]) -> None:
    """Run them until all have succeeded: one may wait for another. Raises the error of one that nothing helps.

    `parts`: statements that are run first once nothing goes on.
    """
    taken_apart = False
    while statements:
        left: list[str] = []
        reason: psycopg.Error | None = None
        for statement in statements:
            run.ports.control.check()
            try:
                _try(connection, statement)
            except psycopg.errors.DependentObjectsStillExist as error:
                left.append(statement)
                reason = reason or error
        if reason is not None and len(left) == len(statements):
            if taken_apart:
                raise reason
            taken_apart, left = True, [*parts(), *left]
        statements = left


def _try(connection: Connection, statement: str) -> None:
    """Run a statement in a transaction of its own inside the outer one; what went with another object is gone.

    A routine of the target may be of another kind than that of the source, whose statement it is.
    """
    try:
        with connection.transaction():
            connection.execute(statement.encode())
    except psycopg.errors.WrongObjectType as wrong:
        if not _ROUTINE.match(statement) or connection.info.server_version < _ROUTINES_SINCE:
            raise
        try:
            with connection.transaction():
                connection.execute(_as_routine(statement).encode())
        except (psycopg.errors.SyntaxError, *_GONE):
            raise wrong from None  # something is there, under arguments that the statement words in another way
    except _GONE:
        pass


def _as_routine(statement: str) -> str:
    """Return what drops any kind of routine; only the arguments of an aggregate are `*`, or have an order."""
    text = _ROUTINE.sub("DROP ROUTINE ", statement, count=1)
    return _NO_ARGUMENTS.sub("()", text).replace("(ORDER BY ", "(").replace(" ORDER BY ", ", ")


def _parts_of(connection: Connection, tables: set[tuple[str, str]]) -> list[str]:
    """Return what drops the parts of tables: an index by a function of the table's own rows lets neither go first."""
    names = {"schemas": [schema for schema, _ in tables], "names": [name for _, name in tables]}
    return [str(row[0]) for row in connection.execute(query("parts_of_tables"), names).fetchall()]


def _keys_between(connection: Connection, tables: set[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Return the foreign keys of these tables that lead to one of them: circles cannot be dropped one by one."""
    rows = connection.execute(
        "SELECT n.nspname, c.relname, k.conname, m.nspname, p.relname FROM pg_catalog.pg_constraint k"
        " JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace"
        " WHERE k.contype = 'f' AND k.conparentid = 0"
    ).fetchall()
    found = [tuple(str(value) for value in row) for row in rows]
    return [row[:3] for row in found if row[:2] in tables and row[3:] in tables]  # type: ignore[misc]


def _in_the_way(run: Run, database: DatabasePlan, error: psycopg.Error, what: str) -> Exception:
    run.ports.control.check()
    problem = translate(error, Side.TARGET, say("making room in {target_name}", target_name=database.target_name))
    if problem.retryable:
        return problem
    said = say(what, target_name=database.target_name, words=first_line(error))
    detail = " ".join((error.diag.message_detail or "").split())[:500]
    return ConflictError(
        together(part for part in (said, detail) if part),
        hint=say(
            "Something that this task does not migrate depends on them. Nothing was changed. Remove that first, or"
            " choose another policy or another target database."
        ),
        code="DST-EXISTS",
    )


def hangs_on(entry: Entry, taken: set[int]) -> bool:
    """Say whether an entry would change something that is used as it is, rather than add to it."""
    on = [number for number in entry.depends_on if number in taken]
    if entry.type == "SEQUENCE" and not entry.drop.startswith(b"DROP "):
        return bool(on)  # makes an identity column of one that is there
    if entry.type == "TABLE ATTACH":
        return len(on) > 1  # both were there; one that was made is attached to the other
    return bool(on) and entry.type in _HANGING


def _some(tables: Iterable[tuple[str, str]]) -> Sentence:
    return listing((".".join(table).lstrip(".") for table in tables), 10)
