"""The torture database: one of each kind of object, name, type and encoding that this PostgreSQL knows.

What an old version does not know is left out as a whole piece, by name.
"""

# ruff: noqa: E501 - one rule, one type, one statement a line

from __future__ import annotations

import random
import re
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import errors

from tests.servers import Server, older

ROLES = ("torture_owner", 'torture "reader')
_FILE = Path(__file__).with_name("torture.sql")
_HEADING = re.compile(r"^-- piece: (?P<name>[^;\n]+)(?P<notes>[^\n]*)\n", re.MULTILINE)
_TOKEN = re.compile(
    r"\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|'[^']*'|\"[^\"]*\"|--[^\n]*\n|BEGIN ATOMIC.*?\bEND(?=;)|(?P<end>;)|\$|-|[^;'\"$\-B]+|B",
    re.DOTALL,
)
_CONFLICTS = (errors.IntegrityError, errors.TransactionRollback, errors.LockNotAvailable)

_NAMES = (
    '"', "'", "`", "\\", "%s", "%(x)s", "{}", "--", "/*", ";DROP TABLE x", "$$", "a\nb", "a\rb", "a\tb", "-x", ".", "..",
    "a/b", "  ", "\N{PILE OF POO}", "\N{HEBREW LETTER ALEF}\N{HEBREW LETTER BET}", "e\N{COMBINING ACUTE ACCENT}",
    "n" * 63, "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 31, "select", "NULL", "T", "t", "<script>alert(1)</script>",
    "=cmd()", "host=127.0.0.1 dbname=x", "postgresql://u@h/d", "$(id)", "a.b", '"a"."b"', "towpath", "x" * 60 + "_1",
    "x" * 60 + "_2", "public", "pg_temp", "\\gexec", "\u2028", "a,b", "(", "COPY", "\x01", "\x7f",
)  # fmt: skip

