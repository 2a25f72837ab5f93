"""Why a target refuses an object: told by SQLSTATE and by what kind of object it is, never by the server's words."""

from __future__ import annotations

from .values import frozen
from .wording import Sentence, say, verbatim


@frozen
class Cause:
    """A class of refusals, in a few words, and what an operator can do about it."""

    label: Sentence
    hint: Sentence


EXTENSION = Cause(
    label=say("missing extension"),
    hint=say(
        "Install the extension's package on the target server (on managed servers: allow it), or create what it brings"
        " some other way, then try again."
    ),
)
LIBRARY = Cause(
    label=say("missing library"), hint=say("Copy the library into the target server's lib folder, then try again.")
)
ROLE = Cause(
    label=say("missing role"), hint=say("Create the role on the target, or let the task do it, then try again.")
)
RIGHT = Cause(
    label=say("missing right"),
    hint=say(
        "Give the target account the right that the server names, or run the statement as an account that has it."
    ),
)
COLLATION = Cause(
    label=say("missing collation"),
    hint=say("Install the locale on the target server and run pg_import_system_collations, then try again."),
)
OBJECT = Cause(
    label=say("missing object"),
    hint=say("It needs an object that is not on the target: one that was refused too, or that is not selected."),
)
ROWS = Cause(
    label=say("rows do not fit"), hint=say("Rows break the rule. Repair them on both sides, then run the statement.")
)
EXISTS = Cause(
    label=say("name is taken"), hint=say("Rename or remove what has the name on the target, then run the statement.")
)
VERSION = Cause(
    label=say("not known to this version"),
    hint=say("The target's version does not know this. Write it in another way for the target, and run that there."),
)
LIMIT = Cause(label=say("a limit of the target"), hint=say("Raise the limit that the server names, then try again."))
UNKNOWN = Cause(
    label=say("refused"), hint=say("The server's words say why. If they make no sense, this is a mistake of ours.")
)
SETTING = say("unknown setting")
"""A role's setting that the target does not know: only its label is needed."""

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

_LABELS = {
    str(label): label
    for label in (
        SETTING,
        *(
            cause.label
            for cause in (EXTENSION, LIBRARY, ROLE, RIGHT, COLLATION, OBJECT, ROWS, EXISTS, VERSION, LIMIT, UNKNOWN)
        ),
    )
}


def refusal(label: Sentence, words: str, sqlstate: str | None) -> Sentence:
    """Return what is told of a refusal: what kind it is, what the server said, and the SQLSTATE."""
    return say("{label}: {words}", label=label, words=f"{words} ({sqlstate})")


def refusal_again(text: str) -> Sentence:
    """Return the sentence of a refusal that was kept as text alone; other text stays word for word."""
    label, _, words = text.partition(": ")
    return say("{label}: {words}", label=_LABELS[label], words=words) if label in _LABELS else verbatim(text)


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
