"""The item that shows beforehand which roles a task makes on the target."""

from __future__ import annotations

import psycopg

from ..names import quote
from ..plan import Side
from ..roles import (
    RolesPlan,
    create_statement,
    further_statements,
    named_roles,
    read_roles,
    roles_plan,
    wanted_roles,
    with_passwords,
)
from ..settings_for_all import ForAll, for_all, names_of, read_for_all, shown_for_all
from ..wording import Sentence, count, listing, say, together
from .context import Context
from .registry import CheckStatus, Finding, Group, failed, item, lines, warning

_ABLE = "SELECT rolsuper OR rolcreaterole FROM pg_catalog.pg_roles WHERE rolname = current_user"


def plan_of(context: Context) -> RolesPlan | None:
    """Return what will happen to roles, None when the task asks for none."""
    if context.plan.selection.roles == "none":
        return None
    return context.remember("roles", lambda: _read(context))


def _read(context: Context) -> RolesPlan:
    selection = context.plan.selection
    found = read_roles(context.source(), hashes=selection.role_passwords)
    named: set[str] | None = None
    if selection.roles == "needed":
        named = set()
        for database in context.plan.databases:
            named |= named_roles(context.source(database.source_name))
    found = with_passwords(found, {one.role: one.password for one in context.plan.passwords if not one.server})
    wanted = wanted_roles(found, named, context.plan.source.user)
    return roles_plan(found, wanted, read_roles(context.target()), context.plan.target.user)


def made_roles(context: Context) -> set[str]:
    """Return the roles that the task will make, for items that miss them on the target."""
    try:
        plan = plan_of(context)
    except psycopg.Error:
        return set()
    return {role.name for role in plan.created} if plan else set()


def may_make_roles(context: Context) -> bool:
    """Say whether the target account may create roles."""
    return bool(context.one(Side.TARGET, _ABLE))


@item(
    "roles",
    "Roles that will be made",
    Group.PRIVILEGES,
    "Roles that objects need, or all of them, are made on the target when that is asked for; vendors' roles never.",
)
def roles(context: Context) -> Finding:
    """Tell what is made, what is there, what is skipped, and what cannot come along."""
    for side in Side:
        context.session(side)  # an answer about servers that nobody has reached would be none
    plan = plan_of(context)
    settings = for_all(read_for_all(context.source()), read_for_all(context.target()))
    with_all = context.plan.selection.roles == "all"
    told = _told_settings(settings, with_all=with_all)
    statements = [shown_for_all(one) for one in settings.made]
    if plan is None:
        none = say(
            "Roles are not migrated. Make those that the target lacks there first; otherwise what they own belongs to "
            "the target account, and their rights are left out and noted."
        )
        return Finding(status=CheckStatus.PASSED, found=together([none, *told]), sql=lines(statements))
    shown = together([*_told(plan), *told])
    sql = lines(
        [
            *(create_statement(role).sql for role in plan.created),
            *(one.shown for role in plan.created for one in further_statements(role) if one.shown),
            *statements,
        ]
    )
    if plan.created and not may_make_roles(context):
        return failed(
            say("The target account may not make roles. {shown}", shown=shown),
            say("Give it the right as a superuser, or leave roles out on the objects step."),
            f"ALTER ROLE {quote(context.plan.target.user)} CREATEROLE;",
        )
    if plan.superusers or plan.without_password:
        hint = say(
            "Enter the passwords on the page Passwords before the start, or set them on the target before the"
            " application moves. Notes at the end list these roles."
        )
        return warning(shown, hint, sql).asks({"role": name} for name in plan.without_password)
    if with_all and settings.made and not context.is_superuser(Side.TARGET):
        hint = say("Only a superuser can make settings for all roles: run these statements as one on the target.")
        return warning(shown, hint, lines(statements))
    return Finding(status=CheckStatus.PASSED, found=shown, sql=sql)


def _told_settings(settings: ForAll, *, with_all: bool) -> list[Sentence]:
    """Return what happens to settings that every role of the source's server gets."""
    made, kept = listing(names_of(settings.made)), listing(names_of(settings.kept))
    words = []
    if settings.made and with_all:
        words.append(say("Set for all roles of the target server, as on the source: {names}.", names=made))
    elif settings.made:
        words.append(
            say("Settings for all roles come along only with all roles; the target lacks {names}.", names=made)
        )
    if settings.kept and with_all:
        words.append(say("Kept for all roles with the values that the target has: {names}.", names=kept))
    return words


def _told(plan: RolesPlan) -> list[Sentence]:
    """Return one sentence for each thing that happens to roles."""
    words = [say("No role has to be made.")]
    if plan.created:
        words = [
            say(
                "{number} will be made: {names}.",
                number=count(len(plan.created), "{number} role", "{number} roles"),
                names=listing(role.name for role in plan.created),
            )
        ]
    if plan.there:
        words.append(say("Already there, and left as they are: {names}.", names=listing(plan.there)))
    if plan.providers:
        words.append(
            say("Skipped, because they are the vendor's or the server's own: {names}.", names=listing(plan.providers))
        )
    if plan.superusers:
        words.append(
            say("Made as ordinary roles, although superusers on the source: {names}.", names=listing(plan.superusers))
        )
    if plan.without_password:
        words.append(
            say("They may log in, and need a password afterwards: {names}.", names=listing(plan.without_password))
        )
    return words
