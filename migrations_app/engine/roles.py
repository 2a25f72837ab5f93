"""Roles of the source that the target lacks: which ones a task makes there, with what, and what cannot come along.

Pure but for reading: `roles_plan` is what the check shows and what the schema step then does.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping
from dataclasses import field, replace

import psycopg

from .connect import Connection
from .names import literal, quote
from .sql import query
from .values import frozen
from .vendors import is_vendors_role, vendor_of

_SERVERS_OWN = "pg_"
_FIRST_ROLE = "postgres"
_LISTS = frozenset(
    {
        "search_path",
        "local_preload_libraries",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
        "log_destination",
    }
)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(?:,|$)')
_SETTINGS_SINCE_16 = 160000
_PARAMETERS_SINCE = 150000
_PARAMETERS = (
    "SELECT pg_catalog.pg_get_userbyid(x.grantee)::text, x.privilege_type, p.parname, x.is_grantable"
    " FROM pg_catalog.pg_parameter_acl p, pg_catalog.aclexplode(p.paracl) x WHERE x.grantee <> 0 ORDER BY 1, 3, 2"
)


@frozen
class Role:
    """A role as the source has it. The password's hash never shows in `repr`."""

    name: str
    superuser: bool = False
    login: bool = False
    inherit: bool = True
    create_database: bool = False
    create_role: bool = False
    replication: bool = False
    bypass_rls: bool = False
    connection_limit: int = -1
    valid_until: str = ""
    comment: str = ""
    settings: tuple[str, ...] = field(default=(), repr=False)
    parameters: tuple[tuple[str, str, bool], ...] = ()
    """(SET or ALTER SYSTEM, name of a setting, may pass it on): since 15, rights on settings of the server."""
    password: str = field(default="", repr=False)


@frozen
class Membership:
    """`member` is in `role`."""

    role: str
    member: str
    admin: bool = False
    inherit: bool = True
    become: bool = True


@frozen
class Found:
    """The roles of one server, and who is in which."""

    roles: Mapping[str, Role]
    memberships: tuple[Membership, ...]
    hashes: bool = False
    """The account may read the passwords' hashes."""


@frozen
class RolesPlan:
    """What happens to the roles that a task asks for."""

    created: tuple[Role, ...] = ()
    there: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    """Skipped: they belong to the source's vendor."""
    superusers: tuple[str, ...] = ()
    """Made, but not as superusers."""
    without_password: tuple[str, ...] = ()
    """Made with login and without a password."""
    memberships: tuple[Membership, ...] = ()


def read_roles(connection: Connection, *, hashes: bool = False) -> Found:
    """Return the roles of the connected server; with `hashes` the passwords too, where the account may read them."""
    names = [name for name in Role.__dataclass_fields__ if name not in ("password", "parameters")]
    roles, parameters = {}, _parameters(connection)
    for row in connection.execute(query("roles")).fetchall():
        values = dict(zip(names, row, strict=True))
        values["valid_until"], values["comment"] = values["valid_until"] or "", values["comment"] or ""
        values["settings"] = tuple(values["settings"] or ())  # type: ignore[arg-type]
        values["parameters"] = tuple(parameters[str(values["name"])])
        role = Role(**values)  # type: ignore[arg-type]
        roles[role.name] = role
    known = _hashes(connection) if hashes else None
    if known:
        roles = {name: replace(role, password=known.get(name, "")) for name, role in roles.items()}
    members = tuple(
        Membership(role=str(role), member=str(member), admin=bool(admin), inherit=bool(inherit), become=bool(become))
        for role, member, admin, inherit, become in connection.execute(query("role_members")).fetchall()
    )
    return Found(roles=roles, memberships=members, hashes=known is not None)


def _parameters(connection: Connection) -> dict[str, list[tuple[str, str, bool]]]:
    """Return the rights on settings by role."""
    found: dict[str, list[tuple[str, str, bool]]] = defaultdict(list)
    if connection.info.server_version >= _PARAMETERS_SINCE:
        for role, right, name, passed_on in connection.execute(_PARAMETERS).fetchall():
            found[str(role)].append((str(right), str(name), bool(passed_on)))
    return found


def _hashes(connection: Connection) -> dict[str, str] | None:
    """Return the hashes by role, None when the account may not read them."""
    try:
        rows = connection.execute(
            "SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid WHERE rolpassword IS NOT NULL"
        ).fetchall()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return {str(name): str(password) for name, password in rows}


def with_passwords(found: Found, given: Mapping[str, str]) -> Found:
    """Return the roles with other passwords, or their hashes, by name: those that an operator gave."""
    roles = {name: replace(role, password=given.get(name) or role.password) for name, role in found.roles.items()}
    return replace(found, roles=roles)


def named_roles(connection: Connection) -> set[str]:
    """Return the roles that objects of the connected database name."""
    return {str(row[0]) for row in connection.execute(query("roles_named")).fetchall()}


def is_provider(name: str, vendor: str = "") -> bool:
    """Say whether the role belongs to a server's vendor, or to the server itself; such are made on no other server.

    `vendor`: whose service the server is (see `vendor_of`).
    """
    return name.startswith(_SERVERS_OWN) or name == _FIRST_ROLE or is_vendors_role(name, vendor)


def wanted_roles(found: Found, named: Iterable[str] | None, account: str) -> set[str]:
    """Return the roles to look for on the target: all, or (`named`) those, what they are in, and who is in them.

    `account`, our own on the source, is not one of them unless an object names it.
    """
    if named is None:
        return set(found.roles) - {account}
    vendor = vendor_of(found.roles)
    wanted = {name for name in named if name in found.roles}
    while True:
        before = len(wanted)
        ordinary = {name for name in wanted if not is_provider(name, vendor)}
        above = {one.role for one in found.memberships if one.member in ordinary}
        below = {one.member for one in found.memberships if one.role in ordinary and one.member != account}
        wanted |= (above | below) & found.roles.keys()
        if len(wanted) == before:
            return wanted


