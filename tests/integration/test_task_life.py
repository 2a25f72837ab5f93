"""Any sequence of operators' and workers' calls on real rows: every move is an arrow, a refusal changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from migrations_app import services
from migrations_app.draft_facts import draft_hash
from migrations_app.engine.errors import CompareDiffers, ConnectionLost, TargetError
from migrations_app.engine.selection import Selection
from migrations_app.engine.states import StepName, may_move, steps_for
from migrations_app.engine.wording import say
from migrations_app.models import CheckItem, Event, LedgerEntry, MigrationTask, TableCopy, User
from migrations_app.services import work
from tests import factories
from tests.integration.conftest import endpoint

BUTTONS: dict[str, Callable[..., Any]] = {
    "check": services.request_check,
    "start": services.start_task,
    "start now": services.start_now,
    "unschedule": services.unschedule_task,
    "reschedule": lambda **who: services.reschedule_task(
        scheduled_at=factories.timezone.now() + factories.timedelta(hours=2), **who
    ),
    "pause": services.pause_task,
    "resume": services.resume_task,
    "retry": services.retry_task,
    "hand over": services.hand_over_task,
    "compare": services.compare_task,
    "complete": services.complete_task,
    "keep syncing": services.keep_syncing,
    "cancel": services.cancel_task,
    "again": lambda **who: services.start_again(clear_target=False, **who),
    "clean up": services.clean_up_task,
    "reopen": services.reopen_task,
    "try now": services.try_now,
    "edit": lambda **who: services.set_selection(selection=Selection.everything(), **who),
}


NEXT = {
    "draft": "check",
    "check_failed": "check",
    "check_passed": "start",
    "paused": "resume",
    "failed": "retry",
    "cancelled": "again",
    "ready": "complete",
}
LATE = (StepName.SYNC, StepName.COMPARE, StepName.COMPLETE, StepName.CLEANUP)


class TaskLife(RuleBasedStateMachine):
    """One task in the console's database; all of it is taken back at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._all = transaction.atomic()
        self._all.__enter__()
        self.claims: list[work.Claim] = []

    def teardown(self) -> None:
        """Take everything back."""
        transaction.set_rollback(True)
        self._all.__exit__(None, None, None)

    @initialize(incremental=st.booleans(), later=st.booleans(), age=st.sampled_from([7, 8, 5, 6, 4, 10, 1]))
    def drafted(self, incremental: bool, later: bool, age: int) -> None:
        """Create the task, to be started at once or at a time, and let it live for a while."""
        self.anna: User = factories.user()
        self.task: MigrationTask = services.create_draft(
            actor=self.anna,
            name="shop",
            scheduled_at=factories.timezone.now() + factories.timedelta(hours=9) if later else None,
            incremental=incremental,
            source=endpoint(),
            target=endpoint(host="new.example"),
        )
        factories.inventory(self.task, tables=1)
        self.seen = self._row()
        self.told = self._events()
        self.goes_on(age)

    def _row(self) -> dict[str, Any]:
        return dict(MigrationTask.objects.filter(pk=self.task.pk).values().get())

    def _events(self) -> list[dict[str, Any]]:
        return list(Event.objects.filter(task=self.task).order_by("pk").values())

    @rule(button=st.sampled_from(sorted(BUTTONS)))
    def operator(self, button: str) -> None:
        """Press a button. What is refused leaves every column and the history as they were."""
        row, events = self._row(), self._events()
        try:
            BUTTONS[button](task_id=self.task.pk, actor=self.anna)
        except services.Refused:
            assert (self._row(), self._events()) == (row, events), f"{button} was refused and changed something"

    @rule(button=st.sampled_from(["pause", "cancel", "reopen", "again", "retry"]), times=st.integers(0, 2))
    def troubled(self, button: str, times: int) -> None:
        """An operator steps in."""
        self.operator(button)
        self.goes_on(times)

    @rule(times=st.integers(1, 2))
    def goes_on(self, times: int) -> None:
        """What comes next in the life of a task that meets no trouble, so that most of it is reached."""
        for _ in range(times):
            self.task.refresh_from_db()
            status, step = self.task.status, self.task.current_step
            if status == "checking":
                self.checked(passed=True)
            elif status == "scheduled":
                work.dispatch(factories.timezone.now() + factories.timedelta(hours=10))
            elif status in NEXT:
                self.operator(NEXT[status])
            elif self.task.lease_until is None:
                self.claimed(sync=status in ("completing", "cancelling") or step in LATE)
            else:
                kind = {"cancelling": "cancelled"}.get(status, "step")
                self.worked("ready" if step == StepName.SYNC and status == "running" else kind)
            self.every_move_is_an_arrow_and_is_told()

    @rule(passed=st.booleans())
    def checked(self, passed: bool) -> None:
        """A worker ends the check."""
        CheckItem.objects.filter(task=self.task).delete()
        factories.check_item(self.task, status="passed" if passed else "failed")
        self.task.refresh_from_db()
        work.finish_check(str(self.task.pk), hash_checked=draft_hash(self.task))

    @rule(sync=st.booleans())
    def claimed(self, sync: bool) -> None:
        """A worker asks for work; what an earlier one holds is never given twice."""
        MigrationTask.objects.filter(pk=self.task.pk).update(not_before=None)
        before = self._row()
        claim = work.claim_sync(str(self.task.pk), "w:1:sync") if sync else work.claim_migration("w:1:migrate")
        if claim:
            assert before["lease_until"] is None
            assert claim.epoch > max((one.epoch for one in self.claims), default=0)
            self.claims.append(claim)

    @rule(kind=st.sampled_from(["step", "ready", "behind", "differs", "broken", "lost", "released", "cancelled"]))
    def worked(self, kind: str) -> None:
        """The worker that claimed last reports; those before it report too and are not heard."""
        for claim in self.claims[:-1]:
            before = self._row()
            self._report(claim, kind)
            assert self._row() == before, f"a worker that lost the task changed it by {kind}"
        if self.claims:
            self._report(self.claims[-1], kind)

    def _report(self, claim: work.Claim, kind: str) -> None:
        self.task.refresh_from_db()
        status, step = self.task.status, self.task.current_step or StepName.SCHEMA
        if kind == "cancelled" and status == "cancelling":
            work.cancelled(claim, left=0)
        elif kind == "step" and status in ("running", "completing") and not self._waits_for_complete():
            work.finish_step(claim, StepName(step))
        elif kind in ("ready", "behind") and step == StepName.SYNC:
            work.set_ready(claim, in_sync=kind == "ready")
        elif kind == "differs" and status == "completing":
            work.back_to_sync(claim, CompareDiffers(say("Something differs.")))
        elif kind == "broken" and status in ("running", "ready", "completing", "cancelling"):
            work.fail(claim, StepName(step), TargetError(say("No space."), code="DST-FULL"))
        elif kind == "lost" and status in ("running", "ready", "completing", "cancelling"):
            work.fail(claim, StepName(step), ConnectionLost(say("Gone.")))
        elif kind == "released":
            work.release(claim)

    def _waits_for_complete(self) -> bool:
        return self.task.status == "running" and self.task.current_step == StepName.SYNC

    @rule(made=st.booleans())
    def on_the_servers(self, made: bool) -> None:
        """Something of ours stands on a server, or does not any more."""
        if made and not LedgerEntry.objects.filter(task=self.task, removed_at=None).exists():
            factories.ledger_entry(self.task, side="target", kind="table", schema="public", name="orders")
        elif not made:
            LedgerEntry.objects.filter(task=self.task).update(removed_at=factories.timezone.now())

    @invariant()
    def every_move_is_an_arrow_and_is_told(self) -> None:
        """The history was only added to, tells every move, and each of them is an arrow of the table."""
        if not hasattr(self, "seen"):
            return
        now, events = self._row(), self._events()
        assert events[: len(self.told)] == self.told
        at = self.seen["status"]
        for event in events[len(self.told) :]:
            if event["to_status"] and event["to_status"] != event["from_status"]:
                assert event["from_status"] == at
                assert may_move(at, event["to_status"]), f"{at} to {event['to_status']}"
                at = event["to_status"]
        assert at == now["status"], "a move that the history does not tell"
        assert now["epoch"] >= self.seen["epoch"]
        assert now["version"] >= self.seen["version"]
        if now["status"] in ("running", "ready", "completing"):
            assert now["current_step"] in steps_for(incremental=now["incremental"])
        self.seen, self.told = now, events


