"""The item about versions of collations: the order of text is what indexes and partitions are built on."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from ..names import quote
from ..plan import DatabasePlan, Side
from ..sql import query
from ..values import frozen
from ..wording import count, listing, say
from .context import Context
from .locales import plain
from .registry import MOST_STATEMENTS, Finding, Group, item, lines, passed, warning

_RECORDED_WITH_DATABASES_SINCE = 150000
_OWN = (
    "SELECT pg_catalog.pg_database_collation_actual_version(oid), datcollversion FROM pg_catalog.pg_database"
    " WHERE datname = pg_catalog.current_database()"
)
Key = tuple[str, str]
"""Provider and locale of a collation."""


@frozen
class Version:
    """In which version a library brings a collation now, in which one it was recorded, and what records it anew."""

    now: str
    recorded: str
    refresh: str = ""


def versions(context: Context, side: Side, database: str = "") -> dict[Key, Version]:
    """Return the versions of the collations that a server knows."""

    def read() -> dict[Key, Version]:
        rows = context.rows(side, "check_collation_versions", database)
        known: dict[Key, Version] = {}
        for provider, locale, now, recorded, refresh in rows:
            one = Version(now=str(now), recorded=str(recorded or now), refresh=str(refresh))
            key = _key(str(provider), str(locale))
            known[key] = _both(known[key], one) if key in known else one
        return known

    return context.remember(("collation versions", side, database), read)


def _both(first: Version, second: Version) -> Version:
    """Return what is known of a locale under two spellings: what is out of date in one of them is."""
    stale = [one for one in (first, second) if one.recorded != one.now]
    refresh = "\n".join(one.refresh for one in stale if one.refresh)
    return replace(stale[0], refresh=refresh) if stale else first


def _key(provider: str, locale: str) -> Key:
    return provider, plain(locale) if provider == "c" else locale


def _own_version(context: Context, database: str, known: Version | None) -> Version | None:
    """Return the version of a source database's own order, which the database itself records from 15 on."""
    if context.version(Side.SOURCE) < _RECORDED_WITH_DATABASES_SINCE:
        return known
    row = context.source(database).execute(_OWN).fetchone()
    if row is None or row[0] is None:
        return None
    now, refresh = str(row[0]), f"ALTER DATABASE {quote(database)} REFRESH COLLATION VERSION;"
    return Version(now=now, recorded=str(row[1] or now), refresh=refresh)


@item(
    "collation-versions",
    "Order of text",
    Group.TARGET,
    "Both servers order text alike: their C library or ICU knows the collations in the same version.",
    per_database=True,
)
def collation_versions(context: Context, database: DatabasePlan) -> Finding:
    """Compare the versions of the collations that indexes of selected tables use, and name those indexes."""
    name = database.source_name
    facts = context.source_database(name)
    own = _key(str(facts["provider"]), str(facts["locale"] or facts["collate"]))
    source, target = versions(context, Side.SOURCE, name), versions(context, Side.TARGET)
    of_database = _own_version(context, name, source.get(own))
    chosen = {table.oid for table in context.tables(name)}
    stale: dict[_Index, list[Version]] = defaultdict(list)
    apart: dict[_Index, tuple[str, str]] = {}
    for oid, index, provider, locale in _indexes(context, name):
        key = _key(provider, locale) if provider else own
        version = source.get(key) if provider else of_database
        if oid not in chosen or version is None:
            continue
        if version.recorded != version.now:
            stale[index].append(version)
        if key in target and target[key].now != version.now:
            apart[index] = (version.now, target[key].now)
    if stale:
        return _stale(database, stale)
    if apart:
        first, second = next(iter(apart.values()))
        return warning(
            say(
                "Text is ordered by version {first} on the source and {second} on the target. {number} "
                "of text columns: {names}.",
                first=first,
                second=second,
                number=count(len(apart), "{number} index", "{number} indexes"),
                names=listing(index.words for index in apart),
            ),
            say(
                "The target builds its indexes itself, so they are sound, but queries may return text in "
                "another order, and ranges of partitions by text may take in other rows. Test what "
                "depends on the order."
            ),
        )
    return passed(say("As far as the servers tell, both order text alike."))


@frozen
class _Index:
    words: str
    sql: str


def _indexes(context: Context, database: str) -> list[tuple[int, _Index, str, str]]:
    rows = context.source(database).execute(query("check_text_indexes")).fetchall()
    return [(int(str(a)), _Index(words=str(b), sql=str(c)), str(d), str(e)) for a, b, c, d, e in rows]


def _stale(database: DatabasePlan, stale: dict[_Index, list[Version]]) -> Finding:
    versions_of = [version for found in stale.values() for version in found]
    first = versions_of[0]
    statements = [f"REINDEX INDEX {index.sql};" for index in stale]
    refreshes = dict.fromkeys(line for version in versions_of for line in version.refresh.splitlines())
    return warning(
        say(
            "The source's library for text was changed ({recorded} to {now}) after {number} built: {names}.",
            recorded=first.recorded,
            now=first.now,
            number=count(len(stale), "{number} index was", "{number} indexes were"),
            names=listing(index.words for index in stale),
        ),
        say(
            "Unique indexes may have let duplicates in, which the target will refuse. Rebuild them "
            "in {source_name} and refresh the recorded version before the start.",
            source_name=database.source_name,
        ),
        lines([*statements, *refreshes], MOST_STATEMENTS),
    )
