"""What has been taken from the source and is not committed on the target yet: from where, and since when."""

from __future__ import annotations


class Pending:
    """Keeps the oldest of what waits. While the target blocks, this is all that tells how far behind it is.

    `reached`: everything that committed on the source before it is committed on the target; it is exact while
    something waits, and may be older than what the source has reported since. `since`: source time (Unix seconds) of
    the oldest commit that waits, None when none does.
    """

    def __init__(self, position: int) -> None:
        self.reached = position
        self._collected: float | None = None
        self._departed: float | None = None

    @property
    def since(self) -> float | None:
        """Source time of the oldest commit that waits, None when none does."""
        return self._collected if self._departed is None else self._departed

    def begun(self, commit_time: float) -> None:
        """A transaction begins, which was committed at this time."""
        if self._collected is None:
            self._collected = commit_time

    def departed(self, ongoing: float | None) -> None:
        """What was collected is under way. `ongoing`: commit time of the transaction whose rest comes next."""
        self._departed, self._collected = self._collected, ongoing

    def landed(self, end: int, *, complete: bool) -> None:
        """What was under way is on the target: with its commit, everything before `end`, when it was `complete`."""
        if complete:
            self.reached = max(self.reached, end)
            self._departed = None

    def none(self, end: int) -> None:
        """Nothing waits, and everything before `end` has been taken."""
        self.reached = end
        self._collected = self._departed = None
