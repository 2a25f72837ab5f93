"""At which failpoints workers are killed, in the course of which story, and which other tests kill at the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from migrations_app.engine.failpoints import Act, Moment, Shot
from tests.acceptance.places import Place
from tests.faults import failpoint_stories as stories
from tests.faults.failpoint_kit import Killed


@dataclass(frozen=True)
class Case:
    """A point, killed at before and after something with this detail passes it for the `hit`-th time."""

    point: str
    detail: str = ""
    hit: int = 1

    @property
    def shots(self) -> list[Shot]:
        """The orders."""
        return [Shot(self.point, moment, hit=self.hit, detail=self.detail) for moment in Moment]


@dataclass(frozen=True)
class Tale:
    """One migration in the course of which workers are killed at many points, each twice.

    `row`: of the fault matrix. `before`: what is done with the two databases first. `more`: orders that kill nobody.
    """

    name: str
    row: str
    cases: tuple[Case, ...]
    story: Callable[[Killed], None] = stories.to_the_end
    before: Callable[[Place, Place], None] = stories.as_they_are
    more: tuple[Shot, ...] = ()
    into: Callable[[Place, Place], str] = lambda source, target: ""
    existing: str = "refuse"
    parts: bool = False
    quick: bool = False

    @property
    def marks(self) -> list[pytest.MarkDecorator]:
        """Its row in the fault matrix, and whether `make test` runs it."""
        did = f"kill -9 before and after {len(self.cases)} actions: {self.name}"
        return [pytest.mark.fault(self.row, did), *([pytest.mark.quick] if self.quick else [])]


TALES = (
    Tale(
        "of each step",
        "A5",
        (
            Case("source.slot.create"),
            Case("target.entry"),
            Case("apply.commit"),
            Case("task.step", "cleanup"),
        ),
        quick=True,
    ),
    Tale(
        "of the source's preparation",
        "A3",
        (
            Case("source.setup", "create publication"),
            Case("source.setup", "alter table"),
            Case("source.slot.create"),
            Case("ledger.intend", "publication"),
            Case("ledger.intend", "replica_identity"),
            Case("ledger.intend", "slot"),
            Case("store.database", "schema"),
        ),
    ),
    Tale(
        "of the structure",
        "A1",
        (
            Case("target.database", "make"),
            Case("target.database", "owner"),
            Case("target.role"),
            Case("target.entry"),
            Case("target.flush"),
            Case("local.archive"),
            Case("ledger.intend", "database"),
            Case("ledger.intend", "role"),
            Case("ledger.intend", "file"),
            Case("ledger.intend", "schema"),
            Case("store.tables", "waiting"),
            Case("store.event"),
            Case("task.claim"),
            Case("task.step", "schema"),
        ),
    ),
    Tale(
        "of the copy",
        "A2",
        (
            Case("target.copy", "whole"),
            Case("target.large_objects"),
            Case("target.grants"),
            Case("ledger.intend", "large_objects"),
            Case("store.tables", "copying"),
            Case("store.tables", "copied"),
            Case("task.step", "copy"),
        ),
    ),
    Tale("of a copy in parts", "A2", (Case("target.copy", "part", 2), Case("target.copy", "empty")), parts=True),
    Tale(
        "of the indexes",
        "A4",
        (
            Case("target.index"),
            Case("target.entry", "FK CONSTRAINT"),
            Case("target.validate", "foreign key"),
            Case("target.identity"),
            Case("target.analyze"),
            Case("store.tables", "done"),
            Case("store.database", "index"),
            Case("task.step", "index"),
        ),
    ),
    Tale("of indexes that are replaced", "A4", (Case("target.index.drop"),), stories.index_replaced),
    Tale(
        "of the sync",
        "A5",
        (
            Case("bookmark.create"),
            Case("bookmark.reset"),
            Case("bookmark.claim"),
            Case("target.silence"),
            Case("apply.commit"),
            Case("apply.committed"),
            Case("ledger.intend", "bookmark"),
            Case("ledger.intend", "trigger_state"),
            Case("store.database", "sync"),
            Case("task.step", "sync"),
        ),
    ),
    Tale(
        "of the comparison and of Complete",
        "A7",
        (
            Case("source.marker"),
            Case("store.comparison"),
            Case("task.step", "compare"),
            Case("target.copy", "over"),
            Case("target.sequence"),
            Case("ledger.amend"),
            Case("target.entry", "MATERIALIZED VIEW"),
            Case("target.restored"),
            Case("ledger.removed", "trigger_state"),
            Case("store.notes"),
            Case("task.step", "complete"),
        ),
    ),
    Tale(
        "of a Complete whose owners are bound, by an ordinary account",
        "A7",
        (
            Case("target.sequence"),
            Case("target.entry", "ACL"),
            Case("target.entry", "ROW SECURITY"),
            Case("target.entry", "MATERIALIZED VIEW"),
            Case("target.grants", hit=3),
            Case("store.notes"),
            Case("task.step", "complete"),
        ),
        stories.to_bound_owners,
        before=stories.with_bound_owners,
        into=stories.as_an_ordinary_account,
    ),
    Tale(
        "of the clean-up",
        "A7",
        (
            Case("source.slot.drop"),
            Case("source.publication.drop"),
            Case("source.restored"),
            Case("local.remove"),
            Case("local.remove", "folder"),
            Case("ledger.removed", "slot"),
            Case("ledger.removed", "publication"),
            Case("ledger.removed", "replica_identity"),
            Case("ledger.removed", "file"),
            Case("task.step", "cleanup"),
        ),
    ),
    Tale("of the target's clean-up", "A7", (Case("bookmark.remove"), Case("ledger.removed", "bookmark"))),
    Tale(
        "of Cancel",
        "A7",
        (
            Case("source.slot.drop"),
            Case("source.publication.drop"),
            Case("local.remove", "folder"),
            Case("task.cancelled"),
        ),
        stories.cancelled,
    ),
    Tale("of a task given back", "A7", (Case("task.release"),), stories.cancelled),
    Tale(
        "of the target being cleared",
        "A1",
        (
            Case("target.drop", "table"),
            Case("target.drop", "database"),
            Case("target.drop", "role"),
            Case("ledger.removed", "table"),
        ),
        stories.begun_again,
    ),
    Tale(
        "of a table copied once more",
        "A3",
        (
            Case("bookmark.forget"),
            Case("target.align"),
            Case("store.decision", "recopied"),
            Case("task.asked", "recopy"),
        ),
        stories.copied_once_more,
    ),
    Tale(
        "of a comparison that was asked for",
        "A6",
        (Case("source.confirm", hit=2), Case("store.comparison"), Case("task.asked", "compare")),
        stories.compared,
    ),
    Tale(
        "of tables that were there before",
        "A1",
        (Case("target.emptied"), Case("ledger.intend", "adopted")),
        before=stories.already_there,
        existing="truncate",
    ),
    Tale(
        "of a schema that no dump tells",
        "A1",
        (Case("target.schema"),),
        stories.to_another_public,
        before=stories.without_public,
    ),
    Tale("of an extension's rows", "A3", (Case("target.extension_rows"),), before=stories.with_extension),
    Tale(
        "of what the target refuses",
        "A4",
        (Case("store.entries"),),
        stories.to_an_unproved_key,
        before=stories.with_an_orphan,
    ),
    Tale(
        "of a failure",
        "A5",
        (Case("task.failed"),),
        more=(Shot("apply.commit", Moment.BEFORE, Act.LOSE), Shot("apply.committed", Moment.DONE, Act.LOSE)),
    ),
)

ELSEWHERE = {
    "spool.sync": "postgres/test_spool_kills.py::test_kills_while_the_spool_is_filled_and_while_it_is_emptied",
    "spool.file": "postgres/test_spool_kills.py::test_kills_while_the_spool_is_filled_and_while_it_is_emptied",
    "spool.remove": "postgres/test_spool_kills.py::test_kills_while_the_spool_is_filled_and_while_it_is_emptied",
    "store.spool": "postgres/test_spool_kills.py::test_kills_while_the_spool_is_filled_and_while_it_is_emptied",
}
"""Points that other tests pass with a kill: the file and the test."""

NOT_KILLED = {
    "source.slot.move": "needs a standby; postgres/test_failover.py ends a run right behind it",
    "source.truncate_log": "sources before 11, whose servers only `make test-matrix` has; one transaction",
}
"""Points at which no worker is killed, and why."""
