"""What stands on the target: which objects were there before us, which are ours by the ledger, and how ours go away."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Sequence

import psycopg

from .connect import Connection, translate
from .errors import ConflictError, TargetError
from .failpoints import durable
from .mapping import renaming_of
from .names import qualified, quote
from .occupied import drop_taken, hangs_on, use_as_it_is
from .one_server import refuse_the_source_itself
from .other_tasks import kept_away, of_others
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import Kind, LedgerItem
from .sql import query
from .toc import POST_DATA, Entry
from .wording import Sentence, listing, say

_MADE = frozenset({Kind.TABLE, Kind.SCHEMA, Kind.OBJECT, Kind.EXTENSION})
_NAMESPACE = 2615  # the oid of pg_namespace
_RELATION = 1259  # the oid of pg_class
_RECORDED_AT_ONCE = 1000
# Objects that hold data, or give columns their shape: one that was there before cannot pass for ours.
_MUST_BE_OURS = frozenset({"TABLE", "FOREIGN TABLE", "SEQUENCE", "TYPE", "DOMAIN", "SHELL TYPE", "MATERIALIZED VIEW"})
_AFTER_KEYS = frozenset({"MATERIALIZED VIEW", "FUNCTION", "PROCEDURE"})

_USED_AS_IS = frozenset({"SCHEMA", "EXTENSION"})

Identity = tuple[int, str, str]


def identity(entry: Entry) -> Identity:
    """Return (catalog, schema, name) of the object that an entry makes.

    Where several may have one name in a schema, it is followed by what tells them apart.
    """
    drop = entry.drop.decode(errors="replace").strip().removesuffix(";")
    name = entry.tag
    if entry.type == "OPERATOR":  # DROP OPERATOR schema.name (left, right)
        name = f"{entry.tag} (" + drop.partition(f".{entry.tag} (")[2]
    elif entry.type in ("OPERATOR CLASS", "OPERATOR FAMILY"):
        name = f"{entry.tag} USING" + drop.rpartition(" USING")[2]
    elif entry.type in ("CAST", "TRANSFORM"):
        name = drop.removeprefix("DROP ")  # the tag has the names of the source
    return (entry.class_oid, entry.schema, name)


def creates(entry: Entry) -> bool:
    """Say whether the entry makes an object of its own, rather than changing one."""
    # Before 15 a dump names the schema `public` without saying how to drop it.
    return entry.type in ("EXTENSION", "SCHEMA") or entry.drop.startswith(b"DROP ")


def existing(connection: Connection) -> set[Identity]:
    """Return the identity of every user object of the connected database."""
    return {
        (int(str(row[0])), str(row[1]), str(row[2])) for row in connection.execute(query("existing_objects")).fetchall()
    }


def made_after_keys(entry: Entry) -> bool:
    """Say whether the entry makes an object that needs the key of a table, such as a view that groups by one."""
    return entry.section == POST_DATA and entry.type in _AFTER_KEYS


def claim(
    run: Run,
    database: DatabasePlan,
    connection: Connection,
    entries: list[Entry],
    later: Sequence[Entry] = (),
    *,
    along: Container[int] = (),
    bare: Container[int] = (),
) -> list[Entry]:
    """Write what is about to be made into the ledger and return the entries that may be run.

    `later`: entries that are run after the rows; they are looked at and written down with the others, not returned.
    Objects that are there already are never ours. Schemas and extensions are used as they are. With everything else the
    plan's policy is done (see `occupied`), but for what nobody has selected (`along`, dump ids): that is never emptied
    or dropped, and tables whose rows do not move (`bare`) are not emptied. Raises ConflictError, before anything is
    made, when the policy is to refuse them and a table or type is in the way, when another task has one of them, or
    when the source could lose what is lost on the target.
    """
    in_the_way = _in_the_way(connection, entries, later)
    if run.plan.selection.existing == "refuse" or all(entry.type in _USED_AS_IS for entry in in_the_way):
        return _claim(run, database, connection, entries, later, along, bare)
    refuse_the_source_itself(run, database)
    wanted = {
        (entry.schema, entry.tag) for entry in in_the_way if entry.class_oid == _RELATION and entry.dump_id not in along
    }
    with kept_away(run, database, wanted) if wanted else contextlib.nullcontext():
        return _claim(run, database, connection, entries, later, along, bare)


def _in_the_way(connection: Connection, entries: list[Entry], later: Sequence[Entry]) -> list[Entry]:
    there = existing(connection)
    return [entry for entry in (*entries, *later) if creates(entry) and identity(entry) in there]


def _claim(
    run: Run,
    database: DatabasePlan,
    connection: Connection,
    entries: list[Entry],
    later: Sequence[Entry],
    along: Container[int],
    bare: Container[int],
) -> list[Entry]:
    """Do what `claim` says: others take nothing over meanwhile."""
    there = existing(connection)
    taken = [entry for entry in (*entries, *later) if creates(entry) and identity(entry) in there]
    if run.plan.selection.existing == "recreate":
        _make_room(run, database, connection, taken, along)
        there = existing(connection)
        taken = [one for one in taken if _stays(one, along) and identity(one) in there]
    _judge_conflicts(run, database, connection, taken, {one.dump_id for one in taken if _is_left(one, along, bare)})
    kept_as_is = [entry for entry in taken if entry.type not in _USED_AS_IS]
    if kept_as_is:
        run.ports.store.event(
            "warning",
            "SCHEMA-KEPT",
            say(
                "These objects were on the target before and were left as they are: {names}.",
                names=some(e.label for e in kept_as_is),
            ),
        )
    types = {(entry.schema, entry.tag) for entry in taken if entry.type == "TYPE"}
    entries = [one for one in entries if one.type != "SHELL TYPE" or (one.schema, one.tag) not in types]
    skipped = {entry.dump_id for entry in taken}
    used = {entry.dump_id for entry in kept_as_is}
    entries = [entry for entry in entries if entry.dump_id not in skipped and not hangs_on(entry, used)]
    _ensure_schemas(run, database, connection, entries, there)
    new = [entry for entry in later if entry.dump_id not in skipped]
    record(run, database, [entry for entry in (*entries, *new) if creates(entry)])
    return entries


def _make_room(
    run: Run, database: DatabasePlan, connection: Connection, taken: list[Entry], along: Container[int]
) -> None:
    """Drop what is in the way, and of what only comes along what needs that and holds nothing itself."""
    also = [one for one in taken if one.dump_id in along and one.type not in ("TABLE", "SEQUENCE", *_USED_AS_IS)]

    def standing() -> set[int]:
        there = existing(connection)
        return {one.dump_id for one in also if identity(one) in there}

    drop_taken(run, database, connection, [one for one in taken if not _stays(one, along)], also, standing)


def _stays(entry: Entry, along: Container[int]) -> bool:
    """Say whether an object that is there is never dropped for the task's own."""
    return entry.type in _USED_AS_IS or entry.dump_id in along


