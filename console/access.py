"""Who may do what: one table of every address and method with the least role that it takes.

The middleware refuses what is not listed here to everybody, and a test generated from the addresses fails on it.
A new address needs one line: `look()` for a page that only shows, `act()` for a POST, `form()` for a page with a form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser

from migrations_app.models import User

ANYBODY, VIEWER, OPERATOR, ADMIN = "anybody", "viewer", "operator", "admin"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What one address takes, method by method; a method that is missing here is answered by 405."""

    roles: Mapping[str, str]
    polled: bool = False  # the page asks by itself: no sign that somebody still sits there
    audited: bool = True
    risky: bool = False  # a POST takes the password again when it was entered long ago (console/proof.py)


def look(role: str = VIEWER, *, polled: bool = False) -> Rule:
    """A page that only shows."""
    return Rule(roles={"GET": role}, polled=polled)


def act(role: str = OPERATOR, *, audited: bool = True, risky: bool = False) -> Rule:
    """A button."""
    return Rule(roles={"POST": role}, audited=audited, risky=risky)


def form(role: str = OPERATOR, *, audited: bool = True, risky: bool = False) -> Rule:
    """A page with a form that is sent to itself."""
    return Rule(roles={"GET": role, "POST": role}, audited=audited, risky=risky)


RULES: dict[str, Rule] = {
    "login": form(ANYBODY, audited=False),  # writes entries of its own, as does the next but one
    "logout": act(VIEWER),
    "setup": form(ANYBODY, audited=False),
    "language": act(ANYBODY, audited=False),
    "health": look(ANYBODY),
    "ready": look(ANYBODY),
    "profile": look(),
    "profile-password": act(VIEWER),
    "profile-sessions": act(VIEWER),
    "endpoints:list": look(),
    "endpoints:create": form(),
    "endpoints:fields": look(OPERATOR),
    "endpoints:edit": form(),
    "endpoints:delete": act(),
    "endpoints:test": act(),
    "endpoints:test-result": look(OPERATOR, polled=True),
    "endpoints:confirm-key": act(),
    "resources:list": look(ADMIN),
    "resources:create": form(ADMIN),
    "resources:edit": form(ADMIN),
    "resources:delete": act(ADMIN),
    "resources:import": form(ADMIN),
    "resources:refresh": act(ADMIN),
    "resources:account": form(ADMIN, risky=True),
    "resources:account-remove": act(ADMIN, risky=True),
    "users:list": look(ADMIN),
    "users:create": form(ADMIN, risky=True),
    "users:detail": look(ADMIN),
    "users:role": act(ADMIN, risky=True),
    "users:active": act(ADMIN, risky=True),
    "users:password": act(ADMIN, risky=True),
    "audit:list": look(ADMIN),
    "audit:export": look(ADMIN),
    "tasks:list": look(),
    "tasks:live": look(polled=True),
    "tasks:create": form(),
    "tasks:detail": look(),
    "tasks:progress": look(polled=True),
    "tasks:settings": form(),
    "tasks:test": act(),
    "tasks:test-result": look(OPERATOR, polled=True),
    "tasks:objects": look(OPERATOR),
    "tasks:tree": look(OPERATOR),
    "tasks:toggle": act(),
    "tasks:parents": act(),
    "tasks:mode": act(),
    "tasks:matching": act(),
    "tasks:forget": act(),
    "tasks:closure": look(OPERATOR),
    "tasks:keys": act(),
    "tasks:roles": act(),
    "tasks:existing": act(),
    "tasks:follow": act(),
    "tasks:mapping": form(),
    "tasks:read": act(),
    "tasks:check": look(),
    "tasks:check-items": look(polled=True),
    "tasks:check-run": act(),
    "tasks:check-without-sync": act(),
    "tasks:check-report": look(),
    "tasks:check-acknowledge": act(),
    "tasks:check-withdraw": act(),
    "tasks:check-fix": form(),
    "tasks:prepare": look(),
    "tasks:prepare-look": act(),
    "tasks:prepare-result": look(polled=True),
    "tasks:action": act(),
    "tasks:confirm": look(OPERATOR),
    "tasks:passwords": form(),
    "tasks:access": form(),
    "tasks:clone": act(),
    "tasks:table": form(),
    "tasks:new-table": act(),
    "tasks:tags": act(),
    "tasks:tune": act(),
    "tasks:wal": act(),
    "tasks:many": act(),
    "tasks:many-confirm": look(OPERATOR),
    "tasks:report": look(),
    "tasks:report-json": look(),
}


def least(name: str, method: str) -> str | None:
    """Return the least role that `method` of this address takes; None when it is not offered."""
    rule = RULES.get(name)
    return rule.roles.get("GET" if method == "HEAD" else method) if rule and method else None


def allows(user: User | AnonymousUser, role: str) -> bool:
    """Say whether this user may do what `role` may do. Nobody but users has a role."""
    return role == ANYBODY or (isinstance(user, User) and user.has_role(role))


def may(user: User | AnonymousUser, name: str, method: str = "GET") -> bool:
    """Say whether this user may open an address, or press its button."""
    role = least(name, method)
    return role is not None and allows(user, role)


@dataclass(frozen=True)
class Can:
    """What the reader of a page may do: `{% if can.operate %}` around every button that changes something."""

    user: User | AnonymousUser

    @property
    def look(self) -> bool:
        """Open pages that only show."""
        return allows(self.user, VIEWER)

    @property
    def operate(self) -> bool:
        """Create, change and run tasks."""
        return allows(self.user, OPERATOR)

    @property
    def administer(self) -> bool:
        """Users, resources, audit trail."""
        return allows(self.user, ADMIN)
