"""From when on Complete leads only forward: targets are being opened, and the application may write there."""

from __future__ import annotations

from dataclasses import replace

from .errors import TargetError
from .names import TARGET_SCHEMA
from .outcome import Run
from .plan import DatabasePlan, Side
from .ports import ALONE, OPENING, STAGES, Kind, LedgerItem
from .wording import say


def note_opening(run: Run) -> None:
    """Note durably that targets are opened from here on: with the bookmarks, without a sync alone. Idempotent."""
    if not run.plan.incremental:
        run.ports.ledger.intend(*(_alone(database) for database in run.databases()))
    run.ports.ledger.amend(*(replace(item, detail={**item.detail, OPENING: True}) for item in _marks(run)))


def opening_began(run: Run) -> bool:
    """Say whether this task ever began to open a target, maybe in a process that was killed since."""
    return any(item.detail.get(OPENING) for item in _marks(run))


def require_not_opened(run: Run) -> None:
    """Raise TargetError once a target was opened: nothing of ours may write rows there any more, whoever asks."""
    if opening_began(run):
        raise TargetError(
            say(
                "Complete has opened the target to the application, which may have written to it since. Nothing is"
                " copied, synced or compared there any more."
            ),
            code="COMPLETE-OPENED",
        )


def note_stage(run: Run, database: DatabasePlan, stage: str) -> None:
    """Note durably that a stage of the opening is over in a database."""
    for item in _marks(run, database):
        stages = [*(item.detail.get(STAGES) or ()), stage]
        run.ports.ledger.amend(replace(item, detail={**item.detail, STAGES: stages}))


def stages_over(run: Run, database: DatabasePlan) -> set[str]:
    """Return the stages of the opening that are over in a database, maybe in a process that was killed since."""
    return {str(stage) for item in _marks(run, database) for stage in item.detail.get(STAGES) or ()}


def _alone(database: DatabasePlan) -> LedgerItem:
    detail = {ALONE: True, OPENING: True}
    return LedgerItem(
        side=Side.TARGET, database=database.target_name, kind=Kind.BOOKMARK, name=TARGET_SCHEMA, detail=detail
    )


def _marks(run: Run, database: DatabasePlan | None = None) -> list[LedgerItem]:
    name = database.target_name if database else None
    return run.ports.ledger.items(Side.TARGET, name, kinds={Kind.BOOKMARK})
