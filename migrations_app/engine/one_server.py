"""Whether the two ends are one server, or the source follows the target: what is done there then happens to both."""

from __future__ import annotations

from enum import Enum, auto

from .connect import Connection
from .errors import ConflictError
from .outcome import Run
from .plan import DatabasePlan, Side
from .probe import read_system_id
from .versions import major
from .wording import say

_START = "SELECT pg_catalog.pg_postmaster_start_time()::text"
_RECOVERY = "SELECT pg_catalog.pg_is_in_recovery()"


class Kinship(Enum):
    """What the source is to the target."""

    STRANGERS = auto()
    """Their system identifiers differ, or no server of the one version can follow one of the other."""
    COPIES = auto()
    """One was made as a physical copy of the other; the source writes by itself, so that it follows nobody."""
    STARTED_APART = auto()
    """The identifiers cannot be read, the starts differ, and the source follows nobody."""
    SAME = auto()
    """One running server."""
    FOLLOWER = auto()
    """The source is a standby with the target's identifier: nothing says for certain that it does not follow it."""
    UNKNOWN = auto()
    """The source is a standby, and the identifiers cannot be read."""

    @property
    def apart(self) -> bool:
        """Whether nothing that is written into the target can reach the source."""
        return self in (Kinship.STRANGERS, Kinship.COPIES, Kinship.STARTED_APART)


def kinship(source: Connection, target: Connection) -> Kinship:
    """Compare system identifiers, and the start of the server process where the identifiers are equal.

    A standby starts at another time than the server that it follows, and the timeline in its control file lags behind,
    so neither tells the two apart.
    """
    first, second = read_system_id(source), read_system_id(target)
    known = first is not None and second is not None
    if known and first != second:
        return Kinship.STRANGERS
    if _one(source, _START) == _one(target, _START):
        return Kinship.SAME
    if _one(source, _RECOVERY):
        if major(source.info.server_version) != major(target.info.server_version):
            return Kinship.STRANGERS
        return Kinship.FOLLOWER if known else Kinship.UNKNOWN
    return Kinship.COPIES if known else Kinship.STARTED_APART


def _one(connection: Connection, text: str) -> object:
    row = connection.execute(text.encode()).fetchone()
    return row[0] if row else None


def refuse_the_source_itself(run: Run, database: DatabasePlan) -> None:
    """Raise ConflictError when emptying or dropping objects of this target database could do the same to the source.

    Looked at anew right before: an address may lead to another server by now than it did at the check.
    """
    if database.target_name not in {one.source_name for one in run.databases()}:
        return
    with (
        run.sessions.session(Side.SOURCE, database.source_name) as source,
        run.sessions.session(Side.TARGET, database.target_name) as target,
    ):
        if kinship(source, target).apart:
            return
    raise ConflictError(
        say(
            "Nothing of {target_name} is emptied or dropped: source and target are one server, or the source may be a "
            "standby of the target, and then the source would lose the same rows.",
            target_name=database.target_name,
        ),
        hint=say("Enter another target server, or another target database name."),
        code="DST-SOURCE",
    )
