"""What the engine asks of its surroundings. The runner implements these on rows; tests/fakes.py in memory.

All methods may be called from several threads. Writes are durable when they return, unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from .conflicts import Permission, Use
from .drift import Leave, NewTable
from .plan import Knobs, Others, Side
from .values import frozen
from .wording import NOTHING, Sentence, noun, say


class Control(Protocol):
    """How a run learns that it must stop. Every loop and wait of the engine passes through here."""

    def check(self) -> None:
        """Raise CancelRequested, PauseRequested or LeaseLost if the run must stop. Cheap: reads a flag."""

    def should_yield(self) -> bool:
        """Say whether another task waits for this worker: a sync slice then ends at the next source commit."""

    def pause_requested(self) -> bool:
        """Say whether the run must stop in a moment: a sync ends at the next source commit, so that nothing is in the
        air when its sessions are cut."""

    def complete_requested(self) -> bool:
        """Say whether the operator pressed Complete: a sync slice then ends at once with DONE."""

    def back_requested(self) -> bool:
        """Say whether the operator wants the sync to go on instead of Complete, as long as nothing is in its way."""

    def compare_requested(self) -> bool:
        """Say whether a comparison was asked for (Compare now); a sync slice then ends with CONTINUE."""

    def recopy_requested(self) -> bool:
        """Say whether tables are to be copied once more; a sync slice then ends with CONTINUE."""

    def spool_wanted(self) -> bool:
        """Say whether changes are to go through the spool of this machine, to relieve the source. Cheap."""

    def sleep(self, seconds: float) -> None:
        """Wait, but return at once (raising like `check`) when the run must stop."""

    def knobs(self) -> Knobs | None:
        """Return how the knobs of the copy stand now, a second old at most; None: as the plan says. Cheap."""

    def on_stop(self, callback: Any) -> None:
        """Call `callback()` from another thread when the run must stop, so that blocked sockets can be cut."""


class Kind(StrEnum):
    """Kinds of things in the ledger."""

    SLOT = "slot"
    PUBLICATION = "publication"
    TRUNCATE_LOG = "truncate_log"  # table and function on a source before 11
    TRUNCATE_TRIGGER = "truncate_trigger"  # on the table of this name; detail: {"trigger": name, "oid": of the table}
    REPLICA_IDENTITY = "replica_identity"  # detail: {"was": "d"|"n"|"i", "index": name, "oid": of the table}
    DATABASE = "database"
    SCHEMA = "schema"
    TABLE = "table"
    OBJECT = "object"  # any other restored object; detail: {"type": "VIEW", ...}
    EXTENSION = "extension"
    LARGE_OBJECTS = "large_objects"
    BOOKMARK = "bookmark"  # the schema `towpath` on a target database; detail: OPENING once Complete opens targets
    TRIGGER_STATE = "trigger_state"  # detail: {"table": .., "was": "O"|"A"|"R"|"D"}
    IDENTITY_STATE = "identity_state"  # detail: column that must become GENERATED ALWAYS again
    ADOPTED = "adopted"  # a table that was there before, and that the task may empty; never dropped
    ROLE = "role"  # of the target server; the item has no database
    MEMBERSHIP = "membership"  # of our account in a role that we made
    FILE = "file"  # local to the worker


OPENING, STAGES, ALONE = "opening", "stages", "alone"
"""In a bookmark's detail: Complete opens targets; which stages are over; and that, without sync, it is a mark alone."""


@frozen
class LedgerItem:
    """One thing that we make on a server. `(side, database, kind, schema, name)` identifies it."""

    side: Side
    database: str
    kind: Kind
    name: str
    schema: str = ""
    detail: dict[str, Any] = field(default_factory=dict, compare=False)


class Ledger(Protocol):
    """The list of everything that we made on either server, written before it is made."""

    def intend(self, *items: LedgerItem) -> None:
        """Record that these are about to be made. Idempotent."""

    def removed(self, *items: LedgerItem) -> None:
        """Record that these are gone, or stay on purpose (a completed task's tables). Idempotent."""

    def amend(self, *items: LedgerItem) -> None:
        """Replace the details of items that are recorded and not removed. Idempotent."""

    def items(
        self, side: Side | None = None, database: str | None = None, kinds: Collection[Kind] = ()
    ) -> list[LedgerItem]:
        """Return what is not yet recorded as removed, oldest first; with `kinds` only those: tables are very many."""

    def others(self) -> Others:
        """Return what the other tasks of this console have on targets, as it stands now."""


