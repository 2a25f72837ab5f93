"""The demo's shop for old versions: rewritten where an old form says the same, else left out, by name."""

# ruff: noqa: E501 - one rule, one type, one statement a line

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from migrations_app.demo import operations, shop, writer
from tests.matrix.torture import split
from tests.servers import Server, older

_FOLDER = Path(shop.__file__).with_name("sql")
_FILES = ("shop-1-tables.sql", "shop-2-rows.sql", "shop-3-keys.sql")
_LEAVES = ("orders_2024", "orders_2025_h1", "orders_2025_h2", '"orders, other years"')
_RANDOM_UUID = "md5(random()::text || clock_timestamp()::text)::uuid"
_MISSING = (psycopg.ProgrammingError, psycopg.NotSupportedError)


@dataclass(frozen=True)
class Rewriting:
    """An older form of what came with version `since`."""

    since: str
    what: str
    pattern: str
    older_form: str
    from_: str = "9.3"


_REWRITINGS = (
    Rewriting("15", "NULLS NOT DISTINCT", r" NULLS NOT DISTINCT", ""),
    Rewriting("14", "function bodies that the server has read", r"(?s)(LANGUAGE sql.*)\n\s+RETURN (.*)", r"\1 AS $old$ SELECT \2 $old$"),
    Rewriting("13", "gen_random_uuid()", r"gen_random_uuid\(\)", _RANDOM_UUID),
    Rewriting("12", "generated columns (plain ones instead)", r"(?m) GENERATED ALWAYS AS \(.*\) STORED", ""),
    Rewriting("11", "INCLUDE", r" INCLUDE \([^)]*\)", ""),
    Rewriting("11", "EXECUTE FUNCTION (PROCEDURE instead)", r"EXECUTE FUNCTION", "EXECUTE PROCEDURE"),
    Rewriting("11", "default partitions (a range instead)", r"(PARTITION sales.*) DEFAULT", r"\1 FOR VALUES FROM (MINVALUE) TO ('2024-01-01 00:00:00+00')"),
    Rewriting(
        "11",
        "keys of partitioned tables (of the partitions instead)",
        r"ALTER TABLE sales.orders ADD PRIMARY KEY \(id, placed_at\)",
        ";\n".join(f"ALTER TABLE sales.{leaf} ADD PRIMARY KEY (id, placed_at)" for leaf in _LEAVES),
        from_="10",
    ),
    Rewriting("11", "OLD in triggers of INSERT", r"to_jsonb\(OLD\), to_jsonb\(NEW\)", "NULL, NULL"),
    Rewriting("10", "identity columns (serial instead)", r"bigint GENERATED \w+( DEFAULT)? AS IDENTITY( \([^)]*\))?", "bigserial"),
    Rewriting("10", "identity columns (serial instead)", r"integer GENERATED \w+( DEFAULT)? AS IDENTITY( \([^)]*\))?", "serial"),
    Rewriting("10", "partitions (one plain table instead)", r"(?s)(CREATE TABLE sales.orders \(.*\)) PARTITION BY RANGE \(placed_at\)$", r"\1"),
    Rewriting("9.6", "slices without a lower bound", r"\[:5\]", "[1:5]"),
    Rewriting("9.6", "PARALLEL SAFE", r" PARALLEL SAFE", ""),
    Rewriting("9.5", "ON CONFLICT", r"\s+ON CONFLICT DO NOTHING", ""),
    Rewriting("9.4", "cardinality()", r"cardinality\(choices\)", "array_length(choices, 1)"),
    Rewriting("9.4", "jsonb (json instead)", r"\bjsonb\b", "json"),
)  # fmt: skip
_CATEGORIES = "ALTER SEQUENCE catalog.categories_id_seq INCREMENT BY 10 RESTART WITH 10"


def load(server: Server, database: str, scale: float) -> list[str]:
    """Fill an empty database with as much of the shop as the server knows. Returns what was changed or left out."""
    left_out: dict[str, None] = {}
    with server.connect(database) as connection:
        connection.execute("SET TimeZone = 'UTC'; SET client_encoding = 'UTF8'; SET search_path = ''")
        connection.execute("SELECT set_config('shop.scale', %s, false)", (str(scale),))
        for name in _FILES:
            for statement in split((_FOLDER / name).read_text()):
                if statement.startswith("COMMENT ON DATABASE"):
                    statement = statement.replace("DATABASE shop", f'DATABASE "{database}"')
                text, changed = older_form(statement, server.version)
                left_out.update(dict.fromkeys(changed))
                _run(connection, server, text, left_out)
                if "CREATE TABLE catalog.categories" in text and "serial" in text:
                    connection.execute(_CATEGORIES)
        connection.execute("ANALYZE")
    return list(left_out)


def older_form(statement: str, version: str) -> tuple[str, list[str]]:
    """Return a statement as this version can say it, and the names of what was rewritten."""
    changed = []
    for rule in _REWRITINGS:
        if older(version, rule.since) and not older(version, rule.from_):
            statement, number = re.subn(rule.pattern, rule.older_form, statement)
            if number:
                changed.append(rule.what)
    return statement, changed


def _run(connection: psycopg.Connection[Any], server: Server, text: str, left_out: dict[str, None]) -> None:
    try:
        connection.execute(text.encode())
    except psycopg.Error as error:
        if not older(server.version, "15"):
            raise
        left_out[f"{' '.join(text.split())[:90]} ({str(error).splitlines()[0]})"] = None


def writer_for(server: Server, database: str, seed: int) -> tuple[writer.Writer, list[str]]:
    """Return the application for this server, and the operations that it cannot do there.

    Each operation is tried once, and taken back. TRUNCATE is taken out before 11, which does not send it.
    """
    able, unable = [], []
    with server.connect(database) as connection:
        for operation in operations.operations():
            fit = _fit(operation, server.version)
            reason = _try(connection, fit)
            if reason:
                unable.append(f"operation {operation.name} ({reason})")
            else:
                able.append(fit)
    return _ShopWriter(server, database, seed, able), unable


def _fit(operation: operations.Operation, version: str) -> operations.Operation:
    statements = tuple(older_form(statement, version)[0] for statement in operation.statements)
    if older(version, "11"):
        statements = tuple(statement for statement in statements if not statement.startswith("TRUNCATE"))
        if operation.name == "staging cleared":
            statements = ("DELETE FROM warehouse.inbound_staging", *statements[-1:])
    return replace(operation, statements=statements)


def _try(connection: psycopg.Connection[Any], operation: operations.Operation) -> str:
    values = {"u": 0.5, "v": 0.25, "n": 4711, "word": "word", "blob": b"blob"}
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("SET LOCAL search_path = pg_catalog")
            for statement in operation.statements:
                used = {name: value for name, value in values.items() if f"%({name})s" in statement}
                connection.execute(statement.encode(), used)
    except _MISSING as error:
        return str(error).splitlines()[0]
    except psycopg.IntegrityError:  # of these values; others may do
        return ""
    return ""


class _ShopWriter(writer.Writer):
    def __init__(self, server: Server, database: str, seed: int, able: list[operations.Operation]) -> None:
        super().__init__(server.arguments(database), seed, rate=60)
        self._pool = [operation for operation in able for _ in range(operation.weight)]
