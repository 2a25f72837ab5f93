"""What an interruption costs, in words: with sync next to nothing, without it the copy that is under way."""

from __future__ import annotations

from ..engine.states import copies_from_the_start
from ..engine.wording import Sentence, say
from ..models import MigrationTask


def said_of_pause(task: MigrationTask) -> Sentence:
    """Return what the history tells of Pause."""
    if task.incremental:
        return say("Paused. The source keeps the changes for us meanwhile, which takes disk space there.")
    if _copies_anew(task):
        return say(
            "Paused. Without sync all tables must come from one moment of the source, which has ended with the pause:"
            " Resume copies every table again from the beginning."
        )
    return say("Paused. All rows are on the target; Resume goes on with what follows them.")


def said_of_retry(task: MigrationTask) -> Sentence:
    """Return what the history tells of Retry."""
    if _copies_anew(task):
        return say("Trying again; every table is copied from the beginning.")
    return say("Trying again from where it stopped.")


def _copies_anew(task: MigrationTask) -> bool:
    return copies_from_the_start(task.current_step, incremental=task.incremental)
