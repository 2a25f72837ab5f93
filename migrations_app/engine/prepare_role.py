"""The script that makes a source's account, or gives the account of a task what it lacks. Pure."""

from __future__ import annotations

from .catalog import Table
from .names import literal, qualified, quote
from .owners import MEMBERSHIPS_SAY_SINCE, joining
from .plan import Plan
from .prepare_needs import large_object_grants
from .selection import Selection
from .source_facts import SMALL, DatabaseFacts, SourceFacts
from .values import frozen

PLACEHOLDER = "choose one"
ORDINARY_ROLE = "an_ordinary_role"
"""Stands for a role that the reader chooses."""
_MOST_TABLES = 50


@frozen
class Block:
    """SQL to run in one database ('' = any)."""

    database: str
    sql: str


def for_psql(block: Block) -> str:
    """Return a block as a part of a script for psql."""
    if not block.database:
        return block.sql
    if block.database.isprintable():
        return f"\\connect {quote(block.database)}\n{block.sql}"
    # A line break in the name would end the command there, and psql would run the rest of the name.
    inside = "\n".join(f"-- {line}" for line in block.sql.splitlines())
    return f"-- Connect to {one_line(block.database)} by hand and run there, without the dashes:\n{inside}"


def role_script(plan: Plan, facts: SourceFacts) -> list[Block]:
    """Return the SQL that makes the account or gives it what it lacks, one block for each database where it runs."""
    # A superuser needs no script; what is shown then is the small account that could take its place.
    exists = not facts.failure and not facts.superuser
    name = SMALL if facts.superuser else plan.source.user
    account = quote(name)
    has = {name, *(facts.usable if exists else ())}
    owners = _owners(facts) if plan.incremental else {}
    mighty = {owner: words for owner, words in owners.items() if owner in facts.superusers - has}
    owners = {owner: words for owner, words in owners.items() if owner not in mighty}
    lacking = {owner: words for owner, words in owners.items() if owner not in has}
    heirless = exists and bool(lacking) and not facts.inherits
    first = [*_password_hash(facts, exists=exists), *_account(plan, facts, account, exists=exists, heirless=heirless)]
    for owner, words in lacking.items():
        said = facts.version if exists and (heirless or owner in facts.joined) else 0
        first += [f"{grant}  -- owns {words}" for grant in joining([owner], name, said, inheriting=True)]
    for owner, words in mighty.items():
        first.append(f"-- {one_line(owner)} is a superuser and owns {words}: see the lines for these databases.")
        first.append(commented(f"GRANT {quote(owner)} TO {account};") + "  -- its members could become superuser")
    rights = "CONNECT, CREATE" if plan.incremental else "CONNECT"
    first += [f"GRANT {rights} ON DATABASE {quote(database.name)} TO {account};" for database in facts.databases]
    unknown = [database.name for database in facts.databases if database.unknown]
    if unknown and plan.incremental:
        named = ", ".join(one_line(name) for name in unknown)
        first.append(f"-- and for each role that owns tables in {named}: GRANT that_role TO {account};")
    blocks = [Block(database="", sql="\n".join(first))]
    for database in facts.databases:
        handed = [handed_over(table) for table in database.tables if table.owner in mighty]
        if grants := _inside(plan, database, account, frozenset(owners)) + _some(handed):
            blocks.append(Block(database=database.name, sql="\n".join(grants)))
    return blocks


def handed_over(table: Table) -> str:
    """Return the line that gives a superuser's table to an ordinary role: which one is the reader's to say."""
    return commented(f"ALTER TABLE {qualified(table.schema, table.name)} OWNER TO {ORDINARY_ROLE};")


def commented(line: str) -> str:
    """Return a line that does nothing, and cannot end before its end."""
    return f"-- {one_line(line)}"


def _some(comments: list[str]) -> list[str]:
    more = [f"-- and {len(comments) - _MOST_TABLES} more"] if len(comments) > _MOST_TABLES else []
    return [*comments[:_MOST_TABLES], *more]


def _password_hash(facts: SourceFacts, *, exists: bool) -> list[str]:
    now = facts.settings.get("password_encryption")
    old = now is not None and now.shown != "scram-sha-256" and facts.version >= 100000
    return ["SET password_encryption = 'scram-sha-256';"] if old and not exists else []


def _account(plan: Plan, facts: SourceFacts, account: str, *, exists: bool, heirless: bool) -> list[str]:
    everything = [table for database in facts.databases for table in database.tables]
    hidden = any(table.row_security for table in everything) and not plan.incremental
    wanted = ["REPLICATION"] if plan.incremental and facts.vendor != "rds" else []
    wanted += ["BYPASSRLS"] if hidden or any(database.forced_row_security for database in facts.databases) else []
    # From 16 on each membership says it for itself.
    wanted += ["INHERIT"] if heirless and facts.version < MEMBERSHIPS_SAY_SINCE else []
    lines = []
    if not exists:
        lines.append(" ".join([f"CREATE ROLE {account} LOGIN", *wanted, f"PASSWORD {literal(PLACEHOLDER)};"]))
    elif missing := [word for word in wanted if word != "REPLICATION" or not facts.replication]:
        lines.append(f"ALTER ROLE {account} {' '.join(missing)};")
    if plan.incremental and facts.vendor == "rds":
        lines.append(f"GRANT rds_replication TO {account};")
    return lines


def _owners(facts: SourceFacts) -> dict[str, str]:
    """Return who owns selected tables, with words about what."""
    found: dict[str, dict[str, int]] = {}
    for database in facts.databases:
        for table in database.tables:
            counts = found.setdefault(table.owner, {})
            counts[database.name] = counts.get(database.name, 0) + 1
    return {
        owner: ", ".join(f"{number} selected in {one_line(name)}" for name, number in counts.items())
        for owner, counts in sorted(found.items())
    }


def one_line(name: str) -> str:
    """Return a name that cannot end the line on which it stands."""
    return "".join(char if char.isprintable() else "?" for char in name)


def _inside(plan: Plan, database: DatabaseFacts, account: str, owners: frozenset[str]) -> list[str]:
    """Return the grants inside one database that membership in the owners does not bring."""
    if database.unknown:
        return []
    grants = [
        f"GRANT USAGE ON SCHEMA {quote(schema)} TO {account};"
        for schema, owner, everybody in database.schemas
        if not everybody and owner not in owners
    ]
    grants += large_object_grants(database, account)
    if not plan.incremental:
        return [*grants, *_reading(plan.selection, database, account)]
    grants += [
        f"GRANT SELECT ON SEQUENCE {qualified(schema, name)} TO {account};"
        for schema, name, owner in database.sequences
        if owner not in owners
    ]
    return grants


def _reading(selection: Selection, database: DatabaseFacts, account: str) -> list[str]:
    grants = []
    for schema, _owner, _everybody in database.schemas:
        if selection.state(database.name, schema) == "all":
            grants += [
                f"GRANT SELECT ON ALL {kind} IN SCHEMA {quote(schema)} TO {account};"
                for kind in ("TABLES", "SEQUENCES")
            ]
            continue
        grants += [
            f"GRANT SELECT ON TABLE {qualified(schema, table.name)} TO {account};"
            for table in database.tables
            if table.schema == schema
        ]
        grants += [
            f"GRANT SELECT ON SEQUENCE {qualified(schema, name)} TO {account};"
            for place, name, _ in database.sequences
            if place == schema
        ]
    return grants
