"""What Complete does after the last change has been applied: everything that the stream of changes does not carry."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from . import large_objects
from .catalog import list_tables
from .cleaning.side import GONE
from .cleaning.target import STATES, restore_state
from .compare import compare_database, large_object_verdicts, tables_in_scope
from .comparing.moment import standing
from .connect import Connection, first_line, translate
from .copy_plan import copy_again
from .draining import stop_if_wanted
from .event_triggers import restore_event_triggers
from .extension_rows import carry_extension_rows
from .mapping import renaming_of
from .opening import note_stage, stages_over
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import AHEAD, FINE, NOT_MOVED, TableDifference, TableState
from .postdata import refresh_matviews, restore_deferred
from .row_security import restore_binding, restore_row_security
from .sequences import (
    OwnSequences,
    Sequence,
    carry_over,
    closed_sequences,
    list_sequences,
    selected_sequences,
    unread,
    verdicts,
    with_states,
)
from .silencing import quiet_events
from .target_objects import some
from .unstreamed import Seen, look
from .user_mappings import fill_late
from .wording import count, say, verbatim

_TRIES = 3
_OTHER_BY_NOW = (*GONE, psycopg.errors.ObjectNotInPrerequisiteState)  # the latter of a column that is no identity
_STAGES = 7
_CARRYING = 3  # of these, before the target is opened


class Finisher:
    """Finishes one database. Every method can be repeated after a kill at any moment, and then ends the same."""

    def __init__(self, run: Run, database: DatabasePlan) -> None:
        self._run = run
        self._database = database
        self._stage = 0
        self.seen: Seen | None = None
        """What unlogged tables and large objects of the source were like before this run copied them once more."""

    def carry_rest(self) -> tuple[list[TableDifference], list[TableDifference]]:
        """Carry over what the stream does not; return verdicts on tables and on other things.

        Unlogged tables and large objects are made equal to the source once more, sequences are set (see `carry_over`).
        Nothing that the sync needs is touched: it may go on afterwards. Raises EngineError, and CompleteStopped when
        somebody wants that.
        """
        tables: list[TableDifference] = []
        other: list[TableDifference] = []
        if self._run.plan.incremental:
            self._at(say("unlogged tables"))
            self.seen = look(self._run, self._database)
            tables = self._unlogged()
            self._check()
            self._at(say("large objects"))
            other = self._large_objects()
            self._check()
            carry_extension_rows(self._run, self._database)
        self._at(say("sequences"))
        other += self._sequences()
        self._check()
        return tables, other

    def _check(self) -> None:
        """Before the target is opened somebody may still want the sync to go on, however long all this takes."""
        self._run.ports.control.check()
        stop_if_wanted(self._run)

    def open_target(self) -> None:
        """Put back what was held back or changed for the sync: views' contents, triggers, policies, identity columns.

        Only after the last change has been applied. What the target refuses is told in events. A stage that was over
        before a kill is not repeated: what it has made is in use, and what binds owners would hinder it. Raises
        EngineError.
        """
        self._stage = _CARRYING
        if self._run.plan.incremental:
            self._at(say("triggers, policies and rights"))
            self._once("deferred", restore_deferred)
        self._once("row security", restore_row_security)
        self._at(say("materialized views"))  # their owners need their rights for it
        self._once("views", refresh_matviews)
        fill_late(self._run, self._database)
        self._at(say("states of triggers and identity columns"))
        self._restore_states()
        self._at(say("event triggers"))
        self._once("event triggers", restore_event_triggers)
        self._once("binding", restore_binding)

    def _once(self, stage: str, work: Callable[[Run, DatabasePlan], None]) -> None:
        if stage not in stages_over(self._run, self._database):
            work(self._run, self._database)
            note_stage(self._run, self._database, stage)

    def _at(self, note: str) -> None:
        self._run.ports.control.check()
        names = [database.source_name for database in self._run.databases()]
        at = names.index(self._database.source_name) * _STAGES + self._stage
        self._stage += 1
        self._run.ports.store.step_progress(
            at, len(names) * _STAGES, say("{target_name}: {note}", target_name=self._database.target_name, note=note)
        )

    def _unlogged(self) -> list[TableDifference]:
        """Copy unlogged tables until a comparison right afterwards finds them equal."""
        found: list[TableDifference] = []
        for _ in range(_TRIES):
            if not copy_again(self._run, self._database, _is_unlogged):
                return []
            found = list(self._compare_unlogged())
            if all(item.verdict == "equal" for item in found):
                break
        return found

    def _compare_unlogged(self) -> tuple[TableDifference, ...]:
        run, database = self._run, self._database
        logged = {(t.schema, t.name) for t in run.ports.store.tables(database.source_name) if not _is_unlogged(t)}
        found = compare_database(
            run,
            database,
            lambda lock: standing(run, database, lock=lock),
            check=self._check,
            without=frozenset(logged),
        )
        return tuple(item for item in found.tables if item.verdict not in NOT_MOVED)

    def _large_objects(self) -> list[TableDifference]:
        if not large_objects.selected(self._run, self._database):
            return []
        found: list[TableDifference] = []
        for _ in range(_TRIES):
            large_objects.sync_large_objects(self._run, self._database)
            found = self._both(say("comparing large objects"), self._compare_large_objects)
            if all(item.verdict == "equal" for item in found):
                break
        return found

    def _compare_large_objects(self, source: Connection, target: Connection) -> list[TableDifference]:
        return large_object_verdicts(source, target, self._check)

    def _sequences(self) -> list[TableDifference]:
        return self._both(say("setting sequences"), self._set_sequences)

    def _set_sequences(self, source: Connection, target: Connection) -> list[TableDifference]:
        own = OwnSequences(self._run, self._database)
        try:
            wanted, closed = self._wanted_sequences(source, own)
        except psycopg.errors.InsufficientPrivilege as error:
            words = verbatim(first_line(error))
            return [TableDifference(schema="", name=say("sequences"), verdict="not_compared", reason=words)]
        renaming = renaming_of(self._run, self._database)
        carried = carry_over(wanted, target, own, self._run.ports.control.check, renaming)
        differing = [item for item in carried if item.verdict not in FINE] or [
            item for item in verdicts(wanted, target, own, renaming) if item.verdict != "equal"
        ]
        not_read = [unread(item) for item in closed]
        if differing:
            self._tell_ahead([item for item in differing if item.verdict == AHEAD])
            return differing + not_read
        name = say("{number} × sequence value", number=len(wanted))
        return [*([TableDifference(schema="", name=name, verdict="equal")] if wanted else []), *not_read]

    def _tell_ahead(self, ahead: list[TableDifference]) -> None:
        if ahead:
            text = say(
                "{number} of {target_name} are further on than the source's and stay so, because values of theirs"
                " may be in use: {names}.",
                number=count(len(ahead), "{number} sequence", "{number} sequences"),
                target_name=self._database.target_name,
                names=some(say("{name} ({details})", name=item.name, details=item.reason) for item in ahead),
            )
            self._run.ports.store.event("warning", "SEQUENCES-AHEAD", text)

    def _wanted_sequences(self, source: Connection, own: OwnSequences) -> tuple[list[Sequence], list[Sequence]]:
        """Return those that belong to the task by the selection, and those that the restore has made for it; apart from
        them those of the selection that the account may not read. What nobody can read was told with the structure."""
        run, name = self._run, self._database.source_name
        sequences = list_sequences(source)
        if not sequences:
            return [], []
        tables, _ = tables_in_scope(run, self._database, list_tables(source))
        names = {(table.schema, table.name) for table in tables}
        selected = {item.key for item in selected_sequences(sequences, names, run.plan.selection, name)}
        renaming = renaming_of(run, self._database)
        wanted = [item for item in sequences if item.key in selected or renaming.place(item.key) in own.made]
        closed = closed_sequences(source)
        readable = with_states(source, [item for item in wanted if item.key not in closed])
        return readable, [item for item in wanted if item.key in selected and closed.get(item.key)]

    def _restore_states(self) -> None:
        ledger = self._run.ports.ledger
        items = ledger.items(Side.TARGET, self._database.target_name, STATES)
        if not items:
            return
        with self._run.sessions.session(Side.TARGET, self._database.target_name) as connection:
            quiet_events(connection)
            for item in reversed(items):
                self._run.ports.control.check()
                try:
                    restore_state(connection, item)
                except _OTHER_BY_NOW:
                    pass  # a column that was dropped or renamed since; how it differs is told with the structure
                except psycopg.Error as error:
                    self._run.ports.control.check()
                    raise translate(
                        error, Side.TARGET, say("restoring {schema}.{name}", schema=item.schema, name=item.name)
                    ) from error
                ledger.removed(item)

    def _both(
        self, doing: str, work: Callable[[Connection, Connection], list[TableDifference]]
    ) -> list[TableDifference]:
        sessions = self._run.sessions
        with (
            sessions.session(Side.SOURCE, self._database.source_name) as source,
            sessions.session(Side.TARGET, self._database.target_name) as target,
        ):
            try:
                return work(source, target)
            except psycopg.Error as error:
                self._run.ports.control.check()
                side = Side.SOURCE if source.closed else Side.TARGET
                raise translate(
                    error, side, say("{doing} of {source_name}", doing=doing, source_name=self._database.source_name)
                ) from error


def _is_unlogged(state: TableState) -> bool:
    return state.unlogged and not state.set_aside
