"""Rows that users have made in the tables of extensions, such as systems of coordinates.

An extension names its tables of that kind, and says which rows are the users'. The others come with the extension.
"""

from __future__ import annotations

from hashlib import sha256

import psycopg

from .connect import Connection, first_line, translate
from .failpoints import durable
from .names import literal, qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .silencing import may_silence_triggers
from .sql import query
from .target_objects import some
from .values import frozen
from .vendors import OWN_WAYS
from .wording import Sentence, count, say, verbatim

_READ = 1 << 16


@frozen
class Kept:
    """One table or sequence of an extension; `condition` is SQL of the extension itself, on its own server."""

    extension: str
    schema: str
    name: str
    kind: str
    condition: str

    @property
    def key(self) -> tuple[str, str]:
        """What finds the same on the other side, where the extension may be in another schema."""
        return (self.extension, self.name)


def carry_extension_rows(run: Run, database: DatabasePlan) -> int:
    """Make the users' rows in extensions' tables on the target those of the source; returns how many tables there were.

    Only for a whole database that moves with its rows, and not for extensions that act on such rows (see
    `vendors.OWN_WAYS`). Idempotent; each table is a transaction. What the target refuses is told in an event. Raises
    EngineError when a server is lost.
    """
    selection, name = run.plan.selection, database.source_name
    if selection.state(name) != "all" or selection.mode(name) != "data":
        return 0
    side = Side.SOURCE
    try:
        with (
            run.sessions.session(side, name) as source,
            run.sessions.session(Side.TARGET, database.target_name) as target,
        ):
            wanted = [one for one in _kept(source) if one.extension not in OWN_WAYS]
            side = Side.TARGET
            there = {one.key: one for one in _kept(target)} if wanted else {}
            return _carry(run, source, target, [(one, there.get(one.key)) for one in wanted])
    except psycopg.Error as error:
        run.ports.control.check()
        raise translate(error, side, say("copying rows of extensions of {name}", name=name)) from error


def _kept(connection: Connection) -> list[Kept]:
    names = list(Kept.__dataclass_fields__)
    rows = connection.execute(query("extension_rows")).fetchall()
    return [Kept(**dict(zip(names, (str(value) for value in row), strict=True))) for row in rows]


def _carry(run: Run, source: Connection, target: Connection, pairs: list[tuple[Kept, Kept | None]]) -> int:
    if not pairs:
        return 0
    tables = [_table(there) for _, there in pairs if there and there.kind == "r"]
    refused, quiet = [], may_silence_triggers(target)
    with source.transaction():  # the tables of an extension refer to each other
        source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for place, (here, there) in enumerate(pairs):
            run.ports.control.check()
            try:
                with source.transaction():
                    words = _carry_one(source, target, here, there, _come_anew(pairs[place:]), tables, quiet=quiet)
            except psycopg.Error as error:
                if source.closed or target.closed:
                    raise
                words = verbatim(f"{first_line(error)} ({error.sqlstate})")
            if words:
                refused.append(
                    say("{name} of {extension}: {words}", name=here.name, extension=here.extension, words=words)
                )
    if quiet:
        refused += _left_dangling(target, pairs, tables)
    if refused:
        run.ports.store.event(
            "warning",
            "EXTENSION-ROWS",
            say(
                "Rows in {tables} of extensions could not be copied: {names}.",
                tables=count(len(refused), "{number} table", "{number} tables"),
                names=some(refused),
            ),
        )
    return len(pairs)


def _come_anew(pairs: list[tuple[Kept, Kept | None]]) -> list[str]:
    """Return the tables all of whose rows are replaced from here on: what a foreign key does to them passes."""
    return [_table(there) for _, there in pairs if there and not there.condition]


def _carry_one(
    source: Connection,
    target: Connection,
    here: Kept,
    there: Kept | None,
    anew: list[str],
    tables: list[str],
    *,
    quiet: bool,
) -> str:
    """Carry one table or sequence over; return why it is not what it is on the source, '' when it is.

    `anew`: see `_come_anew`. `tables`: all those of the target that rows are carried into. `quiet`: our account may
    keep triggers and foreign keys of the target quiet. Raises psycopg's errors.
    """
    if there is None:
        return say("missing on the target")
    if here.kind == "S":
        _set_sequence(source, target, here, there)
        return ""
    columns = ", ".join(quote(name) for name in _columns(source, here))
    if _digest(source, here, columns) == _digest(target, there, columns):
        return ""  # nothing that refers to them is touched for nothing
    if not quiet and _would_follow(target, there, anew):
        return say("foreign keys would change what refers to these rows, and the account may not keep them quiet")
    if not _copy_table(source, target, here, there, columns, tables, quiet=quiet):
        return say("rows of the target refer to rows that are not on the source")
    if _act_on_rows(target, there, quiet=quiet) and _digest(source, here, columns) != _digest(target, there, columns):
        return say("a trigger of the target changes these rows as they come, and cannot be kept quiet")
    return ""


def _reading(one: Kept, columns: str) -> bytes:
    text = f"COPY (SELECT {columns} FROM ONLY {_table(one)} {one.condition}) TO STDOUT"  # noqa: S608 - the extension's own condition, read where it came from
    return text.encode()


