"""User mappings of the target: what they sign in with at other servers.

They are restored without secrets. These are set right afterwards: those that the source account may see, and those that
an operator gave. A ledger item tells which options were set, never what they hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import psycopg

from .archive import Archive
from .causes import cause_of, refusal
from .connect import Connection, first_line, translate
from .failpoints import durable
from .names import literal, quote
from .outcome import Run
from .plan import DatabasePlan, GivenPassword, Side
from .ports import Kind, LedgerItem
from .secret_options import hidden_options
from .target_objects import some
from .toc import Entry
from .values import frozen
from .wording import count, say

PUBLIC = "public"
"""The role of a mapping for everybody; no role can have this name."""
_NAME = r'"(?:[^"]|"")+"|[^\s";]+'
_MAPPING = re.compile(rf"CREATE USER MAPPING FOR ({_NAME}) SERVER ({_NAME})")
_ALREADY_SET = "42710"
# Servers log statements as they are told to; these hold passwords in clear. Only a superuser may keep them out.
_UNLOGGED = (
    b"SELECT pg_catalog.set_config(s.name, s.value, true) FROM (VALUES ('log_statement', 'none'),"
    b" ('log_min_error_statement', 'panic'), ('log_min_duration_statement', '-1')) s(name, value)"
    b" WHERE (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)"
)


@frozen
class Mapping:
    """Whom a user mapping is for, and at which server."""

    role: str
    server: str
    title: str
    """How the comparison of structures and messages call it: quoted as servers do."""

    def alter(self, verb: str, name: str, value: str) -> str:
        """Return the statement that adds or sets one option; `value` is a literal."""
        role = "PUBLIC" if self.role == PUBLIC else quote(self.role)
        return f"ALTER USER MAPPING FOR {role} SERVER {quote(self.server)} OPTIONS ({verb} {name} {value});"


def mapping_of(entry: Entry) -> Mapping | None:
    """Return what an entry of the archive makes, None when it is no user mapping."""
    found = _MAPPING.match(entry.definition.decode(errors="replace")) if entry.type == "USER MAPPING" else None
    if found is None:
        return None
    role = _plain(found[1])
    title = f"{'PUBLIC' if role == PUBLIC else found[1]} on {found[2]}"
    return Mapping(role=role, server=_plain(found[2]), title=title)


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def fill_mappings(run: Run, database: DatabasePlan, archive: Archive) -> None:
    """Set what the restored mappings sign in with. Only those that this task made; what is refused is told and noted.

    Raises EngineError when the target is lost.
    """
    ours = _ours(run, database)
    entries = [(entry, ours[entry.tag]) for entry in archive.of_type("USER MAPPING") if entry.tag in ours]
    if not entries:
        return
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        filled = []
        for entry, item in entries:
            mapping = mapping_of(entry)
            if mapping is None:
                continue
            given = _given(run, database, mapping)
            options = dict(hidden_options(entry.definition)) | _options(given)
            words = _set(run, connection, mapping, options)
            if words is not None:
                _warn(run, mapping, words)
                options, given = {}, None
            filled += [mapping.title] if options else []
            _remember(run, item, mapping, options, given, words or "")
    _tell(run, database, filled)


def fill_late(run: Run, database: DatabasePlan) -> None:
    """Set what was given after the mappings had been made, or once more. Raises as `fill_mappings`."""
    waiting = []
    for item in _ours(run, database).values():
        if "server" not in item.detail:
            continue
        role, server, title = (str(item.detail[name]) for name in ("role", "server", "title"))
        mapping = Mapping(role=role, server=server, title=title)
        given = _given(run, database, mapping)
        if given is not None and given.mark != item.detail.get("given"):
            waiting.append((item, mapping, given))
    if not waiting:
        return
    filled = []
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        for item, mapping, given in waiting:
            options = _options(given)
            words = _set(run, connection, mapping, options)
            if words is None:
                filled.append(mapping.title)
                before = dict.fromkeys(item.detail.get("options", ()), "")
                _remember(run, item, mapping, before | options, given, "")
            else:
                _warn(run, mapping, words)
                _remember(run, item, mapping, {}, None, words)
    _tell(run, database, filled)


def _ours(run: Run, database: DatabasePlan) -> dict[str, LedgerItem]:
    """Return the mappings that this task made, by the names of their entries."""
    items = run.ports.ledger.items(Side.TARGET, database.target_name, {Kind.OBJECT})
    return {str(item.detail.get("tag", item.name)): item for item in items if item.detail.get("type") == "USER MAPPING"}


def mapping_words(items: Iterable[LedgerItem]) -> dict[str, str]:
    """Return what the target said when it refused what mappings sign in with, by their titles."""
    return {str(one.detail["title"]): str(one.detail["refused"]) for one in items if one.detail.get("refused")}


def _given(run: Run, database: DatabasePlan, mapping: Mapping) -> GivenPassword | None:
    place = (database.source_name, mapping.role, mapping.server)
    return next((one for one in run.plan.passwords if (one.database, one.role, one.server) == place), None)


def _options(given: GivenPassword | None) -> dict[str, str]:
    """Return the options that were given, as literals by quoted name."""
    if given is None:
        return {}
    values = {"user": given.user, "password": given.password}
    return {quote(name): literal(value) for name, value in values.items() if value}


def _set(run: Run, connection: Connection, mapping: Mapping, options: dict[str, str]) -> str | None:
    """Set options one by one in one transaction; return what the target said when it refused one."""
    run.ports.control.check()
    try:
        with connection.transaction():
            connection.execute(_UNLOGGED)
            for name, value in options.items():
                _set_one(connection, mapping, name, value)
    except psycopg.Error as error:
        run.ports.control.check()
        problem = translate(error, Side.TARGET, say("setting the password of a user mapping"))
        if problem.retryable:
            raise problem from None  # the statement holds a password
        label = cause_of(error.sqlstate or "", "USER MAPPING").label
        return refusal(label, first_line(error), error.sqlstate)
    return None


@durable("target.entry", "USER MAPPING")
def _set_one(connection: Connection, mapping: Mapping, name: str, value: str) -> None:
    try:
        with connection.transaction():
            connection.execute(mapping.alter("ADD", name, value).encode())
    except psycopg.Error as error:
        if error.sqlstate != _ALREADY_SET:
            raise
        connection.execute(mapping.alter("SET", name, value).encode())


def _remember(
    run: Run, item: LedgerItem, mapping: Mapping, options: dict[str, str], given: GivenPassword | None, refused: str
) -> None:
    """Write down which options were set: an account that may not see them on the target cannot find out later."""
    place = {"role": mapping.role, "server": mapping.server, "title": mapping.title}
    detail: dict[str, Any] = item.detail | place | {"refused": refused}
    if options:
        detail["options"] = sorted(_plain(name) for name in options)
    if given is not None:
        detail["given"] = given.mark
    run.ports.ledger.amend(replace(item, detail=detail))


def _warn(run: Run, mapping: Mapping, words: str) -> None:
    text = say(
        "The target does not take what the user mapping {name} signs in with: {words}.", name=mapping.title, words=words
    )
    run.ports.store.event("warning", "MAPPING-REFUSED", text)


def _tell(run: Run, database: DatabasePlan, filled: list[str]) -> None:
    if filled:
        text = say(
            "{number} of {target_name} got what they sign in with: {names}.",
            number=count(len(filled), "{number} user mapping", "{number} user mappings"),
            target_name=database.target_name,
            names=some(filled),
        )
        run.ports.store.event("info", "MAPPINGS-FILLED", text)
