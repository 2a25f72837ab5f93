"""What the audit trail calls an action, in words: it keeps the address or the service that acted, which is a code."""

from __future__ import annotations

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ..engine.states import Action
from .labels import ACTIONS

_DEEDS = {
    "first-administrator": _("First administrator made"),
    "sign-in": _("Signed in"),
    "sign-in-failed": _("Sign-in failed"),
    "sign-in-refused": _("Sign-ins refused"),
    "sign-out": _("Signed out"),
    "logout": _("Signed out"),
    "sessions-ended": _("Other sessions ended"),
    "own-password": _("Own password changed"),
    "profile-password": _("Own password changed"),
    "profile-sessions": _("Other sessions ended"),
    "user-created": _("User made"),
    "user-role": _("Role changed"),
    "user-activated": _("User let in again"),
    "user-deactivated": _("User shut out"),
    "user-password": _("Password of a user set"),
    "users:create": _("User made"),
    "users:role": _("Role changed"),
    "users:active": _("User let in or shut out"),
    "users:password": _("Password of a user set"),
    "connection-test": _("Connection tested"),
    "endpoint-saved": _("Endpoint saved"),
    "endpoint-changed": _("Endpoint changed"),
    "endpoint-deleted": _("Endpoint deleted"),
    "endpoint-host-key": _("Bastion's key confirmed"),
    "endpoints:create": _("Endpoint saved"),
    "endpoints:edit": _("Endpoint changed"),
    "endpoints:delete": _("Endpoint deleted"),
    "endpoints:test": _("Connection tested"),
    "endpoints:confirm-key": _("Bastion's key confirmed"),
    "provider-account-changed": _("Provider's account changed"),
    "provider-account-removed": _("Provider's account removed"),
    "resource-saved": _("Resource saved"),
    "resource-deleted": _("Resource deleted"),
    "inventory-imported": _("Inventory imported"),
    "resources:create": _("Resource saved"),
    "resources:edit": _("Resource saved"),
    "resources:delete": _("Resource deleted"),
    "resources:import": _("Inventory imported"),
    "resources:refresh": _("Provider's lists refreshed"),
    "resources:account": _("Provider's account changed"),
    "resources:account-remove": _("Provider's account removed"),
    "tasks:create": _("Task created"),
    "tasks:settings": _("Source and target set"),
    "tasks:test": _("Connection tested"),
    "tasks:toggle": _("Objects selected"),
    "tasks:parents": _("Parents included"),
    "tasks:mode": _("Structure or data chosen"),
    "tasks:matching": _("Objects selected by pattern"),
    "tasks:forget": _("Selection rule removed"),
    "tasks:keys": _("Missing foreign keys decided"),
    "tasks:roles": _("Roles decided"),
    "tasks:existing": _("Existing objects decided"),
    "tasks:follow": _("Table changes decided"),
    "tasks:mapping": _("Names on the target set"),
    "tasks:read": _("Objects read anew"),
    "tasks:check-run": _("Check run"),
    "tasks:check-without-sync": _("Incremental sync left out"),
    "tasks:passwords": _("Passwords for the target given"),
    "tasks:check-acknowledge": _("Warning acknowledged"),
    "tasks:check-withdraw": _("Acknowledgement withdrawn"),
    "tasks:check-fix": _("Fix of a check item run"),
    "tasks:prepare-look": _("Source looked at"),
    "tasks:access": _("Access changed"),
    "tasks:clone": _("Task cloned"),
    "tasks:action-try_now": _("Try now"),
    "tasks:recopy": ACTIONS[Action.RECOPY],
    "tasks:new-table-add_table": _("New table added"),
    "tasks:new-table-ignore_table": _("New table ignored"),
    "tasks:tags": _("Tags changed"),
    "tasks:tune": _("Speed changed"),
    "tasks:wal": _("WAL budget changed"),
}
_WITH_ACTION = ("tasks:action-", "tasks:table-")
_MANY = "tasks:many-"


def deed(code: str) -> str:
    """Return an action of the audit trail in the reader's language; what has no words stays as it is."""
    if code in _DEEDS:
        return str(_DEEDS[code])
    for prefix in _WITH_ACTION:
        if code.startswith(prefix):
            return _pressed(code.removeprefix(prefix)) or code
    if code.startswith(_MANY):
        pressed = _pressed(code.removeprefix(_MANY))
        return gettext("%(button)s, several tasks") % {"button": pressed} if pressed else code
    return code


def _pressed(action: str) -> str:
    return str(ACTIONS[Action(action)]) if action in set(Action) else ""


def alike(code: str) -> list[str]:
    """Return the actions that are called as this one: a refused request is kept by its address, not by its service."""
    return [code, *(other for other in _DEEDS if other != code and deed(other) == deed(code))]
