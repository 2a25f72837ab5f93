"""The replica identity that a table of the source had before a task changed it."""

from __future__ import annotations

from .names import quote
from .ports import LedgerItem


def identity_was(item: LedgerItem) -> str:
    """Return what stands behind REPLICA IDENTITY for a ledger item of that kind; '' when it does not say."""
    if (was := item.detail.get("was")) == "i":
        return "USING INDEX " + quote(str(item.detail.get("index", "")))
    return {"d": "DEFAULT", "n": "NOTHING", "f": "FULL"}.get(str(was), "")
