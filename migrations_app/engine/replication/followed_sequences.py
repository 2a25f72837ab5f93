"""Carries sequences on while the sync runs, so that the target could be used at once if the source were lost."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import psycopg

from ..connect import first_line, translate
from ..drift import Place
from ..mapping import renaming_of
from ..outcome import Run
from ..plan import DatabasePlan, Side
from ..ports import DatabaseState
from ..sequences import OwnSequences, Sequence, Unreadable, carry_forward
from ..wording import Sentence, count, listing, say
from .lag import SourceWatch

_LOCK_TIMEOUT = "1s"
_NAMES = 10
_OUT_OF_RANGE = psycopg.errors.NumericValueOutOfRange  # what setval says of a value beyond the sequence's limits
MARK = "sequences:"
"""What the mark of a told refusal begins with; the others are of tables that changed."""

_REFUSED, _LIMITS = "SEQUENCES-REFUSED", "SEQUENCES-LIMITS"

_carried: dict[str, dict[int, int]] = {}  # by slot and copy: the values by oid that this process has seen to


class FollowedSequences:
    """The sequences of one database. One thread only.

    They are read with one statement from the source, and only those that have moved are looked at on the target. What
    somebody has moved further on there stays so. Complete sets all of them.
    """

    def __init__(self, run: Run, database: DatabasePlan, watch: SourceWatch) -> None:
        self._run, self._database, self._watch = run, database, watch
        self._own: OwnSequences | None = None

    def look(self, state: DatabaseState) -> DatabaseState:
        """Carry over what has moved; return the state with what has been told. Raises EngineError."""
        try:
            found = self._watch.used_sequences()
        except Unreadable as error:
            return self._tell(state, {_REFUSED: (str(error), _unreadable(self._database, str(error)))})
        if found is None:
            return state
        used, unreadable = found
        carried = _carried.setdefault(f"{state.slot}@{state.consistent_point}", {})
        moved = {oid: item for oid, item in used.items() if carried.get(oid) != item.last_value}
        refused = self._carry([item for item in moved.values() if self._belongs(item)])
        locked = {key for key, error in refused.items() if isinstance(error, psycopg.errors.LockNotAvailable)}
        beyond = {key: error for key, error in refused.items() if isinstance(error, _OUT_OF_RANGE)}
        later = locked | beyond.keys()
        carried.update({oid: item.last_value for oid, item in moved.items() if item.key not in later})
        denied = [key for key, error in refused.items() if isinstance(error, psycopg.errors.InsufficientPrivilege)]
        told = {}
        if places := sorted({*self._wanted(unreadable), *denied}):
            told[_REFUSED] = (repr(places), _refused(self._database, places))
        if beyond:
            told[_LIMITS] = (f"limits {sorted(beyond)}", _beyond(self._database, beyond))
        return self._tell(state, told)

    def _belongs(self, item: Sequence) -> bool:
        selection, name = self._run.plan.selection, self._database.source_name
        if item.owner is None:
            return selection.includes(name, *item.key)
        return selection.mode_of(name, item.owner) == "data"

    def _wanted(self, places: list[Place]) -> list[Place]:
        selection, name = self._run.plan.selection, self._database.source_name
        return [place for place in places if selection.includes(name, *place)]

    def _carry(self, moved: list[Sequence]) -> dict[Place, psycopg.Error]:
        """Move them on where they are behind; return what the target refused by the source's names."""
        if not moved:
            return {}
        run, name = self._run, self._database.target_name
        self._own = self._own or OwnSequences(run, self._database)
        renaming = renaming_of(run, self._database)
        try:
            with run.sessions.session(Side.TARGET, name, lock_timeout=_LOCK_TIMEOUT) as target:
                return carry_forward(moved, target, self._own, renaming)
        except psycopg.errors.InsufficientPrivilege as error:
            if len(moved) == 1:
                return {moved[0].key: error}
            half = len(moved) // 2  # one that may not be read must not keep the others back
            return self._carry(moved[:half]) | self._carry(moved[half:])
        except psycopg.errors.LockNotAvailable as error:
            return {item.key: error for item in moved}
        except psycopg.Error as error:
            run.ports.control.check()
            raise translate(error, Side.TARGET, say("setting sequences")) from error

    def _tell(self, state: DatabaseState, told: Mapping[str, tuple[str, Sentence]]) -> DatabaseState:
        """Tell once what keeps sequences from being followed, and again when the facts are others.

        `told`: by the code of the event the facts, and what is said of them.
        """
        marks = [MARK + _digest(facts) for facts, _ in told.values()]
        before = [mark for mark in state.told_drift if mark.startswith(MARK)]
        if marks == before:
            return state
        for mark, (code, (_, text)) in zip(marks, told.items(), strict=True):
            if mark not in before:
                self._run.ports.store.event("warning", code, text)
        others = [mark for mark in state.told_drift if not mark.startswith(MARK)]
        return replace(state, told_drift=(*others, *marks))


def _digest(facts: str) -> str:
    return hashlib.blake2b(facts.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _unreadable(database: DatabasePlan, words: str) -> Sentence:
    return say(
        "The sequences of {database} cannot be followed while the sync runs; the source says: {words}.",
        database=database.source_name,
        words=words,
    )


def _refused(database: DatabasePlan, places: list[Place]) -> Sentence:
    return say(
        "{number} of {database} cannot be followed while the sync runs, for lack of rights: {names}. Complete needs "
        "these rights, too.",
        number=count(len(places), "{number} sequence", "{number} sequences"),
        database=database.source_name,
        names=listing([".".join(place) for place in places], _NAMES),
    )


def _beyond(database: DatabasePlan, errors: Mapping[Place, psycopg.Error]) -> Sentence:
    return say(
        "{number} of {database} cannot be followed while the sync runs, because the source has come to values beyond "
        "the limits of the target: {names}. Complete needs other limits there, too.",
        number=count(len(errors), "{number} sequence", "{number} sequences"),
        database=database.source_name,
        names=listing([f"{'.'.join(place)} ({first_line(errors[place])})" for place in sorted(errors)], _NAMES),
    )
