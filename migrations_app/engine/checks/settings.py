"""The offer to write a setting of the source, which several items make."""

from __future__ import annotations

from dataclasses import replace

from ..plan import Side
from ..wording import say
from .context import Context
from .registry import Finding


def set_by_us(context: Context, finding: Finding, name: str, value: object) -> Finding:
    """Offer to write the setting, where our account may; one that is written already only waits for its restart."""
    # What a server was started with beats its files for good: those that say otherwise are no change that waits.
    waits = (
        "SELECT pg_catalog.row_to_json(s) ->> 'pending_restart' FROM pg_catalog.pg_settings s"
        " WHERE name = %s AND source <> 'command line'"
    )
    if finding.needs_restart and context.one(Side.SOURCE, waits, parameters=(name,)) == "true":
        hint = say(
            "A change of {name} is written and waits for a restart of the source. Restart it, then check again.",
            name=name,
        )
        return replace(finding, hint=hint)
    if not context.may_configure():
        return finding
    before = context.setting(Side.SOURCE, name)
    return finding.fixed_by("settings", settings=[[name, str(value), before]], restart=finding.needs_restart)