@frozen
class DatabaseState:
    """What must survive a restart for one database of the task. Replace with `dataclasses.replace`."""

    source_name: str
    target_name: str
    system_id: str = ""
    timeline: int = 0
    target_system_id: str = ""
    target_timeline: int = 0
    """The target's server since its first change, and its history since its first row; '' and 0: not known."""
    slot: str = ""
    publication: str = ""
    consistent_point: int | None = None  # X of the slot
    schema_done: bool = False
    """The pre-data section stands on the target and the table list is stored."""
    index_done: bool = False
    replica_role: bool = True
    """The target account may set session_replication_role; else triggers and foreign keys wait for Complete."""
    bookmark: int | None = None  # last known durable position on the target
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    source_lsn: int | None = None
    """How far the source had written at the last look, and when that was by its own clock (Unix seconds)."""
    source_at: float | None = None
    rows_applied: int = 0
    in_sync: bool = False
    told_drift: Sequence[str] = ()
    """Marks of what has been told of tables that changed on the source and on the target did not."""
    shapes_seen: str = ""
    """What the source's tables looked like then: another worker need not read very many of them to find the same."""
    publication_row: str = ""
    """Which version of the publication's own row was seen last: it is another one once somebody has altered it."""


@frozen
class SpoolState:
    """What is kept of a database's changes on a worker's disk and was confirmed to the source.

    `ends`: it holds what committed before this LSN. `size`: bytes that are still to be applied. `host`: whose disk.
    """

    ends: int
    size: int
    host: str = ""


class TableStatus(StrEnum):
    """Where one table stands."""

    WAITING = "waiting"
    COPYING = "copying"
    COPIED = "copied"
    INDEXING = "indexing"
    DONE = "done"
    QUARANTINED = "quarantined"  # its changes are skipped until it is copied again or dropped from the task
    DROPPED = "dropped"  # from the task: never synced again, never compared


SET_ASIDE = frozenset({TableStatus.QUARANTINED, TableStatus.DROPPED})
"""Tables that the sync passes by because somebody decided so. Their watermark is NEVER."""

NEVER = (1 << 63) - 1
"""Watermark of a table that a stream leaves out altogether."""


@frozen
class TableState:
    """One physical table of the task (leaf partitions included, partitioned roots not)."""

    database: str
    schema: str
    name: str
    oid: int
    status: TableStatus = TableStatus.WAITING
    bytes_total: int = 0  # pg_table_size at the snapshot
    rows_estimate: int = 0
    bytes_done: int = 0
    rows_done: int = 0
    watermark: int | None = None
    """LSN of the snapshot under which it was copied; the stream skips changes committed before it."""
    unlogged: bool = False
    published_by: Sequence[int] = ()
    """Numbers of the entries of the publication that brought its changes at `watermark`; empty: not known."""
    numbers: Sequence[tuple[str, int]] = ()
    """Its stored columns and their places (attnum) on the source, as they were when the target got their values.

    Under another number it is another column; what is missing is not known. Under no name: where the rows were then.
    """

    @property
    def set_aside(self) -> bool:
        """Whether the sync passes it by because somebody decided so."""
        return self.status in SET_ASIDE


@frozen
class EntryState:
    """State of one archive entry that needs remembering: done, or failed with the server's words."""

    database: str
    dump_id: int
    section: str
    type: str
    schema: str
    name: str
    done: bool
    error: str = ""


NOT_MOVED = frozenset({"structure_only", "left_out"})
"""Verdicts on what was not to be moved."""
AHEAD = "ahead"
"""Verdict on a sequence of the target that somebody has used: it is further on than the source's, and stays so."""
FINE = NOT_MOVED | {"equal", AHEAD}
"""Verdicts that stand in nobody's way."""


@frozen
class TableDifference:
    """Verdict on one table: `equal`, `differs`, `not_compared` (with the reason), or for what the selection does
    not move with its rows, or not at all, `structure_only` and `left_out`; of sequences also `ahead`."""

    schema: str
    name: str
    verdict: str
    source_rows: int = 0
    target_rows: int = 0
    sample_keys: tuple[str, ...] = ()
    reason: Sentence = NOTHING


@frozen
class Comparison:
    """A comparison of one database at one consistent point."""

    database: str
    lsn: int | None
    started_at: datetime
    finished_at: datetime
    tables: tuple[TableDifference, ...]
    other: tuple[TableDifference, ...] = ()
    """Sequences, large objects, foreign keys that are left out: same verdicts, `schema.name` is the object."""
    rows_applied: int | None = None
    """`DatabaseState.rows_applied` at `lsn`: whatever the sync has applied since, this comparison has not seen."""

    @property
    def equal(self) -> bool:
        """True only when everything that moves was compared and nothing differs; a sequence may be ahead."""
        return all(item.verdict in FINE for item in (*self.tables, *self.other))