_LONG = "1" + "0" * 131071
# name, first version, type, values
_TYPES: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("smallint", "9.3", "smallint", ("-32768", "32767", "0")),
    ("integer", "9.3", "integer", ("-2147483648", "2147483647", "0")),
    ("bigint", "9.3", "bigint", ("-9223372036854775808", "9223372036854775807")),
    ("real", "9.3", "real", ("NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4028235e38", "0.1")),
    ("double", "9.3", "double precision", ("NaN", "Infinity", "-0", "5e-324", "1.7976931348623157e308", "0.1", "1e23")),
    ("numeric", "9.3", "numeric", ("NaN", "0.00", "-0.000", _LONG, "0." + "0" * 1000 + "1", "0." + "1" * 500, "100", "1e2")),
    ("numeric(10,3)", "9.3", "numeric(10,3)", ("NaN", "1.5", "-9999999.999")),
    ("infinite numeric", "14", "numeric", ("Infinity", "-Infinity")),
    ("negative scale", "15", "numeric(3,-2)", ("12345", "-99900")),
    ("money", "9.3", "money", ("-92233720368547758.08", "0.01", "1234567.89")),
    ("oid", "9.3", "oid", ("0", "4294967295")),
    ("regtype", "9.3", "regtype", ("integer", "text[]")),
    ("regclass", "9.3", "regclass", ("pg_catalog.pg_class", "-")),
    ("regproc", "9.3", "regproc", ("pg_catalog.now", "-")),
    ("regprocedure", "9.3", "regprocedure", ("pg_catalog.abs(integer)", "-")),
    ("regoper", "9.3", "regoper", ("0",)),
    ("regoperator", "9.3", "regoperator", ("pg_catalog.+(integer,integer)", "0")),
    ("regconfig", "9.3", "regconfig", ("pg_catalog.english", "-")),
    ("regdictionary", "9.3", "regdictionary", ("pg_catalog.simple", "-")),
    ("regnamespace", "9.5", "regnamespace", ("pg_catalog", "-")),
    ("regrole", "9.5", "regrole", ("torture_owner", "-")),
    ("regcollation", "13", "regcollation", ('pg_catalog."C"', "-")),
    ("aclitem", "9.3", "aclitem", ("torture_owner=r/torture_owner", "=/torture_owner")),
    ("refcursor", "9.3", "refcursor", ("c", "")),
    ("cid", "9.3", "cid", ("4294967295", "0")),
    ("tid", "9.3", "tid", ("(4294967295,65535)", "(0,1)")),
    ("xid", "9.3", "xid", ("4294967295", "1")),
    ("xid8", "13", "xid8", ("18446744073709551615", "1")),
    ("pg_lsn", "9.4", "pg_lsn", ("0/0", "FFFFFFFF/FFFFFFFF")),
    ("pg_snapshot", "13", "pg_snapshot", ("10:20:10,14,15",)),
    ("txid_snapshot", "9.3", "txid_snapshot", ("10:20:10,14,15",)),
    ("boolean", "9.3", "boolean", ("t", "f")),
    ("text", "9.3", "text", ("", " ", "\\N", "\\", "a\tb\nc\r\vd\fe\b", "NULL", "'\"", "\x01\x7f", "日本語 \U0001f418", "x" * 100000)),
    ("char(5)", "9.3", "char(5)", ("a", "a  b ", "", "üüüüü")),
    ("varchar(5)", "9.3", "varchar(5)", ("a  ", "", "ÄÖÜ  ")),
    ("char", "9.3", '"char"', ("a", "\\", "")),
    ("name", "9.3", "name", ("x" * 63, "")),
    ("bytea", "9.3", "bytea", ("", "\\x00ff0a0d5c", "\\x" + "00" * 100000)),
    ("bit(9)", "9.3", "bit(9)", ("000000001", "111111111")),
    ("varbit", "9.3", "bit varying", ("", "1", "0" * 1000)),
    ("date", "9.3", "date", ("4713-01-01 BC", "5874897-12-31", "infinity", "-infinity", "2024-03-04")),
    ("timestamp", "9.3", "timestamp", ("4713-01-01 BC", "294276-12-31 23:59:59.999999", "-infinity", "2024-02-29 24:00")),
    ("timestamptz", "9.3", "timestamptz", ("4713-01-02 BC", "294276-12-31 00:00+00", "infinity", "2024-03-31 02:30 Europe/Berlin")),
    ("timestamp(2)", "9.3", "timestamptz(2)", ("2024-01-01 00:00:00.129+00",)),
    ("time", "9.3", "time", ("24:00:00", "00:00:00.000001", "23:59:60")),
    ("timetz", "9.3", "timetz", ("24:00:00+15:59", "00:00:00-15:59:59")),
    ("interval", "9.3", "interval", ("-1 year 2 mons -3 days 04:05:06.7", "178000000 years", "-00:00:01", "0")),
    ("interval day", "9.3", "interval day to second(1)", ("1 day 02:03:04.56",)),
    ("json", "9.3", "json", ('{"b": 1,  "a": 2, "b": 3}', "1e400", '"\\u0000"', " [ ] ", "null")),
    ("jsonb", "9.4", "jsonb", ('{"b": 1, "a": 2, "b": 3}', "1.10", "null", '{"": [1, "\\u00e4", {"x": null}]}', "[" * 2000 + "]" * 2000)),
    ("deep jsonb", "13", "jsonb", ("[" * 10000 + "]" * 10000, '{"a":' * 5000 + "1" + "}" * 5000)),
    ("jsonpath", "12", "jsonpath", ('$.a[*] ? (@.b > 1 && @."c d" == "x")', "strict $.**{2 to last}")),
    ("xml", "9.3", "xml", ("<a b='1'>&lt;<!-- c --><![CDATA[d]]></a>", "text<b/>", '<?xml version="1.0" standalone="yes"?><x/>')),
    # Servers leave the encoding that a value declares out of what they send, to pg_dump too: there is none to arrive.
    ("xml document", "10", "xml", ('<?xml version="1.1"?><x>\u00e4</x>', '<!DOCTYPE a [<!ELEMENT a (#PCDATA)>]><a>t</a>')),
    ("uuid", "9.3", "uuid", ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff")),
    ("inet", "9.3", "inet", ("10.0.0.1/8", "::ffff:1.2.3.4/96", "0.0.0.0/0")),
    ("cidr", "9.3", "cidr", ("10.0.0.0/8", "2001:db8::/32")),
    ("macaddr", "9.3", "macaddr", ("08:00:2b:01:02:03",)),
    ("macaddr8", "10", "macaddr8", ("08:00:2b:01:02:03:04:05",)),
    ("tsvector", "9.3", "tsvector", ("'it''s':1A,3B 'a\\\\b':2", "")),
    ("tsquery", "9.3", "tsquery", ("'it''s':*A & !( a | b )",)),
    ("phrase", "9.6", "tsquery", ("a <-> b <3> c",)),
    ("point", "9.3", "point", ("(0.1,-0)", "(NaN,Infinity)", "(1e-300,1e300)")),
    ("line", "9.4", "line", ("{1,-1,0.1}",)),
    ("lseg", "9.3", "lseg", ("[(0,0),(1.1,2)]",)),
    ("box", "9.3", "box", ("(1,2),(0.1,0.2)",)),
    ("path", "9.3", "path", ("[(0,0),(1,1)]", "((0,0),(1,1),(2,0))")),
    ("polygon", "9.3", "polygon", ("((0,0),(1,1),(2,0))",)),
    ("circle", "9.3", "circle", ("<(0.1,0.2),3>",)),
    ("int4range", "9.3", "int4range", ("empty", "[1,5)", "(,)", "[7,7]")),
    ("numrange", "9.3", "numrange", ("(1.10,]", "[-0.0,5.0]")),
    ("int8range", "9.3", "int8range", ("empty", "[-9223372036854775808,9223372036854775807)", "(,5)")),
    ("tsrange", "9.3", "tsrange", ("[2024-01-01 00:00,infinity]", "empty", "(,2024-01-01 00:00)")),
    ("daterange", "9.3", "daterange", ("[2024-01-01,infinity]", "(,2024-01-01)")),
    ("tstzrange", "9.3", "tstzrange", ("[2024-01-01 00:00+00,infinity)", "empty")),
    ("multirange", "14", "nummultirange", ("{}", "{[1,2),[3.5,]}")),
    ("int4multirange", "14", "int4multirange", ("{}", "{[1,3),[5,)}")),
    ("int8multirange", "14", "int8multirange", ("{}", "{(,-5),[7,9223372036854775807)}")),
    ("datemultirange", "14", "datemultirange", ("{}", "{[2024-01-01,2024-01-02),[2024-02-01,infinity]}")),
    ("tstzmultirange", "14", "tstzmultirange", ('{["2024-01-01 00:00:00+00",infinity]}',)),
    ("tsmultirange", "14", "tsmultirange", ('{["2024-01-01 00:00:00","2024-01-02 00:00:00")}',)),
    ("int[]", "9.3", "int[]", ("{}", "{1,NULL,3}", "[-1:1]={1,2,3}", "{{{{{{1}}}}}}")),
    ("text[]", "9.3", "text[]", ('{"NULL",NULL,"\\"","{}",""," ","\\\\"}', "{{a,b},{c,NULL}}")),
    ("float8[]", "9.3", "float8[]", ("{NaN,-0,5e-324,Infinity}",)),
    ("timestamptz[]", "9.3", "timestamptz[]", ("{infinity,NULL,0099-01-01 BC}",)),
    ("bytea[]", "9.3", "bytea[]", ('{"\\\\x00","",NULL}',)),
    ("json[]", "9.3", "json[]", ('{"{\\"a\\" :  1}"}',)),
    ("int4range[]", "9.3", "int4range[]", ('{"[1,3)",empty,NULL}',)),
    ("int2vector", "9.3", "int2vector", ("1 2 3",)),
    ("oidvector", "9.3", "oidvector", ("1 2 3",)),
    ("hstore", "9.3", "public.hstore", ('"a"=>NULL, "b c"=>"\\"", ""=>""', "")),
    ("citext", "9.3", "public.citext", ("MixedCase", "mixedcase")),
    ("ltree", "9.3", "public.ltree", ("Top.Science.Astronomy", "")),
    ("cube", "9.3", "public.cube", ("(1,2),(3,4)", "(0.1)")),
    ("seg", "9.3", "public.seg", ("1.5 .. 2.50", "~7")),
    ("isbn", "9.3", "public.isbn", ("978-0-393-04002-9",)),
)  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """Some objects, and what the application does with them."""

    name: str
    statements: tuple[str, ...]
    changes: tuple[str, ...] = ()
    first: str = "9.3"
    alone: bool = False


