"""What to write into a source's configuration, and which account to make there, before it can be migrated.

Pure: from the facts of one server and one selection to lines that can be copied. Nothing is sent to a server.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from .names import literal, quote
from .plan import Plan, TlsMode
from .prepare_needs import wanted_locks
from .prepare_role import Block, for_psql, one_line, role_script
from .source_facts import SMALL, Setting, SourceFacts
from .values import frozen
from .vendors import WORDS
from .versions import can_decode, has_publications, knows_alter_system, version_words
from .wording import Sentence, as_data, how, listing, say, template

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_SPECIAL = frozenset({"all", "sameuser", "samerole", "samegroup", "replication"})
_MOST_NAMES = 12
_BEFORE_10 = say(
    "max_replication_slots and max_wal_senders are 0 by default, passwords are md5, and pg_hba.conf wants a line for"
    " the database `replication` as well. Changes are read through test_decoding, which comes with the server's package"
    " postgresql-contrib: no library has to be copied. TRUNCATE is noted by a trigger on each selected table while the"
    " task runs."
)
_SLOTS_WANTED = template("{needed} free slots for this task: one per database and one for comparisons.")
_SENDERS_WANTED = template("{needed} free senders for this task: one per database and one for comparisons.")
_MINUTE_MS, _DAY_MINUTES = 60_000, 24 * 60


@frozen
class Line:
    """One setting: what it is, what it should be, and what makes it so."""

    name: str
    now: str
    wanted: str
    why: Sentence
    ok: bool
    restart: bool
    waits: bool = False  # written already, but the server has not been restarted since


@frozen
class Preparation:
    """Everything that the page shows. `as_json` is what is stored."""

    version: str
    account: str
    reached: bool
    failure: Sentence
    failure_hint: Sentence
    address: str
    address_seen: bool
    tls: str
    vendor: str
    vendor_words: tuple[Sentence, ...]
    settings: tuple[Line, ...]
    conf: str
    alter: str  # '' where only an editor can
    config_file: str
    hba: str
    hba_file: str
    hba_both: bool  # the second line, for the word replication, is needed as well
    hba_known_to_work: bool
    role: tuple[Block, ...]
    role_needed: bool
    notes: tuple[Sentence, ...]
    restart: bool

    def as_json(self) -> dict[str, Any]:
        """Return the values as plain lists, dictionaries and words, and in `words` what the texts were made from."""
        words = as_data(failure=self.failure, failure_hint=self.failure_hint)
        words |= {
            "notes": [how(text) for text in self.notes],
            "vendor_words": [how(text) for text in self.vendor_words],
        }
        settings = [{**asdict(line), "words": as_data(why=line.why)} for line in self.settings]
        return {**asdict(self), "settings": settings, "script": self.script, "words": words}

    @property
    def script(self) -> str:
        """The role script for psql, from database to database."""
        return "\n".join(for_psql(block) for block in self.role)


def prepare(plan: Plan, facts: SourceFacts) -> Preparation:
    """Return the lines for this server and this selection. Raises nothing."""
    followed = plan.incremental and (can_decode(facts.version) or not facts.version)
    settings = (*(_settings(plan, facts) if followed else ()), *_locks(facts))
    changed = [line for line in settings if not line.ok and not line.waits]
    vendor = WORDS.get(facts.vendor)
    server = facts.settings
    by_sql = changed if knows_alter_system(facts.version) or not facts.version else []
    return Preparation(
        version=version_words(facts.version) if facts.version else "",
        account=plan.source.user,
        reached=not facts.failure,
        failure=facts.failure,
        failure_hint=facts.hint,
        address=facts.address,
        address_seen=facts.address_seen,
        tls=facts.tls,
        vendor=vendor[0] if vendor else "",
        vendor_words=vendor[1:] if vendor else (),
        settings=settings,
        conf="\n".join(f"{line.name} = {_conf_value(line.wanted)}" for line in changed),
        alter="\n".join(f"ALTER SYSTEM SET {line.name} = {literal(line.wanted)};" for line in by_sql),
        config_file=server["config_file"].shown if "config_file" in server else "",
        hba=access_lines(plan, facts),
        hba_file=server["hba_file"].shown if "hba_file" in server else "",
        hba_both=0 < facts.version < 100000,
        hba_known_to_work=not facts.failure
        and not facts.replication_refused
        and not any(database.unknown for database in facts.databases),
        role=tuple(role_script(plan, facts)),
        role_needed=not facts.superuser,
        notes=tuple(_notes(plan, facts)),
        restart=any(line.restart and not line.ok for line in settings),
    )


def _conf_value(value: str) -> str:
    return value if value.lstrip("-").isdigit() or value == "logical" else literal(value)


def _settings(plan: Plan, facts: SourceFacts) -> list[Line]:
    needed = len(plan.databases) + 1
    lines = [
        _word(facts, "wal_level", "logical", say("The WAL must hold what logical decoding needs.")),
        _room(facts, "max_replication_slots", facts.slots_used, needed, _SLOTS_WANTED),
        _room(facts, "max_wal_senders", facts.senders_used, needed, _SENDERS_WANTED),
    ]
    if facts.version >= 130000:
        lines.append(_kept_wal(facts))
    timeout = facts.settings.get("wal_sender_timeout")
    if timeout and timeout.number is not None and 0 < timeout.number < _MINUTE_MS // 6:
        why = say("A short stall of the network would cut the sync.")
        lines.append(_line("wal_sender_timeout", timeout, "60s", why, ok=False))
    idle = facts.settings.get("idle_replication_slot_timeout")
    if idle and idle.number is not None and 0 < idle.number < _DAY_MINUTES * 60:
        why = say("A copy or a pause longer than that would lose the slot.")
        lines.append(_line("idle_replication_slot_timeout", idle, "0", why, ok=False))
    return lines


def _locks(facts: SourceFacts) -> list[Line]:
    wanted = wanted_locks(facts)
    if wanted is None:
        return []
    why = say("Reading the structure locks every selected table of a database at once.")
    now = facts.settings.get("max_locks_per_transaction")
    return [_line("max_locks_per_transaction", now, str(wanted), why, ok=False, restart=True)]


def _line(name: str, now: Setting | None, wanted: str, why: Sentence, *, ok: bool, restart: bool = False) -> Line:
    return Line(
        name=name,
        now=now.shown if now else "",
        wanted=wanted,
        why=why,
        ok=ok,
        restart=restart,
        waits=bool(now and now.pending_restart),
    )


def _word(facts: SourceFacts, name: str, wanted: str, why: Sentence) -> Line:
    now = facts.settings.get(name)
    return _line(name, now, wanted, why, ok=bool(now and now.shown == wanted), restart=True)


def _room(facts: SourceFacts, name: str, used: int, needed: int, unknown: str) -> Line:
    now = facts.settings.get(name)
    have = now.number if now and now.number is not None else None
    wanted = max(have or 0, used + needed) if have is not None else max(10, needed)
    known = template("{used} in use; this task needs {needed}: one per database and one for comparisons.")
    why = say(unknown if have is None else known, used=used, needed=needed)
    return _line(name, now, str(wanted), why, ok=have is not None and have >= used + needed, restart=True)


def _kept_wal(facts: SourceFacts) -> Line:
    now = facts.settings.get("max_slot_wal_keep_size")
    limit = now.number if now and now.number is not None else -1
    size = sum(table.bytes for database in facts.databases for table in database.tables) >> 20
    wanted = max(size, 1024) * 2
    if limit < 0:
        why = say(
            "No limit: a task can always go on. Watch the source's disk while it runs, or set a limit that it can hold."
        )
        return _line("max_slot_wal_keep_size", now, now.shown if now else "-1", why, ok=True)
    why = say("WAL beyond the limit is dropped, and a task that still needs it has to start again.")
    ok = limit >= wanted // 2
    return _line("max_slot_wal_keep_size", now, now.shown if ok and now else f"{wanted}MB", why, ok=ok)


def access_lines(plan: Plan, facts: SourceFacts) -> str:
    """Return the lines of pg_hba.conf that let the workers in, for logical replication too."""
    server = plan.source
    names = list(dict.fromkeys([server.database, *(database.source_name for database in plan.databases)]))
    unwritable = len(names) > _MOST_NAMES or not all(name.isprintable() for name in names)
    databases = "all" if unwritable else ",".join(hba_name(name) for name in names)
    encrypted = bool(facts.tls) or server.tls not in (TlsMode.DISABLE, TlsMode.PREFER)
    address = one_address(facts.address or "192.0.2.10")
    # The password of an account that is there, or may be, can be kept as md5, whatever the server makes of new ones:
    # `md5` lets in both that and one kept as SCRAM. The script makes the small account where it is missing, with SCRAM
    # where there is that.
    as_scram = {SMALL: facts.small_scram and not 0 < facts.version < 100000, server.user: facts.scram}
    kind = "hostssl" if encrypted else "host"
    rows = [("# type", "database", "account", "address", "method")]
    for account in dict.fromkeys([server.user, *([SMALL] if facts.superuser else [])]):
        method = "scram-sha-256" if as_scram[account] else "md5"
        rows.append((kind, databases, hba_name(account), address, method))
        if 0 < facts.version < 100000:
            rows.append((kind, "replication", hba_name(account), address, method))
    widths = [max(len(row[place]) for row in rows) for place in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def one_address(address: str) -> str:
    """Return the range that holds this numeric address alone."""
    return f"{address}/{128 if ':' in address else 32}"


def hba_name(name: str) -> str:
    """Return the name of a database or an account as pg_hba.conf wants it."""
    return name if _PLAIN.fullmatch(name) and name not in _SPECIAL else quote(one_line(name))


def _notes(plan: Plan, facts: SourceFacts) -> list[Sentence]:
    notes = []
    if plan.incremental and not has_publications(facts.version):
        notes += _old_notes(facts.version)
    if facts.superuser:
        notes.append(
            say(
                "{user} is a superuser, which is enough. The script makes a smaller account, named towpath, that could"
                " take its place, and pg_hba.conf lets it in.",
                user=plan.source.user,
            )
        )
    owned = sorted({t.owner for d in facts.databases for t in d.tables if t.owner in facts.superusers})
    if owned and plan.incremental:
        notes.append(
            say(
                "Selected tables belong to the superuser {names}. A member of that role can become superuser: give the"
                " tables to an ordinary role first, of which the account is a member. The script holds the lines as"
                " comments.",
                names=listing(owned),
            )
        )
    if facts.failure:
        notes.append(say("If the account is there already, leave out CREATE ROLE and run only the other lines."))
    unknown = [database for database in facts.databases if database.unknown]
    if unknown:
        notes.append(
            say(
                "Who owns the tables of {names} is not known yet: {why}. Run what is here, then look again: the script"
                " may grow by a GRANT for each owner.",
                names=listing(database.name for database in unknown),
                why=unknown[0].unknown,
            )
        )
    if facts.replication_refused:
        notes.append(say("A replication login does not work yet: {words}", words=facts.replication_refused))
    if not plan.incremental and wanted_locks(facts) is None:
        notes.append(
            say("This task has no incremental sync, so no setting of the server has to change and nothing restarts.")
        )
    return notes


def _old_notes(version: int) -> list[Sentence]:
    if not version:
        return [say("If the source is PostgreSQL 9.4 to 9.6: {words}", words=_BEFORE_10)]
    words = version_words(version)
    if not can_decode(version):
        return [
            say(
                "PostgreSQL {version} knows no logical decoding: it can be copied with the application stopped, without"
                " incremental sync. Upgrading it to 9.4 or later (pg_upgrade) would make incremental sync possible.",
                version=words,
            )
        ]
    return [say("PostgreSQL {version}: {words}", version=words, words=_BEFORE_10)]
