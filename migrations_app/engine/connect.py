"""The one place that opens PostgreSQL sessions: pinned settings, deadlines, names, translation of errors.

Every session of a run is known to its `Sessions`, so that Cancel can cut all of them within a second, and carries an
`application_name` with the run's epoch, so that a later run can end what a killed worker left behind.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import psycopg
from psycopg import pq
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from .carrying import Forwarders
from .classifying import classified
from .errors import AcceptedNow, ConnectFailed, EngineError
from .handshake import accepted_methods
from .names import application_name
from .onlooker import Onlooker
from .orphans import MAY_END, WAIT_SECONDS, Orphans, not_ended
from .patience import Session, Tell, Watcher, tell_wait
from .pins import BLANKS, ESCAPES_SINCE, PINS, PINS_BY_VERSION, dropped, pinned_options
from .plan import Plan, Server, Side, TlsMode
from .ports import Control
from .reaching import connect_arguments, forwarded_failure, patience_seconds, reached
from .server_codecs import codec_for
from .spare import Spare

Connection = psycopg.Connection[tuple[object, ...]]

_TRIES = 5
_TEXTS = (25, 19, 1043, 1042, 18, 705, 0)
"""Oids of text, name, varchar, bpchar, "char" and what has no type."""


class _Text(Loader):
    """Reads text of a session without an encoding as `str`, of which any byte can be made again."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "surrogateescape")


def _read_texts(connection: Connection) -> None:
    """Have a session whose encoding is SQL_ASCII answer as all others do: psycopg gives bytes there."""
    if connection.info.encoding == "ascii":
        for oid in _TEXTS:
            connection.adapters.register_loader(oid, _Text)


def codec_of(connection: Connection) -> str:
    """Return the codec of a session's names and messages; with `surrogateescape` it takes every byte of SQL_ASCII."""
    return "utf-8" if connection.info.encoding == "ascii" else codec_for(connection.info.encoding)


def set_all(connection: Connection, settings: Mapping[str, str], asking: str = "NULL") -> object:
    """Set parameters of a session in one statement, so all or none; return what an expression comes to there.

    Raises psycopg's errors.
    """
    if not settings:
        return None
    calls = ", ".join([asking, *["pg_catalog.set_config(%s, %s, false)"] * len(settings)])
    words = [word for pair in settings.items() for word in pair]
    row = connection.execute(f"SELECT {calls}".encode(), words).fetchone()
    return row[0] if row else None


def speak(connection: Connection, encoding: str) -> None:
    """Change the client encoding of a session. Raises psycopg's errors."""
    if connection.info.parameter_status("client_encoding") != encoding:
        set_all(connection, {"client_encoding": encoding})
    _read_texts(connection)


