"""Keeps the product's processes running: one command instead of a process manager.

Each child leads a session of its own, so that Ctrl-C reaches the supervisor only and a child is always ended together
with everything that it started: a queue cluster whose main process was killed leaves orphans that would go on taking
work. A guardian process does the same should the supervisor itself be killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .engine.values import frozen

STOP_FILE_VARIABLE = "TOWPATH_STOP_FILE"
_LIBC = ctypes.CDLL(None)  # before any fork: importing is not safe in a new child
_PR_SET_PDEATHSIG = 1
_LOG_LIMIT_BYTES = 20 << 20

_GUARDIAN = """
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    sign, group = line[0], int(line[1:])
    groups.add(group) if sign == "+" else groups.discard(group)
def end(number):
    for group in groups:
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            pass
end(signal.SIGTERM)
time.sleep(1)
end(signal.SIGKILL)
"""


@frozen(kw_only=False)
class Child:
    """One process to keep running. `env` is added to the supervisor's own environment; secrets never go in `argv`."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None


@dataclass
class _Running:
    """A child and its present process."""

    child: Child
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    restart_at: float = 0.0
    backoff: float = 1.0

    def alive(self) -> bool:
        """Say whether the process runs. Does not reap it: until then nobody else can get its number."""
        if self.process is None:
            return False
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


