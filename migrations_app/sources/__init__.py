"""The five source types and two target types: which fields each has, and how its fields lead to an address.

The resource directory behind the lists has two providers: rows of our own (`local`), and a cloud's API (`tencent`).
"""

from __future__ import annotations

from .directory import Resolved, Vanished, directory_of, look_up, resolve
from .entries import Entry, InventoryError, Problem
from .hosts import why_no_host
from .kinds import DIRECTORY_FIELDS, KINDS_OF, LISTS, ListOf, fields_of
from .local import PROVIDER as OWN
from .local import Change, Plan, missing_parents, plan_import
from .tencent import NETWORK_CODES, Found, ProviderError, Tencent
from .verify import Choice, Judgement, advice, is_elsewhere, judge

__all__ = [
    "DIRECTORY_FIELDS",
    "KINDS_OF",
    "LISTS",
    "NETWORK_CODES",
    "OWN",
    "Change",
    "Choice",
    "Entry",
    "Found",
    "InventoryError",
    "Judgement",
    "ListOf",
    "Plan",
    "Problem",
    "ProviderError",
    "Resolved",
    "Tencent",
    "Vanished",
    "advice",
    "directory_of",
    "fields_of",
    "is_elsewhere",
    "judge",
    "look_up",
    "missing_parents",
    "plan_import",
    "resolve",
    "why_no_host",
]
