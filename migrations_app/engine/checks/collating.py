"""The item about versions of collations: the order of text is what indexes and partitions are built on."""

from __future__ import annotations

from ..names import quote
from ..plan import DatabasePlan, Side
from ..sql import query
from ..wording import count, listing, say
from .context import Context
from .registry import Finding, Group, item, lines, passed, warning

Versions = dict[tuple[str, str], tuple[str, str]]


def versions(context: Context, side: Side, database: str = "") -> Versions:
    """Return, by provider and locale, the version of a collation now and as it was recorded."""

    def read() -> Versions:
        rows = context.rows(side, "check_collation_versions", database)
        return {(str(a), str(b)): (str(c), str(d or c)) for a, b, c, d in rows}

    return context.remember(("collation versions", side, database), read)


@item(
    "collation-versions",
    "Order of text",
    Group.TARGET,
    "Both servers order text alike: their C library or ICU knows the collations in the same version.",
    per_database=True,
)
def collation_versions(context: Context, database: DatabasePlan) -> Finding:
    """Compare the versions of the collations that indexes of selected tables use, and name those indexes."""
    facts = context.source_database(database.source_name)
    own = (str(facts["provider"]), str(facts["locale"] or facts["collate"]))
    source, target = versions(context, Side.SOURCE, database.source_name), versions(context, Side.TARGET)
    chosen = {table.oid for table in context.tables(database.source_name)}
    stale: dict[str, tuple[str, str]] = {}
    apart: dict[str, tuple[str, str]] = {}
    for oid, name, _unique, provider, locale in _indexes(context, database.source_name):
        key = (provider, locale) if provider else own
        now, recorded = source.get(key, ("", ""))
        if oid not in chosen or not now:
            continue
        if recorded != now:
            stale[name] = (recorded, now)
        if key in target and target[key][0] != now:
            apart[name] = (now, target[key][0])
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
                names=listing(apart),
            ),
            say(
                "The target builds its indexes itself, so they are sound, but queries may return text in "
                "another order, and ranges of partitions by text may take in other rows. Test what "
                "depends on the order."
            ),
        )
    return passed(say("As far as the servers tell, both order text alike."))


def _indexes(context: Context, database: str) -> list[tuple[int, str, bool, str, str]]:
    rows = context.source(database).execute(query("check_text_indexes")).fetchall()
    return [(int(str(a)), str(b), bool(c), str(d), str(e)) for a, b, c, d, e in rows]


def _stale(database: DatabasePlan, stale: dict[str, tuple[str, str]]) -> Finding:
    recorded, now = next(iter(stale.values()))
    statements = [f"REINDEX INDEX {'.'.join(quote(part) for part in name.split('.', 1))};" for name in stale]
    return warning(
        say(
            "The source's library for text was changed ({recorded} to {now}) after {number} built: {names}.",
            recorded=recorded,
            now=now,
            number=count(len(stale), "{number} index was", "{number} indexes were"),
            names=listing(stale),
        ),
        say(
            "Unique indexes may have let duplicates in, which the target will refuse. Rebuild them "
            "in {source_name} and refresh the recorded version before the start.",
            source_name=database.source_name,
        ),
        lines([*statements, f"ALTER DATABASE {quote(database.source_name)} REFRESH COLLATION VERSION;"]),
    )
