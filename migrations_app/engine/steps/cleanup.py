"""The last step: nothing of ours stays on either server."""

from __future__ import annotations

from ..cleaning import everything_left, tell_left
from ..errors import ConnectionLost
from ..outcome import DONE, Outcome, Run
from ..wording import say


def run(run: Run) -> Outcome:
    """Remove everything of ours from both servers; what was migrated belongs to the user from here on. Idempotent.

    Raises ConnectionLost when a server could not be reached, so that it is tried again. What a server refuses is told
    in an event, with the SQL that removes it, and does not hold up the end of the task.
    """
    left = everything_left(run, keep_target_objects=False)
    out_of_reach = [one for one in left if one.unreachable]
    if out_of_reach:
        raise ConnectionLost(
            say("The migration is complete, but cannot be cleaned up yet: {words}", words=out_of_reach[0].words()),
            hint=say("Nothing is lost. It is tried again until the server can be reached."),
        )
    tell_left(run, left, "COMPLETE-LEFT")
    return DONE
