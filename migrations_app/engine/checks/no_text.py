"""Names and texts of the source that cannot be read in the encoding of a dump, which ends at the first of them."""

from __future__ import annotations

import psycopg

from ..connect import first_line
from ..names import literal
from ..plan import DatabasePlan
from ..sql import query
from ..values import frozen
from ..wording import count, listing, printable, say, verbatim
from .context import Context
from .registry import MOST_STATEMENTS, Finding, failed, lines

_NONE = "SQL_ASCII"
_RENAMED = {
    "schema": "ALTER SCHEMA %s RENAME TO %I', {oid}::regnamespace",
    "column": "ALTER TABLE %s RENAME %I TO %I', {oid}::regclass, {column}",
    **dict.fromkeys(
        ("table", "index", "sequence", "view", "materialized view"), "ALTER TABLE %s RENAME TO %I', {oid}::regclass"
    ),
}
_COLUMN = "(SELECT attname FROM pg_attribute WHERE attrelid = {oid} AND attnum = {sub})"


@frozen(kw_only=False)
class _Text:
    """A name, or an object with a text, of which `said` are the bytes."""

    kind: str
    label: bytes
    oid: int
    sub: int
    said: bytes

    @property
    def shown(self) -> str:
        return printable(f"{self.kind} {self.label.decode(errors='backslashreplace')}")

    @property
    def statement(self) -> str:
        """What gives a name that can be read, from a session of any encoding; else a comment that names the object."""
        if self.kind not in _RENAMED:
            return f"-- {self.shown}"
        column = _COLUMN.format(oid=self.oid, sub=self.sub)
        call = _RENAMED[self.kind].format(oid=self.oid, column=column)
        name = literal(self.said.decode("cp1252", errors="replace"))
        return f"DO $$BEGIN EXECUTE format('{call}, {name}); END$$;"


def no_text(context: Context, database: DatabasePlan, encoding: str) -> Finding | None:
    """Return what is found when no dump of this database can be read, for names of roles or of its own."""
    if encoding == "UTF8":
        return None
    return _role(context, database, encoding) or (_own(context, database) if encoding == _NONE else None)


def _role(context: Context, database: DatabasePlan, encoding: str) -> Finding | None:
    """Names of roles belong to the whole server, and each session reads them in the encoding of its database."""
    try:
        context.source(database.source_name).execute("SELECT rolname FROM pg_catalog.pg_roles")
    except (psycopg.errors.CharacterNotInRepertoire, psycopg.errors.UntranslatableCharacter) as error:
        context.control.check()
        return failed(
            say(
                "A role of the source has a name that does not exist in {encoding}, the encoding of {source_name}:"
                " {words}. Its schema cannot be read as long as there is one.",
                encoding=encoding,
                source_name=database.source_name,
                words=verbatim(first_line(error)),
            ),
            say("In a database whose encoding is UTF8, look for such names, and rename the roles."),
            "SELECT rolname FROM pg_roles WHERE rolname ~ '[^[:ascii:]]';",
        )
    return None


def _own(context: Context, database: DatabasePlan) -> Finding | None:
    rows = context.source(database.source_name).execute(query("check_not_utf8")).fetchall()
    texts = [
        _Text(str(kind), bytes.fromhex(str(label)), int(str(oid or 0)), int(str(sub)), bytes.fromhex(str(said)))
        for kind, label, oid, sub, said in rows
    ]
    strange = [one for one in texts if not _is_utf8(one.said)]
    if not strange:
        return None
    return failed(
        say(
            "{source_name} has no encoding (SQL_ASCII), and what {number} of it has as name, text or comment is no"
            " UTF-8: {names}. Its schema cannot be read as long as there is one.",
            source_name=database.source_name,
            number=count(len(strange), "{number} object", "{number} objects"),
            names=listing(one.shown for one in strange),
        ),
        say(
            "On the source, in this database, give them names that are UTF-8, and write functions, views, defaults and"
            " comments with such bytes anew. The SQL renames what it can; its names suppose that the bytes are"
            " Windows-1252, so correct them first. The application has to use the new names. Rows may keep their bytes."
        ),
        lines((one.statement for one in strange), MOST_STATEMENTS),
    )


def _is_utf8(said: bytes) -> bool:
    try:
        said.decode()
    except UnicodeDecodeError:
        return False
    return True
