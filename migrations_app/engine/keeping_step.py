"""Lets a standby that keeps slots in step take the task's slot for good before anything is copied.

A standby takes a slot only when that is not older than what it has kept itself since it first saw it. On a source that
is written to it never is, unless the slot moves; and while rows are copied it must not, since all that comes after
their snapshot is still needed. So it moves before. What the standby holds on to shows in its own slot on the source.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

import psycopg

from .connect import Connection
from .failover import offer
from .failpoints import durable
from .lsn import parse_lsn
from .outcome import Run
from .plan import DatabasePlan
from .wording import say

_SECONDS = 60.0  # the standby looks every 30 seconds when it has nothing to do, and tells what it holds every 10
_PAUSE_SECONDS = 1.0

_MAY_MOVE = """
SELECT (pg_catalog.row_to_json(s) ->> 'failover')::bool FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = %s
"""
# Transactions are told apart by their age: the younger one is newer. `taken`: the standby holds on to nothing older
# than `wanted`, which it could take.
_LOOK = """
WITH ours AS (SELECT confirmed_flush_lsn AS place, catalog_xmin AS kept
                FROM pg_catalog.pg_replication_slots WHERE slot_name = %(slot)s),
     there AS (SELECT catalog_xmin AS kept FROM pg_catalog.pg_replication_slots
                WHERE slot_type = 'physical' AND active AND catalog_xmin IS NOT NULL)
SELECT ours.place::text, ours.kept::text,
       EXISTS (SELECT FROM there WHERE pg_catalog.age(there.kept) >= pg_catalog.age(ours.kept)),
       EXISTS (SELECT FROM there WHERE pg_catalog.age(there.kept) <= pg_catalog.age(%(wanted)s::text::xid))
  FROM ours
"""
_MOVE = "SELECT end_lsn FROM pg_catalog.pg_replication_slot_advance(%s, pg_catalog.pg_current_wal_lsn())"


def let_take(run: Run, database: DatabasePlan, connection: Connection, slot: str) -> bool:
    """Move a new slot on until a standby has it for good, a minute at most; say whether it moved.

    Nothing may need what it leaves behind. Its place is the task's consistent point then; while it moves the task has
    none, so that a run that dies meanwhile makes another slot. Does nothing where no standby keeps slots in step.
    Raises psycopg.Error, or what `Control` raises.
    """
    row = connection.execute(_MAY_MOVE, (slot,)).fetchone()
    if row != (True,) or not offer(connection).kept:
        return False
    store = run.ports.store
    state = store.database(database.source_name)
    store.save_database(replace(state, consistent_point=None))
    point, taken = _move(run, connection, slot)
    store.save_database(replace(store.database(database.source_name), consistent_point=point))
    if not taken:
        text = say(
            "The standby has not taken the slot {name} within {seconds} s: a failover before the sync has begun may "
            "lose it.",
            name=slot,
            seconds=round(_SECONDS),
        )
        store.event("warning", "SRC-FAILOVERSLOT", text)
    return True


@durable("source.slot.move")
def _move_on(connection: Connection, slot: str) -> None:
    connection.execute(_MOVE, (slot,))


def _move(run: Run, connection: Connection, slot: str) -> tuple[int, bool]:
    """Return where the slot stands in the end, and whether the standby has it."""
    until = time.monotonic() + _SECONDS
    wanted: str | None = None
    connection.execute("SET statement_timeout = '5s'")  # a move may wait for a standby that is away
    try:
        while True:
            run.ports.control.check()
            with contextlib.suppress(psycopg.errors.QueryCanceled):
                _move_on(connection, slot)
            found = connection.execute(_LOOK, {"slot": slot, "wanted": wanted}).fetchone()
            assert found is not None  # noqa: S101 - the slot is ours
            place, kept, fits, taken = found
            if taken or time.monotonic() > until:
                return parse_lsn(str(place)), bool(taken)
            if wanted is None and fits:
                wanted = str(kept)
            run.ports.control.sleep(_PAUSE_SECONDS)
    finally:
        connection.execute("SET statement_timeout TO DEFAULT")
