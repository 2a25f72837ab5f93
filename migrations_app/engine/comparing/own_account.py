"""Leaves out of a comparison of structures what concerns only the account that the migration has on the source."""

from __future__ import annotations

from dataclasses import replace

from ..connect import Connection
from .structure import Compared, Difference

_ROLE = "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s"


def without_own_rights(target: Connection, account: str, compared: Compared) -> Compared:
    """Return what was compared without rights on the database that only `account` has, where the target lacks it.

    It was given them for the migration, and where the target has no role of this name no application can miss them.
    """
    told = tuple(one for one in compared.differences if not _of_account_alone(one, account))
    if len(told) == len(compared.differences) or target.execute(_ROLE, (account,)).fetchone():
        return compared
    return replace(compared, differences=told)


def _of_account_alone(one: Difference, account: str) -> bool:
    grants = one.source if one.thing.kind == "database" and one.part == "privileges" else ()
    return bool(grants) and all(grant[0] == account for grant in grants)
