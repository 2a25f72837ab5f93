"""Places where tests end a worker: before each thing that outlives it, and after, when nothing has noted it yet.

Off unless TOWPATH_FAILPOINTS names a folder that a test has made: one of this user alone, with the file that
`permit` writes in it. Anything else is ignored with a warning, so no setting by mistake harms an installation. Off, a
decorated function is left as it is, and a `with` block costs two empty calls.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import signal
import stat
import time
import types
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from .errors import ConnectionLost
from .wording import verbatim

P = ParamSpec("P")
R = TypeVar("R")

VARIABLE = "TOWPATH_FAILPOINTS"
_PERMIT, _PERMITTED = "permit", "workers that read this may be killed: tests only\n"
_ARMED, _HITS, _GO_ON = "armed", "hits", "go-on"
_LOOK_SECONDS = 0.01

POINTS = {
    "source.setup": "publication, replica identity or trigger on the source; by statement",
    "source.publication.drop": "the publication dropped",
    "source.truncate_log": "the table that notes TRUNCATE on sources before 11",
    "source.slot.create": "a replication slot made",
    "source.slot.drop": "a replication slot dropped",
    "source.slot.move": "a new replication slot moved on, for a standby to take it",
    "source.marker": "a small transaction on the source that marks a place in its WAL",
    "source.restored": "what was changed on the source's tables put back",
    "source.confirm": "a durable position confirmed to the source",
    "target.database": "the target database made or handed over",
    "target.role": "a role made, given its rights, joined or left",
    "target.schema": "a schema made that no archive holds",
    "target.entry": "entries of the archive made; by kind of the first",
    "target.drop": "an object of the target dropped",
    "target.emptied": "tables emptied that were there before",
    "target.extension_rows": "rows or a sequence of an extension copied",
    "target.grants": "rights or an owner given",
    "target.copy": "rows of a COPY committed; by way",
    "target.index": "indexes built; by way",
    "target.index.drop": "a half-built index dropped",
    "target.validate": "a constraint proved",
    "target.identity": "a replica identity set on the target",
    "target.analyze": "statistics made",
    "target.large_objects": "large objects written or removed",
    "target.flush": "commits of the target made durable",
    "target.sequence": "a sequence set",
    "target.silence": "a trigger, rule or identity column switched off for the sync",
    "target.restored": "a trigger, rule or identity column put back",
    "target.align": "columns of a target table changed",
    "bookmark.create": "the bookmark's table made",
    "bookmark.reset": "the bookmark put where the sync begins",
    "bookmark.claim": "the bookmark taken for an epoch",
    "bookmark.forget": "a bookmark of a table that was copied once more removed",
    "bookmark.remove": "the task's bookmark removed",
    "apply.commit": "changes and bookmark sent to be committed together",
    "apply.committed": "the target's word that it has committed, taken",
    "spool.sync": "changes in the spool made durable",
    "spool.file": "a file of the spool begun",
    "spool.remove": "files of the spool removed",
    "local.archive": "the archive of the structure put in its place",
    "local.remove": "files of the task removed",
    "ledger.intend": "something that is about to be made noted; by kind",
    "ledger.removed": "something that is gone crossed off; by kind",
    "ledger.amend": "details of something in the ledger replaced",
    "store.database": "state of a database stored; by whether schema and indexes are done",
    "store.tables": "states of tables stored; by state of the first",
    "store.entries": "states of archive entries stored",
    "store.spool": "state of a spool stored",
    "store.comparison": "a comparison stored",
    "store.notes": "a structure comparison stored",
    "store.event": "something told in the history",
    "store.decision": "somebody's decision used up, or a found table noted; by which",
    "task.claim": "a task taken for a new epoch, in the transaction that takes it",
    "task.release": "a task given back",
    "task.step": "a step marked done; by step",
    "task.asked": "a request of an operator taken back; by which",
    "task.cancelled": "a cancelled task closed, or one that had completed and cleaned up again",
    "task.failed": "a failure or the next try noted",
}
"""Every point, and what outlives the worker there."""


class Moment(StrEnum):
    """When: `done` is when it stands but nothing has noted it; of a note itself, that it has been taken."""

    BEFORE = "before"
    DONE = "done"


class Act(StrEnum):
    """What happens at the hit."""

    KILL = "kill"
    LOSE = "lose"
    PAUSE = "pause"


class Shot(NamedTuple):
    """One order: at the `hit`-th time that the point is reached at the moment, whatever process reaches it.

    `detail` limits it to the times with this detail, such as a kind of the ledger; '' takes all.
    """

    point: str
    moment: Moment = Moment.BEFORE
    act: Act = Act.KILL
    hit: int = 1
    detail: str = ""

    def line(self) -> str:
        """Return it as one line of the orders."""
        return "\t".join(map(str, self)) + "\n"

    @classmethod
    def read(cls, line: str) -> Shot:
        """Return what `line` was made of. Raises ValueError."""
        point, moment, act, hit, detail = line.rstrip("\n").split("\t")
        return cls(point, Moment(moment), Act(act), int(hit), detail)


def permit(folder: Path) -> None:
    """Let workers with this folder in TOWPATH_FAILPOINTS obey the orders that will be in it. For tests only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / _PERMIT).write_text(_PERMITTED)


