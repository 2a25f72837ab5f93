"""Says in words what a failed statement of the apply session means."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from ..conflicts import Conflict, ConflictKind, Obstacle
from ..connect import translate
from ..errors import ConflictError, ConnectionLost, EngineError, LeaseLost, TargetError
from ..named_values import UNKNOWN_NAMES
from ..plan import Side
from ..ports import TableState
from ..wording import NOTHING, Sentence, say, template, verbatim
from .batch_path import Set
from .bookmark import ELSEWHERE, gone
from .pgoutput import Delete, Insert, Update
from .pipeline import StatementFailed
from .row_path import Change
from .statements import Place, digest_of, shown_key
from .transaction import CHECKING, CLAIM, COMMITTING, MOVING

_ADVICE = say(
    "Somebody wrote to the target, it was not empty, or the source's publication kept changes back. Take the source's "
    "row, copy the table again, quarantine it or drop it from the task; or put the row right on the target, then retry."
)
_OBSTACLES = {
    Obstacle.OTHER_KEY: say(
        "A row with another key is in the way on the target, so the source's row cannot take its place. Copy the table "
        "again, quarantine it or drop it from the task; or put the row right on the target, then retry. If the table "
        "has got other keys or unique indexes on the source, make them so on the target first."
    ),
    Obstacle.NOT_WHOLE: say(
        "The change leaves out a large value that stays as it was, so the source's row cannot be made of it. Copy the "
        "table again, quarantine it or drop it from the task; or put the row right on the target, then retry."
    ),
    Obstacle.REFUSED: say(
        "The target does not take such a row. Remove there what refuses it and retry, or quarantine the table or drop "
        "it from the task."
    ),
    Obstacle.AT_THE_END: say(
        "The target checks this key only at the end of a transaction, and does not tell which change it refuses. Copy "
        "the table again, quarantine it or drop it from the task; or put the row right on the target, then retry."
    ),
}

_NOT_PREPARED = ("26000", "42P05")
"""Of prepared statements that are not there, or that somebody else has made."""
_NO_TABLE = ("42P01", "3F000")
_UNKNOWN_VALUE = ("22P02", "22P03")
_WITHOUT_IDENTITY = "55000"  # nothing else that row statements do is refused with it

_KINDS: dict[type, str] = {
    Insert: template("insert of {row}"),
    Update: template("update of {row}"),
    Delete: template("delete of {row}"),
}

TableAt = Callable[[Place], TableState | None]
"""Returns the task's table whose rows go to a table of the target."""

Texts = Callable[[list[tuple[int, bytes | None]]], list[bytes | None]]
"""Turns values (type oid, as the stream sent it) into their text."""


def as_they_are(values: list[tuple[int, bytes | None]]) -> list[bytes | None]:
    """Return the texts of values that came as texts."""
    return [value for _, value in values]


def explain(
    failure: StatementFailed | psycopg.Error, texts: Texts, table_at: TableAt, final: int
) -> EngineError | LeaseLost:
    """Return our error for what the target said. `final`: of the source's transaction at hand."""
    if isinstance(failure, psycopg.Error):
        return translate(failure, Side.TARGET, say("applying changes"))
    context, error = failure.context, failure.error
    if lease_lost(failure):
        return LeaseLost(say("another worker has moved the bookmark on the target"))
    if moved_away(failure):
        return TargetError(
            say(
                "A connection pooler stands before the target and has brought our session to another process, which "
                "does not have the session's settings. Nothing was applied there."
            ),
            hint=say("Enter the address of the PostgreSQL server itself instead of the pooler's, then retry."),
            code="POOLER-REFUSED",
        )
    if context in (CLAIM, MOVING) and error is not None and error.sqlstate in _NO_TABLE:
        return gone()
    if isinstance(context, Change):
        return _row_failure(context, error, failure.affected, texts)
    if error is None:
        return TargetError(
            say("The bookmark on the target was removed while {context}.", context=context), code="DST-BOOKMARK"
        )
    if context in (CHECKING, COMMITTING):
        return _end_failure(error, _said(context), table_at, final)
    return _statement_failure(error, say("applying a batch of changes") if isinstance(context, Set) else _said(context))


