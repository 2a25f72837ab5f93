"""What is said of a replication slot that the source has given up: why, and what keeps the next one from it."""

from __future__ import annotations

from ..errors import SlotLost
from ..lsn import format_lsn
from ..wording import say


def given_up(why: str, slot: str, position: int) -> SlotLost:
    """Return the error for a slot whose `wal_status` is lost. What comes after `position` cannot be had any more.

    `why`: `invalidation_reason` of pg_replication_slots, which servers tell from 17 on ('' before: its WAL was removed,
    the one reason that a primary server had until then).
    """
    said, first = _reason(why)
    return SlotLost(
        say(
            "The source has given up the slot {slot}, {why}: changes after {where} are lost.",
            slot=slot,
            why=said,
            where=format_lsn(position),
        ),
        hint=say("Press Restart with new copy: it removes what is ours and begins anew. {first}", first=first),
    )


def _reason(why: str) -> tuple[str, str]:
    """Return why it was given up, and what to change before the next slot."""
    match why:
        case "idle_timeout":
            return (
                say("because nothing has read from it for idle_replication_slot_timeout"),
                say("Raise idle_replication_slot_timeout on the source first, or set it to 0; a pause counts too."),
            )
        case "wal_level_insufficient":
            return (
                say("because its wal_level was lower than logical for a while"),
                say("Set wal_level = logical on the source first, and leave it."),
            )
        case "rows_removed":
            return (
                say("because rows of its catalog were removed that the slot needed"),
                say("Turn hot_standby_feedback on at the source first."),
            )
    return (
        say("because it has removed WAL that the slot needed"),
        say("Raise max_slot_wal_keep_size on the source first."),
    )
