"""Settings that every role of the source's server gets (ALTER ROLE ALL SET): they belong to no database and no role.

They are a matter of the whole target server, and act on its other databases too. So they come along only with all
roles, what the target has set otherwise stays, and they are made last, since they would act on our own sessions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import psycopg

from .causes import SETTING, cause_of, refusal
from .connect import Connection, first_line, translate
from .failpoints import durable
from .login_libraries import refused_at_login
from .outcome import Run
from .plan import Side
from .ports import Kind, LedgerItem
from .roles import is_invented, set_clause
from .values import frozen
from .wording import Sentence, count, listing, say

_READ = "SELECT s.setconfig FROM pg_catalog.pg_db_role_setting s WHERE s.setrole = 0 AND s.setdatabase = 0"
SERVER = ""
"""The ledger's database for what belongs to the whole server."""


@frozen
class ForAll:
    """What happens to the settings of the source; each as `name=value`."""

    made: tuple[str, ...] = ()
    """The target has none of their names."""
    kept: tuple[str, ...] = ()
    """The target has another value, which stays."""


def read_for_all(connection: Connection) -> tuple[str, ...]:
    """Return the settings for all roles of the connected server, as `name=value`. Raises psycopg's errors."""
    row = connection.execute(_READ).fetchone()
    return tuple(str(one) for one in row[0] or ()) if row else ()  # type: ignore[attr-defined]


def for_all(source: Iterable[str], target: Iterable[str]) -> ForAll:
    """Return what happens to the source's settings on a target that has these. Pure."""
    there = _by_name(target)
    other = [one for one in source if set_clause(one) and there.get(_name(one)) != one]
    return ForAll(
        made=tuple(one for one in other if _name(one) not in there),
        kept=tuple(one for one in other if _name(one) in there),
    )


def names_of(settings: Iterable[str]) -> list[str]:
    """Return the names of settings; what is told of them, since applications keep passwords in their own ones."""
    return [_name(one) for one in settings]


def shown_for_all(setting: str) -> str:
    """Return the statement that makes a setting for all roles, for people: without the value of an invented one."""
    return f"ALTER ROLE ALL SET {_name(setting)} TO ...;" if is_invented(setting) else _statement(setting)


def restore_for_all(run: Run, target: Connection) -> None:
    """Make what the target lacks, where the task asks for all roles. Idempotent.

    Each is in the ledger first. What the target refuses is told in an event, and so is what would close it to everybody
    (see `login_libraries`). Raises EngineError when a server is lost.
    """
    if run.plan.selection.roles != "all":
        return
    with run.sessions.session(Side.SOURCE) as source:
        found = for_all(read_for_all(source), read_for_all(target))
    refused = {one: words for one in found.made if (words := _make(run, target, one))}
    if refused:
        run.ports.store.event(
            "warning",
            "ROLES-NOTES",
            say(
                "{number} for all roles could not be made on the target: {names}.",
                number=count(len(refused), "{number} setting", "{number} settings"),
                names=listing(refused.values()),
            ),
            statements=[shown_for_all(one) for one in refused],
        )


def _make(run: Run, target: Connection, setting: str) -> Sentence | None:
    """Make one setting; return the target's words when it refuses."""
    run.ports.control.check()
    if closed := refused_at_login(run, target, _statement(setting).encode()):
        return say("{label}: {words}", label=_name(setting), words=closed)
    detail = {"type": "SETTING", "digest": _digest(setting), "drop": f"ALTER ROLE ALL RESET {_name(setting)};"}
    item = LedgerItem(side=Side.TARGET, database=SERVER, kind=Kind.OBJECT, name=_name(setting), detail=detail)
    run.ports.ledger.intend(item)
    try:
        with durable("target.role"):
            target.execute(_statement(setting).encode())
    except psycopg.Error as error:
        run.ports.control.check()
        problem = translate(error, Side.TARGET, say("making settings for all roles"))
        if problem.retryable:
            raise problem from error
        run.ports.ledger.removed(item)
        label = SETTING if error.sqlstate == "42704" else cause_of(error.sqlstate or "", "ROLE").label
        words = refusal(label, first_line(error), error.sqlstate)
        return say("{label}: {words}", label=_name(setting), words=words)
    return None


def take_back(connection: Connection, item: LedgerItem) -> None:
    """Take a setting away that the task has made, unless somebody has given it another value since. Idempotent.

    Raises psycopg's errors.
    """
    if item.detail["digest"] in map(_digest, read_for_all(connection)):
        with durable("target.drop", "setting"):
            connection.execute(str(item.detail["drop"]).encode())


def is_for_all(item: LedgerItem) -> bool:
    """Say whether an item of the ledger is a setting for all roles."""
    return item.kind is Kind.OBJECT and item.database == SERVER and item.detail.get("type") == "SETTING"


def _statement(setting: str) -> str:
    return f"ALTER ROLE ALL {set_clause(setting)}"


def _digest(setting: str) -> str:
    return hashlib.sha256(setting.encode()).hexdigest()


def _name(setting: str) -> str:
    return setting.partition("=")[0]


def _by_name(settings: Iterable[str]) -> Mapping[str, str]:
    return {_name(one): one for one in settings}
