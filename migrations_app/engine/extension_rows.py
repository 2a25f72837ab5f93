"""Rows that users have made in the tables of extensions, such as systems of coordinates.

An extension names its tables of that kind, and says which rows are the users'. The others come with the extension.
"""

from __future__ import annotations

import psycopg

from .connect import Connection, first_line, translate
from .failpoints import durable
from .names import literal, qualified, quote
from .outcome import Run
from .plan import DatabasePlan, Side
from .sql import query
from .target_objects import some
from .values import frozen
from .vendors import OWN_WAYS
from .wording import count, say

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
    refused = []
    for here, there in pairs:
        run.ports.control.check()
        if there is None:
            refused.append(
                say("{name} of {extension}: missing on the target", name=here.name, extension=here.extension)
            )
            continue
        try:
            if here.kind == "S":
                _set_sequence(source, target, here, there)
            else:
                _copy_table(source, target, here, there)
        except psycopg.Error as error:
            if source.closed or target.closed:
                raise
            refused.append(
                say(
                    "{name} of {extension}: {words}",
                    name=here.name,
                    extension=here.extension,
                    words=f"{first_line(error)} ({error.sqlstate})",
                )
            )
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


@durable("target.extension_rows")
def _copy_table(source: Connection, target: Connection, here: Kept, there: Kept) -> None:
    columns = ", ".join(quote(name) for name in _columns(source, here))
    reading = f"COPY (SELECT {columns} FROM ONLY {qualified(here.schema, here.name)} {here.condition}) TO STDOUT"  # noqa: S608 - the extension's own condition, read where it came from
    table = qualified(there.schema, there.name)
    with target.transaction():
        target.execute(f"DELETE FROM ONLY {table} {there.condition}".encode())  # noqa: S608 - the same, of the target
        with (
            source.cursor().copy(reading.encode()) as out,
            target.cursor().copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as into,
        ):
            for data in out:
                into.write(data)


def _columns(connection: Connection, one: Kept) -> list[str]:
    rows = connection.execute(
        "SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s::pg_catalog.regclass AND a.attnum > 0"
        " AND NOT a.attisdropped AND coalesce(row_to_json(a) ->> 'attgenerated', '') = '' ORDER BY a.attnum",
        (qualified(one.schema, one.name),),
    ).fetchall()
    return [str(row[0]) for row in rows]


@durable("target.extension_rows")
def _set_sequence(source: Connection, target: Connection, here: Kept, there: Kept) -> None:
    asked = "SELECT last_value, is_called FROM " + qualified(here.schema, here.name)  # noqa: S608 - quoted
    row = source.execute(asked.encode()).fetchone()
    if row:
        name = literal(qualified(there.schema, there.name))
        target.execute(f"SELECT pg_catalog.setval({name}::pg_catalog.regclass, %s, %s)".encode(), tuple(row))
