"""Why a target refuses an object: told by SQLSTATE and by what kind of object it is, never by the server's words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A class of refusals, in a few words, and what an operator can do about it."""

    label: str
    hint: str


EXTENSION = Cause(
    label="missing extension",
    hint="Install the extension's package on the target server (on managed servers: allow it), or create what it brings"
    " some other way, then try again.",
)
LIBRARY = Cause(label="missing library", hint="Copy the library into the target server's lib folder, then try again.")
ROLE = Cause(label="missing role", hint="Create the role on the target, or let the task do it, then try again.")
RIGHT = Cause(
    label="missing right",
    hint="Give the target account the right that the server names, or run the statement as an account that has it.",
)
COLLATION = Cause(
    label="missing collation",
    hint="Install the locale on the target server and run pg_import_system_collations, then try again.",
)
OBJECT = Cause(
    label="missing object",
    hint="It needs an object that is not on the target: one that was refused too, or that is not selected.",
)
ROWS = Cause(label="rows do not fit", hint="Rows break the rule. Repair them on both sides, then run the statement.")
EXISTS = Cause(label="name is taken", hint="Rename or remove what has the name on the target, then run the statement.")
VERSION = Cause(
    label="not known to this version",
    hint="The target's version does not know this. Write it in another way for the target, and run that there.",
)
LIMIT = Cause(label="a limit of the target", hint="Raise the limit that the server names, then try again.")
UNKNOWN = Cause(label="refused", hint="The server's words say why. If they make no sense, this is a mistake of ours.")

_ROLES_IN = frozenset({"ACL", "DEFAULT ACL", "POLICY", "USER MAPPING", "OWNER"})
_BY_STATE = {
    "42501": RIGHT,
    "58P01": LIBRARY,
    "42P01": OBJECT,
    "42883": OBJECT,
    "3F000": OBJECT,
    "42703": OBJECT,
    "42601": VERSION,
    "0A000": VERSION,
    "42710": EXISTS,
    "42P07": EXISTS,
    "42723": EXISTS,
    "42P06": EXISTS,
}


def cause_of(sqlstate: str, kind: str) -> Cause:
    """Return the cause of a refusal of an archive's entry of this kind (`EXTENSION`, `POLICY` …)."""
    if kind == "EXTENSION" and sqlstate in ("0A000", "58P01", "22023", "42704"):
        return EXTENSION
    if kind == "COLLATION" and sqlstate in ("22023", "42704", "0A000", "58P01"):
        return COLLATION
    if sqlstate == "42704":
        return ROLE if kind in _ROLES_IN else OBJECT
    if sqlstate in _BY_STATE:
        return _BY_STATE[sqlstate]
    by_class = {"23": ROWS, "53": LIMIT, "54": LIMIT}
    return by_class.get(sqlstate[:2], UNKNOWN)