def _is_left(entry: Entry, along: Container[int], bare: Container[int]) -> bool:
    return entry.dump_id in along or entry.dump_id in bare


def _judge_conflicts(
    run: Run, database: DatabasePlan, connection: Connection, taken: list[Entry], left: Container[int]
) -> None:
    """Do the policy's part for what is in the way, but for what is `left` (dump ids) with its rows."""
    conflicts = [entry for entry in taken if entry.type in _MUST_BE_OURS]
    if conflicts and run.plan.selection.existing != "refuse":
        use_as_it_is(run, database, connection, [entry for entry in taken if entry.dump_id not in left])
    elif conflicts:
        raise ConflictError(
            say(
                "The target database {target_name} already has {names}.",
                target_name=database.target_name,
                names=some(entry.label for entry in conflicts),
            ),
            hint=say(
                "Rename or remove what is in the way on the target, choose another target database, or what the task"
                " does with what is there."
            ),
            code="DST-EXISTS",
        )


def _ensure_schemas(
    run: Run, database: DatabasePlan, connection: Connection, entries: list[Entry], there: set[Identity]
) -> None:
    """A dump takes the schema `public` for granted; a target may have lost it, or gets it under another name."""
    renaming = renaming_of(run, database)
    used = {entry.schema for entry in entries} | {
        renaming.extensions.get(entry.tag, "") for entry in entries if entry.type == "EXTENSION"
    }
    made = {entry.tag for entry in entries if entry.type == "SCHEMA"}
    for name in sorted(used & {"public", renaming.schema("public"), *renaming.extensions.values()} - made):
        if (_NAMESPACE, "", name) in there or name == "pg_catalog":
            continue
        drop = "DROP SCHEMA " + quote(name)
        detail = {"type": "SCHEMA", "drop": drop, "catalog": _NAMESPACE, "tag": name}
        run.ports.ledger.intend(
            LedgerItem(
                side=Side.TARGET, database=database.target_name, kind=Kind.SCHEMA, schema="", name=name, detail=detail
            )
        )
        with durable("target.schema"):
            connection.execute(("CREATE SCHEMA " + quote(name)).encode())


