"""Brings the target to an exact position of the source: nothing that committed before the marker is missing."""

from __future__ import annotations

from .comparing.follower import Follower
from .connect import Connection
from .failpoints import durable
from .outcome import Run
from .plan import Side
from .versions import marker_statement, wal_words

_LOOK_SECONDS = 0.2


def drain(run: Run, followers: dict[str, Follower], note: str) -> int:
    """Set a marker on the source, let every database take what committed before it, and return the marker.

    The followers must be paused, and are when it returns; what they took is durable.
    Raises EngineError when a sync fails, or what `Control.check` raises.
    """
    first = run.databases()[0].source_name
    with run.sessions.session(Side.SOURCE, first) as connection:
        marker = set_marker(connection)
    began = {name: follower.session.position for name, follower in followers.items()}
    total = max(1, sum(max(0, marker - position) for position in began.values()))
    for follower in followers.values():
        follower.run_to(marker)
    while not all(follower.arrived() for follower in followers.values()):
        run.ports.control.sleep(_LOOK_SECONDS)
        left = sum(max(0, marker - follower.session.position) for follower in followers.values())
        run.ports.store.step_progress(max(0, total - left), total, note)
    for follower in followers.values():
        follower.wait()
    run.ports.store.step_progress(total, total, note)
    return marker


@durable("source.marker")
def set_marker(connection: Connection) -> int:
    """Return the source's insert position, and write a small transaction behind it.

    That one needs no privilege and changes no table. Its commit makes the server flush, and so report, everything up to
    the marker, also when nobody else writes.
    """
    version = connection.info.server_version
    row = connection.execute("SELECT (" + wal_words(version).insert_position + " - '0/0')::bigint").fetchone()
    marker = int(str(row[0] if row else 0))
    connection.execute(marker_statement(version))
    return marker