def pieces() -> tuple[Piece, ...]:
    """Return everything there is, whatever version may know it."""
    return (*_of_types(), *_of_names(), *_of_the_file())


def load(server: Server, database: str) -> tuple[list[Piece], list[str]]:
    """Fill an empty database with all pieces that the server knows. Returns them, and the names of the others."""
    with server.connect(database) as connection:
        left_out = [f"{one.name} (from {one.first})" for one in pieces() if older(server.version, one.first)]
        return list(fill(connection, server.version)), left_out


def fill(connection: psycopg.Connection[Any], version: str, without: Collection[str] = ()) -> Iterator[Piece]:
    """Make each piece that a version knows, but not those of these names, and yield it once it stands."""
    for piece in pieces():
        if older(version, piece.first) or piece.name in without:
            continue
        for statement in piece.statements:
            if "REPLICA IDENTITY" in statement and older(version, "9.4"):
                continue
            try:
                connection.execute(statement.encode())
            except psycopg.Error as error:
                raise AssertionError(f"{piece.name}: {error}\n{statement[:300]}") from error
        yield piece


def split(text: str) -> tuple[str, ...]:
    """Cut SQL at its semicolons, except those inside of quotes and bodies."""
    found, current = [], ""
    for token in _TOKEN.finditer(text):
        if token["end"]:
            found.append(current.strip())
            current = ""
        elif not token[0].startswith("--"):
            current += token[0]
    return tuple(statement for statement in (*found, current.strip()) if statement)