class Supervisor:
    """Starts the children, restarts those that end, stops all on SIGTERM or Ctrl-C. Use from the main thread.

    `grace_seconds`: how long children may take to end before everything of theirs is killed; a second signal ends the
    wait. `logs`: a folder with one file per child; without it their output goes to ours, each line with the name in
    front. `stop_file`: made when a stop begins, its path in the children's TOWPATH_STOP_FILE: long work looks for it
    and returns at a safe point. `watch`: called every `watch_seconds`, returns names of children that hang and must be
    replaced; one that began less than a minute ago is given the benefit of the doubt.
    """

    _first_backoff_seconds = 1.0
    _longest_backoff_seconds = 30.0
    _healthy_after_seconds = 60.0

    def __init__(
        self,
        children: Sequence[Child],
        grace_seconds: float = 20.0,
        *,
        logs: Path | None = None,
        stop_file: Path | None = None,
        watch: Callable[[], Sequence[str]] | None = None,
        watch_seconds: float = 5.0,
        say: Callable[[str], None] | None = None,
    ) -> None:
        if len({child.name for child in children}) != len(children):
            raise ValueError("two children have the same name")
        self._slots = {child.name: _Running(child) for child in children}
        self._grace = grace_seconds
        self._logs = logs
        self._stop_file = stop_file
        self._watch = watch
        self._watch_seconds = watch_seconds
        self._next_watch = 0.0
        self._say = say or (lambda line: print(line, flush=True))  # noqa: T201 - the terminal is the surface here
        self._signals = 0  # a plain number: locks are not safe in signal handlers
        self._guardian: subprocess.Popen[bytes] | None = None

    def pids(self) -> dict[str, int]:
        """Return the process ids of the children that run now."""
        return {name: slot.process.pid for name, slot in self._slots.items() if slot.process and slot.alive()}

    def run(self) -> int:
        """Run until SIGTERM or SIGINT. Returns 0 when every child ended within the grace time, else 1."""
        with self._handlers():
            self.start()
            try:
                while not self._signals:
                    self.tick()
                    time.sleep(0.1)
            finally:
                clean = self.stop()
        return 0 if clean else 1

    def start(self) -> None:
        """Start every child. Raises OSError when a program does not exist; nothing stays running then."""
        if self._stop_file:
            self._stop_file.unlink(missing_ok=True)
        if self._logs:
            self._logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._next_watch = time.monotonic() + self._watch_seconds
        try:
            self._start_guardian()
            for slot in self._slots.values():
                self._spawn(slot)
        except OSError:
            self.stop()
            raise

    def tick(self) -> None:
        """Look after the children once: replace those that ended or hang."""
        now = time.monotonic()
        for slot in self._slots.values():
            if slot.process is not None and not slot.alive():
                self._schedule(slot)
            if slot.process is None and now >= slot.restart_at:
                self._try_spawn(slot)
        if self._guardian is not None and self._guardian.poll() is not None:
            self._start_guardian()
        if self._watch and now >= self._next_watch:
            self._next_watch = now + self._watch_seconds
            self._replace_hanging(self._watch)

    def _replace_hanging(self, watch: Callable[[], Sequence[str]]) -> None:
        try:
            hanging = watch()
        except Exception as error:  # the watch asks a database: its trouble must not end the supervisor
            self._say(f"towpath: the watch failed ({type(error).__name__})")
            return
        for name in hanging:
            slot = self._slots.get(name)
            if slot is not None and slot.alive() and time.monotonic() - slot.started > self._healthy_after_seconds:
                self._schedule(slot, "does not answer")

    def request_stop(self) -> None:
        """Make `run` return; for other threads and signal handlers."""
        self._signals += 1

    def stop(self) -> bool:
        """End all children: SIGTERM to each, the grace time, then SIGKILL to what is left. Idempotent.

        Returns true when every child ended by itself.
        """
        if self._stop_file:
            self._stop_file.touch(mode=0o600)
        running = [slot for slot in self._slots.values() if slot.alive()]
        for slot in running:
            with contextlib.suppress(ProcessLookupError):
                slot.process.terminate()  # type: ignore[union-attr]
        deadline = time.monotonic() + self._grace
        impatient = self._signals + 1
        while any(slot.alive() for slot in running) and time.monotonic() < deadline and self._signals < impatient:
            time.sleep(0.05)
        late = [slot.child.name for slot in running if slot.alive()]
        if late:
            self._say(f"towpath: ended by force: {', '.join(late)}")
        for slot in self._slots.values():
            self._end_group(slot)
        self._stop_guardian()
        if self._stop_file:
            self._stop_file.unlink(missing_ok=True)
        return not late

    @contextlib.contextmanager
    def _handlers(self) -> Iterator[None]:
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, lambda *_: self.request_stop()) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _schedule(self, slot: _Running, why: str = "") -> None:
        """End what is left of the child and set the time of its restart."""
        lived = time.monotonic() - slot.started
        if lived > self._healthy_after_seconds:
            slot.backoff = self._first_backoff_seconds
        code = self._end_group(slot)
        why = why or f"ended with {_ending(code)}"
        self._say(f"towpath: {slot.child.name} {why}, starting again in {slot.backoff:.0f} s")
        slot.restart_at = time.monotonic() + slot.backoff
        slot.backoff = min(slot.backoff * 2, self._longest_backoff_seconds)

    def _end_group(self, slot: _Running) -> int:
        """Kill the child and everything of its group; return the exit code of its main process."""
        if slot.process is None:
            return 0
        # The main process is not reaped yet, so the number still belongs to this group and to no other.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(slot.process.pid, signal.SIGKILL)
        code = slot.process.wait()
        _wait_for_group(slot.process.pid)
        self._tell_guardian(f"-{slot.process.pid}")
        slot.process = None
        return code

    def _try_spawn(self, slot: _Running) -> None:
        try:
            self._spawn(slot)
        except OSError as error:
            self._schedule(slot, f"could not be started ({error})")

    def _spawn(self, slot: _Running) -> None:
        child = slot.child
        environment = {**os.environ, **child.env}
        if self._stop_file:
            environment[STOP_FILE_VARIABLE] = str(self._stop_file)
        slot.started = time.monotonic()
        with self._output(child.name) as output:
            slot.process = subprocess.Popen(
                list(child.argv),
                env=environment,
                cwd=child.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output or subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self._tell_guardian(f"+{slot.process.pid}")
        if slot.process.stdout is not None:
            relay = threading.Thread(target=self._relay, args=(child.name, slot.process.stdout), daemon=True)
            relay.start()

    @contextlib.contextmanager
    def _output(self, name: str) -> Iterator[IO[bytes] | None]:
        if self._logs is None:
            yield None
            return
        path = self._logs / f"{name}.log"
        if path.exists() and path.stat().st_size > _LOG_LIMIT_BYTES:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:
            path.chmod(0o600)
            yield log

    def _relay(self, name: str, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                self._say(f"{name}: {line.decode(errors='replace').rstrip()}")

    def _start_guardian(self) -> None:
        self._guardian = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARDIAN],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        for pid in self.pids().values():
            self._tell_guardian(f"+{pid}")

    def _tell_guardian(self, line: str) -> None:
        if self._guardian is not None and self._guardian.stdin is not None:
            with contextlib.suppress(OSError):
                self._guardian.stdin.write(line.encode() + b"\n")
                self._guardian.stdin.flush()

    def _stop_guardian(self) -> None:
        if self._guardian is None:
            return
        # Every group is gone and taken off its list by now, so the end of its input is a plain farewell.
        guardian, self._guardian = self._guardian, None
        guardian.kill()
        guardian.wait()
        if guardian.stdin is not None:
            guardian.stdin.close()


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait_for_group(group: int) -> None:
    """Wait until everything of a killed group is gone. Bounded: in a container nobody may collect the dead."""
    deadline = time.monotonic() + 1.0
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.01)


def _ending(code: int) -> str:
    if code >= 0:
        return f"code {code}"
    return f"signal {signal.Signals(-code).name}"
