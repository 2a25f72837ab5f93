"""Makes the roles on the target that the task asks for, before anything that they own or that is granted to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import psycopg

from .causes import SETTING, cause_of, refusal
from .connect import Connection, first_line, translate
from .errors import TargetError
from .failpoints import durable
from .login_libraries import refused_at_login
from .names import quote
from .outcome import Run
from .plan import Side
from .ports import Kind, LedgerItem, Note
from .roles import (
    Found,
    Membership,
    RolesPlan,
    Statement,
    create_statement,
    further_statements,
    membership_statement,
    named_roles,
    read_roles,
    roles_plan,
    wanted_roles,
    with_passwords,
)
from .target_objects import some
from .wording import count, say

SERVER = ""
"""Notes of this database are about the target server as a whole."""
_SAME_NAME = "42710"
_GIVEN_BY_THE_SERVER_SINCE = 160000


def restore_roles(run: Run) -> RolesPlan | None:
    """Make what the target lacks; None when the task asks for no roles. Idempotent: what is there stays as it is.

    Each new role is in the ledger first, and our account becomes a member of it, so that it can give it what it owns;
    the clean-up of Complete takes that back. What the target refuses is noted, and stops nothing. Raises TargetError
    when the account may make no roles at all, EngineError when a server is lost.
    """
    if run.plan.selection.roles == "none":
        return None
    found, wanted = _wanted(run)
    with run.sessions.session(Side.TARGET) as target:
        ours = {item.name for item in run.ports.ledger.items(Side.TARGET, kinds={Kind.ROLE})}
        found = with_passwords(found, _given_hashes(run, target))
        plan = roles_plan(found, wanted, read_roles(target), run.plan.target.user, ours)
        notes = []
        for role in plan.created:
            notes += _make(run, target, create_statement(role))
        for role in plan.created:
            for statement in further_statements(role):
                notes += _run_one(run, target, statement)
        own = _own_memberships(run, target, plan)
        for one in plan.memberships:
            given = own.get(one.role, one) if one.member == run.plan.target.user else one
            of_the_source = given is one and target.info.server_version >= _GIVEN_BY_THE_SERVER_SINCE
            if given.inherit or given.become or given.admin or of_the_source:  # before 16 a member always has rights
                notes += _run_one(run, target, membership_statement(given, target.info.server_version))
        _join(run, target, {role.name for role in plan.created}, own)
    _tell(run, plan, notes)
    return plan


def _wanted(run: Run) -> tuple[Found, set[str]]:
    selection = run.plan.selection
    named: set[str] | None = None
    try:
        with run.sessions.session(Side.SOURCE) as source:
            found = read_roles(source, hashes=selection.role_passwords)
        if selection.roles == "needed":
            named = set()
            for database in run.databases():
                with run.sessions.session(Side.SOURCE, database.source_name) as source:
                    named |= named_roles(source)
    except psycopg.Error as error:
        raise translate(error, Side.SOURCE, say("reading its roles")) from error
    return found, wanted_roles(found, named, run.plan.source.user)


def _given_hashes(run: Run, target: Connection) -> dict[str, str]:
    """Return the hashes of the passwords that were given for roles: made here, so that none goes there in clear."""
    return {
        one.role: target.pgconn.encrypt_password(one.password.encode(), one.role.encode()).decode()
        for one in run.plan.passwords
        if not one.server and one.password
    }


def _make(run: Run, target: Connection, statement: Statement) -> list[Note]:
    run.ports.ledger.intend(
        LedgerItem(
            side=Side.TARGET,
            database=SERVER,
            kind=Kind.ROLE,
            name=statement.role,
            detail={"type": "ROLE", "drop": "DROP ROLE " + quote(statement.role)},
        )
    )
    try:
        with durable("target.role"):
            target.execute(statement.sql.encode())
    except psycopg.Error as error:
        if error.sqlstate == _SAME_NAME:
            return []
        _raise_unless_refused(run, error)
        if error.sqlstate == "42501":
            raise TargetError(
                say("The target account may not make roles: {words} (42501)", words=first_line(error)),
                hint=say(
                    "Give it the right: {sql}; on managed servers use the account that the vendor made for that."
                    " Or leave roles out.",
                    sql="ALTER ROLE " + quote(run.plan.target.user) + " CREATEROLE",
                ),
                code="DST-PRIVILEGE",
            ) from error
        return [_note(statement, error)]
    return []


def _run_one(run: Run, target: Connection, statement: Statement) -> list[Note]:
    run.ports.control.check()
    if closed := refused_at_login(run, target, statement.sql.encode()):
        what = say("not everything could be given to it")
        return [
            Note(database=SERVER, kind="role", name=statement.role, what=what, statement=statement.sql, words=closed)
        ]
    try:
        with durable("target.role"):
            target.execute(statement.sql.encode())
    except psycopg.Error as error:
        _raise_unless_refused(run, error)
        return [_note(statement, error)]
    return []


def _raise_unless_refused(run: Run, error: psycopg.Error) -> None:
    run.ports.control.check()
    problem = translate(error, Side.TARGET, say("making roles"))
    if problem.retryable:
        raise problem from error


def _note(statement: Statement, error: psycopg.Error) -> Note:
    cause = cause_of(error.sqlstate or "", "ROLE")
    label = SETTING if error.sqlstate == "42704" else cause.label
    return Note(
        database=SERVER,
        kind="role",
        name=statement.role,
        what=say("its password was refused") if statement.secret else say("not everything could be given to it"),
        statement=statement.shown,
        words=refusal(label, first_line(error) if statement.shown == statement.sql else "", error.sqlstate),
    )


def _ordinary(target: Connection) -> bool:
    row = target.execute("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").fetchone()
    return not (row and row[0])


def _own_memberships(run: Run, target: Connection, plan: RolesPlan) -> dict[str, Membership]:
    """Return what our account gives itself in the roles that it makes, because it is so on the source, by the role.

    Since 16 the server gives the right to pass a role on to whom made it, and lets nobody give that to himself.
    """
    if not _ordinary(target):
        return {}
    by_the_server = target.info.server_version >= _GIVEN_BY_THE_SERVER_SINCE
    mine = (one for one in plan.memberships if one.member == run.plan.target.user)
    return {one.role: replace(one, admin=one.admin and not by_the_server) for one in mine}


def _join(run: Run, target: Connection, names: set[str], own: Mapping[str, Membership]) -> None:
    """Let our account act for the new roles; a superuser can do that anyway.

    Afterwards it leaves them, or is in them as the source has it (`own`).
    """
    if not _ordinary(target):
        return
    options = " WITH INHERIT TRUE, SET TRUE" if target.info.server_version >= _GIVEN_BY_THE_SERVER_SINCE else ""
    for name in sorted(names):
        stays = own.get(name)
        if stays and stays.inherit and stays.become:
            continue
        detail = {"type": "MEMBERSHIP", "drop": f"REVOKE {quote(name)} FROM {quote(run.plan.target.user)}"}
        if stays and (stays.inherit or stays.become):
            detail["drop"] = membership_statement(stays, target.info.server_version).sql
        run.ports.ledger.intend(
            LedgerItem(side=Side.TARGET, database=SERVER, kind=Kind.MEMBERSHIP, name=name, detail=detail)
        )
        try:
            with durable("target.role"):
                target.execute(f"GRANT {quote(name)} TO CURRENT_USER{options}".encode())
        except psycopg.Error as error:
            _raise_unless_refused(run, error)


def _tell(run: Run, plan: RolesPlan, notes: list[Note]) -> None:
    for name in plan.without_password:
        statement = f"ALTER ROLE {quote(name)} PASSWORD '…';"
        notes.append(
            Note(
                database=SERVER,
                kind="role",
                name=name,
                what=say("may log in, and needs a password"),
                statement=statement,
            )
        )
    for name in plan.superusers:
        notes.append(
            Note(
                database=SERVER,
                kind="role",
                name=name,
                what=say("is a superuser on the source and an ordinary role on the target"),
                statement=f"ALTER ROLE {quote(name)} SUPERUSER;",
            )
        )
    if plan.created:
        run.ports.store.event(
            "info",
            "ROLES-MADE",
            say(
                "{number} made on the target: {names}.",
                number=count(len(plan.created), "{number} role", "{number} roles"),
                names=some(role.name for role in plan.created),
            ),
        )
        run.ports.store.save_notes(SERVER, len(plan.created), notes)
    if notes:
        text = say(
            "{number} on roles: {names}.",
            number=count(len(notes), "{number} note", "{number} notes"),
            names=some((say("{label}: {words}", label=note.name, words=note.what) for note in notes), 5),
        )
        run.ports.store.event("warning", "ROLES-NOTES", text)