def _end_failure(error: psycopg.Error, doing: Sentence, table_at: TableAt, final: int) -> EngineError:
    """Name the table where a check failed that waited for the end: it stands for a change that nobody knows."""
    failure = _statement_failure(error, doing)
    table = table_at((error.diag.schema_name or "", error.diag.table_name or ""))
    if isinstance(failure, ConflictError) and table is not None:
        taken = error.sqlstate == "23505"
        failure.conflict = Conflict(
            database="",
            schema=table.schema,
            name=table.name,
            kind=ConflictKind.DUPLICATE_KEY if taken else ConflictKind.REFUSED,
            change="change",
            key=error.diag.constraint_name or shown_key([]),
            digest="",
            lsn=final,
            obstacle=Obstacle.AT_THE_END if taken else Obstacle.REFUSED,
        )
        failure.hint = _OBSTACLES[failure.conflict.obstacle]
    return failure


def _said(context: object) -> Sentence:
    return verbatim(context if isinstance(context, str) else str(context))


def lease_lost(failure: StatementFailed) -> bool:
    """Say whether the bookmark was no longer where, or whose, this session thought."""
    return failure.context == CLAIM and (failure.error is None or failure.error.sqlstate == "22012")


def moved_away(failure: StatementFailed) -> bool:
    """Say whether the statement came to another process of the server than the one that the session was set up in."""
    state = failure.error.sqlstate if failure.error else None
    return state in _NOT_PREPARED or (failure.context == CLAIM and state == ELSEWHERE)


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
    if isinstance(failure, ConflictError):
        failure.conflict = conflict_of(change, error, affected, texts)
        obstacle = failure.conflict.obstacle if failure.conflict else Obstacle.NONE
        failure.hint = _OBSTACLES.get(obstacle, failure.hint)
    return failure


def conflict_of(change: Change, error: psycopg.Error | None, affected: int, texts: Texts) -> Conflict | None:
    """Return what is known about a change of a row that does not fit; None when it failed for another reason.

    Its `database` is the caller's to fill in.
    """
    kind, obstacle = _kind(change, error, affected)
    if kind is None:
        return None
    statements = change.member.statements
    whole = isinstance(change.message, Delete) or statements.whole(change.message) is not None
    told, what = statements.told_of(change.message), type(change.message).__name__.lower()
    values = texts([(column.type_oid, value) for column, value in told])
    rows = [(column, value) for (column, _), value in zip(told, values, strict=True)]
    return Conflict(
        database="",
        schema=change.member.state.schema,
        name=change.member.state.name,
        kind=kind,
        change=what,
        key=shown_key(rows[: len(statements.key_of(change.message))]),
        digest=digest_of(what, rows),
        lsn=change.final,
        obstacle=obstacle if obstacle or whole else Obstacle.NOT_WHOLE,
    )


def _kind(change: Change, error: psycopg.Error | None, affected: int) -> tuple[ConflictKind | None, Obstacle]:
    if error is None:
        if isinstance(change.message, Insert):
            return ConflictKind.REFUSED, Obstacle.REFUSED
        return (ConflictKind.TWO_ROWS if affected else ConflictKind.ROW_MISSING), Obstacle.NONE
    state = error.sqlstate or ""
    if state != "23505":
        return (ConflictKind.REFUSED if state.startswith("23") else None), Obstacle.REFUSED
    is_key = change.member.statements.is_key(error.diag.constraint_name or "")
    return ConflictKind.DUPLICATE_KEY, Obstacle.NONE if is_key else Obstacle.OTHER_KEY


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
    if state in UNKNOWN_NAMES:
        hint = say(
            "An object of the target was changed, or a value of regclass or its like names what the target does not "
            "have. Put it back, or make there what is named, then retry. Names in rows do not follow the new names of "
            "schemas. A function that an index or a column of the table calls must name what it uses with its schema, "
            "or have a search_path of its own: ALTER FUNCTION … SET search_path = … on the target."
        )
    if state == _WITHOUT_IDENTITY:
        hint = say(
            "A publication of the target publishes the table, which has no replica identity there. Drop that "
            "publication until Complete, or run on the target ALTER TABLE … REPLICA IDENTITY FULL; then retry."
        )
    if state in _UNKNOWN_VALUE:
        hint = say(
            "A type of the target does not take this value, so it is another than on the source: mostly a label was "
            "added to an enum type there, or got another name. Do the same with the target's type (ALTER TYPE … ADD "
            "VALUE …, or RENAME VALUE …), then retry."
        )
    return TargetError(general.message, hint=hint, code=general.code)