def _digest(connection: Connection, one: Kept, columns: str) -> tuple[int, int]:
    """Return how many rows of users there are, and a sum over them that does not depend on their order."""
    rows, total = 0, 0
    with connection.cursor().copy(_reading(one, columns)) as out:
        for data in out:  # one row each
            rows, total = rows + 1, total + int.from_bytes(sha256(data).digest(), "big")
    return rows, total


def _would_follow(target: Connection, one: Kept, anew: list[str]) -> bool:
    """Say whether rows that refer to these would be deleted or changed together with them, and not come anew."""
    table = _table(one)
    if target.execute(f"SELECT EXISTS (SELECT FROM ONLY {table} {one.condition})".encode()).fetchone() == (False,):  # noqa: S608 - the extension's own condition, of the target
        return False
    row = target.execute(
        "WITH RECURSIVE keys AS (SELECT conrelid, confrelid FROM pg_catalog.pg_constraint"
        " WHERE contype = 'f' AND confdeltype IN ('c', 'n', 'd')),"
        " follow AS (SELECT conrelid FROM keys WHERE confrelid = %s::pg_catalog.regclass"
        " UNION SELECT k.conrelid FROM keys k JOIN follow f ON k.confrelid = f.conrelid)"
        " SELECT EXISTS (SELECT FROM follow WHERE conrelid <> ALL (%s::pg_catalog.regclass[]))",
        (table, anew),
    ).fetchone()
    return bool(row and row[0])


def _act_on_rows(target: Connection, one: Kept, *, quiet: bool) -> bool:
    """Say whether a trigger can have changed rows before they were there."""
    row = target.execute(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = %s::pg_catalog.regclass AND NOT tgisinternal"
        " AND tgenabled::text = ANY (%s))",
        (_table(one), ["A", "R"] if quiet else ["A", "O"]),
    ).fetchone()
    return bool(row and row[0])


@durable("target.extension_rows")
def _copy_table(
    source: Connection, target: Connection, here: Kept, there: Kept, columns: str, tables: list[str], *, quiet: bool
) -> bool:
    """Replace the users' rows; nothing else of the target changes where its triggers and foreign keys keep quiet.

    Returns False, with all as it was, when something of the target refers to a row that would be gone. `tables` do not
    count: their own rows are replaced too, in their turn.
    """
    table = _table(there)
    # Foreign keys that do not keep quiet see to themselves.
    referring = _referring(target, table, tables, among=False) if quiet else []
    keys = ", ".join(sorted({f"{quote(str(name))}::text" for names, _ in referring for name in _listed(names)}))
    with target.transaction() as replaced:
        if quiet:
            target.execute("SET LOCAL session_replication_role = replica")
        deleting = f"DELETE FROM ONLY {table} {there.condition}"  # noqa: S608 - the extension's own condition, of the target
        before = target.execute(f"{deleting} RETURNING {keys}".encode()).fetchall() if keys else []
        if not keys:
            target.execute(deleting.encode())
        with (
            source.cursor().copy(_reading(here, columns)) as out,
            target.cursor().copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as into,
        ):
            for data in out:
                into.write(data)
        if before and set(before) - set(target.execute(f"SELECT {keys} FROM ONLY {table}".encode()).fetchall()):  # noqa: S608 - quoted
            for _, dangling in referring:
                if _dangles(target, dangling):
                    raise psycopg.Rollback(replaced)
        return True
    return False


def _left_dangling(target: Connection, pairs: list[tuple[Kept, Kept | None]], tables: list[str]) -> list[Sentence]:
    """Return what to tell of tables whose rows others of these still refer to, though they are gone."""
    return [
        say(
            "{name} of {extension}: {words}",
            name=there.name,
            extension=there.extension,
            words=say("rows of the target refer to rows that are not on the source"),
        )
        for _, there in pairs
        if there and any(_dangles(target, text) for _, text in _referring(target, _table(there), tables, among=True))
    ]


def _referring(target: Connection, table: str, tables: list[str], *, among: bool) -> list[tuple[object, object]]:
    """Return the foreign keys that lead to a table, from `tables` or from all others: columns, and what asks."""
    rows = target.execute(query("extension_referring"), {"table": table, "tables": tables, "among": among}).fetchall()
    return [(columns, text) for columns, text in rows]


def _dangles(target: Connection, text: object) -> bool:
    return target.execute(str(text).encode()).fetchone() == (True,)


def _table(one: Kept) -> str:
    return qualified(one.schema, one.name)


def _listed(names: object) -> list[object]:
    return names if isinstance(names, list) else []


def _columns(connection: Connection, one: Kept) -> list[str]:
    rows = connection.execute(
        "SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s::pg_catalog.regclass AND a.attnum > 0"
        " AND NOT a.attisdropped AND coalesce(row_to_json(a) ->> 'attgenerated', '') = '' ORDER BY a.attnum",
        (_table(one),),
    ).fetchall()
    return [str(row[0]) for row in rows]


@durable("target.extension_rows")
def _set_sequence(source: Connection, target: Connection, here: Kept, there: Kept) -> None:
    asked = "SELECT last_value, is_called FROM " + _table(here)  # noqa: S608 - quoted
    row = source.execute(asked.encode()).fetchone()
    if row:
        name = literal(_table(there))
        target.execute(f"SELECT pg_catalog.setval({name}::pg_catalog.regclass, %s, %s)".encode(), tuple(row))