def _of_the_file() -> Iterator[Piece]:
    _, *parts = _HEADING.split(_FILE.read_text())
    for name, notes, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        objects, _, changes = text.partition("-- changes\n")
        first = re.search(r"; from ([\d.]+)", notes)
        yield Piece(name, split(objects), split(changes), first[1] if first else "9.3", "; alone" in notes)


def _of_types() -> Iterator[Piece]:
    for extension in ("hstore", "citext", "ltree", "cube", "seg", "isn"):
        yield Piece(f"D11 extension {extension}", (f"CREATE EXTENSION {extension} WITH SCHEMA public",))
    yield Piece("D8-D12 schema of types", ("CREATE SCHEMA types",))
    for name, first, kind, values in _TYPES:
        table = f'types."{name}"'
        rows = ", ".join(f"({number}, '{_doubled(value)}')" for number, value in enumerate(values, 1))
        yield Piece(
            f"D8-D12 type {name}",
            (
                f"CREATE TABLE {table} (id bigint PRIMARY KEY, v {kind}, n int)",
                f"INSERT INTO {table} (id, v) VALUES {rows}, (0, NULL)",
            ),
            (
                f"INSERT INTO {table} SELECT 1000 * %(i)s + id, v, %(i)s FROM {table} WHERE id <= {len(values)}",
                f"UPDATE {table} SET v = (SELECT v FROM {table} WHERE id = %(r)s %% {len(values) + 1}) WHERE id = 1000 * %(i)s + 1",
                f"UPDATE {table} SET n = -1 WHERE id = %(r)s %% {len(values) + 1}",
                f"DELETE FROM {table} WHERE id > 1000 AND id < 1000 * (%(i)s - 2)",
            ),
            first,
        )