def arm(folder: Path, *shots: Shot) -> None:
    """Replace the orders of a folder. Raises ValueError for a point that does not exist."""
    for shot in shots:
        if shot.point not in POINTS:
            raise ValueError(f"there is no failpoint {shot.point}")
    (folder / _GO_ON).unlink(missing_ok=True)
    with _Orders(folder) as orders:
        orders.write(list(shots))


def armed(folder: Path) -> list[Shot]:
    """Return the orders that nobody has carried out yet."""
    with _Orders(folder) as orders:
        return orders.read()


def go_on(folder: Path) -> None:
    """Let a paused worker go on."""
    (folder / _GO_ON).touch()


class _Orders:
    """The orders, locked for the time of the block: several processes count hits down."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _ARMED

    def __enter__(self) -> _Orders:
        self._file = self._path.open("a+")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def read(self) -> list[Shot]:
        """Return them."""
        self._file.seek(0)
        return [Shot.read(line) for line in self._file]

    def write(self, shots: list[Shot]) -> None:
        """Replace them."""
        self._file.truncate(0)
        self._file.writelines(shot.line() for shot in shots)
        self._file.flush()


def _folder() -> Path | None:
    """Return the folder of the orders when this process may obey them."""
    name = os.environ.get(VARIABLE, "")
    if not name:
        return None
    folder = Path(name)
    try:
        facts = folder.stat()
        private = facts.st_uid == os.getuid() and not stat.S_IMODE(facts.st_mode) & 0o077
        permitted = (folder / _PERMIT).read_text() == _PERMITTED
    except OSError:
        private = permitted = False
    if private and permitted:
        return folder
    logging.getLogger(__name__).warning("%s is ignored: it does not name a folder that a test has made", VARIABLE)
    return None


_FOLDER = _folder()


class _Off:
    """A point that does nothing."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        pass

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function itself."""
        return function


class _On(_Off):
    """A point that looks for orders."""

    def __init__(self, folder: Path, name: str, detail: str) -> None:
        if name not in POINTS:
            raise ValueError(f"there is no failpoint {name}")
        self._folder, self._name, self._detail = folder, name, detail

    def __enter__(self) -> None:
        self._reach(Moment.BEFORE)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        if kind is None:
            self._reach(Moment.DONE)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def around(*args: P.args, **named: P.kwargs) -> R:
            with self:
                return function(*args, **named)

        return around

    def _reach(self, moment: Moment) -> None:
        act = self._due(moment)
        if act is Act.LOSE:
            raise ConnectionLost(verbatim(f"failpoint {self._name}"))
        if act is Act.PAUSE:
            while not (self._folder / _GO_ON).exists():
                time.sleep(_LOOK_SECONDS)

    def _due(self, moment: Moment) -> Act | None:
        """Count this time, and return what is to happen now."""
        found: Act | None = None
        with _Orders(self._folder) as orders:
            shots = orders.read()
            left = []
            for shot in shots:
                mine = (shot.point, shot.moment) == (self._name, moment) and shot.detail in ("", self._detail)
                if mine and shot.hit == 1 and found is None:
                    found = shot.act
                    with (self._folder / _HITS).open("a") as hits:
                        hits.write(shot.line())
                else:
                    left.append(shot._replace(hit=max(1, shot.hit - mine)))
            if left != shots:
                orders.write(left)
            if found is Act.KILL:
                os.kill(os.getpid(), signal.SIGKILL)  # still locked: no other thread takes an order that goes with us
        return found


_OFF = _Off()


def durable(name: str, detail: str = "") -> _Off:
    """Return the point around something that outlives a worker: a `with` block or the decorator of a function.

    `name` is one of POINTS; `detail` tells apart what passes the same point.
    """
    return _OFF if _FOLDER is None else _On(_FOLDER, name, detail)
