"""The statements that would bring what differs on the target to what it is on the source."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .archive import Archive
from .comparing.further import InTheWay
from .comparing.structure import Difference, Grant, may_be_secret
from .comparing.things import Thing
from .grants import in_order
from .names import literal, qualified, quote
from .owners import owner_text
from .toc import Entry

_GRANTED = {
    "table": "TABLE",
    "view": "TABLE",
    "materialized view": "TABLE",
    "foreign table": "TABLE",
    "column": "TABLE",
    "sequence": "SEQUENCE",
    "schema": "SCHEMA",
    "database": "DATABASE",
    "large object": "LARGE OBJECT",
    "language": "LANGUAGE",
    "foreign data wrapper": "FOREIGN DATA WRAPPER",
    "foreign server": "FOREIGN SERVER",
    "function": "FUNCTION",
    "aggregate": "FUNCTION",
    "procedure": "PROCEDURE",
    "enum": "TYPE",
    "domain": "TYPE",
    "composite type": "TYPE",
    "range type": "TYPE",
    "base type": "TYPE",
}
# Lists of names: each of them is a value of its own.
_LISTS = frozenset(
    {
        *("local_preload_libraries", "search_path", "session_preload_libraries"),
        *("shared_preload_libraries", "temp_tablespaces", "unix_socket_directories"),
    }
)
_LISTED = re.compile(r'\s*("(?:[^"]|"")*"|[^,"]*)\s*(?:,|$)')
_COUNTING = {
    "start": "START WITH",
    "increment": "INCREMENT BY",
    "minimum": "MINVALUE",
    "maximum": "MAXVALUE",
    "cache": "CACHE",
}
_LIMITS = ("minimum", "maximum")
_BY_TABLE = frozenset({"table", "view", "materialized view", "foreign table", "column"})
_GUARDS = frozenset({"row security", "policy"})
_STATES = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA", "D": "DISABLE"}


def mending_statement(one: Difference) -> str:
    """Return the SQL that makes a part on the target what it is on the source; '' when none is known.

    A thing that is the database, or belongs to it as a whole, must know how that is called on the target.
    """
    thing = one.thing
    if thing.kind == "database" and one.part not in ("privileges", "rights taken"):
        return _database(one)
    if thing.kind in _OF_DATABASE:
        return _OF_DATABASE[thing.kind](thing)
    if one.part == "privileges":
        return _grants(thing, one.source or (), one.target or ())
    if one.part == "rights taken":
        return _own_rights(thing, one.source or (), one.target or ())
    if one.part == "option names":
        role, _, server = thing.name.rpartition(" on ")
        added = ", ".join(f"ADD {quote(name)} '…'" for name in one.source)
        return f"ALTER USER MAPPING FOR {role} SERVER {server} OPTIONS ({added});"
    table = "ALTER TABLE " + qualified(thing.schema, thing.table)
    if one.what == "not validated on the target":
        return f"{table} VALIDATE CONSTRAINT {quote(thing.name)};"
    if one.part == "enabled":
        return _state(table, one)
    if one.part == "replica identity":
        return f"{table} REPLICA IDENTITY {one.source};"
    if thing.kind == "column":
        return _column(table, thing, one)
    return _of_others(table, one)


def making_room(one: Difference, statement: str) -> str:
    """Return the statement that makes what is missing, after one that drops what stands in its place.

    '' where something else needs what stands there: the server would refuse both.
    """
    thing, other = one.thing, one.target
    if not isinstance(other, InTheWay):
        return statement
    if other.is_needed:
        return ""
    if other.kind == "index":
        return f"DROP INDEX {qualified(thing.schema, other.name)};\n{statement}"
    return f"ALTER TABLE {qualified(thing.schema, thing.table)} DROP CONSTRAINT {quote(other.name)};\n{statement}"


def _renamed(table: str, one: Difference) -> str:
    """Return what gives a key, a check or an index of the target the name that it has on the source."""
    there, name = str(one.target), quote(one.thing.name)
    if one.thing.kind == "index":
        return f"ALTER INDEX {qualified(one.thing.schema, there)} RENAME TO {name};"
    return f"{table} RENAME CONSTRAINT {quote(there)} TO {name};"


def _guard(table: str, one: Difference) -> str:
    if one.part == "forced":
        return f"{table} {'FORCE' if one.source else 'NO FORCE'} ROW LEVEL SECURITY;"
    if one.thing.kind == "policy":
        return f"DROP POLICY {quote(one.thing.name)} ON {qualified(one.thing.schema, one.thing.table)};"
    return f"{table} DISABLE ROW LEVEL SECURITY;"


def _of_others(table: str, one: Difference) -> str:
    thing = one.thing
    if thing.kind in _GUARDS and one.part in ("forced", "further"):
        return _guard(table, one)
    if thing.kind in ("constraint", "index") and not one.part and isinstance(one.target, str):
        return _renamed(table, one)
    if one.part == "comment":
        return _comment(one)
    if thing.kind == "sequence":
        return _sequence(thing, one)
    if thing.kind == "function" and one.part == "leakproof":
        return f"ALTER FUNCTION {quote(thing.schema)}.{thing.name} {'' if one.source else 'NOT '}LEAKPROOF;"
    if thing.kind == "materialized view" and one.part == "filled":
        return f"REFRESH MATERIALIZED VIEW {qualified(thing.schema, thing.table)};"
    return ""


def _database(one: Difference) -> str:
    name, text = quote(one.thing.name), one.source
    if one.part == "comment":
        return f"COMMENT ON DATABASE {name} IS {literal(str(text)) if text is not None else 'NULL'};"
    if one.part == "connection limit":
        return f"ALTER DATABASE {name} CONNECTION LIMIT {-1 if text is None else int(text)};"
    return ""  # nothing changes an encoding or a locale


def _state(table: str, one: Difference) -> str:
    name, state = quote(one.thing.name), _STATES.get(str(one.source), "ENABLE")
    of_table = f"{table} {state} {one.thing.kind.upper()} {name};"
    return of_table if one.thing.table else f"ALTER EVENT TRIGGER {name} {state};"


def _comment(one: Difference) -> str:
    """Return the statement for what no archive holds the comment of: extensions, and triggers and checks that tables
    have from the one above."""
    thing = one.thing
    if thing.kind not in ("extension", "trigger", "constraint"):
        return ""
    place = f" ON {qualified(thing.schema, thing.table)}" if thing.table else ""
    text = "NULL" if one.source is None else literal(str(one.source))
    return f"COMMENT ON {thing.kind.upper()} {quote(thing.name)}{place} IS {text};"


def _setting(thing: Thing) -> str:
    values = {name: str(value) for name, value in thing.values.items()}
    where = "ALTER DATABASE" if "role" not in values else f"ALTER ROLE {quote(values['role'])} IN DATABASE"
    value = literal(values["value"])
    if may_be_secret(thing):
        value = "'…'"
    elif values["setting"] in _LISTS:
        names = (found[1] for found in _LISTED.finditer(values["value"]) if found[0].strip())
        value = ", ".join(literal(_unquoted(name.strip())) for name in names) or "''"
    return f"{where} {quote(values['database'])} SET {quote(values['setting'])} TO {value};"


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _label(thing: Thing) -> str:
    provider, named, label = (str(thing.values[part]) for part in ("provider", "object", "label"))
    if named == "DATABASE":
        named += " " + quote(str(thing.values["database"]))
    return f"SECURITY LABEL FOR {quote(provider)} ON {named} IS {literal(label)};"


_OF_DATABASE = {"database setting": _setting, "security label": _label}


def _column(table: str, thing: Thing, one: Difference) -> str:
    column = f"{table} ALTER COLUMN {quote(thing.name)}"
    if one.part == "default":
        return f"{column} SET DEFAULT {one.source};" if one.source else f"{column} DROP DEFAULT;"
    if one.part == "not null" and (one.source is None or one.target is None):
        return f"{column} {'SET' if one.source else 'DROP'} NOT NULL;"
    if one.part == "identity" and one.source and one.target:
        return f"{column} SET GENERATED {str(one.source).upper()};"
    return ""


def _sequence(thing: Thing, one: Difference) -> str:
    sequence = f"ALTER SEQUENCE {qualified(thing.schema, thing.name)}"
    if one.part == "cycle":
        return f"{sequence} {'CYCLE' if one.source else 'NO CYCLE'};"
    if one.part == "type":  # a limit that is the old type's own would become that of the new one
        limits = (f" {_COUNTING[part]} {thing.values[part]}" for part in _LIMITS if part in thing.values)
        return f"{sequence} AS {one.source}{''.join(limits)};"
    if one.part not in _COUNTING:
        return ""
    # The limits of one type may be none of another.
    kind = f"AS {thing.values['type']} " if one.part in _LIMITS and "type" in thing.values else ""
    return f"{sequence} {kind}{_COUNTING[one.part]} {int(one.source)};"


def _grants(thing: Thing, missing: Iterable[Grant], more: Iterable[Grant]) -> str:
    if not (on := _granted_on(thing)):
        return ""
    statements = []
    for grantee, privilege, grantable, grantor in in_order(missing):
        option = " WITH GRANT OPTION" if grantable else ""
        statements.append(_as(grantor, f"GRANT {privilege}{on} TO {_role(grantee)}{option};"))
    for grantee, privilege, _grantable, grantor in in_order(more)[::-1]:
        statements.append(_as(grantor, f"REVOKE {privilege}{on} FROM {_role(grantee)};"))
    return "\n".join(statements)


def _own_rights(thing: Thing, kept: Iterable[str], gone: Iterable[str]) -> str:
    """Return what takes rights from the owner as he has done it on the source, or gives them back."""
    on, owner = _granted_on(thing), quote(str(thing.values.get("owner", "")))
    taken = [f"REVOKE {privilege}{on} FROM {owner};" for privilege in kept]
    return "\n".join([*taken, *(f"GRANT {privilege}{on} TO {owner};" for privilege in gone)]) if on else ""


def _as(grantor: str, statement: str) -> str:
    if not grantor:
        return statement
    return f"SET SESSION AUTHORIZATION {quote(grantor)};\n{statement}\nRESET SESSION AUTHORIZATION;"


def _granted_on(thing: Thing) -> str:
    """Return how a grant names what it is about; '' for what this is not known of."""
    kind = _GRANTED.get(thing.kind)
    if kind is None:
        return ""
    if thing.kind in _BY_TABLE:
        name = qualified(thing.schema, thing.table)
    elif kind in ("FUNCTION", "PROCEDURE"):
        name = f"{quote(thing.schema)}.{thing.name}"  # the server has quoted the name, and written the arguments
    elif thing.kind == "schema":
        name = quote(thing.schema)
    elif thing.kind == "large object":
        name = thing.name
    else:
        name = qualified(thing.schema, thing.name) if thing.schema else quote(thing.name)
    columns = f" ({quote(thing.name)})" if thing.kind == "column" else ""
    return f"{columns} ON {kind} {name}"


def _role(name: str) -> str:
    return quote(name) if name else "PUBLIC"


def owner_statement(one: Difference, entry: Entry | None) -> str:
    """Return the SQL that gives an object the owner that it has on the source; '' when the object is not known."""
    if one.thing.kind == "database":
        return f"ALTER DATABASE {quote(one.thing.name)} OWNER TO {quote(str(one.source))};"
    known = entry is not None and entry.owner and (entry.drop or entry.type == "SCHEMA")
    return owner_text(entry).decode(errors="replace") if entry and known else ""


def comment_entry(archive: Archive, thing: Thing, entry: Entry | None) -> Entry | None:
    """Return the entry of the archive that comments on a thing."""
    if entry is None:
        return None
    column = f".{quote(thing.name)}" if thing.kind == "column" else ""
    plain = f".{thing.name}" if thing.kind == "column" else ""
    for comment in archive.of_type("COMMENT"):
        of_column = comment.tag.startswith("COLUMN ")
        mine = entry.dump_id in comment.depends_on and of_column == bool(column)
        if mine and (not column or comment.tag.endswith((column, plain))):
            return comment
    return None