def _of_names() -> Iterator[Piece]:
    yield Piece(
        "D1 D2 kinds of names",
        ("CREATE FUNCTION public.named() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",),
    )
    for number, name in enumerate(_NAMES):
        quoted = '"' + name.replace('"', '""') + '"'
        literal = "E'" + _doubled(name).replace("\\", "\\\\") + "'"
        schema = f"odd{number}" if name in ("public", "pg_temp", "towpath") else quoted
        table = f"{schema}.{quoted}"
        kind = f'"kind {number}"'
        sequence = '"s ' + quoted[1:] if len(name.encode()) < 60 else f'"sequence {number}"'
        yield Piece(
            f"D1 D2 name {ascii(name)[:40]}",
            (
                f"CREATE SCHEMA {schema}",
                f"CREATE TYPE {schema}.{kind} AS ENUM ({literal}, 'other')",
                f"CREATE SEQUENCE {schema}.{sequence}",
                f"CREATE TABLE {table} (id int CONSTRAINT {quoted} CHECK (id > 0), {quoted} text, e {schema}.{kind})",
                f'ALTER TABLE {table} ADD CONSTRAINT "key {number}" PRIMARY KEY (id), ALTER {quoted} SET DEFAULT {literal}',
                f"CREATE INDEX \"{number} i\" ON {table} ({quoted}, (lower({quoted}))) WHERE {quoted} <> ''",
                f"CREATE TRIGGER {quoted} BEFORE INSERT ON {table} FOR EACH ROW EXECUTE PROCEDURE public.named()",
                f"CREATE FUNCTION {schema}.{quoted}({quoted} text) RETURNS text LANGUAGE sql AS $odd$ SELECT {literal}::text $odd$",
                f'CREATE VIEW {schema}."view {number}" AS SELECT {quoted} AS {quoted}, e FROM {table}',
                f"COMMENT ON COLUMN {table}.{quoted} IS {literal}",
                f"GRANT SELECT ({quoted}) ON {table} TO torture_owner",
                f"INSERT INTO {table} VALUES (1, {literal}, {literal}), (2, NULL, 'other')",
            ),
            tuple(
                statement.replace("%", "%%").replace("<i>", "%(i)s")
                for statement in (
                    f"INSERT INTO {table} VALUES (<i> + 2, {literal} || <i>, {literal})",
                    f"UPDATE {table} SET {quoted} = {quoted} || 'x', e = {literal} WHERE id = 2",
                    f"DELETE FROM {table} WHERE id = <i> AND id > 2",
                )
            ),
        )


def _doubled(value: str) -> str:
    return value.replace("'", "''")


@dataclass
class Change:
    """What the writer did: committed transactions, conflicts with the own ones, and what must not be."""

    committed: int = 0
    conflicts: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


class Writer:
    """Changes every piece in turn, in an order that depends on `seed` alone, until stopped after a whole round."""

    def __init__(self, server: Server, database: str, known: list[Piece], seed: int) -> None:
        self._arguments = server.arguments(database)
        self._pieces = [piece for piece in known if piece.changes]
        self._random = random.Random(seed)  # noqa: S311 - sample data
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="torture", daemon=True)
        self.rounds = 0
        self.done = Change()

    def start(self) -> Writer:
        """Begin to write in a thread. Returns itself."""
        self._thread.start()
        return self

    def stop(self) -> Change:
        """Finish the round and stop. Returns what was done."""
        self._stopping.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "the torture's writer hangs"
        return self.done

    def _run(self) -> None:
        number = 0
        with psycopg.connect(**self._arguments, autocommit=True) as connection:
            connection.execute("SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'")
            while not self._stopping.is_set():
                for piece in self._random.sample(self._pieces, len(self._pieces)):
                    number += 1
                    self._change(connection, piece, {"i": number, "r": self._random.randrange(1000)})
                    self._stopping.wait(0.01)
                self.rounds += 1

    def _change(self, connection: psycopg.Connection[Any], piece: Piece, values: dict[str, int]) -> None:
        try:
            for statement in piece.changes if piece.alone else ("BEGIN", *piece.changes, "COMMIT"):
                # Written into the text: in a statement of several parameters the server could not tell their types.
                connection.execute((statement % values).encode())
            self.done.committed += 1
        except _CONFLICTS as error:
            self.done.conflicts[f"{piece.name}: {error.sqlstate}"] += 1
            connection.execute("ROLLBACK")
        except psycopg.Error as error:
            self.done.errors.append(f"{piece.name}: {error.sqlstate} {error}")
            if connection.closed:
                return
            connection.execute("ROLLBACK")
