"""Which locales a target knows, as far as it tells."""

from __future__ import annotations

from typing import Any

from ..plan import Side
from .context import Context


def plain(name: str) -> str:
    """Return a libc locale in the form in which its spellings meet: en_US.UTF-8 and en_US.utf8 are one."""
    return name.lower().replace("utf-8", "utf8").replace("posix", "c")


def target_collations(context: Context) -> list[tuple[str, str, str]]:
    """Return name, provider and locale of the target's collations."""

    def read() -> list[tuple[str, str, str]]:
        rows = context.target().execute(
            "SELECT collname::text, collprovider::text, coalesce(collcollate::text, '') FROM pg_catalog.pg_collation"
        )
        return [(str(name), str(provider), str(locale)) for name, provider, locale in rows.fetchall()]

    return context.remember("target collations", read)


def has_provider(context: Context, provider: str) -> bool:
    """Say whether the target was built with a provider: `unicode` is listed as an ICU collation even without ICU."""
    if provider == "b":
        return context.version(Side.TARGET) >= 170000
    return provider != "i" or any(entry[1] == "i" and entry[0] != "unicode" for entry in target_collations(context))


def knows_locale(context: Context, source: dict[str, Any]) -> bool:
    """Say whether the target knows the order of a source database; of a provider's own locales it says nothing."""
    if source["provider"] != "c":
        return has_provider(context, source["provider"])
    return knows_names(context, source)


def knows_names(context: Context, source: dict[str, Any]) -> bool:
    """Say whether the target's C library knows the names that a source database has there, whoever orders its text."""
    known = {plain(entry[2]) for entry in target_collations(context)}
    known |= {plain(entry["collate"]) for entry in context.databases(Side.TARGET).values()}
    return {plain(source["collate"]), plain(source["ctype"])} <= known | {"c", "c.utf8"}
