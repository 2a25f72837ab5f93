"""What kind of failure a server tells of, by its SQLSTATE: servers speak many languages."""

from __future__ import annotations

from .errors import ConnectionLost, EngineError, SourceError, TargetError
from .plan import Side
from .wording import NOTHING, noun, say, template

_LOST = frozenset({"25P03", "57P01", "57P02", "57P03", "57P04", "57P05"})
# What is said of another server that a statement asks, by a foreign table or dblink, and cannot reach. No server says
# so about our own session.
_OF_A_THIRD = frozenset({"08001", "08003"})
_TRY_AGAIN = frozenset({"40001", "40P01", "55P03", "53300", "53400", "57014"})
# One code for slots that are all in use, which pass, and for a limit that stands: the setting's name, which no language
# translates, tells them apart.
_LIMIT, _TEMPORARY_FILES = "53400", "temp_file_limit"
_REFUSALS = {
    "53100": ("{}-FULL", template("Free or add disk space on the {side}, then press Retry.")),
    "53200": (
        "{}-ERROR",
        template(
            "Where its memory for locks is out, raise max_locks_per_transaction on the {side} or select fewer tables;"
            " otherwise give it more memory, or let fewer tables be copied at the same time. Then press Retry."
        ),
    ),
    _LIMIT: (
        "{}-LIMIT",
        template(
            "Sorting needs temporary files there. Lift the limit for the account of the {side}, as a superuser: ALTER"
            " ROLE … SET temp_file_limit = -1. Then press Retry."
        ),
    ),
    "25006": ("{}-READONLY", template("The {side} accepts no writes. Make it the writable primary again, then retry.")),
    "42501": (
        "{}-ERROR",
        template("Give the account of the {side} the right that is named in the message, then retry."),
    ),
    "54000": ("ROW-TOOBIG", template("Shrink the row on the source, or leave the table out.")),
    "22021": ("ROW-ENCODING", template("Repair the text on the source, or leave the table out.")),
    "22P05": (
        "ROW-ENCODING",
        template(
            "Repair the text on the source, or leave the table out. Where the target is not in UTF8, a target in UTF8"
            " helps as well."
        ),
    ),
}


def classified(state: str, words: str, side: Side, doing: str) -> EngineError:
    """Return the typed error for a SQLSTATE: whether waiting mends it, and what an operator does where it does not."""
    if (state.startswith("08") and state not in _OF_A_THIRD) or state in _LOST:
        return ConnectionLost(
            say("Lost the connection to the {side} while {doing}: {words}", side=noun(side), doing=doing, words=words)
        )
    if state in _TRY_AGAIN and not (state == _LIMIT and _TEMPORARY_FILES in words):
        return ConnectionLost(
            say("The {side} could not go on while {doing}: {words}", side=noun(side), doing=doing, words=words)
        )
    kind = SourceError if side is Side.SOURCE else TargetError
    code, hint = _REFUSALS.get(state, ("{}-ERROR", ""))
    message = say(
        "The {side} reported an error while {doing}: {words} ({state})",
        side=noun(side),
        doing=doing,
        words=words,
        state=state,
    )
    return kind(
        message,
        code=code.format("SRC" if side is Side.SOURCE else "DST"),
        hint=say(hint, side=noun(side)) if hint else NOTHING,
    )
