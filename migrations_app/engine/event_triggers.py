"""Event triggers are made as the very last of a database: they act on statements, and would act on all of ours.

Those that act at logins come disabled, and act only when a login with them was seen to succeed: one whose function
fails or hangs would let nobody into the database any more, us included.
"""

from __future__ import annotations

import contextlib
import re
import time

import psycopg

from .archive import archive_of_all
from .connect import Connection, first_line
from .errors import AcceptedNow, ConnectFailed
from .failpoints import durable
from .login_libraries import server_words
from .outcome import Run
from .plan import DatabasePlan, Side
from .restore import Manner, entry_state, raise_unless_refused, remember, run_entries, set_owners
from .silencing import may_silence_triggers, quiet_events
from .target_objects import kept, record
from .toc import Entry
from .wording import closed, say

_NAME = rb'("(?:[^"]|"")+"|[^\s";]+)'
_AT_LOGIN = re.compile(rb"CREATE EVENT TRIGGER " + _NAME + rb" ON login\s")
_STATE = re.compile(rb"\nALTER EVENT TRIGGER " + _NAME + rb" (DISABLE|ENABLE(?: ALWAYS| REPLICA)?);\s*\Z")
_OFF, _IN_REPLICAS, _ON = b"DISABLE", b"ENABLE REPLICA", b"ENABLE"
_PROVEN = ("O", "A")
_TRIES, _PAUSE_SECONDS = 3, 0.2


def restore_event_triggers(run: Run, database: DatabasePlan) -> None:
    """Make them in their states, with owners and comments. Idempotent; refusals are listed in an event.

    One that acts at logins stays disabled where a login of ours did not succeed with it, or could not be tried without
    letting everybody else meet it, which an event tells. What was there before stays as it is.
    """
    archive = archive_of_all(run, database)
    triggers = archive.of_type("EVENT TRIGGER")
    if not triggers:
        return
    with run.sessions.session(Side.TARGET, database.target_name) as connection:
        connection.execute(archive.setup or b"SELECT 1")
        quiet_events(connection)  # some are there already when this is repeated
        theirs = kept(run, database.target_name, connection, triggers)
        triggers = [entry for entry in triggers if entry.dump_id not in theirs]
        record(run, database, triggers)
        failures = run_entries(run, connection, triggers, _LISTED)
        remember(run, database, failures)
        refused = {failure.entry.dump_id for failure in failures}
        made = {entry.dump_id: entry for entry in triggers if entry.dump_id not in refused}
        set_owners(run, connection, list(made.values()))
        comments = [one for one in archive.of_type("COMMENT") if not made.keys().isdisjoint(one.depends_on)]
        remember(run, database, run_entries(run, connection, comments, _LISTED))
        for entry in made.values():
            _let_act_at_logins(run, database, connection, entry)


def _harmless(entry: Entry) -> bytes:
    """Return the definition; of one that acts at logins it ends with the trigger disabled, in the same transaction."""
    found = _AT_LOGIN.match(entry.definition)
    return entry.definition + b"\n" + _alter(found[1], _OFF) if found else entry.definition


_LISTED = Manner(is_fatal=lambda entry: False, text=_harmless, repeatable=True)


def _alter(name: bytes, state: bytes) -> bytes:
    return b"ALTER EVENT TRIGGER " + name + b" " + state + b";"


@durable("target.entry", "EVENT TRIGGER")
def set_state(connection: Connection, name: bytes, state: bytes) -> None:
    """Enable or disable an event trigger by its quoted name. Raises psycopg's errors."""
    connection.execute(_alter(name, state))