class Sessions:
    """All sessions of one run. Thread-safe. Use as a context manager: leaving it closes everything.

    A statement of theirs that a server neither answers nor works on fails after a minute (`patience`), as a lost
    session does; `tell` hears of what others keep it waiting for.

    `open` raises ConnectFailed with the reason in words; a session that dies later raises psycopg's errors, which
    `translate` turns into EngineError.
    """

    def __init__(self, plan: Plan, control: Control, tell: Tell | None = None) -> None:
        self.plan = plan
        self.control = control
        self._tell = tell
        self._lock = threading.Lock()
        self._open: set[Session] = set()
        self._orphans = Orphans()
        self._versions: dict[Side, int] = {}
        self._sides: weakref.WeakKeyDictionary[Connection, Side] = weakref.WeakKeyDictionary()
        self.forwarders = Forwarders(plan.connect_timeout_seconds)
        self._stopped = False
        self.spare = Spare()
        control.on_stop(self.interrupt)

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def server(self, side: Side, database: str = "") -> Server:
        """Return the address to dial for `side`: the server itself, or our forwarder's private socket.

        pg_dump and the raw relay need a plain socket, so with TLS or a bastion everything goes through the forwarder
        process, which judges the address at each connect. Raises ConnectFailed as `reached` does.
        """
        server = self._configured(side)
        if database:
            server = replace(server, database=database)
        forwarder = self.forwarders.needed(self._configured(side), side)
        if forwarder:
            return replace(forwarder.plain(server), require_auth=accepted_methods(server))
        return reached(replace(server, tls=TlsMode.DISABLE), side, self.plan.connect_timeout_seconds)

    def _configured(self, side: Side) -> Server:
        return self.plan.server(side)

    def version(self, side: Side) -> int:
        """Return the server's version number, such as 160014."""
        if side not in self._versions:
            self.open(side).close()
        return self._versions[side]

    def open(
        self,
        side: Side,
        database: str = "",
        *,
        autocommit: bool = True,
        replication: bool = False,
        encoding: str = "UTF8",
        **settings: str | None,
    ) -> Connection:
        """Open a tracked session with all pins; `settings` are further GUCs sent in `options`, None leaves a pin out.

        `encoding` is the client encoding; copy and replication sessions pass the source's server encoding so that
        bytes travel untouched. Raises ConnectFailed, or what `Control.check` raises when the run must stop.
        """
        self.control.check()
        self.spare.close(side)  # takes its place: there are never more sessions than are in use at the same time
        known = self._versions.get(side)
        if known is None and replication:  # a walsender knows no set_config: learn the version from an ordinary session
            known = self.version(side)
        arguments = self._arguments(side, database, replication=replication)
        arguments |= {"client_encoding": encoding, "options": pinned_options(known or 0, **settings)}
        connection = self._log_in(side, arguments, autocommit=autocommit)
        _read_texts(connection)
        if known is None:
            self._versions[side] = connection.info.server_version
            self._pin_late(connection, side)
        elif not replication and known < ESCAPES_SINCE:
            self._pin(connection, BLANKS)
        self._sides[connection] = side
        connection.number = connection.info.backend_pid
        connection.watcher = self._watcher(side, str(arguments["dbname"]), connection.number)
        self._track(connection)
        return connection

    def refused(self, side: Side, database: str, **settings: str) -> ConnectFailed | None:
        """Log in once with these settings beside the pins, and out; return why that failed, None when it did not.

        Raises what `Control.check` raises.
        """
        version = self.version(side)
        self.spare.close(side)
        arguments = self._arguments(side, database, replication=False)
        arguments |= {"client_encoding": "UTF8", "options": pinned_options(version, **settings)}
        try:
            self._log_in(side, arguments, autocommit=True, tries=1).close()
        except ConnectFailed as failure:
            return failure
        return None

    def _log_in(self, side: Side, arguments: dict[str, str | int], *, autocommit: bool, tries: int = _TRIES) -> Session:
        """Log in; again where the server has been found to accept it by now, as when a last session was just ending."""
        name, started = application_name(self.plan.key, self.plan.epoch), time.monotonic()
        try:
            return Session.connect(
                autocommit=autocommit,
                prepare_threshold=None,
                application_name=name,
                **arguments,  # type: ignore[arg-type]
            )
        except psycopg.OperationalError as error:
            self.control.check()
            replication = "replication" in arguments
            failure = self._failure(side, str(arguments["dbname"]), error, started, replication=replication)
            if tries <= 1 or not isinstance(failure, AcceptedNow):
                raise failure from error
        self.control.sleep(0.1)  # the login that found it out must end, too
        return self._log_in(side, arguments, autocommit=autocommit, tries=tries - 1)

    def _watcher(self, side: Side, database: str, pid: int) -> Watcher:
        onlooker = Onlooker(lambda: self.open(side, database), self.control.check, pid)
        return Watcher(
            self.control.check,
            onlooker.look,
            lambda vital: tell_wait(self._tell, side, vital) if self._tell else None,
            at_work=onlooker.at_work,
        )

    def side_of(self, connection: Connection) -> Side | None:
        """Return which server a session of ours belongs to, also after it was closed."""
        return self._sides.get(connection)

    def _arguments(self, side: Side, database: str, *, replication: bool) -> dict[str, str | int]:
        server = self.server(side, database)
        seconds = patience_seconds(self._configured(side), self.plan.connect_timeout_seconds)
        arguments = connect_arguments(server, timeout_seconds=seconds)
        # What a server has not read for so long counts for the kernel, too, and a lock that it waits for may last: the
        # session's watcher knows one from the other.
        arguments["tcp_user_timeout"] = 0
        if replication:
            arguments["replication"] = "database"
        return arguments

    def _failure(
        self, side: Side, database: str, error: psycopg.OperationalError, since: float, *, replication: bool
    ) -> ConnectFailed:
        return forwarded_failure(
            self.forwarders.known(side), self._configured(side), side, database, error, since, replication=replication
        )

    def lost(self, side: Side, since: float) -> bool:
        """Say whether the SSH connection of a side broke after this monotonic time, for tools that cannot tell."""
        forwarder = self.forwarders.known(side)
        return forwarder is not None and forwarder.lost(since)

    def _pin_late(self, connection: Connection, side: Side) -> None:
        """Apply the pins that only some versions know, on the very first session, whose version was unknown.

        Raises ConnectFailed when the others have not arrived.
        """
        version = connection.info.server_version
        late = [more for since, more in PINS_BY_VERSION.items() if version >= since]
        digits = self._pin(connection, *late, *([BLANKS] if version < ESCAPES_SINCE else []))
        if digits != PINS["extra_float_digits"]:
            connection.close()
            raise dropped(side, digits)

    @staticmethod
    def _pin(connection: Connection, *groups: dict[str, str]) -> object:
        """Set pins; return what the session has for one of those that it should have been given at its login."""
        settings = {name: value for pins in groups for name, value in pins.items()}
        with contextlib.nullcontext() if connection.autocommit else connection.transaction():
            return set_all(connection, settings, "pg_catalog.current_setting('extra_float_digits')")

    def end_orphans(self, connection: Connection) -> None:
        """End on a session's server what other sessions of this run left there when they were lost: see `Orphans.end`.

        Costs nothing when none was.
        """
        self._sort_out()
        self._orphans.end(connection, self._sides[connection], self.control.sleep)

    def _sort_out(self) -> None:
        with self._lock:
            over = {known for known in self._open if known.closed}
            self._open -= over
        for known in over:
            if not known.at_rest:
                self._orphans.note(self._sides[known], known.number)

    def _track(self, connection: Session) -> None:
        self._sort_out()
        with self._lock:
            self._open.add(connection)
            stopped = self._stopped
        self._orphans.ended(self._sides[connection], connection.number)  # or the number were not free
        if stopped:
            connection.close()
            self.control.check()

    @contextlib.contextmanager
    def session(
        self, side: Side, database: str = "", *, replication: bool = False, **settings: str
    ) -> Iterator[Connection]:
        """Give a session for a `with` block, as `open` does or one that was used before and is as new (`spare`)."""
        self.control.check()
        database = database or self._configured(side).database
        # Only what all sessions log in with comes back by DISCARD ALL; so what one of them wants is set afterwards.
        may_stay = not replication and self._versions.get(side, 0) >= ESCAPES_SINCE
        given = {} if may_stay else settings
        found = self.spare.take(side, database) if may_stay else None
        connection = found or self.open(
            side, database, autocommit=True, replication=replication, encoding="UTF8", **given
        )
        try:
            set_all(connection, settings if may_stay else {})
            yield connection
        except BaseException:
            connection.close()
            raise
        self.spare.put(side, database, connection) if may_stay else connection.close()

    def interrupt(self) -> None:
        """Cancel whatever runs on every session. Called from another thread when the run must stop.

        All at once: one session behind a dead link must not keep the others waiting.
        """
        with self._lock:
            self._stopped = True
            connections = [connection for connection in self._open if not connection.closed]
        cancel_all(connections)

    def close(self) -> None:
        """Close every session and forwarder. Idempotent."""
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            with contextlib.suppress(psycopg.Error, OSError):
                connection.close()
        self.forwarders.close()