@frozen
class Note:
    """Something of the structure that did not arrive on the target, or is not as on the source.

    Names are those of the target; `database` is the source's. `statement` would mend it, or made it when the target
    refused that; `words` are what the target said then. Both may be empty.
    """

    database: str
    kind: str
    name: str
    what: Sentence
    schema: str = ""
    table: str = ""
    statement: str = ""
    words: str = ""

    @property
    def title(self) -> Sentence:
        """How the object is called in messages, such as `index by_day on shop.orders`."""
        where = ".".join(part for part in (self.schema, self.table or (self.name if self.schema else "")) if part)
        if self.table and self.name:
            return say("{kind} {name} on {where}", kind=noun(self.kind), name=self.name, where=where)
        if self.kind == "default privileges" and self.schema:  # what they are for is no name inside the schema
            return say("{kind} {name} in schema {schema}", kind=noun(self.kind), name=self.name, schema=self.schema)
        return say("{kind} {name}", kind=noun(self.kind), name=where or self.name)


class Store(Protocol):
    """Progress and resume facts, kept on our own rows."""

    def database(self, source_name: str) -> DatabaseState:
        """Return the stored state, or a fresh one with the plan's target name."""

    def save_database(self, state: DatabaseState) -> None:
        """Store it durably."""

    def spool(self, database: str) -> SpoolState | None:
        """Return what is known of the spool of a database, None when it has none."""

    def save_spool(self, database: str, state: SpoolState | None) -> None:
        """Store it durably, with this machine as the host; None: it is gone."""

    def tables(self, database: str) -> list[TableState]:
        """Return the stored tables in the order in which they were saved."""

    def save_tables(self, *states: TableState) -> None:
        """Insert or update durably."""

    def table_progress(self, state: TableState) -> None:
        """Remember running counts of a table. May be lost in a crash; writes at most every second or so."""

    def entries(self, database: str) -> dict[int, EntryState]:
        """Return the remembered archive entries by dump id."""

    def save_entries(self, *states: EntryState) -> None:
        """Insert or update durably."""

    def step_progress(self, done: float, total: float, note: str = "") -> None:
        """Show how far the current step is. `done` and `total` in any one unit; may be throttled."""

    def source_keeps(self, kept_bytes: int) -> None:
        """Remember how much WAL the source keeps for this task now. For charts: may be throttled or lost in a crash."""

    def snapshot_held(self, database: str, since: datetime | None) -> None:
        """Remember since when the oldest snapshot of a database of the source is held; None: none is.

        Does not wait until it is written, and may be lost in a crash.
        """

    def event(self, level: str, code: str, message: str, **detail: Any) -> None:
        """Append to the task's history. `level`: info, warning or error."""

    def recopies(self, database: str) -> list[tuple[str, str]]:
        """Return (schema, name) of the tables that are to be copied once more, in the order of the requests."""

    def recopied(self, database: str, schema: str, name: str) -> None:
        """Take a request back: the table has been copied."""

    def permissions(self, database: str) -> list[Permission]:
        """Return the permissions to take the source's row that are not used up."""

    def permission_used(self, permission: Permission, use: Use) -> None:
        """Use a permission up durably, and tell it in the task's history; twice is once.

        Only when everything up to its place is on the target for good.
        """

    def leaves(self, database: str) -> list[Leave]:
        """Return the leaves to change a table of the target that are not used up."""

    def leave_used(self, leave: Leave) -> None:
        """Use a leave up durably; twice is once. Only when everything up to its place is on the target for good."""

    def renamed(self, table: TableState, schema: str, name: str) -> None:
        """Give a table of the task another name durably, with what was decided about it, and in what is selected."""

    def new_tables(self, database: str, found: Sequence[NewTable]) -> list[NewTable]:
        """Remember durably which new tables the source has now; return those that were not known yet.

        What was decided about one stays, also when it is gone; undecided ones that are gone are forgotten. A wanted one
        becomes an addition.
        """

    def additions(self, database: str) -> list[NewTable]:
        """Return the new tables that are to be added, in the order of the requests."""

    def added(self, database: str, table: NewTable) -> None:
        """Take a request back durably: the table is one of the task's, and in sync."""

    def not_added(self, database: str, table: NewTable, why: Sentence) -> None:
        """Let somebody decide anew about a table that cannot be added; the task's unfinished tables of it go."""

    def save_comparison(self, comparison: Comparison) -> None:
        """Store a finished comparison."""

    def save_notes(self, database: str, compared: int, notes: Sequence[Note]) -> None:
        """Store what a structure comparison of a database found, instead of what an earlier one did.

        `compared` counts the objects.
        """


@frozen
class Ports:
    """The three together, as steps receive them."""

    control: Control
    ledger: Ledger
    store: Store