def record(run: Run, database: DatabasePlan, entries: Iterable[Entry]) -> None:
    """Write entries into the ledger as objects of ours on the target. Idempotent."""
    items, seen = [], set()
    for entry in entries:
        kind = {"TABLE": Kind.TABLE, "SCHEMA": Kind.SCHEMA, "EXTENSION": Kind.EXTENSION}.get(entry.type, Kind.OBJECT)
        name = tag = identity(entry)[2]
        if (kind, entry.schema, name) in seen:  # a collation and a type may share a name
            name = f"{name} ({entry.type.lower()})"
        seen.add((kind, entry.schema, name))
        drop = entry.drop.decode(errors="replace").strip().removesuffix(";")
        drop = drop or f"DROP {entry.type} {quote(entry.tag)}"
        detail = {"type": entry.type, "drop": drop, "catalog": entry.class_oid, "tag": tag}
        items.append(
            LedgerItem(
                side=Side.TARGET,
                database=database.target_name,
                kind=kind,
                schema=entry.schema,
                name=name,
                detail=detail,
            )
        )
    for start in range(0, len(items), _RECORDED_AT_ONCE):
        run.ports.ledger.intend(*items[start : start + _RECORDED_AT_ONCE])


def made(run: Run, target_database: str) -> list[LedgerItem]:
    """Return the objects of a target database that are ours by the ledger, oldest first."""
    return run.ports.ledger.items(Side.TARGET, target_database, _MADE)


def drop_made(run: Run, target_database: str, *, only_empty: bool = False) -> list[LedgerItem]:
    """Drop every object of ours in a target database and return those that could not be dropped.

    Never cascades, so what others have built on our objects keeps ours alive, and what another task of this console has
    by now is left alone: it has made it anew, or fills it. `only_empty` refuses, with a
    ConflictError, to drop a table that has rows. Idempotent; each drop is a transaction of its own.
    """
    left = made(run, target_database)[::-1]
    if not left:
        return []
    with run.sessions.session(Side.TARGET, target_database, synchronous_commit="off") as connection:
        there = existing(connection)
        # An empty database lists no relation at all, and yet it says that no table is there.
        listed = {catalog for catalog, _, _ in there} | {_RELATION}
        gone = {item for item in left if item.detail.get("catalog") in listed and _identity_of(item) not in there}
        run.ports.ledger.removed(*gone)
        theirs = of_others(run, connection, target_database)
        spared = [item for item in left if item not in gone and (item.schema, item.name) in theirs]
        left = [item for item in left if item not in gone and item not in spared]
        tables = [item for item in left if item.kind is Kind.TABLE]
        if only_empty:
            _refuse_rows(run, connection, tables)
        _drop_foreign_keys(run, connection, tables)
        while left:
            remaining = [item for item in left if not _drop(run, connection, item)]
            if len(remaining) == len(left):
                break
            left = remaining
    return left + spared


