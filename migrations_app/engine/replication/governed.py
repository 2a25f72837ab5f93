"""Looks at the slots of a task from beside its run, and says in words what the governor found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field

import psycopg

from ..checks.registry import size
from ..connect import Connection, translate
from ..plan import Server, Side
from ..probe import open_session
from ..source_setup import age
from ..values import frozen
from ..wording import NOTHING, Sentence, say
from .governor import Bound, Judgement
from .lag import read_slot

_LISTS_WAL_SINCE = 100000
_WORST = ("", "reserved", "extended", "unreserved", "lost")


@frozen
class SlotsLook:
    """What the source keeps for all slots of a task together: its WAL is one, so the slot that holds back most counts.

    `kept_bytes` None: none of the slots exists. `safe_bytes` None: no limit, or a server before 13. `wal_bytes`: all
    WAL on the disk of the source, whoever keeps it; None when the account may not ask (pg_monitor), or before 10.
    """

    kept_bytes: int | None
    safe_bytes: int | None = None
    wal_status: str = ""
    wal_bytes: int | None = field(default=None, compare=False)


def look_at(server: Server, slots: Sequence[str]) -> SlotsLook:
    """Look at these slots in one short session. Raises ConnectFailed or EngineError; ends within some seconds."""
    connection = open_session(server, Side.SOURCE, name="towpath:governor", statement_timeout="5000")
    try:
        with connection:
            states = [read_slot(connection, slot) for slot in slots]
            wal_bytes = _wal_bytes(connection)
    except psycopg.Error as error:
        raise translate(error, Side.SOURCE, say("reading its WAL position")) from error
    kept = [state.kept_bytes for state in states if state.kept_bytes is not None]
    safe = [state.safe_bytes for state in states if state.safe_bytes is not None]
    return SlotsLook(
        kept_bytes=max(kept, default=None),
        safe_bytes=min(safe, default=None),
        wal_status=max((state.wal_status for state in states), key=_rank, default=""),
        wal_bytes=wal_bytes,
    )


def _wal_bytes(connection: Connection) -> int | None:
    """Return how much WAL lies on the disk of a server, None where that cannot be asked. Raises psycopg.Error."""
    if connection.info.server_version < _LISTS_WAL_SINCE:
        return None
    may = "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_ls_waldir()', 'EXECUTE')"
    if connection.execute(may).fetchone() != (True,):
        return None
    row = connection.execute("SELECT coalesce(sum(size), 0)::bigint FROM pg_catalog.pg_ls_waldir()").fetchone()
    return int(str(row[0])) if row else None


def _rank(status: str) -> int:
    return _WORST.index(status) if status in _WORST else 0


LOST = say("The source has removed WAL that this task still needs: only a new copy helps.")


def standing(judged: Judgement) -> Sentence:
    """Say how much is kept, of what limit, and when that is reached at the rate of the last minutes."""
    if judged.limit_bytes is None:
        return say("The source keeps {kept} of WAL for this task.", kept=size(judged.kept_bytes))
    told = say(
        "The source keeps {kept} of WAL for this task, {percent} % of {limit} ({bound}).",
        kept=size(judged.kept_bytes),
        percent=int(100 * judged.kept_bytes / judged.limit_bytes) if judged.limit_bytes else 100,
        limit=size(judged.limit_bytes),
        bound=_bound(judged.bound),
    )
    return told + forecast(judged)


def safe_size(judged: Judgement, seen: SlotsLook) -> Sentence:
    """Say how much more the source may write before it gives the slot up, where another limit is nearer."""
    if not seen.safe_bytes or seen.safe_bytes < 0 or judged.bound is Bound.SLOT:
        return NOTHING
    return say(" The source may write {size} more before the slot is lost.", size=size(seen.safe_bytes))


def _bound(bound: Bound) -> Sentence:
    if bound is Bound.BUDGET:
        return say("the task's WAL budget")
    if bound is Bound.SLOT:
        return say("max_slot_wal_keep_size of the source")
    return say("the room on the WAL disk of the stated size")


def forecast(judged: Judgement) -> Sentence:
    """Say when the nearest limit is reached; nothing when it does not grow."""
    seconds = judged.seconds_left
    if seconds is None or (judged.kept_bytes >= (judged.limit_bytes or 0) > 0 and judged.bound is Bound.BUDGET):
        return NOTHING
    when = age(int(min(seconds, 10**9)))
    if judged.bound is Bound.SLOT:
        if not judged.left_bytes:
            return say(" The slot is lost at the source's next checkpoint.")
        return say(" At the rate of the last minutes the slot is lost in {when}.", when=when)
    if judged.bound is Bound.DISK:
        return say(" At the rate of the last minutes the disk is full in {when}.", when=when)
    return say(" At the rate of the last minutes the budget is reached in {when}.", when=when)
