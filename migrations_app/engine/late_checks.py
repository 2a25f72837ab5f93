"""Checks of tables and domains whose functions read other tables, as the archive's notes know them (see `late`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .renaming import Renaming

_OWNERS = {"check": "TABLE", "domain": "DOMAIN"}


@dataclass(frozen=True, kw_only=True)
class LateCheck:
    """One check. `kind`: TABLE or DOMAIN; `owner`: the name of either; `definition` begins with CHECK.

    All under the target's names.
    """

    kind: str
    schema: str
    owner: str
    name: str
    definition: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What finds it on the target: no domain has the name of a table in its schema."""
        return (self.schema, self.owner, self.name)


def late_checks(rows: Iterable[Sequence[Any]], renaming: Renaming) -> tuple[LateCheck, ...]:
    """Return the checks among the rows of late_objects.sql."""
    return tuple(
        LateCheck(
            kind=_OWNERS[kind],
            schema=renaming.schema(schema),
            owner=owner,
            name=name,
            definition=renaming.shown(definition),
        )
        for kind, _, _, schema, owner, name, definition in rows
        if kind in _OWNERS
    )
