"""Says in words what a failed statement of the apply session means."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from ..connect import translate
from ..errors import ConflictError, ConnectionLost, EngineError, LeaseLost, TargetError
from ..plan import Side
from ..wording import NOTHING, Sentence, say, template, verbatim
from .batch_path import Set
from .pgoutput import Delete, Insert, Update
from .pipeline import StatementFailed
from .row_path import Change
from .statements import shown_key
from .transaction import CLAIM

_ADVICE = say(
    "Somebody wrote to the target, or it was not empty. Put the row right there and retry, "
    "or start the migration again."
)

_KINDS: dict[type, str] = {
    Insert: template("insert of {row}"),
    Update: template("update of {row}"),
    Delete: template("delete of {row}"),
}

Texts = Callable[[list[tuple[int, bytes | None]]], list[bytes | None]]
"""Turns values (type oid, as the stream sent it) into their text."""


def explain(failure: StatementFailed | psycopg.Error, texts: Texts) -> EngineError | LeaseLost:
    """Return our error for what the target said."""
    if isinstance(failure, psycopg.Error):
        return translate(failure, Side.TARGET, say("applying changes"))
    context, error = failure.context, failure.error
    if lease_lost(failure):
        return LeaseLost(say("another worker has moved the bookmark on the target"))
    if isinstance(context, Change):
        return _row_failure(context, error, failure.affected, texts)
    if error is None:
        return TargetError(
            say("The bookmark on the target was removed while {context}.", context=context), code="DST-BOOKMARK"
        )
    return _statement_failure(error, say("applying a batch of changes") if isinstance(context, Set) else _said(context))


def _said(context: object) -> Sentence:
    return verbatim(context if isinstance(context, str) else str(context))


def lease_lost(failure: StatementFailed) -> bool:
    """Say whether the bookmark was no longer where, or whose, this session thought."""
    return failure.context == CLAIM and (failure.error is None or failure.error.sqlstate == "22012")


def is_lost(error: psycopg.Error) -> bool:
    """Say whether the session is gone, or the server wants the work to be tried again as a whole."""
    return isinstance(translate(error, Side.TARGET, NOTHING), ConnectionLost)


def _row_failure(change: Change, error: psycopg.Error | None, affected: int, texts: Texts) -> EngineError:
    statements = change.member.statements
    columns = statements.key_of(change.message)
    values = texts([(column.type_oid, value) for column, value in columns])
    key = shown_key([(column, value) for (column, _), value in zip(columns, values, strict=True)])
    row = f"{statements.shown_name} ({key})"  # one value, which `public_message` knows how to shorten
    what = say(_KINDS[type(change.message)], row=row)
    failure = (
        _row_conflict(change, what, affected)
        if error is None
        else _statement_failure(error, say("applying the {what}", what=what))
    )
    failure.detail["key"] = key
    return failure


def _row_conflict(change: Change, what: Sentence, affected: int) -> EngineError:
    found = say("no row") if affected == 0 else say("{affected} rows", affected=affected)
    if isinstance(change.message, Insert):
        return ConflictError(
            say("The {what} stored {found} on the target where exactly one must be.", what=what, found=found),
            hint=_ADVICE,
        )
    return ConflictError(
        say("The {what} found {found} on the target where exactly one must be.", what=what, found=found), hint=_ADVICE
    )


def _statement_failure(error: psycopg.Error, doing: Sentence) -> EngineError:
    general = translate(error, Side.TARGET, doing)
    if isinstance(general, ConnectionLost):
        return general
    state = error.sqlstate or ""
    if state.startswith("23"):
        broken = error.diag.constraint_name
        constraint = say(", constraint {name}", name=broken) if broken else NOTHING
        return ConflictError(
            say(
                "A change does not fit the target while {doing}{constraint} ({state}).",
                doing=doing,
                constraint=constraint,
                state=state,
            ),
            hint=_ADVICE,
        )
    hint: Sentence = general.hint
    if state.startswith("42"):
        hint = say("An object or a right on the target was changed. Put it back and retry.")
    return TargetError(general.message, hint=hint, code=general.code)