def cancel_all(connections: Sequence[Connection]) -> None:
    """Ask the servers to cancel what runs on these sessions; returns within about three seconds. Never raises."""

    def cancel(connection: Connection) -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            connection.cancel_safe(timeout=2.0)

    active = pq.TransactionStatus.ACTIVE
    busy = [one for one in connections if not one.closed and one.pgconn.transaction_status == active]
    threads = [threading.Thread(target=cancel, args=(connection,), daemon=True) for connection in busy]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 3
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))


_OLDER = (
    "SELECT pid, xact_start IS NOT NULL, pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"  # noqa: S608 - constants
    " WHERE CASE WHEN application_name ~ %s THEN split_part(application_name, ':', 3)::bigint < %s ELSE false END"
    f" AND pid <> pg_catalog.pg_backend_pid() AND {MAY_END.format('usesysid')}"
)


def end_older_sessions(
    connection: Connection, key: str, epoch: int, *, wait_seconds: float = WAIT_SECONDS, strict: Side | None = None
) -> int:
    """Terminate sessions of this task that belong to older epochs, and wait until they are gone.

    Returns how many were told to end. A killed worker's CREATE INDEX or COPY may still run on the server; it must be
    gone before we look at what exists. A newer epoch is never touched: then we are the one that should not be here.
    Waits at most `wait_seconds`; a session that does not end by then is left to the server. `strict` (the server that
    is asked): not one that has a transaction open, for which ConnectionLost is raised.
    """
    pattern = "^" + re.escape(application_name(key, 0)[:-1]) + "[0-9]{1,18}$"
    told, deadline = 0, time.monotonic() + wait_seconds
    while True:
        rows = connection.execute(_OLDER, (pattern, epoch)).fetchall()
        told = max(told, len(rows))
        if rows and time.monotonic() <= deadline:
            time.sleep(0.1)
            continue
        if strict and (left := [int(str(process)) for process, holds, _ in rows if holds]):
            raise not_ended(strict, left)
        return told


def translate(error: psycopg.Error, side: Side, doing: str) -> EngineError:
    """Turn a driver error into ours: a lost session is retryable, anything else says what was being done.

    Classified by SQLSTATE, never by words: servers speak many languages.
    """
    unspoken = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return server_error(error.sqlstate or ("08006" if unspoken else ""), first_line(error), side, doing)


def server_error(state: str, words: str, side: Side, doing: str) -> EngineError:
    """Return the typed error for what a server said with this SQLSTATE; the same rules as `translate`."""
    failure = classified(state, words, side, doing)
    failure.sqlstate = state
    return failure


def first_line(error: psycopg.Error) -> str:
    """Return the primary message of a server error, without row contents, shortened to 500 characters."""
    message = (error.diag.message_primary or str(error)).strip()
    if not message:
        return type(error).__name__
    return "".join(ch if ch.isprintable() else " " for ch in message.splitlines()[0])[:500]