def _let_act_at_logins(run: Run, database: DatabasePlan, connection: Connection, entry: Entry) -> None:
    """Give a trigger that acts at logins the state that it has on the source, if a login succeeds with it."""
    found, told = _AT_LOGIN.match(entry.definition), _STATE.search(entry.definition)
    wanted = told[2] if told else _ON
    if found is None or wanted == _OFF:
        return
    row = connection.execute(
        "SELECT evtenabled::text FROM pg_catalog.pg_event_trigger WHERE evtname = %s", (entry.tag,)
    ).fetchone()
    if row is None or row[0] in _PROVEN:  # this session has come in with it
        return
    name, statement = found[1], _alter(found[1], wanted).decode(errors="replace")
    if not may_silence_triggers(connection):
        words = say("It was not tried out: the target account may not set session_replication_role.")
        text = say(
            "{target_name}: the event trigger {name}, which acts at logins, stays disabled on the target. {words} If"
            " logins failed with it, nobody could get in any more. To enable it when you are sure that they do not,"
            " run: {statement}",
            target_name=database.target_name,
            name=entry.tag,
            words=words,
            statement=statement,
        )
        _tell_disabled(run, database, entry, words, text)
        return
    try:
        refused = _tried(run, database, connection, name, wanted)
    except psycopg.Error as error:
        raise_unless_refused(run, error, say("restoring {label}", label=entry.label))
        refused = first_line(error)
    if refused:
        text = say(
            "{target_name}: the event trigger {name}, which acts at logins, stays disabled on the target, because our"
            " login with it did not succeed: {words} To enable it when its function is mended, run: {statement}",
            target_name=database.target_name,
            name=entry.tag,
            words=closed(refused),
            statement=statement,
        )
        _tell_disabled(run, database, entry, refused, text)


def _tell_disabled(run: Run, database: DatabasePlan, entry: Entry, words: str, text: str) -> None:
    run.ports.store.save_entries(entry_state(database, entry, error=words))
    run.ports.store.event("warning", "LOGIN-TRIGGER", text)


def _tried(run: Run, database: DatabasePlan, connection: Connection, name: bytes, wanted: bytes) -> str:
    """Enable the trigger if logins succeed with it; return what the server said when they do not, and it is disabled.

    What may have been in the way for another reason, such as a full server, is tried again. Raises ConnectFailed when a
    login fails without the trigger too.
    """
    words = ""
    for _ in range(_TRIES):
        began = time.monotonic()
        failure = _failure(run, database, connection, name, wanted)
        if failure is None:
            return ""
        words, took = server_words(failure), time.monotonic() - began
        set_state(connection, name, _OFF)
        run.sessions.open(Side.TARGET, database.target_name).close()  # or else it was for another reason
        if took >= _trial_seconds(run) or not (isinstance(failure, AcceptedNow) or failure.code == "CONNECT-FULL"):
            break
        run.ports.control.sleep(_PAUSE_SECONDS)
    return words


def _failure(
    run: Run, database: DatabasePlan, connection: Connection, name: bytes, wanted: bytes
) -> ConnectFailed | None:
    """Enable the trigger, and return why logins failed with it; None when they did not.

    First it acts in sessions of replicas alone, which only the login that tries it out is. A process that dies in
    between leaves it so.
    """
    set_state(connection, name, _IN_REPLICAS)
    failure = _refused_at_login(run, database, session_replication_role="replica")
    if failure is not None:
        return failure
    set_state(connection, name, wanted)
    try:
        return _refused_at_login(run, database)  # a function may see to who comes in
    except BaseException:  # whether anybody comes in was not found out
        with contextlib.suppress(psycopg.Error):
            set_state(connection, name, _OFF)
        raise


def _refused_at_login(run: Run, database: DatabasePlan, **settings: str) -> ConnectFailed | None:
    """Return how a login failed or hung; None when it succeeded."""
    asked = {"transaction_timeout": f"{_trial_seconds(run)}s", **settings}
    return run.sessions.refused(Side.TARGET, database.target_name, **asked)


def _trial_seconds(run: Run) -> int:
    return max(1, run.plan.connect_timeout_seconds // 2)  # the server ends it before we stop waiting
