"""Failover slots (17+): slots that a standby keeps in step, and what must hold to go on after it took over; a source
that went back in time.

A promoted standby is the same system on a newer timeline. The sync goes on there only when nothing can be missing: the
slot came along and is not ahead of the target, and the target holds nothing that the new server never had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .connect import Connection
from .errors import SlotLost, SourceError
from .lsn import before_page_header, format_lsn, parse_lsn
from .ports import NEVER, DatabaseState, Store, TableState
from .replication.lag import SlotState, read_slot
from .values import frozen
from .versions import has_failover_slots
from .wording import Sentence, say

_KEPT_IN_STEP = """
SELECT NOT pg_catalog.pg_is_in_recovery(),
       (coalesce(pg_catalog.current_setting('synchronized_standby_slots', true), '') <> ''
        OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE application_name LIKE '%slotsync worker'))
"""


@frozen(kw_only=False)
class Identity:
    """Which server this is, and on which history of it."""

    system_id: str
    timeline: int


@frozen(kw_only=False)
class Offer:
    """What a server has for failover slots: whether it can make one, and whether a standby keeps them in step now."""

    possible: bool
    kept: bool


def offer(connection: Connection) -> Offer:
    """Return what a server has for failover slots; a standby itself cannot make one.

    One keeps them in step when the server names it in synchronized_standby_slots, or when its worker that copies slots
    has a session here.
    """
    if not has_failover_slots(connection.info.server_version):
        return Offer(possible=False, kept=False)
    row = connection.execute(_KEPT_IN_STEP).fetchone()
    possible = row is not None and bool(row[0])
    return Offer(possible=possible, kept=possible and row is not None and bool(row[1]))


def identity_of(replicating: Connection) -> Identity:
    """Return which server a replication session speaks to. Raises SourceError when it does not say."""
    row = replicating.execute("IDENTIFY_SYSTEM").fetchone()
    if row is None:
        raise SourceError(say("The source does not say which server it is."))
    return Identity(str(row[0]), int(str(row[1])))


def require_promoted(ordinary: Connection) -> None:
    """Raise SourceError, to be tried again, while the source is a standby: it may be about to take over."""
    if ordinary.execute("SELECT pg_catalog.pg_is_in_recovery()").fetchone() == (True,):
        raise SourceError(
            say("The source is a standby that was not promoted yet: no changes come from it."),
            hint=say("Promote it, or correct the address of the source."),
            code="SRC-READONLY",
            retryable=True,
        )


def took_over(ordinary: Connection, now: Identity, state: DatabaseState, position: int) -> bool:
    """Say whether this is a standby of the task's system that was promoted, and could have kept the slot in step.

    Raises SlotLost for one that was promoted and could not, since no slot is handed over before 17. `position`:
    everything before it is on the target.
    """
    later = bool(state.timeline) and now.system_id == state.system_id and now.timeline > state.timeline
    if later and not has_failover_slots(ordinary.info.server_version):
        raise SlotLost(
            say(
                "A standby of the source took over (timeline {timeline}), and before 17 none keeps the slot of its "
                "former server: changes after {position} may be missing.",
                timeline=now.timeline,
                position=format_lsn(position),
            ),
            hint=say(
                "If this is the server that the application uses now, press Restart with new copy. Else correct the "
                "address of the source and press Retry; or cancel the task."
            ),
            code="SRC-FAILOVER",
        )
    return later


def require_continuation(
    replicating: Connection, ordinary: Connection, state: DatabaseState, now: Identity, position: int, reached: int
) -> None:
    """Raise SlotLost unless the sync can go on where a standby took over, with nothing missing and nothing too much.

    `position`: everything before it is on the target. `reached`: the latest place of the source that the target holds
    anything of, its copies included.
    """
    slot = read_slot(ordinary, state.slot)
    if not slot.exists:
        raise _may_be_missing(now, position, say("the slot {slot} is not on it", slot=state.slot))
    if not _kept_in_step(ordinary, state.slot):
        raise _may_be_missing(now, position, say("the slot {slot} there was not kept in step with it", slot=state.slot))
    if slot.wal_status == "lost" or slot.confirmed is None:
        raise _may_be_missing(now, position, say("the slot {slot} has lost its WAL there", slot=state.slot))
    if slot.confirmed > position:
        why = say("the slot {slot} begins at {place} there", slot=state.slot, place=format_lsn(slot.confirmed))
        raise _may_be_missing(now, position, why)
    left = _left_at(replicating, state.timeline, now.timeline)
    if left is None:
        raise _may_be_missing(now, position, say("it does not tell where it took over"))
    if reached > left:
        raise SlotLost(
            say(
                "A standby of the source took over at {left}, but the target holds what the former source wrote up to "
                "{reached}: changes that the new one never had.",
                left=format_lsn(left),
                reached=format_lsn(reached),
            ),
            hint=say("Restart with new copy, or cancel the task."),
            code="SRC-FAILOVER",
        )


def go_on_at(
    store: Store,
    tables: Sequence[TableState],
    replicating: Connection,
    ordinary: Connection,
    state: DatabaseState,
    now: Identity,
    position: int,
    told: Sentence,
) -> None:
    """Take a standby that took over for the source: its timeline is stored, and that is `told` once.

    `position`: everything before it is on the target. Raises SlotLost when something may be missing, or too much.
    """
    require_continuation(replicating, ordinary, state, now, position, _reached(tables, position))
    stored = store.database(state.source_name)  # others may have stored something since, or told the same
    if stored.timeline != now.timeline:
        store.save_database(replace(stored, timeline=now.timeline))
        store.event("warning", "SRC-FAILEDOVER", told)


def require_not_set_back(
    ordinary: Connection, tables: Sequence[TableState], state: DatabaseState, position: int = 0
) -> SlotState:
    """Raise SlotLost when the source has not written yet what the target already has; returns its slot as it is.

    It was restored from a backup then, and what it writes from now on would be passed over as applied. `position`:
    everything before it is on the target.
    """
    slot = read_slot(ordinary, state.slot)
    known = max(position, state.bookmark or 0, state.consistent_point or 0)
    reached = before_page_header(_reached(tables, known))
    if slot.insert_lsn < reached:
        raise SlotLost(
            say(
                "The source was set back: it has written up to {insert}, but the target holds what it had written up "
                "to {reached}. Changes that it writes now would be taken for those.",
                insert=format_lsn(slot.insert_lsn),
                reached=format_lsn(reached),
            ),
            code="SRC-SETBACK",
        )
    return slot


def _reached(tables: Sequence[TableState], position: int) -> int:
    """Return the latest place of the source that the target holds anything of, its copies included."""
    return max([position, *(mark for table in tables if (mark := table.watermark or 0) < NEVER)])


def _kept_in_step(connection: Connection, slot: str) -> bool:
    """Say whether a slot was copied from the server that this one was a standby of; a promoted standby still tells."""
    row = connection.execute(
        "SELECT coalesce((pg_catalog.row_to_json(s) ->> 'synced')::bool, false)"
        " FROM pg_catalog.pg_replication_slots s WHERE slot_name = %s",
        (slot,),
    ).fetchone()
    return row is not None and bool(row[0])


def _may_be_missing(now: Identity, position: int, why: Sentence) -> SlotLost:
    return SlotLost(
        say(
            "A standby of the source took over (timeline {timeline}), and {why}: changes after {position} may be "
            "missing.",
            timeline=now.timeline,
            why=why,
            position=format_lsn(position),
        ),
        hint=say(
            "Restart with new copy, or cancel the task. On 17 and later a standby with sync_replication_slots keeps "
            "the slot, so that the sync goes on after a failover."
        ),
        code="SRC-FAILOVER",
    )


def _left_at(replicating: Connection, before: int, now: int) -> int | None:
    """Return where the history of timeline `now` left timeline `before`; None when it never was on it."""
    row = replicating.execute(f"TIMELINE_HISTORY {now:d}".encode()).fetchone()
    content = row[1] if row else b""
    text = bytes(content).decode("utf-8", "replace") if isinstance(content, bytes | memoryview) else str(content)
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) >= 2 and parts[0].strip() == str(before):
            return parse_lsn(parts[1].strip())
    return None