def ours(run: Run, target_database: str) -> set[Identity]:
    """Return the identities of the objects of a target database that are ours by the ledger."""
    items = made(run, target_database)
    tables = {(_RELATION, item.schema, item.name) for item in items if item.kind is Kind.TABLE}
    return tables | {_identity_of(item) for item in items if "catalog" in item.detail}


def kept(run: Run, target_database: str, connection: Connection, entries: Iterable[Entry]) -> set[int]:
    """Return the dump ids of those entries whose objects others had made on the target before: they stay as they are.

    Schemas and extensions are none: what the source says of them is added to what is there.
    """
    theirs = existing(connection) - ours(run, target_database)
    found = (entry for entry in entries if creates(entry) and entry.type not in _USED_AS_IS)
    return {entry.dump_id for entry in found if identity(entry) in theirs}


def _identity_of(item: LedgerItem) -> Identity:
    return (int(item.detail["catalog"]), item.schema, str(item.detail["tag"]))


def _drop(run: Run, connection: Connection, item: LedgerItem) -> bool:
    run.ports.control.check()
    statement = _drop_statement(item)
    try:
        with durable("target.drop", item.kind):
            connection.execute(statement.encode())
    except psycopg.Error as error:
        run.ports.control.check()
        if error.sqlstate in ("42P01", "42704", "42883", "3F000", "42809"):
            run.ports.ledger.removed(item)
            return True
        problem = translate(error, Side.TARGET, say("removing {schema}.{name}", schema=item.schema, name=item.name))
        if problem.retryable and connection.closed:
            raise problem from error
        return False
    run.ports.ledger.removed(item)
    return True


def _drop_statement(item: LedgerItem) -> str:
    if item.kind is Kind.TABLE:
        return "DROP TABLE " + qualified(item.schema, item.name)
    if item.kind is Kind.SCHEMA:
        return "DROP SCHEMA " + quote(item.name)
    return str(item.detail["drop"])


def _refuse_rows(run: Run, connection: Connection, tables: list[LedgerItem]) -> None:
    for item in tables:
        run.ports.control.check()
        statement = "SELECT EXISTS (TABLE ONLY " + qualified(item.schema, item.name) + ")"
        row = connection.execute(statement.encode()).fetchone()
        if row and row[0]:
            raise ConflictError(
                say(
                    "The table {schema}.{name} on the target has rows that are not from this task.",
                    schema=item.schema,
                    name=item.name,
                ),
                hint=say("Somebody writes to the target. Empty or remove the table, then try again."),
            )


def _drop_foreign_keys(run: Run, connection: Connection, tables: list[LedgerItem]) -> None:
    """Tables that refer to each other in a circle can only be dropped one by one without their foreign keys."""
    ours = {(item.schema, item.name) for item in tables}
    rows = connection.execute(
        "SELECT n.nspname, c.relname, k.conname FROM pg_catalog.pg_constraint k"
        " JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE k.contype = 'f' AND k.conparentid = 0"
    ).fetchall()
    for schema, table, name in rows:
        if (schema, table) in ours:
            run.ports.control.check()
            statement = f"ALTER TABLE {qualified(str(schema), str(table))} DROP CONSTRAINT {quote(str(name))}"
            with durable("target.drop", "foreign key"):
                connection.execute(statement.encode())


def clear_for_restore(run: Run, database: DatabasePlan) -> None:
    """Remove what an interrupted restore left, so that the next one starts from nothing. No rows are lost by it.

    Raises TargetError naming what could not be removed.
    """
    left = drop_made(run, database.target_name, only_empty=True)
    if left:
        raise TargetError(
            say(
                "Objects of an interrupted attempt cannot be removed from the target database {target_name}: {names}.",
                target_name=database.target_name,
                names=some(f"{item.schema}.{item.name}".lstrip(".") for item in left),
            ),
            hint=say("Something else on the target depends on them. Remove that, then try again."),
        )


def some(labels: Iterable[str], limit: int = 10) -> Sentence:
    """Return the first labels as a readable list, and how many more there are."""
    return listing(labels, limit)
