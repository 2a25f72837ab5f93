"""Checks of tables and domains whose functions read other tables, as the archive's notes know them (see `late`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from .connect import Connection
from .newer_words import quoted
from .renaming import Renaming
from .sql import query
from .values import frozen

_OWNERS = {"check": "TABLE", "domain": "DOMAIN"}


@frozen
class LateCheck:
    """One check. `kind`: TABLE or DOMAIN; `owner`: the name of either; `definition` begins with CHECK.

    All under the target's names, but for `source_schema`. `oid`: that of the check on the source.
    """

    oid: int
    source_schema: str

    kind: str
    schema: str
    owner: str
    name: str
    definition: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What finds it on the target: no domain has the name of a table in its schema."""
        return (self.schema, self.owner, self.name)


def present_checks(connection: Connection, renaming: Renaming, checks: Sequence[LateCheck]) -> list[LateCheck]:
    """Return checks as the source has them now: without those that are gone, and under the names that they have now."""
    asked = {
        "oids": [one.oid for one in checks],
        "schemas": [one.source_schema for one in checks],
        "owners": [one.owner for one in checks],
        "names": [one.name for one in checks],
    }
    rows = connection.execute(query("late_checks_now"), asked).fetchall() if checks else []
    version = connection.info.server_version
    now = {int(str(oid)): (str(owner), str(name), quoted(str(text), version)) for oid, owner, name, text in rows}
    return [
        replace(one, owner=owner, name=name, definition=renaming.shown(definition))
        for one in checks
        if one.oid in now
        for owner, name, definition in (now[one.oid],)
    ]


def late_checks(rows: Iterable[Sequence[Any]], renaming: Renaming, version: int) -> tuple[LateCheck, ...]:
    """Return the checks among the rows of late_objects.sql, from a source of this version."""
    return tuple(
        LateCheck(
            oid=oid,
            source_schema=schema,
            kind=_OWNERS[kind],
            schema=renaming.schema(schema),
            owner=owner,
            name=name,
            definition=renaming.shown(quoted(definition, version) if version else definition),
        )
        for kind, _, oid, schema, owner, name, definition in rows
        if kind in _OWNERS
    )
