"""The transaction on the target: it begins by checking the bookmark, and ends by moving it and committing.

Bookmark and rows go together, so that a change is applied exactly once however often a worker dies.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial

from psycopg import pq

from ..errors import TargetError
from ..failpoints import durable
from ..lsn import format_lsn
from ..wording import say
from . import bookmark
from .pipeline import Pipeline

CLAIM = say("taking the bookmark")
_BEGINNING = say("beginning a transaction")
_DEFERRING = say("deferring constraints")
CHECKING = say("checking constraints")
_KEEPING = say("setting a savepoint")
_RELEASING = say("releasing a savepoint")
_UNDOING = say("rolling back")
MOVING = say("moving the bookmark")
_ASKING = say("asking for a durable commit")
COMMITTING = say("committing")
_DURABLE_SECONDS = 0.5
_PLANNED_ANEW = 1000
"""After so many transactions the statements of the bookmark are planned anew: one that was planned while the table had
one page reads all of it, however long it has become."""

_DEFER = b"SET CONSTRAINTS ALL DEFERRED"
_SAVEPOINT = b"SAVEPOINT towpath"
_ROLLBACK_TO = b"ROLLBACK TO SAVEPOINT towpath"
_RELEASE = b"RELEASE SAVEPOINT towpath"


class Transaction:
    """The one transaction at a time of an apply session. `durable`: everything before it is on the target for good.
    `rows_applied` counts changes up to there: what a crash of the target takes away would be counted twice. `held`: so
    many of the open one were sent before its last part.

    `on_durable` hears of each advance, `on_commit` of the changes of each commit.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        task: str,
        epoch: int,
        position: int,
        defer_constraints: bool,
        on_durable: Callable[[int], None],
    ) -> None:
        self._pipeline = pipeline
        self._task = task.encode()
        self._epoch = str(epoch).encode()
        self._defer = defer_constraints
        self._on_durable = on_durable
        self.durable = self.committed = self._sent = position
        self.rows_applied = self._rows = self.held = 0
        self.is_open = False
        self._durable_at = 0.0
        self._place: bytes | None = None  # of the bookmark's row, when this session has committed it
        self._placed: bytes | None = None
        self._begun = 0

    @property
    def durable_due(self) -> bool:
        """Whether the last durable commit is old enough for another one."""
        return time.monotonic() - self._durable_at >= _DURABLE_SECONDS

    def begin(self, *, sure: bool = False) -> None:
        """Open it unless it is open. The claim fails, with context CLAIM, when another worker has the bookmark.

        `sure`: the server itself sees to it that there is one, so that `close` need not wait for the answer.
        """
        if self.is_open:
            return
        self._pipeline.command(b"BEGIN", context=_BEGINNING, keep=True)
        self.defer()
        self._begun += 1
        if self._begun % _PLANNED_ANEW == 0:
            self._pipeline.renew(bookmark.CLAIM_SQL, bookmark.SURE_CLAIM_SQL, bookmark.MOVE_SQL)
        parameters = [format_lsn(self._sent).encode(), self._epoch, self._task, self._pipeline.process, self._place]
        claim = bookmark.SURE_CLAIM_SQL if sure else bookmark.CLAIM_SQL
        self._pipeline.command(claim, parameters, expected=1, context=CLAIM, keep=True)
        self.is_open = True

    def defer(self) -> None:
        """Let checks wait for the end, where the account may not silence them."""
        if self._defer:
            self._pipeline.command(_DEFER, context=_DEFERRING)

    def check_now(self) -> None:
        """Run checks that wait: TRUNCATE and ALTER TABLE refuse a table that has some, even of earlier changes."""
        if self._defer:
            self._pipeline.command(b"SET CONSTRAINTS ALL IMMEDIATE", context=CHECKING)

    @contextlib.contextmanager
    def checked(self) -> Iterator[None]:
        """Open it, and let no check wait meanwhile. Raises StatementFailed for one that fails, before anything else."""
        self.begin()
        if self._defer:
            self.check_now()
            self._pipeline.sync()
            self._pipeline.drain()
        yield
        self.defer()

    def keep(self) -> None:
        """Remember this point of an open transaction, for `undo`."""
        self._pipeline.command(_SAVEPOINT, context=_KEEPING)

    def keep_no_longer(self) -> None:
        """Forget the point again."""
        self._pipeline.command(_RELEASE, context=_RELEASING)

    def undo(self, *, to_point: bool) -> None:
        """Take back everything since `keep`, or the whole transaction and begin it anew."""
        if to_point:
            self._pipeline.command(_ROLLBACK_TO, context=_UNDOING)
            self.keep_no_longer()
            return
        self._pipeline.command(b"ROLLBACK", context=_UNDOING)
        self.is_open = False
        self._sent = self.committed
        self.begin()

    @durable("apply.commit")
    def close(self, end: int, changes: int, *, durable: bool) -> None:
        """Move the bookmark to `end` and commit. Only after every answer was read, or when all statements are `sure`: a
        change that found no row is no error to the server by itself, so nothing else keeps it from being committed.
        """
        parameters = [format_lsn(end).encode(), self._task, self._place]
        self._pipeline.command(bookmark.MOVE_SQL, parameters, expected=1, context=MOVING, done=self._on_move, keep=True)
        if durable:
            self._pipeline.command(b"SET LOCAL synchronous_commit = on", context=_ASKING)
        done = partial(self._on_commit, end, durable, self.held + changes)
        self._pipeline.command(b"COMMIT", context=COMMITTING, done=done, keep=True)
        self._pipeline.sync()
        self._sent, self.held = end, 0
        self.is_open = False

    def settle(self, end: int) -> None:
        """Make all that was committed durable, and move the bookmark to `end`, before which nothing else is to come.
        Only between transactions; waits for the answers.
        """
        self.begin()
        self._pipeline.drain()
        self.close(end, 0, durable=True)
        self._pipeline.drain()

    def settle_behind(self) -> None:
        """Settle what came before a transaction whose end may be far: a pause may come first, and counts it then."""
        if not self.is_open and self.committed > self.durable:
            self.settle(self.committed)

    def _on_move(self, result: pq.abc.PGresult) -> None:
        self._placed = result.get_value(0, 0)

    @durable("apply.committed")
    def _on_commit(self, end: int, durable: bool, changes: int, result: pq.abc.PGresult) -> None:
        if result.command_status != b"COMMIT":
            raise TargetError(say("The target rolled back a batch of changes instead of committing it."))
        self.committed, self._place = end, self._placed
        self._rows += changes
        if durable:
            self.durable, self.rows_applied = end, self._rows
            self._durable_at = time.monotonic()
            self._on_durable(end)
