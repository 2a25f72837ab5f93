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
    return not unknown_name(context, source)


def unknown_name(context: Context, source: dict[str, Any]) -> str:
    """Return a name that a source database has in the C library, whoever orders its text, and that the target's seems
    not to know; '' when it knows both."""
    known = {plain(entry[2]) for entry in target_collations(context)}
    known |= {plain(entry["collate"]) for entry in context.databases(Side.TARGET).values()} | {"c", "c.utf8"}
    return next((str(name) for name in (source["collate"], source["ctype"]) if plain(str(name)) not in known), "")