@pytest.mark.long
@pytest.mark.django_db
def test_no_sequence_of_calls_leaves_the_table_of_states() -> None:
    run_state_machine_as_test(TaskLife, settings=settings(max_examples=12, stateful_step_count=14, deadline=None))


def test_complete_waits_for_a_table_that_is_to_be_copied_again(db: None) -> None:
    task = factories.running_task("sync", status="ready")
    TableCopy.objects.create(task=task, database="shop", schema="public", name="again", oid=4711, status="done")
    services.recopy_table(task_id=task.pk, actor=None, database="shop", schema="public", name="again")
    with pytest.raises(services.Refused, match=r"copied again: public\.again"):
        services.complete_task(task_id=task.pk, actor=None)
    task.recopies.all().delete()
    services.complete_task(task_id=task.pk, actor=None)


def test_a_task_that_was_resumed_while_its_worker_ended_the_last_step_before_the_sync_goes_on(db: None) -> None:
    task = factories.running_task("index")
    claim = work.claim_migration("host:1:migrate")
    assert claim is not None
    services.pause_task(task_id=task.pk, actor=None)
    services.resume_task(task_id=task.pk, actor=None)
    assert work.finish_step(claim, StepName.INDEX) == StepName.SYNC
    work.release(claim)
    assert work.claim_sync(str(task.pk), "host:2:sync") is not None
    task.refresh_from_db()
    assert (task.status, task.current_step) == ("running", "sync")