def roles_plan(
    found: Found, wanted: Iterable[str], target: Found, account: str, ours: Container[str] = frozenset()
) -> RolesPlan:
    """Return what happens to the wanted roles. `account`: ours on the target, which is there.

    `ours` has an earlier attempt made: they are gone through once more.
    """
    names, vendor = sorted(wanted), vendor_of(found.roles)
    providers = [name for name in names if is_provider(name, vendor)]
    known_there = {name for name in target.roles if name not in ours} | {account}
    there = [name for name in names if name not in providers and name in known_there]
    created = [found.roles[name] for name in names if name not in {*providers, *there}]
    made = {role.name for role in created}
    known = made | target.roles.keys() | {account}
    members = tuple(one for one in found.memberships if _comes_along(one, made, known, vendor))
    return RolesPlan(
        created=tuple(created),
        there=tuple(there),
        providers=tuple(providers),
        superusers=tuple(role.name for role in created if role.superuser),
        without_password=tuple(role.name for role in created if role.login and not role.password),
        memberships=members,
    )


def _comes_along(one: Membership, made: Container[str], known: Container[str], vendor: str) -> bool:
    """Say whether a membership is made: of a new role, in one that is there. Every server has PostgreSQL's own ones."""
    if one.role.startswith(_SERVERS_OWN):
        return one.member in made
    is_new = one.role in made or one.member in made
    return is_new and one.role in known and one.member in known and not is_provider(one.role, vendor)


@frozen
class Statement:
    """One statement about a role; `secret` ones hold a password's hash, and are never shown or kept."""

    role: str
    sql: str = field(repr=False)
    secret: bool = False
    masked: str = ""
    """What is shown and kept instead of a statement that may hold a password of an application."""

    @property
    def shown(self) -> str:
        """The statement for people; '' when it is not for them."""
        return "" if self.secret else self.masked or self.sql


def create_statement(role: Role) -> Statement:
    """Return the statement that makes a role, with what every account that may make roles can give."""
    words = ["LOGIN" if role.login else "NOLOGIN", "INHERIT" if role.inherit else "NOINHERIT"]
    return Statement(role=role.name, sql=f"CREATE ROLE {quote(role.name)} {' '.join(words)};")


def further_statements(role: Role) -> list[Statement]:
    """Return the statements that give a new role the rest. Each may be refused without harm to the others."""
    name = quote(role.name)
    found = []
    if role.password:
        sql = f"ALTER ROLE {name} PASSWORD {literal(role.password)};"
        found.append(Statement(role=role.name, sql=sql, secret=True))
    attributes = {
        "CREATEDB": role.create_database,
        "CREATEROLE": role.create_role,
        "REPLICATION": role.replication,
        "BYPASSRLS": role.bypass_rls,
    }
    texts = [f"ALTER ROLE {name} {word};" for word, given in attributes.items() if given]
    if role.connection_limit >= 0:
        texts.append(f"ALTER ROLE {name} CONNECTION LIMIT {role.connection_limit};")
    if role.valid_until:
        texts.append(f"ALTER ROLE {name} VALID UNTIL {literal(role.valid_until)};")
    if role.comment:
        texts.append(f"COMMENT ON ROLE {name} IS {literal(role.comment)};")
    found += [Statement(role=role.name, sql=text) for text in texts]
    found += [_setting(role, one) for one in role.settings if set_clause(one)]
    texts = []
    for right, setting, passed_on in role.parameters:
        option = " WITH GRANT OPTION" if passed_on else ""
        texts.append(f"GRANT {right} ON PARAMETER {quote(setting)} TO {name}{option};")
    return found + [Statement(role=role.name, sql=text) for text in texts]


def _setting(role: Role, entry: str) -> Statement:
    name, clause = entry.partition("=")[0], f"ALTER ROLE {quote(role.name)} "
    masked = f"{clause}SET {name} TO ...;" if is_invented(entry) else ""
    return Statement(role=role.name, sql=clause + set_clause(entry), masked=masked)


def is_invented(entry: str) -> bool:
    """Say whether an entry of pg_db_role_setting is no server's own: applications keep passwords in such."""
    return "." in entry.partition("=")[0]


def set_clause(entry: str) -> str:
    """Return `SET name TO value;` for an entry of pg_db_role_setting; '' for what is none."""
    name, separator, value = entry.partition("=")
    if not separator or not _SETTING.fullmatch(name):
        return ""
    if name.lower() not in _LISTS:
        return f"SET {name} TO {literal(value)};"
    items, at = [], 0
    while at < len(value):
        match = _ITEM.match(value, at)
        if match is None or match.end() == at:
            return f"SET {name} TO {literal(value)};"
        items.append((match[1] or "").replace('""', '"') if match[1] is not None else match[2])
        at = match.end()
    return f"SET {name} TO {', '.join(literal(item) for item in items) or literal('')};"


def membership_statement(one: Membership, version: int) -> Statement:
    """Return the grant of a role to a member, as a target of this version writes it."""
    sql = f"GRANT {quote(one.role)} TO {quote(one.member)}"
    if version >= _SETTINGS_SINCE_16:
        options = {"ADMIN": one.admin, "INHERIT": one.inherit, "SET": one.become}
        sql += " WITH " + ", ".join(f"{word} {'TRUE' if given else 'FALSE'}" for word, given in options.items())
    elif one.admin:
        sql += " WITH ADMIN OPTION"
    return Statement(role=one.member, sql=sql + ";")
