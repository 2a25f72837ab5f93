"""How a target database is made like the source's, and what it can be where the target lacks the source's locale."""

from __future__ import annotations

from typing import Any

from ..plan import DatabasePlan, Side
from ..values import frozen
from .context import Context
from .locales import knows_locale, plain, unknown_name
from .pool import Unavailable

_PROVIDERS_SINCE, _RULES_SINCE = 150000, 160000
_OPTIONS = ("encoding", "collate", "ctype", "provider", "locale", "rules")


@frozen
class Like:
    """What `fixes.create_database` is told for a database like the source's.

    `lacking`: the locale that the target seems not to know, '' when it knows it; `instead` are the options without it,
    in the order in which the start comes to them.
    """

    options: dict[str, Any]
    lacking: str = ""
    instead: dict[str, Any] | None = None


def like_source(context: Context, database: DatabasePlan) -> Like | None:
    """Return how to make the target database like the source's; None while the source cannot be looked at.

    Raises Unavailable when the target cannot be looked at.
    """
    try:
        source = context.source_database(database.source_name)
    except Unavailable:
        return None
    options = {name: source[name] for name in _OPTIONS}
    version = context.version(Side.TARGET)
    if version < _PROVIDERS_SINCE:
        options["provider"] = ""  # servers before know only libc, and have no word for it
    if version < _RULES_SINCE:
        options["rules"] = ""
    by_libc = options["provider"] in ("", "c")
    if not by_libc and not knows_locale(context, source):
        return Like(options=options, lacking=str(source["locale"]), instead=_own(context, options))
    lacking = unknown_name(context, source)
    if not lacking:
        return Like(options=options)
    return Like(options=options, lacking=lacking, instead=_own(context, options) if by_libc else _bytewise(options))


def _bytewise(options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "collate": "C", "ctype": "C"}


def _own(context: Context, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options for the locale of the target's own template, or for C where that does not fit the encoding."""
    bare = {**options, "provider": "", "locale": "", "rules": ""}
    template = context.databases(Side.TARGET).get("template0")
    if template and (template["encoding"] == options["encoding"] or plain(str(template["ctype"])) == "c"):
        return {**bare, "collate": "", "ctype": ""}
    kept = "c" if context.version(Side.TARGET) >= _PROVIDERS_SINCE else ""
    return {**_bytewise(bare), "provider": kept}
